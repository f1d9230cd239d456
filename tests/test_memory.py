"""The memory plan: bit for bit what an unplanned run gives, and never two live values in one place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gocunets import DType, Graph, Network, State, TensorType, Value, ValueReleased, init, nn, ops, optim, zoo
from gocunets.backends import Backend
from gocunets.backends.numpy import NumpyBackend
from gocunets.passes.layout import apply_layout
from gocunets.passes.memory import Plan, plan_memory
from gocunets.program import Program
from tests.cases import CASES, Array, Case, expected
from tests.running import check_plan, differentiate, make_program

SHAPE = (2, 3)


def state(name: str, value: float) -> State:
    return State(name, TensorType(SHAPE), "parameter", lambda: np.full(SHAPE, value, np.float32))


def thesis_like() -> nn.Module:
    """The thesis's network with batch normalisation and dropout between its modules."""
    body = zoo.thesis_network()
    return nn.Sequential(body.body[0], nn.BatchNorm(), body.body[1], nn.Dropout(0.3), body.body[2], body.output)


def branches() -> nn.Module:
    return nn.Sequential(
        nn.CompressionModule([2, 3], 3),
        nn.Residual(nn.Sequential(nn.Conv(5, 3, padding=1), nn.BatchNorm(), nn.ReLU())),
        nn.Concat(nn.MaxPool(2), nn.AveragePool(2)),
        nn.Flatten(),
        nn.Dense(8),
        nn.Tanh(),
        nn.Dropout(0.5),
        nn.Dense(10),
    )


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "thesis": zoo.thesis_network,
    "thesis with batch norm and dropout": thesis_like,
    "branches": branches,
}
every_network = pytest.mark.parametrize("make", NETWORKS.values(), ids=NETWORKS)


def compiled(make: Callable[[], nn.Module], backend: Backend, **settings: Any) -> Network:
    return Network(make(), (1, 28, 28), seed=3).compile(optimizer=optim.Adam(l2=1e-4), device=backend, **settings)


def batch(number: int, size: int = 4) -> tuple[Array, Array]:
    rng = np.random.default_rng(number)
    return rng.standard_normal((size, 1, 28, 28)).astype(np.float32), rng.integers(0, 10, size)


def contents(network: Network) -> dict[str, Array]:
    store = network.compiled.store
    return {state.name: store.read(state) for state in store.states}


def training_program(network: Network) -> Program:
    return network.compiled.program("training", 4)


# --- planned = unplanned --------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES, ids=str)
def test_planned_is_unplanned_for_every_case(case: Case, backend: Backend) -> None:
    graph, values, ys = case.trace(DType.float32)
    rng = np.random.default_rng(0)
    feeds = case.feeds(DType.float32)
    if case.wrt:
        feeds |= {f"dy{i}": rng.standard_normal(expected(case)[at].shape) for i, at in enumerate(case.seeded)}
        dxs = differentiate(graph, [ys[i] for i in case.seeded], [values[name] for name in case.wrt])
        graph.outputs.clear()  # so that more memory can be shared
        for i, dx in enumerate(dxs):
            graph.output(f"dx{i}", dx)
    results = []
    for share in (True, False):
        program = make_program(graph, backend, valid=case.valid, share=share)
        check_plan(graph, program.plan)
        program.feed(**feeds)
        program.run()
        results.append({name: program.read(name).tobytes() for name in graph.outputs})
    assert results[0] == results[1]


@every_network
def test_planned_is_unplanned_over_20_steps(make: Callable[[], nn.Module], backend: Backend) -> None:
    networks = [compiled(make, backend, share=share) for share in (True, False)]
    losses = [[network.step(*batch(number)) for number in range(20)] for network in networks]
    planned, unplanned = (contents(network) for network in networks)
    assert losses[0] == losses[1]
    assert planned.keys() == unplanned.keys()
    for name in planned:
        assert planned[name].tobytes() == unplanned[name].tobytes(), name


# --- the plan itself ------------------------------------------------------------------------------------------


@every_network
def test_no_live_value_is_overwritten(make: Callable[[], nn.Module], backend: Backend) -> None:
    network = compiled(make, backend)
    for kind in ("training", "evaluation", "module", "inspection"):
        program = network.compiled.program(kind, 4)
        check_plan(program.graph, program.plan)


@every_network
def test_sharing_saves_memory(make: Callable[[], nn.Module], backend: Backend) -> None:
    planned, unplanned = (training_program(compiled(make, backend, share=share)).plan for share in (True, False))
    assert planned.arena_bytes < 0.7 * unplanned.arena_bytes


def test_the_replay_notices_an_overwritten_value() -> None:
    graph = Graph()
    x = graph.input("x", SHAPE)
    y = ops.copy(x)
    z = ops.copy(x)
    graph.output("sum", y + z)
    plan = plan_memory(graph)
    plan.slots[z] = plan.slots[y]
    with pytest.raises(AssertionError, match="%copy is gone"):
        check_plan(graph, plan)


def places(build: Callable[[Value], dict[str, Value]]) -> tuple[dict[str, Value], Plan]:
    graph = Graph()
    values = build(ops.copy(graph.input("x", SHAPE)))
    graph.output("result", values["result"])
    plan = plan_memory(graph)
    check_plan(graph, plan)
    return values, plan


def test_a_dead_input_is_overwritten_in_place() -> None:
    values, plan = places(lambda x: {"x": x, "result": ops.relu(x)})
    assert plan.slots[values["x"]] == plan.slots[values["result"]]


def test_a_live_input_is_not_overwritten() -> None:
    values, plan = places(lambda x: {"x": x, "y": (y := ops.relu(x)), "result": x + y})
    assert plan.slots[values["x"]] != plan.slots[values["y"]]


def test_an_input_that_is_read_twice_by_one_node_is_not_overwritten() -> None:
    values, plan = places(lambda x: {"x": x, "result": x + x})
    assert plan.slots[values["x"]] != plan.slots[values["result"]]


def test_a_view_shares_its_memory_and_its_life() -> None:
    def build(x: Value) -> dict[str, Value]:
        view = ops.reshape(x, (3, 1))
        late = ops.relu(ops.reshape(x, (1, 3)))
        return {"x": x, "view": view, "result": ops.concat([ops.reshape(late, (3, 1)), view])}

    values, plan = places(build)
    assert plan.slots[values["x"]] == plan.slots[values["view"]]
    assert len(plan.skipped) >= 2


def test_values_of_another_order_are_not_overwritten() -> None:
    graph, s = Graph(), State("s", TensorType((2, 3, 4)), "parameter", lambda: np.zeros((2, 3, 4), np.float32))
    x = ops.copy(graph.input("x", (2, 3, 4)))
    graph.assign(s, ops.relu(x))
    apply_layout(graph, lambda type: tuple(reversed(range(type.rank))))
    plan = plan_memory(graph)
    check_plan(graph, plan)
    assert plan.slots[x] != plan.slots[graph.assigned[s]]


class Entangled(nn.Module):
    """Weights that are added, seen in another shape, and used twice."""

    def __init__(self) -> None:
        self.a, self.b, self.c, self.d = (nn.Parameter(init.Constant(0.1)) for _ in range(4))

    def forward(self, x: Value) -> Value:
        x = ops.flatten(x)
        shape = (x.shape[1], 10)
        x = ops.fully_connected(x, self.a.read(x, shape) + self.b.read(x, shape))
        x = ops.fully_connected(x, ops.reshape(self.c.read(x, (10, 2, 5)), (10,)))
        d = self.d.read(x, (10, 10))
        return ops.fully_connected(ops.fully_connected(x, d), d)


GRADIENTS = NETWORKS | {"entangled": Entangled}


@pytest.mark.parametrize("share", [True, False])
@pytest.mark.parametrize("make", GRADIENTS.values(), ids=GRADIENTS)
def test_each_gradient_lies_in_its_own_place(make: Callable[[], nn.Module], share: bool, backend: Backend) -> None:
    network = compiled(make, backend, share=share)
    program = training_program(network)
    program.feed(**dict(zip(("x", "target"), batch(0), strict=True)))
    check_plan(program.graph, program.plan)
    outputs, store = program.graph.outputs, network.compiled.store
    for state in network.compiled.groups[0].parameters:
        assert program.plan.slots[outputs[f"gradient/{state.name}"]] == store.gradients[state], state.name


def test_slots_are_aligned(backend: Backend) -> None:
    plan = training_program(compiled(branches, backend)).plan
    assert all(slot.offset % 256 == 0 for slot in plan.slots.values())


# --- inputs, outputs, kept values -------------------------------------------------------------------------------


def read_all(graph: Graph, backend: Backend, feeds: dict[str, Array]) -> dict[str, Array]:
    program = make_program(graph, backend, share=False)
    program.feed(**feeds)
    program.run()
    return program.read_all()


def test_kept_values_survive(backend: Backend) -> None:
    graph = Graph()
    x = graph.input("x", SHAPE)
    y = x
    for number in range(6):
        y = ops.relu(ops.scale(y, 1.5)) if number % 2 else y + ops.scale(x, -0.5)
    graph.output("y", y)
    feeds = {"x": np.random.default_rng(0).standard_normal(SHAPE).astype(np.float32)}
    right = read_all(graph, backend, feeds)
    for value in [value for node in graph.nodes for value in node.outputs]:
        program = make_program(graph, backend, keep=[value])
        check_plan(graph, program.plan, [value])
        program.feed(**feeds)
        program.run()
        np.testing.assert_array_equal(program.read(value), right[value.name])


def test_a_shared_value_cannot_be_read(backend: Backend) -> None:
    graph = Graph()
    a = ops.scale(graph.input("x", SHAPE), -1.0)
    graph.output("y", ops.relu(a))  # in a's place
    program = make_program(graph, backend)
    program.run()
    with pytest.raises(ValueReleased, match=r"%scale shares its memory .*keep=\['scale'\].*Network\.inspect"):
        program.read(a)


def test_inputs_stay_for_the_next_run(backend: Backend) -> None:
    graph = Graph()
    view = ops.reshape(graph.input("x", SHAPE), (3, 1))
    graph.output("y", ops.scale(view, 2.0))
    program = make_program(graph, backend)
    program.feed(x=np.ones(SHAPE, np.float32))
    for _ in range(3):
        program.run()
    np.testing.assert_array_equal(program.read("y"), np.full((2, 3, 1), 2))
    np.testing.assert_array_equal(program.read("x"), np.ones(SHAPE))


def test_an_output_that_is_an_input(backend: Backend) -> None:
    graph = Graph()
    x = graph.input("x", SHAPE)
    graph.output("x_again", x)
    graph.output("y", ops.relu(x))
    program = make_program(graph, backend)
    program.feed(x=np.full(SHAPE, -1, np.float32))
    program.run()
    np.testing.assert_array_equal(program.read("x_again"), np.full(SHAPE, -1))


# --- states -----------------------------------------------------------------------------------------------------

Build = Callable[[Graph, State, State], None]


def swap(graph: Graph, a: State, b: State) -> None:
    graph.assign(a, graph.read(b))
    graph.assign(b, graph.read(a))


def swap_scaled(graph: Graph, a: State, b: State) -> None:
    graph.assign(a, ops.scale(graph.read(b), 2.0))
    graph.assign(b, ops.scale(graph.read(a), 3.0))


def late_read(graph: Graph, a: State, b: State) -> None:
    graph.assign(a, ops.scale(graph.read(a), 2.0))
    graph.assign(b, graph.read(a) + graph.read(b))


def late_read_of_a_chain(graph: Graph, a: State, b: State) -> None:
    first = ops.scale(graph.read(a), 2.0)
    graph.assign(a, ops.scale(first, 3.0))
    graph.assign(b, first)


def output_of_a_chain(graph: Graph, a: State, b: State) -> None:
    first = ops.scale(graph.read(a), 2.0)
    graph.output("first", first)
    graph.assign(a, ops.scale(first, 3.0))


def one_value_for_both(graph: Graph, a: State, b: State) -> None:
    value = ops.scale(graph.read(a), 2.0)
    graph.assign(a, value)
    graph.assign(b, value)


def read_after_the_final_value(graph: Graph, a: State, b: State) -> None:
    final = ops.relu(graph.read(a))
    graph.assign(a, final)
    graph.assign(b, final + graph.read(b))
    graph.output("old", graph.read(a))


def in_place_and_twice(graph: Graph, a: State, b: State) -> None:
    final = ops.scale(graph.read(a), 2.0)
    graph.assign(a, final)
    graph.assign(b, final + final)


def view_of_a_state(graph: Graph, a: State, b: State) -> None:
    graph.output("view", ops.reshape(graph.read(a), (3, 1)))
    graph.assign(a, ops.scale(graph.read(a), 2.0))


STATES: dict[str, tuple[Build, tuple[float, float]]] = {
    "swap": (swap, (5, 1)),
    "swap, scaled": (swap_scaled, (10, 3)),
    "a state read late": (late_read, (2, 6)),
    "a chain whose middle is assigned": (late_read_of_a_chain, (6, 2)),
    "a chain whose middle is an output": (output_of_a_chain, (6, 5)),
    "one value for two states": (one_value_for_both, (2, 2)),
    "a state read after its final value": (read_after_the_final_value, (1, 6)),
    "a final value that is used twice": (in_place_and_twice, (2, 4)),
    "a view of a state is an output": (view_of_a_state, (2, 5)),
}


@pytest.mark.parametrize("share", [True, False], ids=["planned", "unplanned"])
@pytest.mark.parametrize(("build", "right"), STATES.values(), ids=STATES)
def test_states_get_their_values(build: Build, right: tuple[float, float], share: bool, backend: Backend) -> None:
    graph, a, b = Graph(), state("a", 1), state("b", 5)
    graph.read(a), graph.read(b)
    build(graph, a, b)
    program = make_program(graph, backend, share=share)
    check_plan(graph, program.plan)
    program.run()
    assert (program.store.read(a)[0, 0], program.store.read(b)[0, 0]) == right


def test_outputs_survive_the_assignments() -> None:
    graph, a, b = Graph(), state("a", 1), state("b", 5)
    graph.read(b)
    output_of_a_chain(graph, a, b)
    read_after_the_final_value(graph, b, state("c", 0))
    program = make_program(graph, NumpyBackend())
    program.run()
    assert (program.read("first")[0, 0], program.read("old")[0, 0]) == (2, 5)


def test_a_state_that_is_not_assigned_stays(backend: Backend) -> None:
    graph, a = Graph(), state("a", -1)
    graph.output("y", ops.relu(graph.read(a)))
    program = make_program(graph, backend)
    program.run()
    assert program.store.read(a)[0, 0] == -1


def test_updates_are_made_in_place(backend: Backend) -> None:
    network = compiled(zoo.thesis_network, backend)
    assert training_program(network).plan.copies == []


def test_running_statistics_are_written_in_place(backend: Backend) -> None:
    assert training_program(compiled(branches, backend)).plan.copies == []


def test_unplanned_states_are_copied_at_the_end(backend: Backend) -> None:
    program = training_program(compiled(zoo.thesis_network, backend, share=False))
    assert {state for state, _ in program.plan.copies} == set(program.graph.assigned)
