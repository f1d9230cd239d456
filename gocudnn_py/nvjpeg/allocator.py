"""Memory that nvJPEG is given instead of taking its own."""

from __future__ import annotations

import ctypes
import operator
from collections.abc import Callable
from typing import Any

from gocudnn_py import driver
from gocudnn_py._abi import nvjpeg as abi
from gocudnn_py.cuda import Device

# By whether the memory is the host's and whether calls name a stream: the structure and its functions' types.
KINDS: dict[tuple[bool, bool], tuple[Any, Any, Any]] = {
    (False, False): (abi.DevAllocator, abi.TDevMalloc, abi.TDevFree),
    (True, False): (abi.PinnedAllocator, abi.TPinnedMalloc, abi.TPinnedFree),
    (False, True): (abi.DevAllocatorV2, abi.TDevMallocV2, abi.TDevFreeV2),
    (True, True): (abi.PinnedAllocatorV2, abi.TPinnedMallocV2, abi.TPinnedFreeV2),
}


class Allocator:
    """Two functions that nvJPEG allocates by: of a GPU's memory, or of `pinned` memory of the host.

    `allocate(nbytes, stream)` returns an address and `release(address, stream)` takes it back; `stream` is a handle, 0
    unless `ordered`, when memory has to be ready and given back in the order of that stream. They may be called on any
    thread. One that raises, or returns no address, lets the call fail with ALLOCATOR_FAILURE; `failure` keeps what was
    raised, a TypeError or MemoryError for no address.
    """

    def __init__(
        self,
        allocate: Callable[[int, int], int],
        release: Callable[[int, int], object],
        *,
        pinned: bool = False,
        ordered: bool = False,
    ) -> None:
        self.pinned, self.ordered = pinned, ordered
        self.failure: BaseException | None = None
        self._allocate, self._release = allocate, release
        structure, malloc, free = KINDS[pinned, ordered]
        self._functions = malloc(self._malloc_of()), free(self._free_of())
        self.structure = structure(*(ctypes.cast(each, ctypes.c_void_p).value for each in self._functions))

    def _malloc_of(self) -> Callable[..., int]:
        if self.ordered:
            return lambda context, place, nbytes, stream: self._malloc(place, nbytes, stream or 0)
        return lambda place, nbytes, *flags: self._malloc(place, nbytes, 0)

    def _free_of(self) -> Callable[..., int]:
        if self.ordered:
            return lambda context, address, nbytes, stream: self._try(self._release, address, stream or 0)
        return lambda address: self._try(self._release, address, 0)

    def _malloc(self, place: int, nbytes: int, stream: int) -> int:
        def allocate() -> None:
            address = self._allocate(nbytes, stream)
            if nbytes and not address:
                raise MemoryError(f"{address!r} is no address of {nbytes} bytes")
            ctypes.c_void_p.from_address(place).value = operator.index(address or 0)

        return self._try(allocate)

    def _try(self, act: Callable[..., object], *arguments: int | None) -> int:
        # Nothing may be raised through C, KeyboardInterrupt neither.
        try:
            act(*arguments)
        except BaseException as error:
            self.failure = error
            return 1
        return 0


def pool_memory(device: Device) -> Allocator:
    """Memory of a GPU from the pool that `DeviceBuffer` uses, in the order of nvJPEG's streams.

    (cuMemAllocFromPoolAsync, cuMemFreeAsync)
    """
    pool = device.pool_handle

    def allocate(nbytes: int, stream: int) -> int:
        made = ctypes.c_uint64()
        with driver.primary_context(device.ordinal):
            driver.call("cuMemAllocFromPoolAsync", ctypes.byref(made), nbytes, pool, stream)
            _finish(stream)
        return made.value

    def release(address: int, stream: int) -> None:
        with driver.primary_context(device.ordinal):
            _finish(stream)
            driver.call("cuMemFreeAsync", address, stream)

    return Allocator(allocate, release, ordered=True)


def _finish(stream: int) -> None:
    """Without a stream, the memory is for any: it has to be there before, and to be done with after."""
    if not stream:
        driver.call("cuStreamSynchronize", stream)


def pinned_memory(device: Device) -> Allocator:
    """Page-locked memory of the host, given back when the stream has come so far.

    (cuMemHostAlloc, cuStreamSynchronize, cuMemFreeHost)
    """

    def allocate(nbytes: int, stream: int) -> int:
        made = ctypes.c_void_p()
        with driver.primary_context(device.ordinal):
            driver.call("cuMemHostAlloc", ctypes.byref(made), nbytes, 0)
        return made.value or 0

    def release(address: int, stream: int) -> None:
        with driver.primary_context(device.ordinal):
            driver.call("cuStreamSynchronize", stream)
            driver.call("cuMemFreeHost", address)

    return Allocator(allocate, release, pinned=True, ordered=True)
