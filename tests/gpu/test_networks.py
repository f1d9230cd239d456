"""Whole networks on the card: against the CPU, recorded against unrecorded, resumed, errors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from gocunets import CompileError, Network, NonFiniteLoss, Trainer, losses, nn, optim, schedules, zoo
from gocunets.backends import choose

if TYPE_CHECKING:
    from gocunets.backends.cudnn import CudaBackend

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(0, 256, (330, 1, 28, 28), dtype=np.uint8)
X = (IMAGES / 255 - 0.5).astype(np.float32)
LABELS = RANDOM.integers(0, 10, 330)


def _everything() -> nn.Module:
    return nn.Sequential(
        nn.Conv(8, 3, padding=1, bias=False),
        nn.BatchNorm(),
        nn.ReLU(),
        nn.MaxPool(2),
        nn.Residual(nn.Sequential(nn.Conv(8, 3, padding=1, groups=2), nn.Tanh())),
        nn.CompressionModule((4, 4), 4),
        nn.AveragePool(2, padding=1),
        nn.Dropout(0.2),
        nn.Dense(10),
    )


def _thesis() -> nn.Module:
    return zoo.thesis_network()


def _network(module: nn.Module, backend: object, **settings: object) -> Network:
    optimizer = settings.pop("optimizer", optim.Adam(schedules.Cosine(2e-3, 100, warmup=5), l1=1e-5, l2=1e-4))
    return Network(module, (1, 28, 28), seed=3).compile(optimizer=optimizer, device=backend, **settings)  # type: ignore[arg-type]


def _distance(a: Network, b: Network) -> float:
    return max(float(np.abs(a.weights[name] - b.weights[name]).max()) for name in a.weights)


def check_first_step(make: Callable[[], nn.Module], backend: CudaBackend, dtype: str, error: float, count: int) -> None:
    """The loss and every gradient of a first step are those of the CPU in float32, as far as the dtype goes."""
    network, reference = _network(make(), backend, dtype=dtype), _network(make(), "cpu")
    batch = X[:count], LABELS[:count]
    single = dtype == "float32"
    if dtype == "float16":
        network.compiled.write_step(loss_scale=64.0)  # with what it begins with, a first step may overflow
    assert network.forward(*batch) == pytest.approx(reference.forward(*batch), rel=1e-6 if single else error)
    expected = reference.backward()
    for name, gradient in network.backward().items():
        assert gradient.dtype == np.float32
        if single:
            assert np.abs(gradient - expected[name]).max() < 2e-5 * max(1e-2, np.abs(expected[name]).max()), name
        distance = np.linalg.norm(gradient - expected[name])
        assert distance < 4 * error * max(1e-3, np.linalg.norm(expected[name])), name
    network.update()
    assert {w.dtype for w in network.weights.values()} == {np.dtype(np.float32)}


ERRORS = [("float32", 1e-5), ("float16", 1e-2), ("bfloat16", 6e-2)]


@pytest.mark.parametrize(("dtype", "error"), ERRORS)
@pytest.mark.parametrize("make", [_everything, _thesis])
def test_first_step_is_that_of_the_cpu(
    make: Callable[[], nn.Module], dtype: str, error: float, backend: CudaBackend
) -> None:
    check_first_step(make, backend, dtype, error, 50)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("make", [_everything, _thesis])
def test_half_precision_trains(make: Callable[[], nn.Module], dtype: str, backend: CudaBackend) -> None:
    network = _network(make(), backend, dtype=dtype)
    before = network.evaluate((X, LABELS)).loss
    network.fit((X, LABELS), epochs=3, batch=33)
    assert network.evaluate((X, LABELS)).loss < before


def test_the_loss_scale_of_float16_follows_the_overflows(backend: CudaBackend) -> None:
    network = _network(nn.Sequential(nn.Dense(16), nn.ReLU(), nn.Dense(10)), backend, dtype="float16")
    assert network.compiled.step_record["loss_scale"] == 2**16
    network.compiled.write_step(loss_scale=2.0**40)  # the first steps overflow
    before = network.weights
    assert np.isfinite(network.step(X[:4], LABELS[:4]))
    record = network.compiled.step_record
    assert (record["step"], record["nonfinite"], record["loss_scale"]) == (0, 0, 2.0**39)
    assert all((network.weights[name] == w).all() for name, w in before.items())
    losses = [network.step(X[:4], LABELS[:4]) for _ in range(60)]
    record = network.compiled.step_record
    assert record["loss_scale"] < 2.0**24
    assert record["step"] + np.log2(2.0**40 / record["loss_scale"]) == 61
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("make", [_everything, _thesis])
def test_training_stays_near_float64(make: Callable[[], nn.Module], backend: CudaBackend) -> None:
    sgd = {"optimizer": optim.SGD(0.05, l2=1e-4)}
    networks = [_network(make(), backend, **sgd), _network(make(), "cpu", **sgd)]
    exact = _network(make(), "cpu", dtype="float64", **sgd)
    start = {name: w.astype(np.float64) for name, w in networks[1].weights.items()}
    for state in exact.compiled.store.states:
        if state.name in start:
            exact.compiled.store.write(state, start[state.name])
    for network in (*networks, exact):
        network.fit((X[:200], LABELS[:200]), epochs=10, batch=20)  # 100 steps
    gpu, cpu = (np.concatenate([(a - b).ravel() for a, b in _pairs(network, exact)]) for network in networks)
    assert np.abs(gpu).max() <= 4 * np.abs(cpu).max() + 1e-6
    assert np.sqrt(np.mean(gpu**2)) <= 4 * np.sqrt(np.mean(cpu**2)) + 1e-7


def _pairs(a: Network, b: Network) -> list[tuple[np.ndarray, np.ndarray]]:
    return [(a.weights[name], b.weights[name]) for name in a.weights]


def test_recorded_is_unrecorded_bit_for_bit(backend: CudaBackend) -> None:
    recorded, loose = _network(_everything(), backend), _network(_everything(), backend)
    for number in range(200):
        at = number * 7 % 280
        batch = X[at : at + 50], LABELS[at : at + 50]
        recorded.step(*batch)
        loose.forward(*batch)
        loose.compiled.program("training", 50)._recorded.clear()
        loose.backward()
        loose.update()
    assert _distance(recorded, loose) == 0


def test_fused_is_unfused_nearly(backend: CudaBackend) -> None:
    fused, plain = _network(_thesis(), backend), _network(_thesis(), backend, share=False)
    for network in (fused, plain):
        network.fit((X, LABELS), epochs=1, batch=33)
    assert _distance(fused, plain) < 1e-4


@pytest.mark.parametrize("last", ["smaller", "drop", "pad"])
def test_order_and_last_batch_are_those_of_the_cpu(backend: CudaBackend, last: str) -> None:
    networks = [_network(_thesis(), device, optimizer=optim.SGD(0.01)) for device in (backend, "cpu")]
    records = [network.fit((X, LABELS), epochs=2, batch=100, last=last)[-1] for network in networks]  # type: ignore[arg-type]
    assert records[0].loss == pytest.approx(records[1].loss, rel=1e-4)
    assert records[0].accuracy == pytest.approx(records[1].accuracy, abs=0.01)


def test_resume_after_overflows_is_bit_identical(backend: CudaBackend, tmp_path: Path) -> None:
    def fresh() -> Network:
        network = _network(nn.Sequential(nn.Dense(16), nn.ReLU(), nn.Dense(10)), backend, dtype="float16")
        network.compiled.write_step(loss_scale=2.0**30)
        return network

    straight, stopped = fresh(), fresh()
    straight.fit((X[:20], LABELS[:20]), epochs=6, batch=5)
    stopped.fit((X[:20], LABELS[:20]), epochs=3, batch=5)
    assert stopped.compiled.step_record["step"] < 12
    stopped.save(tmp_path / "model")
    again = Network.load(tmp_path / "model", device=backend)
    again.fit((X[:20], LABELS[:20]), epochs=6, batch=5, resume=True)
    assert _distance(straight, again) == 0


def test_resume_is_bit_identical(backend: CudaBackend, tmp_path: Path) -> None:
    straight = _network(_everything(), backend)
    straight.fit((X, LABELS), epochs=3, batch=50)
    stopped = _network(_everything(), backend)
    trainer = Trainer(stopped, (X, LABELS), epochs=3, batch=50)
    stopping = [trainer.stop if step == 9 else None for step in range(30)]
    trainer._call = lambda method: stopping[trainer.step]() if method == "on_step" and stopping[trainer.step] else None  # type: ignore[assignment, misc]
    trainer.run()
    stopped.save(tmp_path / "model")
    again = Network.load(tmp_path / "model", device=backend)
    again.fit((X, LABELS), epochs=3, batch=50, resume=True)
    assert _distance(straight, again) == 0


def test_evaluate_and_predict_are_those_of_the_cpu(backend: CudaBackend) -> None:
    gpu, cpu = _network(_everything(), backend), _network(_everything(), "cpu")
    assert gpu.evaluate((X, LABELS)).loss == pytest.approx(cpu.evaluate((X, LABELS)).loss, rel=1e-5)
    assert np.abs(gpu.predict(X) - cpu.predict(X)).max() < 1e-5


def test_autoencoder_trains(backend: CudaBackend) -> None:
    module = nn.Sequential(nn.CompressionModule((4, 4), 4), nn.DecompressionModule((4,), 4), nn.OutputModule(1, 1))
    network = _network(module, backend, loss=losses.MeanSquaredError())
    records = network.fit((X, X), epochs=3, batch=33)
    assert records[-1].loss < records[0].loss


def test_inspect_shows_every_value(backend: CudaBackend) -> None:
    gpu, cpu = _network(_thesis(), backend), _network(_thesis(), "cpu")
    values, expected = gpu.inspect(X[:8], LABELS[:8]), cpu.inspect(X[:8], LABELS[:8])
    assert values.keys() == expected.keys()
    assert all(
        np.allclose(values[name], expected[name], rtol=1e-3, atol=1e-5) for name in values if name != "step_state"
    )


def test_bad_batch_changes_no_weight(backend: CudaBackend) -> None:
    network = _network(_everything(), backend)
    before = network.weights
    bad = X[:50].copy()
    bad[7] = np.nan
    with pytest.raises(NonFiniteLoss, match=r"step 1 \(epoch 1\)"):
        network.fit((bad, LABELS[:50]), epochs=1, batch=50)
    assert all((network.weights[name] == w).all() for name, w in before.items())


def test_half_precision_is_saved_and_loaded(backend: CudaBackend, tmp_path: Path) -> None:
    network = _network(_everything(), backend, dtype="bfloat16")
    network.fit((X[:100], LABELS[:100]), epochs=1, batch=50)
    network.save(tmp_path / "model")
    again = Network.load(tmp_path / "model", device=backend)
    assert again.policy == network.policy
    assert (again.predict(X[:10]) == network.predict(X[:10])).all()


def test_float64_is_refused(backend: CudaBackend) -> None:
    with pytest.raises(CompileError, match="float32, float16, bfloat16 with float32 parameters, not float64"):
        _network(_thesis(), backend, dtype="float64")


def test_auto_takes_the_card(backend: CudaBackend) -> None:
    assert choose("auto").name == "cuda"
