"""Convolution against the direct loops and numerical gradients."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np
import pytest

from gocunets.convnetgo import (
    convolution_backward_bias,
    convolution_backward_data,
    convolution_backward_filter,
    convolution_forward,
    convolution_output_shape,
)

from . import loops
from .arrays import STRIDES, assert_gradient, from_layout, randoms, shape_in, to_layout, with_strides
from .bound import assert_within


class Case(NamedTuple):
    """One convolution; shapes are (N, C, *spatial) and (K, C/groups, *kernel)."""

    name: str
    x: tuple[int, ...]
    w: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int = 1

    @property
    def geometry(self) -> tuple[tuple[int, ...], ...]:
        """Stride, padding and dilation, as the loops take them."""
        return self.stride, self.padding, self.dilation

    def options(self, channels_last: bool = False) -> dict[str, Any]:
        """Return the keyword arguments."""
        stride, padding, dilation = self.geometry
        return {
            "stride": stride,
            "padding": padding,
            "dilation": dilation,
            "groups": self.groups,
            "channels_last": channels_last,
        }


CASES = [
    Case("1d", (2, 3, 9), (4, 3, 3), (1,), (0,), (1,)),
    Case("1d strided, dilated, floor", (2, 2, 12), (3, 2, 3), (2,), (2,), (2,)),
    Case("1d depthwise", (1, 3, 7), (3, 1, 3), (2,), (1,), (1,), groups=3),
    Case("2d", (2, 3, 5, 6), (4, 3, 3, 2), (1, 1), (0, 0), (1, 1)),
    Case("2d padded", (2, 2, 5, 5), (3, 2, 3, 3), (1, 1), (1, 1), (1, 1)),
    Case("2d strided, floor", (2, 2, 8, 7), (2, 2, 3, 3), (2, 3), (0, 0), (1, 1)),
    Case("2d dilated", (1, 2, 8, 9), (2, 2, 3, 3), (1, 1), (0, 0), (2, 3)),
    Case("2d unequal axes", (2, 2, 9, 10), (3, 2, 3, 2), (2, 1), (1, 2), (1, 3)),
    Case("thesis layer, small", (2, 2, 10, 10), (3, 2, 4, 4), (2, 2), (6, 6), (3, 3)),
    Case("thesis layer, not padded", (1, 2, 12, 11), (2, 2, 4, 4), (2, 2), (0, 0), (3, 3)),
    Case("1x1", (3, 4, 3, 3), (5, 4, 1, 1), (1, 1), (0, 0), (1, 1)),
    Case("1x1 strided", (2, 3, 5, 4), (2, 3, 1, 1), (2, 2), (0, 0), (1, 1)),
    Case("1x1 input", (3, 4, 1, 1), (2, 4, 1, 1), (1, 1), (0, 0), (1, 1)),
    Case("window = input", (3, 2, 4, 4), (5, 2, 4, 4), (1, 1), (0, 0), (1, 1)),
    Case("window = padded input", (2, 2, 3, 3), (2, 2, 5, 5), (2, 2), (1, 1), (1, 1)),
    Case("stride beyond window", (2, 2, 9, 9), (2, 2, 2, 2), (4, 4), (0, 0), (1, 1)),
    Case("padding beyond window", (1, 1, 3, 3), (2, 1, 2, 2), (1, 1), (3, 3), (1, 1)),
    Case("2 groups", (2, 4, 5, 5), (6, 2, 3, 3), (1, 1), (1, 1), (1, 1), groups=2),
    Case("3 groups, strided, dilated", (2, 6, 9, 9), (3, 2, 3, 3), (2, 2), (2, 2), (2, 2), groups=3),
    Case("depthwise", (2, 4, 5, 6), (4, 1, 3, 3), (1, 1), (1, 1), (1, 1), groups=4),
    Case("depthwise, 2 filters a channel", (2, 3, 5, 5), (6, 1, 2, 2), (2, 2), (1, 1), (1, 1), groups=3),
    Case("more than 64 terms", (1, 9, 4, 4), (2, 9, 4, 4), (1, 1), (1, 1), (1, 1)),
    Case("batch of 17", (17, 1, 4, 4), (2, 1, 3, 3), (1, 1), (1, 1), (1, 1)),
    Case("3d", (2, 2, 4, 3, 4), (2, 2, 2, 2, 2), (1, 1, 1), (0, 0, 0), (1, 1, 1)),
    Case("3d strided, floor", (1, 2, 5, 6, 4), (2, 2, 2, 3, 2), (2, 2, 1), (1, 0, 1), (1, 2, 1)),
    Case("3d grouped", (1, 4, 3, 3, 3), (2, 2, 2, 2, 2), (1, 1, 1), (1, 1, 1), (2, 1, 1), groups=2),
]
every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
every_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64])
every_layout = pytest.mark.parametrize("channels_last", [False, True], ids=["NC*", "N*C"])


@cache
def inputs(case: Case) -> tuple[Any, ...]:
    """Return x, w, b and dy."""
    out = loops.output_sizes(case.x[2:], case.w[2:], *case.geometry)
    dy = randoms(case.x[0], case.w[0], *out, seed=4)
    return randoms(*case.x, seed=1), randoms(*case.w, seed=2), randoms(case.w[0], seed=3), dy


@cache
def references(case: Case) -> tuple[Any, ...]:
    """Return (y, dx, dw, db) by the loops, and the same on absolute values."""
    results = []
    for x, w, b, dy in (inputs(case), [np.abs(array) for array in inputs(case)]):
        gradients = loops.convolution_backward(x, w, dy, *case.geometry, case.groups)
        results.append((loops.convolution(x, w, b, *case.geometry, case.groups), *gradients))
    return tuple(results)


def prepared(case: Case, dtype: Any, channels_last: bool) -> tuple[Any, ...]:
    """Return x, w, b and dy in a dtype and a layout."""
    x, w, b, dy = (array.astype(dtype) for array in inputs(case))
    return *(to_layout(array, channels_last) for array in (x, w)), b, to_layout(dy, channels_last)


def terms(case: Case) -> tuple[int, int, int]:
    """Return the most terms that y, dx and dw can sum."""
    taps = int(np.prod(case.w[2:]))
    return (
        case.w[1] * taps + 1,
        case.w[0] // case.groups * taps,
        inputs(case)[3].size // case.w[0],
    )


@every_case
@every_layout
@every_dtype
def test_forward(case: Case, dtype: Any, channels_last: bool) -> None:
    x, w, b, _ = prepared(case, dtype, channels_last)
    y = from_layout(convolution_forward(x, w, b, **case.options(channels_last)), channels_last)
    expected, magnitude = (result[0] for result in references(case))
    assert_within(y, expected, magnitude, terms(case)[0], dtype)


@every_case
@every_layout
@every_dtype
def test_backward_data(case: Case, dtype: Any, channels_last: bool) -> None:
    x, w, _, dy = prepared(case, dtype, channels_last)
    dx = convolution_backward_data(dy, w, x.shape, **case.options(channels_last))
    expected, magnitude = (result[1] for result in references(case))
    assert_within(from_layout(dx, channels_last), expected, magnitude, terms(case)[1], dtype)


@every_case
@every_layout
@every_dtype
def test_backward_filter(case: Case, dtype: Any, channels_last: bool) -> None:
    x, w, _, dy = prepared(case, dtype, channels_last)
    dw = convolution_backward_filter(x, dy, w.shape, **case.options(channels_last))
    expected, magnitude = (result[2] for result in references(case))
    assert_within(from_layout(dw, channels_last), expected, magnitude, terms(case)[2], dtype)


@every_case
@every_layout
@every_dtype
def test_backward_bias(case: Case, dtype: Any, channels_last: bool) -> None:
    dy = prepared(case, dtype, channels_last)[3]
    db = convolution_backward_bias(dy, channels_last=channels_last)
    expected, magnitude = (result[3] for result in references(case))
    assert_within(db, expected, magnitude, terms(case)[2], dtype)


@every_case
@every_layout
def test_output_shape(case: Case, channels_last: bool) -> None:
    shape = convolution_output_shape(
        shape_in(case.x, channels_last), shape_in(case.w, channels_last), **case.options(channels_last)
    )
    assert shape == shape_in(inputs(case)[3].shape, channels_last)


@every_case
def test_gradients_numerically(case: Case) -> None:
    x, w, b, dy = inputs(case)
    options = case.options()
    dx = convolution_backward_data(dy, w, x.shape, **options)
    dw = convolution_backward_filter(x, dy, w.shape, **options)
    db = convolution_backward_bias(dy)
    assert_gradient(lambda moved: convolution_forward(moved, w, b, **options), x, dy, dx)
    assert_gradient(lambda moved: convolution_forward(x, moved, b, **options), w, dy, dw)
    assert_gradient(lambda moved: convolution_forward(x, w, moved, **options), b, dy, db)


@every_case
@every_dtype
def test_a_tap_wrong_by_one_percent_is_noticed(case: Case, dtype: Any) -> None:
    x, w, b, dy = (array.astype(dtype) for array in inputs(case))
    (y, dx, dw, _), (y_bound, dx_bound, dw_bound, _) = references(case)
    # The middle tap: a corner can lie in the padding at every position.
    middle = (0, 0, *(size // 2 for size in w.shape[2:]))
    w[middle] *= 1.01
    wrong_y = convolution_forward(x, w, b, **case.options())
    wrong_dx = convolution_backward_data(dy, w, x.shape, **case.options())
    wrong_dw = convolution_backward_filter(x, dy * dtype(1.01), w.shape, **case.options())
    for wrong, right, bound, count in zip(
        (wrong_y, wrong_dx, wrong_dw), (y, dx, dw), (y_bound, dx_bound, dw_bound), terms(case), strict=True
    ):
        with pytest.raises(AssertionError, match="beyond the bound"):
            assert_within(wrong, right, bound, count, dtype)


@pytest.mark.parametrize("kind", STRIDES)
@every_layout
def test_any_strides(kind: str, channels_last: bool) -> None:
    case = next(case for case in CASES if case.name == "3 groups, strided, dilated")
    x, w, b, dy = (with_strides(array, kind) for array in prepared(case, np.float64, channels_last))
    options = case.options(channels_last)
    y = convolution_forward(x, w, b, **options)
    dx = convolution_backward_data(dy, w, x.shape, **options)
    dw = convolution_backward_filter(x, dy, w.shape, **options)
    db = convolution_backward_bias(dy, channels_last=channels_last)
    results = (*(from_layout(array, channels_last) for array in (y, dx, dw)), db)
    for result, expected in zip(results, references(case)[0], strict=True):
        np.testing.assert_allclose(result, expected, rtol=1e-12, atol=1e-12)


def test_broadcast_input() -> None:
    one = np.broadcast_to(np.float32(1), (2, 3, 4, 4))
    y = convolution_forward(one, np.broadcast_to(np.float32(1), (1, 3, 2, 2)))
    assert (y == 12).all()


def test_result_is_batch_innermost() -> None:
    y = convolution_forward(randoms(5, 2, 6, 6), randoms(3, 2, 3, 3))
    assert np.moveaxis(y, 0, -1).flags.c_contiguous


def test_no_bias_is_zero_bias() -> None:
    x, w = randoms(2, 3, 4, 4), randoms(2, 3, 2, 2)
    np.testing.assert_array_equal(convolution_forward(x, w), convolution_forward(x, w, np.zeros(2)))


def test_one_int_stands_for_all_axes() -> None:
    x, w = randoms(2, 3, 9, 9), randoms(2, 3, 2, 2)
    spread = convolution_forward(x, w, stride=(2, 2), padding=(1, 1), dilation=(3, 3))
    np.testing.assert_array_equal(convolution_forward(x, w, stride=2, padding=1, dilation=3), spread)


def test_empty_batch() -> None:
    x, w = np.zeros((0, 4, 5, 5)), randoms(2, 2, 3, 3)
    y = convolution_forward(x, w, groups=2)
    assert y.shape == (0, 2, 3, 3)
    assert convolution_backward_data(y, w, x.shape, groups=2).shape == x.shape
    np.testing.assert_array_equal(convolution_backward_filter(x, y, w.shape, groups=2), np.zeros(w.shape))
    np.testing.assert_array_equal(convolution_backward_bias(y), np.zeros(2))
