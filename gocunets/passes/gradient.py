"""Reverse-mode differentiation: the backward pass as nodes of the same graph."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ..errors import GraphError
from ..graph import Graph, Value
from ..ops.elementwise import add, full


def gradient(graph: Graph, loss: Value, wrt: Sequence[Value], seed: Value | None = None) -> list[Value]:
    """Append the nodes that compute d loss / d w for each w in `wrt`, times a scalar; zeros where there is no path.

    Contributions of a value with several uses are summed in the order in which the uses are met
    walking backwards, so the result does not depend on how the graph is scheduled.
    """
    if loss.shape != ():
        raise GraphError(f"the gradient of %{loss.name} needs a scalar, not shape {loss.shape}")
    dependent = _dependent(graph, wrt)
    gradients: dict[Value, Value] = {loss: seed or full(graph, (), 1.0, loss.dtype)}
    for node in reversed(graph.nodes[: _position(graph, loss)]):
        dys = [gradients.get(y) for y in node.outputs]
        if all(dy is None for dy in dys) or not any(y in dependent for y in node.outputs):
            continue
        wanted = [x in dependent for x in node.inputs]
        with graph.scoped(node.scope):
            dxs = node.op.gradient(node, dys, wanted)
            for x, dx, want in zip(node.inputs, dxs, wanted, strict=True):
                if want and dx is not None:
                    gradients[x] = add(gradients[x], dx) if x in gradients else dx
    return [gradients.get(w) or full(graph, w.shape, 0.0, w.dtype) for w in wrt]


def _position(graph: Graph, loss: Value) -> int:
    if loss.node is None:
        return 0
    return graph.nodes.index(loss.node) + 1


def _dependent(graph: Graph, wrt: Collection[Value]) -> set[Value]:
    """The values that a change of `wrt` reaches through floating-point values."""
    dependent = set(wrt)
    for node in graph.nodes:
        if any(x in dependent for x in node.inputs):
            dependent.update(y for y in node.outputs if y.dtype.is_float)
    return dependent
