"""Whole networks on the card: against the CPU, recorded against unrecorded, resumed, errors."""

from __future__ import annotations

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


@pytest.mark.parametrize("make", [_everything, _thesis])
def test_first_step_is_that_of_the_cpu(make: object, backend: CudaBackend) -> None:
    gpu, cpu = _network(make(), backend), _network(make(), "cpu")  # type: ignore[operator]
    assert gpu.forward(X[:50], LABELS[:50]) == pytest.approx(cpu.forward(X[:50], LABELS[:50]), rel=1e-6)
    expected = cpu.backward()
    for name, gradient in gpu.backward().items():
        assert np.abs(gradient - expected[name]).max() < 2e-5 * max(1e-2, np.abs(expected[name]).max()), name


@pytest.mark.parametrize("make", [_everything, _thesis])
def test_training_stays_near_float64(make: object, backend: CudaBackend) -> None:
    sgd = {"optimizer": optim.SGD(0.05, l2=1e-4)}
    networks = [_network(make(), backend, **sgd), _network(make(), "cpu", **sgd)]  # type: ignore[operator]
    exact = _network(make(), "cpu", dtype="float64", **sgd)  # type: ignore[operator]
    start = {name: w.astype(np.float64) for name, w in networks[1].weights.items()}
    for state in exact.compiled.store.states:
        if state.name in start:
            exact.compiled.store.write(state, start[state.name])
    for network in (*networks, exact):
        network.fit((X[:200], LABELS[:200]), epochs=5, batch=20)
    gpu, cpu = (_distance(network, exact) for network in networks)
    assert gpu <= 4 * cpu + 1e-6


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


@pytest.mark.parametrize("setting", [{"dtype": "float16"}, {"dtype": "float64"}, {"math": "tf32"}])
def test_what_has_no_kernels_is_refused(backend: CudaBackend, setting: dict[str, str]) -> None:
    with pytest.raises(CompileError, match="so far"):
        _network(_thesis(), backend, **setting)


def test_auto_takes_the_card(backend: CudaBackend) -> None:
    assert choose("auto").name == "cuda"
