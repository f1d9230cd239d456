"""Max and average pooling and their gradients; 1 to 3 spatial axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from .. import convnetgo
from ..dtypes import DType
from ..graph import Node, Value
from ..types import TensorType
from .base import Op, one, require_float

Extent = int | Sequence[int]


@dataclass(frozen=True)
class _Pool(Op):
    window: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]

    def _output_shape(self, x: Sequence[int]) -> tuple[int, ...]:
        return convnetgo.pool_output_shape(tuple(x), window=self.window, stride=self.stride, padding=self.padding)

    def flops(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        return outputs[0].size * math.prod(self.window)


@dataclass(frozen=True)
class MaxPool(_Pool):
    """The largest element of each window and its flat place in x's spatial plane (int32)."""

    name: ClassVar[str] = "max_pool"

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        (x,) = inputs
        require_float("x", x)
        shape = self._output_shape(x.shape)
        return TensorType(shape, x.dtype), TensorType(shape, DType.int32)

    def gradient(self, node: Node, dys: Sequence[Value | None], wanted: Sequence[bool]) -> Sequence[Value | None]:
        dy = dys[0]
        assert dy is not None
        op = MaxPoolBackward(self.window, self.stride, self.padding, node.inputs[0].shape)
        return dy.graph.add(op, dy, node.outputs[1])


@dataclass(frozen=True)
class MaxPoolBackward(_Pool):
    """dx of a max pool: each dy goes to the place its maximum came from."""

    name: ClassVar[str] = "max_pool_backward"
    x_shape: tuple[int, ...]

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        dy, indices = inputs
        if dy.shape != indices.shape:
            raise ValueError(f"dy has shape {dy.shape}, indices have {indices.shape}")
        return (TensorType(self.x_shape, dy.dtype),)


@dataclass(frozen=True)
class AveragePool(_Pool):
    """The mean of each window; padding counts as zeros when `include_padding`."""

    name: ClassVar[str] = "average_pool"
    include_padding: bool = False

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        (x,) = inputs
        require_float("x", x)
        return (TensorType(self._output_shape(x.shape), x.dtype),)

    def gradient(self, node: Node, dys: Sequence[Value | None], wanted: Sequence[bool]) -> Sequence[Value | None]:
        (dy,) = dys
        assert dy is not None
        op = AveragePoolBackward(self.window, self.stride, self.padding, self.include_padding, node.inputs[0].shape)
        return dy.graph.add(op, dy)


@dataclass(frozen=True)
class AveragePoolBackward(_Pool):
    """dx of an average pool: each dy is shared out over its window."""

    name: ClassVar[str] = "average_pool_backward"
    include_padding: bool
    x_shape: tuple[int, ...]

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        (dy,) = inputs
        return (TensorType(self.x_shape, dy.dtype),)


def max_pool(x: Value, window: Extent, *, stride: Extent | None = None, padding: Extent = 0) -> Value:
    """The largest element of each window of x (N, C, *S); the stride defaults to the window."""
    return x.graph.add(MaxPool(*_geometry(x, window, stride, padding)), x)[0]


def average_pool(
    x: Value,
    window: Extent,
    *,
    stride: Extent | None = None,
    padding: Extent = 0,
    include_padding: bool = False,
) -> Value:
    """The mean of each window of x (N, C, *S); the stride defaults to the window."""
    op = AveragePool(*_geometry(x, window, stride, padding), include_padding)
    return one(x.graph.add(op, x))


def global_average_pool(x: Value) -> Value:
    """The mean over all spatial axes: (N, C, *S) -> (N, C, 1, ...)."""
    return average_pool(x, x.shape[2:])


def _geometry(
    x: Value, window: Extent, stride: Extent | None, padding: Extent
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    rank = len(x.shape) - 2
    steps = window if stride is None else stride
    window, steps, padding = (
        (extent,) * rank if isinstance(extent, int) else tuple(extent) for extent in (window, steps, padding)
    )
    return window, steps, padding
