"""The parameters of a kernel: their declared types, and arguments as the bytes that a launch reads."""

from __future__ import annotations

import ctypes
import operator
import struct
from collections.abc import Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from gocudnn_py.cuda.memory import DeviceBuffer

if TYPE_CHECKING:
    from gocudnn_py.cuda.device import Device
    from gocudnn_py.cuda.stream import Stream


class Scalar(Enum):
    """Parameter types of a kernel; `pointer` takes a device buffer or an address."""

    pointer = "pointer", ctypes.c_uint64, "Q"
    int32 = "int32", ctypes.c_int32, "i"
    uint32 = "uint32", ctypes.c_uint32, "I"
    int64 = "int64", ctypes.c_int64, "q"
    uint64 = "uint64", ctypes.c_uint64, "Q"
    float32 = "float32", ctypes.c_float, "f"
    float64 = "float64", ctypes.c_double, "d"

    @property
    def cell(self) -> Any:
        """The ctypes class that holds such an argument."""
        return self.value[1]

    @property
    def letter(self) -> str:
        """Its letter in the module struct."""
        return str(self.value[2])


Parameter: TypeAlias = "Scalar | np.dtype[Any]"
"""A NumPy dtype stands for a structure that is passed by value, its fields where C has them (`align=True`)."""


class Parameters:
    """What a kernel takes: writes arguments into memory, where `offsets` says each is."""

    def __init__(self, name: str, device: Device, signature: Sequence[Parameter]) -> None:
        self.name, self.device, self.signature = name, device, tuple(signature)
        letters = [_letter(kind) for kind in self.signature]
        before = ["".join(letters[:index]) for index in range(len(letters))]
        self.offsets = [
            struct.calcsize(f"{text}0{_aligned(letter)}") for text, letter in zip(before, letters, strict=True)
        ]
        self.formats = [struct.Struct(letter) for letter in letters]
        self.size = struct.calcsize("".join(letters))
        self._write = struct.Struct("".join(letters)).pack_into
        self._arity = len(letters)
        # Those whose argument is not yet the value that struct takes.
        self._special = [
            i for i, kind in enumerate(self.signature) if not isinstance(kind, Scalar) or kind is Scalar.pointer
        ]

    @property
    def sizes(self) -> list[int]:
        """Bytes of each."""
        return [each.size for each in self.formats]

    def write(self, memory: Any, arguments: Sequence[Any], stream: Stream | None = None) -> None:
        """Write all arguments, and say of buffers that `stream` uses them. Raises TypeError or ValueError."""
        if len(arguments) != self._arity:
            raise TypeError(f"kernel {self.name} takes {self._arity} arguments, {len(arguments)} given")
        values, own = list(arguments), None if stream is None or stream.capturing else stream
        for index in self._special:
            value = values[index]
            if type(value) is DeviceBuffer and value.device is self.device:  # isinstance asks ABCMeta, which costs 1 us
                values[index] = value.pointer
                known = value.stream is own
            else:
                values[index] = self.plain(index, value)
                known = not hasattr(value, "used_on")
            if not known and stream is not None:
                stream.uses(value)
        try:
            self._write(memory, 0, *values)
        except (struct.error, OverflowError):
            for index, value in enumerate(arguments):
                self.write_one(memory, index, value)

    def write_one(self, memory: Any, index: int, value: Any) -> None:
        """Write one argument. Raises TypeError or ValueError, naming it."""
        self.formats[index].pack_into(memory, self.offsets[index], self.plain(index, value))

    def plain(self, index: int, value: Any) -> Any:
        """An argument as struct takes it. Raises TypeError or ValueError, naming it."""
        kind = self.signature[index]
        if not isinstance(kind, Scalar):
            return self._content(index, kind, value)
        if kind is Scalar.pointer:
            value = self._address(index, value)
        if kind in (Scalar.float32, Scalar.float64):
            return self._float(index, kind, value)
        return self._integer(index, kind, value)

    def _address(self, index: int, value: Any) -> Any:
        if isinstance(value, DeviceBuffer) and value.device.ordinal != self.device.ordinal:
            raise ValueError(f"kernel {self.name}: argument {index} lies on {value.device}, not {self.device}")
        return getattr(value, "pointer", value)

    def _float(self, index: int, kind: Scalar, value: Any) -> float:
        if not hasattr(value, "__float__") and not hasattr(value, "__index__"):
            raise self._mistyped(index, kind.name, value)
        return float(kind.cell(float(value)).value)  # what is too large for float32 becomes infinite, as in C

    def _integer(self, index: int, kind: Scalar, value: Any) -> int:
        try:
            number = operator.index(value)
        except TypeError:
            raise self._mistyped(index, kind.name, value) from None
        bits = 8 * ctypes.sizeof(kind.cell)
        low = -(2 ** (bits - 1)) if kind in (Scalar.int32, Scalar.int64) else 0
        if not low <= number < low + 2**bits:
            raise ValueError(f"kernel {self.name}: argument {index} = {number} does not fit {kind.name}")
        return number

    def _content(self, index: int, kind: np.dtype[Any], value: Any) -> bytes:
        if not isinstance(value, np.generic | np.ndarray) or value.dtype != kind:
            raise self._mistyped(index, str(kind), value)
        if value.ndim:
            raise TypeError(f"kernel {self.name}: argument {index} is an array of shape {value.shape}, not one {kind}")
        return value.tobytes()

    def _mistyped(self, index: int, declared: str, value: Any) -> TypeError:
        given = str(value.dtype) if isinstance(value, np.generic | np.ndarray) else type(value).__name__
        return TypeError(f"kernel {self.name}: argument {index} is {given}, declared {declared}")


def _letter(kind: Parameter) -> str:
    return kind.letter if isinstance(kind, Scalar) else f"0Q{kind.itemsize}s"


def _aligned(letter: str) -> str:
    return "Q" if letter.endswith("s") else letter
