"""The graph: Values made by Nodes, States that outlive a run, in static single assignment."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from .dtypes import DType
from .errors import GraphError
from .state import State, new_step_state
from .types import TensorType

if TYPE_CHECKING:
    from .ops.base import Op

Mode = Literal["training", "inference"]
Math = Literal["fma", "tf32"]
Phase = Literal["forward", "backward", "update"]
PHASES: tuple[Phase, ...] = ("forward", "backward", "update")


class Value:
    """One tensor of a graph: made once, by a node, an input or the reading of a state."""

    __slots__ = ("graph", "name", "node", "type")

    def __init__(self, graph: Graph, name: str, type: TensorType, node: Node | None = None) -> None:
        self.graph, self.name, self.type, self.node = graph, name, type, node

    @property
    def shape(self) -> tuple[int, ...]:
        """Logical shape."""
        return self.type.shape

    @property
    def dtype(self) -> DType:
        """Element type."""
        return self.type.dtype

    def __add__(self, other: Value) -> Value:
        from .ops.elementwise import add

        return add(self, other)

    def __repr__(self) -> str:
        return f"%{self.name}: {self.type}"


@dataclass(eq=False, slots=True)
class Node:
    """One application of an op."""

    op: Op
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    scope: str
    phase: Phase

    @property
    def math(self) -> Math:
        """How float32 products of the graph may be rounded."""
        return self.outputs[0].graph.math

    def __str__(self) -> str:
        outputs = ", ".join(map(repr, self.outputs))
        inputs = ", ".join(f"%{value.name}" for value in self.inputs)
        return f"{outputs} = {self.op}({inputs})"


class Graph:
    """Nodes in an order in which they can run, with named inputs and outputs.

    `mode` says what is traced: a layer that differs in training looks at it while it is traced,
    never while it runs. `math` says whether float32 products may be rounded to TF32.
    """

    def __init__(self, mode: Mode = "inference", step_state: State | None = None, math: Math = "fma") -> None:
        self.mode: Mode = mode
        self.math: Math = math
        self.step_state = step_state or new_step_state()
        self.phase: Phase = "forward"
        self.nodes: list[Node] = []
        self.inputs: dict[str, Value] = {}
        self.outputs: dict[str, Value] = {}
        self.reads: dict[State, Value] = {}
        self.assigned: dict[State, Value] = {}
        self._scopes: list[str] = []
        self._names: set[str] = set()
        self._random_nodes = 0

    @property
    def training(self) -> bool:
        """Whether this is a trace for training."""
        return self.mode == "training"

    @property
    def scope(self) -> str:
        """Path of the module that is being traced, e.g. `body.1.conv`."""
        return self._scopes[-1] if self._scopes else ""

    @contextmanager
    def scoped(self, path: str) -> Iterator[None]:
        """Name what is added inside after the module at `path`."""
        self._scopes.append(path)
        try:
            yield
        finally:
            self._scopes.pop()

    def input(self, name: str, shape: Sequence[int], dtype: DType = DType.float32) -> Value:
        """Declare a tensor that is fed before each run."""
        if name in self.inputs:
            raise GraphError(f"input {name} is declared twice")
        value = Value(self, self._unique(name), TensorType(tuple(shape), dtype))
        self.inputs[name] = value
        return value

    def read(self, state: State) -> Value:
        """The content that `state` had when the run began."""
        if state not in self.reads:
            self.reads[state] = Value(self, self._unique(state.name), state.type)
        return self.reads[state]

    @property
    def step(self) -> Value:
        """The step state (see `gocunets.stepstate`) as ops read it."""
        return self.read(self.step_state)

    def assign(self, state: State, value: Value) -> None:
        """Make `value` the content of `state` after the run. At most once a program."""
        if state in self.assigned:
            raise GraphError(f"state {state.name} is assigned twice")
        if not value.type.same_as(state.type):
            raise GraphError(f"state {state.name} is {state.type}, assigned {value.type}")
        if value.node is None:  # another state's content, which may change in the same run
            from .ops.elementwise import copy

            value = copy(value)
        self.assigned[state] = value

    def output(self, name: str, value: Value) -> None:
        """Give a value a public name and keep it readable after the run."""
        if name in self.outputs:
            raise GraphError(f"output {name} is declared twice")
        if value in self.reads.values():  # the state may change in the same run
            from .ops.elementwise import copy

            value = copy(value)
        self.outputs[name] = value

    def add(self, op: Op, *inputs: Value) -> tuple[Value, ...]:
        """Append a node. Raises GraphError that names the layer when the shapes do not fit."""
        for value in inputs:
            if value.graph is not self:
                raise GraphError(f"{self._where(op)}: %{value.name} belongs to another graph")
        try:
            types = op.infer(*(value.type for value in inputs))
        except (ValueError, TypeError) as error:
            raise GraphError(f"{self._where(op)}: {error}") from error
        node = Node(op, inputs, (), self.scope, self.phase)
        base = f"{self.scope}.{op.name}" if self.scope else op.name
        node.outputs = tuple(Value(self, self._unique(base), type, node) for type in types)
        self.nodes.append(node)
        return node.outputs

    def value(self, name: str, type: TensorType, node: Node) -> Value:
        """A new value of a node that a pass makes."""
        return Value(self, self._unique(name), type, node)

    def next_random_node(self) -> int:
        """A number for the next random op: equal in every trace of the same modules."""
        self._random_nodes += 1
        return self._random_nodes

    def consumers(self) -> dict[Value, list[Node]]:
        """The nodes that read each value, in order."""
        consumers: dict[Value, list[Node]] = {}
        for node in self.nodes:
            for value in node.inputs:
                consumers.setdefault(value, []).append(node)
        return consumers

    def verify(self) -> None:
        """Raise GraphError unless every value is made once, before its use, and of its op's type."""
        known = set(self.inputs.values()) | set(self.reads.values())
        for node in self.nodes:
            for value in node.inputs:
                if value not in known:
                    raise GraphError(f"{node}: %{value.name} is used before it is made")
            types = node.op.infer(*(value.type for value in node.inputs))
            for value, type in zip(node.outputs, types, strict=True):
                if value in known or value.node is not node:
                    raise GraphError(f"{node}: %{value.name} is made twice")
                if not value.type.same_as(type):
                    raise GraphError(f"{node}: %{value.name} should be {type}")
                known.add(value)
        for role, values in (("output", self.outputs.values()), ("assigned value", self.assigned.values())):
            for value in values:
                if value not in known:
                    raise GraphError(f"{role} %{value.name} is made by no node")

    def __str__(self) -> str:
        lines = [f"graph ({self.mode})"]
        lines += [f"  input {value!r}" for value in self.inputs.values()]
        lines += [f"  state {value!r}" for value in self.reads.values()]
        lines += [f"  {node}" for node in self.nodes]
        lines += [f"  {state.name} <- %{value.name}" for state, value in self.assigned.items()]
        lines += [f"  output {name} = %{value.name}" for name, value in self.outputs.items()]
        return "\n".join(lines)

    def _where(self, op: Op) -> str:
        return f"layer {self.scope} ({op.name})" if self.scope else op.name

    def _unique(self, name: str) -> str:
        candidates = (name if count == 0 else f"{name}_{count}" for count in itertools.count())
        unused = next(candidate for candidate in candidates if candidate not in self._names)
        self._names.add(unused)
        return unused
