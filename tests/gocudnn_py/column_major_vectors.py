"""What cuBLAS's functions of vectors, and of matrices with vectors, do to column-major memory."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from gocudnn_py.dtypes import numpy_dtype
from tests.gocudnn_py.column_major import (
    ColumnMajor,
    does,
    full,
    inside,
    matrix,
    put,
    stored_triangle,
    triangular,
    turned,
    vector,
    view,
    wide,
)


def x_of(c: SimpleNamespace) -> Any:
    return vector(c.x, c.dtype, c.n, c.incx)


def y_of(c: SimpleNamespace) -> Any:
    return vector(c.y, c.dtype, c.n, c.incy)


def magnitude(x: Any) -> Any:
    return np.abs(wide(x).real) + np.abs(wide(x).imag)


@does("axpy", "AxpyEx")
def axpy(library: ColumnMajor, c: SimpleNamespace) -> None:
    alpha = library.scalar(c.alpha, numpy_dtype(c.alphaType) if c.stem == "AxpyEx" else c.dtype)
    put(y_of(c), alpha * wide(x_of(c)) + wide(y_of(c)))


@does("dot", "dotu", "dotc", "DotEx", "DotcEx")
def dot(library: ColumnMajor, c: SimpleNamespace) -> None:
    x = wide(x_of(c)).conj() if c.stem in ("dotc", "DotcEx") else wide(x_of(c))
    put(view(c.result, c.dtype, (1,), (1,)), x @ wide(y_of(c)))


@does("nrm2", "Nrm2Ex")
def nrm2(library: ColumnMajor, c: SimpleNamespace) -> None:
    put(view(c.result, c.real, (1,), (1,)), np.sqrt(np.sum(np.abs(wide(x_of(c))) ** 2)))


@does("asum", "AsumEx")
def asum(library: ColumnMajor, c: SimpleNamespace) -> None:
    put(view(c.result, c.real, (1,), (1,)), magnitude(x_of(c)).sum())


@does("amax", "IamaxEx", "amin", "IaminEx")
def amax(library: ColumnMajor, c: SimpleNamespace) -> None:
    pick = np.argmax if "amax" in c.stem else np.argmin
    view(c.result, c.index, (1,), (1,))[0] = pick(magnitude(x_of(c))) + 1


@does("scal", "ScalEx")
def scal(library: ColumnMajor, c: SimpleNamespace) -> None:
    alpha = library.scalar(c.alpha, numpy_dtype(c.alphaType) if c.stem == "ScalEx" else c.factor)
    put(x_of(c), alpha * wide(x_of(c)))


@does("copy", "CopyEx")
def copy(library: ColumnMajor, c: SimpleNamespace) -> None:
    y_of(c)[...] = x_of(c)


@does("swap", "SwapEx")
def swap(library: ColumnMajor, c: SimpleNamespace) -> None:
    x, y = x_of(c), y_of(c)
    x[...], y[...] = y.copy(), x.copy()


@does("rot", "RotEx")
def rot(library: ColumnMajor, c: SimpleNamespace) -> None:
    types = (c.dtype, c.dtype) if c.stem == "RotEx" else (c.real, c.factor)
    cosine, sine = library.scalar(c.c, types[0]), library.scalar(c.s, types[1])
    x, y = wide(x_of(c)), wide(y_of(c))
    put(x_of(c), cosine * x + sine * y)
    put(y_of(c), cosine * y - np.conj(sine) * x)


@does("rotg", "RotgEx")
def rotg(library: ColumnMajor, c: SimpleNamespace) -> None:
    a, b = (view(place, c.dtype, (1,), (1,)) for place in (c.a, c.b))
    length = np.hypot(abs(wide(a)[0]), abs(wide(b)[0]))
    r = length * wide(a)[0] / abs(wide(a)[0])
    put(view(c.c, c.real, (1,), (1,)), abs(wide(a)[0]) / length)
    put(view(c.s, c.dtype, (1,), (1,)), wide(b)[0].conj() * wide(a)[0] / abs(wide(a)[0]) / length)
    put(a, r)


@does("rotm", "RotmEx")
def rotm(library: ColumnMajor, c: SimpleNamespace) -> None:
    flag, h11, h21, h12, h22 = wide(view(c.param, c.dtype, (5,), (1,)))
    if flag == 0:
        h11 = h22 = 1
    elif flag == 1:
        h12, h21 = 1, -1
    elif flag == -2:
        h11, h12, h21, h22 = 1, 0, 0, 1
    x, y = wide(x_of(c)), wide(y_of(c))
    put(x_of(c), h11 * x + h12 * y)
    put(y_of(c), h21 * x + h22 * y)


@does("rotmg", "RotmgEx")
def rotmg(library: ColumnMajor, c: SimpleNamespace) -> None:
    places = [view(place, c.dtype, (1,), (1,)) for place in (c.d1, c.d2, c.x1, c.y1)]
    d1, d2, x1, y1 = (wide(place)[0] for place in places)
    if abs(d1 * x1 * x1) > abs(d2 * y1 * y1):
        found = [0, 0, -y1 / x1, d2 * y1 / (d1 * x1), 0]
        u = 1 - found[2] * found[3]
        values = d1 / u, d2 / u, x1 * u
    else:
        found = [1, d1 * x1 / (d2 * y1), 0, 0, x1 / y1]
        u = 1 + found[1] * found[4]
        values = d2 / u, d1 / u, y1 * u
    for place, value in zip(places, values, strict=False):
        put(place, value)
    put(view(c.param, c.dtype, (5,), (1,)), found)


def onto(library: ColumnMajor, c: SimpleNamespace, product: Any, target: Any, beta_type: Any = None) -> None:
    """target = alpha product + beta target; a beta of 0 must not read it."""
    beta = library.scalar(c.beta, beta_type or c.dtype)
    put(target, library.scalar(c.alpha, c.dtype) * product + (beta * wide(target) if beta else 0))


@does("gemv")
def gemv(library: ColumnMajor, c: SimpleNamespace) -> None:
    a = turned(matrix(c.A, c.dtype, c.m, c.n, c.lda), c.trans)
    x, y = vector(c.x, c.dtype, a.shape[1], c.incx), vector(c.y, c.dtype, a.shape[0], c.incy)
    onto(library, c, a @ wide(x), y)


@does("gbmv")
def gbmv(library: ColumnMajor, c: SimpleNamespace) -> None:
    band = matrix(c.A, c.dtype, c.kl + c.ku + 1, c.n, c.lda)
    a = np.zeros((c.m, c.n), c.dtype)
    for i in range(c.m):
        for j in range(max(0, i - c.kl), min(c.n, i + c.ku + 1)):
            a[i, j] = band[c.ku + i - j, j]
    a = turned(a, c.trans)
    x, y = vector(c.x, c.dtype, a.shape[1], c.incx), vector(c.y, c.dtype, a.shape[0], c.incy)
    onto(library, c, a @ wide(x), y)


@does("ger", "geru", "gerc")
def ger(library: ColumnMajor, c: SimpleNamespace) -> None:
    x, y = vector(c.x, c.dtype, c.m, c.incx), wide(vector(c.y, c.dtype, c.n, c.incy))
    a = matrix(c.A, c.dtype, c.m, c.n, c.lda)
    outer = np.outer(wide(x), y.conj() if c.stem == "gerc" else y)
    put(a, library.scalar(c.alpha, c.dtype) * outer + wide(a))


@does("symv", "hemv", "sbmv", "hbmv", "spmv", "hpmv")
def symv(library: ColumnMajor, c: SimpleNamespace) -> None:
    a = full(stored_triangle(c, c.stem[1]), c.stem[0])
    onto(library, c, (a if np.dtype(c.dtype).kind == "c" else a.real) @ wide(x_of(c)), y_of(c))


@does("syr", "her", "spr", "hpr", "syr2", "her2", "spr2", "hpr2")
def syr(library: ColumnMajor, c: SimpleNamespace) -> None:
    hermitian, two = c.stem[0] == "h", c.stem.endswith("2")
    alpha = library.scalar(c.alpha, c.real if hermitian and not two else c.dtype)
    x = wide(x_of(c))
    if two:
        y = wide(y_of(c))
        update = alpha * np.outer(x, y.conj() if hermitian else y)
        update = update + (update.conj().T if hermitian else update.T)
    else:
        update = alpha * np.outer(x, x.conj() if hermitian else x)
    columns, rows = np.nonzero(inside(c.n, c.uplo).T)
    if c.stem[1] == "p":
        flat = view(c.AP, c.dtype, (c.n * (c.n + 1) // 2,), (1,))
        put(flat, wide(flat) + update[rows, columns])
        return
    a = matrix(c.A, c.dtype, c.n, c.n, c.lda)
    put(a, np.where(inside(c.n, c.uplo), wide(a) + update, wide(a)))


@does("trmv", "tbmv", "tpmv", "trsv", "tbsv", "tpsv")
def trmv(library: ColumnMajor, c: SimpleNamespace) -> None:
    a = triangular(c, c.stem[1])
    put(x_of(c), np.linalg.solve(a, wide(x_of(c))) if c.stem[2] == "s" else a @ wide(x_of(c)))


TRANSFERS = [f"{way}{what}{when}" for way in ("Set", "Get") for what in ("Vector", "Matrix") for when in ("Async", "")]


@does(*TRANSFERS)
def transfer(library: ColumnMajor, c: SimpleNamespace) -> None:
    raw = np.dtype((np.void, c.elemSize))
    if "Vector" in c.stem:
        source, target = (value for name, value in vars(c).items() if name in ("x", "y", "hostPtr", "devicePtr"))
        vector(target, raw, c.n, c.incy)[...] = vector(source, raw, c.n, c.incx)
    else:
        matrix(c.B, raw, c.rows, c.cols, c.ldb)[...] = matrix(c.A, raw, c.rows, c.cols, c.lda)
