"""Tensor transforms: another layout, padding, and folding of strides into channels."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from gocudnn_py._abi.cudnn import FoldingDirection, TensorFormat
from gocudnn_py.cudnn.descriptor import (
    INT32_MAX,
    MAX_RANK,
    Descriptor,
    Operand,
    check_rank,
    factors,
    int32s,
    int_array,
    same_rank,
)
from gocudnn_py.cudnn.handle import Handle
from gocudnn_py.cudnn.tensor import TensorDescriptor


@dataclass(frozen=True, slots=True)
class TransformSpec:
    """What a transform's descriptor holds; the padding counts elements, one number a dimension."""

    format: TensorFormat
    before: tuple[int, ...]
    after: tuple[int, ...]
    fold: tuple[int, ...]
    direction: FoldingDirection


class TransformDescriptor(Descriptor):
    """A change of layout that may pad (or, by negative numbers, crop) and fold spatial blocks into channels."""

    kind = "TensorTransform"
    rank = 0  # cuDNN does not tell how many dimensions it was set for

    def set(
        self,
        rank: int,
        format: TensorFormat = TensorFormat.NCHW,
        *,
        before: Sequence[int] | None = None,
        after: Sequence[int] | None = None,
        fold: Sequence[int] | None = None,
        direction: FoldingDirection = FoldingDirection.FOLD,
    ) -> Self:
        """Describe it: `before` and `after` pad each of `rank` dimensions, `fold` each spatial one.

        cudnnSetTensorTransformDescriptor.
        """
        check_rank("a transformed tensor", rank, 3)
        before = int32s("before", before if before is not None else (0,) * rank, least=-INT32_MAX)
        after = int32s("after", after if after is not None else (0,) * rank, least=-INT32_MAX)
        fold = int32s("fold", fold if fold is not None else (1,) * (rank - 2), least=1)
        same_rank("transform", dims=range(rank), before=before, after=after)
        same_rank("transform", spatial=range(rank - 2), fold=fold)
        arrays = int_array(before), int_array(after), (ctypes.c_uint * (rank - 2))(*fold)
        self.lib.cudnnSetTensorTransformDescriptor(self.handle, rank, format, *arrays, direction)
        self.rank = rank
        return self

    def get(self) -> TransformSpec:
        """Read everything back (cudnnGetTensorTransformDescriptor)."""
        rank, format, direction = self.rank, ctypes.c_int(), ctypes.c_int()
        arrays = int_array([0] * MAX_RANK), int_array([0] * MAX_RANK), (ctypes.c_uint * MAX_RANK)()
        out = ctypes.byref(format), *arrays, ctypes.byref(direction)
        self.lib.cudnnGetTensorTransformDescriptor(self.handle, rank, *out)
        before, after, fold = arrays
        paddings = tuple(before[:rank]), tuple(after[:rank])
        return TransformSpec(
            TensorFormat(format.value), *paddings, tuple(fold[: rank - 2]), FoldingDirection(direction.value)
        )

    def result(self, x: TensorDescriptor) -> TensorDescriptor:
        """The descriptor of what x becomes (cudnnInitTransformDest)."""
        made, size = TensorDescriptor(), ctypes.c_size_t()
        self.lib.cudnnInitTransformDest(self.handle, x.handle, made.handle, ctypes.byref(size))
        made.dtype = x.dtype
        return made

    def run(self, handle: Handle, x: Operand, y: Operand, *, alpha: float = 1.0, beta: float = 0.0) -> None:
        """y = alpha transformed(x) + beta y (cudnnTransformTensorEx)."""
        one, two = factors(y, alpha, beta)
        self.lib.cudnnTransformTensorEx(handle.handle, self.handle, one, *x.pair, two, *y.pair)

    def run_filter(self, handle: Handle, w: Operand, to: Operand, *, alpha: float = 1.0, beta: float = 0.0) -> None:
        """The same of a filter (cudnnTransformFilter)."""
        one, two = factors(to, alpha, beta)
        self.lib.cudnnTransformFilter(handle.handle, self.handle, one, *w.pair, two, *to.pair)

    def _describe(self) -> str:
        if not self.rank:
            return "not set"
        s = self.get()
        how = f"before={s.before}, after={s.after}, fold={s.fold}"
        return f"to {s.format.name}, {how}, {s.direction.name}"


def copy(handle: Handle, x: Operand, y: Operand, *, alpha: float = 1.0, beta: float = 0.0) -> None:
    """y = alpha x + beta y, whatever the strides and types of either (cudnnTransformTensor)."""
    one, two = factors(y, alpha, beta)
    handle.lib.cudnnTransformTensor(handle.handle, one, *x.pair, two, *y.pair)


def add(handle: Handle, b: Operand, y: Operand, *, alpha: float = 1.0, beta: float = 1.0) -> None:
    """y = alpha b + beta y; b may have extents of 1, as a bias has (cudnnAddTensor)."""
    one, two = factors(y, alpha, beta)
    handle.lib.cudnnAddTensor(handle.handle, one, *b.pair, two, *y.pair)


def scale(handle: Handle, y: Operand, alpha: float) -> None:
    """y = alpha y (cudnnScaleTensor)."""
    handle.lib.cudnnScaleTensor(handle.handle, *y.pair, factors(y, alpha, 0.0)[0])


def fill(handle: Handle, y: Operand, value: float) -> None:
    """Every element of y becomes `value` (cudnnSetTensor)."""
    handle.lib.cudnnSetTensor(handle.handle, *y.pair, factors(y, value, 0.0)[0])
