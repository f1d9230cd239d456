"""Memory of the host that a GPU reaches: page-locked, and managed."""

from __future__ import annotations

import ctypes
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import numpy.typing as npt

from gocudnn_py import driver
from gocudnn_py.cuda.names import value_of
from gocudnn_py.cuda.stream import Stream
from gocudnn_py.driver import Location
from gocudnn_py.resource import Resource, drain

if TYPE_CHECKING:
    from gocudnn_py.cuda.device import Device

Array = npt.NDArray[Any]
Users = dict[int, Stream]
PORTABLE, MAPPED, WRITE_COMBINED, READ_ONLY = 1, 2, 4, 8  # CU_MEMHOSTALLOC_ and CU_MEMHOSTREGISTER_
ON_DEVICE, ON_HOST = 1, 2  # CU_MEM_LOCATION_TYPE_DEVICE and _HOST
ATTACH = {"global": 1, "host": 2, "single": 4}  # CU_MEM_ATTACH_


class PinnedBuffer:
    """Page-locked memory of the host, as an array of bytes: copies to and from it run beside the CPU.

    `portable` for every GPU and not this one alone, `mapped` to be reached from kernels by `device_pointer`,
    `write_combined` to be written fast by the host and read slowly. Giving it back waits for copies under way
    (cuMemHostAlloc, cuMemFreeHost, cuStreamSynchronize).
    """

    ordinal = None

    def __init__(
        self,
        device: Device,
        nbytes: int,
        *,
        portable: bool = False,
        mapped: bool = False,
        write_combined: bool = False,
    ) -> None:
        if nbytes < 0:
            raise ValueError(f"a buffer of {nbytes} bytes")
        flags = PORTABLE * portable | MAPPED * mapped | WRITE_COMBINED * write_combined
        drain()
        with driver.primary_context(device.ordinal):
            made = ctypes.c_void_p()
            driver.call("cuMemHostAlloc", ctypes.byref(made), max(1, nbytes), flags)
        self._own(device, made.value or 0, "cuMemFreeHost")
        self.array: Array = _bytes_at(made.value or 0, nbytes, self._memory)

    @classmethod
    def register(
        cls,
        device: Device,
        array: Array,
        *,
        portable: bool = False,
        mapped: bool = False,
        read_only: bool = False,
    ) -> Self:
        """Lock the pages of an array that is there, which is held; flags as above, `read_only` for the GPU.

        Raises ValueError unless it is contiguous and holds something (cuMemHostRegister_v2, cuMemHostUnregister).
        """
        if not array.flags.c_contiguous or not array.nbytes:
            raise ValueError(f"only a contiguous array is locked, not shape {array.shape}, strides {array.strides}")
        flags, address = PORTABLE * portable | MAPPED * mapped | READ_ONLY * read_only, array.ctypes.data
        with driver.primary_context(device.ordinal):
            driver.call("cuMemHostRegister_v2", address, array.nbytes, flags)
        buffer = cls.__new__(cls)
        buffer._own(device, address, "cuMemHostUnregister", array)
        buffer.array = array
        return buffer

    def _own(self, device: Device, address: int, free: str, *held: object) -> None:
        self.device, self._users = device, Users()
        self._memory = Resource(address, partial(_release, free, self._users), *held, device=device.ordinal)

    @property
    def nbytes(self) -> int:
        """Its length in bytes."""
        return int(self.array.nbytes)

    @property
    def pointer(self) -> int:
        """The address on the host. Raises UnusableResource when closed."""
        return self._memory.handle

    @property
    def device_pointer(self) -> int:
        """The address for kernels; the host's own where addresses are unified (cuMemHostGetDevicePointer_v2)."""
        with driver.primary_context(self.device.ordinal):
            address = ctypes.c_uint64()
            driver.call("cuMemHostGetDevicePointer_v2", ctypes.byref(address), self.pointer, 0)
        return address.value

    def used_on(self, stream: Stream) -> None:
        """Say that a stream has been given a copy to or from it, for which giving it back then waits."""
        self._users[stream.handle] = stream

    def close(self) -> None:
        """Give it back, or unlock it; the second time does nothing. Memory made here must not be touched after."""
        self._memory.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _release(name: str, users: Users, address: int) -> None:
    for user in users.values():
        driver.call("cuStreamSynchronize", user.cell)
    driver.call(name, address)


def _bytes_at(address: int, nbytes: int, owner: object) -> Array:
    """Memory as an array, which holds its owner."""
    memory: Any = (ctypes.c_uint8 * nbytes).from_address(address)
    memory.owner = owner
    return np.ctypeslib.as_array(memory)


class ManagedBuffer(Resource):
    """Memory that the host and every GPU reach by one address: an array here, a pointer there.

    The host may touch `array` only when no GPU works on it. Giving it back waits for streams that use it
    (cuMemAllocManaged, cuMemFree_v2, cuStreamSynchronize).
    """

    ordinal = None

    def __init__(self, device: Device, nbytes: int) -> None:
        if nbytes < 1:
            raise ValueError(f"a buffer of {nbytes} bytes")
        made = ctypes.c_uint64()
        drain()
        with driver.primary_context(device.ordinal):
            driver.call("cuMemAllocManaged", ctypes.byref(made), nbytes, ATTACH["global"])
        self.nbytes, self._users = nbytes, Users()
        super().__init__(made.value, partial(_release, "cuMemFree_v2", self._users), device=device.ordinal)

    @property
    def pointer(self) -> int:
        """The address, on the host and on every device."""
        return self.handle

    @property
    def array(self) -> Array:
        """Its bytes; they must not be touched after `close`."""
        return _bytes_at(self.handle, self.nbytes, self)

    def used_on(self, stream: Stream) -> None:
        """Say that a stream has been given work on it, for which giving it back then waits."""
        self._users[stream.handle] = stream

    def prefetch(
        self, stream: Stream, to: Device | Literal["host"] | None = None, *, at: int = 0, nbytes: int | None = None
    ) -> None:
        """Move bytes to a GPU, the stream's if none is named, or to the host, in stream order.

        (cuMemPrefetchAsync_v2)
        """
        address, nbytes = self._range(at, nbytes)
        place = _location(stream.device if to is None else to)
        stream.device.enter()
        driver.call("cuMemPrefetchAsync_v2", address, nbytes, place, 0, stream.cell)
        stream.uses(self)

    def advise(
        self, advice: str, of: Device | Literal["host"] = "host", *, at: int = 0, nbytes: int | None = None
    ) -> None:
        """Say how bytes will be used: "SET_READ_MOSTLY", "SET_PREFERRED_LOCATION", "UNSET_ACCESSED_BY" say.

        `of` is the GPU or the host that the advice speaks of (cuMemAdvise_v2).
        """
        address, nbytes = self._range(at, nbytes)
        driver.call(
            "cuMemAdvise_v2", address, nbytes, value_of("CUmem_advise", "CU_MEM_ADVISE_", advice), _location(of)
        )

    def attribute(self, name: str) -> int:
        """What holds of all its bytes: "READ_MOSTLY", "PREFERRED_LOCATION", "LAST_PREFETCH_LOCATION", ...

        A place is the number of a GPU, -1 for the host, -2 for none or several (cuMemRangeGetAttribute).
        """
        which, value = value_of("CUmem_range_attribute", "CU_MEM_RANGE_ATTRIBUTE_", name), ctypes.c_int()
        driver.call("cuMemRangeGetAttribute", ctypes.byref(value), 4, which, self.handle, self.nbytes)
        return value.value

    def attach(self, stream: Stream, to: Literal["global", "host", "single"]) -> None:
        """In stream order, let every stream, none, or this one alone reach it, for GPUs that share nothing at a time.

        (cuStreamAttachMemAsync)
        """
        if to not in ATTACH:
            raise ValueError(f"attach to {to!r}; there are {', '.join(ATTACH)}")
        driver.call("cuStreamAttachMemAsync", stream.cell, self.handle, 0, ATTACH[to])
        stream.uses(self)

    def _range(self, at: int, nbytes: int | None) -> tuple[int, int]:
        nbytes = self.nbytes - at if nbytes is None else nbytes
        if at < 0 or nbytes < 1 or at + nbytes > self.nbytes:
            raise ValueError(f"bytes {at} to {at + nbytes} of {self.nbytes}")
        return self.handle + at, nbytes


def _location(place: Device | Literal["host"]) -> Location:
    if isinstance(place, str):
        if place != "host":
            raise ValueError(f"a place is a Device or 'host', not {place!r}")
        return Location(ON_HOST, 0)
    return Location(ON_DEVICE, place.ordinal)
