"""Convolution (cross-correlation, as in cuDNN and the thesis) and its gradients.

Each is one matrix product a group. A column holds the cells of x under the window at one output position
of one sample: y = w @ columns, dw = dy @ columns^T, and w^T @ dy is the gradient of the columns.
"""

from __future__ import annotations

import math

import numpy as np

from ._arrays import Floats, Shape, Sizes, check_floats, check_shape, listing
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
    spatial_sizes,
    taps,
    with_layout,
)


def convolution_output_shape(
    x_shape: Shape,
    w_shape: Shape,
    *,
    stride: Sizes = 1,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    groups: int = 1,
    channels_last: bool = False,
) -> Shape:
    """Return the shape of y: (N, K, *out), or (N, *out, K) with channels last.

    ValueError where x and w do not fit each other or the window. Thesis, equation 3.3, rounded down as cuDNN.
    """
    return _geometry(x_shape, w_shape, stride, padding, dilation, groups, channels_last)[0]


def convolution_forward(
    x: Floats,
    w: Floats,
    b: Floats | None = None,
    *,
    stride: Sizes = 1,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    groups: int = 1,
    channels_last: bool = False,
) -> Floats:
    """Return y[n, k, out] = b[k] + sum over c and taps of w[k, c, tap] * x[n, c, out * s + tap * d - p].

    x is (N, C, *spatial), w is (K, C/groups, *kernel), b is (K,), y is (N, K, *out) in batch-innermost
    memory. Thesis, equations 3.5 to 3.7.
    """
    check_floats("convolution", x=x, w=w, b=b)
    y_shape, window = _geometry(x.shape, w.shape, stride, padding, dilation, groups, channels_last)
    if b is not None:
        check_shape("convolution", "b", b.shape, w.shape[:1], w=w.shape)
    out = spatial_sizes(y_shape, channels_last)
    columns = _columns(batch_innermost(x, channels_last), window, out, groups)
    y = _filter_matrices(w, groups, channels_last) @ columns
    if b is not None:
        y += b.reshape(groups, -1, 1)
    return batch_first(y.reshape(w.shape[0], *out, x.shape[0]), channels_last)


def convolution_backward_data(
    dy: Floats,
    w: Floats,
    x_shape: Shape,
    *,
    stride: Sizes = 1,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    groups: int = 1,
    channels_last: bool = False,
) -> Floats:
    """Return dx, the sum of w[k, c, tap] * dy[n, k, out] over all k and taps that meet the cell of x.

    dy is (N, K, *out), w is (K, C/groups, *kernel), dx has x_shape in batch-innermost memory.
    Thesis, equation 3.8.
    """
    check_floats("convolution_backward_data", dy=dy, w=w)
    y_shape, window = _geometry(x_shape, w.shape, stride, padding, dilation, groups, channels_last)
    check_shape("convolution_backward_data", "dy", dy.shape, y_shape, x=x_shape, w=w.shape)
    dy_matrices = _output_matrices(dy, groups, channels_last)
    dcolumns = _filter_matrices(w, groups, channels_last).swapaxes(1, 2) @ dy_matrices
    sizes, out = spatial_sizes(x_shape, channels_last), spatial_sizes(y_shape, channels_last)
    count, tap_count = channels(x_shape, channels_last), math.prod(window.kernel)
    by_tap = dcolumns.reshape(count, tap_count, *out, x_shape[0])
    return batch_first(_add_columns(by_tap, window, sizes), channels_last)


def convolution_backward_filter(
    x: Floats,
    dy: Floats,
    w_shape: Shape,
    *,
    stride: Sizes = 1,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    groups: int = 1,
    channels_last: bool = False,
) -> Floats:
    """Return dw[k, c, tap] = sum over n and out of x[n, c, out * s + tap * d - p] * dy[n, k, out].

    x is (N, C, *spatial), dy is (N, K, *out), dw has w_shape. Thesis, equation 3.9.
    """
    check_floats("convolution_backward_filter", x=x, dy=dy)
    y_shape, window = _geometry(x.shape, w_shape, stride, padding, dilation, groups, channels_last)
    check_shape("convolution_backward_filter", "dy", dy.shape, y_shape, x=x.shape, w=w_shape)
    out = spatial_sizes(y_shape, channels_last)
    columns = _columns(batch_innermost(x, channels_last), window, out, groups)
    # dw^T rather than dw: OpenBLAS is 1.5 times as fast with few columns as with few rows.
    transposed = columns @ _output_matrices(dy, groups, channels_last).swapaxes(1, 2)
    dw = transposed.swapaxes(1, 2).reshape(w_shape[0], channels(w_shape, channels_last), *window.kernel)
    return np.moveaxis(dw, 1, -1) if channels_last else dw


def convolution_backward_bias(dy: Floats, *, channels_last: bool = False) -> Floats:
    """Return db[k], the sum of dy[n, k, out] over n and out.

    dy is (N, K, *out), db is (K,). Thesis, equation 3.10.
    """
    check_floats("convolution_backward_bias", dy=dy)
    rows = batch_innermost(dy, channels_last)
    total: Floats = rows.reshape(rows.shape[0], math.prod(rows.shape[1:])).sum(axis=1)
    return total


def _geometry(
    x_shape: Shape,
    w_shape: Shape,
    stride: Sizes,
    padding: Sizes,
    dilation: Sizes,
    groups: int,
    channels_last: bool,
) -> tuple[Shape, Window]:
    """Return the shape of y and the window, or raise."""
    check_rank("convolution", x_shape)
    _check_filter(x_shape, w_shape, groups, channels_last)
    kernel = spatial_sizes(w_shape, channels_last)
    window = make_window("convolution", kernel, stride, padding, dilation)
    out = output_sizes("convolution", spatial_sizes(x_shape, channels_last), window)
    return with_layout(x_shape[0], w_shape[0], out, channels_last), window


def _check_filter(x_shape: Shape, w_shape: Shape, groups: int, channels_last: bool) -> None:
    context = listing(x=x_shape, w=w_shape, groups=groups)
    if len(w_shape) != len(x_shape):
        raise ValueError(f"convolution: w has {len(w_shape)} axes, x has {len(x_shape)}{context}")
    if min(w_shape) < 1:
        raise ValueError(f"convolution: w has an empty axis{context}")
    if groups < 1 or w_shape[0] % groups:
        raise ValueError(f"convolution: {w_shape[0]} filters do not divide into {groups} groups{context}")
    given, expected = channels(x_shape, channels_last), channels(w_shape, channels_last) * groups
    if given != expected:
        raise ValueError(f"convolution: x has {given} channels, w expects {expected}{context}")


def _filter_matrices(w: Floats, groups: int, channels_last: bool) -> Floats:
    """Return (groups, K/groups, C/groups * taps)."""
    channels_first = np.moveaxis(w, -1, 1) if channels_last else w
    return channels_first.reshape(groups, w.shape[0] // groups, -1)


def _output_matrices(dy: Floats, groups: int, channels_last: bool) -> Floats:
    """Return (groups, K/groups, P * N), for P output positions."""
    rows = batch_innermost(dy, channels_last)
    return rows.reshape(groups, rows.shape[0] // groups, -1)


def _columns(x: Floats, window: Window, out: Shape, groups: int) -> Floats:
    """Return (groups, C/groups * taps, P * N): the cells of x, (C, *spatial, N), under each tap."""
    padded = pad(x, window.padding)
    count, tap_count = x.shape[0], math.prod(window.kernel)
    columns = np.empty((count, tap_count, *out, x.shape[-1]), x.dtype)
    for tap, cells in enumerate(taps(window, out)):
        columns[:, tap] = padded[cells]
    return columns.reshape(groups, count // groups * tap_count, -1)


def _add_columns(dcolumns: Floats, window: Window, sizes: Shape) -> Floats:
    """Return (C, *spatial, N): each cell sums the taps of (C, taps, *out, N) that met it."""
    count, _, *out, batch = dcolumns.shape
    padded_sizes = (size + 2 * p for size, p in zip(sizes, window.padding, strict=True))
    padded = np.zeros((count, *padded_sizes, batch), dcolumns.dtype)
    for tap, cells in enumerate(taps(window, tuple(out))):
        padded[cells] += dcolumns[:, tap]
    return crop(padded, window.padding)
