"""Every op case on every backend: results, memory orders, gradients within the bound, and that errors are noticed."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gocunets import DType, Graph, GraphError, Node, TensorType, Value, ops
from gocunets.backends import Backend
from gocunets.backends.numpy import NumpyBackend
from gocunets.ops import Op
from gocunets.ops.shape import Slice
from gocunets.passes.layout import Freedom, any_order, apply_layout
from tests.cases import CASES, DIFFERENTIABLE, Array, Arrays, Case, absolute, arrays, expected, magnitudes, rounded
from tests.convnetgo.bound import assert_within
from tests.running import differentiate, run

every_case = pytest.mark.parametrize("case", CASES, ids=str)
every_differentiable = pytest.mark.parametrize("case", DIFFERENTIABLE, ids=str)
every_dtype = pytest.mark.parametrize("dtype", [DType.float32, DType.float64])
Order = Callable[[TensorType], tuple[int, ...]]
ORDERS: dict[str, Order] = {
    "batch innermost": lambda type: tuple(range(1, type.rank)) + (0,) * bool(type.rank),
    "channels last": lambda type: (0, *range(2, type.rank), 1) if type.rank > 2 else tuple(range(type.rank)),
    "reversed": lambda type: tuple(reversed(range(type.rank))),
}
every_order = pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)


def forward(
    case: Case,
    backend: Backend,
    dtype: DType,
    order: Order | None = None,
    freedom: Callable[[Node], Freedom] = any_order,
    **changed: Array,
) -> list[Array]:
    """The outputs of the case, with some inputs changed."""
    graph, _, _ = case.trace(dtype)
    if order:
        apply_layout(graph, order, freedom=freedom)
    results = run(graph, backend, case.feeds(dtype) | changed, valid=case.valid)
    return list(results.values())


def backward(
    case: Case,
    backend: Backend,
    dtype: DType,
    inputs: Arrays,
    dys: Arrays,
    order: Order | None = None,
    freedom: Callable[[Node], Freedom] = any_order,
) -> list[Array]:
    """The gradient of the sum of y dy for each of `wrt`."""
    graph, values, ys = case.trace(dtype)
    wrt = [values[name] for name in case.wrt]
    dxs = differentiate(graph, [ys[i] for i in case.seeded], wrt)
    graph.outputs.clear()
    for name, dx in zip(case.wrt, dxs, strict=True):
        graph.output(f"d{name}", dx)
    if order:
        apply_layout(graph, order, freedom=freedom)
    given = [*inputs, *dys]
    feeds = {
        name: array.astype(value.dtype.numpy())
        for (name, value), array in zip(graph.inputs.items(), given, strict=True)
    }
    return list(run(graph, backend, feeds, valid=case.valid).values())


def dys_of(case: Case, dtype: DType = DType.float32) -> Arrays:
    """A dy for each output that gets one, rounded to a dtype."""
    rng = np.random.default_rng(99)
    shapes = [expected(case)[i].shape for i in case.seeded]
    return tuple(rng.standard_normal(shape).astype(dtype.numpy()).astype(np.float64) for shape in shapes)


def assert_outputs(case: Case, outputs: list[Array], dtype: DType = DType.float32) -> None:
    """Each output within the bound of its own dtype, or exactly right; inputs are rounded to `dtype`."""
    for y, right, size in zip(outputs, expected(case, dtype), magnitudes(case, dtype), strict=True):
        if case.exact or not DType.of(y.dtype).is_float:
            np.testing.assert_array_equal(y, right.astype(y.dtype))
        else:
            assert_within(y, right, size, case.terms, y.dtype)


def assert_gradients(case: Case, dxs: list[Array], dtype: DType = DType.float32) -> None:
    """Each gradient within the bound around the one in float64, which test_gradient.py checks numerically."""
    oracle, inputs, dys = NumpyBackend(), rounded(case, dtype), dys_of(case, dtype)
    right = backward(case, oracle, DType.float64, inputs, dys)
    if case.backward_magnitude == "absolute":
        sizes = backward(case, oracle, DType.float64, absolute(inputs), absolute(dys))
    elif case.backward_magnitude == "masked":
        sizes = backward(case, oracle, DType.float64, inputs, absolute(dys))
    else:
        sizes = list(case.backward_magnitude(inputs, dys))
    for dx, exact, size in zip(dxs, right, sizes, strict=True):
        assert_within(dx, exact, size, case.backward_terms, dx.dtype)


@every_case
@every_dtype
def test_forward(case: Case, backend: Backend, dtype: DType) -> None:
    outputs = forward(case, backend, dtype)
    assert [y.dtype for y in outputs] == [y.dtype.numpy() for y in case.trace(dtype)[2]]
    assert_outputs(case, outputs)


@every_case
@every_order
def test_memory_order_does_not_matter(case: Case, backend: Backend, order: Order) -> None:
    assert_outputs(case, forward(case, backend, DType.float32, order))


@every_differentiable
def test_gradient_in_float32(case: Case, backend: Backend) -> None:
    assert_gradients(case, backward(case, backend, DType.float32, arrays(case), dys_of(case)))


@every_differentiable
@every_order
def test_memory_order_does_not_matter_to_gradients(case: Case, backend: Backend, order: Order) -> None:
    assert_gradients(case, backward(case, backend, DType.float32, arrays(case), dys_of(case), order))


def nudged(case: Case, name: str) -> Array:
    """An input with one number wrong by 1 %, or one label by 1: the largest number that the result depends on."""
    index = list(case.inputs).index(name)
    for place in np.argsort(arrays(case)[index], axis=None)[::-1]:
        inputs = [array.copy() for array in arrays(case)]
        moved = inputs[index]
        if moved.dtype.kind == "f":
            moved.flat[place] *= 1.01
        else:
            moved.flat[place] = moved.flat[place] - 1 if moved.flat[place] else 1
        if any(np.any(a != b) for a, b in zip(expected(case), map(np.asarray, results(case, inputs)), strict=True)):
            return moved
    raise AssertionError(f"{case} depends on no number of {name}")


def results(case: Case, inputs: list[Array]) -> list[Any]:
    """What the reference makes of other inputs."""
    answer = case.reference(*inputs)
    return list(answer) if isinstance(answer, tuple | list) else [answer]


MUTATIONS = [(case, name) for case in CASES for name in case.inputs if name not in case.inert]


@pytest.mark.parametrize(("case", "name"), MUTATIONS, ids=lambda part: str(part))
def test_one_number_wrong_by_one_percent_is_noticed(case: Case, name: str, backend: Backend) -> None:
    dtype = case.inputs[name].dtype or DType.float32
    wrong = forward(case, backend, DType.float32, **{name: nudged(case, name).astype(dtype.numpy())})
    with pytest.raises(AssertionError):
        assert_outputs(case, wrong)


@every_differentiable
def test_one_dy_wrong_by_one_percent_is_noticed(case: Case, backend: Backend) -> None:
    dys = nudged_dys(case)
    with pytest.raises(AssertionError, match="beyond the bound"):
        assert_gradients(case, backward(case, backend, DType.float32, arrays(case), dys))


def nudged_dys(case: Case) -> Arrays:
    """The dys with one number wrong by 1 %, where no mask is zero."""
    oracle, right = NumpyBackend(), dys_of(case)
    dxs = backward(case, oracle, DType.float64, arrays(case), right)
    for place in range(right[0].size):
        dys = [dy.copy() for dy in right]
        dys[0].flat[place] *= 1.01
        moved = backward(case, oracle, DType.float64, arrays(case), tuple(dys))
        if any(np.any(a != b) for a, b in zip(dxs, moved, strict=True)):
            return tuple(dys)
    raise AssertionError(f"{case}: the gradients depend on no dy")


COUNTED = ["dropout 0.5 of (3, 7)", "masked mean of 3 of (5,)", "count correct of 11 of (20, 3)"]


@pytest.mark.parametrize("name", COUNTED)
def test_a_wrong_step_state_is_noticed(name: str, backend: Backend) -> None:
    case = next(case for case in CASES if case.name == name)
    graph, _, _ = case.trace(DType.float32)
    wrong = run(graph, backend, case.feeds(DType.float32), valid=case.valid // 2, seed=8)
    with pytest.raises(AssertionError):
        assert_outputs(case, list(wrong.values()))


def test_every_op_occurs_in_a_case() -> None:
    used = set()
    for case in CASES:
        graph, values, ys = case.trace(DType.float32)
        if case.wrt:
            differentiate(graph, [ys[i] for i in case.seeded], [values[name] for name in case.wrt])
        used |= {node.op.name for node in graph.nodes}
    ours = {name for name, op in Op.members.items() if op.__module__.startswith("gocunets.ops.")}
    assert ours - used == set()


F64 = DType.float64


def wrong(name: str, build: Callable[..., Any], inputs: list[Any], message: str) -> Any:
    return pytest.param(build, inputs, message, id=name)


WRONG_SHAPES = [
    wrong(
        "channels",
        ops.convolution,
        [(2, 3, 8, 8), (4, 2, 3, 3)],
        "convolution: x has 3 channels, w expects 2 (x=(2, 3, 8, 8), w=(4, 2, 3, 3), groups=1)",
    ),
    wrong(
        "filter rank",
        ops.convolution,
        [(2, 3, 8, 8), (4, 3, 3)],
        "convolution: w has 3 axes, x has 4 (x=(2, 3, 8, 8), w=(4, 3, 3), groups=1)",
    ),
    wrong(
        "too few axes", ops.convolution, [(2, 3), (4, 3)], "convolution: x has 2 axes, expected 3, 4 or 5 (x=(2, 3))"
    ),
    wrong(
        "too many axes",
        ops.convolution,
        [(2, 3, 4, 4, 4), (4, 3, 1, 1)],
        "convolution: w has 4 axes, x has 5 (x=(2, 3, 4, 4, 4), w=(4, 3, 1, 1), groups=1)",
    ),
    wrong(
        "window too large",
        ops.convolution,
        [(2, 3, 4, 4), (4, 3, 5, 3)],
        "convolution: window spans 5 cells, padded input has 4 on spatial axis 0 (input=(4, 4)",
    ),
    wrong("bias", ops.convolution, [(2, 3, 4, 4), (4, 3, 3, 3), (3,)], "b has shape (3,), the output has 4 channels"),
    wrong(
        "filter dtype",
        ops.convolution,
        [(2, 3, 4, 4), ((4, 3, 3, 3), F64)],
        "x is float32, w is float64; they must agree",
    ),
    wrong(
        "groups",
        lambda x, w: ops.convolution(x, w, groups=2),
        [(2, 4, 4, 4), (3, 2, 3, 3)],
        "convolution: 3 filters do not divide into 2 groups (x=(2, 4, 4, 4), w=(3, 2, 3, 3), groups=2)",
    ),
    wrong(
        "stride of 3 axes",
        lambda x, w: ops.convolution(x, w, stride=(1, 1, 1)),
        [(2, 3, 4, 4), (4, 3, 3, 3)],
        "convolution: stride is (1, 1, 1), expected 1 or 2 integers",
    ),
    wrong(
        "stride 0",
        lambda x, w: ops.convolution(x, w, stride=0),
        [(2, 3, 4, 4), (4, 3, 3, 3)],
        "convolution: stride is (0, 0), expected at least 1",
    ),
    wrong(
        "transposed channels",
        ops.transposed_convolution,
        [(2, 3, 4, 4), (2, 3, 2, 2)],
        "transposed_convolution: x has 3 channels, w expects 2 (x=(2, 3, 4, 4), w=(2, 3, 2, 2), groups=1)",
    ),
    wrong(
        "output padding",
        lambda x, w: ops.transposed_convolution(x, w, output_padding=1),
        [(2, 3, 4, 4), (3, 3, 2, 2)],
        "transposed_convolution: output_padding (1, 1) is not below the stride (1, 1)",
    ),
    wrong(
        "transposed to nothing",
        lambda x, w: ops.transposed_convolution(x, w, padding=3),
        [(2, 3, 2, 2), (3, 3, 2, 2)],
        "transposed_convolution: y would be (-3, -3) (input=(2, 2)",
    ),
    wrong(
        "features",
        ops.fully_connected,
        [(2, 3), (4, 5)],
        "x has shape (2, 3), w has (4, 5); (N, I) and (I, O) are needed",
    ),
    wrong(
        "images to fully connected",
        ops.fully_connected,
        [(2, 3, 4, 4), (4, 5)],
        "x has shape (2, 3, 4, 4), w has (4, 5); (N, I) and (I, O) are needed",
    ),
    wrong(
        "fully connected bias",
        ops.fully_connected,
        [(2, 3), (3, 5), (3,)],
        "b has shape (3,), the output has 5 features",
    ),
    wrong(
        "fully connected dtype",
        ops.fully_connected,
        [(2, 3), ((3, 5), F64)],
        "x is float32, w is float64; they must agree",
    ),
    wrong(
        "pool window",
        lambda x: ops.max_pool(x, 5),
        [(2, 3, 4, 4)],
        "pool: window spans 5 cells, padded input has 4 on spatial axis 0 (input=(4, 4)",
    ),
    wrong(
        "pool padding",
        lambda x: ops.average_pool(x, 2, padding=2),
        [(2, 3, 4, 4)],
        "pool: padding (2, 2) is not smaller than the window (2, 2) (x=(2, 3, 4, 4))",
    ),
    wrong(
        "pool of features", lambda x: ops.max_pool(x, 2), [(2, 3)], "pool: x has 2 axes, expected 3, 4 or 5 (x=(2, 3))"
    ),
    wrong(
        "pool of whole numbers",
        lambda x: ops.max_pool(x, 2),
        [((2, 3, 4), DType.int32)],
        "x is int32; a floating-point type is needed",
    ),
    wrong(
        "activation of whole numbers", ops.relu, [((2, 3), DType.int64)], "x is int64; a floating-point type is needed"
    ),
    wrong("add of other shapes", ops.add, [(2, 3), (2, 1)], "a is float32[2, 3], b is float32[2, 1]; they must agree"),
    wrong(
        "add of other dtypes",
        ops.add,
        [(2, 3), ((2, 3), F64)],
        "a is float32[2, 3], b is float64[2, 3]; they must agree",
    ),
    wrong(
        "scale of whole numbers",
        lambda x: ops.scale(x, 2.0),
        [((2,), DType.int32)],
        "x is int32; a floating-point type is needed",
    ),
    wrong(
        "gamma", ops.batch_norm, [(2, 3, 4, 4), (4,), (3,)], "x has shape (2, 3, 4, 4), so gamma needs (3,), not (4,)"
    ),
    wrong(
        "beta dtype",
        ops.batch_norm,
        [(2, 3, 4, 4), (3,), ((3,), F64)],
        "x is float32, beta is float64; they must agree",
    ),
    wrong("batch norm of a vector", ops.batch_norm, [(3,), (), ()], "x has shape (3,); (N, C, *S) is needed"),
    wrong(
        "running variance",
        ops.batch_norm_inference,
        [(2, 3), (3,), (3,), (3,), (2,)],
        "x has shape (2, 3), so variance needs (3,), not (2,)",
    ),
    wrong("softmax axis", lambda x: ops.softmax(x, 2), [(2, 3)], "axis 2 is not one of x's 2 axes (x=(2, 3))"),
    wrong(
        "labels a class axis",
        ops.cross_entropy,
        [(2, 3), ((2, 3), DType.int64)],
        "logits have shape (2, 3), labels (2, 3); (N, C, *S) and (N, *S)",
    ),
    wrong("float labels", ops.cross_entropy, [(2, 3), (2,)], "labels are float32; int32 or int64 is needed"),
    wrong(
        "labels to count",
        ops.count_correct,
        [(2, 3, 4), ((2,), DType.int64)],
        "logits have shape (2, 3, 4), labels (2,); (N, C, *S) and (N, *S)",
    ),
    wrong(
        "target", ops.squared_error, [(2, 3), (2, 4)], "y is float32[2, 3], target is float32[2, 4]; they must agree"
    ),
    wrong("mean of a scalar", ops.masked_mean, [()], "losses have shape (); one a sample is needed"),
    wrong("reshape", lambda x: ops.reshape(x, (5,)), [(2, 3, 2)], "6 elements a sample (x=(2, 3, 2)) do not fill (5,)"),
    wrong(
        "reshape with two -1",
        lambda x: ops.reshape(x, (-1, -1)),
        [(2, 3, 2)],
        "6 elements a sample (x=(2, 3, 2)) do not fill (-1, -1)",
    ),
    wrong("flatten of a scalar", ops.flatten, [()], "x is a scalar; a batch axis is needed"),
    wrong(
        "concat of other extents",
        lambda *v: ops.concat(v),
        [(2, 3, 4), (2, 3, 5)],
        "float32[2, 3, 5] does not join float32[2, 3, 4] along axis 1",
    ),
    wrong(
        "concat of other ranks",
        lambda *v: ops.concat(v),
        [(2, 3), (2,)],
        "float32[2] does not join float32[2, 3] along axis 1",
    ),
    wrong("concat axis", lambda *v: ops.concat(v, 2), [(2, 3), (2, 3)], "axis 2 is not one of the 2 axes of (2, 3)"),
    wrong("split sizes", lambda x: ops.split(x, (1, 1)), [(2, 3)], "sizes (1, 1) do not cut axis 1 of (2, 3)"),
    wrong("split into nothing", lambda x: ops.split(x, (0, 3)), [(2, 3)], "sizes (0, 3) do not cut axis 1 of (2, 3)"),
    wrong(
        "pad of other axes",
        lambda x: ops.pad(x, (1,), (1,)),
        [(2, 3, 4)],
        "padding (1,), (1,) has not one number for each axis after the first of (2, 3, 4)",
    ),
    wrong("negative padding", lambda x: ops.pad(x, (-1,), (1,)), [(2, 3)], "padding (-1,), (1,) is negative"),
    wrong("slice", lambda x: x.graph.add(Slice((1,), (4,)), x), [(2, 3)], "slice (1,) to (4,) leaves x=(2, 3)"),
    wrong(
        "slice of other axes",
        lambda x: x.graph.add(Slice((0,), (1,)), x),
        [(2, 3, 4)],
        "slice (0,) to (1,) has not one number for each axis after the first of (2, 3, 4)",
    ),
    wrong("rank 6", lambda x: ops.reshape(x, (1, 1, 1, 1, 3)), [(2, 3)], "rank 6 of (2, 1, 1, 1, 1, 3) is above 5"),
]


@pytest.mark.parametrize(("build", "inputs", "message"), WRONG_SHAPES)
def test_wrong_inputs_name_the_layer(build: Callable[..., Value], inputs: list[Any], message: str) -> None:
    graph = Graph("training")
    specs = [spec if len(spec) == 2 and isinstance(spec[1], DType) else (spec, DType.float32) for spec in inputs]
    values = [graph.input(f"x{i}", *spec) for i, spec in enumerate(specs)]
    with graph.scoped("body.it"), pytest.raises(GraphError) as caught:
        build(*values)
    assert str(caught.value).startswith("layer body.it (")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda x: ops.activation(x, "swish"), "activation 'swish' is none of logistic, tanh, relu"),
        (lambda x: ops.activation(x, "tanh", 0.5), "activation tanh with parameter 0.5"),
        (lambda x: ops.leaky_relu(x, -0.1), "activation leaky_relu: parameter -0.1 is negative"),
        (lambda x: ops.dropout(x, 1.0), "dropout rate 1.0 is not in [0, 1)"),
        (lambda x: ops.concat([]), "concat of no values"),
    ],
)
def test_wrong_attributes_raise(build: Callable[[Value], Value], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        build(Graph("training").input("x", (2, 3)))


def test_dropout_is_x_itself_where_it_drops_nothing() -> None:
    for mode, rate in (("inference", 0.5), ("training", 0.0)):
        x = Graph(mode).input("x", (2, 3))
        assert ops.dropout(x, rate) is x
