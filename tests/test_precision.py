"""DtypePolicy: which casts it inserts, that gradients arrive in the parameters' dtype, what the CPU refuses."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from gocunets import CompileError, DType, DtypePolicy, Graph, Network, State, TensorType, Value, losses, nn, ops, optim
from gocunets.backends import Backend
from gocunets.compilation import Compilation
from gocunets.graph import Node
from gocunets.nn.module import bind
from gocunets.passes.precision import apply_policy
from gocunets.state import new_step_state
from tests.running import Array, check_plan

F32, F64 = DType.float32, DType.float64
WIDE_PARAMETERS = DtypePolicy(parameter=F64, compute=F32)
WIDE_COMPUTE = DtypePolicy(parameter=F32, compute=F64)
POLICIES = {"float64 parameters, float32 compute": WIDE_PARAMETERS, "the other way round": WIDE_COMPUTE}
every_policy = pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)
SHAPE = (2, 6, 6)


def module() -> nn.Module:
    return nn.Sequential(
        nn.Conv(4, 3, padding=1),
        nn.BatchNorm(),
        nn.Tanh(),
        nn.Residual(nn.Conv(4, 3, padding=1)),
        nn.Residual(nn.BatchNorm(), nn.Conv(4, 1)),
        nn.Dropout(0.25),
        nn.AveragePool(2),
        nn.Dense(5),
    )


def compilation(policy: DtypePolicy, backend: Backend) -> Compilation:
    net = module()
    bind(net, seed=1, dtype=policy.parameter, owner="test")
    return Compilation(
        net,
        SHAPE,
        new_step_state(1),
        loss=losses.CrossEntropy(),
        optimizer=optim.Adam(),
        backend=backend,
        policy=policy,
    )


def batch(dtype: DType) -> tuple[Array, Array]:
    rng = np.random.default_rng(0)
    return rng.standard_normal((3, *SHAPE)).astype(np.float32).astype(dtype.numpy()), np.array([0, 4, 2])


def floats(values: tuple[Value, ...]) -> set[DType]:
    return {value.dtype for value in values if value.dtype.is_float}


def expected_dtypes(node: Node, policy: DtypePolicy) -> set[DType]:
    target = {"full": policy.full, "compute": policy.compute}.get(node.op.precision)
    return floats(node.inputs) if target is None else {target}


# --- the policy -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dtype", "parameter", "full"),
    [("float32", F32, F32), ("float64", F64, F64), ("float16", F32, F32), ("bfloat16", F32, F32)],
)
def test_the_usual_policies(dtype: str, parameter: DType, full: DType) -> None:
    policy = DtypePolicy.of(dtype)
    assert (policy.compute, policy.parameter, policy.full, policy.math) == (DType(dtype), parameter, full, "fma")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("int32",), ValueError, "a network cannot compute in int32"),
        (("float8",), TypeError, "dtype float8 is none of"),
        (("float32", "fast"), ValueError, "math 'fast' is neither fma nor tf32"),
    ],
)
def test_policies_that_cannot_be(arguments: tuple[str, ...], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        DtypePolicy.of(*arguments)


# --- the pass ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [F32, F64])
def test_one_dtype_needs_no_casts(dtype: DType) -> None:
    graph = Graph()
    graph.output("y", ops.relu(graph.input("x", (2, 3), dtype)))
    assert apply_policy(graph, DtypePolicy.of(dtype)) is graph


def traced(build: Callable[[Value], Value], policy: DtypePolicy) -> Graph:
    graph = Graph("training")
    graph.output("y", build(graph.input("x", (2, 3, 4, 4), policy.parameter)))
    result = apply_policy(graph, policy)
    result.verify()
    return result


@every_policy
def test_each_op_runs_in_its_dtype(policy: DtypePolicy, backend: Backend) -> None:
    graph = compilation(policy, backend).program("training", 3).graph
    graph.verify()
    forward = [node for node in graph.nodes if node.phase == "forward" and node.op.name != "cast"]
    assert any(node.op.name == "cast" for node in graph.nodes)
    for node in forward:
        assert floats(node.inputs) == expected_dtypes(node, policy), node


def test_convolutions_compute_and_statistics_do_not() -> None:
    def build(x: Value) -> Value:
        w = ops.full(x.graph, (3, 3, 1, 1), 1.0, x.dtype)
        ones = ops.full(x.graph, (3,), 1.0, x.dtype)
        return ops.softmax(ops.batch_norm(ops.convolution(x, w), ones, ones)[0])

    graph = traced(build, WIDE_PARAMETERS)
    dtypes = {node.op.name: node.outputs[0].dtype for node in graph.nodes if node.op.name not in ("cast", "full")}
    assert dtypes == {"convolution": F32, "batch_norm": F64, "softmax": F64}


def test_ops_that_follow_take_the_widest() -> None:
    def build(x: Value) -> Value:
        narrow = ops.relu(x)
        return ops.concat([narrow + x, narrow])

    graph = traced(build, WIDE_PARAMETERS)
    assert graph.outputs["y"].dtype == F64
    assert {node.outputs[0].dtype for node in graph.nodes if node.op.name in ("add", "concat")} == {F64}
    assert {node.outputs[0].dtype for node in graph.nodes if node.op.name == "activation"} == {F32}


def test_assigned_values_are_cast_to_their_state() -> None:
    graph, state = Graph(), State("s", TensorType((2, 3), F64), "statistic", lambda: np.zeros((2, 3)))
    graph.assign(state, ops.relu(graph.read(state)))
    result = apply_policy(graph, WIDE_PARAMETERS)
    result.verify()
    assert [node.outputs[0].dtype for node in result.nodes] == [F32, F32, F64]


def test_a_cast_of_the_users_own_stays() -> None:
    graph = traced(lambda x: ops.cast(ops.cast(x, DType.int32), F64), WIDE_PARAMETERS)
    assert [node.outputs[0].dtype for node in graph.nodes] == [DType.int32, F64]


def test_labels_and_masks_are_left_alone() -> None:
    graph = Graph("training")
    x, labels = graph.input("x", (2, 3), F64), graph.input("labels", (2,), DType.int64)
    graph.output("loss", ops.masked_mean(ops.cross_entropy(ops.dropout(x, 0.5), labels)))
    result = apply_policy(graph, WIDE_PARAMETERS)
    result.verify()
    assert result.inputs["labels"].dtype == DType.int64
    assert str(result) == str(graph)  # all of it is full or follows


def test_scopes_and_names_are_kept() -> None:
    def build(x: Value) -> Value:
        with x.graph.scoped("body.relu1"):
            return ops.relu(x)

    graph = traced(build, WIDE_PARAMETERS)
    assert {node.scope for node in graph.nodes} == {"body.relu1"}
    assert graph.outputs["y"].name == "body.relu1.activation"


# --- the whole step ---------------------------------------------------------------------------------------------


@every_policy
def test_gradients_and_states_have_the_parameters_dtype(policy: DtypePolicy, backend: Backend) -> None:
    compiled = compilation(policy, backend)
    program = compiled.program("training", 3)
    gradients = {name: value for name, value in program.graph.outputs.items() if name.startswith("gradient/")}
    assert gradients
    assert {value.dtype for value in gradients.values()} == {policy.parameter}
    stored = {state.type.dtype for state in compiled.store.states if state.role != "step"}
    assert stored == {policy.parameter}
    assert program.graph.outputs["loss"].dtype == policy.full


def one_step(compiled: Compilation) -> dict[str, Array]:
    """The outputs of a training step."""
    program = compiled.program("training", 3)
    check_plan(program.graph, program.plan)
    compiled.feed(program, *batch(compiled.policy.parameter), 3)
    program.run()
    return {name: program.read(name) for name in program.graph.outputs}


@every_policy
def test_a_mixed_step_agrees_with_float64(policy: DtypePolicy, backend: Backend) -> None:
    mixed, exact = compilation(policy, backend), compilation(DtypePolicy.of("float64"), backend)
    for state, same in zip(mixed.store.states, exact.store.states, strict=True):
        exact.store.write(same, mixed.store.read(state))
    results = one_step(mixed)
    for name, right in one_step(exact).items():
        np.testing.assert_allclose(results[name], right, rtol=1e-4, atol=1e-5, err_msg=name)


@every_policy
def test_the_module_alone_runs_mixed(policy: DtypePolicy, backend: Backend) -> None:
    program = compilation(policy, backend).program("module", 3)
    program.feed(x=batch(policy.parameter)[0])
    program.run()
    assert np.isfinite(program.read("y")).all()
    assert program.read("y").shape == (3, 5)
    convolutions = [node for node in program.graph.nodes if node.op.name == "convolution"]
    assert {node.outputs[0].dtype for node in convolutions} == {policy.compute}


def test_a_float64_network_computes_in_float64(backend: Backend) -> None:
    network = Network(module(), SHAPE).compile(dtype="float64", device=backend)
    assert {w.dtype for w in network.weights.values()} == {np.dtype(np.float64)}
    assert network.inference(batch(F64)[0]).dtype == np.float64


# --- what the CPU refuses -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dtype": "float16"}, "float32 or float64, not float16; use --device cuda"),
        ({"dtype": "bfloat16"}, "float32 or float64, not bfloat16; use --device cuda"),
        ({"math": "tf32"}, "math tf32 needs --device cuda"),
    ],
)
def test_the_cpu_refuses_half_precision_and_tf32(settings: dict[str, str], message: str) -> None:
    network = Network(module(), SHAPE).compile(device="cpu")
    weights = network.weights
    with pytest.raises(CompileError, match=message):
        network.compile(device="cpu", **settings)
    for name, w in network.weights.items():
        np.testing.assert_array_equal(w, weights[name])
