"""Memory without a GPU: what is refused, what is called, and that it is given back once and not too early."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

from gocudnn_py import resource
from gocudnn_py.cuda import (
    Box,
    DeviceBuffer,
    ManagedBuffer,
    PinnedBuffer,
    PitchedBuffer,
    Stream,
    copy_box,
)
from gocudnn_py.errors import CudaError, OutOfMemory, UnusableResource
from tests.gocudnn_py.cuda_standin import StandIn, make_device, make_stream, standing_in

needs_bindings = pytest.mark.skipif(find_spec("cuda") is None, reason="cuda-bindings is not installed")


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    yield from standing_in(monkeypatch)


@pytest.fixture
def stream(fake: StandIn) -> Stream:
    return make_stream(make_device())


def test_a_buffer_comes_from_the_devices_pool_and_goes_back_in_order(fake: StandIn, stream: Stream) -> None:
    buffer = DeviceBuffer(stream, 100)
    assert fake.last("cuMemAllocFromPoolAsync")[1:3] == (100, 0x77)
    address = buffer.pointer
    buffer.close()
    buffer.close()
    assert fake.last("cuMemFreeAsync") == (address, stream.cell)
    assert fake.names().count("cuMemFreeAsync") == 1


def test_a_constructor_that_fails_gives_its_memory_back(fake: StandIn, stream: Stream) -> None:
    fake.answers["cuMemsetD8Async"] = 1
    with pytest.raises(CudaError, match="cuMemsetD8Async"):
        DeviceBuffer(stream, 100, zeroed=True)
    gc.collect()
    resource.drain()
    assert fake.names()[-1] == "cuMemFreeAsync"


def test_memory_that_is_not_there_is_told_in_numbers(fake: StandIn, stream: Stream) -> None:
    fake.answers["cuMemAllocFromPoolAsync"] = fake.answers["cuMemAlloc_v2"] = fake.answers["cuMemAllocPitch_v2"] = 2
    for make in (lambda: DeviceBuffer(stream, 5000), lambda: DeviceBuffer.plain(stream, 5000)):
        with pytest.raises(OutOfMemory, match="5,000 bytes of GPU memory were asked for"):
            make()
    with pytest.raises(OutOfMemory, match="600 bytes"):
        PitchedBuffer(stream, 60, 10)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [((300,), "300 does not fit 1 bytes"), ((-1,), "-1 does not fit"), ((0, 3), "3 bytes are not set")],
)
def test_fills_that_are_refused(arguments: tuple[int, ...], words: str, stream: Stream) -> None:
    with pytest.raises(ValueError, match=words):
        DeviceBuffer(stream, 100).fill(*arguments)


def test_fills_stay_inside_and_aligned(fake: StandIn, stream: Stream) -> None:
    buffer = DeviceBuffer(stream, 100)
    with pytest.raises(ValueError, match="bytes 96 to 104 of a buffer of 100"):
        buffer.fill(1, 4, at=96, count=2)
    with pytest.raises(ValueError, match="no multiple"):
        buffer.fill(1, 4, at=2)
    buffer.fill(7, 2, at=10)
    assert fake.last("cuMemsetD16Async")[:3] == (buffer.pointer + 10, 7, 45)
    before = len(fake.calls)
    buffer.fill(7, count=0)
    assert len(fake.calls) == before


def test_memory_that_nobody_holds_calls_no_driver_by_itself(fake: StandIn, stream: Stream) -> None:
    buffer, before = DeviceBuffer(stream, 100), resource.pending()
    called = len(fake.calls)
    del buffer
    gc.collect()
    assert (resource.pending(), len(fake.calls)) == (before + 1, called)
    resource.drain()
    assert fake.names()[-1] == "cuMemFreeAsync"


def test_managed_and_pinned_memory_comes_after_what_nobody_holds(fake: StandIn, stream: Stream) -> None:
    for make in (ManagedBuffer, PinnedBuffer):
        DeviceBuffer(stream, 100)
        gc.collect()
        called = len(fake.names())
        kept = make(stream.device, 100)
        assert fake.names()[called] == "cuMemFreeAsync"
        del kept


def test_a_view_of_what_can_only_be_read(fake: StandIn, stream: Stream) -> None:
    whole = DeviceBuffer(stream, 100)
    whole.readonly = True
    part = whole.view(10).view(20)
    assert (part.writable(), part.__cuda_array_interface__["data"]) == (False, (part.pointer, True))
    with pytest.raises(ValueError, match="forbids writing"):
        part.fill(0)


def test_a_view_holds_the_memory_it_looks_at(fake: StandIn, stream: Stream) -> None:
    whole = DeviceBuffer(stream, 100)
    part = whole.view(10, 50).view(5)
    assert (part.nbytes, part.pointer - whole.pointer) == (45, 15)
    del whole
    gc.collect()
    resource.drain()
    assert "cuMemFreeAsync" not in fake.names()
    part.close()
    del part
    gc.collect()
    resource.drain()
    assert fake.names()[-1] == "cuMemFreeAsync"


def test_a_view_of_closed_memory_is_refused(stream: Stream) -> None:
    whole = DeviceBuffer(stream, 100)
    part, closed = whole.view(10), whole.view(0)
    closed.close()
    with pytest.raises(UnusableResource, match="part of a buffer is closed"):
        _ = closed.pointer
    whole.close()
    with pytest.raises(UnusableResource, match="is closed"):
        _ = part.pointer
    with pytest.raises(ValueError, match="bytes 90 to 110"):
        DeviceBuffer(stream, 100).view(90, 20)


def test_giving_back_waits_for_other_streams(fake: StandIn, stream: Stream) -> None:
    other = make_stream(stream.device, 0x600)
    source, target = DeviceBuffer(stream, 100), DeviceBuffer(other, 100)
    target.copy_from(source.view(0), 100)
    source.close()
    assert fake.names()[-5:] == [
        "cuEventCreate",
        "cuEventRecord",
        "cuStreamWaitEvent",
        "cuEventDestroy_v2",
        "cuMemFreeAsync",
    ]
    assert fake.last("cuEventRecord")[1] is other.cell
    assert fake.last("cuStreamWaitEvent")[0] is stream.cell


def test_copies_choose_by_where_memory_is(fake: StandIn, stream: Stream) -> None:
    far = make_stream(make_device(1))
    here, there = DeviceBuffer(stream, 100), DeviceBuffer(far, 100)
    there.copy_from(here, 10, at=1, source_at=2)
    wanted = (there.pointer + 1, 0xC001, here.pointer + 2, 0xC000, 10, far.cell)
    assert fake.last("cuMemcpyPeerAsync") == wanted
    pinned = PinnedBuffer.register(stream.device, np.zeros(100, np.uint8))
    here.copy_to(pinned, 20, target_at=5)
    assert fake.last("cuMemcpyAsync") == (pinned.pointer + 5, here.pointer, 20, stream.cell)
    with pytest.raises(ValueError, match="bytes 90 to 101 of 100"):
        here.copy_from(pinned, 11, source_at=90)
    before = len(fake.calls)
    here.copy_from(there, 0)
    assert len(fake.calls) == before


def test_plain_memory_waits_before_it_is_freed(fake: StandIn, stream: Stream) -> None:
    buffer, other = DeviceBuffer.plain(stream, 100), make_stream(stream.device, 0x600)
    buffer.used_on(other)
    buffer.close()
    assert fake.names()[-3:] == ["cuStreamSynchronize", "cuStreamSynchronize", "cuMemFree_v2"]
    with pytest.raises(ValueError, match="a buffer of 0 bytes"):
        DeviceBuffer.plain(stream, 0)


def _host_memory(fake: StandIn, nbytes: int) -> np.ndarray:
    """Real memory for what the driver is asked for."""
    memory = np.zeros(nbytes, np.uint8)

    def allocate(made: Any, asked: int, flags: int) -> int:
        made._obj.value = memory.ctypes.data
        return int(asked > nbytes)

    fake.answers["cuMemHostAlloc"] = fake.answers["cuMemAllocManaged"] = allocate
    return memory


def test_pinned_memory_waits_for_copies_and_outlives_its_array(fake: StandIn, stream: Stream) -> None:
    memory = _host_memory(fake, 100)
    pinned = PinnedBuffer(stream.device, 100, portable=True, write_combined=True)
    assert fake.last("cuMemHostAlloc")[2] == 5
    array = pinned.array
    array[:] = 7
    assert (memory == 7).all()
    DeviceBuffer(stream, 100).copy_from(pinned, 100)
    del pinned
    gc.collect()
    resource.drain()
    assert "cuMemFreeHost" not in fake.names()
    del array
    gc.collect()
    resource.drain()
    assert fake.names("cuMemFreeAsync")[-2:] == ["cuStreamSynchronize", "cuMemFreeHost"]


def test_only_contiguous_arrays_are_locked(fake: StandIn, stream: Stream) -> None:
    for array in (np.zeros((4, 4))[:, ::2], np.zeros(0)):
        with pytest.raises(ValueError, match="only a contiguous array"):
            PinnedBuffer.register(stream.device, array)
    with PinnedBuffer.register(stream.device, np.zeros(4), mapped=True, read_only=True) as pinned:
        assert fake.last("cuMemHostRegister_v2") == (pinned.array.ctypes.data, 32, 10)
    assert fake.names()[-1] == "cuMemHostUnregister"
    with pytest.raises(UnusableResource):
        _ = pinned.pointer


@needs_bindings
def test_managed_memory_goes_where_it_is_told(fake: StandIn, stream: Stream) -> None:
    _host_memory(fake, 4096)
    buffer = ManagedBuffer(stream.device, 4096)
    buffer.prefetch(stream, "host", at=1024)
    address, nbytes, place, flags, _ = fake.last("cuMemPrefetchAsync_v2")
    assert (address - buffer.pointer, nbytes, place.kind, flags) == (1024, 3072, 2, 0)
    buffer.advise("set_preferred_location", make_device(3))
    advice, place = fake.last("cuMemAdvise_v2")[2:]
    assert (advice, place.kind, place.number) == (3, 1, 3)
    with pytest.raises(ValueError, match="did you mean SET_READ_MOSTLY"):
        buffer.advise("SET_READ_MOSTY")
    with pytest.raises(ValueError, match="not 'disk'"):
        buffer.prefetch(stream, "disk")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="bytes 4000 to 5000 of 4096"):
        buffer.prefetch(stream, at=4000, nbytes=1000)
    with pytest.raises(ValueError, match="attach to 'all'"):
        buffer.attach(stream, "all")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("box", "extent", "words"),
    [
        ({"pitch": 10}, (11, 1), "rows from byte 0 to 11, which are 10 bytes apart"),
        ({"pitch": 10}, (10, 11), "the last row ends at byte 110 of 100"),
        ({"pitch": 10, "rows": 2}, (10, 3, 2), "rows 0 to 3 of slices of 2"),
        ({"pitch": 10, "rows": 2, "x": -1}, (1, 1), "rows from byte -1"),
        ({"pitch": 10, "rows": 2, "z": 5}, (1, 1), "ends at byte 101 of 100"),
        ({"pitch": 10}, (10,), r"a box of \(10,\)"),
        ({"pitch": 10}, (10, 0), "each at least 1"),
    ],
)
def test_boxes_that_are_refused(box: dict[str, int], extent: tuple[int, ...], words: str, stream: Stream) -> None:
    buffer = DeviceBuffer(stream, 100)
    with pytest.raises(ValueError, match=words):
        copy_box(stream, Box(buffer, **box), Box(buffer, 10, 10), extent)


def test_arrays_that_are_no_boxes(stream: Stream) -> None:
    for array in (np.zeros(4), np.zeros((4, 4)).T, np.zeros((4, 4))[::-1], np.zeros((2, 3, 4))[:, ::2]):
        with pytest.raises(ValueError, match=r"no rows|no whole number of rows"):
            Box.of(array)
    fixed = np.zeros((4, 4), np.uint8)
    fixed.flags.writeable = False
    with pytest.raises(ValueError, match="cannot be written"):
        copy_box(stream, Box.of(fixed), Box(DeviceBuffer(stream, 16), 4), (4, 4))


def test_a_box_of_an_array_with_gaps(fake: StandIn, stream: Stream) -> None:
    buffer, array = DeviceBuffer(stream, 1000), np.zeros((5, 6, 8), np.float32)[1:4, :, 2:6]
    copy_box(stream, Box(buffer, 100, 3, x=4, y=1, z=2), Box.of(array), (8, 2, 1))
    settings = fake.last("cuMemcpy3DAsync_v2")[0]._obj
    assert (settings.source_host, settings.source_type, settings.source_pitch) == (array.ctypes.data, 1, 32)
    assert (settings.source_height, settings.target_height, settings.target_type) == (6, 3, 4)
    assert (settings.target_device, settings.target_x, settings.target_y, settings.target_z) == (
        buffer.pointer,
        4,
        1,
        2,
    )
    assert (settings.width, settings.rows, settings.slices) == (8, 2, 1)
    assert fake.names()[-1] == "cuStreamSynchronize"  # an array of the host has no stream to wait for


def test_rows_that_do_not_fit_are_refused(fake: StandIn, stream: Stream) -> None:
    def allocate(address: Any, pitch: Any, width: int, height: int, element: int) -> int:
        address._obj.value, pitch._obj.value = 0x1000, 512
        return 0

    fake.answers["cuMemAllocPitch_v2"] = allocate
    buffer = PitchedBuffer(stream, 60, 10, element=8)
    assert (buffer.pitch, buffer.nbytes) == (512, 5120)
    with pytest.raises(ValueError, match=r"shape \(10, 14\), float32; the buffer has 10 rows of 60 bytes"):
        buffer.upload_rows(np.zeros((10, 14), np.float32))
    buffer.upload_rows(np.zeros((10, 15), np.float32))
    settings = fake.last("cuMemcpy2DAsync_v2")[0]._obj
    assert (settings.source_pitch, settings.target_pitch, settings.width, settings.rows) == (60, 512, 60, 10)
    buffer.fill_rows(3, 4)
    assert fake.last("cuMemsetD2D32Async")[:5] == (0x1000, 512, 3, 15, 10)
    for width, height, element in ((0, 1, 4), (1, 0, 4), (1, 1, 2)):
        with pytest.raises(ValueError, match="rows of"):
            PitchedBuffer(stream, width, height, element=element)


def test_memory_that_may_not_be_written(fake: StandIn, stream: Stream) -> None:
    theirs, ours = DeviceBuffer(stream, 64), DeviceBuffer(stream, 64)
    theirs.readonly = True
    writes = (
        lambda: theirs.fill(0),
        lambda: theirs.upload(np.zeros(4)),
        lambda: theirs.copy_from(ours, 4),
        lambda: copy_box(stream, Box(theirs, 8), Box(ours, 8), (8, 8)),
    )
    for write in writes:
        with pytest.raises(ValueError, match=r"forbids writing|cannot be written"):
            write()
    ours.copy_from(theirs, 4)
    assert not theirs.writable()
