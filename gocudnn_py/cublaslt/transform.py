"""Matrices transformed: scaled, added, transposed, and brought into the tiles that some kernels want."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gocudnn_py._abi.cublaslt import MatrixTransformDescAttributes, Order
from gocudnn_py._abi.cuda import CudaDataType
from gocudnn_py.cublaslt.descriptors import MatrixLayout, TransformDescriptor
from gocudnn_py.cublaslt.handle import Handle
from gocudnn_py.matrix import COMPLEX, Matrix, Placed, check_places, host_scalar, lies_plain, used_on

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

TILE_ROWS = {Order.COL32: 1, Order.COL4_4R2_8C: 8, Order.COL32_2R_4R4: 32}
TILE_COLUMNS = 32
DOUBLES = (CudaDataType.R_64F, CudaDataType.C_64F)


@dataclass(frozen=True)
class Tiles(Placed):
    """A `rows` x `columns` matrix in tiles of 32 rows, as the library's orders COL32, COL4_4R2_8C, COL32_2R_4R4 say.

    Their columns are our rows.
    """

    place: Any
    rows: int
    columns: int
    dtype: DTypeLike | CudaDataType = "int8"
    order: Order = Order.COL32
    offset: int = field(default=0, kw_only=True)

    def __post_init__(self) -> None:
        if self.order not in TILE_ROWS or min(self.rows, self.columns) < 1:
            raise ValueError(f"{self.rows} x {self.columns} in tiles of order {self.order.name}")
        self._settle(f"{self.rows} x {self.columns} in tiles", self.elements)

    @property
    def pitch(self) -> int:
        """Elements from one group of 32 rows to the next."""
        height = TILE_ROWS[self.order]
        return -(-self.columns // height) * height * TILE_COLUMNS

    @property
    def elements(self) -> int:
        """Elements that it takes."""
        return -(-self.rows // TILE_COLUMNS) * self.pitch

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.rows, self.columns

    def layout(self) -> MatrixLayout:
        """What the library is told of it."""
        as_rows = Matrix(0, self.rows, self.columns, self.dtype, self.pitch)
        return MatrixLayout(as_rows, order=self.order)

    def __str__(self) -> str:
        return f"{self.code.name}[{self.rows}x{self.columns} {self.order.name}]"


def transform(
    handle: Handle,
    stream: Any,
    a: Matrix | Tiles,
    c: Matrix | Tiles,
    *,
    b: Matrix | Tiles | None = None,
    alpha: float = 1.0,
    beta: float = 0.0,
) -> None:
    """c = alpha a + beta b on a stream, either transposed as it is given (cublasLtMatrixTransform).

    Raises ValueError for shapes that differ, CublasError for types and orders that the library cannot bring together.
    """
    operands = [each for each in (a, b, c) if each is not None]
    if any(each.shape != c.shape for each in operands):
        raise ValueError(f"transform: {', '.join(map(str, operands))} are not of one shape")
    if isinstance(c, Matrix):
        lies_plain("transform", c=c)
    if b is None and beta:
        raise ValueError(f"transform: beta is {beta}, and there is no b")
    used_on(stream, check_places("transform", handle.device, *operands))
    scale = _scale(c.code)
    with TransformDescriptor(scale) as descriptor:
        descriptor.set(MatrixTransformDescAttributes.TRANSA, _operation(a))
        descriptor.set(MatrixTransformDescAttributes.TRANSB, _operation(b))
        layouts = [None if each is None else _layout(each) for each in (a, b, c)]
        first, second, result = (None if layout is None else layout.handle for layout in layouts)
        handle.lib.cublasLtMatrixTransform(
            handle.enter(), descriptor.handle, host_scalar(alpha, scale), a.address, first,
            host_scalar(beta, scale), None if b is None else b.address, second, c.address, result, stream.handle,
        )  # fmt: skip


def _scale(code: CudaDataType) -> CudaDataType:
    """The type of alpha and beta."""
    if code is CudaDataType.R_32I:
        return code
    double = code in DOUBLES
    if code in COMPLEX:
        return code
    return CudaDataType.R_64F if double else CudaDataType.R_32F


def _operation(a: Matrix | Tiles | None) -> int:
    return a.operation if isinstance(a, Matrix) else 0


def _layout(a: Matrix | Tiles) -> MatrixLayout:
    return a.layout() if isinstance(a, Tiles) else MatrixLayout(a)
