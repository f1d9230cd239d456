"""The oracle of spatial transformers: exact cases, and gradients against differences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.convnetgo.arrays import assert_gradient
from tests.oracles import spatial

Array = np.ndarray[Any, Any]
IDENTITY = np.array([[[1.0, 0, 0], [0, 1, 0]]])


def numbers(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng((seed, *shape)).standard_normal(shape)


def test_the_identity_samples_x_itself() -> None:
    x = numbers(1, 2, 3, 5)
    np.testing.assert_allclose(spatial.sampler_forward(x, spatial.grid_forward(IDENTITY, 3, 5)), x, atol=1e-12)


def test_a_shift_by_one_pixel_brings_in_a_zero() -> None:
    x = numbers(1, 2, 3, 5)
    shifted = IDENTITY + np.array([[0, 0, 0.5], [0, 0, 0]])  # half of the width less one pixel's half: one pixel of 4
    y = spatial.sampler_forward(x, spatial.grid_forward(shifted, 3, 5))
    np.testing.assert_allclose(y[..., :-1], x[..., 1:], atol=1e-12)
    assert not y[..., -1].any()


def test_the_middle_is_the_mean_of_four() -> None:
    x = numbers(1, 1, 2, 2)
    assert spatial.sampler_forward(x, np.zeros((1, 1, 1, 2)))[0, 0, 0, 0] == pytest.approx(x.mean())


def test_gradients() -> None:
    theta, x = IDENTITY + 0.3 * numbers(2, 2, 3), numbers(2, 3, 5, 6, seed=1)
    grid, dgrid, dy = spatial.grid_forward(theta, 4, 3), numbers(2, 4, 3, 2, seed=2), numbers(2, 3, 4, 3, seed=3)
    assert (np.abs(grid) > 1).any()
    assert_gradient(lambda t: spatial.grid_forward(t, 4, 3), theta, dgrid, spatial.grid_backward(dgrid))
    dx, found = spatial.sampler_backward(x, grid, dy)
    assert_gradient(lambda a: spatial.sampler_forward(a, grid), x, dy, dx)
    assert_gradient(lambda g: spatial.sampler_forward(x, g), grid, dy, found)
