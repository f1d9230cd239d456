"""Streams: made here, the default ones, and those of other libraries."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self

from gocudnn_py import driver
from gocudnn_py.cuda import callbacks
from gocudnn_py.resource import drain

if TYPE_CHECKING:
    from gocudnn_py.cuda.device import Device

NO_TIMING = 2  # CU_EVENT_DISABLE_TIMING
LEGACY, PER_THREAD = 1, 2  # CU_STREAM_LEGACY, CU_STREAM_PER_THREAD
Compare = Literal["at_least", "equal", "and", "nor"]
COMPARE = {"at_least": 0, "equal": 1, "and": 2, "nor": 3}  # CU_STREAM_WAIT_VALUE_GEQ, _EQ, _AND, _NOR
FLUSH = 1 << 30  # CU_STREAM_WAIT_VALUE_FLUSH


class Used(Protocol):
    """What a stream works on."""

    def used_on(self, stream: Stream, /) -> None:
        """Say that a stream has been given work on it, for which giving it back then waits."""


class Memory(Used, Protocol):
    """A place that the GPU reaches: a DeviceBuffer, PinnedBuffer, ManagedBuffer."""

    @property
    def nbytes(self) -> int:
        """Its length in bytes."""

    @property
    def pointer(self) -> int:
        """The address."""

    @property
    def ordinal(self) -> int | None:
        """The number of the GPU whose memory it is; None when it is the host's, or moves."""


class Stream:
    """A non-blocking stream of a device; anything with `__cuda_stream__` is taken where a stream is.

    `priority` is one of the device's `priorities`. `capturing` says that it only records, for as long as a capture
    lasts.
    """

    capturing = False
    _foreign: object = None

    def __init__(self, device: Device, *, priority: int | None = None) -> None:
        from cuda.core import StreamOptions

        if priority is not None:
            least, greatest = device.priorities
            if not greatest <= priority <= least:
                raise ValueError(f"a stream of priority {priority}; {device} has {greatest} (first) to {least} (last)")
        with driver.primary_context(device.ordinal):  # cuda.core makes it in whatever context is current
            self._take(device, device.core.create_stream(options=StreamOptions(nonblocking=True, priority=priority)))

    def _take(self, device: Device, core: Any) -> None:
        self.device, self.core = device, core
        self.handle = int(core.handle)
        self.cell = ctypes.c_void_p(self.handle)  # as launches take it

    @classmethod
    def default(cls, device: Device, *, per_thread: bool = False) -> Self:
        """The stream that CUDA uses when none is named: one for all threads, which waits for every blocking stream
        and they for it, or one `per_thread`. Nothing can be captured on the first.
        """
        from cuda.core import LEGACY_DEFAULT_STREAM, PER_THREAD_DEFAULT_STREAM

        stream = cls.__new__(cls)
        stream._take(device, PER_THREAD_DEFAULT_STREAM if per_thread else LEGACY_DEFAULT_STREAM)
        return stream

    @classmethod
    def adopt(cls, device: Device, foreign: object) -> Self:
        """Another library's stream: anything with `__cuda_stream__`, which is kept alive, or its address.

        Raises TypeError for anything else, ValueError when it is of another context (cuStreamGetCtx).
        """
        from cuda.core import Stream as CoreStream

        handle = _address(foreign) or LEGACY
        context = ctypes.c_void_p()
        with driver.primary_context(device.ordinal):
            driver.call("cuStreamGetCtx", handle, ctypes.byref(context))
        if context.value != driver.context(device.ordinal):
            raise ValueError(f"stream {handle:#x} is not one of the primary context of {device}")
        stream = cls.__new__(cls)
        stream._take(device, CoreStream.from_handle(handle))
        stream._foreign = foreign
        return stream

    def uses(self, *things: Used) -> None:
        """Say that the stream has been given work on these: giving them back waits, and a recorded graph holds them."""
        for thing in things:
            thing.used_on(self)

    @property
    def priority(self) -> int:
        """Its priority; greater is smaller (cuStreamGetPriority)."""
        return int(self.core.priority)

    @property
    def done(self) -> bool:
        """Whether everything given to the stream is done (cuStreamQuery)."""
        self.device.enter()
        return driver.reached("cuStreamQuery", self.handle)

    def synchronize(self) -> None:
        """Wait until everything given to the stream is done; what finalizers left behind is given back.

        (cuStreamSynchronize)
        """
        self.device.enter()
        driver.call("cuStreamSynchronize", self.cell)
        drain()

    def wait_for(self, other: Stream) -> None:
        """Let further work wait for all that another stream, also of another device, has been given so far.

        (cuEventCreate, cuEventRecord, cuStreamWaitEvent, cuEventDestroy_v2)
        """
        with driver.primary_context(other.device.ordinal):
            wait(self.cell, other.cell)

    def wait_value(
        self,
        memory: Memory,
        value: int,
        compare: Compare = "at_least",
        *,
        at: int = 0,
        bits: Literal[32, 64] = 32,
        flush: bool = False,
    ) -> None:
        """Let further work wait until the number at byte `at` compares so with `value`.

        "at_least" is cyclic (found - value >= 0 as signed), "and" waits for a common bit, "nor" for a bit that is set
        in neither. `flush` makes remote writes before it visible. Raises ValueError, TypeError (cuStreamWaitValue32_v2,
        cuStreamWaitValue64_v2).
        """
        if compare not in COMPARE:
            raise ValueError(f"compare {compare!r}; there are {', '.join(COMPARE)}")
        flags = COMPARE[compare] | (FLUSH if flush else 0)
        self._value("cuStreamWaitValue", memory, value, at, bits, flags)

    def write_value(self, memory: Memory, value: int, *, at: int = 0, bits: Literal[32, 64] = 32) -> None:
        """Write a number at byte `at` in stream order, after all writes before it are seen.

        Raises ValueError, TypeError (cuStreamWriteValue32_v2, cuStreamWriteValue64_v2).
        """
        self._value("cuStreamWriteValue", memory, value, at, bits, 0)

    def _value(self, name: str, memory: Memory, value: int, at: int, bits: int, flags: int) -> None:
        if bits not in (32, 64):
            raise ValueError(f"a value of {bits} bits; there are 32 and 64")
        if not 0 <= value < 2**bits:
            raise ValueError(f"value {value} does not fit {bits} bits without a sign")
        if at % (bits // 8) or not 0 <= at <= memory.nbytes - bits // 8:
            raise ValueError(
                f"a value of {bits // 8} bytes at byte {at} of {memory.nbytes}: in steps of its size, inside"
            )
        self.device.enter()
        driver.call(f"{name}{bits}_v2", self.cell, memory.pointer + at, value, flags)
        self.uses(memory)

    def call_host(self, function: Callable[..., object], *arguments: object) -> Future[Any]:
        """Call a Python function when the stream gets there, on a thread of the driver's; it may not call CUDA.

        The stream goes on when it returns. It is held until then; what it returns or raises is in the future, and an
        exception is logged by `gocudnn_py.cuda` as well. Recorded into a graph it is called each time, held by the
        graph, and the future is that of the first call. Synchronise before the interpreter ends (cuLaunchHostFunc).
        """
        self.device.enter()
        return callbacks.launch(self.cell, function, arguments)

    def __cuda_stream__(self) -> tuple[int, int]:
        return 0, self.handle

    def __repr__(self) -> str:
        return f"Stream({self.handle:#x} on {self.device})"


def wait(waiting: ctypes.c_void_p, other: ctypes.c_void_p) -> None:
    """As `Stream.wait_for`, in the context of `other`, with an event of the driver's own, for also finalizers do it.

    (cuEventCreate, cuEventRecord, cuStreamWaitEvent, cuEventDestroy_v2)
    """
    event = ctypes.c_void_p()
    driver.call("cuEventCreate", ctypes.byref(event), NO_TIMING)
    try:
        driver.call("cuEventRecord", event, other)
        driver.call("cuStreamWaitEvent", waiting, event, 0)
    finally:
        driver.call("cuEventDestroy_v2", event)


def _address(foreign: Any) -> int:
    if isinstance(foreign, int):
        return foreign
    protocol = getattr(foreign, "__cuda_stream__", None)
    if protocol is None:
        raise TypeError(f"a stream is an address or has __cuda_stream__; {type(foreign).__name__} is neither")
    version, handle = protocol()
    if version != 0:
        raise TypeError(f"{type(foreign).__name__}.__cuda_stream__ is of version {version}, known is 0")
    return int(handle)
