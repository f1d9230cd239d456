"""Devices, streams and events on a card."""

from __future__ import annotations

import gc
import re
import threading
import time
import weakref
from typing import TYPE_CHECKING

import numpy as np
import pytest

from gocudnn_py.cuda import DeviceBuffer, Event, Kernel, Module, PinnedBuffer, Scalar, Stream
from gocudnn_py.errors import CudaError

if TYPE_CHECKING:
    from gocunets.backends.cudnn import CudaBackend

SLOW = """
extern "C" __global__ void slow(int* x, long long cycles, int value)
{
    const long long end = clock64() + cycles;
    while (clock64() < end) {}
    *x = value;
}
"""
CYCLES = 200_000_000  # a tenth of a second and more


@pytest.fixture(scope="module")
def slow(backend: CudaBackend) -> Kernel:
    return Module(backend.device, SLOW).kernel("slow", [Scalar.pointer, Scalar.int64, Scalar.int32])


def test_attributes_by_name(backend: CudaBackend) -> None:
    device = backend.device
    found = device.attributes()
    assert len(found) > 100
    assert found["MAX_THREADS_PER_BLOCK"] == device.attribute("max_threads_per_block") >= 1024
    assert (found["COMPUTE_CAPABILITY_MAJOR"], found["COMPUTE_CAPABILITY_MINOR"]) == device.capability
    assert found["MULTIPROCESSOR_COUNT"] == device.multiprocessors
    assert found["MAX_SHARED_MEMORY_PER_BLOCK_OPTIN"] == device.shared_memory
    with pytest.raises(ValueError, match="did you mean"):
        device.attribute("MAX_THREADS_PER_BLOK")


def test_what_names_a_card(backend: CudaBackend) -> None:
    device = backend.device
    assert re.search(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", device.uuid)
    domain, bus, place = device.pci_id.split(":")
    names = "PCI_DOMAIN_ID", "PCI_BUS_ID", "PCI_DEVICE_ID"
    assert [int(domain, 16), int(bus, 16), int(place.split(".")[0], 16)] == [device.attribute(name) for name in names]
    free, total = device.memory_info()
    assert 0 < free <= total <= device.memory


def test_limits_are_set(backend: CudaBackend) -> None:
    device = backend.device
    before = device.limit("PRINTF_FIFO_SIZE")
    try:
        assert device.set_limit("PRINTF_FIFO_SIZE", 2 * before) >= 2 * before
    finally:
        device.set_limit("PRINTF_FIFO_SIZE", before)
    with pytest.raises(ValueError, match="negative"):
        device.set_limit("PRINTF_FIFO_SIZE", -1)


def test_cache_preference_is_a_wish(backend: CudaBackend) -> None:
    device, before = backend.device, backend.device.cache_preference
    try:
        device.cache_preference = "prefer_shared"
        assert device.cache_preference in ("PREFER_SHARED", "PREFER_NONE")  # none where both have sizes of their own
    finally:
        device.cache_preference = before


def test_a_card_reaches_itself(backend: CudaBackend) -> None:
    assert backend.device.can_access(backend.device)
    backend.device.enable_access(backend.device)
    backend.device.disable_access(backend.device)


def test_streams_have_priorities(backend: CudaBackend) -> None:
    least, greatest = backend.device.priorities
    assert greatest <= 0 <= least
    for priority in (least, greatest):
        assert backend.device.stream(priority).priority == priority
    with pytest.raises(ValueError, match=f"a stream of priority {greatest - 1}"):
        backend.device.stream(greatest - 1)


def test_a_stream_says_when_it_is_done(backend: CudaBackend, slow: Kernel) -> None:
    stream, buffer = backend.device.stream(), DeviceBuffer.plain(backend.stream, 4)
    assert stream.done
    event = Event(backend.device, blocking=True)
    slow.launch(stream, [1], [1], [buffer, CYCLES, 1])
    event.record(stream)
    assert not stream.done
    assert not event.done
    event.synchronize()
    assert event.done
    stream.synchronize()
    assert stream.done
    backend.device.synchronize()


def test_a_stream_waits_for_another(backend: CudaBackend, slow: Kernel) -> None:
    first, second = backend.device.stream(), backend.device.stream()
    buffer = DeviceBuffer.plain(backend.stream, 4, zeroed=True)
    copy = DeviceBuffer.plain(backend.stream, 4, zeroed=True)
    backend.synchronize()
    slow.launch(first, [1], [1], [buffer, CYCLES, 7])
    second.wait_for(first)
    copy.copy_from(buffer, 4, stream=second)
    second.synchronize()
    assert copy.download(np.zeros(1, np.int32)) == 7


@pytest.mark.parametrize("bits", [32, 64])
def test_a_stream_waits_for_a_value(bits: int, backend: CudaBackend) -> None:
    if bits == 64 and not backend.device.attribute("CAN_USE_64_BIT_STREAM_MEM_OPS"):
        pytest.skip(f"{backend.device} waits for no values of 64 bits")
    waiting, writing = backend.device.stream(), backend.device.stream()
    flag = DeviceBuffer.plain(backend.stream, 64, zeroed=True)
    done = DeviceBuffer.plain(backend.stream, 4, zeroed=True)
    backend.synchronize()
    waiting.wait_value(flag, 5, "at_least", at=8, bits=bits)  # type: ignore[arg-type]
    done.fill(1, stream=waiting)
    assert not waiting.done
    writing.write_value(flag, 4, at=8, bits=bits)  # type: ignore[arg-type]
    writing.synchronize()
    time.sleep(0.01)
    assert not waiting.done
    writing.write_value(flag, 6, at=8, bits=bits)  # type: ignore[arg-type]
    waiting.synchronize()
    assert (done.download(np.zeros(4, np.uint8)) == 1).all()
    assert flag.download(np.zeros(1, f"u{bits // 8}"), 8) == 6


def test_the_host_lets_a_stream_go_on(backend: CudaBackend) -> None:
    stream, flag = backend.device.stream(), PinnedBuffer(backend.device, 4, mapped=True)
    flag.array[:] = 0
    stream.wait_value(flag, 1, "equal")
    assert not stream.done
    flag.array.view(np.uint32)[0] = 1
    stream.synchronize()
    assert stream.done


def test_host_functions_run_in_stream_order(backend: CudaBackend, slow: Kernel) -> None:
    stream, buffer = backend.device.stream(), DeviceBuffer.plain(backend.stream, 4)
    pinned, flag, threads = PinnedBuffer(backend.device, 4), PinnedBuffer(backend.device, 4, mapped=True), []
    pinned.array[:] = flag.array[:] = 0

    def look() -> int:
        threads.append(threading.get_ident())
        return int(pinned.array.view(np.int32)[0])

    stream.wait_value(flag, 1, "equal")
    slow.launch(stream, [1], [1], [buffer, CYCLES, 9])
    buffer.copy_to(pinned, 4, stream=stream)
    gone, future = weakref.ref(look), stream.call_host(look)
    failing = stream.call_host(lambda: 1 // 0)
    del look
    gc.collect()
    assert gone() is not None
    flag.array.view(np.uint32)[0] = 1
    assert future.result(60) == 9
    assert isinstance(failing.exception(60), ZeroDivisionError)
    stream.synchronize()
    gc.collect()
    assert gone() is None
    assert threads != [threading.get_ident()]


@pytest.mark.parametrize("per_thread", [False, True])
def test_default_streams(per_thread: bool, backend: CudaBackend) -> None:
    stream = Stream.default(backend.device, per_thread=per_thread)
    with DeviceBuffer(stream, 100) as buffer:
        buffer.fill(3)
        assert (buffer.download(np.zeros(100, np.uint8)) == 3).all()
    stream.synchronize()
    assert stream.done


@pytest.mark.parametrize("own", [False, True])
def test_an_event_is_recorded_on_a_thread_without_a_context(own: bool, slow: Kernel, backend: CudaBackend) -> None:
    stream = backend.device.stream() if own else Stream.default(backend.device)
    buffer, event = DeviceBuffer.plain(stream, 4, zeroed=True), Event(backend.device)
    stream.synchronize()
    slow.launch(stream, [1], [1], [buffer, CYCLES, 7])
    thread = threading.Thread(target=event.record, args=[stream])
    thread.start()
    thread.join()
    assert not event.done
    event.synchronize()
    assert buffer.download(np.zeros(1, np.int32)) == 7


class Foreign:
    """Another library's stream."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream

    def __cuda_stream__(self) -> tuple[int, int]:
        return 0, self.stream.handle


def test_another_librarys_stream(backend: CudaBackend) -> None:
    foreign = Foreign(backend.device.stream())
    gone, stream = weakref.ref(foreign), Stream.adopt(backend.device, foreign)
    assert stream.handle == foreign.stream.handle
    del foreign
    gc.collect()
    assert gone() is not None
    buffer = DeviceBuffer(stream, 64)
    buffer.fill(0xFFFF, 2)
    assert (buffer.download(np.zeros(32, np.uint16)) == 0xFFFF).all()
    buffer.close()
    stream.synchronize()
    usual = Stream.adopt(backend.device, 0)
    usual.synchronize()
    assert usual.done


def test_events_without_timing_measure_nothing(backend: CudaBackend) -> None:
    start, stop = Event(backend.device), Event(backend.device, timing=True)
    start.record(backend.stream)
    stop.record(backend.stream)
    with pytest.raises(CudaError, match="cuEventElapsedTime"):
        stop.milliseconds_since(start)
