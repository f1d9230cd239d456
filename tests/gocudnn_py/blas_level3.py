"""Cases of matrices with matrices, on both sides, in every triangle and turn."""

from __future__ import annotations

from typing import Any

import numpy as np

from gocudnn_py import cublas
from gocudnn_py.dtypes import numpy_dtype
from tests.gocudnn_py.blas_cases import (
    COMPLEX,
    FOUR,
    HALF,
    LETTERS,
    UNIT,
    Desk,
    case,
    near,
    widened,
)
from tests.gocudnn_py.blas_level2 import TWO, WHERE, alpha_of, beta_of, complex_turn

ROWS, COLUMNS, INNER = 35, 27, 20
SIDES = ("left", "right")
SYMMETRIC, BOTH = ("", "T"), ("", "T", "H")


def product_skips(dtype: str, turns: tuple[str, str], **_: Any) -> bool:
    return dtype not in COMPLEX and "H" in turns


def gemm_names(kind: str) -> Any:
    def names(dtype: str, math: str, **_: Any) -> tuple[str, ...]:
        stems = {"mode": "gemm" + (kind or "_v2"), "3m": "gemm3m" + kind}
        return (f"cublas{LETTERS[dtype]}{stems[math]}" if math in stems else f"cublasGemm{kind}Ex",)

    return names


def math_skips(dtype: str, math: str, turns: tuple[str, str] = ("", ""), **_: Any) -> bool:
    """By letter there are no halves, and by three products only complex numbers."""
    return product_skips(dtype, turns) or (math != "fma" and dtype in HALF) or (math == "3m" and dtype not in COMPLEX)


EVERY_TURN = [(one, two) for one in BOTH for two in BOTH]


@case(gemm_names(""), FOUR + HALF, turns=EVERY_TURN, math=("fma", "mode", "3m"), where=WHERE, skip=math_skips)
def gemm(desk: Desk, turns: tuple[str, str], math: str, where: str) -> None:
    a, b = desk.matrix(ROWS, INNER, turns[0]), desk.matrix(INNER, COLUMNS, turns[1])
    c, alpha, beta = desk.matrix(ROWS, COLUMNS), alpha_of(desk), beta_of(desk)
    kind = "float32" if desk.dtype in HALF else None
    scalars = {"alpha": desk.scalar(alpha, where, kind), "beta": desk.scalar(beta, where, kind)}
    cublas.gemm(desk.handle, a.at, b.at, c.at, **scalars, math=math)
    size = abs(alpha) * (a.size @ b.size) + abs(beta) * c.size
    desk.check(c, alpha * (a.value @ b.value) + beta * c.value, size)


@case(lambda dtype, **_: ("cublasGemmEx",), (*HALF, "int8"), turns=(("", ""), ("", "T")))
def gemm_of_mixed_types(desk: Desk, turns: tuple[str, str]) -> None:
    """Halves into float32, int8 into int32: in multiples of 16, for cuBLAS has no kernel for some that are of 4."""
    result = "int32" if desk.dtype == "int8" else "float32"
    a, b = (desk.matrix(64, 64, turn, gap=0) for turn in turns)
    c = desk.matrix(64, 64, dtype=result, gap=0)
    cublas.gemm(desk.handle, a.at, b.at, c.at)
    desk.check(c, a.value @ b.value, a.size @ b.size)


@case(lambda dtype, **_: ("cublasGemmEx",), ("float16",), sums=("half_sums",))
def gemm_in_halves(desk: Desk, sums: str) -> None:
    a, b, c = desk.matrix(16, 8), desk.matrix(8, 24), desk.matrix(16, 24)
    cublas.gemm(desk.handle, a.at, b.at, c.at, math=sums)
    desk.check(c, a.value @ b.value, a.size @ b.size)


@case("{}symm_v2", lower=TWO, side=SIDES, turn=SYMMETRIC, where=WHERE)
def symm(desk: Desk, lower: bool, side: str, turn: str, where: str) -> None:
    two_sided(desk, "sy", lower, side, turn, where)


@case("{}hemm_v2", COMPLEX, lower=TWO, side=SIDES, turn=("", "H"), where=WHERE)
def hemm(desk: Desk, lower: bool, side: str, turn: str, where: str) -> None:
    two_sided(desk, "he", lower, side, turn, where)


def two_sided(desk: Desk, kind: str, lower: bool, side: Any, turn: str, where: str) -> None:
    a = desk.half(ROWS if side == "left" else COLUMNS, kind, lower, turn)
    b, c, alpha, beta = desk.matrix(ROWS, COLUMNS), desk.matrix(ROWS, COLUMNS), alpha_of(desk), beta_of(desk)
    scalars = {"alpha": desk.scalar(alpha, where), "beta": desk.scalar(beta, where)}
    multiply = cublas.symm if kind == "sy" else cublas.hemm
    multiply(desk.handle, a.at, b.at, c.at, lower=lower, side=side, **scalars)
    first, second = (a, b) if side == "left" else (b, a)
    size = abs(alpha) * (first.size @ second.size) + abs(beta) * c.size
    desk.check(c, alpha * (first.value @ second.value) + beta * c.value, size)


def rank(desk: Desk, what: str, lower: bool, turns: tuple[str, str], where: str) -> None:
    """An update of the lower or upper triangle; turns are the factors' and the result's."""
    hermitian, two = what.startswith("he"), what[3:] != "k"
    a, b = (desk.matrix(ROWS, INNER, turns[0]) for _ in range(2))
    if what == "herkx":  # alpha a b^H has to be Hermitian: cuBLAS takes the diagonal to be real
        b = desk.matrix(ROWS, INNER, turns[0], 2.0 * a.value)
    c = desk.half(ROWS, what[:2], lower, turns[1])
    alpha = 0.5 if what in ("herk", "herkx") else alpha_of(desk)
    beta = -1.5 if hermitian else beta_of(desk)
    scalars = {
        "alpha": desk.scalar(alpha, where, desk.real if what == "herk" else None),
        "beta": desk.scalar(beta, where, desk.real if hermitian else None),
    }
    factors = (a, b) if two else (a,)
    getattr(cublas, what)(desk.handle, *(factor.at for factor in factors), c.at, lower=lower, **scalars)
    second = factors[-1]
    right = alpha * (a.value @ (second.value.conj().T if hermitian else second.value.T))
    size = abs(alpha) * (a.size @ second.size.T)
    if what.endswith("2k"):
        right, size = right + (right.conj().T if hermitian else right.T), size + size.T
    desk.check(c, right + beta * c.value, size + abs(beta) * c.size)


RANKS: dict[str, Any] = {"lower": TWO, "turns": [(one, two) for one in SYMMETRIC for two in SYMMETRIC], "where": WHERE}
HERMITIAN_RANKS: dict[str, Any] = {
    "lower": TWO,
    "turns": [("", ""), ("H", ""), ("T", "T"), ("conjugate", "T"), ("", "H"), ("T", "conjugate")],
    "where": WHERE,
}


@case("{}syrk_v2", **RANKS)
def syrk(desk: Desk, **way: Any) -> None:
    rank(desk, "syrk", **way)


@case("{}syr2k_v2", **RANKS)
def syr2k(desk: Desk, **way: Any) -> None:
    rank(desk, "syr2k", **way)


@case("{}syrkx", **RANKS)
def syrkx(desk: Desk, **way: Any) -> None:
    rank(desk, "syrkx", **way)


@case("{}herk_v2", COMPLEX, **HERMITIAN_RANKS)
def herk(desk: Desk, **way: Any) -> None:
    rank(desk, "herk", **way)


@case("{}her2k_v2", COMPLEX, **HERMITIAN_RANKS)
def her2k(desk: Desk, **way: Any) -> None:
    rank(desk, "her2k", **way)


@case("{}herkx", COMPLEX, **HERMITIAN_RANKS, skip=lambda dtype, turns, **_: turns[1] in ("H", "conjugate"))
def herkx(desk: Desk, **way: Any) -> None:
    rank(desk, "herkx", **way)


TRIANGLES: dict[str, Any] = {"lower": TWO, "unit": TWO, "side": SIDES, "turn": BOTH, "where": WHERE}


@case("{}trmm_v2", **TRIANGLES, in_place=TWO, skip=complex_turn)
def trmm(desk: Desk, lower: bool, unit: bool, side: Any, turn: str, where: str, in_place: bool) -> None:
    a = desk.half(ROWS if side == "left" else COLUMNS, "tr", lower, turn, unit=unit)
    b, alpha = desk.matrix(ROWS, COLUMNS), alpha_of(desk)
    c = b if in_place else desk.matrix(ROWS, COLUMNS)
    ways = {"lower": lower, "unit": unit, "side": side, "alpha": desk.scalar(alpha, where)}
    cublas.trmm(desk.handle, a.at, b.at, None if in_place else c.at, **ways)
    first, second = (a, b) if side == "left" else (b, a)
    desk.check(c, alpha * (first.value @ second.value), abs(alpha) * (first.size @ second.size))


@case("{}trsm_v2", **TRIANGLES, skip=complex_turn)
def trsm(desk: Desk, lower: bool, unit: bool, side: Any, turn: str, where: str) -> None:
    a = desk.half(ROWS if side == "left" else COLUMNS, "tr", lower, turn, unit=unit)
    b, alpha = desk.matrix(ROWS, COLUMNS), alpha_of(desk)
    cublas.trsm(desk.handle, a.at, b.at, lower=lower, unit=unit, side=side, alpha=desk.scalar(alpha, where))
    found = desk.read(b)
    back, size = (
        (a.value @ found, a.size @ np.abs(found)) if side == "left" else (found @ a.value, np.abs(found) @ a.size)
    )
    near(back, alpha * b.value, size, UNIT[desk.dtype], len(a.value))


@case("{}geam", turns=EVERY_TURN, where=WHERE, skip=product_skips)
def geam(desk: Desk, turns: tuple[str, str], where: str) -> None:
    a, b, c = desk.matrix(ROWS, COLUMNS, turns[0]), desk.matrix(ROWS, COLUMNS, turns[1]), desk.matrix(ROWS, COLUMNS)
    alpha, beta = alpha_of(desk), beta_of(desk)
    scalars = {"alpha": desk.scalar(alpha, where), "beta": desk.scalar(beta, where)}
    cublas.geam(desk.handle, a.at, b.at, c.at, **scalars)
    desk.check(c, alpha * a.value + beta * b.value, abs(alpha) * a.size + abs(beta) * b.size)


@case("{}dgmm", side=SIDES, stride=(2, -1))
def dgmm(desk: Desk, side: Any, stride: int) -> None:
    x = desk.vector(ROWS if side == "left" else COLUMNS, stride)
    a, c = desk.matrix(ROWS, COLUMNS), desk.matrix(ROWS, COLUMNS)
    cublas.dgmm(desk.handle, x.at, a.at, c.at, side=side)
    factors = x.value[:, None] if side == "left" else x.value
    desk.check(c, factors * a.value, np.abs(factors) * a.size)


@case("{}tpttr", lower=TWO, turn=SYMMETRIC)
def tpttr(desk: Desk, lower: bool, turn: str) -> None:
    packed, a = desk.half(ROWS, "sy", lower, turn, "packed"), desk.half(ROWS, "sy", lower, turn)
    cublas.tpttr(desk.handle, packed.at, a.at, lower=lower)
    desk.check(a, packed.value, 0)


@case("{}trttp", lower=TWO, turn=SYMMETRIC)
def trttp(desk: Desk, lower: bool, turn: str) -> None:
    a, packed = desk.half(ROWS, "sy", lower, turn), desk.half(ROWS, "sy", lower, turn, "packed")
    cublas.trttp(desk.handle, a.at, packed.at, lower=lower)
    desk.check(packed, a.value, 0)


@case(lambda dtype, **_: ("cublasSetMatrixAsync", "cublasGetMatrixAsync"), FOUR + HALF)
def matrices_of_the_host(desk: Desk) -> None:
    a, array = desk.matrix(ROWS, COLUMNS), np.zeros((ROWS, COLUMNS + 2), numpy_dtype(desk.dtype))
    array[:, :COLUMNS] = desk.numbers(ROWS, COLUMNS).astype(array.dtype)
    before = array.copy()
    cublas.upload(desk.handle, array[:, :COLUMNS], a.at)
    desk.check(a, widened(before[:, :COLUMNS]), 0)
    array[:, :COLUMNS] = 0
    cublas.download(desk.handle, a.at, array[:, :COLUMNS])
    assert (array == before).all()
