"""The libraries' engines in networks: every product and convolution of the table of cases, whole networks, TF32."""

from __future__ import annotations

import numpy as np
import pytest

from gocunets import DType, Network, nn, optim
from gocunets.backends import cuda_obstacle
from tests.cases import CASES, DIFFERENTIABLE, Case, rounded
from tests.gpu.test_networks import LABELS, X, _distance
from tests.test_ops import assert_gradients, assert_outputs, backward, dys_of, forward

PRODUCTS = [
    case
    for case in CASES
    if any(word in node.op.name for node in case.trace(DType.float32)[0].nodes for word in ("convol", "fully"))
]
DTYPES = [DType.float32, DType.float16, DType.bfloat16]


@pytest.fixture(scope="module")
def engines() -> object:
    """A backend that asks the libraries for everything, however small."""
    obstacle = cuda_obstacle()
    if obstacle:
        pytest.skip(obstacle)
    from gocunets.backends.cudnn import CudaBackend, EnginePolicy

    return CudaBackend(engines=EnginePolicy(choose="first", least_work=0))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", PRODUCTS, ids=str)
def test_forward(case: Case, dtype: DType, engines: object) -> None:
    assert_outputs(case, forward(case, engines, dtype), dtype)  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", [case for case in PRODUCTS if case in DIFFERENTIABLE], ids=str)
def test_gradient(case: Case, dtype: DType, engines: object) -> None:
    dxs = backward(case, engines, dtype, rounded(case, dtype), dys_of(case, dtype))  # type: ignore[arg-type]
    assert_gradients(case, dxs, dtype)


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


def _network(dtype: str = "float32", math: str = "fma") -> Network:
    obstacle = cuda_obstacle()
    if obstacle:
        pytest.skip(obstacle)
    network = Network(_wide(), (1, 28, 28), seed=1)
    return network.compile(optimizer=optim.Momentum(0.001), device="cuda", dtype=dtype, math=math)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("dtype", "math", "error"),
    [("float32", "fma", 1e-4), ("float32", "tf32", 6e-3), ("float16", "fma", 1e-2), ("bfloat16", "fma", 6e-2)],
)
def test_a_wide_network_is_that_of_the_cpu(dtype: str, math: str, error: float) -> None:
    network, cpu = _network(dtype, math), Network(_wide(), (1, 28, 28), seed=1).compile(device="cpu")
    assert network.forward(X[:32], LABELS[:32]) == pytest.approx(cpu.forward(X[:32], LABELS[:32]), rel=error)
    expected = cpu.backward()
    for name, gradient in network.backward().items():
        assert np.linalg.norm(gradient - expected[name]) < 4 * error * max(1e-2, np.linalg.norm(expected[name])), name
    engines = network.compiled.backend.engines  # type: ignore[attr-defined]
    assert "handle" in vars(engines)  # cuDNN was asked
    assert "blas" in vars(engines)


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
