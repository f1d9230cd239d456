"""Arithmetic on pixels: of two images, of an image and a constant, and of one image."""

from __future__ import annotations

from gocudnn_py._abi.npp import NppiAlphaOp
from gocudnn_py.cuda import Stream
from gocudnn_py.npp.dispatch import Constant, binary, layouts, pick, types, unary, with_constant, within
from gocudnn_py.npp.image import Image

MOST_SHIFT = 31


def add(stream: Stream, a: Image, b: Image | Constant, target: Image, *, scale: int = 0) -> None:
    """The target becomes (a + b) / 2**scale; a float image has no scale.

    uint8 is rounded to the nearest, ties to even, and cut off at 0 and 255 (nppiAdd_8u_C1RSfs_Ctx,
    nppiAdd_8u_C3RSfs_Ctx, nppiAdd_8u_C4RSfs_Ctx, nppiAdd_32f_C1R_Ctx, nppiAdd_32f_C3R_Ctx, nppiAdd_32f_C4R_Ctx,
    nppiAddC_8u_C1RSfs_Ctx, nppiAddC_8u_C3RSfs_Ctx, nppiAddC_32f_C1R_Ctx, nppiAddC_32f_C3R_Ctx).
    """
    _arithmetic(stream, "Add", a, b, target, scale)


def subtract(stream: Stream, a: Image, b: Image | Constant, target: Image, *, scale: int = 0) -> None:
    """The target becomes (a - b) / 2**scale, as `add` rounds it.

    NPP subtracts its first image from its second, so they are handed over in that order (nppiSub_8u_C1RSfs_Ctx,
    nppiSub_8u_C3RSfs_Ctx, nppiSub_8u_C4RSfs_Ctx, nppiSub_32f_C1R_Ctx, nppiSub_32f_C3R_Ctx, nppiSub_32f_C4R_Ctx,
    nppiSubC_8u_C1RSfs_Ctx, nppiSubC_8u_C3RSfs_Ctx, nppiSubC_32f_C1R_Ctx, nppiSubC_32f_C3R_Ctx).
    """
    _arithmetic(stream, "Sub", a, b, target, scale, backwards=True)


def multiply(stream: Stream, a: Image, b: Image | Constant, target: Image, *, scale: int = 0) -> None:
    """The target becomes a * b / 2**scale, as `add` rounds it.

    (nppiMul_8u_C1RSfs_Ctx, nppiMul_8u_C3RSfs_Ctx, nppiMul_8u_C4RSfs_Ctx, nppiMul_32f_C1R_Ctx, nppiMul_32f_C3R_Ctx,
    nppiMul_32f_C4R_Ctx, nppiMulC_8u_C1RSfs_Ctx, nppiMulC_8u_C3RSfs_Ctx, nppiMulC_32f_C1R_Ctx, nppiMulC_32f_C3R_Ctx)
    """
    _arithmetic(stream, "Mul", a, b, target, scale)


def divide(stream: Stream, a: Image, b: Image | Constant, target: Image, *, scale: int = 0) -> None:
    """The target becomes a / b / 2**scale, as `add` rounds it.

    NPP divides its second image by its first, so they are handed over in that order (nppiDiv_8u_C1RSfs_Ctx,
    nppiDiv_8u_C3RSfs_Ctx, nppiDiv_8u_C4RSfs_Ctx, nppiDiv_32f_C1R_Ctx, nppiDiv_32f_C3R_Ctx, nppiDiv_32f_C4R_Ctx,
    nppiDivC_8u_C1RSfs_Ctx, nppiDivC_8u_C3RSfs_Ctx, nppiDivC_32f_C1R_Ctx, nppiDivC_32f_C3R_Ctx).
    """
    _arithmetic(stream, "Div", a, b, target, scale, backwards=True)


def _arithmetic(
    stream: Stream, family: str, a: Image, b: Image | Constant, target: Image, scale: int, *, backwards: bool = False
) -> None:
    whole = a.dtype.kind != "f"
    if scale and not whole:
        raise ValueError(f"{family}: scale is {scale}, but only whole numbers are scaled, not {a}")
    more = [within(f"{family}: scale", scale, -MOST_SHIFT, MOST_SHIFT)] if whole else []
    family = family if isinstance(b, Image) else f"{family}C"
    name = pick(family, types(a, target), layouts(a, target), "RSfs" if whole else "R")
    if isinstance(b, Image):
        binary(stream, name, *((b, a) if backwards else (a, b)), target, *more)
    else:
        with_constant(stream, name, a, b, target, *more)


def absolute_difference(stream: Stream, a: Image, b: Image, target: Image) -> None:
    """The target becomes |a - b| (nppiAbsDiff_8u_C1R_Ctx, nppiAbsDiff_32f_C1R_Ctx)."""
    binary(stream, pick("AbsDiff", types(a, target), layouts(a, target)), a, b, target)


def bitwise_and(stream: Stream, a: Image, b: Image, target: Image) -> None:
    """The bits that are set in both (nppiAnd_8u_C1R_Ctx)."""
    binary(stream, pick("And", types(a, target), layouts(a, target)), a, b, target)


def bitwise_or(stream: Stream, a: Image, b: Image, target: Image) -> None:
    """The bits that are set in either (nppiOr_8u_C1R_Ctx)."""
    binary(stream, pick("Or", types(a, target), layouts(a, target)), a, b, target)


def bitwise_xor(stream: Stream, a: Image, b: Image, target: Image) -> None:
    """The bits that are set in one of them (nppiXor_8u_C1R_Ctx)."""
    binary(stream, pick("Xor", types(a, target), layouts(a, target)), a, b, target)


def bitwise_not(stream: Stream, source: Image, target: Image) -> None:
    """The bits that are not set (nppiNot_8u_C1R_Ctx)."""
    unary(stream, "Not", source, target, in_place=True)


def absolute(stream: Stream, source: Image, target: Image) -> None:
    """The target becomes |x| (nppiAbs_32f_C1R_Ctx)."""
    unary(stream, "Abs", source, target, in_place=True)


def square(stream: Stream, source: Image, target: Image) -> None:
    """The target becomes x squared (nppiSqr_32f_C1R_Ctx)."""
    unary(stream, "Sqr", source, target, in_place=True)


def square_root(stream: Stream, source: Image, target: Image) -> None:
    """The target becomes the square root of x (nppiSqrt_32f_C1R_Ctx)."""
    unary(stream, "Sqrt", source, target, in_place=True)


def exponential(stream: Stream, source: Image, target: Image) -> None:
    """The target becomes e to the x (nppiExp_32f_C1R_Ctx)."""
    unary(stream, "Exp", source, target, in_place=True)


def natural_logarithm(stream: Stream, source: Image, target: Image) -> None:
    """The target becomes the logarithm of x to the base e (nppiLn_32f_C1R_Ctx)."""
    unary(stream, "Ln", source, target, in_place=True)


def compose(stream: Stream, a: Image, b: Image, target: Image, operation: NppiAlphaOp = NppiAlphaOp.OVER) -> None:
    """Lay a over b, or another way of Porter and Duff, by the opacity in the fourth channel of each.

    NPP may write 0 for an opacity of 255 in the target (nppiAlphaComp_8u_AC4R_Ctx).
    """
    if a.layout != "C4":
        raise ValueError(f"compose: {a} has no opacity in a fourth channel")
    binary(stream, pick("AlphaComp", types(a, target), f"A{layouts(a, target)}"), a, b, target, NppiAlphaOp(operation))
