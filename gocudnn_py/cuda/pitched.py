"""Device memory in rows, each of which begins where the GPU reads it fast."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from gocudnn_py import driver
from gocudnn_py.cuda import owners
from gocudnn_py.cuda.copies import Box, copy_box
from gocudnn_py.cuda.memory import DeviceBuffer, check_fill
from gocudnn_py.cuda.stream import Stream

Array = npt.NDArray[Any]
FILL_ROWS = {1: "cuMemsetD2D8Async", 2: "cuMemsetD2D16Async", 4: "cuMemsetD2D32Async"}


class PitchedBuffer(DeviceBuffer):
    """`height` rows of `width` bytes, `pitch` bytes from one to the next, for elements of 4, 8 or 16 bytes.

    Raises ValueError, OutOfMemory (cuMemAllocPitch_v2, cuMemFree_v2, cuStreamSynchronize).
    """

    def __init__(self, stream: Stream, width: int, height: int, *, element: int = 4) -> None:
        if width < 1 or height < 1 or element not in (4, 8, 16):
            raise ValueError(f"{height} rows of {width} bytes, elements of {element}: there are 4, 8 and 16")
        memory, self.pitch = owners.pitched(stream, width, height, element)
        self.width, self.height = width, height
        self._take(stream, self.pitch * height, memory)

    def box(self, x: int = 0, y: int = 0) -> Box:
        """Its rows as one end of a copy, from byte x of row y."""
        return Box(self, self.pitch, self.height, x=x, y=y)

    def fill_rows(self, value: int, width: int = 1) -> None:
        """Set every number of `width` bytes (1, 2 or 4) in every row, in stream order.

        (cuMemsetD2D8Async, cuMemsetD2D16Async, cuMemsetD2D32Async)
        """
        check_fill(value, width)
        if self.width % width:
            raise ValueError(f"rows of {self.width} bytes hold no whole number of {width} bytes")
        self.device.enter()
        size = self.width // width, self.height
        driver.call(FILL_ROWS[width], self.pointer, self.pitch, value, *size, self.stream.cell)
        self.stream.uses(self)

    def upload_rows(self, array: Array) -> None:
        """Copy an array of `height` rows of `width` bytes; returns when it may change (cuMemcpy2DAsync_v2)."""
        copy_box(self.stream, self.box(), Box.of(self._fitting(array)), (self.width, self.height))

    def download_rows(self, array: Array) -> Array:
        """Fill an array of `height` rows of `width` bytes, after what the stream has to do (cuMemcpy2DAsync_v2)."""
        copy_box(self.stream, Box.of(self._fitting(array)), self.box(), (self.width, self.height))
        return array

    def _fitting(self, array: Array) -> Array:
        rows = array.shape[0] if array.ndim == 2 else 0
        if rows != self.height or array.shape[1] * array.itemsize != self.width:
            wanted = f"{self.height} rows of {self.width} bytes"
            raise ValueError(f"an array of shape {array.shape}, {array.dtype}; the buffer has {wanted}")
        return array


def pitched_like(stream: Stream, array: Array) -> PitchedBuffer:
    """Rows of device memory with the content of an array of two axes (cuMemAllocPitch_v2, cuMemcpy2DAsync_v2)."""
    if array.ndim != 2:
        raise ValueError(f"rows of an array of shape {array.shape}: two axes are wanted")
    element = next((size for size in (16, 8) if array.itemsize % size == 0), 4)
    buffer = PitchedBuffer(stream, array.shape[1] * array.itemsize, array.shape[0], element=element)
    buffer.upload_rows(np.ascontiguousarray(array))
    return buffer
