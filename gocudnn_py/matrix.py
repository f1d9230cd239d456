"""Vectors and matrices as cuBLAS and cuBLASLt take them, said in row-major terms."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self, cast

import numpy as np

from gocudnn_py._abi.cublas import ComputeType, Operation
from gocudnn_py._abi.cuda import CudaDataType
from gocudnn_py.dtypes import cuda_dtype, numpy_dtype

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

INT64_MAX = 2**63 - 1
COMPLEX = {CudaDataType.C_32F: CudaDataType.R_32F, CudaDataType.C_64F: CudaDataType.R_64F}
"""The complex types, each with the type of its parts."""
PACKED_TWO = (CudaDataType.R_4F_E2M1, CudaDataType.R_4I, CudaDataType.R_4U)


class Placed:
    """What lies at `place`, a buffer or an address, `offset` elements into it."""

    place: Any
    dtype: DTypeLike | CudaDataType
    offset: int
    code: CudaDataType

    @property
    def address(self) -> int:
        """Where it begins. Raises UnusableResource when its buffer is closed."""
        start = int(getattr(self.place, "pointer", self.place))
        return start + nbytes(self.code, self.offset) if self.offset else start

    @property
    def places(self) -> tuple[Any, ...]:
        """The buffers or addresses it lies at."""
        return (self.place,)

    def _settle(self, what: str, extent: int) -> None:
        """Note its type, and raise ValueError when its buffer ends before `extent` elements do."""
        object.__setattr__(self, "code", cuda_dtype(self.dtype))
        if self.offset < 0:
            raise ValueError(f"{what} begins {self.offset} elements into its buffer")
        room, needed = getattr(self.place, "nbytes", None), nbytes(self.code, self.offset + extent)
        if isinstance(room, int) and room < needed:
            raise ValueError(f"{what} of {self.code.name} ends {needed} bytes into a buffer of {room}")


@dataclass(frozen=True)
class Vector(Placed):
    """`size` elements at `place`, `stride` elements apart; with a negative stride they are read from the end."""

    place: Any
    size: int
    dtype: DTypeLike | CudaDataType = "float32"
    stride: int = 1
    offset: int = field(default=0, kw_only=True)

    def __post_init__(self) -> None:
        if self.size < 1 or not self.stride or max(self.size, abs(self.stride)) > INT64_MAX:
            raise ValueError(f"a vector of {self.size} elements, {self.stride} apart")
        self._settle(f"a vector of {self.size} elements, {self.stride} apart", (self.size - 1) * abs(self.stride) + 1)

    @property
    def column(self) -> Matrix:
        """The same as a matrix of one column. Raises ValueError for a negative stride."""
        if self.stride < 0:
            raise ValueError(f"{self} is read from its end, with stride {self.stride}, which no matrix can be")
        return Matrix(self.place, self.size, 1, self.dtype, self.stride, offset=self.offset)

    def __str__(self) -> str:
        return f"{self.code.name}[{self.size}]"


class Turned(Placed):
    """What all storages of a matrix share: they may be used as their transpose, their conjugate, or both."""

    rows: int
    columns: int
    transposed: bool
    conjugated: bool
    shape: tuple[int, int]  # rows and columns as it is used

    @property
    def T(self) -> Self:  # noqa: N802 - as NumPy has it
        """The transpose, without moving anything."""
        turned: Any = replace(cast("Any", self), transposed=not self.transposed)
        return cast("Self", turned)

    @property
    def H(self) -> Self:  # noqa: N802 - as NumPy's matrices have it
        """The conjugate transpose, without moving anything; of real numbers the transpose."""
        conjugated = self.code in COMPLEX and not self.conjugated
        turned: Any = replace(cast("Any", self), transposed=not self.transposed, conjugated=conjugated)
        return cast("Self", turned)

    def _settle(self, what: str, extent: int) -> None:
        super()._settle(what, extent)
        shape = (self.columns, self.rows) if self.transposed else (self.rows, self.columns)
        object.__setattr__(self, "shape", shape)
        if self.conjugated and self.code not in COMPLEX:
            raise TypeError(f"{what} of {self.code.name} has no conjugate")

    def __str__(self) -> str:
        return f"{self.code.name}[{self.shape[0]}x{self.shape[1]}]"


@dataclass(frozen=True)
class Matrix(Turned):
    """A row-major matrix of `rows` x `columns` elements at `place` (a buffer or an address).

    `pitch` is the distance between rows in elements, `columns` unless given; a `transposed` one is used as its
    transpose, which `T` gives, a `conjugated` one as its complex conjugate; `H` gives both.
    """

    place: Any
    rows: int
    columns: int
    dtype: DTypeLike | CudaDataType = "float32"
    pitch: int = 0
    transposed: bool = False
    conjugated: bool = field(default=False, kw_only=True)
    offset: int = field(default=0, kw_only=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "pitch", self.pitch or self.columns)
        said = f"a matrix of {self.rows} x {self.columns} with rows {self.pitch} apart"
        if min(self.rows, self.columns) < 1 or max(self.rows, self.pitch) > INT64_MAX:
            raise ValueError(said)
        if self.pitch < self.columns:
            raise ValueError(f"rows of {self.columns} elements cannot lie {self.pitch} apart")
        self._settle(said, (self.rows - 1) * self.pitch + self.columns)

    @property
    def operation(self) -> Operation:
        """What the libraries, which read columns where we write rows, must do to use it as it is meant.

        Raises ValueError for a conjugate that is not transposed, for which they have no name.
        """
        if not self.transposed and self.conjugated:
            raise ValueError(f"{self} is conjugated and not transposed, which the libraries cannot do")
        return Operation.C if self.conjugated else Operation.T if self.transposed else Operation.N


def nbytes(code: CudaDataType, elements: int) -> int:
    """Bytes of so many elements; two elements of 4 bits share one."""
    return (elements + 1) // 2 if code in PACKED_TWO else elements * numpy_dtype(code).itemsize


def check_places(what: str, ordinal: int | None, *holders: Any) -> tuple[Any, ...]:
    """The buffers or addresses of operands, their `places`. Raises ValueError for one on another GPU than `ordinal`."""
    places = tuple([place for holder in holders for place in holder.places])
    for place in places:
        lies = place.ordinal if hasattr(place, "ordinal") else _ordinal(getattr(place, "device", None))
        if lies is not None and lies != ordinal:
            raise ValueError(f"{what}: an operand lies on GPU {lies}, the handle is for GPU {ordinal}")
    return places


def _ordinal(device: Any) -> Any:
    return getattr(device, "ordinal", device)


def used_on(stream: Any, places: Iterable[Any]) -> None:
    """Have buffers outlive what a stream has been given, or the graph that it records."""
    buffers = [place for place in places if hasattr(place, "used_on")]
    if hasattr(stream, "uses"):
        stream.uses(*buffers)


def lies_plain(what: str, **matrices: Matrix) -> None:
    """Raise ValueError unless each is used as it lies in memory."""
    for name, matrix in matrices.items():
        if matrix.transposed or matrix.conjugated:
            raise ValueError(f"{what}: {name} must be as it lies in memory; give the transposed product instead")


def product_sizes(what: str, a: Matrix, b: Matrix, c: Matrix) -> tuple[int, int, int]:
    """Rows, inner extent and columns of c = a b. Raises ValueError with all three."""
    (rows, inner), (second, columns) = a.shape, b.shape
    if inner != second or c.shape != (rows, columns):
        raise ValueError(f"{what}: {a} times {b} does not give {c}")
    lies_plain(what, c=c)
    return rows, inner, columns


SUMS = {
    CudaDataType.R_32F: ComputeType.COMPUTE_32F,
    CudaDataType.R_16F: ComputeType.COMPUTE_32F,
    CudaDataType.R_16BF: ComputeType.COMPUTE_32F,
    CudaDataType.R_8F_E4M3: ComputeType.COMPUTE_32F,
    CudaDataType.R_8F_E5M2: ComputeType.COMPUTE_32F,
    CudaDataType.C_32F: ComputeType.COMPUTE_32F,
    CudaDataType.R_64F: ComputeType.COMPUTE_64F,
    CudaDataType.C_64F: ComputeType.COMPUTE_64F,
    CudaDataType.R_8I: ComputeType.COMPUTE_32I,
}
"""What products of a type are summed in, unless `math` says otherwise."""
PEDANTIC = {
    ComputeType.COMPUTE_32F: ComputeType.COMPUTE_32F_PEDANTIC,
    ComputeType.COMPUTE_64F: ComputeType.COMPUTE_64F_PEDANTIC,
    ComputeType.COMPUTE_32I: ComputeType.COMPUTE_32I_PEDANTIC,
}
MATH: dict[str, dict[CudaDataType, ComputeType]] = {
    "fma": {},
    "tf32": dict.fromkeys((CudaDataType.R_32F, CudaDataType.C_32F), ComputeType.COMPUTE_32F_FAST_TF32),
    "bfloat16": dict.fromkeys((CudaDataType.R_32F, CudaDataType.C_32F), ComputeType.COMPUTE_32F_FAST_16BF),
    "float16": dict.fromkeys((CudaDataType.R_32F, CudaDataType.C_32F), ComputeType.COMPUTE_32F_FAST_16F),
    "bfloat16x9": dict.fromkeys((CudaDataType.R_32F, CudaDataType.C_32F), ComputeType.COMPUTE_32F_EMULATED_16BFX9),
    "half_sums": {CudaDataType.R_16F: ComputeType.COMPUTE_16F},
    "pedantic": {code: PEDANTIC[compute] for code, compute in SUMS.items()},
}
"""How products are computed, where that is not as SUMS says.

"tf32", "bfloat16" and "float16" round float32 factors to that type, "bfloat16x9" splits each into three; "half_sums"
adds float16 products in float16; "pedantic" uses no tensor cores and no other order of the sums than the plain one.
"""


def compute_type(dtype: CudaDataType, math: str, result: CudaDataType | None = None) -> ComputeType:
    """What products of a type are summed in, for a result of a type. Raises ValueError or TypeError."""
    if math not in MATH:
        raise ValueError(f"math {math!r} is none of {', '.join(MATH)}")
    if dtype not in SUMS:
        raise TypeError(f"there are no products of {dtype.name}")
    if math == "half_sums" and not (dtype is (result or dtype) is CudaDataType.R_16F):
        raise TypeError(f"math 'half_sums' is for R_16F into R_16F, not {dtype.name} into {(result or dtype).name}")
    if dtype is CudaDataType.R_8I and result is CudaDataType.R_32F:
        return ComputeType.COMPUTE_32F
    return MATH[math].get(dtype, SUMS[dtype])


def scale_type(compute: ComputeType, result: CudaDataType) -> CudaDataType:
    """The type of alpha and beta."""
    if compute is ComputeType.COMPUTE_16F:
        return CudaDataType.R_16F
    if compute in (ComputeType.COMPUTE_32I, ComputeType.COMPUTE_32I_PEDANTIC) and result is CudaDataType.R_32I:
        return CudaDataType.R_32I
    double = compute in (ComputeType.COMPUTE_64F, ComputeType.COMPUTE_64F_PEDANTIC)
    if result in COMPLEX:
        return CudaDataType.C_64F if double else CudaDataType.C_32F
    return CudaDataType.R_64F if double else CudaDataType.R_32F


def host_scalar(value: complex, code: CudaDataType) -> bytes:
    """A number as the libraries read it through a pointer. Raises TypeError or ValueError when the type lacks it."""
    return _scalar(value, code, str(value) if not value or isinstance(value, complex) else "")


@functools.lru_cache(maxsize=512, typed=True)
def _scalar(value: complex, code: CudaDataType, _said: str) -> bytes:
    """See `host_scalar`; what the number is said to be tells -0.0 from 0.0, which are equal."""
    dtype = numpy_dtype(code)
    if isinstance(value, complex) and code not in COMPLEX:
        raise TypeError(f"{value} is complex, and {dtype.name} is not")
    if dtype.kind in "iu":
        least, most = np.iinfo(dtype).min, np.iinfo(dtype).max
        if not least <= value.real <= most or value != int(value.real):
            raise ValueError(f"{value} is no {dtype.name}")
    with np.errstate(over="ignore"):
        cell = np.array(value).astype(dtype)
    if math.isfinite(abs(value)) and not np.isfinite(np.abs(cell.astype(np.complex128))):
        raise ValueError(f"{value} is beyond what {dtype.name} holds")
    return cell.tobytes()
