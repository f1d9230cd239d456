"""Cases of functions that have no name of their own in Python, called by C's on what is stored by columns."""

from __future__ import annotations

from typing import Any

import numpy as np

from gocudnn_py._abi.cublas import FillMode, Operation
from gocudnn_py._abi.cuda import CudaDataType
from gocudnn_py.dtypes import numpy_dtype
from tests.gocudnn_py.blas_cases import COMPLEX, FOUR, HALF, REAL, Desk, Item, case, widened
from tests.gocudnn_py.blas_level2 import TWO, WHERE, alpha_of, beta_of

ROWS, COLUMNS, INNER = 35, 27, 20


def by_name(dtype: str, name: str, **_: Any) -> tuple[str, ...]:
    return (name,)


def typed(item: Item) -> tuple[int, CudaDataType, int]:
    return item.at.address, item.at.code, item.at.pitch


@case(lambda dtype, **_: ("cublasAsumEx",), REAL, where=WHERE)
def typed_asum(desk: Desk, where: str) -> None:
    x, out = desk.vector(ROWS, 3), desk.out(where)
    code, right = x.at.code, np.sum(x.size)
    arguments = ROWS, x.at.address, code, 3
    given = desk.handle.result("cublasAsumEx", code, out and out.at, *arguments, after=(code, code))
    desk.check_number(given, out, right, right)


@case(
    by_name,
    ("float32", *HALF, "complex64"),
    name=("cublasSgemmEx", "cublasCgemmEx", "cublasCgemm3mEx"),
    skip=lambda dtype, name: (dtype in COMPLEX) == (name == "cublasSgemmEx"),
)
def typed_product(desk: Desk, name: str) -> None:
    a, b = desk.matrix(ROWS, INNER, "T"), desk.matrix(INNER, COLUMNS, "T")
    c, alpha, beta = desk.matrix(ROWS, COLUMNS, "T"), alpha_of(desk), beta_of(desk)
    scale = CudaDataType.C_32F if desk.dtype in COMPLEX else CudaDataType.R_32F
    one, two = desk.handle.scalars((scale, alpha), (scale, beta))
    how = Operation.N, Operation.N, ROWS, COLUMNS, INNER
    desk.handle.call(name, *how, one, *typed(a), *typed(b), two, *typed(c))
    size = abs(alpha) * (a.size @ b.size) + abs(beta) * c.size
    desk.check(c, alpha * (a.value @ b.value) + beta * c.value, size)


@case(
    by_name,
    ("complex64",),
    name=("cublasCsyrkEx", "cublasCsyrk3mEx", "cublasCherkEx", "cublasCherk3mEx"),
    lower=TWO,
)
def typed_update(desk: Desk, name: str, lower: bool) -> None:
    """Of a Hermitian result both factors are real."""
    hermitian = "herk" in name
    a, c = desk.matrix(ROWS, INNER, "T"), desk.half(ROWS, "he" if hermitian else "sy", lower, "T")
    alpha, beta = (0.5, -1.5) if hermitian else (alpha_of(desk), beta_of(desk))
    scale = CudaDataType.R_32F if hermitian else CudaDataType.C_32F
    one, two = desk.handle.scalars((scale, alpha), (scale, beta))
    how = FillMode.LOWER if lower else FillMode.UPPER, Operation.N, ROWS, INNER
    desk.handle.call(name, *how, one, *typed(a), two, *typed(c))
    right = alpha * (a.value @ (a.value.conj().T if hermitian else a.value.T))
    desk.check(c, right + beta * c.value, abs(alpha) * (a.size @ a.size.T) + abs(beta) * c.size)


@case(lambda dtype, **_: ("cublasUint8gemmBias",), ("uint8",))
def bytes_with_offsets(desk: Desk) -> None:
    """((a - 30) (b - 25) + 1500) 3 / 128, rounded to a whole number, and no less and no more than a byte holds."""
    a, b = (
        desk.matrix(*shape, "T", desk.random.integers(0, 64, shape).astype(np.float64))
        for shape in ((ROWS, INNER), (INNER, COLUMNS))
    )
    c, how = desk.matrix(ROWS, COLUMNS, "T", np.zeros((ROWS, COLUMNS))), [Operation.N] * 3
    places = a.at.address, 30, a.at.pitch, b.at.address, 25, b.at.pitch, c.at.address, 1500, c.at.pitch
    desk.handle.call("cublasUint8gemmBias", *how, ROWS, COLUMNS, INNER, *places, 3, 7)
    right = np.clip(((a.value - 30) @ (b.value - 25) + 1500) * 3 / 128, 0, 255)
    assert np.abs(desk.read(c).real - right).max() <= 0.5


@case(lambda dtype, **_: ("cublasSetVector", "cublasGetVector"), FOUR + HALF)
def vectors_on_the_default_stream(desk: Desk) -> None:
    x, there = desk.vector(ROWS, 3), desk.numbers(ROWS).astype(numpy_dtype(desk.dtype))
    back, size = np.zeros_like(there), there.itemsize
    desk.handle.stream.synchronize()
    desk.handle.call("cublasSetVector", ROWS, size, there.ctypes.data, 1, x.at.address, 3)
    desk.handle.call("cublasGetVector", ROWS, size, x.at.address, 3, back.ctypes.data, 1)
    assert (back == there).all()
    desk.check(x, widened(there), 0)


@case(lambda dtype, **_: ("cublasSetMatrix", "cublasGetMatrix"), FOUR + HALF)
def matrices_on_the_default_stream(desk: Desk) -> None:
    a, there = desk.matrix(ROWS, COLUMNS, "T"), desk.numbers(COLUMNS, ROWS).astype(numpy_dtype(desk.dtype))
    back, extent = np.zeros_like(there), (ROWS, COLUMNS, there.itemsize)
    desk.handle.stream.synchronize()
    desk.handle.call("cublasSetMatrix", *extent, there.ctypes.data, ROWS, a.at.address, a.at.pitch)
    desk.handle.call("cublasGetMatrix", *extent, a.at.address, a.at.pitch, back.ctypes.data, ROWS)
    assert (back == there).all()
    desk.check(a, widened(there).T, 0)
