"""The product of two matrices, of strided batches of them, and of mixed types.

The library is asked for the transpose of the result, c' = b' a', so the factors change places. `math` says how
products are summed (see `gocudnn_py.matrix.MATH`), whatever the handle's `math_mode`; "mode" leaves it to that, and
"3m" multiplies complex numbers with three real products instead of four.
"""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any, NamedTuple, TypeAlias

from gocudnn_py._abi.cublas import GemmAlgo
from gocudnn_py._abi.cuda import CudaDataType
from gocudnn_py.cublas.handle import Handle, common_type
from gocudnn_py.cublas.names import function
from gocudnn_py.cublas.storage import reading
from gocudnn_py.matrix import Matrix, Vector, compute_type, product_sizes, scale_type

RESULTS = {
    CudaDataType.R_16F: (CudaDataType.R_16F, CudaDataType.R_32F),
    CudaDataType.R_16BF: (CudaDataType.R_16BF, CudaDataType.R_32F),
    CudaDataType.R_8I: (CudaDataType.R_32I, CudaDataType.R_32F),
    CudaDataType.R_32F: (CudaDataType.R_32F,),
    CudaDataType.R_64F: (CudaDataType.R_64F,),
    CudaDataType.C_32F: (CudaDataType.C_32F,),
    CudaDataType.C_64F: (CudaDataType.C_64F,),
}
"""The types that a product of a type may have."""
BY_LETTER = {"mode": "{}gemm", "3m": "{}gemm3m"}
INT8_STEP = 4
Form: TypeAlias = tuple[str, CudaDataType, tuple[tuple[CudaDataType, ...], ...], tuple[int, ...]]


class Factors(NamedTuple):
    """What all kinds of the product share: the matrices that say the shapes, and where they lie."""

    shapes: tuple[Matrix, Matrix, Matrix]
    addresses: tuple[int, int, int]
    strides: tuple[tuple[int, ...], ...] = ((), (), ())
    batch: tuple[int, ...] = ()


def gemm(
    handle: Handle, a: Matrix, b: Matrix, c: Matrix, *, alpha: Any = 1.0, beta: Any = 0.0, math: str = "fma"
) -> None:
    """c = alpha a b + beta c on the handle's stream; float16, bfloat16 and int8 may have a wider result.

    Int8 needs rows a multiple of 4 apart (cublasGemmEx; with math "mode" cublasSgemm_v2, cublasDgemm_v2,
    cublasCgemm_v2, cublasZgemm_v2; "3m" cublasCgemm3m, cublasZgemm3m).
    """
    handle.hold("gemm", a, b, c)
    multiply(handle, "gemm", "", Factors((a, b, c), (a.address, b.address, c.address)), alpha, beta, math)


def gemm_strided_batched(
    handle: Handle,
    a: Matrix,
    b: Matrix,
    c: Matrix,
    batch: int,
    strides: tuple[int, int, int],
    *,
    alpha: Any = 1.0,
    beta: Any = 0.0,
    math: str = "fma",
) -> None:
    """The same for `batch` matrices each, `strides` elements apart in a, b and c; 0 uses one for all.

    (cublasGemmStridedBatchedEx; with math "mode" cublasSgemmStridedBatched, cublasDgemmStridedBatched,
    cublasCgemmStridedBatched, cublasZgemmStridedBatched; "3m" cublasCgemm3mStridedBatched.)
    """
    what = "gemm_strided_batched"
    handle.hold(what, a, b, c)
    _check_batch(what, batch, tuple(zip((a, b, c), strides, strict=True)), c.columns, (c.rows - 1) * c.pitch, c.pitch)
    apart = tuple((stride,) for stride in strides)
    factors = Factors((a, b, c), (a.address, b.address, c.address), apart, (batch,))
    multiply(handle, what, "StridedBatched", factors, alpha, beta, math)


def gemv_strided_batched(
    handle: Handle,
    a: Matrix,
    x: Vector,
    y: Vector,
    batch: int,
    strides: tuple[int, int, int],
    *,
    alpha: Any = 1.0,
    beta: Any = 0.0,
) -> None:
    """y = alpha a x + beta y for `batch` of each, `strides` elements apart in a, x and y; 0 uses one for all.

    (cublasSgemvStridedBatched, cublasDgemvStridedBatched, cublasCgemvStridedBatched, cublasZgemvStridedBatched.)
    """
    what = "gemv_strided_batched"
    handle.hold(what, a, x, y)
    code = common_type(what, a, x, y)
    extent = (y.size - 1) * abs(y.stride)
    _check_batch(what, batch, tuple(zip((a, x, y), strides, strict=True)), 1, extent, abs(y.stride))
    operation = check_gemv(what, a, x, y)
    one, two = handle.scalars((code, alpha), (code, beta))
    matrix, vector = (a.address, a.pitch, strides[0]), (x.address, x.stride, strides[1])
    name = function("{}gemvStridedBatched", code)
    result = y.address, y.stride, strides[2]
    handle.call(name, operation, a.columns, a.rows, one, *matrix, *vector, two, *result, batch)


def _check_batch(
    what: str, batch: int, operands: tuple[tuple[Matrix | Vector, int], ...], run: int, extent: int, pitch: int
) -> None:
    """Raise ValueError when a batch has no members, some end outside of their buffer, or results overlap.

    Results, runs of `run` elements `pitch` apart over an `extent`, may lie one after another, or side by side.
    """
    result, stride = operands[-1]
    side_by_side = stride >= run and (batch - 1) * stride + run <= pitch
    strides = tuple(each for _, each in operands)
    if batch < 1 or min(strides) < 0 or not (batch == 1 or stride >= extent + run or side_by_side):
        raise ValueError(f"{what}: a batch of {batch} with strides {strides} for {result}")
    for operand, each in operands:
        replace(operand, offset=operand.offset + (batch - 1) * each)  # checked against its buffer as it is made


def check_gemv(what: str, a: Matrix, x: Vector, y: Vector) -> int:
    """The operation for a batch of matrices and vectors. Raises ValueError when they do not fit."""
    operation = reading(what, a)
    if operation is None:
        raise ValueError(f"{what}: {a} is read as its conjugate, which cuBLAS cannot multiply by")
    if a.shape != (y.size, x.size):
        raise ValueError(f"{what}: {a} times {x} does not give {y}")
    return operation


def multiply(handle: Handle, what: str, kind: str, factors: Factors, alpha: Any, beta: Any, math: str) -> None:
    """Call the product of one kind: "", "Batched" or "StridedBatched"."""
    a, b, c = factors.shapes
    rows, inner, columns = product_sizes(what, a, b, c)
    sizes = b.operation, a.operation, columns, rows, inner
    name, scale, types, how = form(what, kind, factors.shapes, math)
    one, two = handle.scalars((scale, alpha), (scale, beta))
    first, second, result = (
        (address, *type, each.pitch, *stride)
        for each, address, type, stride in zip(factors.shapes, factors.addresses, types, factors.strides, strict=True)
    )
    handle.call(name, *sizes, one, *second, *first, two, *result, *factors.batch, *how)


def form(what: str, kind: str, shapes: tuple[Matrix, Matrix, Matrix], math: str) -> Form:
    """The function, the type of its scalars, the types that go with each matrix, and how sums are computed."""
    if math in BY_LETTER:
        code = common_type(what, *shapes)
        return function(BY_LETTER[math] + kind, code), code, ((), (), ()), ()
    return _typed_form(kind, check_types(what, *shapes), shapes[2].code, math)


@functools.cache
def _typed_form(kind: str, code: CudaDataType, result: CudaDataType, math: str) -> Form:
    compute = compute_type(code, math, result)
    types = (code,), (code,), (result,)
    return f"cublasGemm{kind}Ex", scale_type(compute, result), types, (compute, GemmAlgo.DEFAULT)


def check_types(what: str, a: Matrix, b: Matrix, c: Matrix) -> CudaDataType:
    """The type of both factors. Raises TypeError for a product that is not there, ValueError for int8 out of step."""
    code = common_type(what, a, b)
    if c.code not in RESULTS.get(code, ()):
        there = ", ".join(
            f"{factor.name} into {'/'.join(r.name for r in results)}" for factor, results in RESULTS.items()
        )
        raise TypeError(f"{what}: {a} times {b} into {c} is not there; there are {there}; cublaslt has float8")
    if code is CudaDataType.R_8I:
        for each in (a, b):
            if each.pitch % INT8_STEP or each.address % INT8_STEP:
                raise ValueError(f"{what}: {each} of int8 must begin, and have its rows, at multiples of {INT8_STEP}")
    return code
