"""Transposed convolution against the direct loop, numerical gradients, and its errors."""

from __future__ import annotations

import re
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import pytest

from gocunets.convnetgo import (
    convolution_output_shape,
    transposed_convolution_backward_data,
    transposed_convolution_backward_filter,
    transposed_convolution_forward,
    transposed_convolution_output_shape,
)

from . import loops
from .arrays import STRIDES, assert_gradient, from_layout, randoms, shape_in, to_layout, with_strides
from .bound import assert_within


class Case(NamedTuple):
    """One transposed convolution; w is (C_in, C_out/groups, *kernel), out the size of y by hand."""

    name: str
    x: tuple[int, ...]
    w: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    out: tuple[int, ...]
    groups: int = 1
    output_padding: int | tuple[int, ...] = 0

    def options(self, channels_last: bool = False) -> dict[str, Any]:
        """Return the keyword arguments of the gradients."""
        return {
            "stride": self.stride,
            "padding": self.padding,
            "dilation": self.dilation,
            "groups": self.groups,
            "channels_last": channels_last,
        }


CASES = [
    Case("1d", (2, 3, 5), (3, 2, 3), (2,), (0,), (1,), (11,)),
    Case("1d output padding", (2, 2, 4), (2, 3, 3), (3,), (1,), (2,), (14,), output_padding=2),
    Case("2d", (2, 3, 4, 3), (3, 2, 3, 3), (1, 1), (0, 0), (1, 1), (6, 5)),
    Case("2d doubling", (2, 3, 4, 4), (3, 2, 4, 4), (2, 2), (1, 1), (1, 1), (8, 8)),
    Case("thesis layer, reversed", (2, 3, 4, 4), (3, 2, 4, 4), (2, 2), (4, 4), (3, 3), (8, 8)),
    Case("unequal axes", (1, 2, 3, 4), (2, 3, 3, 2), (2, 3), (1, 0), (1, 2), (6, 13), 1, (1, 1)),
    Case("gaps between windows", (2, 2, 3, 3), (2, 2, 2, 2), (4, 4), (0, 0), (1, 1), (10, 10)),
    Case("1x1", (2, 3, 4, 4), (3, 5, 1, 1), (1, 1), (0, 0), (1, 1), (4, 4)),
    Case("1x1 input", (2, 3, 1, 1), (3, 2, 4, 4), (1, 1), (0, 0), (1, 1), (4, 4)),
    Case("grouped", (2, 4, 3, 3), (4, 3, 3, 3), (2, 2), (1, 1), (1, 1), (5, 5), groups=2),
    Case("depthwise", (1, 3, 4, 4), (3, 1, 2, 2), (2, 2), (0, 0), (1, 1), (8, 8), groups=3),
    Case("3d", (1, 2, 3, 2, 3), (2, 2, 2, 2, 2), (2, 1, 2), (0, 0, 1), (1, 1, 1), (6, 3, 4)),
]
every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
every_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64])
every_layout = pytest.mark.parametrize("channels_last", [False, True], ids=["NC*", "N*C"])


@cache
def inputs(case: Case) -> tuple[Any, ...]:
    """Return x, w, b and dy."""
    count = case.w[1] * case.groups
    dy = randoms(case.x[0], count, *case.out, seed=4)
    return randoms(*case.x, seed=1), randoms(*case.w, seed=2), randoms(count, seed=3), dy


def loop(case: Case, x: Any, w: Any, b: Any) -> Any:
    """Return y by the direct loop."""
    return loops.transposed_convolution(x, w, b, case.out, case.stride, case.padding, case.dilation, case.groups)


@cache
def references(case: Case) -> tuple[Any, Any]:
    """Return y by the loop, and the same on absolute values."""
    x, w, b, _ = inputs(case)
    return loop(case, x, w, b), loop(case, np.abs(x), np.abs(w), np.abs(b))


def terms(case: Case) -> int:
    """Return the most terms that y can sum."""
    return case.w[0] // case.groups * int(np.prod(case.w[2:])) + 1


@every_case
@every_layout
@every_dtype
def test_forward(case: Case, dtype: Any, channels_last: bool) -> None:
    x, w, b, _ = (array.astype(dtype) for array in inputs(case))
    y = transposed_convolution_forward(
        to_layout(x, channels_last),
        to_layout(w, channels_last),
        b,
        output_padding=case.output_padding,
        **case.options(channels_last),
    )
    assert_within(from_layout(y, channels_last), *references(case), terms(case), dtype)


@every_case
@every_layout
def test_output_shape(case: Case, channels_last: bool) -> None:
    options = case.options(channels_last)
    x, w = shape_in(case.x, channels_last), shape_in(case.w, channels_last)
    y = transposed_convolution_output_shape(x, w, output_padding=case.output_padding, **options)
    assert y == shape_in((case.x[0], case.w[1] * case.groups, *case.out), channels_last)
    assert convolution_output_shape(y, w, **options) == x


@every_case
@every_layout
def test_gradients_numerically(case: Case, channels_last: bool) -> None:
    x, w, b, dy = inputs(case)
    dy_in, w_in = to_layout(dy, channels_last), to_layout(w, channels_last)
    options = case.options(channels_last)
    dx = transposed_convolution_backward_data(dy_in, w_in, **options)
    dw = transposed_convolution_backward_filter(to_layout(x, channels_last), dy_in, w_in.shape, **options)
    first = {"output_padding": case.output_padding, **case.options()}
    assert_gradient(
        lambda moved: transposed_convolution_forward(moved, w, b, **first),
        x,
        dy,
        from_layout(dx, channels_last),
    )
    assert_gradient(
        lambda moved: transposed_convolution_forward(x, moved, b, **first),
        w,
        dy,
        from_layout(dw, channels_last),
    )


@every_case
@every_dtype
def test_a_tap_wrong_by_one_percent_is_noticed(case: Case, dtype: Any) -> None:
    x, w, b, _ = (array.astype(dtype) for array in inputs(case))
    w[(0, 0, *(size // 2 for size in w.shape[2:]))] *= 1.01
    y = transposed_convolution_forward(x, w, b, output_padding=case.output_padding, **case.options())
    with pytest.raises(AssertionError, match="beyond the bound"):
        assert_within(y, *references(case), terms(case), dtype)


@pytest.mark.parametrize("kind", STRIDES)
def test_any_strides(kind: str) -> None:
    case = next(case for case in CASES if case.name == "grouped")
    x, w, b, dy = (with_strides(array, kind) for array in inputs(case))
    options = case.options()
    np.testing.assert_allclose(transposed_convolution_forward(x, w, b, **options), references(case)[0])
    plain = inputs(case)
    np.testing.assert_allclose(
        transposed_convolution_backward_data(dy, w, **options),
        transposed_convolution_backward_data(plain[3], plain[1], **options),
        rtol=1e-12,
        atol=1e-12,
    )
    np.testing.assert_allclose(
        transposed_convolution_backward_filter(x, dy, w.shape, **options),
        transposed_convolution_backward_filter(plain[0], plain[3], w.shape, **options),
        rtol=1e-12,
        atol=1e-12,
    )


ERRORS = [
    (
        {},
        (2, 3, 4, 4),
        (2, 5, 3, 3),
        "transposed_convolution: x has 3 channels, w expects 2 (x=(2, 3, 4, 4), w=(2, 5, 3, 3), groups=1)",
    ),
    ({"groups": 2}, (2, 3, 4, 4), (3, 5, 3, 3), "transposed_convolution: 3 filters do not divide into 2 groups"),
    ({}, (2, 3, 4, 4), (3, 5, 3), "transposed_convolution: w has 3 axes, x has 4"),
    ({}, (2, 3), (3, 5), "transposed_convolution: x has 2 axes, expected 3, 4 or 5 (x=(2, 3))"),
    (
        {"stride": 2, "output_padding": 2},
        (2, 3, 4, 4),
        (3, 5, 3, 3),
        "transposed_convolution: output_padding (2, 2) is not below the stride (2, 2)",
    ),
    (
        {"output_padding": -1},
        (2, 3, 4, 4),
        (3, 5, 3, 3),
        "transposed_convolution: output_padding is -1, expected at least 0",
    ),
    ({"stride": 0}, (2, 3, 4, 4), (3, 5, 3, 3), "transposed_convolution: stride is 0, expected at least 1"),
    (
        {"padding": 2},
        (2, 3, 2, 2),
        (3, 5, 3, 3),
        "transposed_convolution: y would be (0, 0) (input=(2, 2), window=(3, 3), stride=(1, 1), padding=(2, 2))",
    ),
]


@pytest.mark.parametrize(("options", "x", "w", "message"), ERRORS)
def test_shape_errors(options: dict[str, Any], x: Any, w: Any, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        transposed_convolution_output_shape(x, w, **options)
    with pytest.raises(ValueError, match=re.escape(message)):
        transposed_convolution_forward(np.zeros(x), np.zeros(w), **options)


def test_operand_errors() -> None:
    x, w = np.zeros((2, 3, 4, 4)), np.zeros((3, 5, 3, 3))
    with pytest.raises(ValueError, match=re.escape("b has shape (3,), expected (5,) (w=(3, 5, 3, 3))")):
        transposed_convolution_forward(x, w, np.zeros(3))
    with pytest.raises(ValueError, match="transposed_convolution: dy has 4 channels, w expects 5"):
        transposed_convolution_backward_data(np.zeros((2, 4, 6, 6)), w)
    with pytest.raises(ValueError, match=re.escape("x has shape (2, 3, 4, 4), expected (2, 3, 5, 4)")):
        transposed_convolution_backward_filter(x, np.zeros((2, 5, 7, 6)), w.shape)
    with pytest.raises(TypeError, match="transposed_convolution: x is float16"):
        transposed_convolution_forward(x.astype(np.float16), w)
