"""The gradient of every op case by central differences in float64, and the rules of the gradient pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gocunets import DType, Graph, GraphError, State, TensorType, Value, ops, optim
from gocunets.backends import Backend
from gocunets.ops.elementwise import Full
from gocunets.passes.gradient import gradient
from gocunets.tracing import ParameterGroup, add_training
from tests.cases import DIFFERENTIABLE, Array, Case, expected
from tests.running import Inner, differentiate, make_program, run

STEP = 1e-5
# float32 is too coarse for differences; the gradient of that cast is exact in test_ops.py.
CHECKS = [(case, name) for case in DIFFERENTIABLE for name in case.wrt if case.name != "cast to float32"]


def dys_of(case: Case) -> list[Array]:
    rng = np.random.default_rng(5)
    return [rng.standard_normal(expected(case)[i].shape) for i in case.seeded]


def numerical(case: Case, name: str, backend: Backend) -> Array:
    """The gradient of the sum of y dy with respect to one input, by central differences."""
    graph, _, ys = case.trace(DType.float64)
    program = make_program(graph, backend, valid=case.valid)
    feeds, dys = case.feeds(DType.float64), dys_of(case)
    program.feed(**feeds)

    def total(x: Array) -> Any:
        program.feed(**{name: x})
        program.run()
        return sum((program.read(ys[i]) * dy).sum() for i, dy in zip(case.seeded, dys, strict=True))

    dx = np.zeros(feeds[name].shape)
    for place in np.ndindex(*dx.shape):
        above, below = feeds[name].copy(), feeds[name].copy()
        above[place] += STEP
        below[place] -= STEP
        dx[place] = (total(above) - total(below)) / (2 * STEP)
    return dx


@pytest.mark.parametrize(("case", "name"), CHECKS, ids=str)
def test_gradient_numerically(case: Case, name: str, backend: Backend) -> None:
    graph, values, ys = case.trace(DType.float64)
    (dx,) = differentiate(graph, [ys[i] for i in case.seeded], [values[name]])
    graph.output("dx", dx)
    dys = {f"dy{i}": dy for i, dy in enumerate(dys_of(case))}
    analytical = run(graph, backend, case.feeds(DType.float64) | dys, valid=case.valid)["dx"]
    right = numerical(case, name, backend)
    np.testing.assert_allclose(analytical, right, rtol=1e-6, atol=1e-7 * max(1, np.abs(right).max()))


# --- the pass -----------------------------------------------------------------------------------------------


def graph_of(*shapes: tuple[int, ...]) -> tuple[Graph, list[Value]]:
    graph = Graph("training")
    return graph, [graph.input(f"x{i}", shape, DType.float64) for i, shape in enumerate(shapes)]


def evaluate(graph: Graph, backend: Backend, *values: Value, valid: int = 2) -> list[Array]:
    """The values, with random inputs."""
    for i, value in enumerate(values):
        graph.output(f"result{i}", value)
    rng = np.random.default_rng(1)
    feeds = {name: rng.standard_normal(value.shape) for name, value in graph.inputs.items()}
    results = run(graph, backend, feeds, valid=valid)
    return [*feeds.values(), *results.values()]


def test_gradient_of_a_vector_is_refused() -> None:
    graph, (x,) = graph_of((2, 3))
    with pytest.raises(GraphError, match=r"%x0 needs a scalar, not shape \(2, 3\)"):
        gradient(graph, x, [x])


def test_no_path_gives_zeros(backend: Backend) -> None:
    graph, (x, unused) = graph_of((2, 3), (4, 5))
    loss = ops.masked_mean(x)
    ops.scale(unused, 2.0)  # used, but not by the loss
    dx, dunused = gradient(graph, loss, [x, unused])
    *_, dx_array, zeros = evaluate(graph, backend, dx, dunused)
    np.testing.assert_array_equal(dx_array, np.full((2, 3), 1 / 6))
    np.testing.assert_array_equal(zeros, np.zeros((4, 5)))
    assert dunused.dtype == DType.float64


def test_the_loss_has_gradient_one(backend: Backend) -> None:
    graph, (x,) = graph_of((2,))
    loss = ops.masked_mean(x)
    *_, one = evaluate(graph, backend, *gradient(graph, loss, [loss]))
    assert one == 1


def test_a_loss_that_is_an_input(backend: Backend) -> None:
    graph, (x, other) = graph_of((), (2,))
    *_, one, zeros = evaluate(graph, backend, *gradient(graph, x, [x, other]))
    assert one == 1
    np.testing.assert_array_equal(zeros, [0, 0])


def test_gradient_of_an_intermediate_value(backend: Backend) -> None:
    graph, (x,) = graph_of((2, 3))
    middle = ops.scale(x, 3.0)
    *_, dmiddle = evaluate(graph, backend, *gradient(graph, ops.masked_mean(ops.scale(middle, 2.0)), [middle]))
    np.testing.assert_allclose(dmiddle, np.full((2, 3), 2 / 6))


FAN_OUTS: dict[str, tuple[Callable[[Value], Value], float]] = {
    "sum with itself": (lambda x: x + x, 2),
    "three uses": (lambda x: ops.scale(x, 2.0) + x + ops.scale(x, -0.5), 2.5),
    "residual of a residual": (lambda x: (y := ops.scale(x, 2.0) + x) + ops.scale(y, 3.0), 12),
    "concat of the same": (lambda x: ops.split(ops.concat([x, x, x]), (3, 6))[0], 1),
    "split and sum": (lambda x: sum_of(ops.split(x, (1, 1, 1))), 1),
}


def sum_of(values: tuple[Value, ...]) -> Value:
    first, *rest = values
    for value in rest:
        first = first + value
    return first


@pytest.mark.parametrize(("build", "factor"), FAN_OUTS.values(), ids=FAN_OUTS)
def test_fan_out_is_summed(build: Callable[[Value], Value], factor: float, backend: Backend) -> None:
    graph, (x,) = graph_of((2, 3))
    y = build(x)
    (dx,) = differentiate(graph, [y], [x])
    _, dy, result = evaluate(graph, backend, dx)
    np.testing.assert_allclose(result, np.broadcast_to(dy * factor, (2, 3)), rtol=1e-14)


def test_fan_out_is_summed_in_the_order_of_the_uses_walking_backwards() -> None:
    graph, (x,) = graph_of((2, 3))
    first, second, third = (ops.scale(x, factor) for factor in (1.0, 2.0, 3.0))
    (dx,) = differentiate(graph, [first, second, third], [x])
    assert dx.node is not None
    inner, last = dx.node.inputs
    assert inner.node is not None
    assert last.node is not None
    factors = [value.node.op.factor for value in (*inner.node.inputs, last)]  # type: ignore[union-attr, attr-defined]
    assert factors == [3.0, 2.0, 1.0]


def test_labels_have_no_gradient(backend: Backend) -> None:
    graph, (x,) = graph_of((2, 3))
    labels = graph.input("labels", (2,), DType.int64)
    loss = ops.masked_mean(ops.cross_entropy(x, labels))
    _, zeros = gradient(graph, loss, [x, labels])
    assert zeros.type.same_as(labels.type)
    assert zeros.node is not None
    assert zeros.node.op.name == "full"


def test_whole_numbers_stop_the_gradient() -> None:
    graph, (x,) = graph_of((2, 3))
    y = ops.cast(ops.cast(x, DType.int64), DType.float64)
    (dx,) = differentiate(graph, [y], [x])
    assert dx.node is not None
    assert dx.node.op == Full((2, 3), DType.float64, 0.0)


def test_a_gradient_that_is_a_value_of_the_forward_pass_is_copied() -> None:
    state = State("w", TensorType((2, 3)), "parameter", lambda: np.zeros((2, 3)))
    graph = Graph("training")
    x = ops.relu(graph.input("x", (2, 3)))
    graph.output("loss", graph.add(Inner(), graph.read(state), x)[0])
    gradients = add_training(graph, [ParameterGroup(optim.SGD(), (state,), ())])
    (dw,) = gradients.values()
    assert dw.node is not None
    assert (dw.node.op.name, dw.node.inputs, dw.node.phase) == ("copy", (x,), "backward")


NOT_WANTED = [
    (lambda x, w: ops.convolution(x, w), (2, 3, 4, 4), (5, 3, 2, 2), "convolution_backward_data"),
    (lambda x, w: ops.transposed_convolution(x, w), (2, 3, 4, 4), (3, 5, 2, 2), "convolution"),
    (lambda x, w: ops.fully_connected(x, w), (2, 3), (3, 4), "fully_connected_backward_data"),
    (lambda x, w: ops.squared_error(w, x), (2, 3), (2, 3), None),
]


@pytest.mark.parametrize(("build", "x_shape", "w_shape", "absent"), NOT_WANTED)
def test_what_is_not_wanted_is_not_computed(
    build: Callable[..., Value], x_shape: tuple[int, ...], w_shape: tuple[int, ...], absent: str | None
) -> None:
    graph, (x, w) = graph_of(x_shape, w_shape)
    y = build(x, w)
    differentiate(graph, [y], [w])
    backward = [node.op.name for node in graph.nodes if node.phase == "backward" and node.op.name != "full"]
    assert absent not in backward
    assert len(backward) == 1


def test_nodes_after_the_loss_have_no_gradient() -> None:
    graph, (x,) = graph_of((2, 3))
    loss = ops.masked_mean(x)
    ops.masked_mean(ops.relu(x))
    gradient(graph, loss, [x])
    assert not any(node.op.name == "activation_backward" for node in graph.nodes)


def test_backward_nodes_carry_phase_and_scope() -> None:
    graph, (x,) = graph_of((2, 3))
    with graph.scoped("body.tanh1"):
        y = ops.activation(x, "tanh")
    differentiate(graph, [y], [x])
    node = next(node for node in graph.nodes if node.op.name == "activation_backward")
    assert (node.phase, node.scope) == ("backward", "body.tanh1")
    assert node.outputs[0].name.startswith("body.tanh1.")


def test_an_op_without_gradient_is_named() -> None:
    graph, (x, vector) = graph_of((2, 3), (3,))
    y = ops.batch_norm_inference(x, vector, vector, vector, vector)
    with pytest.raises(GraphError, match="op batch_norm_inference has no gradient rule"):
        gradient(graph, ops.masked_mean(y), [x])


@pytest.mark.parametrize("output", [1, 2], ids=["mean", "invstd"])
def test_no_gradient_goes_through_the_statistics_of_batch_norm(output: int) -> None:
    graph, (x, vector) = graph_of((2, 3), (3,))
    y, *statistics = ops.batch_norm(x, vector, vector)
    loss = ops.masked_mean(y) + ops.masked_mean(statistics[output - 1])
    with pytest.raises(GraphError, match="through y only"):
        gradient(graph, loss, [x])


def test_batch_norm_without_its_y_in_the_loss() -> None:
    graph, (x, vector) = graph_of((2, 3), (3,))
    with pytest.raises(GraphError, match="through y only"):
        gradient(graph, ops.masked_mean(ops.batch_norm(x, vector, vector)[1]), [x])


def test_a_weight_used_twice_gets_the_sum(backend: Backend) -> None:
    graph, (x, w) = graph_of((2, 3), (3, 3))
    y = ops.fully_connected(ops.fully_connected(x, w), w)
    (dw,) = differentiate(graph, [y], [w])
    x_array, w_array, dy, result = evaluate(graph, backend, dw)
    right = x_array.T @ (dy @ w_array.T) + (x_array @ w_array).T @ dy
    np.testing.assert_allclose(result, right, rtol=1e-12)


def test_the_same_gradient_asked_for_twice(backend: Backend) -> None:
    graph, (x,) = graph_of((2, 3))
    first, second = gradient(graph, ops.masked_mean(x), [x, x])
    assert first is second
