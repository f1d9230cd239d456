"""Edges, lines, corners, and histograms of gradients. Scratch memory is made unless it is given."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gocudnn_py._abi.npp import NppiBorderType, NppiDifferentialKernel, NppiNorm, NppiPoint, NppPointPolar
from gocudnn_py.cuda import DeviceBuffer, Stream
from gocudnn_py.npp.dispatch import layouts, needed, pick, run, space, types, within
from gocudnn_py.npp.gradients import HogSettings
from gocudnn_py.npp.image import Array, Image
from gocudnn_py.npp.results import Result
from gocudnn_py.npp.windows import REPLICATE, bordered, square

SOBEL = NppiDifferentialKernel.SOBEL
INT16_MAX = 2**15 - 1
MOST_LOCATIONS = 128  # NPP_HOG_MAX_DESCRIPTOR_LOCATIONS_PER_CALL
Polar = tuple[float, float]


def canny(
    stream: Stream,
    source: Image,
    target: Image,
    low: int,
    high: int,
    *,
    kernel: NppiDifferentialKernel = SOBEL,
    size: int = 3,
    norm: NppiNorm = NppiNorm.nppiNormL2,
    border: NppiBorderType = REPLICATE,
    scratch: DeviceBuffer | None = None,
) -> None:
    """255 on edges, 0 elsewhere: gradients above `high`, and above `low` beside such a one (Canny).

    (nppiFilterCannyBorder_8u_C1R_Ctx, nppiFilterCannyBorderGetBufferSize)
    """
    name = pick("FilterCannyBorder", types(source, target), layouts(source, target))
    if not 0 <= low <= high <= INT16_MAX:
        raise ValueError(f"{name}: thresholds {low} and {high} have to rise, from 0 to {INT16_MAX}")
    nbytes = needed(stream, "nppiFilterCannyBorderGetBufferSize", target.size, size=1)
    buffer = space(stream, name, scratch, nbytes)
    how = NppiDifferentialKernel(kernel), square(name, size), low, high, NppiNorm(norm), NppiBorderType(border)
    bordered(stream, name, source, target, *how, buffer.pointer, memory=(buffer,))


def harris(
    stream: Stream,
    source: Image,
    target: Image,
    *,
    k: float = 0.04,
    scale: float = 1.0,
    kernel: NppiDifferentialKernel = SOBEL,
    size: int = 3,
    window: int = 5,
    border: NppiBorderType = REPLICATE,
    scratch: DeviceBuffer | None = None,
) -> None:
    """How much a corner each pixel is: scale (det M - k trace(M)**2), M being gradients' products over a window.

    Positive at corners, negative on edges (nppiFilterHarrisCornersBorder_8u32f_C1R_Ctx,
    nppiFilterHarrisCornersBorderGetBufferSize).
    """
    name = pick("FilterHarrisCornersBorder", types(source, target), layouts(source, target))
    nbytes = needed(stream, "nppiFilterHarrisCornersBorderGetBufferSize", target.size, size=1)
    buffer = space(stream, name, scratch, nbytes)
    masks = NppiDifferentialKernel(kernel), square(name, size), square(name, window)
    how = *masks, float(k), float(scale), NppiBorderType(border), buffer.pointer
    bordered(stream, name, source, target, *how, memory=(buffer,))


@dataclass(frozen=True, eq=False)
class Lines:
    """Lines on the card, at most `most`, each as NPP has it: a row of its accumulator (rho), and degrees (theta).

    A line is where x cos(theta) + y sin(theta) = rho - `centre`, x and y counted from the pixel in the middle,
    (width // 2, height // 2). Computed in the order of `stream`.
    """

    lines: DeviceBuffer
    count: DeviceBuffer
    most: int
    centre: int
    stream: Stream

    def numpy(self) -> Array:
        """The lines found, in no order, float32 of shape (lines, 2): rho and theta; when the stream is done."""
        self.stream.synchronize()
        found = int(self.count.download(np.zeros(1, np.int32))[0])
        return self.lines.download(np.empty((self.most, 2), np.float32))[: min(found, self.most)]


def hough_lines(
    stream: Stream,
    source: Image,
    threshold: int,
    *,
    delta: Polar = (1.0, 1.0),
    most: int = 1024,
    region: tuple[Polar, Polar] | None = None,
    scratch: DeviceBuffer | None = None,
    out: Lines | None = None,
) -> Lines:
    """The lines that at least `threshold` pixels of 255 lie on; all others are 0.

    `delta` are the steps of rho, up to 3 pixels, and of theta, 0.25 to 3 degrees; `region` are the least and the
    greatest (rho, theta) that are wanted, as `Lines` has them; the memory of `out` is used again
    (nppiFilterHoughLine_8u32f_C1R_Ctx, nppiFilterHoughLineRegion_8u32f_C1R_Ctx, nppiFilterHoughLineGetBufferSize).
    """
    name = pick("FilterHoughLine" if region is None else "FilterHoughLineRegion", f"{source.code}32f", source.layout)
    if not (0 < delta[0] < 3 and 0.25 < delta[1] < 3):
        raise ValueError(f"{name}: steps {delta} have to be within (0, 3) pixels and (0.25, 3) degrees")
    within(f"{name}: threshold", threshold, 1)
    within(f"{name}: most", most, 1)
    steps = NppPointPolar(*delta)
    nbytes = needed(stream, "nppiFilterHoughLineGetBufferSize", source.size, steps, most, size=3)
    buffer = space(stream, name, scratch, nbytes)
    given = (out.lines, out.count) if out is not None else (None, None)
    lines = space(stream, f"{name}: out", given[0], most * ctypes.sizeof(NppPointPolar))
    count = space(stream, f"{name}: out", given[1], ctypes.sizeof(ctypes.c_int))
    count.fill(0, stream=stream)
    limits = [] if region is None else [(NppPointPolar * 2)(*(NppPointPolar(*each) for each in region))]
    how = steps, threshold, lines.pointer, *limits, most, count.pointer, buffer.pointer
    memory = lines, count, buffer
    run(stream, name, (source,), source.start, source.pitch, source.size, *how, memory=memory)
    return Lines(lines, count, most, _centre(source, delta[0]), stream)


def _centre(image: Image, step: float) -> int:
    """The row of the accumulator for lines through the middle of the image, as NPP's header has it."""
    diagonal = math.sqrt(2.0) * max(image.width, image.height)
    return math.ceil(diagonal / min(step, 1.0)) >> 1


def histogram_of_gradients(
    stream: Stream,
    source: Image,
    settings: HogSettings,
    locations: Sequence[tuple[int, int]],
    *,
    border: NppiBorderType = REPLICATE,
    scratch: DeviceBuffer | None = None,
    out: DeviceBuffer | None = None,
) -> Result:
    """Descriptors of the windows whose upper left corners are given, float32 of shape (windows, `settings.length`).

    Numbers from 0 to 1, the same for an image and a multiple of it; up to 128 windows at once. Rows of the source have
    to lie at least 4 bytes a channel and pixel apart, in multiples of 4 bytes, of whatever type they are: NPP counts
    them as float32 (nppiHistogramOfGradientsBorder_8u32f_C1R_Ctx, nppiHistogramOfGradientsBorder_8u32f_C3R_Ctx,
    nppiHistogramOfGradientsBorder_32f_C1R_Ctx, nppiHistogramOfGradientsBorder_32f_C3R_Ctx,
    nppiHistogramOfGradientsBorderGetBufferSize, nppiHistogramOfGradientsBorderGetDescriptorsSize).
    """
    kinds = source.code if source.dtype.kind == "f" else f"{source.code}32f"
    name = pick("HistogramOfGradientsBorder", kinds, source.layout)
    count = within(f"{name}: windows", len(locations), 1, MOST_LOCATIONS)
    for x, y in locations:
        source.view(x, y, *settings.window)  # raises unless the window lies inside
    least = 4 * source.width * source.channels
    if source.pitch < least or source.pitch % 4:
        raise ValueError(
            f"{name}: {source} has rows {source.pitch} bytes apart, expected a multiple of 4, at least {least}"
        )
    points, config = (NppiPoint * count)(*(NppiPoint(*each) for each in locations)), settings.config
    family = "nppiHistogramOfGradientsBorder"
    result = Result.on(stream, name, out, (count, settings.length), np.float32)
    if needed(stream, f"{family}GetDescriptorsSize", config, count, size=2) > result.buffer.nbytes:
        raise ValueError(f"{name}: NPP's descriptors are longer than {settings.length} numbers for {settings}")
    nbytes = needed(stream, f"{family}GetBufferSize", config, points, count, source.size, size=4)
    buffer = space(stream, name, scratch, nbytes)
    begin = source.start, source.pitch, source.extent, source.corner
    how = points, count, result.at(0), source.size, config, buffer.pointer, NppiBorderType(border)
    run(stream, name, (source,), *begin, *how, memory=(result.buffer, buffer))
    return result
