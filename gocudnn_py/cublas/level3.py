"""Matrices with matrices, but for the general product, which `gemm` has.

The library is asked for the transpose of each result, so factors and sides are exchanged (see `storage`).
`lower` says which triangle of the symmetric, Hermitian or triangular matrix is stored; the other one is not touched.
Extents beyond 32 bits take each function's form that ends with _64.
"""

from __future__ import annotations

from typing import Any, Literal

from gocudnn_py._abi.cublas import DiagType, Operation, SideMode
from gocudnn_py._abi.cuda import CudaDataType
from gocudnn_py.cublas.handle import Handle, common_type
from gocudnn_py.cublas.names import function
from gocudnn_py.cublas.storage import Packed, extents, memory, not_conjugated, triangle
from gocudnn_py.matrix import COMPLEX, Matrix, Placed, Vector, lies_plain

Side = Literal["left", "right"]
EXCHANGED = {"left": SideMode.RIGHT, "right": SideMode.LEFT}


def symm(
    handle: Handle,
    a: Matrix,
    b: Matrix,
    c: Matrix,
    *,
    lower: bool,
    side: Side = "left",
    alpha: Any = 1.0,
    beta: Any = 0.0,
) -> None:
    """c = alpha a b + beta c with a symmetric a, or alpha b a + beta c with a on the right.

    (cublasSsymm_v2, cublasDsymm_v2, cublasCsymm_v2, cublasZsymm_v2.)
    """
    not_conjugated("symm", a)
    _two_sided(handle, "symm", (a, b, c), lower, side, alpha, beta)


def hemm(
    handle: Handle,
    a: Matrix,
    b: Matrix,
    c: Matrix,
    *,
    lower: bool,
    side: Side = "left",
    alpha: Any = 1.0,
    beta: Any = 0.0,
) -> None:
    """c = alpha a b + beta c with a Hermitian a, or alpha b a + beta c with a on the right.

    (cublasChemm_v2, cublasZhemm_v2.)
    """
    if a.transposed != a.conjugated:
        raise ValueError(f"hemm: {a} is used as its conjugate, which cuBLAS cannot do; give it as it lies in memory")
    _two_sided(handle, "hemm", (a, b, c), lower, side, alpha, beta)


def syrk(handle: Handle, a: Matrix, c: Matrix, *, lower: bool, alpha: Any = 1.0, beta: Any = 0.0) -> None:
    """c = alpha a a^T + beta c (cublasSsyrk_v2, cublasDsyrk_v2, cublasCsyrk_v2, cublasZsyrk_v2)."""
    _rank(handle, "syrk", (a,), c, lower, alpha, beta)


def herk(handle: Handle, a: Matrix, c: Matrix, *, lower: bool, alpha: Any = 1.0, beta: Any = 0.0) -> None:
    """c = alpha a a^H + beta c, with real alpha and beta (cublasCherk_v2, cublasZherk_v2)."""
    _rank(handle, "herk", (a,), c, lower, alpha, beta)


def syr2k(handle: Handle, a: Matrix, b: Matrix, c: Matrix, *, lower: bool, alpha: Any = 1.0, beta: Any = 0.0) -> None:
    """c = alpha (a b^T + b a^T) + beta c (cublasSsyr2k_v2, cublasDsyr2k_v2, cublasCsyr2k_v2, cublasZsyr2k_v2)."""
    _rank(handle, "syr2k", (a, b), c, lower, alpha, beta)


def her2k(handle: Handle, a: Matrix, b: Matrix, c: Matrix, *, lower: bool, alpha: Any = 1.0, beta: Any = 0.0) -> None:
    """c = alpha a b^H + conj(alpha) b a^H + beta c, with a real beta (cublasCher2k_v2, cublasZher2k_v2)."""
    _rank(handle, "her2k", (a, b), c, lower, alpha, beta)


def syrkx(handle: Handle, a: Matrix, b: Matrix, c: Matrix, *, lower: bool, alpha: Any = 1.0, beta: Any = 0.0) -> None:
    """One triangle of c = alpha a b^T + beta c (cublasSsyrkx, cublasDsyrkx, cublasCsyrkx, cublasZsyrkx)."""
    _rank(handle, "syrkx", (a, b), c, lower, alpha, beta)


def herkx(handle: Handle, a: Matrix, b: Matrix, c: Matrix, *, lower: bool, alpha: Any = 1.0, beta: Any = 0.0) -> None:
    """One triangle of c = alpha a b^H + beta c, which has to be Hermitian, with a real beta; its diagonal is made real.

    (cublasCherkx, cublasZherkx)
    """
    _rank(handle, "herkx", (a, b), c, lower, alpha, beta)


def trmm(
    handle: Handle,
    a: Matrix,
    b: Matrix,
    c: Matrix | None = None,
    *,
    lower: bool,
    unit: bool = False,
    side: Side = "left",
    alpha: Any = 1.0,
) -> None:
    """c = alpha a b with a triangular a, or alpha b a; c is b itself unless given; `unit` takes the diagonal for ones.

    (cublasStrmm_v2, cublasDtrmm_v2, cublasCtrmm_v2, cublasZtrmm_v2.)
    """
    c = b if c is None else c
    code = shapes(handle, "trmm", (a, b, c), side)
    settings = triangular(a, lower, unit)
    (factor,) = handle.scalars((code, alpha))
    operands = *memory(a), *memory(b), *memory(c)
    handle.call(function("{}trmm", code), EXCHANGED[side], *settings, *_turned(c), factor, *operands)


def trsm(
    handle: Handle, a: Matrix, b: Matrix, *, lower: bool, unit: bool = False, side: Side = "left", alpha: Any = 1.0
) -> None:
    """b = x where a x = alpha b with a triangular a, or x a = alpha b; `unit` takes the diagonal for ones.

    (cublasStrsm_v2, cublasDtrsm_v2, cublasCtrsm_v2, cublasZtrsm_v2.)
    """
    code = shapes(handle, "trsm", (a, b, b), side)
    settings = triangular(a, lower, unit)
    (factor,) = handle.scalars((code, alpha))
    handle.call(function("{}trsm", code), EXCHANGED[side], *settings, *_turned(b), factor, *memory(a), *memory(b))


def geam(handle: Handle, a: Matrix, b: Matrix, c: Matrix, *, alpha: Any = 1.0, beta: Any = 1.0) -> None:
    """c = alpha a + beta b, either transposed as it is given; c may be one that is not.

    (cublasSgeam, cublasDgeam, cublasCgeam, cublasZgeam.)
    """
    handle.hold("geam", a, b, c)
    code = common_type("geam", a, b, c)
    lies_plain("geam", c=c)
    if not a.shape == b.shape == c.shape:
        raise ValueError(f"geam: a={a}, b={b} and c={c} are not of one shape")
    for each in (a, b):
        if each.address == c.address and (each.operation or each.pitch != c.pitch):
            raise ValueError(f"geam: {each} is turned or of another pitch, so the result cannot lie in its place")
    one, two = handle.scalars((code, alpha), (code, beta))
    operations = a.operation, b.operation
    handle.call(function("{}geam", code), *operations, *_turned(c), one, *memory(a), two, *memory(b), *memory(c))


def dgmm(handle: Handle, x: Vector, a: Matrix, c: Matrix, *, side: Side = "left") -> None:
    """c = diag(x) a, each row times a number, or a diag(x), each column; c may be a.

    (cublasSdgmm, cublasDdgmm, cublasCdgmm, cublasZdgmm.)
    """
    handle.hold("dgmm", x, a, c)
    code = common_type("dgmm", x, a, c)
    lies_plain("dgmm", a=a, c=c)
    if a.shape != c.shape or x.size != _along(side, "dgmm", c):
        raise ValueError(f"dgmm: x={x} on the {side} of a={a} does not give c={c}")
    vector = x.address, x.stride
    handle.call(function("{}dgmm", code), EXCHANGED[side], *_turned(c), *memory(a), *vector, *memory(c))


def tpttr(handle: Handle, packed: Packed, a: Matrix, *, lower: bool) -> None:
    """A triangle of a matrix from packed storage (cublasStpttr, cublasDtpttr, cublasCtpttr, cublasZtpttr)."""
    code = _repacked(handle, "tpttr", packed, a)
    handle.call(function("{}tpttr", code), triangle(a, lower), a.rows, packed.address, *memory(a))


def trttp(handle: Handle, a: Matrix, packed: Packed, *, lower: bool) -> None:
    """A triangle of a matrix into packed storage (cublasStrttp, cublasDtrttp, cublasCtrttp, cublasZtrttp)."""
    code = _repacked(handle, "trttp", packed, a)
    handle.call(function("{}trttp", code), triangle(a, lower), a.rows, *memory(a), packed.address)


def triangular(a: Matrix, lower: bool, unit: bool) -> tuple[int, int, int]:
    """Triangle, operation and kind of diagonal of a triangular factor."""
    return triangle(a, lower), a.operation, DiagType.UNIT if unit else DiagType.NON_UNIT


def _turned(c: Matrix) -> tuple[int, int]:
    """Rows and columns as the library reads them."""
    return c.columns, c.rows


def _along(side: str, what: str, c: Matrix) -> int:
    if side not in EXCHANGED:
        raise ValueError(f"{what}: side {side!r} is neither left nor right")
    return c.rows if side == "left" else c.columns


def shapes(handle: Handle, what: str, operands: tuple[Matrix, Matrix, Matrix], side: str) -> CudaDataType:
    """The type of a square factor, another one and their product, all three checked."""
    a, b, c = operands
    handle.hold(what, *operands)
    code = common_type(what, *operands)
    lies_plain(what, b=b, c=c)
    size = _along(side, what, c)
    if b.shape != c.shape or a.shape != (size, size):
        raise ValueError(f"{what}: a={a} on the {side} of b={b} does not give c={c}")
    return code


def _two_sided(
    handle: Handle, what: str, operands: tuple[Matrix, Matrix, Matrix], lower: bool, side: str, alpha: Any, beta: Any
) -> None:
    code = shapes(handle, what, operands, side)
    a, b, c = operands
    one, two = handle.scalars((code, alpha), (code, beta))
    name = function("{}" + what, code)
    handle.call(name, EXCHANGED[side], triangle(a, lower), *_turned(c), one, *memory(a), *memory(b), two, *memory(c))


def _rank(
    handle: Handle, what: str, factors: tuple[Matrix, ...], c: Matrix, lower: bool, alpha: Any, beta: Any
) -> None:
    """An update of one triangle of c by factors that are of one shape and lie one way."""
    handle.hold(what, *factors, c)
    code = common_type(what, *factors, c)
    (size,), a = extents(what, c, lower), factors[0]
    if any((each.shape, each.transposed, each.conjugated) != (a.shape, a.transposed, a.conjugated) for each in factors):
        raise ValueError(f"{what}: {' and '.join(map(str, factors))} are not of one shape, or not turned alike")
    if a.shape[0] != size:
        raise ValueError(f"{what}: {a} does not give {size} x {size}")
    operation, in_order = _rank_reading(what, a, c)
    types = _rank_types(what, code)
    one, two = handle.scalars((types[0], alpha), (types[1], beta))
    places = [number for each in (factors if in_order else factors[::-1]) for number in memory(each)]
    name = function("{}" + what, code)
    handle.call(name, triangle(c, lower), operation, size, a.shape[1], one, *places, two, *memory(c))


def _rank_reading(what: str, a: Matrix, c: Matrix) -> tuple[Operation, bool]:
    """The operation on factors as they are read, and whether two of them keep their order.

    With c read as its transpose, alpha a b^H is read as alpha conj(b) a^T: the factors change places.
    """
    if not what.startswith("he"):
        not_conjugated(what, a)
        not_conjugated(what, c)
        return (Operation.N if a.transposed else Operation.T), c.transposed
    meant = c.transposed != c.conjugated
    if (a.conjugated == meant) == a.transposed:
        raise ValueError(f"{what}: the conjugate of {a} would be needed for {c}; only it or its H can be given")
    return (Operation.N if a.transposed else Operation.C), meant


def _rank_types(what: str, code: CudaDataType) -> tuple[CudaDataType, CudaDataType]:
    """The types of alpha and beta: of Hermitian results beta is real, and of one factor's alpha too."""
    if not what.startswith("he") or code not in COMPLEX:
        return code, code
    return COMPLEX[code] if what == "herk" else code, COMPLEX[code]


def _repacked(handle: Handle, what: str, packed: Packed, a: Matrix) -> CudaDataType:
    operands: tuple[Placed, ...] = packed, a
    handle.hold(what, *operands)
    if packed.shape != a.shape or packed.transposed != a.transposed:
        raise ValueError(f"{what}: {packed} and {a} are not of one size, or not turned alike")
    not_conjugated(what, packed)
    not_conjugated(what, a)
    return common_type(what, *operands)
