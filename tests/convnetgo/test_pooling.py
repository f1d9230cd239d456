"""Pooling against the direct loops, numerical gradients, ties, NaN, and its errors."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import numpy as np
import pytest

from gocunets.convnetgo import (
    average_pool_backward,
    average_pool_forward,
    max_pool_backward,
    max_pool_forward,
    pool_output_shape,
)

from . import loops
from .arrays import STRIDES, assert_gradient, from_layout, randoms, shape_in, to_layout, with_strides
from .bound import assert_within


class Case(NamedTuple):
    """One pooling; x is (N, C, *spatial)."""

    name: str
    x: tuple[int, ...]
    window: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]

    def options(self, channels_last: bool = False) -> dict[str, Any]:
        """Return the keyword arguments."""
        return {
            "window": self.window,
            "stride": self.stride,
            "padding": self.padding,
            "channels_last": channels_last,
        }


CASES = [
    Case("1d", (2, 3, 8), (2,), (2,), (0,)),
    Case("1d overlapping, padded, floor", (2, 2, 8), (4,), (3,), (2,)),
    Case("2d", (2, 3, 4, 6), (2, 2), (2, 2), (0, 0)),
    Case("2d floor", (2, 2, 5, 7), (2, 2), (2, 2), (0, 0)),
    Case("2d overlapping", (2, 2, 6, 7), (3, 3), (2, 2), (0, 0)),
    Case("2d padded", (2, 2, 5, 6), (3, 3), (2, 2), (1, 1)),
    Case("2d unequal axes", (1, 3, 6, 9), (2, 4), (1, 3), (1, 3)),
    Case("stride beyond window", (2, 2, 7, 7), (2, 2), (3, 3), (1, 1)),
    Case("1x1", (2, 2, 3, 3), (1, 1), (1, 1), (0, 0)),
    Case("window = input", (3, 2, 3, 4), (3, 4), (3, 4), (0, 0)),
    Case("3d", (1, 2, 4, 5, 4), (2, 3, 2), (2, 2, 1), (1, 1, 0)),
]
every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
every_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64])
every_layout = pytest.mark.parametrize("channels_last", [False, True], ids=["NC*", "N*C"])
both_counts = pytest.mark.parametrize("include_padding", [False, True])


@every_case
@every_layout
@every_dtype
@pytest.mark.parametrize("ties", [False, True])
def test_max_forward(case: Case, dtype: Any, channels_last: bool, ties: bool) -> None:
    x = np.round(randoms(*case.x)) if ties else randoms(*case.x)
    y, indices = max_pool_forward(to_layout(x.astype(dtype), channels_last), **case.options(channels_last))
    expected, positions = loops.max_pool(x, case.window, case.stride, case.padding)
    assert (y.dtype, indices.dtype) == (dtype, np.int32)
    np.testing.assert_array_equal(from_layout(y, channels_last), expected)
    np.testing.assert_array_equal(from_layout(indices, channels_last), positions)


@pytest.mark.parametrize("value", [-np.inf, np.nan, np.inf, -1.0])
def test_max_of_special_values(value: float) -> None:
    x = np.full((1, 1, 5, 5), value)
    y, indices = max_pool_forward(x, window=3, stride=2, padding=1)
    np.testing.assert_array_equal(y, np.full((1, 1, 3, 3), value))
    np.testing.assert_array_equal(indices[0, 0], [[0, 1, 3], [5, 6, 8], [15, 16, 18]])


def test_first_nan_wins() -> None:
    x = np.array([[[1.0, np.nan, 9.0, np.nan, 2.0, 3.0]]])
    y, indices = max_pool_forward(x, window=3)
    np.testing.assert_array_equal(y, [[[np.nan, np.nan]]])
    np.testing.assert_array_equal(indices, [[[1, 3]]])


@every_case
@every_layout
@every_dtype
def test_max_backward(case: Case, dtype: Any, channels_last: bool) -> None:
    x = randoms(*case.x, dtype=dtype)
    y, indices = max_pool_forward(to_layout(x, channels_last), **case.options(channels_last))
    dy = randoms(*from_layout(y, channels_last).shape, seed=1)
    dy_in = to_layout(dy.astype(dtype), channels_last)
    dx = max_pool_backward(dy_in, indices, shape_in(case.x, channels_last), channels_last=channels_last)
    expected, magnitude = (scattered(array, from_layout(indices, channels_last), case.x) for array in (dy, np.abs(dy)))
    assert_within(from_layout(dx, channels_last), expected, magnitude, int(np.prod(case.window)), dtype)


def scattered(dy: Any, indices: Any, x_shape: tuple[int, ...]) -> Any:
    """Return dx, with each dy added at its index."""
    dx = np.zeros(x_shape)
    for n, c, *at in np.ndindex(*dy.shape):
        dx[n, c, *np.unravel_index(indices[n, c, *at], x_shape[2:])] += dy[n, c, *at]
    return dx


@every_case
def test_max_gradient_numerically(case: Case) -> None:
    x = randoms(*case.x)
    y, indices = max_pool_forward(x, **case.options())
    dy = randoms(*y.shape, seed=1)
    dx = max_pool_backward(dy, indices, x.shape)
    assert_gradient(lambda moved: max_pool_forward(moved, **case.options())[0], x, dy, dx)


@every_case
@every_layout
@every_dtype
@both_counts
def test_average_forward(case: Case, dtype: Any, channels_last: bool, include_padding: bool) -> None:
    x = randoms(*case.x)
    y = average_pool_forward(
        to_layout(x.astype(dtype), channels_last),
        include_padding=include_padding,
        **case.options(channels_last),
    )
    window = (case.window, case.stride, case.padding, include_padding)
    expected, magnitude = (loops.average_pool(array, *window) for array in (x, np.abs(x)))
    assert_within(from_layout(y, channels_last), expected, magnitude, int(np.prod(case.window)), dtype)


@every_case
@every_layout
@every_dtype
@both_counts
def test_average_backward(case: Case, dtype: Any, channels_last: bool, include_padding: bool) -> None:
    ones = (1,) * len(case.window)
    out = loops.output_sizes(case.x[2:], case.window, case.stride, case.padding, ones)
    dy = randoms(*case.x[:2], *out)
    dx = average_pool_backward(
        to_layout(dy.astype(dtype), channels_last),
        shape_in(case.x, channels_last),
        include_padding=include_padding,
        **case.options(channels_last),
    )
    window = (case.x, case.window, case.stride, case.padding, include_padding)
    expected, magnitude = (loops.average_pool_backward(array, *window) for array in (dy, np.abs(dy)))
    assert_within(from_layout(dx, channels_last), expected, magnitude, int(np.prod(case.window)), dtype)


@every_case
@both_counts
def test_average_gradient_numerically(case: Case, include_padding: bool) -> None:
    options = {"include_padding": include_padding, **case.options()}
    x = randoms(*case.x)
    dy = randoms(*average_pool_forward(x, **options).shape, seed=1)
    dx = average_pool_backward(dy, x.shape, **options)
    assert_gradient(lambda moved: average_pool_forward(moved, **options), x, dy, dx)


@every_dtype
def test_an_input_wrong_by_one_percent_is_noticed(dtype: Any) -> None:
    x = randoms(1, 1, 4, 4)
    wrong = x.astype(dtype)
    wrong[0, 0, 1, 1] *= 1.01
    expected, magnitude = (loops.average_pool(a, (2, 2), (2, 2), (0, 0), False) for a in (x, np.abs(x)))
    with pytest.raises(AssertionError, match="beyond the bound"):
        assert_within(average_pool_forward(wrong, window=2), expected, magnitude, 4, dtype)


@pytest.mark.parametrize("kind", STRIDES)
def test_any_strides(kind: str) -> None:
    x, options = randoms(2, 3, 5, 6), {"window": 3, "stride": 2, "padding": 1}
    y, indices = max_pool_forward(x, **options)
    strided_y, strided_indices = max_pool_forward(with_strides(x, kind), **options)
    np.testing.assert_array_equal(strided_y, y)
    np.testing.assert_array_equal(strided_indices, indices)
    np.testing.assert_array_equal(
        max_pool_backward(with_strides(y, kind), with_strides(indices, kind)[...], x.shape)
        if kind != "every second"  # it pads with NaN, which integers have not
        else max_pool_backward(with_strides(y, kind), indices, x.shape),
        max_pool_backward(y, indices, x.shape),
    )
    np.testing.assert_array_equal(
        average_pool_forward(with_strides(x, kind), **options), average_pool_forward(x, **options)
    )
    np.testing.assert_array_equal(
        average_pool_backward(with_strides(y, kind), x.shape, **options),
        average_pool_backward(y, x.shape, **options),
    )


@every_case
@every_layout
def test_output_shape(case: Case, channels_last: bool) -> None:
    ones = (1,) * len(case.window)
    out = loops.output_sizes(case.x[2:], case.window, case.stride, case.padding, ones)
    shape = pool_output_shape(shape_in(case.x, channels_last), **case.options(channels_last))
    assert shape == shape_in((*case.x[:2], *out), channels_last)


def test_stride_defaults_to_the_window() -> None:
    assert pool_output_shape((2, 3, 9, 9), window=(2, 3)) == (2, 3, 4, 3)


ERRORS = [
    ({"window": 2, "padding": 2}, "pool: padding (2, 2) is not smaller than the window (2, 2) (x=(1, 2, 4, 5))"),
    (
        {"window": (2, 3), "padding": (0, 3)},
        "pool: padding (0, 3) is not smaller than the window (2, 3) (x=(1, 2, 4, 5))",
    ),
    ({"window": 5}, "pool: window spans 5 cells, padded input has 4 on spatial axis 0 (input=(4, 5)"),
    ({"window": 0}, "pool: window is 0, expected at least 1"),
    ({"window": 2, "stride": 0}, "pool: stride is 0, expected at least 1"),
    ({"window": 2, "padding": -1}, "pool: padding is -1, expected at least 0"),
    ({"window": (2, 2, 2)}, "pool: window is (2, 2, 2), expected 1 or 2 integers"),
]


@pytest.mark.parametrize(("options", "message"), ERRORS)
def test_shape_errors(options: dict[str, Any], message: str) -> None:
    x = np.zeros((1, 2, 4, 5))
    for call in (max_pool_forward, average_pool_forward):
        with pytest.raises(ValueError, match=re.escape(message)):
            call(x, **options)  # type: ignore[operator]
    with pytest.raises(ValueError, match=re.escape(message)):
        pool_output_shape(x.shape, **options)


def test_operand_errors() -> None:
    dy, indices = np.zeros((1, 2, 2, 2)), np.zeros((1, 2, 2, 2), np.int32)
    calls = [
        (lambda: max_pool_forward(dy[0, 0], window=1), "pool: x has 2 axes, expected 3, 4 or 5 (x=(2, 2))"),
        (
            lambda: max_pool_backward(dy, indices[:, :1], (1, 2, 4, 4)),
            "max_pool_backward: indices has shape (1, 1, 2, 2), expected (1, 2, 2, 2) (x=(1, 2, 4, 4))",
        ),
        (
            lambda: max_pool_backward(dy, indices + 16, (1, 2, 4, 4)),
            "max_pool_backward: indices lie in 16..16, expected 0..15 (x=(1, 2, 4, 4))",
        ),
        (
            lambda: max_pool_backward(dy, indices - 1, (1, 2, 4, 4)),
            "max_pool_backward: indices lie in -1..-1, expected 0..15 (x=(1, 2, 4, 4))",
        ),
        (
            lambda: max_pool_backward(dy, indices, (1, 3, 4, 4)),
            "max_pool_backward: dy has shape (1, 2, 2, 2), which does not pool from x (x=(1, 3, 4, 4))",
        ),
        (
            lambda: average_pool_backward(dy, (1, 2, 4, 5), window=3),
            "average_pool_backward: dy has shape (1, 2, 2, 2), expected (1, 2, 1, 1) (x=(1, 2, 4, 5))",
        ),
    ]
    for call, message in calls:
        with pytest.raises(ValueError, match=re.escape(message)):
            call()
    with pytest.raises(TypeError, match="max_pool: x is int32, expected float32 or float64"):
        max_pool_forward(indices, window=1)
    with pytest.raises(TypeError, match="max_pool_backward: indices are float64, expected integers"):
        max_pool_backward(dy, dy, (1, 2, 4, 4))


def test_empty_batch() -> None:
    y, indices = max_pool_forward(np.zeros((0, 2, 4, 4)), window=2)
    assert y.shape == indices.shape == (0, 2, 2, 2)
    assert max_pool_backward(y, indices, (0, 2, 4, 4)).shape == (0, 2, 4, 4)
    assert average_pool_forward(np.zeros((0, 2, 4, 4)), window=2).shape == (0, 2, 2, 2)
    assert average_pool_backward(y, (0, 2, 4, 4), window=2).shape == (0, 2, 4, 4)
