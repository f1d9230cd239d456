"""Arrays on a GPU as the functions of this package take them, and the checks that they share."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias

import numpy as np

from gocudnn_py import driver
from gocudnn_py.cuda import DeviceBuffer, Stream
from gocudnn_py.dtypes import numpy_dtype
from gocudnn_py.errors import CudaError

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

Array: TypeAlias = "NDArray[Any]"
FLOATS = ("float32", "float16", "bfloat16")
DEVICE_ORDINAL = 9  # CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL


class HasInterface(Protocol):
    """An array of another library: CuPy's, PyTorch's, Numba's."""

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]: ...


class Borrowed(NamedTuple):
    """Where another library's array lies, which is kept alive, also by a recorded graph."""

    pointer: int
    owner: object
    read_only: bool

    def used_on(self, stream: Stream) -> None:
        """Nothing: its library does not know our streams, so it must not be freed before they are done."""


@dataclass(frozen=True, init=False)
class DeviceArray:
    """A row-major array of `shape` and `dtype`, `offset` bytes into a buffer, or at an address.

    Raises TypeError for a place that is neither, ValueError when the buffer ends before the array does.
    """

    place: Any
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    offset: int

    def __init__(self, place: Any, shape: Sequence[int], dtype: DTypeLike = "float32", offset: int = 0) -> None:
        values = {"place": place, "shape": tuple(map(operator.index, shape)), "dtype": numpy_dtype(dtype)}
        for name, value in (values | {"offset": operator.index(offset)}).items():
            object.__setattr__(self, name, value)
        if not hasattr(place, "pointer") and not isinstance(place, int):
            raise TypeError(f"an array lies in a buffer or at an address, not in {type(place).__name__}")
        if min(self.shape, default=0) < 0 or self.offset < 0:
            raise ValueError(f"an array of shape {self.shape} at byte {self.offset}")
        room = getattr(place, "nbytes", None)
        if room is not None and self.offset + self.nbytes > room:
            raise ValueError(f"{self} ends at byte {self.offset + self.nbytes} of a buffer of {room}")

    @classmethod
    def empty(cls, stream: Stream, shape: Sequence[int], dtype: DTypeLike = "float32") -> DeviceArray:
        """A new array in memory of the stream's device; what is in it is not defined."""
        count, itemsize = math.prod(shape), numpy_dtype(dtype).itemsize
        return cls(DeviceBuffer(stream, max(0, count) * itemsize), shape, dtype)

    @classmethod
    def of(cls, stream: Stream, array: Array) -> DeviceArray:
        """A copy of a NumPy array."""
        made = cls.empty(stream, array.shape, array.dtype)
        made.upload(array)
        return made

    @property
    def size(self) -> int:
        """How many elements it has."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """How many bytes it takes."""
        return self.size * self.dtype.itemsize

    @property
    def address(self) -> int:
        """Where its first element lies."""
        return int(getattr(self.place, "pointer", self.place)) + self.offset

    def upload(self, array: Array) -> None:
        """Copy a NumPy array of its shape to the GPU, cast to its type. Raises ValueError for another shape."""
        if array.shape != self.shape:
            raise ValueError(f"an array of shape {array.shape} is uploaded to {self}")
        if self.size:
            self.place.upload(np.asarray(array, self.dtype, order="C"), self.offset)

    def download(self) -> Array:
        """A NumPy array of its content, when what the buffer's stream was given before is done."""
        content = np.empty(self.shape, self.dtype)
        if self.size:
            self.place.download(content, self.offset)
        return content

    def reshape(self, *shape: int) -> DeviceArray:
        """The same memory in another shape of as many elements."""
        if math.prod(shape) != self.size:
            raise ValueError(f"{self} has {self.size} elements, shape {shape} has {math.prod(shape)}")
        return DeviceArray(self.place, shape, self.dtype, self.offset)

    def rows(self, start: int, stop: int) -> DeviceArray:
        """The part from row `start` to before row `stop` of the first axis: the same memory."""
        if not self.shape or not 0 <= start <= stop <= self.shape[0]:
            raise ValueError(f"rows {start} to {stop} of {self}")
        skipped = start * math.prod(self.shape[1:]) * self.dtype.itemsize
        return DeviceArray(self.place, (stop - start, *self.shape[1:]), self.dtype, self.offset + skipped)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        made_on = getattr(self.place, "stream", None)
        return {
            "version": 3,
            "shape": self.shape,
            "typestr": self.dtype.str,
            "data": (self.address if self.size else 0, False),
            "strides": None,
            "stream": getattr(made_on, "handle", None),
        }

    def __str__(self) -> str:
        return f"{self.dtype.name}{list(self.shape)}"


Operand: TypeAlias = DeviceArray | HasInterface
"""What the functions take: a DeviceArray or whatever has `__cuda_array_interface__`."""


def operand(what: str, value: Operand, stream: Stream) -> DeviceArray:
    """A value as an array that a stream may work on; makes the stream's device current.

    Raises TypeError for what is no array on a GPU, ValueError when it is not row-major, lies on another GPU, or at
    no multiple of its elements' size (cuPointerGetAttribute).
    """
    stream.device.enter()
    array = value if isinstance(value, DeviceArray) else _borrow(what, value, stream)
    if array.size and array.address % array.dtype.itemsize:
        raise ValueError(f"{what} {array} begins at {array.address:#x}, no multiple of {array.dtype.itemsize} bytes")
    ordinal = _ordinal(array)
    if ordinal is not None and ordinal != stream.device.ordinal:
        raise ValueError(f"{what} {array} lies on GPU {ordinal}, the stream is of GPU {stream.device.ordinal}")
    return array


def operands(what: str, stream: Stream, **values: Operand) -> list[DeviceArray]:
    """The same of several values, by their names in what is done."""
    return [operand(f"{what}: {name}", value, stream) for name, value in values.items()]


def optional(what: str, stream: Stream, **values: Operand | None) -> list[DeviceArray | None]:
    """The same of values of which some may be left out."""
    return [None if value is None else operand(f"{what}: {name}", value, stream) for name, value in values.items()]


def _borrow(what: str, value: Any, stream: Stream) -> DeviceArray:
    interface = getattr(value, "__cuda_array_interface__", None)
    if interface is None:
        raise TypeError(f"{what} is {type(value).__name__}, no DeviceArray and without __cuda_array_interface__")
    if interface.get("mask") is not None:
        raise ValueError(f"{what} has a mask")
    pointer, read_only = interface["data"]
    shape, dtype = tuple(interface["shape"]), _interface_dtype(interface["typestr"])
    strides = interface.get("strides")
    if strides is not None and not _is_row_major(shape, strides, dtype.itemsize):
        raise ValueError(f"{what} of shape {shape} has strides {tuple(strides)} bytes; it has to be row-major")
    _wait_for(interface.get("stream"), stream)
    return DeviceArray(Borrowed(pointer or 0, value, read_only), shape, dtype)


def _interface_dtype(text: str) -> np.dtype[Any]:
    # NumPy has no letter for bfloat16: it is two bytes of anything, in PyTorch as in ml_dtypes.
    return numpy_dtype("bfloat16") if text.lstrip("<|=") == "V2" else np.dtype(text)


def _is_row_major(shape: Sequence[int], strides: Sequence[int], itemsize: int) -> bool:
    wanted, empty = itemsize, 0 in shape
    for extent, stride in zip(reversed(shape), reversed(strides), strict=True):
        if extent != 1 and stride != wanted and not empty:
            return False
        wanted *= extent
    return True


def _wait_for(producer: int | None, stream: Stream) -> None:
    """Let a stream wait for the one that an array says it is written on; within a capture nothing runs yet."""
    if producer is not None and producer != stream.handle and not stream.capturing:
        stream.wait_for(Stream.adopt(stream.device, producer))


def _ordinal(array: DeviceArray) -> int | None:
    """The number of the GPU where an array lies, None where that cannot be known."""
    place = array.place
    if isinstance(place, Borrowed):
        return pointer_ordinal(place.pointer) if place.pointer else None
    found = getattr(getattr(place, "device", None), "ordinal", None)
    return None if found is None else int(found)


def pointer_ordinal(address: int) -> int:
    """The number of the GPU that an address is of (cuPointerGetAttribute). Raises ValueError for one of no GPU."""
    try:
        return driver.number("cuPointerGetAttribute", DEVICE_ORDINAL, address)
    except CudaError as error:
        raise ValueError(f"{address:#x} is no memory of a GPU") from error
