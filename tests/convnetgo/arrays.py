"""Inputs for the tests: random, read-only, in any layout and any strides; and numerical gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

Array = NDArray[Any]


def randoms(*shape: int, seed: int = 0, dtype: DTypeLike = np.float64) -> Array:
    """Return normal numbers that are exact in float32, so that both dtypes see the same input."""
    values = np.random.default_rng((seed, *shape)).standard_normal(shape).astype(np.float32)
    return frozen(values.astype(dtype))


def frozen(array: Array) -> Array:
    """Return the array, read-only: an operation that writes to its input fails."""
    array.flags.writeable = False
    return array


def to_layout(array: Array, channels_last: bool) -> Array:
    """Return (N, C, *spatial) in the layout under test."""
    return np.moveaxis(array, 1, -1) if channels_last else array


def from_layout(array: Array, channels_last: bool) -> Array:
    """Return (N, C, *spatial) of an array in the layout under test."""
    return np.moveaxis(array, -1, 1) if channels_last else array


def shape_in(shape: tuple[int, ...], channels_last: bool) -> tuple[int, ...]:
    """Return the shape (N, C, *spatial) in the layout under test."""
    return (shape[0], *shape[2:], shape[1]) if channels_last else shape


def with_strides(array: Array, kind: str) -> Array:
    """Return equal values in other strides: every operation must take them."""
    if kind == "reversed":
        reverse = (slice(None, None, -1),) * array.ndim
        return frozen(array[reverse].copy()[reverse])
    if kind == "batch innermost":
        return frozen(np.moveaxis(np.moveaxis(array, 0, -1).copy(), -1, 0))
    if kind == "every second":
        wide = np.full([2 * size for size in array.shape], np.nan, array.dtype)
        every_second = (slice(None, None, 2),) * array.ndim
        wide[every_second] = array
        return frozen(wide[every_second])
    return frozen(np.asfortranarray(array))


STRIDES = ("reversed", "batch innermost", "every second", "fortran")


def numerical_gradient(function: Callable[[Array], Array], x: Array, dy: Array, step: float = 1e-4) -> Array:
    """Return the gradient of sum(function(x) * dy) by central differences."""
    dx = np.empty(x.shape)
    for index in np.ndindex(*x.shape):
        moved = np.array(x, dtype=np.float64)
        moved[index] = x[index] + step
        above = (function(frozen(moved.copy())) * dy).sum()
        moved[index] = x[index] - step
        below = (function(frozen(moved)) * dy).sum()
        dx[index] = (above - below) / (2 * step)
    return dx


def assert_gradient(function: Callable[[Array], Array], x: Array, dy: Array, dx: Array) -> None:
    """Assert that dx is the gradient of sum(function(x) * dy), to the accuracy of central differences."""
    np.testing.assert_allclose(dx, numerical_gradient(function, x, dy), rtol=1e-6, atol=1e-6)
