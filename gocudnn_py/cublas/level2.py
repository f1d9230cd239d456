"""Matrices with vectors. How the matrix is stored says which function: whole, as a Band, or Packed.

Where the library would read a conjugate (see `storage`) level 3 does the work, the vector as a matrix of one column;
its alpha must then be a number where level 2 has no beta. `lower` says which triangle is stored. Extents beyond 32
bits take each function's form that ends with _64.
"""

from __future__ import annotations

from typing import Any

from gocudnn_py._abi.cublas import DiagType
from gocudnn_py._abi.cuda import CudaDataType
from gocudnn_py.cublas.gemm import gemm
from gocudnn_py.cublas.handle import Handle, common_type
from gocudnn_py.cublas.level3 import hemm, her2k, herk, trmm, trsm
from gocudnn_py.cublas.names import function
from gocudnn_py.cublas.storage import (
    Band,
    Packed,
    Stored,
    extents,
    letters,
    memory,
    not_conjugated,
    read_as_meant,
    reading,
    triangle,
)
from gocudnn_py.matrix import COMPLEX, Matrix, Vector


def gemv(handle: Handle, a: Matrix | Band, x: Vector, y: Vector, *, alpha: Any = 1.0, beta: Any = 0.0) -> None:
    """y = alpha a x + beta y; the conjugate transpose of a whole matrix by cublasGemmEx.

    (cublasSgemv_v2, cublasDgemv_v2, cublasCgemv_v2, cublasZgemv_v2; of bands cublasSgbmv_v2, cublasDgbmv_v2,
    cublasCgbmv_v2, cublasZgbmv_v2.)
    """
    code = _admit(handle, "gemv", a, x, y)
    if a.shape != (y.size, x.size):
        raise ValueError(f"gemv: {a} times {x} does not give {y}")
    operation = reading("gemv", a)
    if operation is None:
        assert isinstance(a, Matrix)
        gemm(handle, a, x.column, y.column, alpha=alpha, beta=beta)
        return
    one, two = handle.scalars((code, alpha), (code, beta))
    stem, diagonals = ("{}gbmv", (a.above, a.below)) if isinstance(a, Band) else ("{}gemv", ())
    extent = a.columns, a.rows, *diagonals
    handle.call(function(stem, code), operation, *extent, one, *memory(a), *_pair(x), two, *_pair(y))


def ger(handle: Handle, x: Vector, y: Vector, a: Matrix, *, conjugate: bool = False, alpha: Any = 1.0) -> None:
    """a = alpha x y^T + a, or with `conjugate` alpha x y^H + a, which goes by cublasGemmEx unless a is transposed.

    (cublasSger_v2, cublasDger_v2, cublasCgeru_v2, cublasZgeru_v2, cublasCgerc_v2, cublasZgerc_v2.)
    """
    code = _admit(handle, "ger", a, x, y)
    not_conjugated("ger", a)
    if a.shape != (x.size, y.size):
        raise ValueError(f"ger: {x} times the transpose of {y} does not give {a}")
    conjugate = conjugate and code in COMPLEX
    if conjugate and not a.transposed:
        gemm(handle, x.column, y.column.H, a, alpha=alpha, beta=1.0)
        return
    kind = "" if code not in COMPLEX else "c" if conjugate else "u"
    first, second = (x, y) if a.transposed else (y, x)
    (one,) = handle.scalars((code, alpha))
    vectors = *_pair(first), *_pair(second)
    handle.call(function("{}ger" + kind, code), first.size, second.size, one, *vectors, *memory(a))


def symv(handle: Handle, a: Stored, x: Vector, y: Vector, *, lower: bool, alpha: Any = 1.0, beta: Any = 0.0) -> None:
    """y = alpha a x + beta y with a symmetric a.

    (cublasSsymv_v2, cublasDsymv_v2, cublasCsymv_v2, cublasZsymv_v2; of bands cublasSsbmv_v2, cublasDsbmv_v2; packed
    cublasSspmv_v2, cublasDspmv_v2.)
    """
    not_conjugated("symv", a)
    _half_times(handle, "sy", a, x, y, lower, alpha, beta)


def hemv(handle: Handle, a: Stored, x: Vector, y: Vector, *, lower: bool, alpha: Any = 1.0, beta: Any = 0.0) -> None:
    """y = alpha a x + beta y with a Hermitian a, by `hemm` unless a is transposed; bands and packed ones must be.

    (cublasChemv_v2, cublasZhemv_v2; of bands cublasChbmv_v2, cublasZhbmv_v2; packed cublasChpmv_v2, cublasZhpmv_v2.)
    """
    if read_as_meant("hemv", a):
        _half_times(handle, "he", a, x, y, lower, alpha, beta)
    else:
        assert isinstance(a, Matrix)
        hemm(handle, a, x.column, y.column, lower=lower, alpha=alpha, beta=beta)


def syr(handle: Handle, x: Vector, a: Matrix | Packed, *, lower: bool, alpha: Any = 1.0) -> None:
    """a = alpha x x^T + a with a symmetric a.

    (cublasSsyr_v2, cublasDsyr_v2, cublasCsyr_v2, cublasZsyr_v2; packed cublasSspr_v2, cublasDspr_v2.)
    """
    not_conjugated("syr", a)
    _update(handle, "sy", (x,), a, lower, alpha)


def her(handle: Handle, x: Vector, a: Matrix | Packed, *, lower: bool, alpha: Any = 1.0) -> None:
    """a = alpha x x^H + a with a Hermitian a and real alpha, by `herk` unless a is transposed; a packed one must be.

    (cublasCher_v2, cublasZher_v2; packed cublasChpr_v2, cublasZhpr_v2.)
    """
    if read_as_meant("her", a):
        _update(handle, "he", (x,), a, lower, alpha)
    else:
        assert isinstance(a, Matrix)
        herk(handle, x.column, a, lower=lower, alpha=alpha, beta=1.0)


def syr2(handle: Handle, x: Vector, y: Vector, a: Matrix | Packed, *, lower: bool, alpha: Any = 1.0) -> None:
    """a = alpha (x y^T + y x^T) + a with a symmetric a.

    (cublasSsyr2_v2, cublasDsyr2_v2, cublasCsyr2_v2, cublasZsyr2_v2; packed cublasSspr2_v2, cublasDspr2_v2.)
    """
    not_conjugated("syr2", a)
    _update(handle, "sy", (x, y), a, lower, alpha)


def her2(handle: Handle, x: Vector, y: Vector, a: Matrix | Packed, *, lower: bool, alpha: Any = 1.0) -> None:
    """a = alpha x y^H + conj(alpha) y x^H + a with a Hermitian a, by `her2k` unless a is transposed.

    A packed one must be (cublasCher2_v2, cublasZher2_v2; packed cublasChpr2_v2, cublasZhpr2_v2).
    """
    if read_as_meant("her2", a):
        _update(handle, "he", (x, y), a, lower, alpha)
    else:
        assert isinstance(a, Matrix)
        her2k(handle, x.column, y.column, a, lower=lower, alpha=alpha, beta=1.0)


def trmv(handle: Handle, a: Stored, x: Vector, *, lower: bool, unit: bool = False) -> None:
    """x = a x with a triangular a, whose diagonal is ones if `unit`; a whole one's conjugate transpose by `trmm`.

    (cublasStrmv_v2, cublasDtrmv_v2, cublasCtrmv_v2, cublasZtrmv_v2; of bands cublasStbmv_v2, cublasDtbmv_v2,
    cublasCtbmv_v2, cublasZtbmv_v2; packed cublasStpmv_v2, cublasDtpmv_v2, cublasCtpmv_v2, cublasZtpmv_v2.)
    """
    if not _triangle_times(handle, "mv", a, x, lower, unit):
        assert isinstance(a, Matrix)
        trmm(handle, a, x.column, lower=lower, unit=unit)


def trsv(handle: Handle, a: Stored, x: Vector, *, lower: bool, unit: bool = False) -> None:
    """x = the solution of a x' = x with a triangular a; a whole one's conjugate transpose by `trsm`.

    (cublasStrsv_v2, cublasDtrsv_v2, cublasCtrsv_v2, cublasZtrsv_v2; of bands cublasStbsv_v2, cublasDtbsv_v2,
    cublasCtbsv_v2, cublasZtbsv_v2; packed cublasStpsv_v2, cublasDtpsv_v2, cublasCtpsv_v2, cublasZtpsv_v2.)
    """
    if not _triangle_times(handle, "sv", a, x, lower, unit):
        assert isinstance(a, Matrix)
        trsm(handle, a, x.column, lower=lower, unit=unit)


def _pair(x: Vector) -> tuple[int, int]:
    return x.address, x.stride


def _admit(handle: Handle, what: str, a: Stored, *vectors: Vector) -> CudaDataType:
    handle.hold(what, a, *vectors)
    return common_type(what, a, *vectors)


def _square(what: str, a: Stored, lower: bool, *vectors: Vector) -> tuple[int, ...]:
    """The extents of a square matrix for vectors of its size."""
    found = extents(what, a, lower)
    for x in vectors:
        if x.size != found[0]:
            raise ValueError(f"{what}: {x} is not of the size of {a}")
    return found


def _half_times(handle: Handle, kind: str, a: Stored, x: Vector, y: Vector, lower: bool, alpha: Any, beta: Any) -> None:
    what = letters(kind, a) + "mv"
    code = _admit(handle, what, a, x, y)
    extent = _square(what, a, lower, x, y)
    one, two = handle.scalars((code, alpha), (code, beta))
    vectors = *_pair(x), two, *_pair(y)
    handle.call(function("{}" + what, code), triangle(a, lower), *extent, one, *memory(a), *vectors)


def _update(
    handle: Handle, kind: str, vectors: tuple[Vector, ...], a: Matrix | Packed, lower: bool, alpha: Any
) -> None:
    what = letters(kind, a) + ("r" if len(vectors) == 1 else "r2")
    code = _admit(handle, what, a, *vectors)
    extent = _square(what, a, lower, *vectors)
    real = kind == "he" and len(vectors) == 1
    (one,) = handle.scalars((COMPLEX.get(code, code) if real else code, alpha))
    places = [number for x in vectors for number in _pair(x)]
    handle.call(function("{}" + what, code), triangle(a, lower), *extent, one, *places, *memory(a))


def _triangle_times(handle: Handle, kind: str, a: Stored, x: Vector, lower: bool, unit: bool) -> bool:
    """Multiply by a triangle or solve with it; False, and nothing done, when level 3 must."""
    what = letters("tr", a) + kind
    code = _admit(handle, what, a, x)
    extent = _square(what, a, lower, x)
    operation = reading(what, a)
    if operation is not None:
        diagonal = DiagType.UNIT if unit else DiagType.NON_UNIT
        settings = triangle(a, lower), operation, diagonal
        handle.call(function("{}" + what, code), *settings, *extent, *memory(a), *_pair(x))
    return operation is not None
