"""Windows that slide over the spatial axes, for convolution and pooling.

Inside, arrays are (C, *spatial, N): with the batch innermost, every copy and every sum below runs over
contiguous rows of at least N numbers, whatever the stride and the dilation.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from ._arrays import Array, Floats, Shape, Sizes, listing


class Window(NamedTuple):
    """A sliding window, one int per spatial axis in each field."""

    kernel: Shape
    stride: Shape
    padding: Shape
    dilation: Shape


def make_window(operation: str, kernel: Shape, stride: Sizes, padding: Sizes, dilation: Sizes) -> Window:
    """Return the window with its fields checked and spread over the spatial axes."""
    rank = len(kernel)
    return Window(
        per_axis(operation, "window", kernel, rank, 1),
        per_axis(operation, "stride", stride, rank, 1),
        per_axis(operation, "padding", padding, rank, 0),
        per_axis(operation, "dilation", dilation, rank, 1),
    )


def per_axis(operation: str, name: str, value: Sizes, rank: int, minimum: int) -> Shape:
    """Return value as one int per spatial axis; ValueError or TypeError where it is not."""
    values = (value,) * rank if isinstance(value, int | np.integer) else tuple(value)
    if not all(isinstance(entry, int | np.integer) for entry in values):
        raise TypeError(f"{operation}: {name} is {value}, expected integers")
    if len(values) != rank:
        raise ValueError(f"{operation}: {name} is {value}, expected 1 or {rank} integers")
    if min(values) < minimum:
        raise ValueError(f"{operation}: {name} is {value}, expected at least {minimum}")
    return tuple(int(entry) for entry in values)


def check_rank(operation: str, x_shape: Shape) -> None:
    """Raise ValueError unless x has 1, 2 or 3 spatial axes beside batch and channels."""
    if not 3 <= len(x_shape) <= 5:
        raise ValueError(f"{operation}: x has {len(x_shape)} axes, expected 3, 4 or 5{listing(x=x_shape)}")


def extents(window: Window) -> Shape:
    """Return the cells from a window's first tap to its last: (w - 1) * d + 1."""
    return tuple((k - 1) * d + 1 for k, d in zip(window.kernel, window.dilation, strict=True))


def output_sizes(operation: str, sizes: Shape, window: Window) -> Shape:
    """Return y = floor((x + 2p - ((w - 1) * d + 1)) / s) + 1 on each spatial axis.

    ValueError where the window is larger than the padded input. Thesis, equation 3.3.
    """
    padded = [size + 2 * padding for size, padding in zip(sizes, window.padding, strict=True)]
    spans = extents(window)
    for axis, (size, span) in enumerate(zip(padded, spans, strict=True)):
        if span > size:
            raise ValueError(
                f"{operation}: window spans {span} cells, padded input has {size} on spatial axis {axis}"
                f" (input={sizes}, window={window.kernel}, padding={window.padding},"
                f" dilation={window.dilation})"
            )
    return tuple((size - span) // s + 1 for size, span, s in zip(padded, spans, window.stride, strict=True))


def taps(window: Window, out: Shape) -> Iterator[tuple[slice, ...]]:
    """Yield, for each tap in row-major order, the cells of padded x that it meets.

    Each is an index into a padded (C, *spatial, N) array and selects (C, *out, N).
    Thesis, equation 3.7: x = y * s + w * d - p, without the -p because x is padded.
    """
    for tap in np.ndindex(*window.kernel):
        yield (
            slice(None),
            *(
                slice(i * d, i * d + (size - 1) * s + 1, s)
                for i, d, s, size in zip(tap, window.dilation, window.stride, out, strict=True)
            ),
        )


def pad(x: Floats, padding: Shape) -> Floats:
    """Return (C, *spatial, N) with zeros around, or x itself when there is nothing to add."""
    if not any(padding):
        return x
    sizes = (size + 2 * p for size, p in zip(x.shape[1:-1], padding, strict=True))
    padded = np.zeros((x.shape[0], *sizes, x.shape[-1]), x.dtype)
    crop(padded, padding)[...] = x
    return padded


def crop(padded: Floats, padding: Shape) -> Floats:
    """Return the view of a padded (C, *spatial, N) array without its padding."""
    inner = (slice(p, size - p) for p, size in zip(padding, padded.shape[1:-1], strict=True))
    return padded[(slice(None), *inner)]


def spatial_sizes(shape: Shape, channels_last: bool) -> Shape:
    """Return the spatial part of a shape."""
    return shape[1:-1] if channels_last else shape[2:]


def channels(shape: Shape, channels_last: bool) -> int:
    """Return the channels of a shape; for a filter, the channels of one group."""
    return shape[-1] if channels_last else shape[1]


def with_layout(first: int, channel_count: int, sizes: Shape, channels_last: bool) -> Shape:
    """Return the shape with that first axis, channels and spatial sizes."""
    return (first, *sizes, channel_count) if channels_last else (first, channel_count, *sizes)


def batch_innermost(x: Array, channels_last: bool) -> Array:
    """Return the view (C, *spatial, N) of x."""
    return x.swapaxes(0, -1) if channels_last else x.transpose(*range(1, x.ndim), 0)


def batch_first(y: Array, channels_last: bool) -> Array:
    """Return (C, *spatial, N) as the caller sees it, a view: memory stays batch-innermost."""
    return y.swapaxes(0, -1) if channels_last else y.transpose(-1, *range(y.ndim - 1))
