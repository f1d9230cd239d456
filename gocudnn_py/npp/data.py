"""Filling, copying, padding, converting and turning images."""

from __future__ import annotations

from typing import Literal

from gocudnn_py._abi.npp import NppRoundMode
from gocudnn_py.cuda import Stream
from gocudnn_py.npp.dispatch import Constant, apart, constants, layouts, pick, run, types, unary, within, writable
from gocudnn_py.npp.image import Image

PADS = {"constant": "CopyConstBorder", "replicate": "CopyReplicateBorder", "wrap": "CopyWrapBorder"}


def fill(stream: Stream, target: Image, value: Constant) -> None:
    """Set every pixel to one number, or to one for each channel.

    (nppiSet_8u_C1R_Ctx, nppiSet_8u_C3R_Ctx, nppiSet_8u_C4R_Ctx, nppiSet_16u_C1R_Ctx, nppiSet_16u_C3R_Ctx,
    nppiSet_16u_C4R_Ctx, nppiSet_32f_C1R_Ctx, nppiSet_32f_C3R_Ctx, nppiSet_32f_C4R_Ctx)
    """
    name = pick("Set", target.code, target.layout)
    writable(name, target)
    run(stream, name, (target,), constants(name, target, value), target.start, target.pitch, target.size)


def copy(stream: Stream, source: Image, target: Image) -> None:
    """Copy pixels, also from channels side by side into planes and back.

    (nppiCopy_8u_C1R_Ctx, nppiCopy_8u_C3R_Ctx, nppiCopy_8u_C4R_Ctx, nppiCopy_16u_C1R_Ctx, nppiCopy_16u_C3R_Ctx,
    nppiCopy_16u_C4R_Ctx, nppiCopy_32f_C1R_Ctx, nppiCopy_32f_C3R_Ctx, nppiCopy_32f_C4R_Ctx, nppiCopy_8u_C3P3R_Ctx,
    nppiCopy_16u_C3P3R_Ctx, nppiCopy_32f_C3P3R_Ctx, nppiCopy_8u_P3C3R_Ctx, nppiCopy_16u_P3C3R_Ctx,
    nppiCopy_32f_P3C3R_Ctx)
    """
    unary(stream, "Copy", source, target)


def pad(
    stream: Stream,
    source: Image,
    target: Image,
    top: int,
    left: int,
    mode: Literal["constant", "replicate", "wrap"] = "constant",
    value: Constant = 0,
) -> None:
    """Copy an image into a larger one, `top` rows and `left` columns from its corner, and fill what is around it.

    With `value`, with the nearest pixel, or with the image again and again (nppiCopyConstBorder_8u_C1R_Ctx,
    nppiCopyConstBorder_8u_C3R_Ctx, nppiCopyConstBorder_32f_C1R_Ctx, nppiCopyConstBorder_32f_C3R_Ctx,
    nppiCopyReplicateBorder_8u_C1R_Ctx, nppiCopyReplicateBorder_8u_C3R_Ctx, nppiCopyReplicateBorder_32f_C1R_Ctx,
    nppiCopyReplicateBorder_32f_C3R_Ctx, nppiCopyWrapBorder_8u_C1R_Ctx, nppiCopyWrapBorder_8u_C3R_Ctx,
    nppiCopyWrapBorder_32f_C1R_Ctx, nppiCopyWrapBorder_32f_C3R_Ctx).
    """
    if mode not in PADS:
        raise ValueError(f"pad: mode {mode!r}; there are {', '.join(PADS)}")
    name = pick(PADS[mode], types(source, target), layouts(source, target))
    within("pad: top", top, 0, target.height - source.height)
    within("pad: left", left, 0, target.width - source.width)
    apart(name, source, target)
    more = [constants(name, target, value)] if mode == "constant" else []
    both = source.start, source.pitch, source.size, target.start, target.pitch, target.size
    run(stream, name, (source, target), *both, top, left, *more)


def convert(
    stream: Stream,
    source: Image,
    target: Image,
    rounding: NppRoundMode = NppRoundMode.ROUND_NEAREST_TIES_TO_EVEN,
) -> None:
    """Change the type of the pixels, not their numbers; those that do not fit become the nearest that do.

    (nppiConvert_8u16u_C1R_Ctx, nppiConvert_8u16u_C3R_Ctx, nppiConvert_8u32f_C1R_Ctx, nppiConvert_8u32f_C3R_Ctx,
    nppiConvert_32f8u_C1R_Ctx, nppiConvert_32f8u_C3R_Ctx)
    """
    more = [NppRoundMode(rounding)] if source.dtype.kind == "f" else []
    unary(stream, "Convert", source, target, *more)


def scale(stream: Stream, source: Image, target: Image, low: float = 0.0, high: float = 1.0) -> None:
    """Map the whole range of uint8 to `low` to `high` of float32, or back, cutting off what is outside.

    (nppiScale_8u32f_C1R_Ctx, nppiScale_8u32f_C3R_Ctx, nppiScale_32f8u_C1R_Ctx, nppiScale_32f8u_C3R_Ctx)
    """
    if not low < high:
        raise ValueError(f"scale: from {low} to {high} is no range")
    unary(stream, "Scale", source, target, low, high)


def transpose(stream: Stream, source: Image, target: Image) -> None:
    """Exchange rows and columns.

    (nppiTranspose_8u_C1R_Ctx, nppiTranspose_8u_C3R_Ctx, nppiTranspose_8u_C4R_Ctx, nppiTranspose_16u_C1R_Ctx,
    nppiTranspose_16u_C3R_Ctx, nppiTranspose_16u_C4R_Ctx, nppiTranspose_32f_C1R_Ctx, nppiTranspose_32f_C3R_Ctx,
    nppiTranspose_32f_C4R_Ctx)
    """
    name = pick("Transpose", types(source, target), layouts(source, target))
    if (source.width, source.height) != (target.height, target.width):
        raise ValueError(f"{name}: {source} turned over its diagonal is not as large as {target}")
    apart(name, source, target)
    run(stream, name, (source, target), source.start, source.pitch, target.start, target.pitch, source.size)
