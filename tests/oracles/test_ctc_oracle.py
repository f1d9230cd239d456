"""The CTC oracle itself: costs against all paths one by one, gradients against differences of the cost."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tests.oracles.ctc import cost_and_gradient, log_softmax

CASES = [(4, (1,)), (4, (1, 2)), (5, (1, 1)), (5, (2, 1, 2)), (3, (1, 2, 1)), (3, (1, 1)), (4, ())]
ALPHABET = 3
STEP = 1e-5


def read(path: tuple[int, ...]) -> tuple[int, ...]:
    """What a path says: repetitions taken together, then no blanks."""
    return tuple(symbol for symbol, _ in itertools.groupby(path) if symbol)


@pytest.mark.parametrize(("steps", "label"), CASES)
def test_the_cost_is_the_sum_over_all_paths(steps: int, label: tuple[int, ...]) -> None:
    activations = np.random.default_rng(3).standard_normal((steps, ALPHABET))
    probs = np.exp(log_softmax(activations))
    paths = [path for path in itertools.product(range(ALPHABET), repeat=steps) if read(path) == label]
    probability = sum(np.prod(probs[range(steps), path]) for path in paths)
    np.testing.assert_allclose(cost_and_gradient(activations, label)[0], -np.log(probability), rtol=1e-12)


@pytest.mark.parametrize(("steps", "label"), CASES)
def test_the_gradient_is_a_limit_of_differences(steps: int, label: tuple[int, ...]) -> None:
    activations = np.random.default_rng(4).standard_normal((steps, ALPHABET))
    _, gradient = cost_and_gradient(activations, label)
    for index in np.ndindex(activations.shape):
        change = np.zeros_like(activations)
        change[index] = STEP
        above, below = (cost_and_gradient(activations + sign * change, label)[0] for sign in (1, -1))
        np.testing.assert_allclose(gradient[index], (above - below) / (2 * STEP), rtol=1e-6, atol=1e-9)


def test_a_label_that_does_not_fit_costs_infinity() -> None:
    cost, _ = cost_and_gradient(np.zeros((2, ALPHABET)), (1, 1))
    assert cost == np.inf
