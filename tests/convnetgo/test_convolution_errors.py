"""What convolution refuses, with the numbers in the message."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from gocunets.convnetgo import (
    convolution_backward_data,
    convolution_backward_filter,
    convolution_forward,
    convolution_output_shape,
)

SHAPE_ERRORS = [
    (
        {},
        (2, 3, 8, 8),
        (4, 2, 3, 3),
        "convolution: x has 3 channels, w expects 2 (x=(2, 3, 8, 8), w=(4, 2, 3, 3), groups=1)",
    ),
    (
        {"groups": 2},
        (2, 3, 8, 8),
        (4, 2, 3, 3),
        "convolution: x has 3 channels, w expects 4 (x=(2, 3, 8, 8), w=(4, 2, 3, 3), groups=2)",
    ),
    (
        {"channels_last": True},
        (2, 8, 8, 3),
        (4, 3, 3, 2),
        "convolution: x has 3 channels, w expects 2 (x=(2, 8, 8, 3), w=(4, 3, 3, 2), groups=1)",
    ),
    ({"groups": 3}, (2, 6, 8, 8), (4, 2, 3, 3), "convolution: 4 filters do not divide into 3 groups"),
    ({"groups": 0}, (2, 6, 8, 8), (4, 2, 3, 3), "convolution: 4 filters do not divide into 0 groups"),
    ({}, (2, 3), (4, 3), "convolution: x has 2 axes, expected 3, 4 or 5 (x=(2, 3))"),
    ({}, (2, 3, 8, 8), (4, 3, 3), "convolution: w has 3 axes, x has 4 (x=(2, 3, 8, 8), w=(4, 3, 3), groups=1)"),
    ({}, (2, 3, 8, 8), (4, 3, 0, 3), "convolution: w has an empty axis (x=(2, 3, 8, 8), w=(4, 3, 0, 3), groups=1)"),
    (
        {"padding": 1, "dilation": (1, 3)},
        (2, 3, 4, 4),
        (4, 3, 3, 3),
        "convolution: window spans 7 cells, padded input has 6 on spatial axis 1"
        " (input=(4, 4), window=(3, 3), padding=(1, 1), dilation=(1, 3))",
    ),
    ({"stride": (1, 0)}, (2, 3, 8, 8), (4, 3, 3, 3), "convolution: stride is (1, 0), expected at least 1"),
    ({"dilation": 0}, (2, 3, 8, 8), (4, 3, 3, 3), "convolution: dilation is 0, expected at least 1"),
    ({"padding": -1}, (2, 3, 8, 8), (4, 3, 3, 3), "convolution: padding is -1, expected at least 0"),
    ({"stride": (1, 2, 3)}, (2, 3, 8, 8), (4, 3, 3, 3), "convolution: stride is (1, 2, 3), expected 1 or 2 integers"),
]


@pytest.mark.parametrize(("options", "x", "w", "message"), SHAPE_ERRORS)
def test_shape_errors(options: dict[str, Any], x: Any, w: Any, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        convolution_output_shape(x, w, **options)
    with pytest.raises(ValueError, match=re.escape(message)):
        convolution_forward(np.zeros(x), np.zeros(w), **options)


def test_stride_that_is_no_integer() -> None:
    with pytest.raises(TypeError, match=re.escape("convolution: stride is (1.5, 1), expected integers")):
        convolution_output_shape((1, 1, 4, 4), (1, 1, 2, 2), stride=(1.5, 1))  # type: ignore[arg-type]


def test_operand_shape_errors() -> None:
    x, w = np.zeros((2, 3, 8, 8)), np.zeros((4, 3, 3, 3))
    with pytest.raises(ValueError, match=re.escape("b has shape (3,), expected (4,) (w=(4, 3, 3, 3))")):
        convolution_forward(x, w, np.zeros(3))
    message = re.escape("dy has shape (2, 4, 5, 6), expected (2, 4, 6, 6) (x=(2, 3, 8, 8), w=(4, 3, 3, 3))")
    with pytest.raises(ValueError, match="convolution_backward_data: " + message):
        convolution_backward_data(np.zeros((2, 4, 5, 6)), w, x.shape)
    with pytest.raises(ValueError, match="convolution_backward_filter: " + message):
        convolution_backward_filter(x, np.zeros((2, 4, 5, 6)), w.shape)


@pytest.mark.parametrize("dtype", ["float16", "int64", "complex128"])
def test_dtype_errors(dtype: str) -> None:
    x, w = np.zeros((2, 3, 8, 8), dtype), np.zeros((4, 3, 3, 3))
    with pytest.raises(TypeError, match=f"convolution: x is {dtype}, expected float32 or float64"):
        convolution_forward(x, w)


def test_mixed_dtypes_and_lists() -> None:
    x, w = np.zeros((2, 3, 8, 8), np.float32), np.zeros((4, 3, 3, 3))
    with pytest.raises(TypeError, match="convolution: x is float32, w is float64; expected one dtype"):
        convolution_forward(x, w)
    with pytest.raises(TypeError, match="convolution: w is a list, expected a NumPy array"):
        convolution_forward(x, [1.0])  # type: ignore[arg-type]
