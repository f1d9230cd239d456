"""The oracle of causal convolutions: one by hand, and gradients against differences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.convnetgo.arrays import assert_gradient
from tests.oracles import subquadratic as oracle

Array = np.ndarray[Any, Any]


def numbers(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng((seed, *shape)).standard_normal(shape)


def test_by_hand() -> None:
    x, w = np.array([[[1.0, 2, 3, 4]]]), np.array([[10.0, 100]])
    assert oracle.causal(x, w).tolist() == [[[10, 120, 230, 340]]]
    for batch, channel in np.ndindex(2, 3):
        x, w = numbers(2, 3, 7), numbers(3, 4)
        expected = np.convolve(x[batch, channel], w[channel])[:7]
        np.testing.assert_allclose(oracle.causal(x, w)[batch, channel], expected, rtol=1e-12)


@pytest.mark.parametrize("activate", [False, True])
@pytest.mark.parametrize("taps", [3, 9])
def test_gradients(activate: bool, taps: int) -> None:
    x, w, b, dy = numbers(2, 3, 7), numbers(3, taps, seed=1), numbers(3, seed=2), numbers(2, 3, 7, seed=3)
    dx, dw, db = oracle.biased_backward(x, w, b, dy, activate)
    assert_gradient(lambda a: oracle.biased(a, w, b, activate), x, dy, dx)
    assert_gradient(lambda a: oracle.biased(x, a, b, activate), w, dy, dw)
    assert_gradient(lambda a: oracle.biased(x, w, a, activate), b, dy, db)


def test_gradients_of_hyena() -> None:
    given = [numbers(2, 2, 3, 6), numbers(2, 3, 3, seed=1), numbers(2, 4, seed=2), numbers(2, seed=3)]
    dgated = numbers(2, 2, 6, seed=4)
    for place, gradient in enumerate(oracle.hyena_backward(*given, dgated)):

        def function(a: Array, place: int = place) -> Array:
            return oracle.hyena(*given[:place], a, *given[place + 1 :])[1]

        assert_gradient(function, given[place], dgated, gradient)
