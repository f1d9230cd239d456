"""Program: feeding, running whole and by phases, reading, checking node by node, one thread at a time."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import pytest

from gocunets import ConcurrentUse, DType, Graph, GraphError, Node, State, TensorType, Value, ValueReleased, ops
from gocunets.backends import Backend
from gocunets.backends.numpy import NumpyBackend, kernel
from gocunets.ops import Op
from gocunets.ops.base import one
from gocunets.program import Program
from tests.running import Array, make_program

SHAPE = (2, 3)


def state(value: float = 1.0) -> State:
    return State("s", TensorType(SHAPE), "parameter", lambda: np.full(SHAPE, value, np.float32))


def step_graph() -> tuple[Graph, State]:
    """A graph with one node in each phase: y = 2 x, dy = -y, s <- s + dy."""
    graph, s = Graph("training"), state()
    y = ops.scale(graph.input("x", SHAPE), 2.0)
    graph.output("y", y)
    graph.phase = "backward"
    dy = ops.scale(y, -1.0)
    graph.output("dy", dy)
    graph.phase = "update"
    graph.assign(s, graph.read(s) + dy)
    return graph, s


def fed(graph: Graph, backend: Backend, x: float = 3.0, **settings: Any) -> Program:
    program = make_program(graph, backend, **settings)
    program.feed(x=np.full(SHAPE, x, np.float32))
    return program


# --- feeding and reading ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("feeds", "error", "message"),
    [
        ({"z": np.zeros(SHAPE)}, ValueError, "no input 'z'; there are x"),
        ({"x": np.zeros((3, 2))}, ValueError, "input x has shape (2, 3), not (3, 2)"),
        ({"x": np.zeros(())}, ValueError, "input x has shape (2, 3), not ()"),
        ({"x": np.zeros(SHAPE, np.complex64)}, TypeError, "Cannot cast"),
    ],
)
def test_wrong_feeds(feeds: dict[str, Array], error: type[Exception], message: str) -> None:
    program = fed(step_graph()[0], NumpyBackend())
    with pytest.raises(error, match=re.escape(message)):
        program.feed(**feeds)
    program.run()
    np.testing.assert_array_equal(program.read("y"), np.full(SHAPE, 6))


@pytest.mark.parametrize("kind", ["fortran", "reversed", "every second"])
def test_any_array_can_be_fed(kind: str, backend: Backend) -> None:
    content = np.arange(6, dtype=np.float32).reshape(SHAPE)
    wide = np.zeros((2, 6), np.float32)
    wide[:, ::2] = content
    x = {"fortran": np.asfortranarray(content), "reversed": content[::-1, ::-1], "every second": wide[:, ::2]}[kind]
    program = make_program(step_graph()[0], backend)
    program.feed(x=x)
    program.run()
    np.testing.assert_array_equal(program.read("y"), 2 * x)


def test_what_is_read_is_the_callers_own(backend: Backend) -> None:
    program = fed(step_graph()[0], backend)
    program.run()
    program.read("y")[:] = 99
    np.testing.assert_array_equal(program.read("y"), np.full(SHAPE, 6))


def test_values_are_read_by_output_name_value_name_or_value(backend: Backend) -> None:
    graph, _ = step_graph()
    program = fed(graph, backend)
    program.run()
    for name in ("y", "scale", graph.outputs["y"]):
        np.testing.assert_array_equal(program.read(name), np.full(SHAPE, 6))


def test_an_unknown_value_lists_the_names(backend: Backend) -> None:
    program = fed(step_graph()[0], backend)
    with pytest.raises(KeyError, match=r"no value 'z'; there are x, s, scale, scale_1, add"):
        program.read("z")


def test_all_values_can_be_read_where_none_is_shared(backend: Backend) -> None:
    program = fed(step_graph()[0], backend, share=False)
    program.run()
    values = program.read_all()
    assert list(values) == ["x", "s", "scale", "scale_1", "add"]
    assert values["add"][0, 0] == -5


def chain(graph: Graph) -> list[Value]:
    values = [graph.input("x", SHAPE)]
    for _ in range(4):
        values.append(ops.scale(values[-1], 2.0))
    graph.output("y", values[-1])
    return values


def test_not_all_values_can_be_read_where_some_are_shared(backend: Backend) -> None:
    graph = Graph()
    chain(graph)
    with pytest.raises(ValueReleased, match=r"Network\.inspect"):
        fed(graph, backend).read_all()


def test_kept_values_can_be_read(backend: Backend) -> None:
    graph = Graph()
    values = chain(graph)
    program = fed(graph, backend, keep=[values[2]])
    program.run()
    assert program.read(values[2])[0, 0] == 12
    with pytest.raises(ValueReleased, match=r"keep=\['scale'\]"):
        program.read(values[1])


# --- running ----------------------------------------------------------------------------------------------------


def test_phases_make_the_whole(backend: Backend) -> None:
    (graph, s), (other, t) = step_graph(), step_graph()
    whole, slices = fed(graph, backend), fed(other, backend)
    for right in (-5, -11):
        whole.run()
        for phase in ("forward", "backward", "update"):
            slices.run(phase)
        assert whole.store.read(s)[0, 0] == slices.store.read(t)[0, 0] == right


@pytest.mark.parametrize("share", [True, False])
def test_states_change_in_the_last_phase(share: bool, backend: Backend) -> None:
    graph, s = step_graph()
    program = fed(graph, backend, share=share)
    for phase, right in (("forward", 1), ("backward", 1), ("update", -5)):
        program.run(phase)
        assert program.store.read(s)[0, 0] == right


def test_without_assign_states_stay(backend: Backend) -> None:
    graph, s = step_graph()
    program = fed(graph, backend, share=False)
    program.run(assign=False)
    assert program.store.read(s)[0, 0] == 1
    assert program.read("dy")[0, 0] == -6


def test_a_graph_of_one_phase_assigns_at_its_end(backend: Backend) -> None:
    graph, s = Graph(), state()
    graph.assign(s, graph.read(s) + graph.input("x", SHAPE))
    program = fed(graph, backend)
    program.run("forward")
    assert program.store.read(s)[0, 0] == 4


def test_an_empty_graph_runs(backend: Backend) -> None:
    graph = Graph()
    graph.output("y", graph.input("x", SHAPE))
    program = fed(graph, backend)
    program.run()
    program.run("update")
    assert program.read("y")[0, 0] == 3


class Counting(NumpyBackend):
    """Writes down what it was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.recorded = 0
        self.replayed = 0
        self.lowered: list[str] = []

    def lower(self, node: Node, inputs: Sequence[Array], outputs: Sequence[Array]) -> Callable[[], None]:
        self.lowered.append(node.op.name)
        return super().lower(node, inputs, outputs)

    def record(self, steps: Sequence[Callable[[], None]]) -> Callable[[], None]:
        self.recorded += 1
        run = super().record(steps)

        def replay() -> None:
            self.replayed += 1
            run()

        return replay


def test_the_first_run_is_a_real_run_and_later_ones_are_recorded() -> None:
    backend = Counting()
    graph, s = step_graph()
    program = fed(graph, backend)
    for right in (-5, -11, -17):
        program.run()
        assert program.store.read(s)[0, 0] == right
    assert (backend.recorded, backend.replayed) == (1, 2)


@pytest.mark.parametrize(("share", "lowered"), [(True, ["activation"]), (False, ["reshape", "activation"])])
def test_views_run_no_code(share: bool, lowered: list[str]) -> None:
    backend, graph = Counting(), Graph()
    graph.output("y", ops.relu(ops.flatten(graph.input("x", (2, 3, 1)))))
    make_program(graph, backend, share=share)
    assert backend.lowered == lowered


# --- check ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Custom(Op):
    """y = function(x), for tests of what goes wrong."""

    name: ClassVar[str] = "custom_in_tests"
    function: Callable[[Array], Array] = field(default=np.copy)

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        return inputs


@kernel(Custom)
def _(op: Custom, x: Array) -> Array:
    return op.function(x)


def custom(x: Value, function: Callable[[Array], Array]) -> Value:
    return one(x.graph.add(Custom(function), x))


def with_custom(function: Callable[[Array], Array]) -> Graph:
    graph = Graph()
    y = ops.scale(graph.input("x", SHAPE), 1.0)
    with graph.scoped("body.log1"):
        y = custom(y, function)
    graph.output("y", ops.relu(y))
    return graph


def fail(x: Array) -> Array:
    raise RuntimeError("the device is gone")


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_check_names_the_first_node_that_is_not_finite(bad: float) -> None:
    program = fed(with_custom(lambda x: np.full_like(x, bad)), NumpyBackend())
    program.run()
    message = r"layer body\.log1 \(custom_in_tests\) made infinite or NaN values in %body\.log1\.custom_in_tests"
    with pytest.raises(FloatingPointError, match=message):
        program.run(check=True)


def test_check_names_the_node_that_fails() -> None:
    program = fed(with_custom(fail), NumpyBackend())
    with pytest.raises(GraphError, match=r"layer body\.log1 \(custom_in_tests\) failed: the device is gone"):
        program.run(check=True)
    with pytest.raises(RuntimeError, match=r"^the device is gone$"):
        program.run()


def test_check_runs_as_usual_where_all_is_well(backend: Backend) -> None:
    (graph, s), (other, t) = step_graph(), step_graph()
    usual, checked = fed(graph, backend), fed(other, backend)
    for phase in ("forward", "backward", "update", None):
        usual.run(phase)
        checked.run(phase, check=True)
    assert usual.store.read(s)[0, 0] == checked.store.read(t)[0, 0] == -11


def test_whole_numbers_are_not_looked_at(backend: Backend) -> None:
    graph = Graph()
    graph.output("y", ops.cast(graph.input("x", SHAPE), DType.int64))
    program = fed(graph, backend)
    program.run(check=True)
    assert program.read("y")[0, 0] == 3


def test_a_program_can_be_used_after_an_error() -> None:
    answers = iter([fail, np.copy])
    program = fed(with_custom(lambda x: next(answers)(x)), NumpyBackend())
    with pytest.raises(RuntimeError):
        program.run()
    program.run()
    assert program.read("y")[0, 0] == 3


# --- threads ----------------------------------------------------------------------------------------------------


@contextmanager
def running(action: Callable[[], object]) -> Any:
    """The action in another thread."""
    failed: list[BaseException] = []

    def target() -> None:
        try:
            action()
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=target)
    thread.start()
    try:
        yield thread
    finally:
        thread.join(10)
    assert not thread.is_alive()
    assert failed == []


class Gate:
    """A function that tells when it is entered and waits until it may leave."""

    def __init__(self) -> None:
        self.entered, self.open = threading.Event(), threading.Event()

    def __call__(self, x: Array) -> Array:
        self.entered.set()
        assert self.open.wait(10)
        return x


@pytest.mark.parametrize("use", ["run", "feed", "read"])
def test_two_threads_in_one_program(use: str) -> None:
    gate = Gate()
    program = fed(with_custom(gate), NumpyBackend())
    actions: dict[str, Callable[[], object]] = {
        "run": program.run,
        "feed": lambda: program.feed(x=np.zeros(SHAPE)),
        "read": lambda: program.read("y"),
    }
    with running(program.run) as other:
        assert gate.entered.wait(10)
        try:
            with pytest.raises(ConcurrentUse) as caught:
                actions[use]()
        finally:
            gate.open.set()
    assert str(caught.value) == (
        f"thread {threading.get_ident()} uses a program that thread {other.ident} is using; it serves one at a time"
    )
    actions[use]()


def test_two_threads_one_after_the_other(backend: Backend) -> None:
    program = fed(step_graph()[0], backend)
    with running(program.run):
        pass
    program.run()
    assert program.read("y")[0, 0] == 6


def test_two_programs_in_two_threads() -> None:
    gate = Gate()
    first, second = fed(with_custom(gate), NumpyBackend()), fed(with_custom(np.copy), NumpyBackend())
    with running(first.run):
        assert gate.entered.wait(10)
        second.run()
        gate.open.set()
    assert first.read("y")[0, 0] == second.read("y")[0, 0] == 3
