"""Many small matrices or vectors at once, each anywhere: the library is given an array of their addresses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from numbers import Number
from typing import Any, Generic, TypeVar

import numpy as np

from gocudnn_py._abi.cuda import CudaDataType
from gocudnn_py.cublas.gemm import Factors, check_gemv, form, multiply
from gocudnn_py.cublas.handle import Handle, common_type
from gocudnn_py.cublas.level3 import EXCHANGED, Side, shapes, triangular
from gocudnn_py.cublas.names import INT32_MAX, function
from gocudnn_py.cuda import DeviceBuffer, Stream
from gocudnn_py.matrix import Matrix, Vector, product_sizes

Item = TypeVar("Item", Matrix, Vector)


class Batch(Generic[Item]):
    """Matrices or vectors that are alike but for where they lie, their addresses in an array on the device.

    `Batch(stream, matrices)`; several groups, each of matrices that are alike, are for `gemm_grouped_batched` only.
    Making one waits for the stream. Raises ValueError for an empty group, or one whose members are not alike.
    """

    def __init__(self, stream: Stream, *groups: Sequence[Item]) -> None:
        items: list[Item] = [item for group in groups for item in group]
        if not groups or not all(groups):
            raise ValueError(f"a batch of groups of {[len(group) for group in groups]} has an empty one")
        for group in groups:
            _alike(group)
        self.heads: tuple[Item, ...] = tuple(group[0] for group in groups)
        self.sizes: tuple[int, ...] = tuple(len(group) for group in groups)
        self.pointers: Any = DeviceBuffer(stream, 8 * len(items))
        self.pointers.upload(np.array([item.address for item in items], np.uint64))
        self.places = (*(place for item in items for place in item.places), self.pointers)

    @property
    def head(self) -> Item:
        """The first, which says what the others are like. Raises ValueError when there are several groups."""
        if len(self.heads) > 1:
            raise ValueError(f"a batch of {len(self.heads)} groups is for gemm_grouped_batched")
        return self.heads[0]

    @property
    def size(self) -> int:
        """How many there are."""
        return sum(self.sizes)

    @property
    def address(self) -> int:
        """Where the array of addresses lies."""
        return int(self.pointers.pointer)

    @property
    def T(self) -> Batch[Matrix]:  # noqa: N802 - as NumPy has it
        """The same matrices, each used as its transpose."""
        return self._turned([head.T for head in self.heads if isinstance(head, Matrix)])

    @property
    def H(self) -> Batch[Matrix]:  # noqa: N802 - as NumPy's matrices have it
        """The same matrices, each used as its conjugate transpose."""
        return self._turned([head.H for head in self.heads if isinstance(head, Matrix)])

    def _turned(self, heads: list[Matrix]) -> Batch[Matrix]:
        if len(heads) < len(self.heads):
            raise TypeError("vectors have no transpose")
        turned: Batch[Matrix] = Batch.__new__(Batch)
        turned.heads, turned.sizes, turned.places = tuple(heads), self.sizes, self.places
        turned.pointers = self.pointers
        return turned

    def __str__(self) -> str:
        return f"{self.size} x {self.heads[0]}"


def gemm_batched(
    handle: Handle,
    a: Batch[Matrix],
    b: Batch[Matrix],
    c: Batch[Matrix],
    *,
    alpha: Any = 1.0,
    beta: Any = 0.0,
    math: str = "fma",
) -> None:
    """Each c = alpha a b + beta c, with `math` as `gemm` has it.

    (cublasGemmBatchedEx; with math "mode" cublasSgemmBatched, cublasDgemmBatched, cublasCgemmBatched,
    cublasZgemmBatched; "3m" cublasCgemm3mBatched.)
    """
    count = admit(handle, "gemm_batched", a, b, c)
    factors = Factors((a.head, b.head, c.head), (a.address, b.address, c.address), batch=(count,))
    multiply(handle, "gemm_batched", "Batched", factors, alpha, beta, math)


def gemm_grouped_batched(
    handle: Handle,
    a: Batch[Matrix],
    b: Batch[Matrix],
    c: Batch[Matrix],
    *,
    alpha: Sequence[Any] | None = None,
    beta: Sequence[Any] | None = None,
    math: str = "fma",
) -> None:
    """Each c = alpha a b + beta c in groups of unlike shapes, with a number of `alpha` and `beta` for each group.

    (cublasGemmGroupedBatchedEx; with math "mode" cublasSgemmGroupedBatched, cublasDgemmGroupedBatched.)
    """
    what = "gemm_grouped_batched"
    admit(handle, what, a, b, c, grouped=True)
    groups = list(zip(a.heads, b.heads, c.heads, strict=True))
    forms = {form(what, "GroupedBatched", group, math) for group in groups}
    if len(forms) > 1:
        raise TypeError(f"{what}: groups of {', '.join(str(group[0]) for group in groups)} have different types")
    name, scale, types, how = forms.pop()
    one, two = (_numbers(handle, what, scale, *each, len(groups)) for each in ((alpha, 1), (beta, 0)))
    (*sizes, b_pitches, a_pitches, c_pitches, counts), wide = _group_arrays(what, groups, a.sizes)
    factors = b.address, *types[1], b_pitches, a.address, *types[0], a_pitches
    result = c.address, *types[2], c_pitches
    name = f"{name}_64" if wide else name
    handle.call(name, *sizes, one, *factors, two, *result, len(groups), counts, *how[:1])


def gemv_batched(
    handle: Handle, a: Batch[Matrix], x: Batch[Vector], y: Batch[Vector], *, alpha: Any = 1.0, beta: Any = 0.0
) -> None:
    """Each y = alpha a x + beta y (cublasSgemvBatched, cublasDgemvBatched, cublasCgemvBatched, cublasZgemvBatched)."""
    count = admit(handle, "gemv_batched", a, x, y)
    matrix, given, result = a.head, x.head, y.head
    code = common_type("gemv_batched", matrix, given, result)
    operation = check_gemv("gemv_batched", matrix, given, result)
    one, two = handle.scalars((code, alpha), (code, beta))
    vectors = x.address, given.stride, two, y.address, result.stride
    extent = matrix.columns, matrix.rows
    handle.call(function("{}gemvBatched", code), operation, *extent, one, a.address, matrix.pitch, *vectors, count)


def trsm_batched(
    handle: Handle,
    a: Batch[Matrix],
    b: Batch[Matrix],
    *,
    lower: bool,
    unit: bool = False,
    side: Side = "left",
    alpha: Any = 1.0,
) -> None:
    """Each b = x where a x = alpha b with a triangular a, or x a = alpha b.

    (cublasStrsmBatched, cublasDtrsmBatched, cublasCtrsmBatched, cublasZtrsmBatched.)
    """
    count = admit(handle, "trsm_batched", a, b)
    code = shapes(handle, "trsm_batched", (a.head, b.head, b.head), side)
    settings = EXCHANGED[side], *triangular(a.head, lower, unit)
    (factor,) = handle.scalars((code, alpha))
    places = a.address, a.head.pitch, b.address, b.head.pitch
    handle.call(function("{}trsmBatched", code), *settings, b.head.columns, b.head.rows, factor, *places, count)


def admit(handle: Handle, what: str, *batches: Batch[Any], grouped: bool = False) -> int:
    """How many each batch has. Raises ValueError when they differ, or have several groups and must not."""
    handle.hold(what, *batches)
    if len({batch.sizes for batch in batches}) > 1 or not (grouped or len(batches[0].sizes) == 1):
        raise ValueError(f"{what}: batches of {', '.join(str(batch.sizes) for batch in batches)}")
    return batches[0].size


def _alike(group: Sequence[Matrix] | Sequence[Vector]) -> None:
    looks = {replace(item, place=0, offset=0) for item in group}
    if len(looks) > 1:
        raise ValueError(f"a batch of {', '.join(map(str, group))}, which are not alike in shape, type or pitch")


def _group_arrays(
    what: str, groups: list[tuple[Matrix, Matrix, Matrix]], counts: tuple[int, ...]
) -> tuple[list[bytes], bool]:
    """Operations, extents, pitches and counts of all groups, in the order and form of C, and whether of 64 bits."""
    sizes = [product_sizes(what, *group) for group in groups]
    extents = [[size[index] for size in sizes] for index in (2, 0, 1)]
    pitches = [[group[index].pitch for group in groups] for index in (1, 0, 2)]
    numbers = [*extents, *pitches, list(counts)]
    wide = max(max(each) for each in numbers) > INT32_MAX
    operations = [np.array([group[index].operation for group in groups], np.int32) for index in (1, 0)]
    arrays = (*operations, *(np.array(each, np.int64 if wide else np.int32) for each in numbers))
    return [array.tobytes() for array in arrays], wide


def _numbers(
    handle: Handle, what: str, code: CudaDataType, given: Sequence[Any] | None, usual: int, groups: int
) -> bytes:
    """A number for each group, one after another on the host."""
    values = [usual] * groups if given is None else list(given)
    if len(values) != groups or not all(isinstance(value, Number) for value in values):
        raise ValueError(f"{what}: {values} for {groups} groups, which need a number each")
    return b"".join(handle.scalars(*((code, value) for value in values)))
