"""A GPU: what it is, what it may reach, its limits and its streams."""

from __future__ import annotations

import ctypes
import functools
from typing import TYPE_CHECKING, Any

import gocudnn_py.driver as driver
from gocudnn_py.cuda.names import members, value_of
from gocudnn_py.cuda.stream import Stream
from gocudnn_py.errors import CudaError, LibraryNotFound, NoDevice
from gocudnn_py.finding import check_driver
from gocudnn_py.resource import drain

if TYPE_CHECKING:
    from gocudnn_py.cuda.pool import Pool

INVALID_VALUE = 1  # CUDA_ERROR_INVALID_VALUE
ALREADY, NOT_ENABLED = 704, 705  # CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED and _NOT_ENABLED
ATTRIBUTES = "CUdevice_attribute", "CU_DEVICE_ATTRIBUTE_"
LIMITS = "CUlimit", "CU_LIMIT_"
CACHES = "CUfunc_cache", "CU_FUNC_CACHE_"


class Device:
    """One GPU, with its primary context. Raises NoDevice, LibraryNotFound or VersionMismatch, saying what to do."""

    _known_pool: tuple[Any, int] = None, 0

    def __init__(self, ordinal: int = 0) -> None:
        check_driver()
        gpus = driver.gpus()
        if not 0 <= ordinal < len(gpus):
            raise NoDevice(f"there is no GPU {ordinal}; this process sees {len(gpus)}")
        self.ordinal = ordinal
        self.name, self.capability, self.memory = gpus[ordinal].name, gpus[ordinal].capability, gpus[ordinal].memory
        self._core = _core_device(ordinal)
        self.make_current()

    @property
    def architecture(self) -> str:
        """The name NVRTC has for it, sm_90 say."""
        return "sm_{}{}".format(*self.capability)

    @property
    def multiprocessors(self) -> int:
        """Number of multiprocessors."""
        return int(self._core.properties.multiprocessor_count)

    @property
    def shared_memory(self) -> int:
        """Bytes of shared memory that a block may take when it asks for more than the usual 48 KiB."""
        return int(self._core.properties.max_shared_memory_per_block_optin)

    @property
    def uuid(self) -> str:
        """What names this GPU, or its part when it is divided, on every machine (cuDeviceGetUuid)."""
        return str(self._core.uuid)

    @property
    def pci_id(self) -> str:
        """Its place on the bus, domain:bus:device.function (cuDeviceGet, cuDeviceGetPCIBusId)."""
        text = ctypes.create_string_buffer(16)
        driver.call("cuDeviceGetPCIBusId", text, len(text), driver.number("cuDeviceGet", self.ordinal))
        return text.value.decode()

    def attribute(self, name: str) -> int:
        """An attribute by its name in cuda.h, "MAX_THREADS_PER_BLOCK" say (cuDeviceGetAttribute).

        Raises ValueError for a name that cuda.bindings does not know, CudaError for one that the driver does not.
        """
        return driver.attribute(self.ordinal, value_of(*ATTRIBUTES, name))

    def attributes(self) -> dict[str, int]:
        """Every attribute that this driver knows, by name (cuDeviceGetAttribute)."""
        found = {}
        for name, which in members(*ATTRIBUTES).items():
            try:
                found[name] = driver.attribute(self.ordinal, which)
            except CudaError as error:
                if error.status != INVALID_VALUE:
                    raise
        return found

    def can_access(self, other: Device) -> bool:
        """Whether this GPU may read and write the other's memory (cuDeviceGet, cuDeviceCanAccessPeer)."""
        devices = (driver.number("cuDeviceGet", each.ordinal) for each in (self, other))
        return self.ordinal == other.ordinal or bool(driver.number("cuDeviceCanAccessPeer", *devices))

    def enable_access(self, other: Device) -> None:
        """Let this GPU read and write the other's memory, plain and of its default pool; twice is as once.

        Raises ValueError when they cannot reach one another (cuCtxEnablePeerAccess, cuMemPoolSetAccess).
        """
        if self.ordinal == other.ordinal:
            return
        if not self.can_access(other):
            raise ValueError(f"{self} cannot access the memory of {other}: no link joins them")
        with driver.primary_context(self.ordinal):
            _call_unless(ALREADY, "cuCtxEnablePeerAccess", driver.context(other.ordinal), 0)
        other.pool.allow(self)

    def disable_access(self, other: Device) -> None:
        """Take back what `enable_access` gave; twice is as once (cuCtxDisablePeerAccess, cuMemPoolSetAccess)."""
        if self.ordinal == other.ordinal:
            return
        with driver.primary_context(self.ordinal):
            _call_unless(NOT_ENABLED, "cuCtxDisablePeerAccess", driver.context(other.ordinal))
        other.pool.allow(self, "none")

    def limit(self, name: str) -> int:
        """A limit of the primary context, "STACK_SIZE" say, in bytes or a count (cuCtxGetLimit)."""
        with driver.primary_context(self.ordinal):
            return driver.number("cuCtxGetLimit", value_of(*LIMITS, name), kind=ctypes.c_size_t)

    def set_limit(self, name: str, value: int) -> int:
        """Set a limit of the primary context; what it is then, for the driver may round up (cuCtxSetLimit)."""
        if value < 0:
            raise ValueError(f"limit {name} = {value} is negative")
        with driver.primary_context(self.ordinal):
            driver.call("cuCtxSetLimit", value_of(*LIMITS, name), value)
        return self.limit(name)

    @property
    def cache_preference(self) -> str:
        """What kernels prefer of shared memory and L1 where they share it: PREFER_NONE, _SHARED, _L1 or _EQUAL.

        Setting it is a wish (cuCtxGetCacheConfig, cuCtxSetCacheConfig).
        """
        with driver.primary_context(self.ordinal):
            value = driver.number("cuCtxGetCacheConfig")
        return next(name for name, each in members(*CACHES).items() if each == value)

    @cache_preference.setter
    def cache_preference(self, name: str) -> None:
        with driver.primary_context(self.ordinal):
            driver.call("cuCtxSetCacheConfig", value_of(*CACHES, name))

    @property
    def core(self) -> Any:
        """The cuda.core Device."""
        return self._core

    @property
    def pool(self) -> Pool:
        """The pool that a `DeviceBuffer` comes from when none is named."""
        from gocudnn_py.cuda.pool import Pool

        return Pool.default(self)

    @property
    def pool_handle(self) -> int:
        """The handle of that pool, asked of cuda.core once for each memory resource that it is given."""
        resource, (known, handle) = self._core.memory_resource, self._known_pool
        if resource is not known:
            handle = int(resource.handle)
            self._known_pool = resource, handle
        return handle

    def make_current(self) -> None:
        """Make the primary context current in this thread (cuCtxSetCurrent)."""
        self._core.set_current()

    def enter(self) -> None:
        """Make it current unless it is, whoever made it so (cuCtxGetCurrent, cuCtxSetCurrent)."""
        if not driver.current(self.ordinal):
            self.make_current()

    def stream(self, priority: int | None = None) -> Stream:
        """A new non-blocking stream (cuStreamCreateWithPriority); see `priorities`."""
        return Stream(self, priority=priority)

    @property
    def priorities(self) -> tuple[int, int]:
        """The priorities of streams from least to greatest; greater is smaller (cuCtxGetStreamPriorityRange)."""
        least, greatest = ctypes.c_int(), ctypes.c_int()
        with driver.primary_context(self.ordinal):
            driver.call("cuCtxGetStreamPriorityRange", ctypes.byref(least), ctypes.byref(greatest))
        return least.value, greatest.value

    def synchronize(self) -> None:
        """Wait for all that the GPU was given; what finalizers left behind is given back (cuCtxSynchronize)."""
        with driver.primary_context(self.ordinal):
            driver.call("cuCtxSynchronize")
        drain()

    def memory_info(self) -> tuple[int, int]:
        """Free and total memory in bytes, when what nobody holds any more was given back (cuMemGetInfo_v2)."""
        drain()
        return driver.memory_info(self.ordinal)

    def __repr__(self) -> str:
        return f"Device({self.ordinal}: {self.name}, {self.architecture})"


def _call_unless(excused: int, name: str, *arguments: object) -> None:
    try:
        driver.call(name, *arguments)
    except CudaError as error:
        if error.status != excused:
            raise


@functools.cache
def _core_device(ordinal: int) -> Any:
    try:
        from cuda.core import Device as CoreDevice
    except ImportError as error:
        raise LibraryNotFound("cuda-core", str(error), driver.version()[0]) from None
    return CoreDevice(ordinal)
