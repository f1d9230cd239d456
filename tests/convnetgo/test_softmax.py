"""Softmax and log-softmax against their definitions, numerical gradients, and large inputs."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest

from gocunets.convnetgo import log_softmax, log_softmax_backward, softmax, softmax_backward

from .arrays import STRIDES, assert_gradient, randoms, with_strides
from .bound import assert_within

CASES = [((3, 4), 1), ((2, 3, 4), 1), ((2, 3, 2, 2), -1), ((2, 5, 1, 1), 1), ((4, 3), 0), ((2, 100), 1)]
every_case = pytest.mark.parametrize(("shape", "axis"), CASES, ids=str)
every_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64])
both = pytest.mark.parametrize(
    ("forward", "backward"),
    [(softmax, softmax_backward), (log_softmax, log_softmax_backward)],
    ids=["softmax", "log_softmax"],
)


def definition(x: Any, axis: int) -> Any:
    """Return exp(x) / sum(exp(x)), one number at a time in float64."""
    exponentials = np.array([math.exp(value) for value in x.ravel()]).reshape(x.shape)
    return exponentials / exponentials.sum(axis, keepdims=True)


def shift(x: Any, axis: int) -> Any:
    """Return how far x lies below its maximum, plus 1: what an error of x - max costs exp."""
    return 1 + (x.max(axis, keepdims=True) - x).max(axis, keepdims=True)


@every_case
@every_dtype
def test_softmax(shape: tuple[int, ...], axis: int, dtype: Any) -> None:
    x = randoms(*shape) * 2
    right = definition(x, axis)
    assert_within(softmax(x.astype(dtype), axis), right, right * shift(x, axis), shape[axis], dtype)


@every_case
@every_dtype
def test_log_softmax(shape: tuple[int, ...], axis: int, dtype: Any) -> None:
    x = randoms(*shape) * 2
    right = np.log(definition(x, axis))
    assert_within(log_softmax(x.astype(dtype), axis), right, np.abs(right) + shift(x, axis), shape[axis], dtype)


@every_case
@every_dtype
def test_softmax_backward(shape: tuple[int, ...], axis: int, dtype: Any) -> None:
    y = softmax(randoms(*shape), axis).astype(np.float32).astype(np.float64)
    dy = randoms(*shape, seed=1)
    right, magnitude = (y * (d + sign * (d * y).sum(axis, keepdims=True)) for d, sign in ((dy, -1), (np.abs(dy), 1)))
    dx = softmax_backward(y.astype(dtype), dy.astype(dtype), axis)
    assert_within(dx, right, magnitude, shape[axis], dtype)


@every_case
@every_dtype
def test_log_softmax_backward(shape: tuple[int, ...], axis: int, dtype: Any) -> None:
    y = log_softmax(randoms(*shape), axis).astype(np.float32).astype(np.float64)
    dy = randoms(*shape, seed=1)
    right, magnitude = (d + sign * np.exp(y) * d.sum(axis, keepdims=True) for d, sign in ((dy, -1), (np.abs(dy), 1)))
    dx = log_softmax_backward(y.astype(dtype), dy.astype(dtype), axis)
    assert_within(dx, right, magnitude, shape[axis], dtype)


@both
@every_case
def test_gradient_numerically(forward: Any, backward: Any, shape: tuple[int, ...], axis: int) -> None:
    x, dy = randoms(*shape), randoms(*shape, seed=1)
    dx = backward(forward(x, axis), dy, axis)
    assert_gradient(lambda moved: forward(moved, axis), x, dy, dx)


@every_dtype
def test_an_input_wrong_by_one_percent_is_noticed(dtype: Any) -> None:
    x = np.array([[1.0, 2.0, 3.0]])
    right = definition(x, 1)
    wrong = x.astype(dtype)
    wrong[0, 1] *= 1.01
    with pytest.raises(AssertionError, match="beyond the bound"):
        assert_within(softmax(wrong), right, right * shift(x, 1), 3, dtype)


@every_dtype
def test_large_inputs_do_not_overflow(dtype: Any) -> None:
    x = np.array([[1e4, 1e4, -1e4], [-1e30, 0, 1e30]], dtype)
    np.testing.assert_array_equal(softmax(x), [[0.5, 0.5, 0], [0, 0, 1]])
    assert np.isfinite(log_softmax(x)).all()
    np.testing.assert_allclose(log_softmax(x)[0, 0], -math.log(2), rtol=1e-6)


@both
@pytest.mark.parametrize("kind", STRIDES)
def test_any_strides(forward: Any, backward: Any, kind: str) -> None:
    x, dy = randoms(3, 4, 2), randoms(3, 4, 2, seed=1)
    y = forward(x)
    np.testing.assert_allclose(forward(with_strides(x, kind)), y, rtol=1e-14)
    np.testing.assert_allclose(
        backward(with_strides(y, kind), with_strides(dy, kind)), backward(y, dy), rtol=1e-12, atol=1e-14
    )


@both
def test_errors(forward: Any, backward: Any) -> None:
    x, name = np.zeros((2, 3)), forward.__name__
    with pytest.raises(TypeError, match=f"{name}: x is float16, expected float32 or float64"):
        forward(x.astype(np.float16))
    with pytest.raises(ValueError, match=re.escape(f"{name}_backward: shapes differ (y=(2, 3), dy=(3,))")):
        backward(x, x[0])
