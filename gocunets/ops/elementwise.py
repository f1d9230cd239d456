"""Sum, scaling, casts, copies and constants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from ..dtypes import DType
from ..graph import Graph, Node, Value
from ..types import TensorType
from .base import Op, Precision, one, require_float, require_same


@dataclass(frozen=True)
class Add(Op):
    """y = a + b, of one shape."""

    name: ClassVar[str] = "add"
    precision: ClassVar[Precision] = "follow"

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        a, b = inputs
        require_float("a", a)
        require_same("a", a, "b", b)
        return (a,)

    def gradient(self, node: Node, dys: Sequence[Value | None], wanted: Sequence[bool]) -> Sequence[Value | None]:
        return dys[0], dys[0]

    def aliases(self) -> dict[int, int]:
        return {0: 0}


@dataclass(frozen=True)
class Scale(Op):
    """y = factor x."""

    name: ClassVar[str] = "scale"
    precision: ClassVar[Precision] = "follow"
    factor: float

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        (x,) = inputs
        require_float("x", x)
        return (x,)

    def gradient(self, node: Node, dys: Sequence[Value | None], wanted: Sequence[bool]) -> Sequence[Value | None]:
        (dy,) = dys
        assert dy is not None
        return dy.graph.add(self, dy)

    def aliases(self) -> dict[int, int]:
        return {0: 0}


@dataclass(frozen=True)
class Cast(Op):
    """x in another dtype; the gradient goes back in x's own."""

    name: ClassVar[str] = "cast"
    precision: ClassVar[Precision] = "follow"
    dtype: DType

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        return (TensorType(inputs[0].shape, DType.of(self.dtype)),)

    def gradient(self, node: Node, dys: Sequence[Value | None], wanted: Sequence[bool]) -> Sequence[Value | None]:
        (dy,) = dys
        assert dy is not None
        return dy.graph.add(Cast(node.inputs[0].dtype), dy)


@dataclass(frozen=True)
class Copy(Op):
    """x again, in memory of its own."""

    name: ClassVar[str] = "copy"
    precision: ClassVar[Precision] = "follow"

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        return (inputs[0],)

    def gradient(self, node: Node, dys: Sequence[Value | None], wanted: Sequence[bool]) -> Sequence[Value | None]:
        return (dys[0],)

    def flops(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        return 0


@dataclass(frozen=True)
class Full(Op):
    """A constant."""

    name: ClassVar[str] = "full"
    shape: tuple[int, ...]
    dtype: DType
    value: float

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        return (TensorType(self.shape, DType.of(self.dtype)),)

    def flops(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        return 0


def add(a: Value, b: Value) -> Value:
    """Sum of two Values of one shape and dtype."""
    return one(a.graph.add(Add(), a, b))


def scale(x: Value, factor: float) -> Value:
    """`factor` times x."""
    return one(x.graph.add(Scale(factor), x))


def cast(x: Value, dtype: DType) -> Value:
    """Convert x to `dtype`; x itself when it has it already."""
    return x if x.dtype == dtype else one(x.graph.add(Cast(dtype), x))


def copy(x: Value) -> Value:
    """X again, in memory of its own."""
    return one(x.graph.add(Copy(), x))


def full(graph: Graph, shape: Sequence[int], value: float, dtype: DType = DType.float32) -> Value:
    """A constant tensor."""
    return one(graph.add(Full(tuple(shape), dtype, value)))
