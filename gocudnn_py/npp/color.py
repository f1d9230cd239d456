"""Colours: gray, other colour spaces and back, video frames, gamma, mixing and exchanging channels."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Literal

import numpy.typing as npt

from gocudnn_py.cuda import Stream
from gocudnn_py.npp.dispatch import apart, layouts, matrix, number, pick, run, types, unary, within
from gocudnn_py.npp.image import Image

Space = Literal["YUV", "YCbCr", "HSV", "HLS", "XYZ", "LUV"]
SPACES = ("YUV", "YCbCr", "HSV", "HLS", "XYZ", "LUV")


def rgb_to_gray(stream: Stream, source: Image, target: Image, weights: Sequence[float] | None = None) -> None:
    """Brightness: 0.299 red + 0.587 green + 0.114 blue, or with `weights` of one's own.

    (nppiRGBToGray_8u_C3C1R_Ctx, nppiRGBToGray_32f_C3C1R_Ctx, nppiColorToGray_8u_C3C1R_Ctx,
    nppiColorToGray_32f_C3C1R_Ctx)
    """
    if weights is None:
        unary(stream, "RGBToGray", source, target)
    else:
        unary(stream, "ColorToGray", source, target, matrix("rgb_to_gray: weights", weights, (3,), ctypes.c_float))


def from_rgb(stream: Stream, space: Space, source: Image, target: Image) -> None:
    """From red, green and blue to another colour space; YUV and YCbCr also in planes.

    uint8 holds each number moved and stretched into 0 to 255 (nppiRGBToYUV_8u_C3R_Ctx, nppiRGBToYUV_8u_P3R_Ctx,
    nppiRGBToYCbCr_8u_C3R_Ctx, nppiRGBToYCbCr_8u_P3R_Ctx, nppiRGBToHSV_8u_C3R_Ctx, nppiRGBToHLS_8u_C3R_Ctx,
    nppiRGBToXYZ_8u_C3R_Ctx, nppiRGBToLUV_8u_C3R_Ctx).
    """
    unary(stream, f"RGBTo{_known(space)}", source, target)


def to_rgb(stream: Stream, space: Space, source: Image, target: Image) -> None:
    """From another colour space back to red, green and blue.

    (nppiYUVToRGB_8u_C3R_Ctx, nppiYUVToRGB_8u_P3R_Ctx, nppiYCbCrToRGB_8u_C3R_Ctx, nppiYCbCrToRGB_8u_P3R_Ctx,
    nppiHSVToRGB_8u_C3R_Ctx, nppiHLSToRGB_8u_C3R_Ctx, nppiXYZToRGB_8u_C3R_Ctx, nppiLUVToRGB_8u_C3R_Ctx)
    """
    unary(stream, f"{_known(space)}ToRGB", source, target)


def _known(space: str) -> str:
    if space not in SPACES:
        raise ValueError(f"colour space {space!r}; there are {', '.join(SPACES)}")
    return space


def nv12_to_rgb(
    stream: Stream, brightness: Image, colour: Image, target: Image, order: Literal["RGB", "BGR"] = "RGB"
) -> None:
    """A video frame to red, green and blue: brightness, and U and V side by side at half its width and height.

    Both have one pitch, and even sizes; V and U are those of YUV (nppiNV12ToRGB_8u_P2C3R_Ctx,
    nppiNV12ToBGR_8u_P2C3R_Ctx).
    """
    if order not in ("RGB", "BGR"):
        raise ValueError(f"nv12_to_rgb: order {order!r}; there are RGB, BGR")
    name = pick(f"NV12To{order}", types(brightness, colour, target), "P2" + target.layout)
    wanted = 2 * colour.width, 2 * colour.height, "C1", "C2"
    if (brightness.width, brightness.height, brightness.layout, colour.layout) != wanted:
        raise ValueError(f"{name}: {colour} is not the colour of {brightness}: two channels of half the size")
    if (brightness.width, brightness.height) != (target.width, target.height) or brightness.pitch != colour.pitch:
        raise ValueError(
            f"{name}: {target} has to be of the size of {brightness}, whose rows are {brightness.pitch} bytes apart "
            f"and those of the colour {colour.pitch}"
        )
    for image in (brightness, colour):
        apart(name, image, target)
    starts = (ctypes.c_void_p * 2)(brightness.start, colour.start)
    both = starts, brightness.pitch, target.start, target.pitch
    run(stream, name, (brightness, colour, target), *both, target.size)


def gamma(stream: Stream, source: Image, target: Image, *, inverse: bool = False) -> None:
    """Bend brightness by the curve of BT.709, or back to what is proportional to light.

    (nppiGammaFwd_8u_C3R_Ctx, nppiGammaInv_8u_C3R_Ctx)
    """
    unary(stream, "GammaInv" if inverse else "GammaFwd", source, target, in_place=True)


def color_twist(stream: Stream, source: Image, target: Image, coefficients: npt.ArrayLike) -> None:
    """Each channel becomes a sum of all three and a constant, by a row of a matrix (3, 4).

    (nppiColorTwist32f_8u_C3R_Ctx, nppiColorTwist_32f_C3R_Ctx)
    """
    family = "ColorTwist" if source.dtype.kind == "f" else "ColorTwist32f"
    unary(stream, family, source, target, matrix("color_twist", coefficients, (3, 4), ctypes.c_float))


def swap_channels(stream: Stream, source: Image, target: Image, order: Sequence[int], value: float = 0) -> None:
    """Channel i of the target becomes channel `order[i]` of the source; 3 and 4 channels may be mixed.

    From four to three NPP takes the first three alone. From three to four, 3 stands for `value`, and 4 leaves the
    target's channel as it was (nppiSwapChannels_8u_C3R_Ctx, nppiSwapChannels_8u_C4C3R_Ctx, nppiSwapChannels_8u_C4R_Ctx,
    nppiSwapChannels_8u_C3C4R_Ctx,
    nppiSwapChannels_32f_C3R_Ctx, nppiSwapChannels_32f_C4C3R_Ctx, nppiSwapChannels_32f_C4R_Ctx,
    nppiSwapChannels_32f_C3C4R_Ctx).
    """
    pick("SwapChannels", types(source, target), layouts(source, target))
    grows = source.channels < target.channels
    if len(order) != target.channels:
        raise ValueError(f"swap_channels: {len(order)} channels in order {tuple(order)} for {target}")
    most = target.channels if grows else target.channels - 1
    numbers = [within(f"swap_channels: order[{place}]", each, 0, most) for place, each in enumerate(order)]
    more = [number("swap_channels", target, value)] if grows else []
    unary(stream, "SwapChannels", source, target, (ctypes.c_int * len(numbers))(*numbers), *more)
