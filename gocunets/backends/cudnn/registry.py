"""Which function turns a node of which op into launches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ...graph import Node
from ...ops.base import Op
from ...passes.layout import Free, Freedom

if TYPE_CHECKING:
    from .backend import CudaBackend, Step, Tensor

Lowering = Callable[["CudaBackend", Node, "Sequence[Tensor]", "Sequence[Tensor]"], "Step"]
LOWERINGS: dict[type[Op], Lowering] = {}
FREEDOMS: dict[type[Op], Freedom | Free] = {}


def freedom_of(node: Node) -> Freedom:
    """Which orders in memory the operands of a node may have; ops that have no code yet are told of when lowered."""
    freedom = FREEDOMS.get(type(node.op), "row_major")
    return freedom(node) if callable(freedom) else freedom


def lowering(*ops: type[Op], freedom: Freedom | Free = "row_major") -> Callable[[Lowering], Lowering]:
    """Register how a node of these ops becomes a step: prepares all, allocates nothing when it runs.

    `freedom` says which orders in memory its operands may have (see `passes.layout`).
    """

    def register(function: Lowering) -> Lowering:
        for op in ops:
            LOWERINGS[op], FREEDOMS[op] = function, freedom
        return function

    return register
