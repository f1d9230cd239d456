"""Dropout by the shared Philox generator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from ..dtypes import DType
from ..graph import Node, Value
from ..types import TensorType
from .base import Op, Precision, require_float, require_same


@dataclass(frozen=True)
class Dropout(Op):
    """y = x mask / (1 - rate), with a mask from (seed, node, step); outputs y and mask."""

    name: ClassVar[str] = "dropout"
    precision: ClassVar[Precision] = "follow"
    rate: float
    node: int

    def __post_init__(self) -> None:
        if not 0 <= self.rate < 1:
            raise ValueError(f"dropout rate {self.rate} is not in [0, 1)")

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        x, _ = inputs
        require_float("x", x)
        return x, TensorType(x.shape, DType.boolean)

    def gradient(self, node: Node, dys: Sequence[Value | None], wanted: Sequence[bool]) -> Sequence[Value | None]:
        dy = dys[0]
        assert dy is not None
        return *dy.graph.add(DropoutBackward(self.rate), dy, node.outputs[1]), None


@dataclass(frozen=True)
class DropoutBackward(Op):
    """dx = dy mask / (1 - rate)."""

    name: ClassVar[str] = "dropout_backward"
    precision: ClassVar[Precision] = "follow"
    rate: float

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        dy, mask = inputs
        require_same("dy", TensorType(dy.shape, DType.boolean), "mask", mask)
        return (dy,)

    def aliases(self) -> dict[int, int]:
        return {0: 0}


def dropout(x: Value, rate: float) -> Value:
    """Zero a share `rate` of the elements and scale the rest; x itself outside training."""
    if not x.graph.training or rate == 0:
        return x
    return x.graph.add(Dropout(rate, x.graph.next_random_node()), x, x.graph.step)[0]
