"""The fully connected layer against the direct loops, numerical gradients, and its errors."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from gocunets.convnetgo import (
    fully_connected_backward_bias,
    fully_connected_backward_data,
    fully_connected_backward_filter,
    fully_connected_forward,
)

from . import loops
from .arrays import STRIDES, assert_gradient, randoms, with_strides
from .bound import assert_within

SIZES = [(1, 1, 1), (2, 3, 4), (5, 1, 2), (1, 7, 3), (3, 90, 2), (70, 2, 2)]
every_size = pytest.mark.parametrize("sizes", SIZES, ids=str)
every_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def inputs(sizes: tuple[int, int, int]) -> tuple[Any, Any, Any, Any]:
    """Return x, w, b and dy for (N, I, O)."""
    n, i, o = sizes
    return randoms(n, i, seed=1), randoms(i, o, seed=2), randoms(o, seed=3), randoms(n, o, seed=4)


@every_size
@every_dtype
def test_forward(sizes: tuple[int, int, int], dtype: Any) -> None:
    x, w, b, _ = inputs(sizes)
    y = fully_connected_forward(x.astype(dtype), w.astype(dtype), b.astype(dtype))
    magnitude = loops.fully_connected(np.abs(x), np.abs(w), np.abs(b))
    assert_within(y, loops.fully_connected(x, w, b), magnitude, sizes[1] + 1, dtype)


@every_size
@every_dtype
def test_backward(sizes: tuple[int, int, int], dtype: Any) -> None:
    x, w, _, dy = inputs(sizes)
    expected = loops.fully_connected_backward(x, w, dy)
    magnitudes = loops.fully_connected_backward(np.abs(x), np.abs(w), np.abs(dy))
    x, w, dy = (array.astype(dtype) for array in (x, w, dy))
    results = (
        fully_connected_backward_data(dy, w),
        fully_connected_backward_filter(x, dy),
        fully_connected_backward_bias(dy),
    )
    for result, right, magnitude, terms in zip(
        results, expected, magnitudes, (sizes[2], sizes[0], sizes[0]), strict=True
    ):
        assert_within(result, right, magnitude, terms, dtype)


@every_size
def test_gradients_numerically(sizes: tuple[int, int, int]) -> None:
    x, w, b, dy = inputs(sizes)
    dx, dw = fully_connected_backward_data(dy, w), fully_connected_backward_filter(x, dy)
    db = fully_connected_backward_bias(dy)
    assert_gradient(lambda moved: fully_connected_forward(moved, w, b), x, dy, dx)
    assert_gradient(lambda moved: fully_connected_forward(x, moved, b), w, dy, dw)
    assert_gradient(lambda moved: fully_connected_forward(x, w, moved), b, dy, db)


@every_size
@every_dtype
def test_a_weight_wrong_by_one_percent_is_noticed(sizes: tuple[int, int, int], dtype: Any) -> None:
    x, w, b, _ = inputs(sizes)
    expected, magnitude = loops.fully_connected(x, w, b), loops.fully_connected(*map(np.abs, (x, w, b)))
    wrong = w.astype(dtype)
    wrong[0, 0] *= 1.01
    with pytest.raises(AssertionError, match="beyond the bound"):
        assert_within(
            fully_connected_forward(x.astype(dtype), wrong, b.astype(dtype)),
            expected,
            magnitude,
            sizes[1] + 1,
            dtype,
        )


@pytest.mark.parametrize("kind", STRIDES)
def test_any_strides(kind: str) -> None:
    x, w, b, dy = inputs((2, 3, 4))
    expected = (loops.fully_connected(x, w, b), *loops.fully_connected_backward(x, w, dy))
    x, w, b, dy = (with_strides(array, kind) for array in (x, w, b, dy))
    results = (
        fully_connected_forward(x, w, b),
        fully_connected_backward_data(dy, w),
        fully_connected_backward_filter(x, dy),
        fully_connected_backward_bias(dy),
    )
    for result, right in zip(results, expected, strict=True):
        np.testing.assert_allclose(result, right, rtol=1e-12)


def test_no_bias_is_zero_bias() -> None:
    x, w, _, _ = inputs((2, 3, 4))
    np.testing.assert_array_equal(fully_connected_forward(x, w), fully_connected_forward(x, w, np.zeros(4)))


def test_errors() -> None:
    x, w, dy = np.zeros((2, 3)), np.zeros((4, 5)), np.zeros((7, 6))
    calls = [
        (lambda: fully_connected_forward(x, w), "fully_connected: x has 3 columns, w expects 4 (x=(2, 3), w=(4, 5))"),
        (lambda: fully_connected_forward(x, w[0]), "fully_connected: w has 1 axes, expected 2 (x=(2, 3), w=(5,))"),
        (lambda: fully_connected_forward(w, w.T, x[0]), "fully_connected: b has shape (3,), expected (4,) (w=(5, 4))"),
        (
            lambda: fully_connected_backward_data(dy, w),
            "fully_connected_backward_data: dy has 6 columns, w expects 5 (dy=(7, 6), w=(4, 5))",
        ),
        (
            lambda: fully_connected_backward_filter(x, dy),
            "fully_connected_backward_filter: x has 2 rows, dy expects 7 (x=(2, 3), dy=(7, 6))",
        ),
        (
            lambda: fully_connected_backward_bias(dy[0]),
            "fully_connected_backward_bias: dy has 1 axes, expected 2 (dy=(6,))",
        ),
    ]
    for call, message in calls:
        with pytest.raises(ValueError, match=re.escape(message)):
            call()
    with pytest.raises(TypeError, match="fully_connected: x is int64, expected float32 or float64"):
        fully_connected_forward(np.ones((2, 4), np.int64), w)
