"""Graphs made runnable: placed on a backend with the step state of a test, and differentiated with a given dy."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from gocunets import Graph, Node, TensorType, Value
from gocunets.backends import Backend
from gocunets.backends.numpy import NumpyBackend
from gocunets.convnetgo.optimizers import LOSS_SCALE_PERIOD
from gocunets.ops import Op
from gocunets.passes.gradient import gradient
from gocunets.passes.memory import Plan
from gocunets.program import Program
from gocunets.state import State, initial_step_state
from gocunets.store import StateStore

Array = NDArray[Any]
BACKENDS: list[Backend] = [NumpyBackend()]
SEED, STEP, RATE = 7, 3, 0.25
SCALE, STEADY = 4, LOSS_SCALE_PERIOD - 1
DEFAULTS = {"step": STEP, "learning_rate": RATE, "loss_scale": SCALE, "steady": STEADY}


def step_record(valid: int = 1, seed: int = SEED, **fields: Any) -> Array:
    """The step state of the tests, as one record."""
    record = initial_step_state(seed)
    for name, value in (DEFAULTS | {"batch_size": valid, **fields}).items():
        record[name] = value
    return record


def make_store(graph: Graph, backend: Backend, *, valid: int = 1, seed: int = SEED) -> StateStore:
    """A store with every state of the graph; the step state says that `valid` samples count."""
    store = StateStore(backend)
    store.add(list(dict.fromkeys([graph.step_state, *graph.reads, *graph.assigned])))
    store.write(graph.step_state, step_record(valid, seed).view(np.uint8))
    return store


def make_program(
    graph: Graph,
    backend: Backend,
    *,
    valid: int = 1,
    seed: int = SEED,
    keep: Collection[Value] = (),
    share: bool = True,
) -> Program:
    """The graph as a program with a store of its own."""
    graph.verify()
    return Program(graph, backend, make_store(graph, backend, valid=valid, seed=seed), keep=keep, share=share)


def run(graph: Graph, backend: Backend, feeds: Mapping[str, Array], **settings: Any) -> dict[str, Array]:
    """The outputs of the graph, by name."""
    program = make_program(graph, backend, **settings)
    program.feed(**feeds)
    program.run()
    return {name: program.read(name) for name in graph.outputs}


@dataclass(frozen=True)
class Inner(Op):
    """The sum of y dy over pairs (y, dy) of inputs: the loss whose gradient is dy. No backend runs it."""

    name: ClassVar[str] = "inner_product_in_tests"

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        return (TensorType((), inputs[0].dtype),)

    def gradient(self, node: Node, dys: Sequence[Value | None], wanted: Sequence[bool]) -> Sequence[Value | None]:
        return [node.inputs[i + 1] if i % 2 == 0 else None for i in range(len(node.inputs))]


def differentiate(graph: Graph, ys: Sequence[Value], wrt: Sequence[Value]) -> list[Value]:
    """Append the gradient of the sum of y dy with respect to `wrt`; dy is the new input `dy0`, `dy1`, ..."""
    dys = [graph.input(f"dy{i}", y.shape, y.dtype) for i, y in enumerate(ys)]
    (loss,) = graph.add(Inner(), *(value for pair in zip(ys, dys, strict=True) for value in pair))
    graph.phase = "backward"
    dxs = gradient(graph, loss, wrt)
    assert loss.node is not None
    graph.nodes.remove(loss.node)
    return dxs


def check_plan(graph: Graph, plan: Plan, keep: Collection[Value] = ()) -> None:
    """Play a run cell by cell of 256 bytes: every value must be intact wherever it is read, to the end if kept."""
    Replay(graph, plan).run({*keep, *graph.outputs.values(), *graph.inputs.values()})


class Replay:
    """What each cell of memory holds while the nodes of a planned graph run."""

    def __init__(self, graph: Graph, plan: Plan) -> None:
        self.graph, self.plan = graph, plan
        self.holds: dict[tuple[Any, int], Value] = {}
        self.content: dict[Value, Value] = {}
        for value in (*graph.inputs.values(), *graph.reads.values()):
            self.write(value)

    def run(self, wanted: Collection[Value]) -> None:
        for node in self.graph.nodes:
            for x in node.inputs:
                assert self.intact(x), f"{node}: %{x.name} is gone"
            if node in self.plan.skipped:
                self.content[node.outputs[0]] = self.content[node.inputs[0]]
            else:
                self.check_in_place(node)
                for y in node.outputs:
                    self.write(y)
        for state, value in self.plan.copies:
            assert self.intact(value), f"%{value.name} is gone before {state.name} gets it"
            self.holds[(state, 0)] = self.content[value]
        for state, value in self.graph.assigned.items():
            assert self.holds[(state, 0)] is self.content[value], f"{state.name} did not get %{value.name}"
        stale = {value for state, value in self.graph.reads.items() if state in self.graph.assigned}
        for value in (set(self.plan.slots) - self.plan.shared - stale) | set(wanted):
            assert self.intact(value), f"%{value.name} can be read but is gone"

    def write(self, value: Value) -> None:
        self.content[value] = value
        for cell in self.cells(value):
            self.holds[cell] = value

    def intact(self, value: Value) -> bool:
        return all(self.holds.get(cell) is self.content[value] for cell in self.cells(value))

    def cells(self, value: Value) -> list[tuple[Any, int]]:
        slot = self.plan.slots[value]
        if isinstance(slot.arena, State):
            return [(slot.arena, 0)]
        assert slot.offset % 256 == 0
        if slot.arena == "values":
            assert slot.offset + value.type.nbytes <= self.plan.arena_bytes
        return [(slot.arena, at) for at in range(slot.offset, slot.offset + max(1, value.type.nbytes), 256)]

    def check_in_place(self, node: Node) -> None:
        """An output lies on an input only where the op declares it, and then exactly; outputs never meet."""
        declared = {node.outputs[out]: node.inputs[source] for out, source in node.op.aliases().items()}
        for i, y in enumerate(node.outputs):
            for x in node.inputs:
                if set(self.cells(y)) & set(self.cells(x)):
                    assert declared.get(y) is x, f"{node}: %{y.name} lies on %{x.name}"
                    assert (self.plan.slots[y], y.type) == (self.plan.slots[x], x.type)
            for other in node.outputs[:i]:
                assert not set(self.cells(y)) & set(self.cells(other)), f"{node}: %{y.name} lies on %{other.name}"
