"""Sums, means, extremes, histograms and integrals of images. Results stay on the card until `Result.numpy`.

`scratch` and `out` are device memory to work in and to leave the result in; they are made unless they are given, which
they have to be within a capture.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from gocudnn_py.cuda import DeviceBuffer, Stream
from gocudnn_py.library import load
from gocudnn_py.npp.context import stream_context
from gocudnn_py.npp.dispatch import apart, layouts, needed, pick, run, space, types, within
from gocudnn_py.npp.image import MOST_CHANNELS, Array, Image
from gocudnn_py.npp.results import Result

Memory = DeviceBuffer | None
INT32_MIN = -(2**31)


def total(stream: Stream, image: Image, *, scratch: Memory = None, out: Memory = None) -> Result:
    """The sum of each channel, float64 of shape (channels,).

    (nppiSum_8u_C1R_Ctx, nppiSum_8u_C3R_Ctx, nppiSum_8u_C4R_Ctx, nppiSum_32f_C1R_Ctx, nppiSum_32f_C3R_Ctx,
    nppiSum_32f_C4R_Ctx, nppiSumGetBufferHostSize_8u_C1R_Ctx, nppiSumGetBufferHostSize_8u_C3R_Ctx,
    nppiSumGetBufferHostSize_8u_C4R_Ctx, nppiSumGetBufferHostSize_32f_C1R_Ctx, nppiSumGetBufferHostSize_32f_C3R_Ctx,
    nppiSumGetBufferHostSize_32f_C4R_Ctx)
    """
    return _reduce(stream, "Sum", image, scratch, out)


def mean(stream: Stream, image: Image, *, scratch: Memory = None, out: Memory = None) -> Result:
    """The mean of each channel, float64 of shape (channels,).

    (nppiMean_8u_C1R_Ctx, nppiMean_8u_C3R_Ctx, nppiMean_8u_C4R_Ctx, nppiMean_32f_C1R_Ctx, nppiMean_32f_C3R_Ctx,
    nppiMean_32f_C4R_Ctx, nppiMeanGetBufferHostSize_8u_C1R_Ctx, nppiMeanGetBufferHostSize_8u_C3R_Ctx,
    nppiMeanGetBufferHostSize_8u_C4R_Ctx, nppiMeanGetBufferHostSize_32f_C1R_Ctx,
    nppiMeanGetBufferHostSize_32f_C3R_Ctx, nppiMeanGetBufferHostSize_32f_C4R_Ctx)
    """
    return _reduce(stream, "Mean", image, scratch, out)


def _reduce(stream: Stream, family: str, image: Image, scratch: Memory, out: Memory) -> Result:
    name = pick(family, image.code, image.layout)
    result = Result.on(stream, name, out, (image.channels,), np.float64)
    buffer = _scratch(stream, name, pick(f"{family}GetBufferHostSize", image.code, image.layout), image, scratch)
    _over(stream, name, image, buffer.pointer, result.at(0), memory=(buffer, result.buffer))
    return result


def mean_std(
    stream: Stream, image: Image, channel: int | None = None, *, scratch: Memory = None, out: Memory = None
) -> Result:
    """The mean, and the root of the mean square distance from it, float64 of shape (2,).

    Of an image with three channels of one, counted from 0 (nppiMean_StdDev_8u_C1R_Ctx, nppiMean_StdDev_8u_C3CR_Ctx,
    nppiMean_StdDev_32f_C1R_Ctx, nppiMean_StdDev_32f_C3CR_Ctx, nppiMeanStdDevGetBufferHostSize_8u_C1R_Ctx,
    nppiMeanStdDevGetBufferHostSize_8u_C3CR_Ctx, nppiMeanStdDevGetBufferHostSize_32f_C1R_Ctx,
    nppiMeanStdDevGetBufferHostSize_32f_C3CR_Ctx).
    """
    if (channel is None) != (image.channels == 1):
        raise ValueError(f"mean_std: channel {channel} of {image}: one has to be named of several, none of one")
    ending = "R" if channel is None else "CR"
    name = pick("Mean_StdDev", image.code, image.layout, ending)
    which = [] if channel is None else [within("mean_std: channel", channel, 0, image.channels - 1) + 1]
    result = Result.on(stream, name, out, (2,), np.float64)
    asking = pick("MeanStdDevGetBufferHostSize", image.code, image.layout, ending)
    buffer = _scratch(stream, name, asking, image, scratch)
    places = buffer.pointer, result.at(0), result.at(0) + result.dtype.itemsize
    _over(stream, name, image, *which, *places, memory=(buffer, result.buffer))
    return result


def min_max(stream: Stream, image: Image, *, scratch: Memory = None, out: Memory = None) -> Result:
    """The least and the greatest of each channel, of the image's type and shape (2, channels).

    (nppiMinMax_8u_C1R_Ctx, nppiMinMax_8u_C3R_Ctx, nppiMinMax_8u_C4R_Ctx, nppiMinMax_32f_C1R_Ctx,
    nppiMinMax_32f_C3R_Ctx, nppiMinMax_32f_C4R_Ctx, nppiMinMaxGetBufferHostSize_8u_C1R_Ctx,
    nppiMinMaxGetBufferHostSize_8u_C3R_Ctx, nppiMinMaxGetBufferHostSize_8u_C4R_Ctx,
    nppiMinMaxGetBufferHostSize_32f_C1R_Ctx, nppiMinMaxGetBufferHostSize_32f_C3R_Ctx,
    nppiMinMaxGetBufferHostSize_32f_C4R_Ctx)
    """
    name = pick("MinMax", image.code, image.layout)
    # Four numbers apart, so that the second row is as well aligned as four numbers written at once need.
    result = Result.on(stream, name, out, (2, image.channels), image.dtype, spread=MOST_CHANNELS)
    buffer = _scratch(stream, name, pick("MinMaxGetBufferHostSize", image.code, image.layout), image, scratch)
    places = result.at(0), result.at(1), buffer.pointer
    _over(stream, name, image, *places, memory=(buffer, result.buffer))
    return result


def histogram(
    stream: Stream,
    image: Image,
    bins: int = 256,
    lower: int = 0,
    upper: int = 256,
    *,
    scratch: Memory = None,
    out: Memory = None,
) -> Result:
    """How many pixels are in each of `bins` from `lower` up to, without it, `upper`; int32 of shape (channels, bins).

    Bins of more than one number are not always of one width (nppiHistogramEven_8u_C1R_Ctx,
    nppiHistogramEven_8u_C3R_Ctx, nppiHistogramEvenGetBufferSize_8u_C1R_Ctx,
    nppiHistogramEvenGetBufferSize_8u_C3R_Ctx).
    """
    name = pick("HistogramEven", image.code, image.layout)
    levels = within("histogram: bins", bins, 1) + 1
    lower, upper = within("histogram: lower", lower, INT32_MIN), within("histogram: upper", upper, INT32_MIN)
    if not lower < upper:
        raise ValueError(f"histogram: from {lower} to {upper} is no range")
    result = Result.on(stream, name, out, (image.channels, bins), np.int32)
    rows = [result.at(row) for row in range(image.channels)]
    where = rows[0] if image.channels == 1 else (ctypes.c_void_p * image.channels)(*rows)
    limits = [_each(image, value) for value in (levels, lower, upper)]
    asking = pick("HistogramEvenGetBufferSize", image.code, image.layout)
    nbytes = needed(stream, asking, image.size, limits[0], stream_context(stream), size=2)
    buffer = space(stream, name, scratch, nbytes)
    _over(stream, name, image, where, *limits, buffer.pointer, memory=(buffer, result.buffer))
    return result


def _each(image: Image, value: int) -> Any:
    """A number, or an array with it for each channel."""
    return value if image.channels == 1 else (ctypes.c_int * image.channels)(*[value] * image.channels)


def even_levels(count: int, lower: int, upper: int) -> Array:
    """`count` whole numbers from `lower` to `upper`; where they cannot be evenly apart, the first are farther by one.

    Computed on the host (nppiEvenLevelsHost_32s).
    """
    lower, upper = within("even_levels: lower", lower, INT32_MIN), within("even_levels: upper", upper, INT32_MIN)
    found = np.zeros(within("even_levels: count", count, 2), np.int32)
    if not lower < upper:
        raise ValueError(f"even_levels: from {lower} to {upper} is no range")
    load("npp").nppiEvenLevelsHost_32s(found.ctypes.data, count, lower, upper)
    return found


def integral(stream: Stream, source: Image, target: Image, value: float = 0.0) -> None:
    """Sums of all pixels above and to the left of each, plus `value`.

    The float32 target has one row and one column more than the source, the first of each `value`
    (nppiIntegral_8u32f_C1R_Ctx).
    """
    name = pick("Integral", types(source, target), layouts(source, target))
    if (target.width, target.height) != (source.width + 1, source.height + 1):
        raise ValueError(f"{name}: {target} has to have one row and one column more than {source}")
    apart(name, source, target)
    both = source.start, source.pitch, target.start, target.pitch, source.size
    run(stream, name, (source, target), *both, float(value))


def _scratch(stream: Stream, name: str, asking: str, image: Image, given: Memory) -> DeviceBuffer:
    return space(stream, name, given, needed(stream, asking, image.size, stream_context(stream), size=1))


def _over(stream: Stream, name: str, image: Image, *more: Any, memory: tuple[DeviceBuffer, ...]) -> None:
    run(stream, name, (image,), image.start, image.pitch, image.size, *more, memory=memory)
