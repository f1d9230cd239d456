"""What every cuDNN descriptor shares: making, destroying, checked numbers, repr."""

from __future__ import annotations

import ctypes
import operator
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from gocudnn_py._abi.cudnn import DataType
from gocudnn_py.dtypes import scalar
from gocudnn_py.library import load
from gocudnn_py.resource import Resource

if TYPE_CHECKING:
    from gocudnn_py._abi.cudnn import CuDNN

INT32_MAX = 2**31 - 1
MAX_RANK = 8


class Descriptor(Resource):
    """An opaque cuDNN object that describes data or an operation; needs no GPU.

    Made empty, or with a harmless setting; `set` fills it and returns it, `get` reads it back from cuDNN.
    """

    kind: ClassVar[str]
    lib: CuDNN

    def __init__(self) -> None:
        self.lib = load("cudnn")
        made = ctypes.c_void_p()
        getattr(self.lib, f"cudnnCreate{self.kind}Descriptor")(ctypes.byref(made))
        super().__init__(made.value or 0, getattr(self.lib, f"cudnnDestroy{self.kind}Descriptor"))

    def _describe(self) -> str:
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._describe() if self.usable else 'unusable'})"


class Operand(NamedTuple):
    """Data on a GPU with its descriptor, as `descriptor.at(place)` makes it."""

    descriptor: Descriptor
    place: Any

    @property
    def pair(self) -> tuple[int, int]:
        """The descriptor's handle and the address, the two arguments that cuDNN takes."""
        return self.descriptor.handle, address(self.place)


def address(place: Any) -> int:
    """The address of a buffer, of what has `__cuda_array_interface__`, of an address itself; 0 of None.

    Raises TypeError for memory of the host.
    """
    if place is None:
        return 0
    pointer = getattr(place, "pointer", place)
    if isinstance(pointer, int):
        return pointer
    interface = getattr(place, "__cuda_array_interface__", None)
    if interface is None:
        kind = type(place).__name__
        raise TypeError(f"a {kind} is no memory of a GPU: upload an array of the host to a DeviceBuffer first")
    return int(interface["data"][0])


def span(buffer: Any) -> tuple[int, int]:
    """Address and size of a buffer or an array on the GPU, none for None. Raises TypeError for memory of the host."""
    return (0, 0) if buffer is None else (address(buffer), int(buffer.nbytes))


def handle_of(descriptor: Descriptor | None) -> int:
    """A descriptor's handle, 0 for None."""
    return 0 if descriptor is None else descriptor.handle


def pair_of(operand: Operand | None) -> tuple[int, int]:
    """An operand's two arguments, none for None."""
    return (0, 0) if operand is None else operand.pair


def size_of(query: Callable[..., None], *arguments: Any) -> int:
    """The number of bytes that a query writes to its last argument."""
    size = ctypes.c_size_t()
    query(*arguments, ctypes.byref(size))
    return size.value


class DataDescriptor(Descriptor):
    """A descriptor of data, which remembers their type: alpha and beta are doubles for float64, floats for all else."""

    dtype: DataType = DataType.FLOAT

    def at(self, place: Any) -> Operand:
        """The data at a buffer, an array of PyTorch's or CuPy's on the GPU, or an address.

        Raises ValueError for a buffer that is too small, TypeError for memory of the host.
        """
        address(place)
        room, needed = getattr(place, "nbytes", None), getattr(self, "size_in_bytes", 0)
        if isinstance(room, int) and room < needed:
            raise ValueError(f"{self!r} takes {needed:,} bytes, the buffer holds {room:,}")
        return Operand(self, place)


def factors(result: Operand, alpha: float, beta: float) -> tuple[Any, Any]:
    """Alpha and beta, result = alpha op + beta result, as a function takes them for its result's type."""
    assert isinstance(result.descriptor, DataDescriptor)
    dtype = result.descriptor.dtype
    return scalar(alpha, dtype), scalar(beta, dtype)


def int32s(what: str, values: Sequence[int], *, least: int = 0) -> tuple[int, ...]:
    """The values as a tuple; ValueError for one below `least` or beyond 32 bits, which C would truncate."""
    numbers = tuple(map(operator.index, values))
    for position, number in enumerate(numbers):
        if not least <= number <= INT32_MAX:
            raise ValueError(f"{what}[{position}] is {number}, outside {least} to {INT32_MAX} ({what}={numbers})")
    return numbers


def int32(what: str, value: int, *, least: int = 0) -> int:
    """One value, checked as `int32s` does."""
    number = operator.index(value)
    if not least <= number <= INT32_MAX:
        raise ValueError(f"{what} is {number}, outside {least} to {INT32_MAX}")
    return number


def same_rank(what: str, **groups: Sequence[int]) -> None:
    """Raise ValueError, with every value, unless all have as many numbers as the first."""
    if len({len(values) for values in groups.values()}) > 1:
        listed = ", ".join(f"{name}={tuple(values)}" for name, values in groups.items())
        raise ValueError(f"{what}: one number for each dimension is needed in all of {listed}")


def check_rank(what: str, rank: int, least: int, most: int = MAX_RANK) -> None:
    """Raise ValueError unless cuDNN takes that many dimensions."""
    if not least <= rank <= most:
        raise ValueError(f"{what} has {rank} dimensions; cuDNN takes {least} to {most}")


def int_array(values: Sequence[int]) -> ctypes.Array[ctypes.c_int]:
    """The values as a C array."""
    return (ctypes.c_int * len(values))(*values)


def ints(count: int, query: Callable[..., None], *arguments: Any) -> tuple[int, ...]:
    """The numbers that a query writes to its last `count` arguments."""
    numbers = [ctypes.c_int() for _ in range(count)]
    query(*arguments, *map(ctypes.byref, numbers))
    return tuple(number.value for number in numbers)
