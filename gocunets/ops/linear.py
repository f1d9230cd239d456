"""The fully connected product and its gradients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from ..graph import Node, Value
from ..types import TensorType
from .base import Op, one, require_dtype, require_float


@dataclass(frozen=True)
class FullyConnected(Op):
    """y = x w + b. x (N, I), w (I, O), b (O,) or absent. Thesis, equation 3.1."""

    name: ClassVar[str] = "fully_connected"

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        x, w, *b = inputs
        require_float("x", x)
        require_dtype(x, w=w, **dict(zip("b", b, strict=False)))
        if x.rank != 2 or w.rank != 2 or x.shape[1] != w.shape[0]:
            raise ValueError(f"x has shape {x.shape}, w has {w.shape}; (N, I) and (I, O) are needed")
        if b and b[0].shape != w.shape[1:]:
            raise ValueError(f"b has shape {b[0].shape}, the output has {w.shape[1]} features")
        return (TensorType((x.shape[0], w.shape[1]), x.dtype),)

    def gradient(self, node: Node, dys: Sequence[Value | None], wanted: Sequence[bool]) -> Sequence[Value | None]:
        (dy,) = dys
        assert dy is not None
        x, w, *b = node.inputs
        dx = one(dy.graph.add(FullyConnectedBackwardData(), dy, w)) if wanted[0] else None
        dw = one(dy.graph.add(FullyConnectedBackwardFilter(), x, dy)) if wanted[1] else None
        db = [one(dy.graph.add(FullyConnectedBackwardBias(), dy)) if wanted[2] else None for _ in b]
        return (dx, dw, *db)

    def flops(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        bias = outputs[0].size if len(inputs) > 2 else 0
        return 2 * outputs[0].size * inputs[1].shape[0] + bias


@dataclass(frozen=True)
class FullyConnectedBackwardData(Op):
    """dx = dy wᵀ. Thesis, equation 3.2a."""

    name: ClassVar[str] = "fully_connected_backward_data"

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        dy, w = inputs
        return (TensorType((dy.shape[0], w.shape[0]), dy.dtype),)

    def flops(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        return 2 * outputs[0].size * inputs[1].shape[1]


@dataclass(frozen=True)
class FullyConnectedBackwardFilter(Op):
    """dw = xᵀ dy. Thesis, equation 3.2b."""

    name: ClassVar[str] = "fully_connected_backward_filter"

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        x, dy = inputs
        return (TensorType((x.shape[1], dy.shape[1]), dy.dtype),)

    def flops(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        return 2 * outputs[0].size * inputs[0].shape[0]


@dataclass(frozen=True)
class FullyConnectedBackwardBias(Op):
    """db = dy summed over the batch. Thesis, equation 3.2c."""

    name: ClassVar[str] = "fully_connected_backward_bias"

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        (dy,) = inputs
        return (TensorType(dy.shape[1:], dy.dtype),)

    def flops(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        return inputs[0].size


def fully_connected(x: Value, w: Value, b: Value | None = None) -> Value:
    """Multiply x (N, I) by w (I, O) and add b (O,)."""
    return one(x.graph.add(FullyConnected(), x, w, *([] if b is None else [b])))
