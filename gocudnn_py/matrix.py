"""Matrices as cuBLAS and cuBLASLt take them, said in row-major terms."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from gocudnn_py._abi.cublas import ComputeType, Operation
from gocudnn_py._abi.cuda import CudaDataType
from gocudnn_py.dtypes import cuda_dtype

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

INT32_MAX = 2**31 - 1
MATH = ("fma", "tf32")


@dataclass(frozen=True)
class Matrix:
    """A row-major matrix of `rows` x `columns` elements at `place` (a buffer or an address).

    `pitch` is the distance between rows in elements, `columns` unless given; a `transposed` one is used as its
    transpose, which `T` gives.
    """

    place: Any
    rows: int
    columns: int
    dtype: DTypeLike | CudaDataType = "float32"
    pitch: int = 0
    transposed: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "pitch", self.pitch or self.columns)
        if min(self.rows, self.columns) < 1 or max(self.rows, self.pitch) > INT32_MAX:
            raise ValueError(f"a matrix of {self.rows} x {self.columns} with rows {self.pitch} apart")
        if self.pitch < self.columns:
            raise ValueError(f"rows of {self.columns} elements cannot lie {self.pitch} apart")

    @property
    def T(self) -> Matrix:  # noqa: N802 - as NumPy has it
        """The transpose, without moving anything."""
        return replace(self, transposed=not self.transposed)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns as it is used."""
        return (self.columns, self.rows) if self.transposed else (self.rows, self.columns)

    @property
    def address(self) -> int:
        """Where it begins."""
        return int(getattr(self.place, "pointer", self.place))

    @property
    def code(self) -> CudaDataType:
        """Its data type as the libraries know it."""
        return cuda_dtype(self.dtype)

    @property
    def operation(self) -> Operation:
        """What the libraries, which read columns where we write rows, must do to use it as it is meant."""
        return Operation.T if self.transposed else Operation.N

    def __str__(self) -> str:
        return f"{self.code.name}[{self.shape[0]}x{self.shape[1]}]"


def product_sizes(what: str, a: Matrix, b: Matrix, c: Matrix) -> tuple[int, int, int]:
    """Rows, inner extent and columns of c = a b. Raises ValueError or TypeError with all three."""
    if a.shape[1] != b.shape[0] or c.shape != (a.shape[0], b.shape[1]):
        raise ValueError(f"{what}: {a} times {b} does not give {c}")
    if c.transposed:
        raise ValueError(f"{what}: c must be as it lies in memory; give the transposed product instead")
    if a.code != b.code:
        raise TypeError(f"{what}: {a} and {b} have different types")
    return a.shape[0], a.shape[1], b.shape[1]


def compute_type(dtype: CudaDataType, math: str) -> ComputeType:
    """What products of a type are summed in: float32 for all but float64; `tf32` rounds float32 factors."""
    if math not in MATH:
        raise ValueError(f"math {math!r} is neither of {', '.join(MATH)}")
    if dtype is CudaDataType.R_64F:
        return ComputeType.COMPUTE_64F
    tf32 = dtype is CudaDataType.R_32F and math == "tf32"
    return ComputeType.COMPUTE_32F_FAST_TF32 if tf32 else ComputeType.COMPUTE_32F
