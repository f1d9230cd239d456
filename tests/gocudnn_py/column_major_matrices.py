"""What cuBLAS's functions of matrices do to column-major memory; `c` holds their C arguments by name."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from gocudnn_py._abi.cublas import ComputeType, SideMode
from gocudnn_py.dtypes import numpy_dtype
from tests.gocudnn_py.column_major import (
    ColumnMajor,
    does,
    full,
    inside,
    matrix,
    members,
    put,
    triangle,
    triangular,
    turned,
    vector,
    view,
    wide,
)
from tests.gocudnn_py.column_major_vectors import gemv, onto


@does("gemm", "gemm3m", "GemmEx", "gemmEx", "gemm3mEx")
def gemm(library: ColumnMajor, c: SimpleNamespace) -> None:
    types = [c.dtype] * 4
    if c.stem.endswith("Ex"):
        types = [numpy_dtype(code) for code in (c.Atype, c.Btype, c.Ctype)]
        types.append(scale_dtype(c.computeType, types[2]) if c.stem == "GemmEx" else c.dtype)
    product(library, c, types, [c.A, c.B, c.C])


def scale_dtype(compute: int, result: Any) -> Any:
    if result.kind == "i" and compute == ComputeType.COMPUTE_32I:
        return np.dtype(np.int32)
    if compute == ComputeType.COMPUTE_16F:
        return np.dtype(np.float16)
    return result if result.kind == "c" or result == np.float64 else np.dtype(np.float32)


def product(library: ColumnMajor, c: SimpleNamespace, types: list[Any], places: list[int]) -> None:
    shapes = [(c.k, c.m) if c.transa else (c.m, c.k), (c.n, c.k) if c.transb else (c.k, c.n), (c.m, c.n)]
    a, b, target = (
        matrix(place, dtype, *shape, pitch)
        for place, dtype, shape, pitch in zip(places, types, shapes, (c.lda, c.ldb, c.ldc), strict=False)
    )
    alpha, beta = library.scalar(c.alpha, types[3]), library.scalar(c.beta, types[3])
    put(target, alpha * (turned(a, c.transa) @ turned(b, c.transb)) + (beta * wide(target) if beta else 0))


@does(
    "gemmBatched",
    "gemm3mBatched",
    "gemmStridedBatched",
    "gemm3mStridedBatched",
    "GemmBatchedEx",
    "GemmStridedBatchedEx",
)
def gemm_batched(library: ColumnMajor, c: SimpleNamespace) -> None:
    c.types = [c.dtype] * 4
    if c.stem.endswith("Ex"):
        c.types = [numpy_dtype(code) for code in (c.Atype, c.Btype, c.Ctype)]
        c.types.append(scale_dtype(c.computeType, c.types[2]))
    for index in range(c.batchCount):
        product(library, c, c.types, members(c, index, "A", "B", "C"))


@does("gemmGroupedBatched", "GemmGroupedBatchedEx")
def gemm_grouped(library: ColumnMajor, c: SimpleNamespace) -> None:
    types = [numpy_dtype(c.Atype) if c.stem.endswith("Ex") else np.dtype(c.dtype)] * 3
    types.append(types[0] if types[0] == np.float64 else np.dtype(np.float32))
    start = 0

    def of(name: str, group: int, dtype: Any = np.int32) -> Any:
        return np.frombuffer(getattr(c, name), dtype, c.group_count)[group]

    for group in range(c.group_count):
        size = types[3].itemsize
        one = SimpleNamespace(
            **{name: int(of(f"{name}_array", group)) for name in ("transa", "transb")},
            **{name: int(of(f"{name}_array", group, c.index)) for name in ("m", "n", "k", "lda", "ldb", "ldc")},
            alpha=c.alpha_array[group * size : (group + 1) * size],
            beta=c.beta_array[group * size : (group + 1) * size],
        )
        count = int(of("group_size", group, c.index))
        for index in range(start, start + count):
            product(library, one, types, members(c, index, "A", "B", "C"))
        start += count


@does("gemvBatched", "gemvStridedBatched")
def gemv_batched(library: ColumnMajor, c: SimpleNamespace) -> None:
    for index in range(c.batchCount):
        here = SimpleNamespace(**vars(c))
        here.A, here.x, here.y = members(c, index, "A", "x", "y")
        gemv(library, here)


@does("symm", "hemm")
def symm(library: ColumnMajor, c: SimpleNamespace) -> None:
    left = c.side == SideMode.LEFT
    size = c.m if left else c.n
    half = triangle(wide(matrix(c.A, c.dtype, size, size, c.lda)), c.uplo)
    a, b = full(half, c.stem[0]), wide(matrix(c.B, c.dtype, c.m, c.n, c.ldb))
    onto(library, c, a @ b if left else b @ a, matrix(c.C, c.dtype, c.m, c.n, c.ldc))


@does("Uint8gemmBias")
def bytes_with_offsets(library: ColumnMajor, c: SimpleNamespace) -> None:
    a, b = matrix(c.A, c.dtype, c.m, c.k, c.lda), matrix(c.B, c.dtype, c.k, c.n, c.ldb)
    sums = (wide(a) - c.A_bias) @ (wide(b) - c.B_bias) + c.C_bias
    put(matrix(c.C, c.dtype, c.m, c.n, c.ldc), np.clip(np.floor(sums * c.C_mult / 2**c.C_shift + 0.5), 0, 255))


ONE_FACTOR = ("syrk", "syrkEx", "syrk3mEx", "herk", "herkEx", "herk3mEx")


@does(*ONE_FACTOR, "syr2k", "her2k", "syrkx", "herkx")
def syrk(library: ColumnMajor, c: SimpleNamespace) -> None:
    hermitian = c.stem[0] == "h"
    assert c.trans in ((0, 2) if hermitian else (0, 1))
    shape = (c.k, c.n) if c.trans else (c.n, c.k)
    a = turned(matrix(c.A, c.dtype, *shape, c.lda), c.trans)
    b = turned(matrix(c.B, c.dtype, *shape, c.ldb), c.trans) if hasattr(c, "B") else a
    alpha = library.scalar(c.alpha, c.real if hermitian and c.stem in ONE_FACTOR else c.dtype)
    beta = library.scalar(c.beta, c.real if hermitian else c.dtype)
    update = alpha * (a @ (b.conj().T if hermitian else b.T))
    if c.stem.endswith("2k"):
        update = update + (update.conj().T if hermitian else update.T)
    target = matrix(c.C, c.dtype, c.n, c.n, c.ldc)
    put(target, np.where(inside(c.n, c.uplo), update + (beta * wide(target) if beta else 0), wide(target)))


@does("trmm", "trsm")
def trmm(library: ColumnMajor, c: SimpleNamespace) -> None:
    left = c.side == SideMode.LEFT
    square = SimpleNamespace(**vars(c))
    square.n = c.m if left else c.n
    a, b = triangular(square, "r"), matrix(c.B, c.dtype, c.m, c.n, c.ldb)
    alpha = library.scalar(c.alpha, c.dtype)
    if c.stem == "trmm":
        put(matrix(c.C, c.dtype, c.m, c.n, c.ldc), alpha * (a @ wide(b) if left else wide(b) @ a))
    else:
        put(b, np.linalg.solve(a, alpha * wide(b)) if left else np.linalg.solve(a.T, alpha * wide(b).T).T)


@does("trsmBatched")
def trsm_batched(library: ColumnMajor, c: SimpleNamespace) -> None:
    for index in range(c.batchCount):
        here = SimpleNamespace(**vars(c))
        here.stem, here.A, here.B = "trsm", *members(c, index, "A", "B")
        trmm(library, here)


@does("geam")
def geam(library: ColumnMajor, c: SimpleNamespace) -> None:
    shapes = [(c.n, c.m) if trans else (c.m, c.n) for trans in (c.transa, c.transb)]
    a, b = matrix(c.A, c.dtype, *shapes[0], c.lda), matrix(c.B, c.dtype, *shapes[1], c.ldb)
    alpha, beta = library.scalar(c.alpha, c.dtype), library.scalar(c.beta, c.dtype)
    put(matrix(c.C, c.dtype, c.m, c.n, c.ldc), alpha * turned(a, c.transa) + beta * turned(b, c.transb))


@does("dgmm")
def dgmm(library: ColumnMajor, c: SimpleNamespace) -> None:
    left = c.mode == SideMode.LEFT
    x, a = wide(vector(c.x, c.dtype, c.m if left else c.n, c.incx)), wide(matrix(c.A, c.dtype, c.m, c.n, c.lda))
    put(matrix(c.C, c.dtype, c.m, c.n, c.ldc), x[:, None] * a if left else a * x)


@does("tpttr", "trttp")
def tpttr(library: ColumnMajor, c: SimpleNamespace) -> None:
    columns, rows = np.nonzero(inside(c.n, c.uplo).T)
    a, flat = matrix(c.A, c.dtype, c.n, c.n, c.lda), view(c.AP, c.dtype, (c.n * (c.n + 1) // 2,), (1,))
    if c.stem == "tpttr":
        a[rows, columns] = flat
    else:
        flat[...] = a[rows, columns]
