"""Which function turns a node of which op into launches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ...graph import Node
from ...ops.base import Op

if TYPE_CHECKING:
    from .backend import CudaBackend, Step, Tensor

Lowering = Callable[["CudaBackend", Node, "Sequence[Tensor]", "Sequence[Tensor]"], "Step"]
LOWERINGS: dict[type[Op], Lowering] = {}


def lowering(*ops: type[Op]) -> Callable[[Lowering], Lowering]:
    """Register how a node of these ops becomes a step: prepares all, allocates nothing when it runs."""

    def register(function: Lowering) -> Lowering:
        for op in ops:
            LOWERINGS[op] = function
        return function

    return register
