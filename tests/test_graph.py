"""Graph, Value, State, TensorType, the layout pass, and ops as data."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

from gocunets import DType, Graph, GraphError, State, TensorType, ops
from gocunets.backends import Backend
from gocunets.graph import Node
from gocunets.ops import Op
from gocunets.passes.layout import apply_layout
from gocunets.registry import Registered
from tests.cases import CASES, Case
from tests.running import differentiate, make_program, run

SHAPE = (2, 3)


def state(name: str = "s", shape: tuple[int, ...] = SHAPE, value: float = 1.0) -> State:
    return State(name, TensorType(shape), "parameter", lambda: np.full(shape, value, np.float32))


# --- what a graph refuses -------------------------------------------------------------------------------------


def test_an_input_is_declared_once() -> None:
    graph = Graph()
    graph.input("x", SHAPE)
    with pytest.raises(GraphError, match="input x is declared twice"):
        graph.input("x", SHAPE)


def test_an_output_is_declared_once() -> None:
    graph = Graph()
    x = graph.input("x", SHAPE)
    graph.output("y", x)
    with pytest.raises(GraphError, match="output y is declared twice"):
        graph.output("y", x)


def test_a_state_is_assigned_once() -> None:
    graph, s = Graph(), state()
    graph.assign(s, ops.copy(graph.read(s)))
    with pytest.raises(GraphError, match="state s is assigned twice"):
        graph.assign(s, ops.copy(graph.read(s)))


@pytest.mark.parametrize(("shape", "dtype"), [((3, 2), DType.float32), (SHAPE, DType.float64)])
def test_a_state_keeps_its_type(shape: tuple[int, ...], dtype: DType) -> None:
    graph = Graph()
    value = ops.copy(graph.input("x", shape, dtype))
    with pytest.raises(GraphError, match=r"state s is float32\[2, 3\], assigned float"):
        graph.assign(state(), value)


def test_a_value_belongs_to_one_graph() -> None:
    x = Graph().input("x", SHAPE)
    with pytest.raises(GraphError, match="add: %y belongs to another graph"):
        ops.add(x, Graph().input("y", SHAPE))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TensorType((1,) * 6), "rank 6 of"),
        (lambda: TensorType((2, -1)), "negative extent"),
        (lambda: TensorType((2, 3), order=(0, 0)), "no permutation"),
        (lambda: TensorType((2, 3), order=(0, 1, 2)), "no permutation"),
    ],
)
def test_types_that_cannot_be(make: Callable[[], TensorType], message: str) -> None:
    with pytest.raises(GraphError, match=message):
        make()


# --- verify ---------------------------------------------------------------------------------------------------


def chain() -> Graph:
    graph = Graph()
    graph.output("y", ops.relu(ops.scale(graph.input("x", SHAPE), 2.0)))
    return graph


def test_verify_accepts_what_add_made() -> None:
    chain().verify()


def test_verify_sees_nodes_out_of_order() -> None:
    graph = chain()
    graph.nodes.reverse()
    with pytest.raises(GraphError, match="%scale is used before it is made"):
        graph.verify()


def test_verify_sees_a_value_made_twice() -> None:
    graph = chain()
    graph.nodes.append(graph.nodes[0])
    with pytest.raises(GraphError, match="%scale is made twice"):
        graph.verify()


def test_verify_sees_a_wrong_type() -> None:
    graph = chain()
    graph.nodes[0].outputs[0].type = TensorType((3, 2))
    with pytest.raises(GraphError, match=r"%scale should be float32\[2, 3\]"):
        graph.verify()


def test_verify_sees_an_output_that_no_node_makes() -> None:
    graph = chain()
    graph.nodes.pop()
    with pytest.raises(GraphError, match="output %activation is made by no node"):
        graph.verify()


def test_verify_sees_an_assigned_value_that_no_node_makes() -> None:
    graph, s = Graph(), state()
    graph.assign(s, ops.scale(graph.read(s), 2.0))
    graph.nodes.clear()
    with pytest.raises(GraphError, match="assigned value %scale is made by no node"):
        graph.verify()


# --- names ------------------------------------------------------------------------------------------------------


def test_names_are_unique() -> None:
    graph = Graph()
    x = graph.input("x", SHAPE)
    values = [ops.relu(x) for _ in range(3)] + [graph.read(state("x"))]
    assert [value.name for value in values] == ["activation", "activation_1", "activation_2", "x_1"]


def test_scopes_name_values_and_end() -> None:
    graph = Graph()
    x = graph.input("x", SHAPE)
    with graph.scoped("body"), graph.scoped("body.relu1"):
        y = ops.relu(x)
    with pytest.raises(GraphError, match=r"layer body \(add\): a is float32"), graph.scoped("body"):
        ops.add(x, graph.input("z", (3,)))
    assert (y.name, graph.scope) == ("body.relu1.activation", "")


def test_a_graph_prints_all_it_holds() -> None:
    graph, s = chain(), state()
    graph.assign(s, ops.scale(graph.read(s), 3.0))
    lines = str(graph).splitlines()
    assert lines[0] == "graph (inference)"
    assert "  input %x: float32[2, 3]" in lines
    assert "  state %s: float32[2, 3]" in lines
    assert "  %scale: float32[2, 3] = scale(factor=2.0)(%x)" in [line.replace("Scale(", "scale(") for line in lines]
    assert "  s <- %scale_1" in lines
    assert "  output y = %activation" in lines


# --- states -----------------------------------------------------------------------------------------------------


def test_a_state_is_one_value() -> None:
    graph, s = Graph(), state()
    assert graph.read(s) is graph.read(s)
    assert graph.step is graph.step


def test_what_was_read_is_what_the_run_began_with(backend: Backend) -> None:
    graph, s = Graph(), state()
    graph.output("before", graph.read(s))
    graph.assign(s, ops.scale(graph.read(s), 2.0))
    program = make_program(graph, backend)
    for expected in (1, 2, 4):
        program.run()
        np.testing.assert_array_equal(program.read("before"), np.full(SHAPE, expected))


def test_an_assigned_input_is_copied(backend: Backend) -> None:
    graph, s = Graph(), state()
    graph.assign(s, graph.input("x", SHAPE))
    program = make_program(graph, backend)
    program.feed(x=np.full(SHAPE, 5, np.float32))
    program.run()
    np.testing.assert_array_equal(program.store.read(s), np.full(SHAPE, 5))


def test_two_traces_number_random_ops_alike() -> None:
    def masks() -> list[object]:
        graph = Graph("training")
        x = graph.input("x", SHAPE)
        ops.dropout(ops.dropout(x, 0.5), 0.2)
        return [node.op for node in graph.nodes]

    first, second = masks()
    assert masks() == [first, second]
    assert first != second


def test_consumers_lists_the_readers_in_order() -> None:
    graph = Graph()
    x = graph.input("x", SHAPE)
    y = x + ops.relu(x)
    relu, add = graph.nodes
    assert graph.consumers() == {x: [relu, add], relu.outputs[0]: [add]}
    assert y not in graph.consumers()


# --- types ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("order", "strides"),
    [((), (60, 20, 5, 1)), ((0, 2, 3, 1), (60, 1, 15, 3)), ((1, 2, 3, 0), (1, 40, 10, 2))],
    ids=["row-major", "channels last", "batch innermost"],
)
def test_strides_follow_the_order(order: tuple[int, ...], strides: tuple[int, ...]) -> None:
    type = TensorType((2, 3, 4, 5), order=order)
    assert type.strides == strides
    assert (type.rank, type.size, type.nbytes) == (4, 120, 480)


def test_the_order_is_no_part_of_the_type() -> None:
    type = TensorType((2, 3, 4))
    assert type.same_as(type.with_order((2, 1, 0)))
    assert type != type.with_order((2, 1, 0))
    assert str(type.with_order((0, 2, 1))) == "float32[2, 3, 4] order (0, 2, 1)"


def test_a_scalar_has_one_element() -> None:
    assert (TensorType(()).size, TensorType(()).nbytes, TensorType(()).strides) == (1, 4, ())


@pytest.mark.parametrize("dtype", [dtype for dtype in DType if dtype is not DType.bfloat16])
def test_dtypes_are_those_of_numpy(dtype: DType) -> None:
    assert dtype.itemsize == dtype.numpy().itemsize
    assert dtype.is_float == (dtype.numpy().kind == "f")
    assert DType.of(dtype.numpy()) is dtype
    assert DType.of(str(dtype)) is dtype


def test_dtypes_that_numpy_has_not(monkeypatch: pytest.MonkeyPatch) -> None:
    assert DType.bfloat16.is_float
    assert DType.bfloat16.itemsize == 2
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    with pytest.raises(TypeError, match="bfloat16 arrays need ml_dtypes"):
        DType.bfloat16.numpy()
    with pytest.raises(TypeError, match="dtype complex64 is none of bool, uint8"):
        DType.of(np.complex64)


# --- layout -----------------------------------------------------------------------------------------------------


def reverse(type: TensorType) -> tuple[int, ...]:
    return tuple(reversed(range(type.rank)))


def test_layout_leaves_states_and_what_is_pinned() -> None:
    graph, s = Graph(), state(shape=(2, 3, 4))
    x, w = graph.input("x", (2, 3, 4)), graph.read(s)
    free, pinned, assigned = x + w, ops.relu(x), ops.scale(w, 2.0)
    graph.assign(s, assigned)
    apply_layout(graph, reverse, [pinned])
    assert {v.name: v.type.order for v in (x, w, free, pinned, assigned)} == {
        "x": (2, 1, 0),
        "s": (0, 1, 2),
        "add": (2, 1, 0),
        "activation": (0, 1, 2),
        "scale": (0, 1, 2),
    }
    graph.verify()


# --- ops as data ------------------------------------------------------------------------------------------------


def nodes_of(case: Case) -> list[Node]:
    graph, values, ys = case.trace(DType.float32)
    if case.wrt:
        differentiate(graph, [ys[i] for i in case.seeded], [values[name] for name in case.wrt])
    return graph.nodes


@pytest.mark.parametrize("case", CASES, ids=str)
def test_ops_survive_json(case: Case) -> None:
    for node in nodes_of(case):
        restored = Op.restore(json.loads(json.dumps(node.op.describe())))
        assert restored == node.op
        assert [y.type for y in node.outputs] == list(restored.infer(*(x.type for x in node.inputs)))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_flops_are_counted(case: Case) -> None:
    for node in nodes_of(case):
        assert node.op.flops([x.type for x in node.inputs], [y.type for y in node.outputs]) >= 0


@pytest.mark.parametrize(
    ("name", "flops"),
    [
        ("convolution 1x1", 2 * (3 * 5 * 9) * 4 + 3 * 5 * 9),
        ("convolution 2d without bias", 2 * (2 * 3 * 5 * 5) * 2 * 9),
        ("convolution depthwise", 2 * (2 * 4 * 5 * 6) * 9 + 2 * 4 * 5 * 6),
        ("transposed convolution 2d without bias", 2 * (2 * 2 * 3 * 4) * 3 * 6),
        ("fully connected ", 2 * 3 * 5 * 4 + 3 * 4),
        ("add", 12),
        ("reshape", 0),
    ],
)
def test_flops_of_some_ops(name: str, flops: int) -> None:
    (node,) = next(case for case in CASES if case.name == name).trace(DType.float32)[0].nodes
    assert node.op.flops([x.type for x in node.inputs], [y.type for y in node.outputs]) == flops


def test_an_unknown_op_is_refused() -> None:
    with pytest.raises(ValueError, match=r"unknown op 'nonsense'.*import the module that defines it"):
        Op.restore({"family": "op", "name": "nonsense", "version": 1})


def test_a_newer_op_is_refused() -> None:
    with pytest.raises(ValueError, match="version 2"):
        Op.restore({"family": "op", "name": "add", "version": 2})


def test_a_name_is_given_once() -> None:
    with pytest.raises(ValueError, match=r"op 'add' is gocunets.ops.elementwise.Add already"):

        @dataclass(frozen=True)
        class Another(Op):
            name: ClassVar[str] = "add"


def test_a_family_of_one_has_its_own_names() -> None:
    class Colour(Registered, family="colour"):
        pass

    @dataclass(frozen=True)
    class Red(Colour):
        name: ClassVar[str] = "add"
        shade: int = 3

    assert Colour.restore(Red(5).describe()) == Red(5)


def test_outputs_run_as_printed(backend: Backend) -> None:
    y = run(chain(), backend, {"x": np.array([[1, -2, 3], [0, 4, -5]], np.float32)})["y"]
    np.testing.assert_array_equal(y, [[2, 0, 6], [0, 8, 0]])
