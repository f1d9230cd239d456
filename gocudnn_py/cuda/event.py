"""Events: points in a stream's work."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Self

from gocudnn_py import driver
from gocudnn_py.cuda.stream import NO_TIMING, Stream
from gocudnn_py.driver import WRONG_CONTEXT, IpcHandle
from gocudnn_py.resource import Resource

if TYPE_CHECKING:
    from gocudnn_py.cuda.device import Device

BLOCKING, INTERPROCESS = 1, 4  # CU_EVENT_BLOCKING_SYNC, CU_EVENT_INTERPROCESS


class Event(Resource):
    """A point in a stream's work that other streams can wait for, and with `timing` the time when it was reached.

    `blocking` lets a thread that waits for it sleep instead of asking again and again; one that is `shared` can be
    opened in another process, and has no timing (cuEventCreate, cuEventDestroy_v2).
    """

    def __init__(self, device: Device, *, timing: bool = False, blocking: bool = False, shared: bool = False) -> None:
        if timing and shared:
            raise ValueError("an event that is shared between processes has no timing")
        flags = (0 if timing else NO_TIMING) | (BLOCKING if blocking else 0) | (INTERPROCESS if shared else 0)
        with driver.primary_context(device.ordinal):
            made = driver.number("cuEventCreate", flags, kind=ctypes.c_void_p)
        super().__init__(made, _destroy, device=device.ordinal)

    def record(self, stream: Stream) -> None:
        """Mark what the stream has been given so far (cuEventRecord)."""
        record, handle = driver.function("cuEventRecord"), self.handle
        status = record(handle, stream.cell)
        if status in WRONG_CONTEXT:  # of this thread; the event has one, so nothing was marked elsewhere
            stream.device.enter()
            status = record(handle, stream.cell)
        if status:
            driver.fail("cuEventRecord", status)

    def hold(self, stream: Stream) -> None:
        """Let the stream's further work wait for the mark (cuStreamWaitEvent)."""
        handle = self.handle
        stream.device.enter()
        driver.call("cuStreamWaitEvent", stream.cell, handle, 0)

    @property
    def done(self) -> bool:
        """Whether the mark is reached, or there is none (cuEventQuery)."""
        return driver.reached("cuEventQuery", self.handle)

    def synchronize(self) -> None:
        """Wait until the mark is reached (cuEventSynchronize)."""
        driver.call("cuEventSynchronize", self.handle)

    def milliseconds_since(self, start: Event) -> float:
        """The time between two marks, waiting for this one; both events need `timing`. Raises CudaError.

        (cuEventSynchronize, cuEventElapsedTime)
        """
        self.synchronize()
        milliseconds = ctypes.c_float()
        driver.call("cuEventElapsedTime", ctypes.byref(milliseconds), start.handle, self.handle)
        return milliseconds.value

    def ipc_handle(self) -> bytes:
        """What another process opens a `shared` event with (cuIpcGetEventHandle)."""
        handle = IpcHandle()
        driver.call("cuIpcGetEventHandle", ctypes.byref(handle), self.handle)
        return bytes(handle)

    @classmethod
    def open(cls, device: Device, ipc_handle: bytes) -> Self:
        """The event of another process, which has to live as long (cuIpcOpenEventHandle, cuEventDestroy_v2)."""
        with driver.primary_context(device.ordinal):
            made = driver.number("cuIpcOpenEventHandle", as_ipc(ipc_handle), kind=ctypes.c_void_p)
        event = cls.__new__(cls)
        Resource.__init__(event, made, _destroy, device=device.ordinal)
        return event


def as_ipc(content: bytes) -> IpcHandle:
    """The structure of an IPC handle's bytes. Raises ValueError when they are not 64."""
    if len(content) != ctypes.sizeof(IpcHandle):
        raise ValueError(f"an IPC handle has 64 bytes, this one has {len(content)}")
    return IpcHandle.from_buffer_copy(content)


def _destroy(handle: int) -> None:
    driver.call("cuEventDestroy_v2", handle)
