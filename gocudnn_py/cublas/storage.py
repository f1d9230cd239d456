"""Band and packed storage, in row-major terms, and how any storage of a matrix reads by columns.

What we write by rows the library reads by columns, so it sees the transpose of what lies in memory:

- the library is asked for the transpose of each result, c' = b' a', so factors and sides change places;
- a matrix that is used as it lies is read transposed, one used as its transpose is read as it is meant;
- the lower triangle of what lies in memory is read as the upper one, and the bands below the diagonal as those above;
- a Hermitian matrix is read as its transpose, which is its conjugate. Where a function has no conjugate to undo
  that, level 2 goes through level 3, for which the order of factors is exchanged instead: a vector is a matrix of
  one column, and y' = x' a' holds with a' as it is read. Bands and packed matrices have no level 3, and are
  refused unless they are stored by columns.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from gocudnn_py._abi.cublas import FillMode, Operation
from gocudnn_py._abi.cuda import CudaDataType
from gocudnn_py.matrix import INT64_MAX, Matrix, Turned

if TYPE_CHECKING:
    from numpy.typing import DTypeLike


@dataclass(frozen=True)
class Band(Turned):
    """A `rows` x `columns` matrix of which only the diagonals near the main one are stored, `below` and `above` it.

    Row i of memory holds the row's elements from column i - below to column i + above, in places left empty where
    there is no such column; rows lie `pitch` elements apart. A triangle has diagonals on one side only.
    """

    place: Any
    rows: int
    columns: int
    below: int
    above: int
    dtype: DTypeLike | CudaDataType = "float32"
    pitch: int = 0
    transposed: bool = field(default=False, kw_only=True)
    conjugated: bool = field(default=False, kw_only=True)
    offset: int = field(default=0, kw_only=True)

    def __post_init__(self) -> None:
        width = self.below + 1 + self.above
        object.__setattr__(self, "pitch", self.pitch or width)
        said = f"a band of {self.below} diagonals below and {self.above} above in {self.rows} x {self.columns}"
        if min(self.rows, self.columns) < 1 or min(self.below, self.above) < 0:
            raise ValueError(said)
        if not width <= self.pitch <= INT64_MAX:
            raise ValueError(f"{said} cannot lie {self.pitch} elements a row")
        self._settle(said, (self.rows - 1) * self.pitch + width)


@dataclass(frozen=True)
class Packed(Turned):
    """A triangle of a `size` x `size` matrix, its rows one after another without gaps; of a symmetric matrix either."""

    place: Any
    size: int
    dtype: DTypeLike | CudaDataType = "float32"
    transposed: bool = field(default=False, kw_only=True)
    conjugated: bool = field(default=False, kw_only=True)
    offset: int = field(default=0, kw_only=True)

    def __post_init__(self) -> None:
        if not 1 <= self.size <= INT64_MAX:
            raise ValueError(f"a packed matrix of {self.size} rows")
        self._settle(f"a packed matrix of {self.size} rows", self.size * (self.size + 1) // 2)

    @property
    def rows(self) -> int:  # type: ignore[override]
        """Its size."""
        return self.size

    @property
    def columns(self) -> int:  # type: ignore[override]
        """Its size."""
        return self.size


Stored: TypeAlias = Matrix | Band | Packed


def letters(kind: str, a: Stored) -> str:
    """The two letters of a stem for a kind of matrix (sy, he, tr) in this storage: sb and sp, say."""
    return kind if isinstance(a, Matrix) else kind[0] + ("b" if isinstance(a, Band) else "p")


def extents(what: str, a: Stored, lower: bool) -> tuple[int, ...]:
    """The size of a square matrix, and how many diagonals a band has. Raises ValueError when it is not square.

    Or when a band has diagonals outside of the triangle.
    """
    rows, columns = a.shape
    if rows != columns:
        raise ValueError(f"{what}: {a} is not square")
    if not isinstance(a, Band):
        return (rows,)
    inside, outside = (a.below, a.above) if lower != a.transposed else (a.above, a.below)
    if outside:
        raise ValueError(f"{what}: {a} has {outside} diagonals outside of its {'lower' if lower else 'upper'} triangle")
    return rows, inside


def memory(a: Stored) -> tuple[int, ...]:
    """Where it lies and how far its rows are apart, as C takes them."""
    return (a.address,) if isinstance(a, Packed) else (a.address, a.pitch)


def triangle(a: Stored, lower: bool) -> FillMode:
    """Which triangle the library sees when the lower or upper one of `a`, as it is used, is stored."""
    return FillMode.LOWER if lower == a.transposed else FillMode.UPPER


def reading(what: str, a: Stored) -> Operation | None:
    """What the library must do to multiply a vector by `a`; None when it has no way, and level 3 must do it.

    Raises ValueError where there is no level 3.
    """
    if not a.transposed:
        return Operation.C if a.conjugated else Operation.T
    if not a.conjugated:
        return Operation.N
    if isinstance(a, Matrix):
        return None
    raise ValueError(f"{what}: {a} is read as its conjugate, which cuBLAS cannot multiply by; store it by columns")


def read_as_meant(what: str, a: Stored) -> bool:
    """Whether a Hermitian matrix is read as it is meant, not as its conjugate, with which level 3 must be used.

    Raises ValueError where there is no level 3.
    """
    meant = a.transposed != a.conjugated
    if not meant and not isinstance(a, Matrix):
        raise ValueError(f"{what}: {a} is read as its conjugate; store it by columns, and give its transpose")
    return meant


def not_conjugated(what: str, a: Stored) -> None:
    """Raise ValueError for a symmetric matrix, or a result, that is used as its conjugate."""
    if a.conjugated:
        raise ValueError(f"{what}: {a} is conjugated, which cuBLAS cannot do here")
