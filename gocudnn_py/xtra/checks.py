"""What the functions of this package ask of their arguments before anything is launched."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from gocudnn_py.xtra.array import FLOATS, Borrowed, DeviceArray
from gocudnn_py.xtra.boxes import INT32_MAX
from gocudnn_py.xtra.launcher import PACKS, THREADS

NARROW = INT32_MAX  # elements that kernels count by numbers of 32 bits
C_TYPES = {
    "bool": "bool",
    "uint8": "unsigned char",
    "int8": "signed char",
    "uint16": "unsigned short",
    "int16": "short",
    "uint32": "unsigned int",
    "int32": "int",
    "uint64": "unsigned long long",
    "int64": "long long",
    "float16": "float16",
    "bfloat16": "bfloat16",
    "float32": "float",
    "float64": "double",
}
"""The C types of elements, by NumPy's names."""
LABELS = ("int32", "int64", "uint8")


def c_type(what: str, dtype: np.dtype[Any], allowed: Sequence[str] = tuple(C_TYPES)) -> str:
    """The C type of a data type. Raises TypeError unless it is one of those allowed."""
    if dtype.name not in allowed:
        raise TypeError(f"{what} is {dtype.name}; there are kernels for {', '.join(allowed)}")
    return C_TYPES[dtype.name]


def float_type(what: str, **arrays: DeviceArray | None) -> str:
    """The C type of floating-point arrays that have to be of one type. Raises TypeError with all of them."""
    given = {name: array for name, array in arrays.items() if array is not None}
    if len({array.dtype for array in given.values()}) > 1:
        raise TypeError(f"{what}: {_listed(given)} have to be of one type")
    name, first = next(iter(given.items()))
    return c_type(f"{what}: {name}", first.dtype, FLOATS)


def same_shape(what: str, **arrays: DeviceArray | None) -> None:
    """Raise ValueError unless all arrays that are there have one shape."""
    given = {name: array for name, array in arrays.items() if array is not None}
    if len({array.shape for array in given.values()}) > 1:
        raise ValueError(f"{what}: {_listed(given)} have to be of one shape")


def has_shape(what: str, name: str, array: DeviceArray, shape: Sequence[int]) -> None:
    """Raise ValueError unless an array has the shape that it has to have."""
    if array.shape != tuple(shape):
        raise ValueError(f"{what}: {name} has shape {array.shape}, expected {tuple(shape)}")


def writable(what: str, **outputs: DeviceArray | None) -> None:
    """Raise ValueError for another library's array that may only be read."""
    for name, array in outputs.items():
        if array is not None and isinstance(array.place, Borrowed) and array.place.read_only:
            raise ValueError(f"{what}: {name} may only be read")


def apart(
    what: str, output: tuple[str, DeviceArray], *inputs: tuple[str, DeviceArray | None], same: bool = False
) -> None:
    """Raise ValueError where memory that is written is also read; the very same array may be, if `same` says so."""
    name, y = output
    writable(what, **{name: y})
    for other, x in inputs:
        if x is None or not x.size or not y.size:
            continue
        if same and (x.address, x.dtype.itemsize) == (y.address, y.dtype.itemsize):
            continue
        if x.address < y.address + y.nbytes and y.address < x.address + x.nbytes:
            raise ValueError(f"{what}: {name} at {y.address:#x} and {other} at {x.address:#x} overlap")


def axis_of(what: str, axis: int, rank: int) -> int:
    """An axis counted from the front. Raises ValueError when there is none such."""
    found = operator.index(axis)
    if not -rank <= found < rank:
        raise ValueError(f"{what}: axis {axis} of {rank} axes")
    return found % rank


def packed(*arrays: DeviceArray) -> int:
    """Whether arrays of one size can be read and written in packs of 16 bytes (kernels/pack.cuh)."""
    elements = 16 // max(array.dtype.itemsize for array in arrays)
    return int(all(array.address % (elements * array.dtype.itemsize) == 0 for array in arrays))


def index_type(count: int) -> dict[str, object]:
    """The type that so many elements are counted by, for kernels that divide such numbers (kernels/pack.cuh)."""
    return {"INDEX": "unsigned int" if count <= NARROW else "unsigned long long"}


def tiles(*arrays: DeviceArray) -> int:
    """Blocks for an elementwise kernel over arrays of one size."""
    each = THREADS * PACKS * (16 // max(array.dtype.itemsize for array in arrays))
    return -(-arrays[0].size // each)


def _listed(arrays: dict[str, DeviceArray]) -> str:
    return ", ".join(f"{name} {array}" for name, array in arrays.items())
