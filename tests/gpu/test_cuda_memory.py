"""Kinds of memory on a card: plain, pinned, managed, in rows, of pools, of other libraries."""

from __future__ import annotations

import gc
import weakref
from typing import TYPE_CHECKING

import numpy as np
import pytest

from gocudnn_py.cuda import (
    Box,
    DeviceBuffer,
    ManagedBuffer,
    Module,
    PinnedBuffer,
    PitchedBuffer,
    Scalar,
    Stream,
    copy_box,
    pitched_like,
)
from gocudnn_py.errors import UnusableResource
from tests.gpu.test_cuda_device import CYCLES, SLOW

if TYPE_CHECKING:
    from gocunets.backends.cudnn import CudaBackend

TWICE = 'extern "C" __global__ void twice(unsigned char* x) { x[threadIdx.x] *= 2; }'


@pytest.mark.parametrize(("value", "width", "dtype"), [(0xAB, 1, "u1"), (0xABCD, 2, "u2"), (0x1234ABCD, 4, "u4")])
def test_fills_of_every_width(value: int, width: int, dtype: str, backend: CudaBackend) -> None:
    buffer = DeviceBuffer(backend.stream, 64, zeroed=True)
    buffer.fill(value, width, at=16, count=5)
    wanted = np.zeros(64 // width, dtype)
    wanted[16 // width : 16 // width + 5] = value
    assert (buffer.download(np.empty_like(wanted)) == wanted).all()


@pytest.mark.parametrize("plain", [False, True])
def test_views_are_the_same_memory(plain: bool, backend: CudaBackend) -> None:
    whole = DeviceBuffer.plain(backend.stream, 100) if plain else DeviceBuffer(backend.stream, 100)
    values = np.arange(100, dtype=np.uint8)
    whole.upload(values)
    part = whole.view(10, 50)
    part.view(5).fill(0, count=2)
    values[15:17] = 0
    assert (whole.download(np.empty_like(values)) == values).all()
    gone = weakref.ref(whole)
    del whole
    gc.collect()
    assert gone() is not None
    assert (part.download(np.empty(50, np.uint8)) == values[10:60]).all()
    part.write(b"file")
    part.seek(0)
    assert part.read(4) == b"file"
    part.close()
    del part
    gc.collect()
    assert gone() is None


def test_a_view_of_closed_memory_is_refused(backend: CudaBackend) -> None:
    whole = DeviceBuffer(backend.stream, 100)
    part = whole.view(10)
    whole.close()
    with pytest.raises(UnusableResource):
        part.download(np.empty(90, np.uint8))


def _stall(backend: CudaBackend, stream: Stream) -> DeviceBuffer:
    """Give a stream work for a tenth of a second; what it works on, which waits for it when it is given back."""
    kernel = Module(backend.device, SLOW).kernel("slow", [Scalar.pointer, Scalar.int64, Scalar.int32])
    written = DeviceBuffer.plain(backend.stream, 4)
    kernel.launch(stream, [1], [1], [written, CYCLES, 0])
    return written


@pytest.mark.parametrize("kind", ["made", "write combined", "locked"])
def test_copies_of_pinned_memory_do_not_wait(kind: str, backend: CudaBackend) -> None:
    stream, values = backend.device.stream(), np.arange(1000, dtype=np.float32)
    if kind == "locked":
        sent = PinnedBuffer.register(backend.device, values.copy(), portable=True)
    else:
        sent = PinnedBuffer(backend.device, values.nbytes, write_combined=kind == "write combined")
        sent.array[:] = values.view(np.uint8)
    got = PinnedBuffer(backend.device, values.nbytes)
    buffer = DeviceBuffer(stream, values.nbytes)
    stream.synchronize()
    stalled = _stall(backend, stream)
    buffer.copy_from(sent, values.nbytes)
    buffer.copy_to(got, values.nbytes - 4, at=4, target_at=0)
    assert not stream.done
    stream.synchronize()
    assert (got.array.view(np.float32)[:-1] == values[1:]).all()
    for each in (sent, got, stalled):
        each.close()


def test_pinned_memory_is_given_back_after_its_copies(backend: CudaBackend) -> None:
    stream, buffer = backend.device.stream(), DeviceBuffer(backend.stream, 1 << 20, zeroed=True)
    pinned = PinnedBuffer(backend.device, 1 << 20)
    pinned.array[:] = 5
    backend.synchronize()
    stalled = _stall(backend, stream)
    buffer.copy_from(pinned, 1 << 20, stream=stream)
    assert not stream.done
    pinned.close()
    assert stream.done  # it was waited for
    stalled.close()
    assert (buffer.download(np.empty(1 << 20, np.uint8)) == 5).all()


@pytest.mark.parametrize("locked", [False, True])
def test_kernels_reach_mapped_memory(locked: bool, backend: CudaBackend) -> None:
    if locked:
        pinned = PinnedBuffer.register(backend.device, np.zeros(256, np.uint8), mapped=True)
    else:
        pinned = PinnedBuffer(backend.device, 256, mapped=True)
    pinned.array[:] = 3
    launch = Module(backend.device, TWICE).kernel("twice", [Scalar.pointer])
    launch.launch(backend.stream, [1], [256], [pinned.device_pointer])
    backend.synchronize()
    assert (pinned.array == 6).all()


def test_managed_memory_moves(backend: CudaBackend) -> None:
    device, stream = backend.device, backend.stream
    if not device.attribute("CONCURRENT_MANAGED_ACCESS"):
        pytest.skip(f"{device} moves managed memory only as a whole")
    buffer = ManagedBuffer(device, 1 << 20)
    buffer.array[:] = 3
    buffer.prefetch(stream)
    stream.synchronize()
    assert buffer.attribute("LAST_PREFETCH_LOCATION") == device.ordinal
    Module(device, TWICE).kernel("twice", [Scalar.pointer]).launch(stream, [1], [1024], [buffer])
    buffer.prefetch(stream, "host")
    stream.synchronize()
    assert buffer.attribute("LAST_PREFETCH_LOCATION") == -1
    assert (buffer.array[:1024] == 6).all()
    assert (buffer.array[1024:] == 3).all()
    for advice, name, value in (
        ("SET_READ_MOSTLY", "READ_MOSTLY", 1),
        ("UNSET_READ_MOSTLY", "READ_MOSTLY", 0),
        ("SET_PREFERRED_LOCATION", "PREFERRED_LOCATION", device.ordinal),
    ):
        buffer.advise(advice, device)
        assert buffer.attribute(name) == value
    buffer.advise("SET_PREFERRED_LOCATION", "host")
    assert buffer.attribute("PREFERRED_LOCATION") == -1
    buffer.attach(stream, "global")
    copy = DeviceBuffer(stream, 1 << 20)
    copy.copy_from(buffer, 1 << 20)
    assert (copy.download(np.empty(1 << 20, np.uint8))[:1024] == 6).all()
    buffer.close()


def test_rows_are_padded(backend: CudaBackend) -> None:
    values = np.arange(7 * 33, dtype=np.float32).reshape(7, 33)
    buffer = pitched_like(backend.stream, values)
    assert buffer.pitch >= values.shape[1] * 4
    assert buffer.pitch % 4 == 0
    assert (buffer.download_rows(np.empty_like(values)) == values).all()
    raw = buffer.download(np.empty(buffer.nbytes, np.uint8)).reshape(7, buffer.pitch)
    assert (np.ascontiguousarray(raw[:, : 33 * 4]).view(np.float32) == values).all()


@pytest.mark.parametrize(("width", "dtype"), [(1, "u1"), (2, "u2"), (4, "u4")])
def test_rows_are_filled_without_their_padding(width: int, dtype: str, backend: CudaBackend) -> None:
    buffer = PitchedBuffer(backend.stream, 60, 5)
    buffer.fill(0)
    buffer.fill_rows(7, width)
    raw = buffer.download(np.empty(buffer.nbytes, np.uint8)).reshape(5, buffer.pitch)
    assert (np.ascontiguousarray(raw[:, :60]).view(dtype) == 7).all()
    assert not raw[:, 60:].any()


def test_a_box_between_rows_of_two_pitches(backend: CudaBackend) -> None:
    values = np.arange(10 * 40, dtype=np.uint8).reshape(10, 40)
    rows, plain = pitched_like(backend.stream, values), DeviceBuffer(backend.stream, 1000, zeroed=True)
    copy_box(backend.stream, Box(plain, 50, x=3, y=2), rows.box(x=5, y=1), (20, 6))
    wanted = np.zeros((20, 50), np.uint8)
    wanted[2:8, 3:23] = values[1:7, 5:25]
    assert (plain.download(np.empty_like(wanted)) == wanted).all()


def test_boxes_of_three_dimensions(backend: CudaBackend) -> None:
    values = np.arange(4 * 5 * 6, dtype=np.int32).reshape(4, 5, 6)
    buffer = DeviceBuffer(backend.stream, values.nbytes, zeroed=True)
    copy_box(backend.stream, Box(buffer, 24, 5), Box.of(values), (24, 5, 4))
    assert (buffer.download(np.empty_like(values)) == values).all()
    part = np.zeros((2, 3, 4), np.int32)
    copy_box(backend.stream, Box.of(part), Box(buffer, 24, 5, x=4, y=1, z=2), (16, 3, 2))
    assert (part == values[2:4, 1:4, 1:5]).all()
    pinned = PinnedBuffer(backend.device, values.nbytes)
    pinned.array[:] = 0
    copy_box(backend.stream, Box(pinned, 24, 5, z=1), Box(buffer, 24, 5), (24, 5, 2))
    backend.synchronize()
    assert (pinned.array.view(np.int32).reshape(4, 5, 6)[1:3] == values[:2]).all()
