"""Softmax and log-softmax over one axis, and their gradients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from ..graph import Node, Value
from ..types import TensorType
from .base import Op, Precision, one, require_float, require_same


@dataclass(frozen=True)
class Softmax(Op):
    """y = exp(x) / sum exp(x) along `axis`, or its logarithm."""

    name: ClassVar[str] = "softmax"
    precision: ClassVar[Precision] = "full"
    axis: int = 1
    log: bool = False

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        (x,) = inputs
        require_float("x", x)
        if not -x.rank <= self.axis < x.rank:
            raise ValueError(f"axis {self.axis} is not one of x's {x.rank} axes (x={x.shape})")
        return (x,)

    def gradient(self, node: Node, dys: Sequence[Value | None], wanted: Sequence[bool]) -> Sequence[Value | None]:
        (dy,) = dys
        assert dy is not None
        return dy.graph.add(SoftmaxBackward(self.axis, self.log), node.outputs[0], dy)

    def flops(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        return 3 * outputs[0].size


@dataclass(frozen=True)
class SoftmaxBackward(Op):
    """dx of softmax or log-softmax from y and dy."""

    name: ClassVar[str] = "softmax_backward"
    precision: ClassVar[Precision] = "full"
    axis: int = 1
    log: bool = False

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        y, dy = inputs
        require_same("y", y, "dy", dy)
        return (dy,)


def softmax(x: Value, axis: int = 1) -> Value:
    """Probabilities along `axis`."""
    return one(x.graph.add(Softmax(axis), x))


def log_softmax(x: Value, axis: int = 1) -> Value:
    """Logarithms of the probabilities along `axis`."""
    return one(x.graph.add(Softmax(axis, log=True), x))
