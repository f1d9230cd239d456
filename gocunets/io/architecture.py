"""A module's traces as data, and a module that replays them: model files need no Python class."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..graph import Graph, Value
from ..init import Constant
from ..nn.module import Module, Parameter
from ..ops.base import Op

Description = dict[str, Any]


def describe(training: Graph, inference: Graph, parameters: Mapping[str, Parameter]) -> Description:
    """Both traces of a module and its parameters, as JSON can hold them."""
    return {
        "parameters": [
            {"name": name, "shape": list(parameter.state.type.shape), "trainable": parameter.trainable}
            for name, parameter in parameters.items()
            if parameter.state is not None
        ],
        "training": _describe_graph(training),
        "inference": _describe_graph(inference),
    }


class Replay(Module):
    """A module made of a description: it writes the nodes that the described module wrote, for any batch size."""

    def __init__(self, description: Description) -> None:
        self._traces: Mapping[str, Any] = {mode: description[mode] for mode in ("training", "inference")}
        self._ops = {mode: [Op.restore(node["op"]) for node in trace["nodes"]] for mode, trace in self._traces.items()}
        self._shapes = {entry["name"]: tuple(entry["shape"]) for entry in description["parameters"]}
        self._parameters = {
            entry["name"]: Parameter(Constant(), trainable=entry["trainable"]) for entry in description["parameters"]
        }

    def own_parameters(self) -> Iterator[tuple[str, Parameter]]:
        yield from self._parameters.items()

    def children(self) -> Iterator[tuple[str, Module]]:
        return iter(())

    def forward(self, x: Value) -> Value:
        graph, trace = x.graph, self._traces[x.graph.mode]
        values: list[Value] = [x, *(self._read(name, x) for name in trace["reads"])]
        for node, op in zip(trace["nodes"], self._ops[graph.mode], strict=True):
            with graph.scoped(node["scope"]):
                values.extend(graph.add(op, *(values[index] for index in node["inputs"])))
        for name, index in trace["assigned"]:
            state = self._parameters[name].state
            assert state is not None
            graph.assign(state, values[index])
        output: int = trace["output"]
        return values[output]

    def _read(self, name: str, x: Value) -> Value:
        if name == "step_state":
            return x.graph.step
        return self._parameters[name].read(x, self._shapes[name])


def _describe_graph(graph: Graph) -> Description:
    values = [graph.inputs["x"], *graph.reads.values()]
    values += [value for node in graph.nodes for value in node.outputs]
    index = {value: i for i, value in enumerate(values)}
    return {
        "reads": [state.name for state in graph.reads],
        "nodes": [
            {"op": node.op.describe(), "inputs": [index[x] for x in node.inputs], "scope": node.scope}
            for node in graph.nodes
        ],
        "assigned": [[state.name, index[value]] for state, value in graph.assigned.items()],
        "output": index[graph.outputs["y"]],
    }
