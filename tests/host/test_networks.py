"""Whole networks through the CUDA backend with the host in the card's place: a step, a batch gathered, a file."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pytest

pytest.importorskip("cuda.core", reason="cuda-core is missing: pip install 'gocunets[cu13]'")

from gocunets import NonFiniteLoss, nn, optim
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
