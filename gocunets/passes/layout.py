"""The order of the axes in memory: what the user asked for, as far as the backend's code goes along."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Literal

from ..graph import Graph, Node, Value
from ..ops.elementwise import Copy
from ..types import TensorType

Layout = Literal["auto", "channels_first", "channels_last"]
Order = Callable[[TensorType], tuple[int, ...]]
Freedom = Literal["any", "same", "row_major"]
"""What an op's code takes: each operand in an order of its own; all those with spatial axes in the same; row-major."""

Free = Callable[[Node], Freedom]


def channels_first(type: TensorType) -> tuple[int, ...]:
    """(N, C, *spatial) as it is written: row-major."""
    return tuple(range(type.rank))


def channels_last(type: TensorType) -> tuple[int, ...]:
    """(N, *spatial, C) in memory, and (K, *kernel, C) for filters."""
    axes = channels_first(type)
    return (0, *axes[2:], 1) if type.rank > 2 else axes


def any_order(node: Node) -> Freedom:
    """The freedom of code that goes by strides."""
    return "any"


def apply_layout(graph: Graph, order: Order, pinned: Collection[Value] = (), freedom: Free = any_order) -> Graph:
    """Give every input and result the order that `order` answers for its type, as far as its op is free.

    States and what is assigned to them keep row-major order, and so does what is `pinned` (gradients). Where an op
    wants its operands otherwise, copies that reorder them go before it.
    """
    _Layout(graph, order, {*pinned, *graph.assigned.values()}, freedom).run()
    return graph


class _Layout:
    def __init__(self, graph: Graph, order: Order, fixed: Collection[Value], freedom: Free) -> None:
        self.graph, self.order, self.fixed, self.freedom = graph, order, fixed, freedom
        self.nodes: list[Node] = []
        self.copies: dict[tuple[Value, tuple[int, ...]], Value] = {}

    def run(self) -> None:
        for value in self.graph.inputs.values():
            self._give(value, self.order)
        for node in self.graph.nodes:
            wanted = self.order
            if self.freedom(node) != "any":
                wanted = self._common(node)
                node.inputs = tuple(self._in_order(x, wanted(x.type), node) for x in node.inputs)
            for y in node.outputs:
                self._give(y, wanted)
            self.nodes.append(node)
        self.graph.nodes = self.nodes

    def _give(self, value: Value, order: Order) -> None:
        if value not in self.fixed:
            value.type = value.type.with_order(order(value.type))

    def _common(self, node: Node) -> Order:
        """The one order of a node's operands: that of the inputs, row-major if a result has to be."""
        if self.freedom(node) == "row_major" or any(y in self.fixed for y in node.outputs):
            return channels_first
        turned = any(x.type.order != channels_first(x.type) for x in node.inputs)
        return self.order if turned else channels_first

    def _in_order(self, x: Value, order: tuple[int, ...], user: Node) -> Value:
        if x.type.order == order:
            return x
        if (x, order) not in self.copies:
            copy = Node(Copy(), (x,), (), user.scope, user.phase)
            y = self.graph.value(f"{x.name}.reordered", x.type.with_order(order), copy)
            copy.outputs = (y,)
            self.nodes.append(copy)
            self.copies[x, order] = y
        return self.copies[x, order]
