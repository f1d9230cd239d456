"""Activations by kind, and their gradients from the output y, so that x need not be kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from ..graph import Node, Value
from ..types import TensorType
from .base import Op, one, require_float, require_same

KINDS: dict[str, float | None] = {
    "logistic": None,
    "tanh": None,
    "relu": None,
    "leaky_relu": 0.01,
    "clipped_relu": 6.0,
    "elu": 1.0,
}
"""Each kind with the default of its parameter: slope of leaky ReLU, ceiling of clipped ReLU, alpha of ELU."""


@dataclass(frozen=True)
class Activation(Op):
    """y = f(x), element by element. Thesis, section 3.3."""

    name: ClassVar[str] = "activation"
    kind: str
    parameter: float | None = None

    def __post_init__(self) -> None:
        _check(self.kind, self.parameter)

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        (x,) = inputs
        require_float("x", x)
        return (x,)

    def gradient(self, node: Node, dys: Sequence[Value | None], wanted: Sequence[bool]) -> Sequence[Value | None]:
        (dy,) = dys
        assert dy is not None
        return dy.graph.add(ActivationBackward(self.kind, self.parameter), node.outputs[0], dy)

    def aliases(self) -> dict[int, int]:
        return {0: 0}


@dataclass(frozen=True)
class ActivationBackward(Op):
    """dx = dy f'(x), with f' written in terms of y."""

    name: ClassVar[str] = "activation_backward"
    kind: str
    parameter: float | None = None

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        y, dy = inputs
        require_same("y", y, "dy", dy)
        return (dy,)

    def aliases(self) -> dict[int, int]:
        return {0: 1}


def activation(x: Value, kind: str, parameter: float | None = None) -> Value:
    """Apply an activation of `KINDS`; its parameter defaults to the one there."""
    if parameter is None:
        parameter = KINDS.get(kind)
    return one(x.graph.add(Activation(kind, parameter), x))


def relu(x: Value) -> Value:
    """The positive part: max(x, 0)."""
    return activation(x, "relu")


def leaky_relu(x: Value, slope: float = 0.01) -> Value:
    """Keep x where it is positive, `slope` times x elsewhere."""
    return activation(x, "leaky_relu", slope)


def _check(kind: str, parameter: float | None) -> None:
    if kind not in KINDS:
        raise ValueError(f"activation {kind!r} is none of {', '.join(KINDS)}")
    if (parameter is None) != (KINDS[kind] is None):
        raise ValueError(f"activation {kind} with parameter {parameter}")
    # The gradient is taken from y, whose sign must tell that of x.
    if parameter is not None and parameter < 0:
        raise ValueError(f"activation {kind}: parameter {parameter} is negative")
