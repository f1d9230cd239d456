"""Cases of cuBLASLt: products with what comes after them, narrow types, and transforms."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from gocudnn_py.cublaslt import (
    After,
    Aux,
    Matmul,
    MatmulMatrixScale,
    Matrix,
    Scale,
    Scales,
    Tiles,
    aux_nbytes,
    aux_pitch,
    transform,
)
from gocudnn_py.dtypes import numpy_dtype
from tests.gocudnn_py import blas_cases
from tests.gocudnn_py.blas_cases import (
    FOUR,
    HALF,
    ROUNDINGS,
    UNIT,
    Array,
    Case,
    Desk,
    Item,
    near,
    widened,
)
from tests.gocudnn_py.blas_level2 import alpha_of, beta_of
from tests.gocudnn_py.blas_level3 import EVERY_TURN, product_skips
from tests.gocudnn_py.column_major_lt import gelu, gelu_gradient

LT_CASES: list[Case] = []
case = partial(blas_cases.case, lambda dtype, **_: ("cublasLtMatmulAlgoGetHeuristic", "cublasLtMatmul"), cases=LT_CASES)
transforming = partial(blas_cases.case, lambda dtype, **_: ("cublasLtMatrixTransform",), cases=LT_CASES)
ROWS, INNER, COLUMNS = 32, 48, 64
TANH = 2.0**-10  # tanh of the hardware is right to 11 bits
FLOAT8_SUMS = 2.0**-13  # tensor cores keep 14 bits of a sum of float8 products, unless it is moved to float32 in time
E4M3, E5M2 = "float8_e4m3fn", "float8_e5m2"


def run(desk: Desk, a: Item, b: Item, c: Item, **ways: Any) -> None:
    Matmul(desk.arena.light, a.at, b.at, c.at, workspace=desk.arena.scratch, **ways)(desk.arena.stream)


def factors(desk: Desk, turns: tuple[str, str] = ("", "")) -> tuple[Item, Item, Item]:
    """a, b and c with rows a multiple of 8 apart, as fast kernels want them."""
    a, b = desk.matrix(ROWS, INNER, turns[0], gap=8), desk.matrix(INNER, COLUMNS, turns[1], gap=8)
    return a, b, desk.matrix(ROWS, COLUMNS, gap=8)


@case(FOUR + HALF, turns=EVERY_TURN, addend=("none", "own", "other"), skip=product_skips)
def matmul(desk: Desk, turns: tuple[str, str], addend: str) -> None:
    a, b, c = factors(desk, turns)
    other = desk.matrix(ROWS, COLUMNS, gap=8)
    alpha, beta = alpha_of(desk), 0.0 if addend == "none" else beta_of(desk)
    added = {"none": c, "own": c, "other": other}[addend]
    run(desk, a, b, c, alpha=alpha, beta=beta, addend=other.at if addend == "other" else None)
    size = abs(alpha) * (a.size @ b.size) + abs(beta) * added.size
    desk.check(c, alpha * (a.value @ b.value) + beta * added.value, size)


@case(FOUR + HALF)
def matmul_with_scalars_on_the_device(desk: Desk) -> None:
    a, b, c = factors(desk)
    kind = "float32" if desk.dtype in HALF else None
    alpha, beta = (desk.scalar(value, "device", kind) for value in (alpha_of(desk), beta_of(desk)))
    run(desk, a, b, c, alpha=alpha, beta=beta)
    size = abs(alpha_of(desk)) * (a.size @ b.size) + abs(beta_of(desk)) * c.size
    desk.check(c, alpha_of(desk) * (a.value @ b.value) + beta_of(desk) * c.value, size)


@case(("float32",), math=("tf32", "bfloat16", "float16", "pedantic"))
def matmul_by_other_math(desk: Desk, math: str) -> None:
    a, b, c = factors(desk)
    run(desk, a, b, c, math=math)
    unit = {"tf32": 2.0**-11, "bfloat16": UNIT["bfloat16"], "float16": UNIT["float16"], "pedantic": UNIT["float32"]}
    near(desk.read(c).real, a.value @ b.value, a.size @ b.size, unit[math])


@case(HALF)
def matmul_into_float32(desk: Desk) -> None:
    a, b, _ = factors(desk)
    c = desk.matrix(ROWS, COLUMNS, dtype="float32", gap=8)
    run(desk, a, b, c)
    desk.check(c, a.value @ b.value, a.size @ b.size)


@case(FOUR + HALF, biased=(False, True), skip=lambda dtype, biased: biased and dtype not in ("float32", *HALF))
def matmul_of_batches(desk: Desk, biased: bool) -> None:
    count, strides = 3, (ROWS * INNER, 0, ROWS * (COLUMNS + 8))
    a = desk.series(Matrix(0, ROWS, INNER, desk.dtype), count, strides[0])
    b = desk.matrix(INNER, COLUMNS)
    c = desk.series(Matrix(0, ROWS, COLUMNS, desk.dtype, COLUMNS + 8), count, strides[2])
    bias = desk.vector(count * COLUMNS)
    after = After(bias=bias.at.place, bias_stride=COLUMNS) if biased else None
    run(desk, a, b, c, batch=count, strides=strides, after=after)
    added = bias.value.reshape(count, 1, COLUMNS) if biased else np.zeros((count, 1, 1))
    desk.check(c, a.value @ b.value + added, a.size @ b.size + np.abs(added))


def linear(desk: Desk, biased: bool) -> tuple[tuple[Item, Item, Item], Any, Array, Array]:
    """Operands, a bias, what comes out of them before the activation, and its absolute values."""
    operands = factors(desk)
    bias = desk.vector(COLUMNS)
    added = bias.value if biased else np.zeros(COLUMNS)
    a, b, _ = operands
    return operands, bias.at if biased else None, a.value @ b.value + added, a.size @ b.size + np.abs(added)


@case(
    ("float32", *HALF),
    biased=(False, True),
    activation=(None, "relu", "gelu"),
    kept=(False, True),
    skip=lambda dtype, activation, kept, **_: kept and (activation is None or dtype == "float32"),
)
def matmul_with_epilogue(desk: Desk, biased: bool, activation: Any, kept: bool) -> None:
    operands, bias, right, size = linear(desk, biased)
    aux = aux_of(desk, operands[2], activation) if kept else None
    run(desk, *operands, after=After(bias=bias, activation=activation, aux=aux))
    c, unit = operands[2], UNIT[desk.dtype]
    if activation == "gelu":
        within = 1.2 * size + TANH / (ROUNDINGS * unit) * np.abs(right)  # gelu is nowhere steeper than 1.13
        near(desk.read(c).real, gelu(right), within, unit)
    else:
        desk.check(c, np.maximum(right, 0) if activation else right, size)
    if aux is not None and activation == "gelu":
        kept_input = desk.arena.get(aux.place, np.empty(ROWS * aux.pitch, numpy_dtype(desk.dtype)))
        near(widened(kept_input).reshape(ROWS, -1)[:, :COLUMNS], right, size, unit)


def aux_of(desk: Desk, c: Item, activation: Any) -> Aux:
    return Aux(desk.arena.put(np.zeros(aux_nbytes(activation, c.at), np.uint8)), aux_pitch(activation, c.at))


@case(HALF, activation=("relu", "gelu"), summed=(False, True))
def gradient_of_activation(desk: Desk, activation: Any, summed: bool) -> None:
    """dx = (dy w) f'(x), where a product before has kept what f' depends on, and the sums of its columns."""
    operands, _, x, size = linear(desk, False)
    aux = aux_of(desk, operands[2], activation)
    run(desk, *operands, after=After(activation=activation, aux=aux))
    dy, w, dx = desk.matrix(ROWS, INNER, gap=8), desk.matrix(INNER, COLUMNS, gap=8), desk.matrix(ROWS, COLUMNS, gap=8)
    sums = desk.vector(COLUMNS)
    after = After(activation=activation, aux=aux, gradient=True, bias_gradient=sums.at if summed else None)
    run(desk, dy, w, dx, after=after)
    unit = UNIT[desk.dtype]
    slopes = (x > 0) * 1.0 if activation == "relu" else gelu_gradient(x)
    right, error = (dy.value @ w.value) * slopes, ROUNDINGS * unit * (dy.size @ w.size) * 1.2
    if activation == "relu":  # a sign may turn out either way where rounding decides it
        unsure = np.abs(x) <= ROUNDINGS * unit * size
        error = np.where(unsure, np.abs(dy.value @ w.value) + error, error)
    else:  # x is kept rounded; the slope changes no faster than 0.8 times as x does
        error = error + np.abs(dy.value @ w.value) * (2 * TANH + ROUNDINGS * unit * size)
    found = desk.read(dx).real
    assert (np.abs(found - right) <= error).all(), np.abs(found - right).max()
    if summed:
        near(desk.read(sums).real, found.sum(0), np.abs(found).sum(0) + error.sum(0), unit)


@case(HALF, of=("a", "b"))
def gradient_of_bias(desk: Desk, of: Any) -> None:
    """dw = x^T dy, and beside it the sums of a factor over the samples."""
    x, dy = desk.matrix(INNER, ROWS, gap=8), desk.matrix(INNER, COLUMNS, gap=8)
    dw = desk.matrix(ROWS, COLUMNS, gap=8)
    sums = desk.vector(ROWS if of == "a" else COLUMNS)
    turned = x._replace(at=x.at.T, value=x.value.T, spots=x.spots.T)
    run(desk, turned, dy, dw, after=After(bias_gradient=sums.at, sums_of=of))
    desk.check(dw, x.value.T @ dy.value, x.size.T @ dy.size)
    summed = x if of == "a" else dy
    desk.check(sums, summed.value.sum(0), summed.size.sum(0))


def number(desk: Desk, value: float) -> Item:
    return desk.vector(1, 1, np.array([value]), "float32")


def float8(desk: Desk, second: str) -> tuple[Item, Item]:
    """Factors whose inner axis lies in one piece."""
    return desk.matrix(64, 96, dtype=E4M3, gap=16), desk.matrix(96, 128, "T", dtype=second, gap=16)


@case(
    ("bfloat16", "float16", "float32"),
    second=(E4M3, E5M2),
    scaled=(False, True),
    biased=(False, True),
    fast=(False, True),
)
def float8_product(desk: Desk, second: str, scaled: bool, biased: bool, fast: bool) -> None:
    a, b = float8(desk, second)
    c = desk.matrix(64, 128, gap=16)
    scales = Scales(a=number(desk, 0.5).at.place, b=number(desk, 4.0).at.place) if scaled else None
    bias = desk.vector(128, dtype="bfloat16" if desk.dtype == "float32" else None)
    run(desk, a, b, c, scales=scales, bias=bias.at if biased else None, fast_sums=fast)
    factor, added = 2.0 if scaled else 1.0, bias.value if biased else 0
    right, size = factor * (a.value @ b.value) + added, factor * (a.size @ b.size) + np.abs(added)
    near(desk.read(c).real, right, size, max(UNIT[desk.dtype], FLOAT8_SUMS))


@case((E4M3,), largest=(False, True))
def float8_result(desk: Desk, largest: bool) -> None:
    a, b = float8(desk, E4M3)
    c, amax = desk.matrix(64, 128, gap=16), number(desk, 0.0)
    scales = Scales(result=number(desk, 2.0).at.place, amax=amax.at.place if largest else None)
    run(desk, a, b, c, scales=scales)
    product, sums = a.value @ b.value, ROUNDINGS * FLOAT8_SUMS * (a.size @ b.size)
    right = np.clip(2 * product, -448, 448)
    rounding = UNIT[E4M3] * (np.abs(right) + 2 * sums) + 2.0**-10  # half a step, of the smallest numbers too
    assert (np.abs(desk.read(c).real - right) <= 2 * sums + rounding).all()
    if largest:
        assert abs(desk.read(amax)[0].real - np.abs(product).max()) <= sums.max()


@case(("bfloat16",))
def float8_scaled_by_rows_and_columns(desk: Desk) -> None:
    a, b = float8(desk, E4M3)
    c = desk.matrix(64, 128, gap=16)
    rows, columns = (desk.vector(size, value=2.0 ** (np.arange(size) % 5 - 2), dtype="float32") for size in (64, 128))
    mode = MatmulMatrixScale.OUTER_VEC_32F
    run(desk, a, b, c, scales=Scales(a=Scale(rows.at.place, mode), b=Scale(columns.at.place, mode)))
    weight = np.outer(rows.value, columns.value)
    near(desk.read(c).real, weight * (a.value @ b.value), weight * (a.size @ b.size), UNIT["bfloat16"])


@case(("int8",))
def int8_product(desk: Desk) -> None:
    a, b = desk.matrix(64, 96, gap=16), desk.matrix(96, 128, "T", gap=16)
    c = desk.matrix(64, 128, dtype="int32", gap=16)
    run(desk, a, b, c, alpha=2, beta=3)
    desk.check(c, 2 * (a.value @ b.value) + 3 * c.value, 0)


@case(("int8",))
def int8_result(desk: Desk) -> None:
    """Scaled by a float, rounded to the next whole number, and no larger than int8 holds."""
    a, b = desk.matrix(64, 96, gap=16), desk.matrix(96, 128, "T", gap=16)
    c = desk.matrix(64, 128, gap=16)
    run(desk, a, b, c, alpha=0.25)
    right = np.clip(0.25 * (a.value @ b.value), -128, 127)
    assert np.abs(desk.read(c).real - right).max() <= 0.5


TRANSFORMED = ("float32", *HALF, "int8", "int32")


@transforming(TRANSFORMED, turns=(("", ""), ("T", ""), ("", "T"), ("T", "T")), both=(False, True))
def transformed(desk: Desk, turns: tuple[str, str], both: bool) -> None:
    a, b = desk.matrix(ROWS, COLUMNS, turns[0], gap=8), desk.matrix(ROWS, COLUMNS, turns[1], gap=8)
    c = desk.matrix(ROWS, COLUMNS, gap=8)
    more = {"b": b.at, "beta": 3} if both else {}
    transform(desk.arena.light, desk.arena.stream, a.at, c.at, alpha=2, **more)
    right, size = 2 * a.value, 2 * a.size
    if both:
        right, size = right + 3 * b.value, size + 3 * b.size
    desk.check(c, right, size)


@transforming(("int8",))
def brought_into_tiles(desk: Desk) -> None:
    """Into tiles of 32 rows and back; a tile's element lies where the library's rule says."""
    a, back = desk.matrix(40, 48, gap=16), desk.matrix(40, 48, gap=16)
    tiles = Tiles(0, 40, 48)
    place = desk.arena.put(np.zeros(tiles.elements, np.int8))
    there = Tiles(place, 40, 48)
    transform(desk.arena.light, desk.arena.stream, a.at, there)
    transform(desk.arena.light, desk.arena.stream, there, back.at)
    desk.check(back, a.value, 0)
    memory = desk.arena.get(place, np.empty(tiles.elements, np.int8))
    i, j = np.indices((40, 48))
    assert (memory[i // 32 * tiles.pitch + j * 32 + i % 32] == a.value).all()
