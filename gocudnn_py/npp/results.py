"""Numbers that a function leaves on the card."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from gocudnn_py.cuda import DeviceBuffer, Stream
from gocudnn_py.npp.dispatch import space
from gocudnn_py.npp.image import Array


@dataclass(frozen=True, eq=False)
class Result:
    """Numbers in device memory, computed in the order of `stream`; the rows of `shape` are `spread` numbers apart."""

    buffer: DeviceBuffer
    stream: Stream
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    spread: int

    @classmethod
    def on(
        cls,
        stream: Stream,
        what: str,
        out: DeviceBuffer | None,
        shape: tuple[int, ...],
        dtype: Any,
        spread: int = 0,
    ) -> Result:
        """Room for a result in the memory given, or in new memory."""
        kind = np.dtype(dtype)
        spread = spread or shape[-1]
        buffer = space(stream, f"{what}: out", out, math.prod(shape[:-1]) * spread * kind.itemsize)
        return cls(buffer, stream, shape, kind, spread)

    def at(self, row: int) -> int:
        """The address of a row."""
        return self.buffer.pointer + row * self.spread * self.dtype.itemsize

    def numpy(self) -> Array:
        """The numbers, when the stream is done with them."""
        if self.buffer.stream.handle != self.stream.handle:
            self.stream.synchronize()
        rows = np.empty((math.prod(self.shape[:-1]), self.spread), self.dtype)
        return self.buffer.download(rows)[:, : self.shape[-1]].reshape(self.shape)
