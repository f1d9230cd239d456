"""Cases of matrices with vectors, in every storage, triangle and turn."""

from __future__ import annotations

from typing import Any

import numpy as np

from gocudnn_py import cublas
from gocudnn_py.cublas import Band
from tests.gocudnn_py.blas_cases import (
    COMPLEX,
    LETTERS,
    REAL,
    TURNS,
    UNIT,
    Desk,
    Item,
    case,
    letter,
    near,
    turned,
)

STORAGES = ("whole", "band", "packed")
WHERE = ("host", "device")
STRIDES = ((1, 1), (2, -3))
SIZE = 35
TWO = (True, False)


def alpha_of(desk: Desk) -> complex:
    return 0.5 - 0.25j if desk.dtype in COMPLEX else 0.5


def beta_of(desk: Desk) -> complex:
    return -1.5 + 0.5j if desk.dtype in COMPLEX else -1.5


def complex_turn(dtype: str, turn: str = "", **_: Any) -> bool:
    """Conjugates are of complex numbers."""
    return dtype in REAL and turn in ("H", "conjugate")


def stored(stem: str, whole: str, band: str, packed: str) -> Any:
    """C's name by storage, and another's where level 3 must do it."""
    names = {"whole": whole, "band": band, "packed": packed}
    return lambda dtype, storage="whole", **_: (f"cublas{LETTERS[dtype]}{names[storage]}{stem}_v2",)


def gemv_names(dtype: str, turn: str, **_: Any) -> tuple[str, ...]:
    return ("cublasGemmEx",) if turn == "H" and dtype in COMPLEX else (f"cublas{LETTERS[dtype]}gemv_v2",)


def gemv_skips(dtype: str, turn: str, strides: tuple[int, int], **_: Any) -> bool:
    return complex_turn(dtype, turn) or (turn == "H" and min(strides) < 0)


def times(desk: Desk, a: Item, strides: tuple[int, int]) -> tuple[Item, Item]:
    return desk.vector(a.value.shape[1], strides[0]), desk.vector(a.value.shape[0], strides[1])


def check_times(desk: Desk, a: Item, x: Item, y: Item, alpha: complex, beta: complex) -> None:
    size = abs(alpha) * (a.size @ x.size) + abs(beta) * y.size
    desk.check(y, alpha * (a.value @ x.value) + beta * y.value, size)


@case(gemv_names, turn=TURNS, strides=(*STRIDES, (3, 2)), where=WHERE, skip=gemv_skips)
def gemv(desk: Desk, turn: str, strides: tuple[int, int], where: str) -> None:
    a = desk.matrix(SIZE, 23, turn)
    x, y = times(desk, a, strides)
    alpha, beta = alpha_of(desk), beta_of(desk)
    cublas.gemv(desk.handle, a.at, x.at, y.at, alpha=desk.scalar(alpha, where), beta=desk.scalar(beta, where))
    check_times(desk, a, x, y, alpha, beta)


@case("{}gbmv_v2", turn=("", "T", "conjugate"), strides=STRIDES, where=WHERE, skip=complex_turn)
def gbmv(desk: Desk, turn: str, strides: tuple[int, int], where: str) -> None:
    i, j = np.indices((SIZE, 23))
    lying = np.where((i - j <= 5) & (j - i <= 2), desk.numbers(SIZE, 23), 0)
    value = {"": lying, "T": lying.T, "conjugate": lying.conj()}[turn]
    a = desk.put(turned(Band(0, SIZE, 23, 5, 2, desk.dtype, 10), turn), value)
    x, y = times(desk, a, strides)
    alpha, beta = alpha_of(desk), beta_of(desk)
    cublas.gemv(desk.handle, a.at, x.at, y.at, alpha=desk.scalar(alpha, where), beta=desk.scalar(beta, where))
    check_times(desk, a, x, y, alpha, beta)


def ger_names(dtype: str, turn: str, conjugate: bool, **_: Any) -> tuple[str, ...]:
    if conjugate and dtype in COMPLEX and turn == "":
        return ("cublasGemmEx",)
    kind = "" if dtype in REAL else "c" if conjugate else "u"
    return (f"cublas{LETTERS[dtype]}ger{kind}_v2",)


def ger_skips(dtype: str, turn: str, conjugate: bool, strides: tuple[int, int], where: str) -> bool:
    """What goes by level 3 takes a number, and vectors that are read from their beginning."""
    by_gemm = conjugate and dtype in COMPLEX and turn == ""
    return by_gemm and (min(strides) < 0 or where == "device")


@case(ger_names, turn=("", "T"), strides=(*STRIDES, (3, 2)), conjugate=TWO, where=WHERE, skip=ger_skips)
def ger(desk: Desk, turn: str, strides: tuple[int, int], conjugate: bool, where: str) -> None:
    x, y, a = desk.vector(SIZE, strides[0]), desk.vector(23, strides[1]), desk.matrix(SIZE, 23, turn)
    alpha = alpha_of(desk)
    cublas.ger(desk.handle, x.at, y.at, a.at, conjugate=conjugate, alpha=desk.scalar(alpha, where))
    outer = alpha * np.outer(x.value, y.value.conj() if conjugate else y.value)
    desk.check(a, outer + a.value, np.abs(outer) + a.size)


@case(
    stored("mv", "sy", "sb", "sp"),
    storage=STORAGES,
    lower=TWO,
    turn=("", "T"),
    strides=STRIDES,
    skip=lambda dtype, storage, **_: dtype in COMPLEX and storage != "whole",
)
def symv(desk: Desk, storage: str, lower: bool, turn: str, strides: tuple[int, int]) -> None:
    a = desk.half(SIZE, "sy", lower, turn, storage)
    x, y = times(desk, a, strides)
    cublas.symv(desk.handle, a.at, x.at, y.at, lower=lower, alpha=alpha_of(desk), beta=beta_of(desk))
    check_times(desk, a, x, y, alpha_of(desk), beta_of(desk))


def as_meant(turn: str) -> bool:
    return turn in ("T", "conjugate")


def hemv_names(dtype: str, storage: str, turn: str, **_: Any) -> Any:
    if as_meant(turn):
        return stored("mv", "he", "hb", "hp")(dtype, storage)
    return letter("{}hemm_v2")(dtype)


def by_level3(dtype: str, turn: str, strides: tuple[int, int] = (1, 1), storage: str = "whole", **_: Any) -> bool:
    """What level 3 must do needs a whole matrix, and vectors that are read from their beginning."""
    return not as_meant(turn) and (storage != "whole" or min(strides) < 0)


@case(hemv_names, COMPLEX, storage=STORAGES, lower=TWO, turn=TURNS, strides=(*STRIDES, (3, 2)), skip=by_level3)
def hemv(desk: Desk, storage: str, lower: bool, turn: str, strides: tuple[int, int]) -> None:
    a = desk.half(SIZE, "he", lower, turn, storage)
    x, y = times(desk, a, strides)
    cublas.hemv(desk.handle, a.at, x.at, y.at, lower=lower, alpha=alpha_of(desk), beta=beta_of(desk))
    check_times(desk, a, x, y, alpha_of(desk), beta_of(desk))


SQUARES = ("whole", "packed")


def no_complex_packed(dtype: str, storage: str, **_: Any) -> bool:
    return dtype in COMPLEX and storage != "whole"


@case(stored("r", "sy", "", "sp"), storage=SQUARES, lower=TWO, turn=("", "T"), where=WHERE, skip=no_complex_packed)
def syr(desk: Desk, storage: str, lower: bool, turn: str, where: str) -> None:
    x, a = desk.vector(SIZE, -2), desk.half(SIZE, "sy", lower, turn, storage)
    cublas.syr(desk.handle, x.at, a.at, lower=lower, alpha=desk.scalar(alpha_of(desk), where))
    outer = alpha_of(desk) * np.outer(x.value, x.value)
    desk.check(a, a.value + outer, a.size + np.abs(outer))


@case(stored("r2", "sy", "", "sp"), storage=SQUARES, lower=TWO, turn=("", "T"), where=WHERE, skip=no_complex_packed)
def syr2(desk: Desk, storage: str, lower: bool, turn: str, where: str) -> None:
    x, y, a = desk.vector(SIZE, -2), desk.vector(SIZE, 3), desk.half(SIZE, "sy", lower, turn, storage)
    cublas.syr2(desk.handle, x.at, y.at, a.at, lower=lower, alpha=desk.scalar(alpha_of(desk), where))
    outer = alpha_of(desk) * np.outer(x.value, y.value)
    desk.check(a, a.value + outer + outer.T, a.size + np.abs(outer) + np.abs(outer).T)


def her_names(stem: str, level3: str) -> Any:
    def names(dtype: str, storage: str, turn: str, **_: Any) -> Any:
        if as_meant(turn):
            return stored(stem, "he", "", "hp")(dtype, storage)
        return letter("{}" + level3 + "_v2")(dtype)

    return names


def her_skips(dtype: str, turn: str, where: str, storage: str, **_: Any) -> bool:
    return by_level3(dtype, turn, (1, 1), storage) or (not as_meant(turn) and where == "device")


@case(her_names("r", "herk"), COMPLEX, storage=SQUARES, lower=TWO, turn=TURNS, where=WHERE, skip=her_skips)
def her(desk: Desk, storage: str, lower: bool, turn: str, where: str) -> None:
    x, a = desk.vector(SIZE, 2), desk.half(SIZE, "he", lower, turn, storage)
    cublas.her(desk.handle, x.at, a.at, lower=lower, alpha=desk.scalar(0.5, where, desk.real))
    outer = 0.5 * np.outer(x.value, x.value.conj())
    desk.check(a, a.value + outer, a.size + np.abs(outer))


@case(her_names("r2", "her2k"), COMPLEX, storage=SQUARES, lower=TWO, turn=TURNS, where=WHERE, skip=her_skips)
def her2(desk: Desk, storage: str, lower: bool, turn: str, where: str) -> None:
    x, y, a = desk.vector(SIZE, 2), desk.vector(SIZE, 3), desk.half(SIZE, "he", lower, turn, storage)
    cublas.her2(desk.handle, x.at, y.at, a.at, lower=lower, alpha=desk.scalar(alpha_of(desk), where))
    outer = alpha_of(desk) * np.outer(x.value, y.value.conj())
    desk.check(a, a.value + outer + outer.conj().T, a.size + np.abs(outer) + np.abs(outer).T)


def triangle_names(stem: str) -> Any:
    def names(dtype: str, storage: str, turn: str, **_: Any) -> Any:
        if turn == "H" and dtype in COMPLEX:
            return letter("{}tr" + stem.replace("v", "m") + "_v2")(dtype)
        return stored(stem, "tr", "tb", "tp")(dtype, storage)

    return names


def triangle_skips(dtype: str, storage: str, turn: str, stride: int, **_: Any) -> bool:
    return complex_turn(dtype, turn) or (turn == "H" and (storage != "whole" or stride < 0))


TRIANGLES: dict[str, Any] = {"storage": STORAGES, "lower": TWO, "unit": TWO, "turn": TURNS, "stride": (2, -1)}


@case(triangle_names("mv"), **TRIANGLES, skip=triangle_skips)
def trmv(desk: Desk, storage: str, lower: bool, unit: bool, turn: str, stride: int) -> None:
    a, x = desk.half(SIZE, "tr", lower, turn, storage, unit), desk.vector(SIZE, stride)
    cublas.trmv(desk.handle, a.at, x.at, lower=lower, unit=unit)
    desk.check(x, a.value @ x.value, a.size @ x.size)


@case(triangle_names("sv"), **TRIANGLES, skip=triangle_skips)
def trsv(desk: Desk, storage: str, lower: bool, unit: bool, turn: str, stride: int) -> None:
    a, x = desk.half(SIZE, "tr", lower, turn, storage, unit), desk.vector(SIZE, stride)
    cublas.trsv(desk.handle, a.at, x.at, lower=lower, unit=unit)
    found = desk.read(x)
    near(a.value @ found, x.value, a.size @ np.abs(found), UNIT[desk.dtype], SIZE)
