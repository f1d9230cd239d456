"""Weight updates against the equations one weight at a time, and against PyTorch's results."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

from gocunets.convnetgo import adadelta, adagrad, adam, momentum, next_loss_scale, penalty, regularize, sgd

from .arrays import STRIDES, frozen, randoms, with_strides
from .bound import assert_within, unit_roundoff

STEPS = 5
W, GRADIENTS = randoms(3, 7), [randoms(3, 7, seed=10 + step) for step in range(STEPS)]


def sgd_loop(w: float, gradients: list[float]) -> float:
    """Thesis, equation 3.11."""
    for dw in gradients:
        w = w - 0.1 * dw
    return w


def momentum_loop(w: float, gradients: list[float]) -> float:
    """Thesis, equations 3.12 and 3.13."""
    m = 0.0
    for dw in gradients:
        m = 0.8 * m + 0.1 * dw
        w = w - m
    return w


def adagrad_loop(w: float, gradients: list[float]) -> float:
    """Thesis, equations 3.14 and 3.15."""
    s = 0.0
    for dw in gradients:
        s = s + dw**2
        w = w - 0.1 * dw / (math.sqrt(s) + 1e-8)
    return w


def adadelta_loop(w: float, gradients: list[float]) -> float:
    """Zeiler 2012, algorithm 1."""
    s = u = 0.0
    for dw in gradients:
        s = 0.95 * s + 0.05 * dw**2
        change = math.sqrt(u + 1e-6) / math.sqrt(s + 1e-6) * dw
        u = 0.95 * u + 0.05 * change**2
        w = w - 0.5 * change
    return w


def adam_loop(w: float, gradients: list[float]) -> float:
    """Kingma and Ba 2015, algorithm 1."""
    m = v = 0.0
    for t, dw in enumerate(gradients, 1):
        m = 0.9 * m + 0.1 * dw
        v = 0.999 * v + 0.001 * dw**2
        w = w - 0.01 * (m / (1 - 0.9**t)) / (math.sqrt(v / (1 - 0.999**t)) + 1e-8)
    return w


class Case(NamedTuple):
    """An update, the number of its moments, its arguments, its loop, and the result of PyTorch 2.13."""

    update: Callable[..., Any]
    moments: int
    options: dict[str, float]
    loop: Callable[[float, list[float]], float]
    torch_options: dict[str, float]
    torch_result: list[float]


TORCH_W = [0.5, -1.25, 2.0, -0.03]
TORCH_GRADIENTS = [[0.1, -0.2, 0.3, 1e-4], [-0.05, 0.4, 0.0, 2e-4], [0.2, 0.1, -0.6, -3e-4]]
CASES = [
    Case(sgd, 0, {"rate": 0.1}, sgd_loop, {"rate": 0.1}, [0.475, -1.28, 2.03, -0.03]),
    Case(
        momentum,
        1,
        {"rate": 0.1, "decay": 0.8},
        momentum_loop,
        {"rate": 0.1, "decay": 0.0},
        [0.475, -1.28, 2.03, -0.03],
    ),
    Case(
        adagrad,
        1,
        {"rate": 0.1},
        adagrad_loop,
        {"rate": 0.1},
        [0.3574342132651218, -1.2612645106474, 1.9894427210999917, -0.13925249050491587],
    ),
    Case(
        adadelta,
        2,
        {"rate": 0.5},
        adadelta_loop,
        {},
        [0.4923510646580838, -1.2531104265206925, 2.0011688939444445, -0.03000043117938094],
    ),
    Case(
        adam,
        2,
        {"rate": 0.01},
        adam_loop,
        {"rate": 0.01},
        [0.4807555154351381, -1.2478175474963837, 1.9866997627240355, -0.04898425071700743],
    ),
]
every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.update.__name__)
every_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def run(case: Case, w: Any, gradients: list[Any], options: dict[str, float]) -> Any:
    """Return w after one update a gradient, all inputs read-only."""
    moments = [np.zeros_like(w)] * case.moments
    for step, dw in enumerate(gradients, 1):
        timed = {"step": step} if case.update is adam else {}
        inputs = [frozen(array) for array in (w, *moments, dw)]
        result = case.update(*inputs, **options, **timed)
        w, *moments = result if case.moments else (result,)
    return w


@every_case
@every_dtype
def test_update(case: Case, dtype: Any) -> None:
    w = run(case, W.astype(dtype), [dw.astype(dtype) for dw in GRADIENTS], case.options)
    expected = np.empty(W.shape)
    for index in np.ndindex(*W.shape):
        expected[index] = case.loop(W[index], [dw[index] for dw in GRADIENTS])
    rates = case.options["rate"] * sum(1 + np.abs(dw) for dw in GRADIENTS)
    assert_within(w, expected, np.abs(W) + rates, STEPS, dtype)


@every_case
def test_update_as_pytorch(case: Case) -> None:
    w = run(case, np.array(TORCH_W), [np.array(dw) for dw in TORCH_GRADIENTS], case.torch_options)
    np.testing.assert_allclose(w, case.torch_result, rtol=1e-13)


@every_case
def test_a_gradient_wrong_by_one_percent_is_noticed(case: Case) -> None:
    w = np.ones(1)
    gradients = [np.array([0.5]), np.array([0.25])]
    right = run(case, w, gradients, case.options)
    wrong = run(case, w, [gradients[0], gradients[1] * 1.01], case.options)
    with pytest.raises(AssertionError, match="beyond the bound"):
        assert_within(wrong, right, np.ones(1), 2, np.float64)


@every_case
def test_any_strides(case: Case) -> None:
    right = run(case, W, list(GRADIENTS), case.options)
    for kind in STRIDES:
        strided = run(case, with_strides(W, kind), [with_strides(dw, kind) for dw in GRADIENTS], case.options)
        np.testing.assert_allclose(strided, right, rtol=1e-14)


@every_case
def test_numpy_scalars_do_not_widen(case: Case) -> None:
    options = {name: np.float64(value) for name, value in case.options.items()}
    w = np.ones(3, np.float32)
    result = case.update(*[w] * (case.moments + 2), **options)
    assert all(array.dtype == np.float32 for array in (result if case.moments else [result]))


@every_dtype
@pytest.mark.parametrize(("l1", "l2"), [(0.0, 0.0), (0.3, 0.0), (0.0, 0.7), (0.3, 0.7)])
def test_regularize_and_penalty(dtype: Any, l1: float, l2: float) -> None:
    w, dw = np.concatenate([W[0], [0.0]]), np.concatenate([GRADIENTS[0][0], [1.0]])
    expected = dw + l1 * np.sign(w) + l2 * w
    result = regularize(frozen(w.astype(dtype)), frozen(dw.astype(dtype)), np.float64(l1), np.float64(l2))
    assert_within(result, expected, np.abs(dw) + l1 + l2 * np.abs(w), 3, dtype)
    total = l1 * np.abs(w).sum() + l2 / 2 * (w**2).sum()
    assert penalty(frozen(w.astype(dtype)), l1, l2) == pytest.approx(total, rel=1e-14)


def test_regularize_is_the_gradient_of_the_penalty() -> None:
    w, h = W[0], 1e-6
    for i in range(w.size):
        above, below = (w + sign * h * (np.arange(w.size) == i) for sign in (1, -1))
        slope = (penalty(above, 0.3, 0.7) - penalty(below, 0.3, 0.7)) / (2 * h)
        assert slope == pytest.approx(regularize(w, np.zeros_like(w), 0.3, 0.7)[i], rel=1e-6)


def test_penalty_of_a_large_float32_array_is_summed_in_float64() -> None:
    w = np.full((1000, 1000), 0.1, np.float32)
    exact = float(np.float32(0.1)) * 1e6
    assert abs(penalty(w, 1.0, 0.0) - exact) < unit_roundoff(np.float32) * exact / 1000


@every_case
def test_errors(case: Case) -> None:
    name = case.update.__name__
    arrays = [np.zeros(3)] * (case.moments + 1)
    with pytest.raises(ValueError, match=re.escape(f"{name}: shapes differ (w=(3,), ")):
        case.update(*arrays, np.zeros(4), **case.options)
    with pytest.raises(TypeError, match=f"{name}: .*dw is float32; expected one dtype"):
        case.update(*arrays, np.zeros(3, np.float32), **case.options)


def test_steps_count_from_one() -> None:
    with pytest.raises(ValueError, match="adam: step is 0, steps count from 1"):
        adam(*[np.zeros(3)] * 4, step=0)


def test_a_loss_scale_follows_the_overflows() -> None:
    assert next_loss_scale(1024.0, 5, True) == (512.0, 0)
    assert next_loss_scale(1.0, 5, True) == (1.0, 0)
    assert next_loss_scale(1024.0, 5, False) == (1024.0, 6)
    assert next_loss_scale(1024.0, 1999, False) == (2048.0, 0)
