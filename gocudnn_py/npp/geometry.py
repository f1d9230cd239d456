"""Resizing, turning, mirroring and warping images. A region of an image is used, and written, within the whole.

Only pixels of the target that come from inside the source's region are written; the others stay as they were.
"""

from __future__ import annotations

import math
from typing import Any

import numpy.typing as npt

from gocudnn_py._abi.npp import NppiAxis, NppiInterpolationMode
from gocudnn_py.cuda import Stream
from gocudnn_py.npp.dispatch import apart, layouts, matrix, pick, run, same_size, types, unary
from gocudnn_py.npp.image import Image

LINEAR = NppiInterpolationMode.INTER_LINEAR
Pair = tuple[float, float]


def resize(stream: Stream, source: Image, target: Image, interpolation: NppiInterpolationMode = LINEAR) -> None:
    """Fill the target with the source, enlarged or reduced to its size.

    INTER_NN, INTER_LINEAR, INTER_CUBIC, INTER_LANCZOS, or INTER_SUPER, which only reduces (nppiResize_8u_C1R_Ctx,
    nppiResize_8u_C3R_Ctx, nppiResize_8u_C4R_Ctx, nppiResize_8u_P3R_Ctx, nppiResize_16u_C1R_Ctx,
    nppiResize_16u_C3R_Ctx, nppiResize_16u_C4R_Ctx, nppiResize_16u_P3R_Ctx, nppiResize_32f_C1R_Ctx,
    nppiResize_32f_C3R_Ctx, nppiResize_32f_C4R_Ctx, nppiResize_32f_P3R_Ctx).
    """
    name = pick("Resize", types(source, target), layouts(source, target))
    apart(name, source, target)
    mode = NppiInterpolationMode(interpolation)
    begin = source.origin, source.pitch, source.extent, source.rectangle
    end = target.origin, target.pitch, target.extent, target.rectangle
    run(stream, name, (source, target), *begin, *end, mode)


def resize_by(
    stream: Stream,
    source: Image,
    target: Image,
    factor: Pair,
    shift: Pair = (0.0, 0.0),
    interpolation: NppiInterpolationMode = LINEAR,
) -> None:
    """Enlarge or reduce by factors (x, y), then move by pixels; centres of pixels stay centres.

    Every interpolation but INTER_LANCZOS3_ADVANCED (nppiResizeSqrPixel_8u_C1R_Ctx, nppiResizeSqrPixel_8u_C3R_Ctx,
    nppiResizeSqrPixel_32f_C1R_Ctx, nppiResizeSqrPixel_32f_C3R_Ctx).
    """
    if min(factor) <= 0:
        raise ValueError(f"resize_by: factors {factor} have to be positive")
    _warp(stream, "ResizeSqrPixel", source, target, (*_two("factor", factor), *_two("shift", shift)), interpolation)


def remap(
    stream: Stream,
    source: Image,
    x_map: Image,
    y_map: Image,
    target: Image,
    interpolation: NppiInterpolationMode = LINEAR,
) -> None:
    """Each pixel of the target is the source at (x_map, y_map), two float32 images of the target's size.

    Coordinates count from the whole source's corner; where they leave its region the target stays as it was
    (nppiRemap_8u_C1R_Ctx, nppiRemap_8u_C3R_Ctx, nppiRemap_8u_C4R_Ctx, nppiRemap_32f_C1R_Ctx, nppiRemap_32f_C3R_Ctx,
    nppiRemap_32f_C4R_Ctx).
    """
    name = pick("Remap", types(source, target), layouts(source, target))
    for each in (x_map, y_map):
        same_size(name, each, target)
        if (each.code, each.layout) != ("32f", "C1"):
            raise ValueError(f"{name}: {each} is no map; float32 with one channel is")
    for each in (source, x_map, y_map):
        apart(name, each, target)
    maps = x_map.start, x_map.pitch, y_map.start, y_map.pitch
    begin = source.origin, source.extent, source.pitch, source.rectangle
    end = target.start, target.pitch, target.size, NppiInterpolationMode(interpolation)
    run(stream, name, (source, x_map, y_map, target), *begin, *maps, *end)


def rotate(
    stream: Stream,
    source: Image,
    target: Image,
    angle: float,
    shift: Pair = (0.0, 0.0),
    interpolation: NppiInterpolationMode = LINEAR,
) -> None:
    """Turn by `angle` degrees, counter-clockwise as one looks at it, about pixel (0, 0); then move by (x, y) pixels.

    INTER_NN, INTER_LINEAR or INTER_CUBIC (nppiRotate_8u_C1R_Ctx, nppiRotate_8u_C3R_Ctx, nppiRotate_8u_C4R_Ctx,
    nppiRotate_16u_C1R_Ctx, nppiRotate_16u_C3R_Ctx, nppiRotate_16u_C4R_Ctx, nppiRotate_32f_C1R_Ctx,
    nppiRotate_32f_C3R_Ctx, nppiRotate_32f_C4R_Ctx).
    """
    _warp(stream, "Rotate", source, target, (_finite("angle", angle), *_two("shift", shift)), interpolation)


def mirror(stream: Stream, source: Image, target: Image, axis: NppiAxis) -> None:
    """Turn over about an axis: HORIZONTAL_AXIS puts the last row first, VERTICAL_AXIS the last column, BOTH_AXIS both.

    (nppiMirror_8u_C1R_Ctx, nppiMirror_8u_C3R_Ctx, nppiMirror_8u_C4R_Ctx, nppiMirror_16u_C1R_Ctx,
    nppiMirror_16u_C3R_Ctx, nppiMirror_16u_C4R_Ctx, nppiMirror_32f_C1R_Ctx, nppiMirror_32f_C3R_Ctx,
    nppiMirror_32f_C4R_Ctx)
    """
    unary(stream, "Mirror", source, target, NppiAxis(axis))


def warp_affine(
    stream: Stream,
    source: Image,
    target: Image,
    coefficients: npt.ArrayLike,
    interpolation: NppiInterpolationMode = LINEAR,
    *,
    back: bool = False,
) -> None:
    """Pixel (x, y, 1) goes where a matrix (2, 3) sends it; with `back` the matrix sends the target's to the source.

    INTER_NN, INTER_LINEAR or INTER_CUBIC (nppiWarpAffine_8u_C1R_Ctx, nppiWarpAffine_8u_C3R_Ctx,
    nppiWarpAffine_8u_C4R_Ctx, nppiWarpAffine_32f_C1R_Ctx, nppiWarpAffine_32f_C3R_Ctx, nppiWarpAffine_32f_C4R_Ctx,
    nppiWarpAffineBack_8u_C1R_Ctx, nppiWarpAffineBack_8u_C3R_Ctx, nppiWarpAffineBack_8u_C4R_Ctx,
    nppiWarpAffineBack_32f_C1R_Ctx, nppiWarpAffineBack_32f_C3R_Ctx, nppiWarpAffineBack_32f_C4R_Ctx).
    """
    numbers = matrix("warp_affine", coefficients, (2, 3))
    _warp(stream, "WarpAffineBack" if back else "WarpAffine", source, target, (numbers,), interpolation)


def warp_perspective(
    stream: Stream,
    source: Image,
    target: Image,
    coefficients: npt.ArrayLike,
    interpolation: NppiInterpolationMode = LINEAR,
    *,
    back: bool = False,
) -> None:
    """Pixel (x, y, 1) goes where a matrix (3, 3) sends it, the third number of the result dividing the others.

    With `back` it sends the target's to the source. INTER_NN, INTER_LINEAR or INTER_CUBIC
    (nppiWarpPerspective_8u_C1R_Ctx, nppiWarpPerspective_8u_C3R_Ctx, nppiWarpPerspective_8u_C4R_Ctx,
    nppiWarpPerspective_32f_C1R_Ctx, nppiWarpPerspective_32f_C3R_Ctx, nppiWarpPerspective_32f_C4R_Ctx,
    nppiWarpPerspectiveBack_8u_C1R_Ctx, nppiWarpPerspectiveBack_8u_C3R_Ctx, nppiWarpPerspectiveBack_8u_C4R_Ctx,
    nppiWarpPerspectiveBack_32f_C1R_Ctx, nppiWarpPerspectiveBack_32f_C3R_Ctx, nppiWarpPerspectiveBack_32f_C4R_Ctx).
    """
    numbers = matrix("warp_perspective", coefficients, (3, 3))
    _warp(stream, "WarpPerspectiveBack" if back else "WarpPerspective", source, target, (numbers,), interpolation)


def _warp(
    stream: Stream,
    family: str,
    source: Image,
    target: Image,
    how: tuple[Any, ...],
    interpolation: NppiInterpolationMode,
) -> None:
    name = pick(family, types(source, target), layouts(source, target))
    apart(name, source, target)
    begin = source.origin, source.extent, source.pitch, source.rectangle
    end = target.origin, target.pitch, target.rectangle
    run(stream, name, (source, target), *begin, *end, *how, NppiInterpolationMode(interpolation))


def _two(what: str, pair: Pair) -> Pair:
    x, y = pair
    return _finite(what, x), _finite(what, y)


def _finite(what: str, value: float) -> float:
    if not math.isfinite(value):
        raise ValueError(f"{what} is {value}")
    return float(value)
