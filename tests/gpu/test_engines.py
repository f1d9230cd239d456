"""The libraries' engines in networks: every product and convolution of the table of cases, whole networks, TF32."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

from gocunets import DType, Network, Node, losses, nn, optim
from gocunets.backends import cuda_obstacle
from gocunets.passes.layout import Freedom, channels_first, channels_last
from tests.cases import CASES, DIFFERENTIABLE, Case, rounded
from tests.gpu.test_networks import LABELS, X, _distance
from tests.test_ops import MUTATIONS, Order, assert_gradients, assert_outputs, backward, dys_of, forward, nudged

PRODUCTS = [
    case
    for case in CASES
    if any(word in node.op.name for node in case.trace(DType.float32)[0].nodes for word in ("convol", "fully"))
]
DTYPES = [DType.float32, DType.float16, DType.bfloat16]


@pytest.fixture(scope="module")
def engines() -> object:
    """A backend that asks the libraries for everything, however small."""
    _skip_without_a_card()
    from gocunets.backends.cudnn import CudaBackend, EnginePolicy

    return CudaBackend(engines=EnginePolicy(choose="first", least_work=0))


def _skip_without_a_card() -> None:
    obstacle = cuda_obstacle()
    if obstacle:
        pytest.skip(obstacle)


def _freedom(node: Node) -> Freedom:
    from gocunets.backends.cudnn.registry import freedom_of

    return freedom_of(node)


@pytest.mark.parametrize("order", [channels_first, channels_last])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", PRODUCTS, ids=str)
def test_forward(case: Case, dtype: DType, order: Order, engines: Any) -> None:
    assert_outputs(case, forward(case, engines, dtype, order, _freedom), dtype)


@pytest.mark.parametrize("order", [channels_first, channels_last])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", [case for case in PRODUCTS if case in DIFFERENTIABLE], ids=str)
def test_gradient(case: Case, dtype: DType, order: Order, engines: Any) -> None:
    dxs = backward(case, engines, dtype, rounded(case, dtype), dys_of(case, dtype), order, _freedom)
    assert_gradients(case, dxs, dtype)


@pytest.mark.parametrize(("case", "name"), [row for row in MUTATIONS if row[0] in PRODUCTS], ids=str)
def test_one_number_wrong_by_one_percent_is_noticed(case: Case, name: str, engines: Any) -> None:
    wrong = forward(case, engines, DType.float32, **{name: nudged(case, name).astype(np.float32)})
    with pytest.raises(AssertionError, match="beyond the bound"):
        assert_outputs(case, wrong)


@pytest.mark.parametrize("kind", ["relu", "leaky_relu", "tanh", None])
@pytest.mark.parametrize("layout", ["channels_first", "channels_last"])
@pytest.mark.parametrize(("dtype", "error"), [("float32", 1e-6), ("float16", 2e-3), ("bfloat16", 1.6e-2)])
def test_bias_and_activation_in_one_graph_or_after(dtype: str, error: float, layout: str, kind: str | None) -> None:
    layers = [nn.Conv(96, 3, padding=1), *([nn.Activation(kind)] if kind else []), nn.Conv(80, 3, stride=2)]
    x = np.random.default_rng(0).standard_normal((4, 16, 20, 20), np.float32)

    def outputs(**settings: Any) -> np.ndarray:
        network = Network(nn.Sequential(*map(copy.deepcopy, layers)), (16, 20, 20), seed=3)
        return network.compile(loss=losses.MeanSquaredError(), **settings).inference(x)

    _skip_without_a_card()
    result = outputs(device="cuda", dtype=dtype, layout=layout)
    expected = outputs(device="cpu")
    assert np.abs(result - expected).max() < error * 4 * np.abs(expected).max()


def _wide() -> nn.Module:
    return nn.Sequential(
        nn.Conv(64, 3, padding=1),
        nn.ReLU(),
        nn.Conv(128, 3, stride=2, padding=1),
        nn.BatchNorm(),
        nn.ReLU(),
        nn.Residual(nn.Sequential(nn.Conv(128, 3, padding=1), nn.ReLU())),
        nn.MaxPool(2),
        nn.Dense(64),
        nn.ReLU(),
        nn.Dense(10),
    )


def _network(dtype: str = "float32", math: str = "fma", **settings: Any) -> Network:
    _skip_without_a_card()
    network = Network(_wide(), (1, 28, 28), seed=1)
    return network.compile(optimizer=optim.Momentum(0.001), device="cuda", dtype=dtype, math=math, **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("dtype", "math", "error"),
    [("float32", "fma", 1e-4), ("float32", "tf32", 1e-2), ("float16", "fma", 1e-2), ("bfloat16", "fma", 6e-2)],
)
def test_a_wide_network_is_that_of_the_cpu(dtype: str, math: str, error: float) -> None:
    network, cpu = _network(dtype, math), Network(_wide(), (1, 28, 28), seed=1).compile(device="cpu")
    if dtype == "float16":
        network.compiled.write_step(loss_scale=64.0)  # with what it begins with, a first step may overflow
    assert network.forward(X[:32], LABELS[:32]) == pytest.approx(cpu.forward(X[:32], LABELS[:32]), rel=error)
    expected = cpu.backward()
    for name, gradient in network.backward().items():
        assert np.linalg.norm(gradient - expected[name]) < 4 * error * max(1e-2, np.linalg.norm(expected[name])), name
    engines = network.compiled.backend.engines  # type: ignore[attr-defined]
    assert "handle" in vars(engines)  # cuDNN was asked
    assert "blas" in vars(engines)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_nan_passes_the_relu_of_a_graph(dtype: str) -> None:
    _skip_without_a_card()
    network = Network(nn.Sequential(nn.Conv(96, 3, padding=1), nn.ReLU(), nn.Dense(4)), (16, 20, 20))
    network.compile(device="cuda", dtype=dtype)
    store = network.compiled.store
    (filters,) = [state for state in store.states if state.name == "conv1.w"]
    w = store.read(filters)
    w[0, 0, 0, 0] = np.nan
    store.write(filters, w)
    assert np.isnan(network.inference(np.ones((4, 16, 20, 20), np.float32))).any()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_recorded_is_unrecorded_bit_for_bit(dtype: str) -> None:
    recorded, loose = _network(dtype), _network(dtype)
    for number in range(30):
        batch = X[number * 8 : number * 8 + 64], LABELS[number * 8 : number * 8 + 64]
        recorded.step(*batch)
        loose.forward(*batch)
        loose.backward()
        loose.update()
        for phase in list(loose.compiled.program("training", 64)._recorded):
            del loose.compiled.program("training", 64)._recorded[phase]
    assert _distance(recorded, loose) == 0


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_a_wide_network_learns(dtype: str) -> None:
    network = _network(dtype)
    records = network.fit((X, LABELS), epochs=6, batch=64)
    assert records[-1].loss < 0.8 * records[0].loss
