"""A tensor of an operation graph: what is known of it before it exists."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gocudnn_py._abi.cudnn import BackendAttributeName as Attribute
from gocudnn_py._abi.cudnn import BackendAttributeType as Type
from gocudnn_py._abi.cudnn import BackendDescriptorType as Kind
from gocudnn_py._abi.cudnn import BackendTensorReordering as Reordering
from gocudnn_py._abi.cudnn import DataType
from gocudnn_py.cudnn.graph.descriptor import BackendDescriptor, descriptor
from gocudnn_py.dtypes import numpy_dtype

MAX_RANK = 8
INT64_MAX = 2**63 - 1
PACKED = {DataType.FP4_E2M1, DataType.INT4, DataType.UINT4}
NARROW = {DataType.BOOLEAN, DataType.FP8_E5M3}  # NumPy has no type for them: a byte an element is enough


@dataclass(eq=False)
class Tensor:
    """Dimensions (N, C, *spatial, whatever the layout), strides in elements and data type.

    A virtual tensor lives inside the graph only: it has no memory, and `Graph.output` makes it real. One with a
    `value` is passed by value, and a `constant` one is compiled into the kernels. `ragged` holds where each entry of
    the outermost axis begins, in units of `ragged_unit` elements. `reordering` is a layout within blocks, and
    `vector` the size and the axis of vectors that are one element each.
    """

    uid: int
    name: str
    dims: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: DataType
    virtual: bool = False
    alignment: int = 16
    value: float | None = None
    constant: bool = False
    ragged: Tensor | None = None
    ragged_unit: int = 1
    reordering: Reordering = Reordering.NONE
    vector: tuple[int, int] | None = None

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.dims)

    @property
    def nbytes(self) -> int:
        """Bytes from the first to past the last element, enough also for types narrower than a byte."""
        last = sum((extent - 1) * stride for extent, stride in zip(self.dims, self.strides, strict=True))
        width = 1 if self.dtype in NARROW else numpy_dtype(self.dtype).itemsize
        return (last + 1) * width * (self.vector[0] if self.vector else 1) if self.size else 0

    @property
    def least_bytes(self) -> int:
        """Bytes that its memory must have, 0 where that depends on more: offsets, and elements narrower than a byte."""
        return 0 if self.ragged is not None or self.dtype in NARROW | PACKED else self.nbytes

    def host_value(self, value: float | None = None) -> np.ndarray[Any, Any]:
        """The value, or another one in its place, as it is passed: an array of one element in memory of the host.

        Raises ValueError for a number that the type has not.
        """
        own = 0.0 if self.value is None else self.value
        number = own if value is None else value
        with np.errstate(over="ignore", invalid="ignore"):
            made = np.array([number]).astype(numpy_dtype(self.dtype))
        lost = made[0] != number if made.dtype.kind in "iu" else np.isfinite(number) and not np.isfinite(made[0])
        if lost:
            raise ValueError(f"{number:g} is no number of type {self.dtype.name} (tensor {self.name})")
        return made

    def descriptor(self, ragged: BackendDescriptor | None = None) -> BackendDescriptor:
        """The finalized descriptor, with that of its ragged offsets (cudnnBackendFinalize)."""
        settings: list[tuple[Attribute, Type, Sequence[Any]]] = [
            (Attribute.TENSOR_UNIQUE_ID, Type.INT64, (self.uid,)),
            (Attribute.TENSOR_DATA_TYPE, Type.DATA_TYPE, (self.dtype,)),
            (Attribute.TENSOR_DIMENSIONS, Type.INT64, self.dims),
            (Attribute.TENSOR_STRIDES, Type.INT64, self.strides),
            (Attribute.TENSOR_BYTE_ALIGNMENT, Type.INT64, (self.alignment,)),
            (Attribute.TENSOR_IS_VIRTUAL, Type.BOOLEAN, (self.virtual,)),
        ]
        return descriptor(Kind.TENSOR_DESCRIPTOR, settings + self._rarely_set(ragged))

    def _rarely_set(self, ragged: BackendDescriptor | None) -> list[tuple[Attribute, Type, Sequence[Any]]]:
        settings: list[tuple[Attribute, Type, Sequence[Any]]] = []
        if self.value is not None:
            settings.append((Attribute.TENSOR_IS_BY_VALUE, Type.BOOLEAN, (True,)))
        if self.constant:
            settings.append((Attribute.TENSOR_CONSTANT_VALUE, Type.VOID_PTR, (self.host_value(),)))
        if ragged is not None:
            settings.append((Attribute.TENSOR_RAGGED_OFFSET_DESC, Type.BACKEND_DESCRIPTOR, (ragged,)))
        if self.ragged_unit != 1:
            settings.append((Attribute.TENSOR_RAGGED_OFFSET_MULTIPLIER, Type.INT64, (self.ragged_unit,)))
        if self.reordering is not Reordering.NONE:
            settings.append((Attribute.TENSOR_REORDERING_MODE, Type.TENSOR_REORDERING_MODE, (self.reordering,)))
        if self.vector is not None:
            settings.append((Attribute.TENSOR_VECTOR_COUNT, Type.INT64, (self.vector[0],)))
            settings.append((Attribute.TENSOR_VECTORIZED_DIMENSION, Type.INT64, (self.vector[1],)))
        return settings

    def key(self) -> list[object]:
        """What distinguishes it in the canonical form of its graph: not its value, unless that is compiled in."""
        rare = {
            "by value": self.value is not None,
            "constant": [self.value] if self.constant else None,
            "ragged": [self.ragged.uid, self.ragged_unit] if self.ragged else None,
            "reordering": self.reordering.name if self.reordering else None,
            "vector": self.vector,
        }
        said = {name: value for name, value in rare.items() if value}
        common = [self.uid, self.dims, self.strides, self.dtype.name, self.virtual, self.alignment]
        return [*common, said] if said else common

    def __str__(self) -> str:
        order = "x".join(map(str, self.dims))
        words = [_layout(self.dims, self.strides), " virtual" if self.virtual else ""]
        words.append(f" ragged by {self.ragged.name}" if self.ragged else "")
        words.append(f" reordered {self.reordering.name}" if self.reordering else "")
        words.append(f" of vectors of {self.vector[0]} along axis {self.vector[1]}" if self.vector else "")
        return f"{self.name}: {self.dtype.name}[{order}]{''.join(words)}"


def packed_strides(dims: Sequence[int], order: Sequence[int] | None = None) -> tuple[int, ...]:
    """Strides without gaps; `order` lists the axes from outermost to innermost, row-major unless given."""
    strides, step = [0] * len(dims), 1
    for axis in reversed(order if order is not None else range(len(dims))):
        strides[axis] = step
        step *= dims[axis]
    return tuple(strides)


def channels_last(rank: int) -> tuple[int, ...]:
    """The order of the axes in memory of NHWC, and its kin of other ranks."""
    return (0, *range(2, rank), 1) if rank > 2 else tuple(range(rank))


def order_of(dims: Sequence[int], strides: Sequence[int]) -> tuple[int, ...]:
    """The axes from outermost to innermost.

    Where axes of extent 1 leave it open it is row-major or channels last, if either fits.
    """
    for order in (tuple(range(len(dims))), channels_last(len(dims))):
        if tuple(strides) == packed_strides(dims, order):
            return order
    return tuple(sorted(range(len(dims)), key=lambda axis: (-strides[axis], axis)))


def check_dims(what: str, dims: Sequence[int], least: int = 1) -> tuple[int, ...]:
    """The dimensions as a tuple. Raises ValueError with the numbers for one out of range, or too many."""
    numbers = tuple(map(operator.index, dims))
    if not 1 <= len(numbers) <= MAX_RANK:
        raise ValueError(f"{what} has {len(numbers)} dimensions; cuDNN takes 1 to {MAX_RANK} ({what}={numbers})")
    for axis, number in enumerate(numbers):
        if not least <= number <= INT64_MAX:
            raise ValueError(f"{what}[{axis}] is {number}, outside {least} to 2^63 - 1 ({what}={numbers})")
    return numbers


def _layout(dims: Sequence[int], strides: Sequence[int]) -> str:
    if tuple(strides) == packed_strides(dims):
        return ""
    if tuple(strides) == packed_strides(dims, channels_last(len(dims))):
        return " channels last"
    return f" strides {tuple(strides)}"
