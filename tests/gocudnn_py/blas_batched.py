"""Cases of many matrices at once."""

from __future__ import annotations

from typing import Any

import numpy as np

from gocudnn_py import cublas
from gocudnn_py.cublas import Batch, Matrix, Vector
from gocudnn_py.dtypes import numpy_dtype
from tests.gocudnn_py.blas_cases import (
    COMPLEX,
    FOUR,
    HALF,
    REAL,
    TURNS,
    UNIT,
    Array,
    Desk,
    Item,
    case,
    near,
    turned,
)
from tests.gocudnn_py.blas_level2 import TWO, alpha_of, beta_of, complex_turn
from tests.gocudnn_py.blas_level3 import BOTH, SIDES, gemm_names, math_skips

COUNT, ROWS, COLUMNS, INNER = 5, 19, 13, 11
MATH = ("fma", "mode", "3m")
SIZE = 12


def only_single(dtype: str, math: str, **_: Any) -> bool:
    """Three products in batches are there for complex64 alone."""
    return math_skips(dtype, math) or (math == "3m" and dtype != "complex64")


def check_products(desk: Desk, items: list[tuple[Item, Item, Item]], alpha: complex, beta: complex) -> None:
    for a, b, c in items:
        size = abs(alpha) * (a.size @ b.size) + abs(beta) * c.size
        desk.check(c, alpha * (a.value @ b.value) + beta * c.value, size)


@case(gemm_names("Batched"), FOUR + HALF, math=MATH, skip=only_single)
def gemm_batched(desk: Desk, math: str) -> None:
    items = [
        (desk.matrix(ROWS, INNER, "T"), desk.matrix(INNER, COLUMNS), desk.matrix(ROWS, COLUMNS)) for _ in range(COUNT)
    ]
    a, b, c = (desk.batch(list(group)) for group in zip(*items, strict=True))
    cublas.gemm_batched(desk.handle, a, b, c, alpha=alpha_of(desk), beta=beta_of(desk), math=math)
    check_products(desk, items, alpha_of(desk), beta_of(desk))


@case(gemm_names("StridedBatched"), FOUR + HALF, math=MATH, side_by_side=TWO, skip=only_single)
def gemm_strided(desk: Desk, math: str, side_by_side: bool) -> None:
    a = desk.series(turned(Matrix(0, INNER, ROWS, desk.dtype, ROWS + 1), "T"), COUNT, INNER * (ROWS + 1))
    b = desk.matrix(INNER, COLUMNS)
    pitch, stride = (COUNT * (COLUMNS + 2), COLUMNS + 1) if side_by_side else (COLUMNS + 1, ROWS * (COLUMNS + 1) + 5)
    c = desk.series(Matrix(0, ROWS, COLUMNS, desk.dtype, pitch), COUNT, stride)
    strides = INNER * (ROWS + 1), 0, stride
    scalars = {"alpha": alpha_of(desk), "beta": beta_of(desk)}
    cublas.gemm_strided_batched(desk.handle, a.at, b.at, c.at, COUNT, strides, **scalars, math=math)
    check_products(desk, [(a, b, c)], alpha_of(desk), beta_of(desk))


def grouped_names(dtype: str, math: str) -> tuple[str, ...]:
    letter = {"float32": "S", "float64": "D"}.get(dtype)
    return (f"cublas{letter}gemmGroupedBatched" if math == "mode" else "cublasGemmGroupedBatchedEx",)


@case(grouped_names, REAL + HALF, math=("fma", "mode"), skip=lambda dtype, math: math == "mode" and dtype in HALF)
def gemm_grouped(desk: Desk, math: str) -> None:
    shapes = [(16, 8, 24), (32, 16, 8)]
    groups = [
        [(desk.matrix(m, k, gap=8), desk.matrix(k, n, "T", gap=8), desk.matrix(m, n, gap=8)) for _ in range(count)]
        for (m, k, n), count in zip(shapes, (2, 3), strict=True)
    ]
    a, b, c = (
        Batch(desk.arena.stream, *([items[index].at for items in group] for group in groups)) for index in range(3)
    )
    alpha, beta = (0.5, -1.5), (2.0, 0.25)
    cublas.gemm_grouped_batched(desk.handle, a, b, c, alpha=alpha, beta=beta, math=math)
    for group, one, two in zip(groups, alpha, beta, strict=True):
        check_products(desk, group, one, two)


@case("{}gemvBatched", turn=("", "T", "conjugate"), skip=complex_turn)
def gemv_batched(desk: Desk, turn: str) -> None:
    items = [(desk.matrix(ROWS, COLUMNS, turn), desk.vector(COLUMNS, 2), desk.vector(ROWS, 3)) for _ in range(COUNT)]
    a, x, y = (desk.batch(list(group)) for group in zip(*items, strict=True))
    cublas.gemv_batched(desk.handle, a, x, y, alpha=alpha_of(desk), beta=beta_of(desk))
    check_products(desk, items, alpha_of(desk), beta_of(desk))


@case("{}gemvStridedBatched", turn=("", "T", "conjugate"), skip=complex_turn)
def gemv_strided(desk: Desk, turn: str) -> None:
    rows, columns = (COLUMNS, ROWS) if turn == "T" else (ROWS, COLUMNS)
    a = desk.series(turned(Matrix(0, rows, columns, desk.dtype), turn), COUNT, rows * columns)
    x = desk.series(Vector(0, COLUMNS, desk.dtype, 2), COUNT, 2 * COLUMNS)
    y = desk.series(Vector(0, ROWS, desk.dtype), COUNT, ROWS + 1)
    strides = rows * columns, 2 * COLUMNS, ROWS + 1
    alpha, beta = alpha_of(desk), beta_of(desk)
    cublas.gemv_strided_batched(desk.handle, a.at, x.at, y.at, COUNT, strides, alpha=alpha, beta=beta)
    right = alpha * np.einsum("bij,bj->bi", a.value, x.value) + beta * y.value
    desk.check(y, right, abs(alpha) * np.einsum("bij,bj->bi", a.size, x.size) + abs(beta) * y.size)


@case("{}trsmBatched", lower=TWO, unit=TWO, side=SIDES, turn=BOTH, skip=complex_turn)
def trsm_batched(desk: Desk, lower: bool, unit: bool, side: Any, turn: str) -> None:
    size = ROWS if side == "left" else COLUMNS
    a = [desk.half(size, "tr", lower, turn, unit=unit) for _ in range(COUNT)]
    b = [desk.matrix(ROWS, COLUMNS) for _ in range(COUNT)]
    ways = {"lower": lower, "unit": unit, "side": side, "alpha": alpha_of(desk)}
    cublas.trsm_batched(desk.handle, desk.batch(a), desk.batch(b), **ways)
    for triangle, item in zip(a, b, strict=True):
        found = desk.read(item)
        first, second = (triangle.value, found) if side == "left" else (found, triangle.value)
        near(first @ second, alpha_of(desk) * item.value, np.abs(first) @ np.abs(second), UNIT[desk.dtype], size)


def well_conditioned(desk: Desk, rows: int, columns: int) -> Array:
    """A matrix near one of permuted rows, so that pivots matter and errors do not grow."""
    order = np.roll(np.arange(rows), 1)
    value = 4 * np.eye(rows, columns) + desk.numbers(rows, columns) / np.sqrt(rows)
    rounded = value[order].astype(numpy_dtype(desk.dtype))
    wide: Array = rounded.astype(np.complex128 if desk.dtype in COMPLEX else np.float64)
    return wide


def systems(desk: Desk, turn: str) -> list[Item]:
    return [desk.matrix(SIZE, SIZE, turn, well_conditioned(desk, SIZE, SIZE)) for _ in range(COUNT)]


def solve_names(dtype: str, pivoted: bool, **_: Any) -> tuple[str, ...]:
    letter = {"float32": "S", "float64": "D", "complex64": "C", "complex128": "Z"}[dtype]
    return tuple(f"cublas{letter}{stem}Batched" for stem in ("getrf", "getrs", "getri"))


@case(solve_names, turn=TURNS, pivoted=TWO, skip=lambda dtype, turn, **_: complex_turn(dtype, turn) or turn == "H")
def solve_by_lu(desk: Desk, turn: str, pivoted: bool) -> None:
    """A factored, systems solved and the inverse made, whichever way a lies and is used."""
    a = systems(desk, turn)
    if not pivoted:
        rolled = [np.roll(item.value, -1, axis=0) for item in a]
        a = [desk.matrix(SIZE, SIZE, turn, value) for value in rolled]
    b, c = [desk.matrix(SIZE, 3, "T") for _ in a], [desk.matrix(SIZE, SIZE, turn) for _ in a]
    lu, right, inverse = desk.batch(a), desk.batch(b), desk.batch(c)
    info = desk.vector(COUNT, 1, np.full(COUNT, 9), "int32")
    pivots = desk.vector(SIZE * COUNT, 1, np.zeros(SIZE * COUNT), "int32").at if pivoted else None
    cublas.getrf_batched(desk.handle, lu, pivots, info.at)
    desk.check(info, np.zeros(COUNT), 0)
    cublas.getrs_batched(desk.handle, lu, pivots, right)
    cublas.getri_batched(desk.handle, lu, pivots, inverse, info.at)
    desk.check(info, np.zeros(COUNT), 0)
    for system, given, made in zip(a, b, c, strict=True):
        x, inverted = desk.read(given), desk.read(made)
        near(system.value @ x, given.value, system.size @ np.abs(x), UNIT[desk.dtype], SIZE)
        near(system.value @ inverted, np.eye(SIZE), system.size @ np.abs(inverted), UNIT[desk.dtype], SIZE)


@case("{}matinvBatched", turn=BOTH, skip=complex_turn)
def matinv(desk: Desk, turn: str) -> None:
    a = systems(desk, turn)
    c = [desk.matrix(SIZE, SIZE, turn) for _ in a]
    info = desk.vector(COUNT, 1, np.full(COUNT, 9), "int32")
    cublas.matinv_batched(desk.handle, desk.batch(a), desk.batch(c), info.at)
    desk.check(info, np.zeros(COUNT), 0)
    for item, made in zip(a, c, strict=True):
        inverse = desk.read(made)
        near(item.value @ inverse, np.eye(SIZE), item.size @ np.abs(inverse), UNIT[desk.dtype], SIZE)


@case("{}geqrfBatched", shape=((20, 7), (7, 20)))
def geqrf(desk: Desk, shape: tuple[int, int]) -> None:
    """QR of what is stored by columns: R and the reflections give the matrix back."""
    rows, columns = shape
    a = [desk.matrix(rows, columns, "T", well_conditioned(desk, rows, columns)) for _ in range(COUNT)]
    tau = [desk.vector(7) for _ in a]
    cublas.geqrf_batched(desk.handle, desk.batch(a), desk.batch(tau))
    for item, factors in zip(a, tau, strict=True):
        packed, taus = desk.read(item), desk.read(factors)
        q = np.eye(rows, dtype=np.complex128)
        for k in range(7):
            v = np.concatenate([np.zeros(k), [1], packed[k + 1 :, k]])
            q = q - taus[k] * np.outer(q @ v, v.conj())
        size = np.linalg.norm(item.value, axis=0) + np.zeros((rows, 1))  # reflections keep columns' lengths
        near(q @ np.triu(packed), item.value, size, UNIT[desk.dtype], rows + columns)


@case("{}gelsBatched", told=TWO)
def gels(desk: Desk, told: bool) -> None:
    """Least squares: what is left over has no part in the columns."""
    a = [desk.matrix(20, 7, "T", well_conditioned(desk, 20, 7)) for _ in range(COUNT)]
    c = [desk.matrix(20, 2, "T") for _ in a]
    info = desk.vector(COUNT, 1, np.full(COUNT, 9), "int32") if told else None
    cublas.gels_batched(desk.handle, desk.batch(a), desk.batch(c), info and info.at)
    if info:
        desk.check(info, np.zeros(COUNT), 0)
    for item, given in zip(a, c, strict=True):
        x = desk.read(given)[:7]
        left = given.value - item.value @ x
        size = item.size.T @ (given.size + item.size @ np.abs(x))
        near(item.value.conj().T @ left, np.zeros((7, 2)), size, UNIT[desk.dtype], 20)
