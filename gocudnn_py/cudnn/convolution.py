"""Convolution descriptors: padding, stride, dilation, groups and how the sums are computed."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from gocudnn_py._abi.cudnn import (
    ConvolutionBwdDataAlgo,
    ConvolutionBwdFilterAlgo,
    ConvolutionFwdAlgo,
    ConvolutionMode,
    DataType,
    MathType,
    ReorderType,
)
from gocudnn_py.cudnn.descriptor import (
    DataDescriptor,
    Descriptor,
    Operand,
    check_rank,
    factors,
    int32,
    int32s,
    int_array,
    same_rank,
)
from gocudnn_py.cudnn.filter import FilterDescriptor
from gocudnn_py.cudnn.handle import Handle
from gocudnn_py.cudnn.tensor import TensorDescriptor
from gocudnn_py.dtypes import DType, cudnn_dtype

MAX_SPATIAL = 6


@dataclass(frozen=True, slots=True)
class ConvolutionSpec:
    """What a convolution descriptor holds."""

    padding: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int
    compute: DataType
    math: MathType
    mode: ConvolutionMode
    reorder: ReorderType


class ConvolutionDescriptor(Descriptor):
    """A convolution over 1 to 6 spatial dimensions."""

    kind = "Convolution"

    def set(
        self,
        padding: Sequence[int],
        stride: Sequence[int] | None = None,
        dilation: Sequence[int] | None = None,
        *,
        groups: int = 1,
        compute: DType = np.float32,
        math: MathType = MathType.FMA_MATH,
        mode: ConvolutionMode = ConvolutionMode.CROSS_CORRELATION,
        reorder: ReorderType = ReorderType.DEFAULT_REORDER,
    ) -> Self:
        """Describe a convolution; stride and dilation are 1 unless given.

        `math` is FMA unless asked otherwise: cuDNN's own default computes float32 in TF32 (a relative error
        of 1e-5 becomes 2e-4). Half-precision data needs TENSOR_OP_MATH to reach the tensor cores.
        """
        padding = int32s("padding", padding)
        check_rank("a convolution's padding", len(padding), 1, MAX_SPATIAL)
        stride = int32s("stride", stride if stride is not None else (1,) * len(padding), least=1)
        dilation = int32s("dilation", dilation if dilation is not None else (1,) * len(padding), least=1)
        same_rank("convolution", padding=padding, stride=stride, dilation=dilation)
        groups = int32("groups", groups, least=1)
        arrays = int_array(padding), int_array(stride), int_array(dilation)
        code = cudnn_dtype(compute)
        self.lib.cudnnSetConvolutionNdDescriptor(self.handle, len(padding), *arrays, mode, code)
        self.lib.cudnnSetConvolutionGroupCount(self.handle, groups)
        self.lib.cudnnSetConvolutionMathType(self.handle, math)
        self.lib.cudnnSetConvolutionReorderType(self.handle, reorder)
        return self

    def get(self) -> ConvolutionSpec:
        """Read everything back (cudnnGetConvolutionNdDescriptor, GroupCount, MathType, ReorderType)."""
        rank, mode, compute = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
        padding, stride, dilation = (int_array([0] * MAX_SPATIAL) for _ in range(3))
        lengths, types = (MAX_SPATIAL, ctypes.byref(rank)), (ctypes.byref(mode), ctypes.byref(compute))
        self.lib.cudnnGetConvolutionNdDescriptor(self.handle, *lengths, padding, stride, dilation, *types)
        return ConvolutionSpec(
            tuple(padding[: rank.value]),
            tuple(stride[: rank.value]),
            tuple(dilation[: rank.value]),
            self._read("GroupCount"),
            DataType(compute.value),
            MathType(self._read("MathType")),
            ConvolutionMode(mode.value),
            ReorderType(self._read("ReorderType")),
        )

    def _read(self, what: str) -> int:
        value = ctypes.c_int()
        getattr(self.lib, f"cudnnGetConvolution{what}")(self.handle, ctypes.byref(value))
        return value.value

    def forward(
        self,
        handle: Handle,
        x: Operand,
        w: Operand,
        y: Operand,
        *,
        algorithm: ConvolutionFwdAlgo = ConvolutionFwdAlgo.IMPLICIT_GEMM,
        workspace: Any = None,
        alpha: float = 1.0,
        beta: float = 0.0,
    ) -> None:
        """y = alpha (w * x) + beta y (cudnnConvolutionForward); the default algorithm needs no workspace."""
        self._run("Forward", handle, x, w, y, algorithm, workspace, alpha, beta)

    def backward_data(
        self,
        handle: Handle,
        w: Operand,
        dy: Operand,
        dx: Operand,
        *,
        algorithm: ConvolutionBwdDataAlgo = ConvolutionBwdDataAlgo.ALGO_1,
        workspace: Any = None,
        alpha: float = 1.0,
        beta: float = 0.0,
    ) -> None:
        """dx from w and dy (cudnnConvolutionBackwardData); ALGO_1 is deterministic, ALGO_0 is not."""
        self._run("BackwardData", handle, w, dy, dx, algorithm, workspace, alpha, beta)

    def backward_filter(
        self,
        handle: Handle,
        x: Operand,
        dy: Operand,
        dw: Operand,
        *,
        algorithm: ConvolutionBwdFilterAlgo = ConvolutionBwdFilterAlgo.ALGO_1,
        workspace: Any = None,
        alpha: float = 1.0,
        beta: float = 0.0,
    ) -> None:
        """dw from x and dy (cudnnConvolutionBackwardFilter); ALGO_1 is deterministic, ALGO_0 and ALGO_3 are not."""
        self._run("BackwardFilter", handle, x, dy, dw, algorithm, workspace, alpha, beta)

    def backward_bias(self, handle: Handle, dy: Operand, db: Operand, *, alpha: float = 1.0, beta: float = 0.0) -> None:
        """db (1, K, 1, ...): dy summed over all but the channels (cudnnConvolutionBackwardBias)."""
        one, two = factors(db, alpha, beta)
        self.lib.cudnnConvolutionBackwardBias(handle.handle, one, *dy.pair, two, *db.pair)

    def workspace_size(
        self, handle: Handle, direction: str, first: DataDescriptor, second: DataDescriptor, result: DataDescriptor,
        algorithm: int,
    ) -> int:  # fmt: skip
        """Bytes of workspace for "Forward" (x, w, y), "BackwardData" (w, dy, dx) or "BackwardFilter" (x, dy, dw).

        cudnnGetConvolution...WorkspaceSize. Raises NotSupported where the algorithm does not do it.
        """
        size = ctypes.c_size_t()
        function = getattr(self.lib, f"cudnnGetConvolution{direction}WorkspaceSize")
        descriptors = first.handle, second.handle, self.handle, result.handle
        function(handle.handle, *descriptors, algorithm, ctypes.byref(size))
        return size.value

    def _run(
        self, direction: str, handle: Handle, first: Operand, second: Operand, result: Operand, algorithm: int,
        workspace: Any, alpha: float, beta: float,
    ) -> None:  # fmt: skip
        one, two = factors(result, alpha, beta)
        scratch = (0, 0) if workspace is None else (workspace.pointer, workspace.nbytes)
        function = getattr(self.lib, f"cudnnConvolution{direction}")
        operands = *first.pair, *second.pair
        function(handle.handle, one, *operands, self.handle, algorithm, *scratch, two, *result.pair)

    def output_shape(self, x: TensorDescriptor, w: FilterDescriptor) -> tuple[int, ...]:
        """The dimensions of y, (N, K, *spatial), by cuDNN's cudnnGetConvolutionNdForwardOutputDim."""
        self._check_channels(x, w)
        rank = len(x.get().dims)
        dims = int_array([0] * rank)
        self.lib.cudnnGetConvolutionNdForwardOutputDim(self.handle, x.handle, w.handle, rank, dims)
        return tuple(dims)

    def _check_channels(self, x: TensorDescriptor, w: FilterDescriptor) -> None:
        spec, x_dims, w_dims = self.get(), x.get().dims, w.get().dims
        numbers = f"(x={x_dims}, w={w_dims}, groups={spec.groups})"
        if not len(x_dims) == len(w_dims) == len(spec.padding) + 2:
            raise ValueError(f"conv: x, w and padding={spec.padding} do not have matching ranks {numbers}")
        expected = w_dims[1] * spec.groups
        if x_dims[1] != expected:
            raise ValueError(f"conv: x has {x_dims[1]} channels, w expects {expected} {numbers}")
        if w_dims[0] % spec.groups:
            raise ValueError(f"conv: {w_dims[0]} filters do not divide into {spec.groups} groups {numbers}")

    def _describe(self) -> str:
        s = self.get()
        if not s.padding:
            return "not set"
        shape = f"padding={s.padding}, stride={s.stride}, dilation={s.dilation}, groups={s.groups}"
        return f"{shape}, compute={s.compute.name}, math={s.math.name}, {s.mode.name}, {s.reorder.name}"
