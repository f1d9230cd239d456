"""Batch normalisation against its definition in float64, numerical gradients, and its errors."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest

from gocunets.convnetgo import (
    batch_norm_backward,
    batch_norm_forward,
    batch_norm_inference,
    running_average,
)

from .arrays import STRIDES, assert_gradient, from_layout, randoms, to_layout, with_strides
from .bound import assert_within

SHAPES = [(5, 3), (4, 2, 3), (5, 2, 4, 3), (5, 3, 2, 3, 2), (40, 1, 2, 2)]
CASES = [(shape, spatial) for shape in SHAPES for spatial in (True, False)] + [((1, 2, 3, 3), True)]
every_case = pytest.mark.parametrize(
    ("shape", "spatial"), CASES, ids=[f"{s}-{'spatial' if m else 'per-activation'}" for s, m in CASES]
)
every_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64])
every_layout = pytest.mark.parametrize("channels_last", [False, True], ids=["NC*", "N*C"])


def parameters(shape: tuple[int, ...], spatial: bool) -> tuple[Any, Any, tuple[int, ...]]:
    """Return gamma and beta, shaped to spread over (N, C, *spatial), and the axes of the statistics."""
    vector = (shape[1], *(1,) * (len(shape) - 2)) if spatial else shape[1:]
    axes = (0, *range(2, len(shape))) if spatial else (0,)
    return randoms(*vector, seed=2), randoms(*vector, seed=3), axes


def vector(array: Any, spatial: bool, channels_last: bool) -> Any:
    """Return a spread vector as the functions take it: (C,) or x.shape[1:]."""
    if spatial:
        return array.reshape(-1)
    return np.moveaxis(array, 0, -1) if channels_last else array


def definition(x: Any, gamma: Any, beta: Any, axes: tuple[int, ...]) -> tuple[Any, Any, Any]:
    """Return (y, mean, invstd) by the equations, in float64."""
    mean = x.mean(axes, keepdims=True)
    invstd = 1 / np.sqrt(((x - mean) ** 2).mean(axes, keepdims=True) + 1e-5)
    return gamma * (x - mean) * invstd + beta, mean[0], invstd[0]


def gradient(x: Any, dy: Any, gamma: Any, mean: Any, invstd: Any, axes: tuple[int, ...]) -> Any:
    """Return (dx, dgamma, dbeta) by the equations, and on absolute values."""
    results = []
    for sign, xhat, dys, scale in (
        (-1, (x - mean) * invstd, dy, gamma * invstd),
        (1, (np.abs(x) + np.abs(mean)) * invstd, np.abs(dy), np.abs(gamma) * invstd),
    ):
        dbeta = dys.sum(axes, keepdims=True)
        dgamma = (dys * xhat).sum(axes, keepdims=True)
        count = math.prod(x.shape[axis] for axis in axes)
        dx = scale * (dys + sign * dbeta / count + sign * xhat * dgamma / count)
        results.append((dx, dgamma[0], dbeta[0]))
    return results


@every_case
@every_layout
@every_dtype
def test_forward(shape: tuple[int, ...], dtype: Any, channels_last: bool, spatial: bool) -> None:
    x = randoms(*shape)
    gamma, beta, axes = parameters(shape, spatial)
    expected = definition(x, gamma, beta, axes)
    y, mean, invstd = batch_norm_forward(
        to_layout(x.astype(dtype), channels_last),
        vector(gamma, spatial, channels_last).astype(dtype),
        vector(beta, spatial, channels_last).astype(dtype),
        spatial=spatial,
        channels_last=channels_last,
    )
    # Errors of x - mean reach invstd relative to the deviation, so M carries that ratio.
    spread = np.abs(x).mean(axes, keepdims=True)[0] * expected[2] + 1
    size = np.abs(gamma) * (np.abs(x) + np.abs(expected[1])) * expected[2] * spread + np.abs(beta)
    count = math.prod(shape[axis] for axis in axes)
    assert_within(from_layout(y, channels_last), expected[0], size, count, dtype)
    for result, right, magnitude in (
        (mean, expected[1], np.abs(x).mean(axes, keepdims=True)[0]),
        (invstd, expected[2], expected[2] * spread),
    ):
        right, magnitude = (vector(array, spatial, channels_last) for array in (right, magnitude))
        assert_within(result, right, magnitude, count, dtype)


@every_case
@every_layout
@every_dtype
def test_backward(shape: tuple[int, ...], dtype: Any, channels_last: bool, spatial: bool) -> None:
    x, dy = randoms(*shape), randoms(*shape, seed=1)
    gamma, beta, axes = parameters(shape, spatial)
    mean, invstd = (array.astype(np.float32).astype(np.float64) for array in definition(x, gamma, beta, axes)[1:])
    expected, magnitudes = gradient(x, dy, gamma, mean, invstd, axes)
    dx, *vectors = batch_norm_backward(
        to_layout(x.astype(dtype), channels_last),
        to_layout(dy.astype(dtype), channels_last),
        *(vector(array, spatial, channels_last).astype(dtype) for array in (gamma, mean, invstd)),
        spatial=spatial,
        channels_last=channels_last,
    )
    count = math.prod(shape[axis] for axis in axes)
    assert_within(from_layout(dx, channels_last), expected[0], magnitudes[0], count, dtype)
    for result, right, magnitude in zip(vectors, expected[1:], magnitudes[1:], strict=True):
        right, magnitude = (vector(array, spatial, channels_last) for array in (right, magnitude))
        assert_within(result, right, magnitude, count, dtype)


@every_case
def test_gradients_numerically(shape: tuple[int, ...], spatial: bool) -> None:
    x, dy = randoms(*shape), randoms(*shape, seed=1)
    gamma, beta, _ = parameters(shape, spatial)
    gamma, beta = (vector(array, spatial, False) for array in (gamma, beta))
    _, mean, invstd = batch_norm_forward(x, gamma, beta, spatial=spatial)
    dx, dgamma, dbeta = batch_norm_backward(x, dy, gamma, mean, invstd, spatial=spatial)
    assert_gradient(lambda moved: batch_norm_forward(moved, gamma, beta, spatial=spatial)[0], x, dy, dx)
    assert_gradient(lambda moved: batch_norm_forward(x, moved, beta, spatial=spatial)[0], gamma, dy, dgamma)
    assert_gradient(lambda moved: batch_norm_forward(x, gamma, moved, spatial=spatial)[0], beta, dy, dbeta)


@every_case
@every_layout
@every_dtype
def test_inference(shape: tuple[int, ...], dtype: Any, channels_last: bool, spatial: bool) -> None:
    x = randoms(*shape)
    gamma, beta, _ = parameters(shape, spatial)
    mean, variance = randoms(*gamma.shape, seed=4), np.square(randoms(*gamma.shape, seed=5)) + 0.1
    variance = variance.astype(np.float32).astype(np.float64)
    deviation = np.sqrt(variance + 1e-3)
    y = batch_norm_inference(
        to_layout(x.astype(dtype), channels_last),
        *(vector(a, spatial, channels_last).astype(dtype) for a in (gamma, beta, mean, variance)),
        epsilon=1e-3,
        spatial=spatial,
        channels_last=channels_last,
    )
    expected = gamma * (x - mean) / deviation + beta
    magnitude = np.abs(gamma) * (np.abs(x) + np.abs(mean)) / deviation + np.abs(beta)
    assert_within(from_layout(y, channels_last), expected, magnitude, 4, dtype)


@every_dtype
def test_a_gamma_wrong_by_one_percent_is_noticed(dtype: Any) -> None:
    x = randoms(3, 2, 4, 3)
    gamma, beta, axes = parameters(x.shape, True)
    expected, mean, invstd = definition(x, gamma, beta, axes)
    size = np.abs(gamma) * (np.abs(x) + np.abs(mean)) * invstd * 3 + np.abs(beta)
    wrong = gamma.reshape(-1).astype(dtype)
    wrong[1] *= 1.01
    y = batch_norm_forward(x.astype(dtype), wrong, beta.reshape(-1).astype(dtype))[0]
    with pytest.raises(AssertionError, match="beyond the bound"):
        assert_within(y, expected, size, 36, dtype)


def test_large_batch_in_float32_keeps_its_digits() -> None:
    x = np.full((40_000, 2, 1, 1), 0.1, np.float32)
    x[::2] += np.float32(1)
    for layout in (x, np.moveaxis(x, 1, -1)):
        _, mean, _ = batch_norm_forward(
            layout, np.ones(2, np.float32), np.zeros(2, np.float32), channels_last=layout is not x
        )
        np.testing.assert_allclose(mean, x.mean(dtype=np.float64), rtol=1e-7)


@pytest.mark.parametrize("kind", STRIDES)
def test_any_strides(kind: str) -> None:
    x, dy, gamma, beta = randoms(3, 2, 4, 3), randoms(3, 2, 4, 3, seed=1), randoms(2), randoms(2, seed=1)
    expected = batch_norm_forward(x, gamma, beta)
    backward = batch_norm_backward(x, dy, gamma, *expected[1:])
    strided_x, strided_dy, strided_gamma = (with_strides(array, kind) for array in (x, dy, gamma))
    results = batch_norm_forward(strided_x, strided_gamma, with_strides(beta, kind))
    results += batch_norm_backward(strided_x, strided_dy, strided_gamma, *expected[1:])
    for result, right in zip(results, expected + backward, strict=True):
        np.testing.assert_allclose(result, right, rtol=1e-12, atol=1e-12)


@every_dtype
def test_running_average(dtype: Any) -> None:
    running, new = np.array([1, 2], dtype), np.array([3, -2], dtype)
    average = running_average(running, new, np.float64(0.25))
    assert average.dtype == dtype
    np.testing.assert_array_equal(average, [1.5, 1])


def test_errors() -> None:
    x, two, three = np.zeros((4, 2, 3, 3)), np.zeros(2), np.zeros(3)
    calls = [
        (lambda: batch_norm_forward(x, three, two), "batch_norm: gamma has shape (3,), expected (2,) (x=(4, 2, 3, 3))"),
        (
            lambda: batch_norm_forward(x, two, two, channels_last=True),
            "batch_norm: gamma has shape (2,), expected (3,) (x=(4, 2, 3, 3))",
        ),
        (
            lambda: batch_norm_forward(x, two, two, spatial=False),
            "batch_norm: gamma has shape (2,), expected (2, 3, 3) (x=(4, 2, 3, 3))",
        ),
        (lambda: batch_norm_forward(two, two, two), "batch_norm: x has 1 axes, expected at least 2 (x=(2,))"),
        (lambda: batch_norm_forward(x[:0], two, two), "batch_norm: x has no values to average (x=(0, 2, 3, 3))"),
        (
            lambda: batch_norm_inference(x, two, two, two, three),
            "batch_norm_inference: running_variance has shape (3,), expected (2,) (x=(4, 2, 3, 3))",
        ),
        (
            lambda: batch_norm_backward(x, x[:2], two, two, two),
            "batch_norm_backward: dy has shape (2, 2, 3, 3), expected (4, 2, 3, 3)",
        ),
        (
            lambda: batch_norm_backward(x, x, two, two, three),
            "batch_norm_backward: invstd has shape (3,), expected (2,) (x=(4, 2, 3, 3))",
        ),
        (lambda: running_average(two, three, 0.1), "running_average: new has shape (3,), expected (2,)"),
    ]
    for call, message in calls:
        with pytest.raises(ValueError, match=re.escape(message)):
            call()
    with pytest.raises(TypeError, match="batch_norm: x is float64, gamma is float32, beta is float64"):
        batch_norm_forward(x, two.astype(np.float32), two)
