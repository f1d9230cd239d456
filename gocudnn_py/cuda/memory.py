"""Device memory: bytes on a GPU, copied, filled, cut into parts, and read and written as a file."""

from __future__ import annotations

import ctypes
import io
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from gocudnn_py import driver
from gocudnn_py.cuda import owners
from gocudnn_py.cuda.copies import copy
from gocudnn_py.cuda.stream import LEGACY, Memory, Stream, wait

if TYPE_CHECKING:
    from gocudnn_py.cuda.pool import Pool

Array = npt.NDArray[Any]
DLPACK_CUDA = 2  # kDLCUDA
FILL = {1: "cuMemsetD8Async", 2: "cuMemsetD16Async", 4: "cuMemsetD32Async"}


class DeviceBuffer(io.RawIOBase):
    """Bytes on a GPU, also a file object with a cursor (the thesis's io.Reader and io.Writer).

    Allocated in the order of `stream` from `pool`, the device's own if none is named, and given back in that order,
    zeroed when asked. Work on other streams has to wait for the allocation; giving back waits for streams that it was
    `used_on`: launches, copies and captured graphs say so themselves (cuMemAllocFromPoolAsync, cuMemFreeAsync).
    """

    readonly = False  # whether another library owns it, and forbids writing

    def __init__(self, stream: Stream, nbytes: int, *, zeroed: bool = False, pool: Pool | None = None) -> None:
        if nbytes < 0:
            raise ValueError(f"a buffer of {nbytes} bytes")
        if pool is not None and pool.device.ordinal != stream.device.ordinal:
            raise ValueError(f"{pool} is not of the device of {stream}")
        handle = stream.device.pool_handle if pool is None else pool.handle
        held = () if pool is None else (pool.owner,)
        self._take(stream, nbytes, owners.from_pool(stream, max(1, nbytes), handle, *held))
        if zeroed and nbytes:
            self.fill(0)

    def _take(self, stream: Stream, nbytes: int, memory: owners.Owner) -> None:
        self.stream, self.nbytes, self.device = stream, nbytes, stream.device
        self.memory = memory
        self._cursor = 0

    @classmethod
    def over(cls, stream: Stream, nbytes: int, memory: owners.Owner) -> Self:
        """A buffer over memory that is there already; it closes it."""
        buffer = cls.__new__(cls)
        buffer._take(stream, nbytes, memory)
        return buffer

    @classmethod
    def plain(cls, stream: Stream, nbytes: int, *, zeroed: bool = False) -> Self:
        """Memory of no pool, which other processes can open and which any stream may use at once.

        Giving it back waits for the streams that use it (cuMemAlloc_v2, cuMemFree_v2, cuStreamSynchronize). Raises
        OutOfMemory.
        """
        if nbytes < 1:
            raise ValueError(f"a buffer of {nbytes} bytes")
        buffer = cls.over(stream, nbytes, owners.plain(stream, nbytes))
        if zeroed:
            buffer.fill(0)
        return buffer

    def view(self, at: int, nbytes: int | None = None) -> DeviceBuffer:
        """The part from byte `at`, to the end if no length is given: the same memory, which it holds."""
        nbytes = self.nbytes - at if nbytes is None else nbytes
        self._check(at, nbytes)
        part = DeviceBuffer.over(self.stream, nbytes, owners.Part(self, at))
        part.readonly = self.readonly
        return part

    @property
    def pointer(self) -> int:
        """The device address. Raises UnusableResource when closed, or made before a fork."""
        return self.memory.handle

    @property
    def ordinal(self) -> int:
        """The number of its GPU."""
        return self.device.ordinal

    def used_on(self, stream: Stream) -> None:
        """Say that another stream has been given work on this memory, for which giving it back then waits."""
        if stream is not self.stream and stream.handle != self.stream.handle:
            self.memory.users[stream.handle] = stream

    def fill(
        self, value: int, width: int = 1, *, at: int = 0, count: int | None = None, stream: Stream | None = None
    ) -> None:
        """Set `count` numbers of `width` bytes (1, 2 or 4) from byte `at`, all to the end if none is given.

        In the order of the buffer's stream, or another (cuMemsetD8Async, cuMemsetD16Async, cuMemsetD32Async).
        """
        check_fill(value, width)
        count = (self.nbytes - at) // width if count is None else count
        self._check(at, count * width, write=True)
        if (self.pointer + at) % width:
            raise ValueError(
                f"numbers of {width} bytes at address {self.pointer + at:#x}, which is no multiple of that"
            )
        if count:
            stream = stream or self.stream
            stream.device.enter()
            driver.call(FILL[width], self.pointer + at, value, count, stream.cell)
            stream.uses(self)

    def upload(self, array: Array, offset: int = 0) -> None:
        """Copy a contiguous array to `offset` bytes into the buffer; returns when the array may change.

        (cuMemcpyHtoDAsync_v2, cuStreamSynchronize)
        """
        if not array.flags.c_contiguous:
            raise ValueError(f"upload needs a contiguous array, this one has strides {array.strides}")
        self._check(offset, array.nbytes, write=True)
        self.device.enter()
        address = self.pointer + offset
        driver.call("cuMemcpyHtoDAsync_v2", address, array.ctypes.data, array.nbytes, self.stream.cell)
        self.stream.synchronize()

    def download(self, array: Array, offset: int = 0) -> Array:
        """Fill a contiguous array from `offset` bytes into the buffer, after what the stream has to do.

        (cuMemcpyDtoHAsync_v2, cuStreamSynchronize)
        """
        if not array.flags.c_contiguous or not array.flags.writeable:
            raise ValueError("download needs a contiguous array that can be written")
        self._check(offset, array.nbytes)
        self.device.enter()
        address = self.pointer + offset
        driver.call("cuMemcpyDtoHAsync_v2", array.ctypes.data, address, array.nbytes, self.stream.cell)
        self.stream.synchronize()
        return array

    def copy_from(
        self, source: Memory, nbytes: int, *, at: int = 0, source_at: int = 0, stream: Stream | None = None
    ) -> None:
        """Copy from device memory, of another GPU too, or from pinned or managed memory; returns at once.

        In the order of this buffer's stream, or another: until that has come so far, what is copied has to stay as it
        is (cuMemcpyAsync, cuMemcpyPeerAsync).
        """
        copy(stream or self.stream, self, source, nbytes, at=at, source_at=source_at)

    def copy_to(
        self, target: Memory, nbytes: int, *, at: int = 0, target_at: int = 0, stream: Stream | None = None
    ) -> None:
        """Copy to device, pinned or managed memory; returns at once, see `copy_from`.

        (cuMemcpyAsync, cuMemcpyPeerAsync)
        """
        copy(stream or self.stream, target, self, nbytes, at=target_at, source_at=at)

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return not self.readonly

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move the cursor; returns where it is."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._cursor, io.SEEK_END: self.nbytes}[whence]
        if base + offset < 0:
            raise ValueError(f"seek to byte {base + offset}")
        self._cursor = base + offset
        return self._cursor

    def tell(self) -> int:
        return self._cursor

    def readinto(self, target: Any) -> int:
        """Read from the cursor into a writable buffer of the host; returns how many bytes (cuMemcpyDtoHAsync_v2)."""
        view = np.frombuffer(target, np.uint8)
        count = max(0, min(len(view), self.nbytes - self._cursor))
        if count:
            self.download(view[:count], self._cursor)
            self._cursor += count
        return count

    def write(self, content: Any) -> int:
        """Write at the cursor as much as fits; returns how many bytes. Raises ValueError at the end.

        (cuMemcpyHtoDAsync_v2)
        """
        view = np.frombuffer(content, np.uint8)
        count = min(len(view), self.nbytes - self._cursor)
        if len(view) and count <= 0:
            raise ValueError(f"the buffer of {self.nbytes} bytes is full")
        if count:
            self.upload(view[:count], self._cursor)
            self._cursor += count
        return count

    def close(self) -> None:
        """Give the memory back, in stream order; the second time does nothing."""
        if not self.closed and hasattr(self, "memory"):
            self.memory.close()
        super().close()

    def __del__(self) -> None:
        """Leave it to the finalizer of the memory, which calls no driver; a file would close itself."""

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {
            "version": 3,
            "shape": (self.nbytes,),
            "typestr": "|u1",
            "data": (self.pointer if self.nbytes else 0, self.readonly),
            "strides": None,
            "stream": self.stream.handle,
        }

    def core(self) -> Any:
        """A cuda.core Buffer over the same memory, which keeps this one alive."""
        from cuda.core import Buffer

        return Buffer.from_handle(self.pointer, max(1, self.nbytes), owner=self)

    def __dlpack__(self, *, stream: int | None = None, **options: Any) -> Any:
        """The memory for another library, whose stream waits for what this one was given (the array API's __dlpack__).

        None is the default stream, -1 is nobody to wait (cuEventRecord, cuStreamWaitEvent).
        """
        consumer = LEGACY if stream is None else stream
        if consumer not in (-1, self.stream.handle):
            with driver.primary_context(self.device.ordinal):
                wait(ctypes.c_void_p(consumer), self.stream.cell)
        return self.core().__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return DLPACK_CUDA, self.device.ordinal

    def _check(self, offset: int, nbytes: int, *, write: bool = False) -> None:
        if self.closed:
            raise ValueError("this buffer is closed")
        if write and self.readonly:
            raise ValueError("this memory is another library's, which forbids writing it")
        if offset < 0 or nbytes < 0 or offset + nbytes > self.nbytes:
            raise ValueError(f"bytes {offset} to {offset + nbytes} of a buffer of {self.nbytes}")


def check_fill(value: int, width: int) -> None:
    """Raise ValueError unless a number of so many bytes can be set."""
    if width not in FILL:
        raise ValueError(f"numbers of {width} bytes are not set; there are 1, 2 and 4")
    if not 0 <= value < 256**width:
        raise ValueError(f"{value} does not fit {width} bytes without a sign")
