"""Which function computes which op, and which formula belongs to which optimizer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from ...graph import Node
from ...ops.base import Op
from ...optim import Optimizer

Array = npt.NDArray[Any]
Step = Callable[[], None]
Lowering = Callable[[Node, Sequence[Array], Sequence[Array]], Step]
Rule = Callable[..., tuple[Array, ...]]
F = TypeVar("F", bound=Callable[..., Any])

LOWERINGS: dict[type[Op], Lowering] = {}
RULES: dict[type[Optimizer], Rule] = {}


def lowering(op: type[Op]) -> Callable[[Lowering], Lowering]:
    """Register how a node of `op` becomes a step that reads and writes given arrays."""

    def register(function: Lowering) -> Lowering:
        LOWERINGS[op] = function
        return function

    return register


def kernel(op: type[Op]) -> Callable[[F], F]:
    """Register a function of (op, *input arrays) that returns the output, or a tuple of outputs."""

    def register(function: F) -> F:
        LOWERINGS[op] = lambda node, inputs, outputs: _bind(function, node.op, inputs, outputs)
        return function

    return register


def update_rule(optimizer: type[Optimizer]) -> Callable[[Rule], Rule]:
    """Register the formula of an optimizer.

    A function of (rule, w, dw, *moments, rate, step) on arrays of one shape, step counting from 1,
    that returns (w, *moments) as new arrays. dw has L1 and L2 in it already.
    """

    def register(function: Rule) -> Rule:
        RULES[optimizer] = function
        return function

    return register


def _bind(function: Callable[..., Any], op: Op, inputs: Sequence[Array], outputs: Sequence[Array]) -> Step:
    if len(outputs) == 1:
        (output,) = outputs

        def step() -> None:
            np.copyto(output, function(op, *inputs))
    else:

        def step() -> None:
            for output, result in zip(outputs, function(op, *inputs), strict=True):
                np.copyto(output, result)

    return step
