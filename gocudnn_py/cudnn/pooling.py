"""Pooling descriptors: mode, window, padding and stride."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from gocudnn_py._abi.cudnn import NanPropagation, PoolingMode
from gocudnn_py.cudnn.descriptor import Descriptor, Operand, check_rank, factors, int32s, int_array, ints, same_rank
from gocudnn_py.cudnn.handle import Handle
from gocudnn_py.cudnn.tensor import TensorDescriptor

MAX_SPATIAL = 6


@dataclass(frozen=True, slots=True)
class PoolingSpec:
    """What a pooling descriptor holds."""

    mode: PoolingMode
    window: tuple[int, ...]
    padding: tuple[int, ...]
    stride: tuple[int, ...]
    nan: NanPropagation


class PoolingDescriptor(Descriptor):
    """Pooling over 1 to 6 spatial dimensions."""

    kind = "Pooling"

    def set(
        self,
        mode: PoolingMode,
        window: Sequence[int],
        padding: Sequence[int] | None = None,
        stride: Sequence[int] | None = None,
        *,
        nan: NanPropagation = NanPropagation.NOT_PROPAGATE_NAN,
    ) -> Self:
        """Describe pooling; no padding, and windows side by side, unless given.

        cudnnSetPooling2dDescriptor, for other ranks cudnnSetPoolingNdDescriptor.

        PoolingMode.MAX may give another gradient on each run; MAX_DETERMINISTIC does not.
        """
        window = int32s("window", window, least=1)
        check_rank("a pooling window", len(window), 1, MAX_SPATIAL)
        padding = int32s("padding", padding if padding is not None else (0,) * len(window))
        stride = int32s("stride", stride if stride is not None else window, least=1)
        same_rank("pooling", window=window, padding=padding, stride=stride)
        if len(window) == 2:
            (r, s), (p, q), (u, v) = window, padding, stride
            self.lib.cudnnSetPooling2dDescriptor(self.handle, mode, nan, r, s, p, q, u, v)
        else:
            arrays = int_array(window), int_array(padding), int_array(stride)
            self.lib.cudnnSetPoolingNdDescriptor(self.handle, mode, nan, len(window), *arrays)
        return self

    def get(self) -> PoolingSpec:
        """Read everything back (cudnnGetPoolingNdDescriptor)."""
        mode, nan, rank = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
        arrays = [int_array([0] * MAX_SPATIAL) for _ in range(3)]
        out = ctypes.byref(mode), ctypes.byref(nan), ctypes.byref(rank)
        self.lib.cudnnGetPoolingNdDescriptor(self.handle, MAX_SPATIAL, *out, *arrays)
        window, padding, stride = (tuple(array[: rank.value]) for array in arrays)
        return PoolingSpec(PoolingMode(mode.value), window, padding, stride, NanPropagation(nan.value))

    def get_2d(self) -> PoolingSpec:
        """The same of two-dimensional pooling (cudnnGetPooling2dDescriptor)."""
        mode, nan, *extents = ints(8, self.lib.cudnnGetPooling2dDescriptor, self.handle)
        r, s, p, q, u, v = extents
        return PoolingSpec(PoolingMode(mode), (r, s), (p, q), (u, v), NanPropagation(nan))

    def output_shape(self, x: TensorDescriptor) -> tuple[int, ...]:
        """The dimensions of y, (N, C, *spatial), rounded down.

        cudnnGetPooling2dForwardOutputDim, for other ranks cudnnGetPoolingNdForwardOutputDim.
        """
        x_dims, window = x.get().dims, self.get().window
        if len(x_dims) != len(window) + 2:
            raise ValueError(f"pooling: window {window} needs x of {len(window) + 2} dimensions, not x={x_dims}")
        if len(x_dims) == 4:
            return ints(4, self.lib.cudnnGetPooling2dForwardOutputDim, self.handle, x.handle)
        dims = int_array([0] * len(x_dims))
        self.lib.cudnnGetPoolingNdForwardOutputDim(self.handle, x.handle, len(x_dims), dims)
        return tuple(dims)

    def forward(self, handle: Handle, x: Operand, y: Operand, *, alpha: float = 1.0, beta: float = 0.0) -> None:
        """y = alpha pool(x) + beta y (cudnnPoolingForward)."""
        one, two = factors(y, alpha, beta)
        self.lib.cudnnPoolingForward(handle.handle, self.handle, one, *x.pair, two, *y.pair)

    def backward(
        self,
        handle: Handle,
        y: Operand,
        dy: Operand,
        x: Operand,
        dx: Operand,
        *,
        alpha: float = 1.0,
        beta: float = 0.0,
    ) -> None:
        """dx = alpha times the gradient at x and y = pool(x), + beta dx (cudnnPoolingBackward)."""
        one, two = factors(dx, alpha, beta)
        operands = *y.pair, *dy.pair, *x.pair
        self.lib.cudnnPoolingBackward(handle.handle, self.handle, one, *operands, two, *dx.pair)

    def _describe(self) -> str:
        s = self.get()
        if not s.window:
            return "not set"
        return f"{s.mode.name}, window={s.window}, padding={s.padding}, stride={s.stride}, {s.nan.name}"
