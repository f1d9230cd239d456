"""A GPU and its streams."""

from __future__ import annotations

import ctypes
import functools
import threading
from typing import Any

import gocudnn_py.driver as driver
from gocudnn_py.errors import LibraryNotFound, NoDevice
from gocudnn_py.finding import check_driver
from gocudnn_py.resource import Resource, drain

_here = threading.local()
NO_TIMING = 2  # CU_EVENT_DISABLE_TIMING


class Device:
    """One GPU, with its primary context. Raises NoDevice, LibraryNotFound or VersionMismatch, saying what to do."""

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
    def core(self) -> Any:
        """The cuda.core Device."""
        return self._core

    def make_current(self) -> None:
        """Make the primary context current in this thread."""
        self._core.set_current()
        _here.ordinal = self.ordinal

    def enter(self) -> None:
        """Make it current unless it is the one that this thread made current last."""
        if getattr(_here, "ordinal", None) != self.ordinal:
            self.make_current()

    def stream(self) -> Stream:
        """A new non-blocking stream."""
        return Stream(self)

    def memory_info(self) -> tuple[int, int]:
        """Free and total memory in bytes."""
        return driver.memory_info(self.ordinal)

    def __repr__(self) -> str:
        return f"Device({self.ordinal}: {self.name}, {self.architecture})"


class Stream:
    """A non-blocking stream of a device; anything with `__cuda_stream__` is taken where a stream is.

    `capturing` says that it only records, for as long as a capture lasts.
    """

    capturing = False

    def __init__(self, device: Device) -> None:
        from cuda.core import StreamOptions

        self.device = device
        self.core = device.core.create_stream(options=StreamOptions(nonblocking=True))
        self.handle = int(self.core.handle)
        self.cell = ctypes.c_void_p(self.handle)  # as launches take it

    def synchronize(self) -> None:
        """Wait until everything given to the stream is done; what finalizers left behind is given back."""
        driver.call("cuStreamSynchronize", self.cell)
        drain()

    def __cuda_stream__(self) -> tuple[int, int]:
        return 0, self.handle

    def __repr__(self) -> str:
        return f"Stream({self.handle:#x} on {self.device})"


class Event(Resource):
    """A point in a stream's work that other streams can wait for, and with `timing` the time when it was reached."""

    def __init__(self, device: Device, *, timing: bool = False) -> None:
        device.make_current()
        made = ctypes.c_void_p()
        driver.call("cuEventCreate", ctypes.byref(made), 0 if timing else NO_TIMING)
        super().__init__(made.value or 0, _destroy_event, device=device.ordinal)

    def record(self, stream: Stream) -> None:
        """Mark what the stream has been given so far."""
        driver.call("cuEventRecord", ctypes.c_void_p(self.handle), ctypes.c_void_p(stream.handle))

    def hold(self, stream: Stream) -> None:
        """Let the stream's further work wait for the mark."""
        driver.call("cuStreamWaitEvent", ctypes.c_void_p(stream.handle), ctypes.c_void_p(self.handle), 0)

    def synchronize(self) -> None:
        """Wait until the mark is reached."""
        driver.call("cuEventSynchronize", ctypes.c_void_p(self.handle))

    def milliseconds_since(self, start: Event) -> float:
        """The time between two marks, waiting for this one; both events need `timing`. Raises CudaError."""
        self.synchronize()
        milliseconds = ctypes.c_float()
        handles = ctypes.c_void_p(start.handle), ctypes.c_void_p(self.handle)
        driver.call("cuEventElapsedTime", ctypes.byref(milliseconds), *handles)
        return milliseconds.value


def _destroy_event(handle: int) -> None:
    driver.call("cuEventDestroy_v2", ctypes.c_void_p(handle))


@functools.cache
def _core_device(ordinal: int) -> Any:
    try:
        from cuda.core import Device as CoreDevice
    except ImportError as error:
        raise LibraryNotFound("cuda-core", str(error), driver.version()[0]) from None
    return CoreDevice(ordinal)
