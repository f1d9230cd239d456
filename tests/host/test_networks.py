"""Whole networks through the CUDA backend with the host in the card's place: a step, a batch gathered, a file."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pytest

pytest.importorskip("cuda.core", reason="cuda-core is missing: pip install 'gocunets[cu13]'")

from gocunets import Network, NonFiniteLoss, Value, nn, optim
from tests.gpu.test_networks import ERRORS, LABELS, X, _distance, _everything, _network, _thesis, check_first_step
from tests.gpu.test_networks import test_float64_is_refused as test_float64_is_refused
from tests.gpu.test_networks import (
    test_resume_after_overflows_is_bit_identical as test_resume_after_overflows_is_bit_identical,
)
from tests.gpu.test_networks import (
    test_the_loss_scale_of_float16_follows_the_overflows as test_the_loss_scale_of_float16_follows_the_overflows,
)

if TYPE_CHECKING:
    from gocunets.backends.cudnn import CudaBackend


ROWS = [(_thesis, *ERRORS[0]), *((_everything, *row) for row in ERRORS)]


@pytest.mark.parametrize(("make", "dtype", "error"), ROWS)
def test_first_step_is_that_of_the_cpu(
    make: Callable[[], nn.Module], dtype: str, error: float, backend: CudaBackend
) -> None:
    check_first_step(make, backend, dtype, error, 2)


def test_gathered_batches_are_those_of_the_cpu(backend: CudaBackend) -> None:
    networks = [_network(_thesis(), device, optimizer=optim.SGD(0.01)) for device in (backend, "cpu")]
    for network in networks:
        network.fit((X[:12], LABELS[:12]), epochs=1, batch=5)  # two of five, one of two
    assert _distance(*networks) < 1e-6


def test_fused_is_unfused_nearly(backend: CudaBackend) -> None:
    fused, plain = _network(_thesis(), backend), _network(_thesis(), backend, share=False)
    for network in (fused, plain):
        network.fit((X[:2], LABELS[:2]), epochs=1, batch=2)
    assert _distance(fused, plain) < 1e-5


def test_a_bad_batch_changes_no_weight(backend: CudaBackend) -> None:
    network = _network(_everything(), backend)
    before, bad = network.weights, X[:4].copy()
    bad[1] = np.nan
    with pytest.raises(NonFiniteLoss):
        network.step(bad, LABELS[:4])
    assert all((network.weights[name] == w).all() for name, w in before.items())


class Shared(nn.Module):
    """y = own(x) + tied(inner(x)), and tied again: two convolutions of one geometry share dy, one is used twice."""

    def __init__(self) -> None:
        self.own, self.tied = nn.Conv(3, 3, padding=1), nn.Conv(3, 3, padding=1)
        self.inner = nn.Sequential(nn.Conv(3, 1), nn.BatchNorm())
        self.end = nn.Dense(10)

    def forward(self, x: Value) -> Value:
        return self.end(self.tied(self.own(x) + self.tied(self.inner(x))))


def test_convolutions_that_share_a_gradient_keep_their_own(backend: CudaBackend) -> None:
    x, labels = np.random.default_rng(0).standard_normal((4, 3, 8, 8), np.float32), np.arange(4)
    networks = [Network(Shared(), (3, 8, 8), seed=3).compile(device=device) for device in (backend, "cpu")]
    for network in networks:
        network.forward(x, labels)
    found, expected = (network.backward() for network in networks)
    for name, gradient in expected.items():
        assert np.abs(found[name] - gradient).max() < 1e-5 * max(1, np.abs(gradient).max()), name


def _dense_in_half(backend: CudaBackend, scale: float) -> Network:
    network = _network(nn.Sequential(nn.Dense(16), nn.ReLU(), nn.Dense(10)), backend, dtype="float16")
    network.compiled.write_step(loss_scale=scale)
    return network


def test_a_bad_step_leaves_the_next_one_good(backend: CudaBackend) -> None:
    network, bad = _dense_in_half(backend, 64.0), X[:4].copy()
    bad[1] = np.nan
    with pytest.raises(NonFiniteLoss):
        network.step(bad, LABELS[:4])
    before = network.weights
    network.step(X[:4], LABELS[:4])
    record = network.compiled.step_record
    assert (record["step"], record["steady"], record["loss_scale"]) == (1, 1, 64)
    assert any((network.weights[name] != w).any() for name, w in before.items())


def test_a_checked_step_forgives_what_the_loss_scale_does(backend: CudaBackend) -> None:
    network = _dense_in_half(backend, 2.0**40)
    assert np.isfinite(network.step(X[:4], LABELS[:4], check=True))
    assert network.compiled.step_record["loss_scale"] == 2.0**39


def test_a_bad_loss_is_told_without_parameters(backend: CudaBackend) -> None:
    network = Network(nn.Sequential(nn.Flatten()), (1, 3, 3)).compile(device=backend)
    assert np.isfinite(network.step(X[:2, :, :3, :3], LABELS[:2] % 9))
    with pytest.raises(NonFiniteLoss):
        network.step(np.full((2, 1, 3, 3), np.nan, np.float32), LABELS[:2] % 9)
