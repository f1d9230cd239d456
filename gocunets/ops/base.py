"""Op: a shape rule, a gradient rule and attributes. What it computes is each backend's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

from ..errors import GraphError
from ..graph import Node, Value
from ..registry import Registered
from ..types import TensorType

Precision = Literal["compute", "full", "follow"]


class Op(Registered, family="op"):
    """An operation; subclasses are frozen dataclasses whose fields are the attributes.

    `precision` says in which dtype of the DtypePolicy it runs: compute, full (at least float32), or
    the widest of its inputs.
    """

    precision: ClassVar[Precision] = "compute"

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        """The types of the outputs. Raises ValueError with the shapes when the inputs do not fit."""
        raise NotImplementedError

    def gradient(self, node: Node, dys: Sequence[Value | None], wanted: Sequence[bool]) -> Sequence[Value | None]:
        """Add the nodes of the gradient; returns one Value an input, None where there is none.

        `dys` has None for an output that the loss does not depend on; an input that is not `wanted`
        may be answered with None.
        """
        raise GraphError(f"op {self.name} has no gradient rule")

    def aliases(self) -> Mapping[int, int]:
        """Outputs that may be written over an input that nobody reads afterwards: output -> input."""
        return {}

    def views(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> bool:
        """Whether output 0 is input 0 seen otherwise, so that no code need run."""
        return False

    def flops(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        """Floating-point operations; a multiply-add counts two, another elementwise operation one."""
        return outputs[0].size


def one(values: Sequence[Value]) -> Value:
    """The only output of a node."""
    (value,) = values
    return value


def require_float(name: str, type: TensorType) -> None:
    """Raise ValueError unless `type` is a floating-point type."""
    if not type.dtype.is_float:
        raise ValueError(f"{name} is {type.dtype}; a floating-point type is needed")


def require_dtype(x: TensorType, **others: TensorType) -> None:
    """Raise ValueError unless all have x's dtype."""
    for name, type in others.items():
        if type.dtype != x.dtype:
            raise ValueError(f"x is {x.dtype}, {name} is {type.dtype}; they must agree")


def require_same(first_name: str, first: TensorType, second_name: str, second: TensorType) -> None:
    """Raise ValueError unless both types have one shape and dtype."""
    if not first.same_as(second):
        raise ValueError(f"{first_name} is {first}, {second_name} is {second}; they must agree")
