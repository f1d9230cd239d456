"""Device memory from the stream-ordered pool, and pinned memory of the host."""

from __future__ import annotations

import ctypes
import io
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from gocudnn_py import driver
from gocudnn_py.cuda.device import NO_TIMING, Device, Stream
from gocudnn_py.errors import CudaError, OutOfMemory
from gocudnn_py.resource import Resource, drain

Array = npt.NDArray[Any]
OUT_OF_MEMORY = 2  # CUDA_ERROR_OUT_OF_MEMORY
DLPACK_CUDA = 2  # kDLCUDA
ATTACH_GLOBAL = 1  # CU_MEM_ATTACH_GLOBAL: any stream of any device may use it


class DeviceBuffer(io.RawIOBase):
    """Bytes on a GPU, also a file object with a cursor (the thesis's io.Reader and io.Writer).

    Allocated in the order of `stream` from the device's pool and given back in that order, zeroed when asked. Work on
    other streams has to wait for the allocation; giving back waits for streams that it was `used_on`: launches and
    captured graphs say so themselves.
    """

    def __init__(self, stream: Stream, nbytes: int, *, zeroed: bool = False) -> None:
        if nbytes < 0:
            raise ValueError(f"a buffer of {nbytes} bytes")
        self.stream, self.nbytes, self.device = stream, nbytes, stream.device
        self._memory = _Memory(stream, max(1, nbytes))
        self._cursor = 0
        if zeroed and nbytes:
            self.fill(0)

    @property
    def pointer(self) -> int:
        """The device address. Raises UnusableResource when closed, or made before a fork."""
        return self._memory.handle

    def used_on(self, stream: Stream) -> None:
        """Say that another stream has been given work on this memory, for which giving it back then waits."""
        if stream.handle != self.stream.handle:
            self._memory.users[stream.handle] = stream

    def fill(self, byte: int) -> None:
        """Set every byte, in stream order."""
        driver.call(
            "cuMemsetD8Async", _pointer(self.pointer), byte, self._size(self.nbytes), _pointer(self.stream.handle)
        )

    def upload(self, array: Array, offset: int = 0) -> None:
        """Copy a contiguous array to `offset` bytes into the buffer; returns when the array may change."""
        if not array.flags.c_contiguous:
            raise ValueError(f"upload needs a contiguous array, this one has strides {array.strides}")
        self._check(offset, array.nbytes)
        arguments = _pointer(self.pointer + offset), _pointer(array.ctypes.data), self._size(array.nbytes)
        driver.call("cuMemcpyHtoDAsync_v2", *arguments, _pointer(self.stream.handle))
        self.stream.synchronize()

    def download(self, array: Array, offset: int = 0) -> Array:
        """Fill a contiguous array from `offset` bytes into the buffer, after what the stream has to do."""
        if not array.flags.c_contiguous or not array.flags.writeable:
            raise ValueError("download needs a contiguous array that can be written")
        self._check(offset, array.nbytes)
        arguments = _pointer(array.ctypes.data), _pointer(self.pointer + offset), self._size(array.nbytes)
        driver.call("cuMemcpyDtoHAsync_v2", *arguments, _pointer(self.stream.handle))
        self.stream.synchronize()
        return array

    def copy_from(self, source: DeviceBuffer, nbytes: int, *, at: int = 0, source_at: int = 0) -> None:
        """Copy between device buffers, in the order of this buffer's stream."""
        self._check(at, nbytes)
        source._check(source_at, nbytes)
        arguments = _pointer(self.pointer + at), _pointer(source.pointer + source_at), self._size(nbytes)
        driver.call("cuMemcpyDtoDAsync_v2", *arguments, _pointer(self.stream.handle))

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

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
        """Read from the cursor into a writable buffer of the host; returns how many bytes."""
        view = np.frombuffer(target, np.uint8)
        count = max(0, min(len(view), self.nbytes - self._cursor))
        if count:
            self.download(view[:count], self._cursor)
            self._cursor += count
        return count

    def write(self, content: Any) -> int:
        """Write at the cursor as much as fits; returns how many bytes. Raises ValueError at the end."""
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
        if not self.closed and hasattr(self, "_memory"):
            self._memory.close()
        super().close()

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {
            "version": 3,
            "shape": (self.nbytes,),
            "typestr": "|u1",
            "data": (self.pointer if self.nbytes else 0, False),
            "strides": None,
            "stream": self.stream.handle,
        }

    def core(self) -> Any:
        """A cuda.core Buffer over the same memory, which keeps this one alive."""
        from cuda.core import Buffer

        return Buffer.from_handle(self.pointer, max(1, self.nbytes), owner=self)

    def __dlpack__(self, **options: Any) -> Any:
        return self.core().__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return DLPACK_CUDA, self.device.ordinal

    def _check(self, offset: int, nbytes: int) -> None:
        if self.closed:
            raise ValueError("this buffer is closed")
        if offset < 0 or offset + nbytes > self.nbytes:
            raise ValueError(f"bytes {offset} to {offset + nbytes} of a buffer of {self.nbytes}")

    @staticmethod
    def _size(nbytes: int) -> ctypes.c_size_t:
        return ctypes.c_size_t(nbytes)


class _Memory(Resource):
    """The ownership of an allocation of the device's pool: given back in stream order, and never within a capture.

    Straight from the driver: cuda.core's own buffers would be given back by their finalizers as well, at any moment.
    """

    def __init__(self, stream: Stream, nbytes: int) -> None:
        drain()
        pool = int(stream.device.core.memory_resource.handle)
        made = ctypes.c_uint64()
        try:
            with driver.primary_context(stream.device.ordinal):
                sizes = ctypes.c_size_t(nbytes), ctypes.c_void_p(pool)
                driver.call("cuMemAllocFromPoolAsync", ctypes.byref(made), *sizes, stream.cell)
        except CudaError as error:
            if error.status != OUT_OF_MEMORY:
                raise
            raise OutOfMemory(nbytes, *driver.memory_info(stream.device.ordinal)) from error
        self.users: dict[int, Stream] = {}
        super().__init__(made.value, partial(_give_back, stream, self.users), stream, device=stream.device.ordinal)


def _give_back(stream: Stream, users: dict[int, Stream], handle: int) -> None:
    for user in users.values():  # by the driver's own events: this runs while resources are drained
        event = ctypes.c_void_p()
        driver.call("cuEventCreate", ctypes.byref(event), NO_TIMING)
        driver.call("cuEventRecord", event, user.cell)
        driver.call("cuStreamWaitEvent", stream.cell, event, 0)
        driver.call("cuEventDestroy_v2", event)
    driver.call("cuMemFreeAsync", ctypes.c_uint64(handle), stream.cell)


class ManagedBuffer(Resource):
    """Memory that the host and every GPU reach by one address: an array here, a pointer there.

    The host may touch `array` only when no GPU works on it.
    """

    def __init__(self, device: Device, nbytes: int) -> None:
        if nbytes < 1:
            raise ValueError(f"a buffer of {nbytes} bytes")
        made = ctypes.c_uint64()
        with driver.primary_context(device.ordinal):
            driver.call("cuMemAllocManaged", ctypes.byref(made), ctypes.c_size_t(nbytes), ATTACH_GLOBAL)
        super().__init__(made.value, _free, device=device.ordinal)
        self.nbytes = nbytes

    @property
    def pointer(self) -> int:
        """The address, on the host and on every device."""
        return self.handle

    @property
    def array(self) -> Array:
        """Its bytes; the array must not outlive the buffer."""
        return np.ctypeslib.as_array((ctypes.c_uint8 * self.nbytes).from_address(self.handle))


def _free(handle: int) -> None:
    driver.call("cuMemFree_v2", ctypes.c_uint64(handle))


class PinnedBuffer:
    """Page-locked memory of the host, as an array: copies to and from it run beside the CPU."""

    def __init__(self, device: Device, nbytes: int) -> None:
        from cuda.core import LegacyPinnedMemoryResource

        device.make_current()
        self._core = LegacyPinnedMemoryResource().allocate(max(1, nbytes))
        self.pointer, self.nbytes = int(self._core.handle), nbytes
        memory = (ctypes.c_uint8 * nbytes).from_address(self.pointer)
        self.array: Array = np.ctypeslib.as_array(memory)


def _pointer(address: int) -> ctypes.c_void_p:
    return ctypes.c_void_p(address)
