"""The one error bound of all numerical tests: |actual - expected| <= c * u(dtype) * M."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray


def unit_roundoff(dtype: DTypeLike) -> float:
    """Return u, half the distance from 1 to the next number."""
    if np.dtype(dtype).name == "bfloat16":
        return 2.0**-8  # NumPy's finfo knows only its own types
    return float(np.finfo(dtype).eps) / 2


def factor(terms: int) -> float:
    """Return c: 4 up to 64 terms, sqrt(terms) / 2 above."""
    return max(4.0, math.sqrt(terms) / 2)


def assert_within(
    actual: NDArray[Any], expected: NDArray[Any], magnitude: NDArray[Any], terms: int, dtype: DTypeLike
) -> None:
    """Assert the dtype, the shape and the bound; M is the magnitude, the op on absolute values in float64.

    A NaN or an infinity never passes.
    """
    assert actual.dtype == np.dtype(dtype)
    assert actual.shape == expected.shape
    error = np.abs(actual.astype(np.float64) - expected)
    allowed = factor(terms) * unit_roundoff(dtype) * np.broadcast_to(magnitude, expected.shape)
    beyond = ~(error <= allowed)
    if beyond.any():
        where = tuple(int(axis) for axis in np.argwhere(beyond)[0])
        raise AssertionError(
            f"{np.count_nonzero(beyond)} of {beyond.size} beyond the bound, first at {where}: "
            f"{actual[where]} for {expected[where]}, error {error[where]:.3g}, allowed {allowed[where]:.3g}"
        )
