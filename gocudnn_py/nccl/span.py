"""What a call works on: numbers of one of NCCL's types, in memory of the communicator's GPU."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np

from gocudnn_py.cuda import DeviceBuffer, ManagedBuffer, Stream
from gocudnn_py.dtypes import numpy_dtype
from gocudnn_py.xtra.array import Borrowed, DeviceArray, HasInterface, operand

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

BUFFERS = DeviceBuffer, ManagedBuffer
GPU_REACHES = (2, 3, 13)  # kDLCUDA, kDLCUDAHost, kDLCUDAManaged
TYPES = (
    *("int8", "uint8", "int32", "uint32", "int64", "uint64", "float16", "float32", "float64", "bfloat16"),
    *("float8_e4m3fn", "float8_e5m2"),
)
"""In the order of ncclDataType_t."""


class Exports(Protocol):
    """An array of another library that has DLPack's methods."""

    def __dlpack_device__(self) -> tuple[Any, int]: ...


Operand: TypeAlias = DeviceBuffer | ManagedBuffer | DeviceArray | HasInterface | Exports


@dataclass(frozen=True)
class Place:
    """Where an operand lies: `dtype` is None of bytes, `memory` whose it is."""

    name: str
    address: int
    nbytes: int
    dtype: np.dtype[Any] | None
    readonly: bool
    memory: Any


@dataclass(frozen=True)
class Span:
    """So many numbers at an address, for NCCL, whose type has the number `code`."""

    address: int
    count: int
    nbytes: int
    code: int
    memory: Any


def place(name: str, value: Any, stream: Stream) -> Place:
    """Where a value lies; the stream waits for the one that it was made on, except while it records.

    Raises TypeError for what is no memory of a GPU, ValueError when it is of another GPU or not contiguous.
    """
    found = _buffer(name, value, stream) if isinstance(value, BUFFERS) else _array(name, value, stream)
    made_on = getattr(found.memory, "stream", stream)
    if made_on.handle != stream.handle and not stream.capturing:
        stream.wait_for(made_on)
    return found


def _buffer(name: str, value: DeviceBuffer | ManagedBuffer, stream: Stream) -> Place:
    if value.ordinal is not None and value.ordinal != stream.device.ordinal:
        raise ValueError(f"{name} lies on GPU {value.ordinal}, the stream is of GPU {stream.device.ordinal}")
    readonly, dtype = getattr(value, "readonly", False), getattr(value, "dtype", None)
    return Place(name, value.pointer, value.nbytes, dtype, readonly, value)


def _array(name: str, value: Any, stream: Stream) -> Place:
    only_dlpack = hasattr(value, "__dlpack__") and not hasattr(value, "__cuda_array_interface__")
    found = operand(name, _viewed(name, value, stream) if only_dlpack else value, stream)
    readonly = getattr(found.place, "read_only", getattr(found.place, "readonly", False))
    return Place(name, found.address, found.nbytes, found.dtype, readonly, found.place)


def _viewed(name: str, value: Any, stream: Stream) -> DeviceArray:
    """An array by DLPack; not by `adopt`, for giving that back waits for the stream, which may wait for a rank that
    this thread, or one that it keeps, has yet to serve.
    """
    kind = int(value.__dlpack_device__()[0])
    if kind not in GPU_REACHES:
        raise TypeError(f"{name} is a {type(value).__name__} of DLPack device type {kind}, which no GPU reaches")
    from cuda.core.utils import StridedMemoryView

    view = StridedMemoryView.from_dlpack(value, stream_ptr=-1 if stream.capturing else stream.handle)
    shape, strides = tuple(view.shape), view.strides
    if strides is not None and not _row_major(shape, strides):
        raise ValueError(f"{name} of shape {shape} has strides {tuple(strides)} elements; it has to be row-major")
    return DeviceArray(Borrowed(view.ptr, (view, value), view.readonly), shape, view.dtype)


def _row_major(shape: tuple[int, ...], strides: Sequence[int]) -> bool:
    wanted = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
    return 0 in shape or all(n == 1 or have == want for n, have, want in zip(shape, strides, wanted, strict=True))


def spans(what: str, dtype: DTypeLike | None, *places: Place, reduces: bool = False) -> list[Span]:
    """The numbers at several places, of the one type that is named or that the arrays among them have.

    Where none is, bytes are moved as uint8. Raises TypeError when there are several types, one that NCCL lacks or none
    to reduce in, ValueError when numbers do not fit or do not lie at multiples of their size.
    """
    named = [] if dtype is None else [numpy_dtype(dtype)]
    found = dict.fromkeys(named + [each.dtype for each in places if each.dtype is not None])
    if len(found) > 1:
        raise TypeError(f"{what}: {' and '.join(map(str, found))} are not one type")
    if not found and reduces:
        raise TypeError(f"{what}: bytes are reduced as numbers of a type: name their dtype")
    kind = next(iter(found), np.dtype(np.uint8))
    if kind.name not in TYPES or not kind.isnative:
        raise TypeError(f"{what}: NCCL has no {kind.name if kind.isnative else kind.str}; it has {', '.join(TYPES)}")
    return [_span(each, kind) for each in places]


def _span(found: Place, kind: np.dtype[Any]) -> Span:
    size = kind.itemsize
    if found.nbytes % size:
        raise ValueError(f"{found.name} of {found.nbytes} bytes holds no whole number of {kind.name}")
    if found.address % size:
        raise ValueError(f"{found.name} is at {found.address:#x}, which is no multiple of {size} bytes")
    return Span(found.address, found.nbytes // size, found.nbytes, TYPES.index(kind.name), found.memory)


def apart(what: str, source: Span, target: Span, at: int = 0) -> None:
    """Raise ValueError where the two overlap, unless in place: the source `at` bytes behind where the target begins."""
    lies = source.address - target.address
    if lies != at and -source.nbytes < lies < target.nbytes and source.nbytes:
        raise ValueError(f"{what}: source at {source.address:#x} and target at {target.address:#x} overlap")
