"""Transposed convolution: the forward is the data gradient of a convolution, and the reverse.

w is the filter of that convolution, (C_in, C_out/groups, *kernel): it makes x's channels out of y's.
"""

from __future__ import annotations

from ._arrays import Floats, Shape, Sizes, check_floats, check_shape, listing
from ._windows import (
    Window,
    channels,
    check_rank,
    extents,
    make_window,
    per_axis,
    spatial_sizes,
    with_layout,
)
from .convolution import (
    convolution_backward_data,
    convolution_backward_filter,
    convolution_forward,
    convolution_output_shape,
)


def transposed_convolution_output_shape(
    x_shape: Shape,
    w_shape: Shape,
    *,
    stride: Sizes = 1,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    groups: int = 1,
    output_padding: Sizes = 0,
    channels_last: bool = False,
) -> Shape:
    """Return the shape of y: (x - 1) * s - 2p + (w - 1) * d + 1 + output_padding on each spatial axis.

    output_padding, below the stride, chooses among the sizes that the convolution rounds down to x's.
    ValueError where x and w do not fit, or y would be empty. Thesis, equation 3.4.
    """
    check_rank("transposed_convolution", x_shape)
    _check_filter("x", x_shape, w_shape, groups, channels_last)
    kernel = spatial_sizes(w_shape, channels_last)
    window = make_window("transposed_convolution", kernel, stride, padding, dilation)
    extra = _output_padding(output_padding, window)
    out = _output_sizes(spatial_sizes(x_shape, channels_last), window, extra)
    return with_layout(x_shape[0], channels(w_shape, channels_last) * groups, out, channels_last)


def transposed_convolution_forward(
    x: Floats,
    w: Floats,
    b: Floats | None = None,
    *,
    stride: Sizes = 1,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    groups: int = 1,
    output_padding: Sizes = 0,
    channels_last: bool = False,
) -> Floats:
    """Return y[n, c, x * s + tap * d - p] = b[c] + the sum of w[k, c, tap] * x[n, k, x] that falls there.

    x is (N, C_in, *spatial), w is (C_in, C_out/groups, *kernel), b is (C_out,), y is (N, C_out, *out).
    Thesis, equation 3.8, read as a forward.
    """
    check_floats("transposed_convolution", x=x, w=w, b=b)
    y_shape = transposed_convolution_output_shape(
        x.shape,
        w.shape,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
        output_padding=output_padding,
        channels_last=channels_last,
    )
    y = convolution_backward_data(
        x,
        w,
        y_shape,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
        channels_last=channels_last,
    )
    if b is None:
        return y
    check_shape("transposed_convolution", "b", b.shape, (channels(y_shape, channels_last),), w=w.shape)
    y += b if channels_last else b.reshape(-1, *(1,) * (y.ndim - 2))
    return y


def transposed_convolution_backward_data(
    dy: Floats,
    w: Floats,
    *,
    stride: Sizes = 1,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    groups: int = 1,
    channels_last: bool = False,
) -> Floats:
    """Return dx, the convolution of dy with w.

    dy is (N, C_out, *out), w is (C_in, C_out/groups, *kernel), dx is (N, C_in, *spatial).
    Thesis, equation 3.5.
    """
    check_floats("transposed_convolution_backward_data", dy=dy, w=w)
    check_rank("transposed_convolution", dy.shape)
    _check_filter("dy", dy.shape, w.shape, groups, channels_last)
    return convolution_forward(
        dy,
        w,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
        channels_last=channels_last,
    )


def transposed_convolution_backward_filter(
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
    """Return dw, the filter gradient of the convolution that makes x out of dy.

    x is (N, C_in, *spatial), dy is (N, C_out, *out), dw has w_shape. Thesis, equation 3.9.
    """
    check_floats("transposed_convolution_backward_filter", x=x, dy=dy)
    _check_filter("dy", dy.shape, w_shape, groups, channels_last)
    x_shape = convolution_output_shape(
        dy.shape,
        w_shape,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
        channels_last=channels_last,
    )
    check_shape("transposed_convolution_backward_filter", "x", x.shape, x_shape, dy=dy.shape, w=w_shape)
    return convolution_backward_filter(
        dy,
        x,
        w_shape,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
        channels_last=channels_last,
    )


def _check_filter(name: str, shape: Shape, w_shape: Shape, groups: int, channels_last: bool) -> None:
    """Raise ValueError unless w takes the channels of x, or makes those of dy."""
    operation, context = "transposed_convolution", listing(**{name: shape}, w=w_shape, groups=groups)
    if len(w_shape) != len(shape):
        raise ValueError(f"{operation}: w has {len(w_shape)} axes, {name} has {len(shape)}{context}")
    if groups < 1 or w_shape[0] % groups:
        raise ValueError(f"{operation}: {w_shape[0]} filters do not divide into {groups} groups{context}")
    given = channels(shape, channels_last)
    expected = w_shape[0] if name == "x" else channels(w_shape, channels_last) * groups
    if given != expected:
        raise ValueError(f"{operation}: {name} has {given} channels, w expects {expected}{context}")


def _output_padding(output_padding: Sizes, window: Window) -> Shape:
    extra = per_axis("transposed_convolution", "output_padding", output_padding, len(window.kernel), 0)
    if any(size >= s for size, s in zip(extra, window.stride, strict=True)):
        problem = f"output_padding {extra} is not below the stride {window.stride}"
        raise ValueError(f"transposed_convolution: {problem}")
    return extra


def _output_sizes(sizes: Shape, window: Window, extra: Shape) -> Shape:
    axes = zip(sizes, window.stride, window.padding, extents(window), extra, strict=True)
    out = tuple((size - 1) * s - 2 * p + span + more for size, s, p, span, more in axes)
    if min(out) < 1:
        raise ValueError(
            f"transposed_convolution: y would be {out}"
            f" (input={sizes}, window={window.kernel}, stride={window.stride}, padding={window.padding})"
        )
    return out
