"""Memory for what decoding leaves between its phases, attached to states."""

from __future__ import annotations

import ctypes
from typing import Any

from gocudnn_py.cuda import Event, Stream
from gocudnn_py.nvjpeg.allocator import Allocator
from gocudnn_py.nvjpeg.handle import Handle, Part, check_allocator, place


class _Buffer(Part):
    """Memory that grows as it is needed."""

    kind: str
    pinned: bool

    def __init__(self, owner: Handle, allocator: Allocator | None = None) -> None:
        check_allocator(allocator, pinned=self.pinned)
        version = "V2" if allocator is not None and allocator.ordered else ""
        create = getattr(owner.lib, f"nvjpegBuffer{self.kind}Create{version}")
        destroy = getattr(owner.lib, f"nvjpegBuffer{self.kind}Destroy")
        super().__init__(owner, create, destroy, allocator, before=[place(allocator)])

    def _resize(self, nbytes: int, stream: Stream) -> None:
        if nbytes < 0:
            raise ValueError(f"a buffer of {nbytes} bytes")
        getattr(self.lib, f"nvjpegBuffer{self.kind}Resize")(self.handle, nbytes, self.owner.enter(stream))

    def _retrieve(self) -> tuple[int, int]:
        size, pointer = ctypes.c_size_t(), ctypes.c_void_p()
        retrieve: Any = getattr(self.lib, f"nvjpegBuffer{self.kind}Retrieve")
        retrieve(self.handle, ctypes.byref(size), ctypes.byref(pointer))
        return pointer.value or 0, size.value


class BufferPinned(_Buffer):
    """Pinned memory of the host, that the host phase of decoding writes.

    (nvjpegBufferPinnedCreate, nvjpegBufferPinnedCreateV2, nvjpegBufferPinnedDestroy)
    """

    kind, pinned = "Pinned", True
    _read: Event | None = None

    def resize(self, nbytes: int, stream: Stream) -> None:
        """Make it so large now (nvjpegBufferPinnedResize)."""
        self._resize(nbytes, stream)

    def memory(self) -> tuple[int, int]:
        """Its address and bytes; 0 before it is used (nvjpegBufferPinnedRetrieve)."""
        return self._retrieve()

    def read_on(self, stream: Stream) -> None:
        """Say that a stream has been told to copy it to the GPU; `wait` waits for that."""
        self._read = self._read or Event(stream.device)
        self._read.record(stream)

    def wait(self) -> None:
        """Wait until it may be written again."""
        if self._read is not None:
            self._read.synchronize()


class BufferDevice(_Buffer):
    """Memory of the GPU, that its phases of decoding work in.

    (nvjpegBufferDeviceCreate, nvjpegBufferDeviceCreateV2, nvjpegBufferDeviceDestroy)
    """

    kind, pinned = "Device", False

    def resize(self, nbytes: int, stream: Stream) -> None:
        """Make it so large now (nvjpegBufferDeviceResize)."""
        self._resize(nbytes, stream)

    def memory(self) -> tuple[int, int]:
        """Its address and bytes; 0 before it is used (nvjpegBufferDeviceRetrieve)."""
        return self._retrieve()
