"""A table of a network's layers."""

from __future__ import annotations

from dataclasses import dataclass

from .graph import Graph, Node


@dataclass(frozen=True)
class LayerRow:
    """One layer: its output shape (batch included), its own parameters, and FLOPs of the traced batch."""

    name: str
    kind: str
    output: tuple[int, ...]
    parameters: int
    flops: int


def layer_rows(graph: Graph) -> list[LayerRow]:
    """A row for each module that writes nodes itself, in the order in which they run.

    A multiply-add counts two FLOPs. Parameters that two layers share count with the first.
    """
    scopes: dict[str, list[Node]] = {}
    for node in graph.nodes:
        scopes.setdefault(node.scope, []).append(node)
    counted: set[str] = set()
    return [_row(graph, scope, nodes, counted) for scope, nodes in scopes.items()]


def _row(graph: Graph, scope: str, nodes: list[Node], counted: set[str]) -> LayerRow:
    states = {value: state for state, value in graph.reads.items() if state.role == "parameter"}
    own = {states[x].name: states[x] for node in nodes for x in node.inputs if x in states}
    parameters = sum(state.type.size for name, state in own.items() if name not in counted)
    counted.update(own)
    flops = sum(node.op.flops([x.type for x in node.inputs], [y.type for y in node.outputs]) for node in nodes)
    kind = ", ".join(dict.fromkeys(_kind(node) for node in nodes))
    return LayerRow(scope or "(network)", kind, nodes[-1].outputs[0].shape, parameters, flops)


def _kind(node: Node) -> str:
    """An op's name, with the kind or the geometry that tells it from others of the name."""
    fields = node.op.fields()
    if "kind" in fields:
        return str(fields["kind"])
    usual = {"stride": 1, "padding": 0, "dilation": 1}
    words = [
        f"{key} {'x'.join(map(str, dict.fromkeys(fields[key])))}"
        for key, default in usual.items()
        if key in fields and any(extent != default for extent in fields[key])
    ]
    kernel = [f"{'x'.join(map(str, node.inputs[1].shape[2:]))}"] if node.op.name.endswith("convolution") else []
    return " ".join([node.op.name.replace("_", " "), *kernel, *words])
