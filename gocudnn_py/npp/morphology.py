"""Dilating and eroding: the greatest and the least of the pixels around each."""

from __future__ import annotations

from gocudnn_py._abi.npp import NppiBorderType
from gocudnn_py.cuda import Stream
from gocudnn_py.npp.dispatch import layouts, pick, types
from gocudnn_py.npp.image import Image
from gocudnn_py.npp.windows import REPLICATE, Anchor, Window, bordered


def dilate(
    stream: Stream,
    source: Image,
    target: Image,
    mask: Image | None = None,
    anchor: Anchor | None = None,
    border: NppiBorderType = REPLICATE,
) -> None:
    """The greatest of the pixels around each where the mask is not 0; of 3 x 3 pixels without a mask.

    The mask is a packed uint8 image of one channel (nppiDilateBorder_8u_C1R_Ctx, nppiDilateBorder_8u_C3R_Ctx,
    nppiDilateBorder_32f_C1R_Ctx, nppiDilateBorder_32f_C3R_Ctx, nppiDilate3x3Border_8u_C1R_Ctx,
    nppiDilate3x3Border_8u_C3R_Ctx, nppiDilate3x3Border_32f_C1R_Ctx, nppiDilate3x3Border_32f_C3R_Ctx).
    """
    _morph(stream, "Dilate", source, target, mask, anchor, border)


def erode(
    stream: Stream,
    source: Image,
    target: Image,
    mask: Image | None = None,
    anchor: Anchor | None = None,
    border: NppiBorderType = REPLICATE,
) -> None:
    """The least of the pixels around each where the mask is not 0; of 3 x 3 pixels without a mask.

    The mask is a packed uint8 image of one channel (nppiErodeBorder_8u_C1R_Ctx, nppiErodeBorder_8u_C3R_Ctx,
    nppiErodeBorder_32f_C1R_Ctx, nppiErodeBorder_32f_C3R_Ctx, nppiErode3x3Border_8u_C1R_Ctx,
    nppiErode3x3Border_8u_C3R_Ctx, nppiErode3x3Border_32f_C1R_Ctx, nppiErode3x3Border_32f_C3R_Ctx).
    """
    _morph(stream, "Erode", source, target, mask, anchor, border)


def _morph(
    stream: Stream,
    family: str,
    source: Image,
    target: Image,
    mask: Image | None,
    anchor: Anchor | None,
    border: NppiBorderType,
) -> None:
    kinds, layout, edge = types(source, target), layouts(source, target), NppiBorderType(border)
    if mask is None:
        if anchor is not None:
            raise ValueError(f"{family}: anchor {anchor} without a mask")
        bordered(stream, pick(f"{family}3x3Border", kinds, layout), source, target, edge)
        return
    name = pick(f"{family}Border", kinds, layout)
    if (mask.code, mask.layout) != ("8u", "C1") or not mask.packed:
        raise ValueError(f"{name}: {mask} is no mask: packed, one channel, uint8")
    window = Window(name, mask.width, mask.height, anchor)
    how = mask.start, window.size, window.anchor, edge
    bordered(stream, name, source, target, *how, images=(mask,))
