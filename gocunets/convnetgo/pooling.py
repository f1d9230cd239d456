"""Max and average pooling, and their gradients."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ._arrays import Array, Floats, Integers, Shape, Sizes, check_floats, check_shape, listing
from ._windows import (
    Window,
    batch_first,
    batch_innermost,
    channels,
    check_rank,
    crop,
    make_window,
    output_sizes,
    pad,
    per_axis,
    spatial_sizes,
    taps,
    with_layout,
)


def pool_output_shape(
    x_shape: Shape,
    *,
    window: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    channels_last: bool = False,
) -> Shape:
    """Return the shape of y: floor((x + 2p - window) / s) + 1 on each spatial axis.

    The stride defaults to the window. ValueError where the window is larger than the padded input, or the
    padding not smaller than the window (some windows would hold padding only).
    """
    return _geometry(x_shape, window, stride, padding, channels_last)[0]


def max_pool_forward(
    x: Floats,
    *,
    window: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    channels_last: bool = False,
) -> tuple[Floats, NDArray[np.int32]]:
    """Return (y, indices): the maximum under each window, and where in x's spatial plane it lies.

    indices has y's shape and holds flat row-major positions. Of equal values the first in row-major order
    wins, padding never does, and a NaN wins over every number.
    """
    check_floats("max_pool", x=x)
    y_shape, spec = _geometry(x.shape, window, stride, padding, channels_last)
    out = spatial_sizes(y_shape, channels_last)
    padded = pad(batch_innermost(x, channels_last), spec.padding)
    plane = _padded_positions(spatial_sizes(x.shape, channels_last), spec.padding)
    best: Array = np.zeros((padded.shape[0], *out, padded.shape[-1]), x.dtype)
    indices: Array = np.full(best.shape, -1, np.int32)
    for cells in taps(spec, out):
        value, position = padded[cells], plane[cells]
        # Not (value <= best), for it is true of a NaN; best == best is false of one.
        wins = (position >= 0) & ((indices < 0) | (~(value <= best) & (best == best)))
        best = np.where(wins, value, best)
        indices = np.where(wins, position, indices)
    return batch_first(best, channels_last), batch_first(indices, channels_last)


def max_pool_backward(
    dy: Floats,
    indices: Integers,
    x_shape: Shape,
    *,
    channels_last: bool = False,
) -> Floats:
    """Return dx: each dy added to the cell of x that won; overlapping windows accumulate.

    dy and indices have the shape of y, dx has x_shape. ValueError where an index lies outside x's plane.
    """
    check_floats("max_pool_backward", dy=dy)
    check_shape("max_pool_backward", "indices", indices.shape, dy.shape, x=x_shape)
    _check_batch_and_channels("max_pool_backward", dy.shape, x_shape, channels_last)
    sizes = spatial_sizes(x_shape, channels_last)
    _check_indices(indices, math.prod(sizes), x_shape)
    rows, positions = batch_innermost(dy, channels_last), batch_innermost(indices, channels_last)
    count, batch = rows.shape[0], rows.shape[-1]
    dx = np.zeros((count, math.prod(sizes), batch), dy.dtype)
    channel = np.arange(count).reshape(-1, *(1,) * (dy.ndim - 1))
    np.add.at(dx, (channel, positions, np.arange(batch)), rows)
    return batch_first(dx.reshape(count, *sizes, batch), channels_last)


def average_pool_forward(
    x: Floats,
    *,
    window: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    include_padding: bool = False,
    channels_last: bool = False,
) -> Floats:
    """Return y, the sum under each window divided by its cells of x.

    With include_padding it is divided by all cells of the window. x is (N, C, *spatial), y (N, C, *out).
    """
    check_floats("average_pool", x=x)
    y_shape, spec = _geometry(x.shape, window, stride, padding, channels_last)
    out = spatial_sizes(y_shape, channels_last)
    total = _window_sums(pad(batch_innermost(x, channels_last), spec.padding), spec, out)
    total /= _counts(spatial_sizes(x.shape, channels_last), spec, out, include_padding, x.dtype)
    return batch_first(total, channels_last)


def average_pool_backward(
    dy: Floats,
    x_shape: Shape,
    *,
    window: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    include_padding: bool = False,
    channels_last: bool = False,
) -> Floats:
    """Return dx: each dy divided as in the forward and added to every cell of x under its window.

    dy has the shape of y, dx has x_shape.
    """
    check_floats("average_pool_backward", dy=dy)
    y_shape, spec = _geometry(x_shape, window, stride, padding, channels_last)
    check_shape("average_pool_backward", "dy", dy.shape, y_shape, x=x_shape)
    out, sizes = spatial_sizes(y_shape, channels_last), spatial_sizes(x_shape, channels_last)
    share = batch_innermost(dy, channels_last) / _counts(sizes, spec, out, include_padding, dy.dtype)
    dx = pad(np.zeros((share.shape[0], *sizes, share.shape[-1]), dy.dtype), spec.padding)
    for cells in taps(spec, out):
        dx[cells] += share
    return batch_first(crop(dx, spec.padding), channels_last)


def _geometry(
    x_shape: Shape, window: Sizes, stride: Sizes | None, padding: Sizes, channels_last: bool
) -> tuple[Shape, Window]:
    """Return the shape of y and the window, or raise."""
    check_rank("pool", x_shape)
    sizes = spatial_sizes(x_shape, channels_last)
    kernel = per_axis("pool", "window", window, len(sizes), 1)
    spec = make_window("pool", kernel, kernel if stride is None else stride, padding, 1)
    if any(p >= k for p, k in zip(spec.padding, kernel, strict=True)):
        context = listing(x=x_shape)
        raise ValueError(f"pool: padding {spec.padding} is not smaller than the window {kernel}{context}")
    out = output_sizes("pool", sizes, spec)
    return with_layout(x_shape[0], channels(x_shape, channels_last), out, channels_last), spec


def _padded_positions(sizes: Shape, padding: Shape) -> NDArray[np.int32]:
    """Return (1, *padded, 1): the flat position of each cell of x's plane, -1 in the padding."""
    plane = np.arange(math.prod(sizes), dtype=np.int32).reshape(sizes)
    padded = np.pad(plane, [(p, p) for p in padding], constant_values=-1)
    return padded[np.newaxis, ..., np.newaxis]


def _window_sums(padded: Floats, window: Window, out: Shape) -> Floats:
    total = np.zeros((padded.shape[0], *out, padded.shape[-1]), padded.dtype)
    for cells in taps(window, out):
        total += padded[cells]
    return total


def _counts(
    sizes: Shape,
    window: Window,
    out: Shape,
    include_padding: bool,
    dtype: np.dtype[np.floating],
) -> Floats:
    """Return (1, *out, 1): the number of cells that each window divides by."""
    if include_padding:
        return np.full((1, *(1,) * len(out), 1), math.prod(window.kernel), dtype)
    return _window_sums(pad(np.ones((1, *sizes, 1), dtype), window.padding), window, out)


def _check_batch_and_channels(operation: str, dy_shape: Shape, x_shape: Shape, channels_last: bool) -> None:
    out = spatial_sizes(dy_shape, channels_last)
    expected = with_layout(x_shape[0], channels(x_shape, channels_last), out, channels_last)
    if len(dy_shape) != len(x_shape) or dy_shape != expected:
        context = listing(x=x_shape)
        raise ValueError(f"{operation}: dy has shape {dy_shape}, which does not pool from x{context}")


def _check_indices(indices: Integers, cells: int, x_shape: Shape) -> None:
    if not np.issubdtype(indices.dtype, np.integer):
        raise TypeError(f"max_pool_backward: indices are {indices.dtype}, expected integers")
    if indices.size and (indices.min() < 0 or indices.max() >= cells):
        raise ValueError(
            f"max_pool_backward: indices lie in {indices.min()}..{indices.max()},"
            f" expected 0..{cells - 1}{listing(x=x_shape)}"
        )
