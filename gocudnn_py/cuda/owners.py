"""Who owns device memory: an allocation with all that waits before it is given back, or a part of one."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Protocol

from gocudnn_py import driver
from gocudnn_py.cuda.stream import Stream, wait
from gocudnn_py.errors import CudaError, OutOfMemory, UnusableResource
from gocudnn_py.resource import Resource, drain

if TYPE_CHECKING:
    from gocudnn_py.cuda.memory import DeviceBuffer

OUT_OF_MEMORY = 2  # CUDA_ERROR_OUT_OF_MEMORY
Users = dict[int, Stream]
Free = Callable[[Stream, Users, int], None]


class Owner(Protocol):
    """Device memory that a buffer looks at: `users` are the other streams with work on it."""

    users: Users

    @property
    def handle(self) -> int:
        """The address. Raises UnusableResource when it is given back."""

    @property
    def root(self) -> Allocation:
        """The allocation that it is, or is a part of."""

    def close(self) -> None:
        """Give it back, or let it go."""


class Allocation(Resource):
    """Device memory to be given back by `free`, once, and never within a capture.

    Straight from the driver: cuda.core's own buffers would be given back by their finalizers as well, at any moment.
    """

    def __init__(self, stream: Stream, address: int, free: Free, *held: object) -> None:
        self.users: Users = {}
        self.shareable = free is free_plain  # what cuIpcGetMemHandle takes
        ordinal = stream.device.ordinal
        super().__init__(address, partial(free, stream, self.users), stream, *held, device=ordinal)

    @property
    def root(self) -> Allocation:
        """Itself."""
        return self


class Part:
    """Memory within a buffer, which it holds: closed with it, and for as long."""

    def __init__(self, whole: DeviceBuffer, offset: int) -> None:
        self._whole: DeviceBuffer | None = whole
        self._offset, self.users = offset, whole.memory.users

    @property
    def handle(self) -> int:
        """The address. Raises UnusableResource when this or the whole is closed."""
        return self._held().pointer + self._offset

    @property
    def root(self) -> Allocation:
        """The allocation that it is a part of. Raises UnusableResource when closed."""
        return self._held().memory.root

    def _held(self) -> DeviceBuffer:
        if self._whole is None:
            raise UnusableResource("this part of a buffer is closed")
        return self._whole

    def close(self) -> None:
        """Let the whole go."""
        self._whole = None


def from_pool(stream: Stream, nbytes: int, pool: int, *held: object) -> Allocation:
    """Memory of a pool, in stream order (cuMemAllocFromPoolAsync, cuMemFreeAsync). Raises OutOfMemory."""
    made = ctypes.c_uint64()
    _allocate(stream, nbytes, "cuMemAllocFromPoolAsync", ctypes.byref(made), nbytes, pool, stream.cell)
    return Allocation(stream, made.value, free_in_order, *held)


def plain(stream: Stream, nbytes: int) -> Allocation:
    """Memory of its own (cuMemAlloc_v2, cuMemFree_v2). Raises OutOfMemory."""
    made = ctypes.c_uint64()
    _allocate(stream, nbytes, "cuMemAlloc_v2", ctypes.byref(made), nbytes)
    return Allocation(stream, made.value, free_plain)


def pitched(stream: Stream, width: int, height: int, element: int) -> tuple[Allocation, int]:
    """Rows of memory and the bytes from one to the next (cuMemAllocPitch_v2, cuMemFree_v2). Raises OutOfMemory."""
    made, pitch = ctypes.c_uint64(), ctypes.c_size_t()
    places = ctypes.byref(made), ctypes.byref(pitch)
    _allocate(stream, width * height, "cuMemAllocPitch_v2", *places, width, height, element)
    return Allocation(stream, made.value, free_plain), pitch.value


def _allocate(stream: Stream, nbytes: int, name: str, *arguments: object) -> None:
    """Call a function that allocates, when what nobody holds any more was given back."""
    if stream.capturing:  # the driver would make it a node of the graph, with which it would come and go
        raise ValueError(f"{nbytes:,} bytes cannot be allocated while a CUDA graph is recorded: allocate before")
    drain()
    try:
        driver.call_on(stream.device.ordinal, name, *arguments)
    except CudaError as error:
        if error.status != OUT_OF_MEMORY:
            raise
        raise OutOfMemory(nbytes, *driver.memory_info(stream.device.ordinal)) from error


def free_in_order(stream: Stream, users: Users, address: int) -> None:
    """Give memory of a pool back when the stream and all users have come so far (cuMemFreeAsync)."""
    for user in users.values():
        with driver.primary_context(user.device.ordinal):
            wait(stream.cell, user.cell)
    driver.call("cuMemFreeAsync", address, stream.cell)


def free_plain(stream: Stream, users: Users, address: int) -> None:
    """Wait, and free memory (cuStreamSynchronize, cuMemFree_v2)."""
    finish(stream, users, address)
    driver.call("cuMemFree_v2", address)


def close_ipc(stream: Stream, users: Users, address: int) -> None:
    """Wait, and let another process's memory go (cuStreamSynchronize, cuIpcCloseMemHandle)."""
    finish(stream, users, address)
    driver.call("cuIpcCloseMemHandle", address)


def finish(stream: Stream, users: Users, address: int) -> None:
    """Wait until nothing works on the memory any more (cuStreamSynchronize)."""
    for each in (stream, *users.values()):
        driver.call("cuStreamSynchronize", each.cell)
