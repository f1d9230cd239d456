"""LU and QR of many small matrices at once, with what is solved and inverted by them.

The library reads by columns, so it factors the transpose of what lies in memory. To have a itself factored, store it
by columns and give its transpose: `Batch(stream, stored).T`. Solving and inverting are right either way, for they
are told by `transposed` how the factors were read. `info` is an int32 for each matrix on the device: 0, or the
number of the pivot that is zero.
"""

from __future__ import annotations

import ctypes

from gocudnn_py._abi.cublas import Operation
from gocudnn_py._abi.cuda import CudaDataType
from gocudnn_py.cublas.batched import Batch, admit
from gocudnn_py.cublas.handle import Handle, common_type
from gocudnn_py.cublas.names import function
from gocudnn_py.cublas.storage import reading
from gocudnn_py.matrix import Matrix, Vector

LARGEST_INVERSE = 32


def getrf_batched(handle: Handle, a: Batch[Matrix], pivots: Vector | None, info: Vector) -> None:
    """Each a overwritten by its L and U, with the rows exchanged that `pivots` tell, int32, size by size.

    Without `pivots` nothing is exchanged. Of matrices that are not transposed a^T is factored: a = U^T L^T P.
    (cublasSgetrfBatched, cublasDgetrfBatched, cublasCgetrfBatched, cublasZgetrfBatched.)
    """
    count, size, code = _square(handle, "getrf_batched", a)
    places = _integers(handle, "getrf_batched", pivots, size * count), _integers(handle, "getrf_batched", info, count)
    handle.call(function("{}getrfBatched", code), size, a.address, a.head.pitch, *places, count)


def getrs_batched(handle: Handle, a: Batch[Matrix], pivots: Vector | None, b: Batch[Matrix]) -> None:
    """Each b = x where a x = b, with a as `getrf_batched` left it; b must be stored by columns, and transposed.

    (cublasSgetrsBatched, cublasDgetrsBatched, cublasCgetrsBatched, cublasZgetrsBatched.)
    """
    count, size, code = _square(handle, "getrs_batched", a, b)
    operation = reading("getrs_batched", a.head)
    if operation is None:
        raise ValueError(f"getrs_batched: {a} is read as its conjugate, which cuBLAS cannot solve with")
    _by_columns("getrs_batched", b)
    if b.head.shape[0] != size:
        raise ValueError(f"getrs_batched: {a} does not fit {b}")
    extent = size, b.head.shape[1]
    factors = a.address, a.head.pitch, _integers(handle, "getrs_batched", pivots, size * count)
    refused = ctypes.c_int()
    name = function("{}getrsBatched", code)
    result = b.address, b.head.pitch, ctypes.byref(refused)
    handle.call(name, operation, *extent, *factors, *result, count)
    _check(name, refused)


def getri_batched(handle: Handle, a: Batch[Matrix], pivots: Vector | None, c: Batch[Matrix], info: Vector) -> None:
    """Each c = the inverse of a, with a as `getrf_batched` left it; c lies elsewhere.

    (cublasSgetriBatched, cublasDgetriBatched, cublasCgetriBatched, cublasZgetriBatched.)
    """
    count, size, code = _square(handle, "getri_batched", a, c)
    _same_way("getri_batched", a, c)
    factors = a.address, a.head.pitch, _integers(handle, "getri_batched", pivots, size * count)
    result = c.address, c.head.pitch, _integers(handle, "getri_batched", info, count)
    handle.call(function("{}getriBatched", code), size, *factors, *result, count)


def matinv_batched(handle: Handle, a: Batch[Matrix], c: Batch[Matrix], info: Vector) -> None:
    """Each c = the inverse of a, of at most 32 rows; c lies elsewhere.

    (cublasSmatinvBatched, cublasDmatinvBatched, cublasCmatinvBatched, cublasZmatinvBatched.)
    """
    count, size, code = _square(handle, "matinv_batched", a, c)
    if size > LARGEST_INVERSE:
        raise ValueError(f"matinv_batched: {a} has more than {LARGEST_INVERSE} rows; use getrf_batched, getri_batched")
    _same_way("matinv_batched", a, c)
    places = a.address, a.head.pitch, c.address, c.head.pitch, _integers(handle, "matinv_batched", info, count)
    handle.call(function("{}matinvBatched", code), size, *places, count)


def geqrf_batched(handle: Handle, a: Batch[Matrix], tau: Batch[Vector]) -> None:
    """Each a overwritten by R and, below its diagonal, the reflections that make Q, whose factors `tau` has.

    Of matrices that are not transposed a^T is factored, so that a = R^T Q^T.
    (cublasSgeqrfBatched, cublasDgeqrfBatched, cublasCgeqrfBatched, cublasZgeqrfBatched.)
    """
    count = admit(handle, "geqrf_batched", a, tau)
    code = common_type("geqrf_batched", a.head, tau.head)
    extent = a.head.columns, a.head.rows
    if tau.head.size != min(extent) or tau.head.stride != 1:
        raise ValueError(f"geqrf_batched: tau={tau} for {a} must have {min(extent)} elements, one after another")
    refused, name = ctypes.c_int(), function("{}geqrfBatched", code)
    handle.call(name, *extent, a.address, a.head.pitch, tau.address, ctypes.byref(refused), count)
    _check(name, refused)


def gels_batched(handle: Handle, a: Batch[Matrix], c: Batch[Matrix], info: Vector | None = None) -> None:
    """The least squares of c - a x for each a of at least as many rows as columns; x is in the first rows of c.

    Both must be stored by columns, and transposed; a is overwritten by its QR.
    (cublasSgelsBatched, cublasDgelsBatched, cublasCgelsBatched, cublasZgelsBatched.)
    """
    count = admit(handle, "gels_batched", a, c)
    code = common_type("gels_batched", a.head, c.head)
    _by_columns("gels_batched", a)
    _by_columns("gels_batched", c)
    rows, columns = a.head.shape
    if rows < columns or c.head.shape[0] != rows:
        raise ValueError(f"gels_batched: {a} for {c}, where rows must be alike, and as many as columns at least")
    extent = rows, columns, c.head.shape[1]
    refused, name = ctypes.c_int(), function("{}gelsBatched", code)
    places = a.address, a.head.pitch, c.address, c.head.pitch, ctypes.byref(refused)
    handle.call(name, Operation.N, *extent, *places, _integers(handle, "gels_batched", info, count), count)
    _check(name, refused)


def _square(handle: Handle, what: str, a: Batch[Matrix], *others: Batch[Matrix]) -> tuple[int, int, CudaDataType]:
    """How many, of what size, and of what type."""
    count = admit(handle, what, a, *others)
    rows, columns = a.head.shape
    if rows != columns:
        raise ValueError(f"{what}: {a} are not square")
    return count, rows, common_type(what, a.head, *(other.head for other in others))


def _same_way(what: str, a: Batch[Matrix], c: Batch[Matrix]) -> None:
    turned = {(each.head.transposed, each.head.conjugated) for each in (a, c)}
    if a.head.shape != c.head.shape or len(turned) > 1:
        raise ValueError(f"{what}: {a} and {c} are not of one shape, or not turned alike")
    if a.head.address == c.head.address:
        raise ValueError(f"{what}: the inverse cannot lie in the place of {a}")


def _by_columns(what: str, a: Batch[Matrix]) -> None:
    if not a.head.transposed or a.head.conjugated:
        raise ValueError(f"{what}: {a} must be stored by columns; store the transposes, and give the batch's T")


def _integers(handle: Handle, what: str, vector: Vector | None, size: int) -> int | None:
    """The address of int32s on the device, one after another."""
    if vector is None:
        return None
    handle.hold(what, vector)
    if vector.code is not CudaDataType.R_32I or vector.size != size or vector.stride != 1:
        raise ValueError(f"{what}: {size} int32 are needed one after another, not {vector} with stride {vector.stride}")
    return vector.address


def _check(name: str, refused: ctypes.c_int) -> None:
    if refused.value:
        raise ValueError(f"{name} refuses its argument {-refused.value}")
