"""A tensor of an operation graph: what is known of it before it exists."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass

from gocudnn_py._abi.cudnn import BackendAttributeName as Attribute
from gocudnn_py._abi.cudnn import BackendAttributeType as Type
from gocudnn_py._abi.cudnn import BackendDescriptorType as Kind
from gocudnn_py._abi.cudnn import DataType
from gocudnn_py.cudnn.graph.descriptor import BackendDescriptor, descriptor
from gocudnn_py.dtypes import numpy_dtype

MAX_RANK = 8
INT64_MAX = 2**63 - 1


@dataclass(eq=False)
class Tensor:
    """Dimensions (N, C, *spatial, whatever the layout), strides in elements and data type.

    A virtual tensor lives inside the graph only: it has no memory, and `Graph.output` makes it real.
    """

    uid: int
    name: str
    dims: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: DataType
    virtual: bool = False
    alignment: int = 16

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.dims)

    @property
    def nbytes(self) -> int:
        """Bytes from the first to past the last element."""
        last = sum((extent - 1) * stride for extent, stride in zip(self.dims, self.strides, strict=True))
        return (last + 1) * numpy_dtype(self.dtype).itemsize if self.size else 0

    def descriptor(self) -> BackendDescriptor:
        """The finalized descriptor."""
        settings = [
            (Attribute.TENSOR_UNIQUE_ID, Type.INT64, (self.uid,)),
            (Attribute.TENSOR_DATA_TYPE, Type.DATA_TYPE, (self.dtype,)),
            (Attribute.TENSOR_DIMENSIONS, Type.INT64, self.dims),
            (Attribute.TENSOR_STRIDES, Type.INT64, self.strides),
            (Attribute.TENSOR_BYTE_ALIGNMENT, Type.INT64, (self.alignment,)),
            (Attribute.TENSOR_IS_VIRTUAL, Type.BOOLEAN, (self.virtual,)),
        ]
        return descriptor(Kind.TENSOR_DESCRIPTOR, settings)

    def key(self) -> list[object]:
        """What distinguishes it in the canonical form of its graph."""
        return [self.uid, self.dims, self.strides, self.dtype.name, self.virtual, self.alignment]

    def __str__(self) -> str:
        order = "x".join(map(str, self.dims))
        kind = "" if not self.virtual else " virtual"
        return f"{self.name}: {self.dtype.name}[{order}]{_layout(self.dims, self.strides)}{kind}"


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
    """The axes from outermost to innermost; an axis of extent 1 keeps its place among equals."""
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
