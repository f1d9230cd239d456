"""Pools of device memory: what they hold, how much they keep, who may reach it."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple, Self

from gocudnn_py import driver
from gocudnn_py.cuda import owners
from gocudnn_py.cuda.memory import DeviceBuffer
from gocudnn_py.cuda.names import value_of
from gocudnn_py.cuda.stream import Stream
from gocudnn_py.driver import Location
from gocudnn_py.errors import UnusableResource
from gocudnn_py.resource import Resource, drain

if TYPE_CHECKING:
    from gocudnn_py.cuda.device import Device

PINNED, DEVICE = 1, 1  # CU_MEM_ALLOCATION_TYPE_PINNED, CU_MEM_LOCATION_TYPE_DEVICE
FILE_DESCRIPTOR = 1  # CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR
Access = Literal["none", "read", "readwrite"]
ACCESS: dict[Access, int] = {"none": 0, "read": 1, "readwrite": 3}  # CU_MEM_ACCESS_FLAGS_PROT_
EXPORT_BYTES = 64  # sizeof(CUmemPoolPtrExportData)


class Usage(NamedTuple):
    """Bytes that allocations use, and that the pool has of the driver: now and at most."""

    used: int
    used_high: int
    reserved: int
    reserved_high: int


class Pool:
    """A pool of a device's memory, which allocations are made of and given back to in stream order.

    It never holds more than `limit` bytes, if that is not 0. What nobody uses beyond `threshold` goes back to the
    driver when a stream is synchronised. One that is `shared` can be opened in another process (cuMemPoolCreate,
    cuMemPoolDestroy, cuCtxSynchronize).
    """

    def __init__(self, device: Device, *, limit: int = 0, threshold: int = 0, shared: bool = False) -> None:
        if limit < 0:
            raise ValueError(f"a pool of at most {limit} bytes")
        handles = FILE_DESCRIPTOR if shared else 0
        place = Location(DEVICE, device.ordinal)
        settings = _Properties(kind=PINNED, handles=handles, location=place, limit=limit)
        made = driver.number("cuMemPoolCreate", ctypes.byref(settings), kind=ctypes.c_void_p)
        self._take(device, Resource(made, _destroy, device=device.ordinal))
        if threshold:
            self.threshold = threshold

    def _take(self, device: Device, owner: Resource | int | None) -> None:
        self.device, self._owner = device, owner

    @classmethod
    def default(cls, device: Device) -> Self:
        """The pool that a `DeviceBuffer` comes from when none is named."""
        pool = cls.__new__(cls)
        pool._take(device, device.pool_handle)
        return pool

    @classmethod
    def open(cls, device: Device, descriptor: int) -> Self:
        """A `shared` pool of another process, by the file descriptor that it exported.

        Nothing can be allocated from it here: `adopt` opens what the other has allocated
        (cuMemPoolImportFromShareableHandle).
        """
        arguments = descriptor, FILE_DESCRIPTOR, 0
        made = driver.number("cuMemPoolImportFromShareableHandle", *arguments, kind=ctypes.c_void_p)
        pool = cls.__new__(cls)
        pool._take(device, Resource(made, _destroy, device=device.ordinal))
        return pool

    @property
    def handle(self) -> int:
        """The CUmemoryPool. Raises UnusableResource when closed."""
        owner = self.owner
        return owner if isinstance(owner, int) else owner.handle

    @property
    def owner(self) -> Resource | int:
        """What allocations hold until they are given back; a device's own is a number. Raises UnusableResource."""
        if self._owner is None:
            raise UnusableResource("this Pool is closed")
        return self._owner

    def export(self) -> int:
        """A file descriptor for another process, to be closed here with os.close (cuMemPoolExportToShareableHandle)."""
        made = ctypes.c_int()
        driver.call("cuMemPoolExportToShareableHandle", ctypes.byref(made), self.handle, FILE_DESCRIPTOR, 0)
        return made.value

    def share(self, buffer: DeviceBuffer) -> bytes:
        """What the other process `adopt`s the allocation of a buffer of this pool with (cuMemPoolExportPointer)."""
        exported = ctypes.create_string_buffer(EXPORT_BYTES)
        driver.call("cuMemPoolExportPointer", exported, buffer.memory.root.handle)
        return exported.raw

    def adopt(self, stream: Stream, exported: bytes, nbytes: int) -> DeviceBuffer:
        """A buffer of another process, of this pool, which that `open`ed; the other closes it after this one.

        (cuMemPoolImportPointer, cuMemFreeAsync)
        """
        if len(exported) != EXPORT_BYTES:
            raise ValueError(f"what was exported has {EXPORT_BYTES} bytes, this has {len(exported)}")
        made = ctypes.c_uint64()
        content = ctypes.create_string_buffer(exported, EXPORT_BYTES)
        driver.call("cuMemPoolImportPointer", ctypes.byref(made), self.handle, content)
        owner = owners.Allocation(stream, made.value, owners.free_in_order, self.owner)
        return DeviceBuffer.over(stream, nbytes, owner)

    def allow(self, device: Device, access: Access = "readwrite") -> None:
        """Let another GPU reach all of the pool's memory, or not (cuMemPoolSetAccess)."""
        if access not in ACCESS:
            raise ValueError(f"access {access!r}; there are {', '.join(ACCESS)}")
        wanted = _AccessDescription(Location(DEVICE, device.ordinal), ACCESS[access])
        driver.call("cuMemPoolSetAccess", self.handle, ctypes.byref(wanted), 1)

    def access(self, device: Device) -> Access:
        """How a GPU reaches the pool's memory (cuMemPoolGetAccess)."""
        place = Location(DEVICE, device.ordinal)
        flags = driver.number("cuMemPoolGetAccess", self.handle, ctypes.byref(place))
        return next(name for name, value in ACCESS.items() if value == flags)

    @property
    def usage(self) -> Usage:
        """How much is used and held, when what nobody holds was given back (cuMemPoolGetAttribute)."""
        drain()
        names = "USED_MEM_CURRENT", "USED_MEM_HIGH", "RESERVED_MEM_CURRENT", "RESERVED_MEM_HIGH"
        return Usage(*map(self.attribute, names))

    def reset_highs(self) -> None:
        """Let what was used and held at most begin anew (cuMemPoolSetAttribute)."""
        self.set_attribute("USED_MEM_HIGH", 0)
        self.set_attribute("RESERVED_MEM_HIGH", 0)

    @property
    def threshold(self) -> int:
        """Bytes that it keeps when nobody uses them (cuMemPoolGetAttribute, cuMemPoolSetAttribute)."""
        return self.attribute("RELEASE_THRESHOLD")

    @threshold.setter
    def threshold(self, nbytes: int) -> None:
        self.set_attribute("RELEASE_THRESHOLD", nbytes)

    def attribute(self, name: str) -> int:
        """An attribute by its name, "REUSE_ALLOW_OPPORTUNISTIC" say (cuMemPoolGetAttribute). Raises ValueError."""
        value = ctypes.c_uint64()  # serves for an int as well, whose bytes are the low ones
        driver.call("cuMemPoolGetAttribute", self.handle, _attribute(name), ctypes.byref(value))
        return value.value

    def set_attribute(self, name: str, value: int) -> None:
        """Set an attribute by its name (cuMemPoolSetAttribute). Raises ValueError."""
        if not 0 <= value < 2**64:
            raise ValueError(f"{name} = {value} does not fit 64 bits without a sign")
        driver.call("cuMemPoolSetAttribute", self.handle, _attribute(name), ctypes.byref(ctypes.c_uint64(value)))

    def trim(self, keep: int = 0) -> None:
        """Give back to the driver what nobody uses, down to `keep` bytes held (cuMemPoolTrimTo)."""
        if keep < 0:
            raise ValueError(f"{keep} bytes to keep")
        drain()
        driver.call("cuMemPoolTrimTo", self.handle, keep)

    def close(self) -> None:
        """Allocate no more, and give it back once all that is allocated of it is; the device's own stays.

        (cuMemPoolDestroy: the driver's own waiting for what is allocated ends, in driver 580, in a fault.)
        """
        if isinstance(self._owner, Resource):
            self._owner = None
            drain()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Pool({'closed' if self._owner is None else hex(self.handle)} on {self.device})"


def _attribute(name: str) -> int:
    return value_of("CUmemPool_attribute", "CU_MEMPOOL_ATTR_", name)


def _destroy(handle: int) -> None:
    driver.call("cuCtxSynchronize")  # driver 580 ends in a fault where memory is still being freed in stream order
    driver.call("cuMemPoolDestroy", handle)


class _Properties(ctypes.Structure):
    """CUmemPoolProps."""

    _fields_: ClassVar = [
        ("kind", ctypes.c_int),
        ("handles", ctypes.c_int),
        ("location", Location),
        ("security", ctypes.c_void_p),
        ("limit", ctypes.c_size_t),
        ("usage", ctypes.c_ushort),
        ("reserved", ctypes.c_ubyte * 54),
    ]


class _AccessDescription(ctypes.Structure):
    """CUmemAccessDesc."""

    _fields_: ClassVar = [("location", Location), ("flags", ctypes.c_int)]
