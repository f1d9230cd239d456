"""Spatial transformers in NumPy: the grid of an affine map, bilinear sampling, and their gradients.

theta is (N, 2, 3), the grid (N, H, W, 2) of (column, row) in [-1, 1] from the first to the last pixel's centre.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def _base(height: int, width: int) -> Array:
    """(H, W, 3): column, row and 1 of each pixel."""
    rows, columns = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    return np.stack([columns, rows, np.ones_like(rows)], axis=-1)


def grid_forward(theta: Array, height: int, width: int) -> Array:
    """The grid: theta times each pixel of the output."""
    grid: Array = np.einsum("nik,hwk->nhwi", theta, _base(height, width))
    return grid


def grid_backward(dgrid: Array) -> Array:
    """The gradient of theta."""
    dtheta: Array = np.einsum("nhwi,hwk->nik", dgrid, _base(*dgrid.shape[1:3]))
    return dtheta


def _corners(x: Array, grid: Array) -> Iterator[tuple[Array, Array, Array, Array, Array]]:
    """Each of the four corners: row, column and the weights along rows and columns (N, H, W), signs of their slopes.

    A corner outside of x has row and column 0 and weights of 0.
    """
    height, width = x.shape[2:]
    column, row = (grid[..., 0] + 1) * (width - 1) / 2, (grid[..., 1] + 1) * (height - 1) / 2
    left, top = np.floor(column), np.floor(row)
    for down in (0, 1):
        for right in (0, 1):
            r, c = (top + down).astype(int), (left + right).astype(int)
            inside = (r >= 0) & (r < height) & (c >= 0) & (c < width)
            by_row = row - top if down else 1 - (row - top)
            by_column = column - left if right else 1 - (column - left)
            signs = np.where(inside, 1.0, 0.0)
            places = np.where(inside, r, 0), np.where(inside, c, 0)
            yield *places, by_row * signs, by_column * signs, np.array([2 * down - 1, 2 * right - 1])


def _picked(x: Array, row: Array, column: Array) -> Array:
    """x (N, C, ., .) at places (N, H, W), as (N, C, H, W)."""
    n = np.arange(len(x))[:, None, None]
    return x[n, :, row, column].transpose(0, 3, 1, 2)


def sampler_forward(x: Array, grid: Array) -> Array:
    """y (N, C, H, W): x at the grid's places, 0 outside."""
    y = np.zeros((*x.shape[:2], *grid.shape[1:3]))
    for row, column, by_row, by_column, _ in _corners(x, grid):
        y += _picked(x, row, column) * (by_row * by_column)[:, None]
    return y


def sampler_backward(x: Array, grid: Array, dy: Array) -> tuple[Array, Array]:
    """dx and dgrid."""
    dx, dgrid = np.zeros(x.shape), np.zeros(grid.shape)
    n = np.arange(len(x))[:, None, None]
    for row, column, by_row, by_column, (down, right) in _corners(x, grid):
        np.add.at(
            dx.transpose(0, 2, 3, 1), (n, row, column), (dy * (by_row * by_column)[:, None]).transpose(0, 2, 3, 1)
        )
        along = (_picked(x, row, column) * dy).sum(axis=1)
        dgrid[..., 0] += along * by_row * right * (x.shape[3] - 1) / 2
        dgrid[..., 1] += along * by_column * down * (x.shape[2] - 1) / 2
    return dx, dgrid
