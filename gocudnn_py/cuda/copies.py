"""Copies in stream order, of bytes and of boxes of two and three dimensions, between any two places."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from numpy.lib.array_utils import byte_bounds

from gocudnn_py import driver
from gocudnn_py.cuda.stream import Memory, Stream

Array = npt.NDArray[Any]
HOST, UNIFIED = 1, 4  # CU_MEMORYTYPE_HOST, CU_MEMORYTYPE_UNIFIED
READONLY = "what is copied to cannot be written"


def copy(stream: Stream, target: Memory, source: Memory, nbytes: int, *, at: int = 0, source_at: int = 0) -> None:
    """Copy bytes between two places of a GPU, of two GPUs, or of pinned or managed memory; returns at once.

    Raises ValueError when they do not lie inside (cuMemcpyAsync, cuMemcpyPeerAsync).
    """
    if at < 0 or nbytes < 0 or source_at < 0 or at + nbytes > target.nbytes or source_at + nbytes > source.nbytes:
        raise ValueError(
            f"bytes {source_at} to {source_at + nbytes} of {source.nbytes}, copied to {at} to {at + nbytes} of "
            f"{target.nbytes}"
        )
    to, of = target.pointer + at, source.pointer + source_at
    if not nbytes:
        return
    if getattr(target, "readonly", False):
        raise ValueError(READONLY)
    stream.device.enter()  # another's context cannot reach what lies here
    there, here = target.ordinal, source.ordinal
    if there is None or here is None or there == here:
        driver.call("cuMemcpyAsync", to, of, nbytes, stream.cell)
    else:
        driver.call("cuMemcpyPeerAsync", to, driver.context(there), of, driver.context(here), nbytes, stream.cell)
    stream.uses(target, source)


def _check_written(target: Memory | Array) -> None:
    if getattr(target, "readonly", False) or (isinstance(target, np.ndarray) and not target.flags.writeable):
        raise ValueError(READONLY)


@dataclass(frozen=True)
class Box:
    """Rows of bytes in memory, or in an array of the host: `pitch` bytes from one row to the next.

    `rows` of them make a slice, where there are several. It begins at byte x of row y of slice z.
    """

    memory: Memory | Array
    pitch: int
    rows: int = 0
    x: int = 0
    y: int = 0
    z: int = 0

    @classmethod
    def of(cls, array: Array) -> Box:
        """All of an array of two or three axes, the last of them contiguous. Raises ValueError."""
        strides = array.strides
        if array.ndim not in (2, 3) or strides[-1] != array.itemsize or min(strides) < 0:
            raise ValueError(f"an array of shape {array.shape} with strides {strides} has no rows that can be copied")
        if array.ndim == 3 and strides[0] % strides[1]:
            raise ValueError(f"slices {strides[0]} bytes apart are no whole number of rows, {strides[1]} bytes apart")
        return cls(array, strides[-2], strides[0] // strides[1] if array.ndim == 3 else 0)

    def check(self, extent: tuple[int, int, int]) -> None:
        """Raise ValueError unless a box of (bytes, rows, slices) from here lies inside."""
        width, height, depth = extent
        if min(self.x, self.y, self.z) < 0 or self.x + width > self.pitch:
            raise ValueError(f"rows from byte {self.x} to {self.x + width}, which are {self.pitch} bytes apart")
        if (depth > 1 or self.z) and self.y + height > self.rows:
            raise ValueError(f"rows {self.y} to {self.y + height} of slices of {self.rows}")
        last = ((self.z + depth - 1) * self.rows + self.y + height - 1) * self.pitch + self.x + width
        if last > _room(self.memory):
            raise ValueError(f"the last row ends at byte {last} of {_room(self.memory)}")

    def end(self) -> dict[str, int]:
        """One end of a copy, as CUDA_MEMCPY2D and CUDA_MEMCPY3D have it."""
        place = {"x": self.x, "y": self.y, "z": self.z, "pitch": self.pitch, "height": self.rows}
        if isinstance(self.memory, np.ndarray):
            return place | {"type": HOST, "host": self.memory.ctypes.data}
        return place | {"type": UNIFIED, "device": self.memory.pointer}


def _room(memory: Memory | Array) -> int:
    """Bytes from the address to the end."""
    if isinstance(memory, np.ndarray):
        return int(byte_bounds(memory)[1] - memory.ctypes.data)
    return memory.nbytes


def copy_box(stream: Stream, target: Box, source: Box, extent: Sequence[int]) -> None:
    """Copy a box of (bytes, rows) or (bytes, rows, slices); returns at once unless an array is one of its ends.

    Raises ValueError when it does not lie inside (cuMemcpy2DAsync_v2, cuMemcpy3DAsync_v2, cuStreamSynchronize).
    """
    width, height, depth = whole = _three(extent)
    for box in (target, source):
        box.check(whole)
    _check_written(target.memory)
    flat = len(extent) == 2 and not target.z and not source.z
    kind: Any = _Copy2D if flat else _Copy3D
    values = {**_named("source", source), **_named("target", target), "width": width, "rows": height, "slices": depth}
    settings = kind(**{name: values[name] for name, _ in kind._fields_ if name in values})
    stream.device.enter()
    driver.call("cuMemcpy2DAsync_v2" if flat else "cuMemcpy3DAsync_v2", ctypes.byref(settings), stream.cell)
    places = [box.memory for box in (target, source)]
    stream.uses(*(place for place in places if not isinstance(place, np.ndarray)))
    if any(isinstance(place, np.ndarray) for place in places):
        stream.synchronize()


def _three(extent: Sequence[int]) -> tuple[int, int, int]:
    if len(extent) not in (2, 3) or min(extent) < 1:
        raise ValueError(f"a box of {tuple(extent)}: (bytes, rows) or (bytes, rows, slices), each at least 1")
    width, height, depth = (*extent, 1)[:3]
    return width, height, depth


def _named(end: str, box: Box) -> dict[str, int]:
    return {f"{end}_{name}": value for name, value in box.end().items()}


def _end(name: str, *, deep: bool) -> list[tuple[str, Any]]:
    """The fields of one end of a copy in CUDA_MEMCPY2D, or `deep` in CUDA_MEMCPY3D."""
    size, pointer = ctypes.c_size_t, ctypes.c_void_p
    begin = [("x", size), ("y", size), *([("z", size), ("level", size)] if deep else [])]
    where = [("type", ctypes.c_int), ("host", pointer), ("device", ctypes.c_uint64), ("array", pointer)]
    rest = [*([("reserved", pointer)] if deep else []), ("pitch", size), *([("height", size)] if deep else [])]
    return [(f"{name}_{field}", kind) for field, kind in [*begin, *where, *rest]]


class _Copy2D(ctypes.Structure):
    """CUDA_MEMCPY2D."""

    _fields_: ClassVar = [
        *_end("source", deep=False),
        *_end("target", deep=False),
        ("width", ctypes.c_size_t),
        ("rows", ctypes.c_size_t),
    ]


class _Copy3D(ctypes.Structure):
    """CUDA_MEMCPY3D."""

    _fields_: ClassVar = [
        *_end("source", deep=True),
        *_end("target", deep=True),
        ("width", ctypes.c_size_t),
        ("rows", ctypes.c_size_t),
        ("slices", ctypes.c_size_t),
    ]
