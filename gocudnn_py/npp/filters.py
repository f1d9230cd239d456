"""Filters: each pixel from those around it."""

from __future__ import annotations

from typing import Literal

from gocudnn_py._abi.npp import NppiBorderType
from gocudnn_py.cuda import DeviceBuffer, Stream
from gocudnn_py.npp.context import stream_context
from gocudnn_py.npp.dispatch import apart, ends, layouts, needed, pick, run, same_size, space, types, within
from gocudnn_py.npp.image import Image
from gocudnn_py.npp.windows import REPLICATE, Anchor, Window, bordered, square

MOST_RADIUS = 32


def convolve(
    stream: Stream,
    source: Image,
    target: Image,
    kernel: Image,
    anchor: Anchor | None = None,
    *,
    divisor: int | None = None,
) -> None:
    """The sum of the pixels around each, times the kernel turned half round; for uint8 over a `divisor`, 1 if none.

    The kernel is a packed image of one channel, int32 for uint8 and float32 for float32. It may not leave the whole
    image around the source's region (nppiFilter_8u_C1R_Ctx, nppiFilter_8u_C3R_Ctx, nppiFilter_32f_C1R_Ctx,
    nppiFilter_32f_C3R_Ctx).
    """
    name = pick("Filter", types(source, target), layouts(source, target))
    whole = source.dtype.kind != "f"
    if (kernel.code, kernel.layout) != ("32s" if whole else "32f", "C1") or not kernel.packed:
        raise ValueError(f"{name}: {kernel} is no kernel: packed, one channel, {'int32' if whole else 'float32'}")
    if divisor == 0 or (divisor is not None and not whole):
        raise ValueError(f"{name}: divisor {divisor}; for uint8 any but 0, for float32 none")
    window = Window(name, kernel.width, kernel.height, anchor)
    same_size(name, source, target)
    apart(name, source, target)
    window.check_room(name, source)
    more = [1 if divisor is None else within(f"{name}: divisor", divisor, -(2**31))] if whole else []
    how = kernel.start, window.size, window.anchor, *more
    run(stream, name, (source, target, kernel), *ends(source, target), target.size, *how)


def box(
    stream: Stream,
    source: Image,
    target: Image,
    size: tuple[int, int],
    anchor: Anchor | None = None,
    border: NppiBorderType = REPLICATE,
) -> None:
    """The mean of a window of `size`, (width, height), around each pixel.

    (nppiFilterBoxBorder_8u_C1R_Ctx, nppiFilterBoxBorder_8u_C3R_Ctx, nppiFilterBoxBorder_32f_C1R_Ctx,
    nppiFilterBoxBorder_32f_C3R_Ctx)
    """
    name = pick("FilterBoxBorder", types(source, target), layouts(source, target))
    window = Window(name, *size, anchor)
    bordered(stream, name, source, target, window.size, window.anchor, NppiBorderType(border))


def gauss(stream: Stream, source: Image, target: Image, size: int = 3, border: NppiBorderType = REPLICATE) -> None:
    """Smoothed by a bell curve of 3, 5, 7 to 15 pixels a side.

    (nppiFilterGaussBorder_8u_C1R_Ctx, nppiFilterGaussBorder_8u_C3R_Ctx, nppiFilterGaussBorder_32f_C1R_Ctx,
    nppiFilterGaussBorder_32f_C3R_Ctx)
    """
    name = pick("FilterGaussBorder", types(source, target), layouts(source, target))
    bordered(stream, name, source, target, square(name, size), NppiBorderType(border))


def sobel(
    stream: Stream,
    source: Image,
    target: Image,
    direction: Literal["horizontal", "vertical"],
    border: NppiBorderType = REPLICATE,
) -> None:
    """Differences of neighbours, 3 x 3: "horizontal" of rows, so of horizontal edges, "vertical" of columns.

    (nppiFilterSobelHorizBorder_8u_C1R_Ctx, nppiFilterSobelHorizBorder_32f_C1R_Ctx,
    nppiFilterSobelVertBorder_8u_C1R_Ctx, nppiFilterSobelVertBorder_32f_C1R_Ctx)
    """
    families = {"horizontal": "FilterSobelHorizBorder", "vertical": "FilterSobelVertBorder"}
    if direction not in families:
        raise ValueError(f"sobel: direction {direction!r}; there are {', '.join(families)}")
    name = pick(families[direction], types(source, target), layouts(source, target))
    bordered(stream, name, source, target, NppiBorderType(border))


def laplace(stream: Stream, source: Image, target: Image, size: int = 3, border: NppiBorderType = REPLICATE) -> None:
    """How far each pixel stands out of those around it, 3 or 5 pixels a side; 8 times itself less all around for 3.

    (nppiFilterLaplaceBorder_8u_C1R_Ctx, nppiFilterLaplaceBorder_32f_C1R_Ctx)
    """
    name = pick("FilterLaplaceBorder", types(source, target), layouts(source, target))
    bordered(stream, name, source, target, square(name, size), NppiBorderType(border))


def median(
    stream: Stream,
    source: Image,
    target: Image,
    size: tuple[int, int],
    anchor: Anchor | None = None,
    *,
    border: NppiBorderType | None = None,
    scratch: DeviceBuffer | None = None,
) -> None:
    """The middle one of the pixels of a window of `size`, (width, height), around each.

    Without a border the window may not leave the whole image around the source's region. Scratch memory is made unless
    it is given (nppiFilterMedian_8u_C1R_Ctx, nppiFilterMedian_8u_C3R_Ctx, nppiFilterMedianGetBufferSize_8u_C1R_Ctx,
    nppiFilterMedianGetBufferSize_8u_C3R_Ctx, nppiFilterMedianBorder_8u_C1R_Ctx,
    nppiFilterMedianBorderGetBufferSize_8u_C1R_Ctx).
    """
    family, more = "FilterMedian", []
    if border is not None:
        family, more = "FilterMedianBorder", [NppiBorderType(border)]
    kinds, layout = types(source, target), layouts(source, target)
    name, asking = pick(family, kinds, layout), pick(f"{family}GetBufferSize", kinds, layout)
    window, context = Window(name, *size, anchor), stream_context(stream)
    if border is None:
        window.check_room(name, source)
    nbytes = needed(stream, asking, target.size, window.size, *more, context, size=2)
    buffer = space(stream, name, scratch, nbytes)
    how = window.size, window.anchor, buffer.pointer, *more
    if border is not None:
        bordered(stream, name, source, target, *how, memory=(buffer,))
        return
    same_size(name, source, target)
    apart(name, source, target)
    run(stream, name, (source, target), *ends(source, target), target.size, *how, memory=(buffer,))


def bilateral(
    stream: Stream,
    source: Image,
    target: Image,
    radius: int,
    value_square: float,
    position_square: float,
    *,
    step: int = 1,
    border: NppiBorderType = REPLICATE,
) -> None:
    """Smoothed, but not over edges: pixels count less the farther they are, and the more they differ.

    Both by a bell curve with the square of its sigma; of the pixels up to `radius` away, 1 to 32, each `step`-th
    (nppiFilterBilateralGaussBorder_8u_C1R_Ctx, nppiFilterBilateralGaussBorder_32f_C1R_Ctx).
    """
    name = pick("FilterBilateralGaussBorder", types(source, target), layouts(source, target))
    within(f"{name}: radius", radius, 1, MOST_RADIUS)
    within(f"{name}: step", step, 1)
    if min(value_square, position_square) <= 0:
        raise ValueError(f"{name}: squares of sigma {value_square} and {position_square} have to be positive")
    how = radius, step, value_square, position_square, NppiBorderType(border)
    bordered(stream, name, source, target, *how)
