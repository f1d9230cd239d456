"""Which types go together in a product, and what their kernels ask of the matrices."""

from __future__ import annotations

from gocudnn_py._abi.cuda import CudaDataType
from gocudnn_py.matrix import Matrix

E4M3, E5M2 = CudaDataType.R_8F_E4M3, CudaDataType.R_8F_E5M2
FLOAT8 = (E4M3, E5M2)
HALVES = (CudaDataType.R_16F, CudaDataType.R_16BF)
RESULTS = {
    CudaDataType.R_16F: (CudaDataType.R_16F, CudaDataType.R_32F),
    CudaDataType.R_16BF: (CudaDataType.R_16BF, CudaDataType.R_32F),
    CudaDataType.R_8I: (CudaDataType.R_32I, CudaDataType.R_8I, CudaDataType.R_32F),
    CudaDataType.R_32F: (CudaDataType.R_32F,),
    CudaDataType.R_64F: (CudaDataType.R_64F,),
    CudaDataType.C_32F: (CudaDataType.C_32F,),
    CudaDataType.C_64F: (CudaDataType.C_64F,),
}
"""The types that a product of two matrices of one type may have; float8 has rules of its own."""
FLOAT8_STEP, INT8_STEP = 16, 4
FLOAT8_SINCE, ANY_WAY = (8, 9), 10  # compute capability; from major 10 on a GPU reads float8 either way, but for 12


def check(what: str, a: Matrix, b: Matrix, c: Matrix, capability: tuple[int, int]) -> None:
    """Raise TypeError when the types do not go together, ValueError when they do not lie as their kernels need."""
    if a.code in FLOAT8 and b.code in FLOAT8:
        _check_float8(what, a, b, c, capability)
        return
    if a.code != b.code:
        raise TypeError(f"{what}: {a} and {b} have different types, which only float8 may")
    if c.code not in RESULTS.get(a.code, ()):
        there = ", ".join(each.name for each in RESULTS.get(a.code, ())) or "nothing"
        raise TypeError(f"{what}: {a} times {b} gives {there}, not {c.code.name}")
    if a.code is CudaDataType.R_8I:
        _in_steps(what, INT8_STEP, a, b, (a.shape[1], b.shape[1]))


def addend_type(c: Matrix, bias: CudaDataType | None) -> CudaDataType:
    """The type of what is added to a product: the result's, but a half's for float8, the bias's if it has one."""
    if c.code not in FLOAT8:
        return c.code
    return bias if bias in HALVES else CudaDataType.R_16BF


def bias_type(a: Matrix, c: Matrix) -> CudaDataType:
    """The type that the library takes a bias for when it is told none."""
    if c.code is CudaDataType.R_8I:
        return CudaDataType.R_32F
    return CudaDataType.R_16BF if a.code in FLOAT8 and c.code not in HALVES else c.code


def _check_float8(what: str, a: Matrix, b: Matrix, c: Matrix, capability: tuple[int, int]) -> None:
    results = (
        (*HALVES, CudaDataType.R_32F, E4M3) if E5M2 not in (a.code, b.code) else (*HALVES, CudaDataType.R_32F, *FLOAT8)
    )
    if a.code is b.code is E5M2 or c.code not in results:
        raise TypeError(
            f"{what}: {a} times {b} into {c} is not there: one factor at least is E4M3, and so is the result"
        )
    if capability < FLOAT8_SINCE:
        raise ValueError(f"{what}: float8 needs a GPU of compute capability 8.9, this one has {capability}")
    if (a.transposed or not b.transposed) and capability[0] not in (ANY_WAY, ANY_WAY + 1):
        raise ValueError(
            f"{what}: float8 on compute capability {capability} needs a as it lies in memory and b transposed, "
            f"so that both have the inner axis in one piece; a is {_way(a)} and b is {_way(b)}"
        )
    _in_steps(what, FLOAT8_STEP, a, b, (a.shape[1], b.shape[1]))


def _in_steps(what: str, step: int, a: Matrix, b: Matrix, extents: tuple[int, int]) -> None:
    """Narrow types are read several at a time."""
    numbers = {"inner axis": extents[0], "columns": extents[1], "a's pitch": a.pitch, "b's pitch": b.pitch}
    wrong = {name: number for name, number in numbers.items() if number % step}
    if wrong:
        said = ", ".join(f"{name} {number}" for name, number in wrong.items())
        raise ValueError(f"{what}: of {a} and {b} every extent must be a multiple of {step}, not {said}")


def _way(matrix: Matrix) -> str:
    return "transposed" if matrix.transposed else "as it lies"
