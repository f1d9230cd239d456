"""Two cards: memory of one reached from the other. Skipped where there are fewer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from gocudnn_py import driver
from gocudnn_py.cuda import Device, DeviceBuffer, Event, ManagedBuffer, Module, Scalar, Stream, Worker, pointer_info
from tests.gpu.test_cuda_device import CYCLES, SLOW

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gocunets.backends.cudnn import CudaBackend

VALUES = np.arange(1000, dtype=np.float32)
TWICE = 'extern "C" __global__ void twice(float* x) { x[threadIdx.x] *= 2; }'


@pytest.fixture
def pair(backend: CudaBackend) -> Iterator[tuple[Device, Device]]:
    count = len(driver.gpus())
    if count < 2:
        pytest.skip(f"two GPUs are needed, there is {count}")
    first, second = Device(0), Device(1)
    yield first, second
    backend.device.make_current()


def test_whatever_card_is_current(pair: tuple[Device, Device]) -> None:
    first, second = pair
    stream = first.stream()
    source, target = (DeviceBuffer(stream, VALUES.nbytes, zeroed=True) for _ in range(2))
    for act in (
        lambda: source.upload(VALUES),
        lambda: target.fill(0xFF),
        lambda: target.copy_from(source, VALUES.nbytes),
        lambda: Event(first).record(stream),
    ):
        second.make_current()
        act()
    second.make_current()
    np.testing.assert_array_equal(target.download(np.empty_like(VALUES)), VALUES)


@pytest.mark.parametrize("kind", ["own", "default", "default of a thread"])
def test_an_event_marks_its_stream_whatever_card_is_current(kind: str, pair: tuple[Device, Device]) -> None:
    first, second = pair
    kernel = Module(first, SLOW).kernel("slow", [Scalar.pointer, Scalar.int64, Scalar.int32])
    stream = first.stream() if kind == "own" else Stream.default(first, per_thread=kind != "default")
    buffer, event = DeviceBuffer.plain(stream, 4, zeroed=True), Event(first)
    stream.synchronize()
    kernel.launch(stream, [1], [1], [buffer, CYCLES, 7])
    second.make_current()
    event.record(stream)
    assert not event.done
    event.synchronize()
    assert buffer.download(np.zeros(1, np.int32)) == 7


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("reached", [False, True])
def test_copies_between_cards(plain: bool, reached: bool, pair: tuple[Device, Device]) -> None:
    first, second = pair
    if reached:
        if not second.can_access(first):
            pytest.skip("no link joins the two")
        second.enable_access(first)
        second.enable_access(first)
    here, there = first.stream(), second.stream()
    make = DeviceBuffer.plain if plain else DeviceBuffer
    source, target = make(here, VALUES.nbytes), make(there, VALUES.nbytes)
    source.upload(VALUES)
    there.synchronize()
    target.copy_from(source, VALUES.nbytes - 4, at=4)
    assert (target.download(np.zeros_like(VALUES))[1:] == VALUES[:-1]).all()
    source.copy_from(target, 8, source_at=8)
    assert (source.download(np.zeros_like(VALUES))[:2] == VALUES[1:3]).all()
    if reached:
        second.disable_access(first)
        second.disable_access(first)


def test_a_kernel_reaches_the_other_cards_memory(pair: tuple[Device, Device]) -> None:
    first, second = pair
    if not second.can_access(first):
        pytest.skip("no link joins the two")
    second.enable_access(first)
    here, there = first.stream(), second.stream()
    for make in (DeviceBuffer.plain, DeviceBuffer):
        buffer = make(here, VALUES.nbytes)
        buffer.upload(VALUES)
        kernel = Module(second, TWICE).kernel("twice", [Scalar.pointer])
        kernel.launch(there, [1], [1000], [buffer.pointer])
        there.synchronize()
        assert (buffer.download(np.zeros_like(VALUES)) == 2 * VALUES).all()
        assert pointer_info(buffer.pointer).device == first.ordinal
    assert first.pool.access(second) == "readwrite"
    second.disable_access(first)
    assert first.pool.access(second) == "none"


def test_a_stream_waits_for_one_of_the_other_card(pair: tuple[Device, Device]) -> None:
    first, second = pair
    here, there = first.stream(), second.stream()
    buffer = DeviceBuffer.plain(here, 4, zeroed=True)
    copy = DeviceBuffer.plain(there, 4, zeroed=True)
    here.synchronize()
    there.synchronize()
    kernel = Module(first, SLOW).kernel("slow", [Scalar.pointer, Scalar.int64, Scalar.int32])
    kernel.launch(here, [1], [1], [buffer, CYCLES, 7])
    there.wait_for(here)
    copy.copy_from(buffer, 4)
    assert copy.download(np.zeros(1, np.int32)) == 7
    buffer.close()


def test_memory_of_the_other_card_is_refused(pair: tuple[Device, Device]) -> None:
    first, second = pair
    buffer = DeviceBuffer(first.stream(), 4000)
    kernel = Module(second, TWICE).kernel("twice", [Scalar.pointer])
    with pytest.raises(ValueError, match="argument 0 lies on"):
        kernel.bind([1], [1], [buffer])


def test_managed_memory_moves_between_cards(pair: tuple[Device, Device]) -> None:
    first, second = pair
    if not all(device.attribute("CONCURRENT_MANAGED_ACCESS") for device in pair):
        pytest.skip("managed memory moves only as a whole")
    with ManagedBuffer(first, 4096) as buffer:
        buffer.array[:] = 1
        for device in (second, first):
            stream = device.stream()
            buffer.prefetch(stream)
            stream.synchronize()
            assert buffer.attribute("LAST_PREFETCH_LOCATION") == device.ordinal


def test_a_worker_for_each_card(pair: tuple[Device, Device]) -> None:
    with Worker(0) as one, Worker(1) as two:
        workers = {0: one, 1: two}

        def filled(ordinal: int) -> tuple[int, int]:
            buffer = DeviceBuffer(workers[ordinal].stream, 1000)
            buffer.fill(ordinal + 1)
            total = int(buffer.download(np.empty(1000, np.uint8)).sum())
            found = pointer_info(buffer.pointer).device
            assert found is not None
            return total, found

        futures = [workers[number % 2].submit(filled, number % 2) for number in range(50)]
        assert [future.result() for future in futures] == [(1000 * (n % 2 + 1), n % 2) for n in range(50)]
