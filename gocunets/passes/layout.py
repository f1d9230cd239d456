"""The order of the axes in memory, as the backend likes it."""

from __future__ import annotations

from collections.abc import Callable, Collection

from ..graph import Graph, Value
from ..types import TensorType

Order = Callable[[TensorType], tuple[int, ...]]


def apply_layout(graph: Graph, order: Order, pinned: Collection[Value] = ()) -> Graph:
    """Give every input and result the order that `order` answers for its type.

    States and what is assigned to them keep row-major order, and so does what is `pinned` (gradients).
    """
    fixed = {*pinned, *graph.assigned.values()}
    made = [value for node in graph.nodes for value in node.outputs if value not in fixed]
    for value in (*graph.inputs.values(), *made):
        value.type = value.type.with_order(order(value.type))
    return graph
