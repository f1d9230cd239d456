"""Where random numbers go: memory of the host or of a GPU, and how many of which type fit there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gocudnn_py.cuda import DeviceBuffer, ManagedBuffer, Stream
from gocudnn_py.cuda.adopt import adopt

if TYPE_CHECKING:
    from numpy.typing import DTypeLike


class Span(NamedTuple):
    """So many numbers of a type at an address; `memory` is who owns them on a GPU."""

    address: int
    numbers: int
    dtype: str
    memory: Any = None


def span(stream: Stream | None, out: Any, dtype: DTypeLike | None, default: str | None) -> Span:
    """All of an array of the host, or with a stream of its GPU; bytes are numbers of `dtype`, else of `default`.

    Raises TypeError and ValueError for memory that is elsewhere, of another type or byte order, not contiguous or
    read-only.
    """
    return _on_host(out, dtype) if stream is None else _on_device(stream, out, dtype, default)


def _on_host(out: Any, dtype: DTypeLike | None) -> Span:
    if not isinstance(out, np.ndarray):
        raise TypeError(f"a generator without a stream fills NumPy arrays, not {type(out).__name__}")
    if not out.flags.c_contiguous or not out.flags.writeable:
        raise ValueError(f"numbers go to a contiguous array that can be written, not strides {out.strides}")
    have = _native(out.dtype)
    if dtype is not None and _native(dtype) != have:
        raise TypeError(f"dtype {np.dtype(dtype).name} for an array of {have.name}")
    return Span(out.ctypes.data, out.size, have.name)


def _on_device(stream: Stream, out: Any, dtype: DTypeLike | None, default: str | None) -> Span:
    if isinstance(out, np.ndarray):
        raise TypeError("a generator with a stream fills device memory, not a NumPy array")
    memory = out if isinstance(out, DeviceBuffer | ManagedBuffer) else adopt(stream, out)
    if getattr(memory, "readonly", False):
        raise ValueError(f"this {type(out).__name__} can only be read")
    have = _native(getattr(memory, "dtype", np.uint8))
    wanted = _native(dtype if dtype is not None else default or have) if have == np.uint8 else have
    if dtype is not None and np.dtype(dtype) != wanted:
        raise TypeError(f"dtype {np.dtype(dtype).name} for an array of {have.name}")
    return Span(memory.pointer, memory.nbytes // wanted.itemsize, wanted.name, memory)


def _native(dtype: DTypeLike) -> np.dtype[Any]:
    """The type of numbers. Raises TypeError when their bytes are not in the order of this machine."""
    kind = np.dtype(dtype)
    if not kind.isnative:
        raise TypeError(f"numbers of {kind.str} have not the byte order of this machine")
    return kind
