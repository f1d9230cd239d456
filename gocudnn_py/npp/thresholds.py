"""Thresholds and comparisons, pixel by pixel."""

from __future__ import annotations

from gocudnn_py._abi.npp import NppCmpOp
from gocudnn_py.cuda import Stream
from gocudnn_py.npp.dispatch import Constant, binary, layouts, number, pick, types, unary, with_constant
from gocudnn_py.npp.image import Image

Limit = tuple[float, float]


def threshold(
    stream: Stream, source: Image, target: Image, *, below: Limit | None = None, above: Limit | None = None
) -> None:
    """Replace pixels: `below` is (limit, new value) for those less than the limit, `above` for those greater.

    (nppiThreshold_LTVal_8u_C1R_Ctx, nppiThreshold_LTVal_32f_C1R_Ctx, nppiThreshold_GTVal_8u_C1R_Ctx,
    nppiThreshold_GTVal_32f_C1R_Ctx, nppiThreshold_LTValGTVal_8u_C1R_Ctx, nppiThreshold_LTValGTVal_32f_C1R_Ctx)
    """
    limits = [limit for limit in (below, above) if limit is not None]
    if not limits:
        raise ValueError("threshold: neither below nor above is given")
    if below is not None and above is not None and below[0] > above[0]:
        raise ValueError(f"threshold: below {below[0]} is more than above {above[0]}")
    family = "Threshold_" + ("LTVal" if below is not None else "") + ("GTVal" if above is not None else "")
    numbers = [number(family, source, each) for limit in limits for each in limit]
    unary(stream, family, source, target, *numbers, in_place=True)


def compare(stream: Stream, a: Image, b: Image | Constant, target: Image, operation: NppCmpOp) -> None:
    """255 in the uint8 target where a compares so with b, an image or a number, and 0 where not.

    (nppiCompare_8u_C1R_Ctx, nppiCompare_32f_C1R_Ctx, nppiCompareC_8u_C1R_Ctx, nppiCompareC_32f_C1R_Ctx)
    """
    name = pick("Compare" if isinstance(b, Image) else "CompareC", types(a), layouts(a))
    if (target.code, target.layout) != ("8u", "C1"):
        raise ValueError(f"{name}: the result is uint8 with one channel, not {target}")
    if isinstance(b, Image):
        binary(stream, name, a, b, target, NppCmpOp(operation))
    else:
        with_constant(stream, name, a, b, target, NppCmpOp(operation))
