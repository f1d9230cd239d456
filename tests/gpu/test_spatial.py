"""Spatial transformers on the card against float64: grids, sampling and their gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gocudnn_py.cudnn import Handle
from gocudnn_py.cudnn.spatial import SpatialTransformerDescriptor
from tests.gpu.card import Array, Card, numbers
from tests.oracles import spatial as oracle

X, Y = (2, 3, 7, 6), (2, 3, 5, 4)
GRID = (2, 5, 4, 2)
TYPES = [np.float32, np.float64]
SET = "cudnnSetSpatialTransformerNdDescriptor"
IDENTITY = np.array([[[1.0, 0, 0], [0, 1, 0]]])


def affine(dtype: Any) -> Array:
    """Maps that turn and stretch, and that leave x at some of its edges."""
    theta: Array = (IDENTITY + 0.3 * numbers(2, 2, 3)).astype(dtype).astype(np.float64)
    return theta


def places(dtype: Any) -> Array:
    """The grid of those maps, of numbers that the type holds exactly, some of them outside of x.

    None is at a pixel's centre, where the gradient has two values and could not be compared.
    """
    grid: Array = oracle.grid_forward(affine(dtype), *Y[2:]).astype(dtype).astype(np.float64)
    pixels = (grid + 1) * (np.array(X[3:1:-1]) - 1) / 2
    assert np.abs(pixels - np.round(pixels)).min() > 1e-3
    assert (np.abs(grid) > 1).any()
    return grid


def check(found: Array, right: Array, dtype: Any, terms: int) -> None:
    """Each place in x is wrong by a rounding of its size, and so is each weight: that many roundings a term."""
    allowed = 4 * terms * max(X) * float(np.finfo(dtype).eps) / 2 * float(np.abs(right).max())
    error = np.abs(found - right).max()
    assert error <= allowed, f"{error}, {allowed} allowed"


@pytest.mark.covers(SET, "cudnnSpatialTfGridGeneratorForward", "cudnnSpatialTfGridGeneratorBackward")
@pytest.mark.parametrize("dtype", TYPES)
def test_grids(dtype: Any, card: Card, handle: Handle) -> None:
    transformer = SpatialTransformerDescriptor().set(dtype, Y)
    theta, dgrid = affine(dtype), numbers(*GRID, seed=1)
    grid, dtheta = card.row(np.full(GRID, np.nan), dtype), card.row(np.full(theta.shape, np.nan), dtype)
    transformer.grid_forward(handle, card.row(theta, dtype), grid)
    transformer.grid_backward(handle, card.row(dgrid, dtype), dtheta)
    check(card.read(grid, GRID, dtype), oracle.grid_forward(theta, *Y[2:]), dtype, 3)
    check(card.read(dtheta, theta.shape, dtype), oracle.grid_backward(dgrid), dtype, Y[2] * Y[3])


@pytest.mark.covers(SET, "cudnnSpatialTfSamplerForward")
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 0.0), (2.0, 0.5)])
def test_sampling(dtype: Any, alpha: float, beta: float, card: Card, handle: Handle) -> None:
    transformer = SpatialTransformerDescriptor().set(dtype, Y)
    x, grid, before = numbers(*X, seed=2), places(dtype), numbers(*Y, seed=3)
    y = card.put(before, dtype=dtype) if beta else card.empty(Y, dtype=dtype)
    how = {"alpha": alpha, "beta": beta}
    transformer.sampler_forward(handle, card.put(x, dtype=dtype), card.row(grid, dtype), y, **how)
    check(card.get(y), alpha * oracle.sampler_forward(x, grid) + beta * before, dtype, 4)


@pytest.mark.covers(SET, "cudnnSpatialTfSamplerBackward")
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 0.0), (2.0, 0.5)])
def test_gradients_of_sampling(dtype: Any, alpha: float, beta: float, card: Card, handle: Handle) -> None:
    transformer = SpatialTransformerDescriptor().set(dtype, Y)
    x, dy, grid = numbers(*X, seed=2), numbers(*Y, seed=4), places(dtype)
    before, grid_before = numbers(*X, seed=5), numbers(*GRID, seed=6)
    dx = card.put(before, dtype=dtype) if beta else card.empty(X, dtype=dtype)
    dgrid = card.row(grid_before if beta else np.full(GRID, np.nan), dtype)
    factors = {"alpha": alpha, "beta": beta, "grid_alpha": 2 * alpha, "grid_beta": 3 * beta}
    operands = card.put(x, dtype=dtype), dx, card.put(dy, dtype=dtype)
    transformer.sampler_backward(handle, *operands, card.row(grid, dtype), dgrid, **factors)
    right, grid_right = oracle.sampler_backward(x, grid, dy)
    check(card.get(dx), alpha * right + beta * before, dtype, 4)
    found = card.read(dgrid, GRID, dtype)
    check(found, 2 * alpha * grid_right + 3 * beta * grid_before, dtype, 4 * X[1])


@pytest.mark.covers(SET, "cudnnSpatialTfGridGeneratorForward", "cudnnSpatialTfSamplerForward")
@pytest.mark.parametrize("dtype", [np.float16, *TYPES])
def test_the_identity_leaves_an_image_as_it_is(dtype: Any, card: Card, handle: Handle) -> None:
    x = numbers(*X, dtype=np.float16)
    transformer = SpatialTransformerDescriptor().set(dtype, X)
    grid, y = card.scratch(2 * 7 * 6 * 2 * np.dtype(dtype).itemsize), card.empty(X, dtype=dtype)
    transformer.grid_forward(handle, card.row(np.repeat(IDENTITY, 2, axis=0), dtype), grid)
    transformer.sampler_forward(handle, card.put(x, dtype=dtype), grid, y)
    check(card.get(y), x, dtype, 4)
