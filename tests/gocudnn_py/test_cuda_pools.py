"""Pools, sharing, addresses and foreign memory without a GPU."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

from gocudnn_py import resource
from gocudnn_py.cuda import (
    DeviceBuffer,
    Pool,
    SharedMemory,
    Stream,
    adopt,
    open_shared,
    pointer_info,
    require_device_pointer,
    share,
)
from gocudnn_py.errors import UnusableResource
from tests.gocudnn_py.cuda_standin import StandIn, make_device, make_stream, standing_in

needs_bindings = pytest.mark.skipif(find_spec("cuda") is None, reason="cuda-bindings is not installed")


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    yield from standing_in(monkeypatch)


@pytest.fixture
def stream(fake: StandIn) -> Stream:
    return make_stream(make_device())


@needs_bindings
def test_pools(fake: StandIn, stream: Stream) -> None:
    pool = Pool(stream.device, limit=1 << 20, threshold=4096, shared=True)
    made = fake.last("cuMemPoolCreate")[1]._obj
    assert (made.kind, made.handles, made.location.kind, made.limit) == (1, 1, 1, 1 << 20)
    assert fake.last("cuMemPoolSetAttribute")[1] == 4
    buffer, handle = DeviceBuffer(stream, 100, pool=pool), pool.handle
    assert fake.last("cuMemAllocFromPoolAsync")[2] == handle
    del pool
    gc.collect()
    resource.drain()
    assert "cuMemPoolDestroy" not in fake.names()  # the buffer holds it
    buffer.close()
    del buffer
    gc.collect()
    resource.drain()
    assert fake.names()[-2:] == ["cuMemFreeAsync", "cuMemPoolDestroy"]


@needs_bindings
def test_a_closed_pool_is_given_back_with_its_last_memory(fake: StandIn, stream: Stream) -> None:
    pool = Pool(stream.device)
    buffers = [DeviceBuffer(stream, 100, pool=pool) for _ in range(2)]
    for _ in range(2):
        pool.close()
    assert repr(pool).startswith("Pool(closed on ")
    with pytest.raises(UnusableResource, match="this Pool is closed"):
        DeviceBuffer(stream, 100, pool=pool)
    buffers.pop().close()
    assert "cuMemPoolDestroy" not in fake.names()  # which the driver may not be asked for yet
    buffers.pop().close()
    assert fake.names()[-2:] == ["cuMemFreeAsync", "cuMemPoolDestroy"]


@needs_bindings
def test_the_devices_own_pool_is_never_destroyed(fake: StandIn, stream: Stream) -> None:
    with Pool.default(stream.device) as pool:
        assert pool.handle == 0x77
    assert "cuMemPoolDestroy" not in fake.names()
    with pytest.raises(ValueError, match="access 'write'"):
        pool.allow(stream.device, "write")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="did you mean RELEASE_THRESHOLD"):
        pool.attribute("RELEASE_TRESHOLD")
    with pytest.raises(ValueError, match="does not fit 64 bits"):
        pool.threshold = -1
    with pytest.raises(ValueError, match="is not of the device"):
        DeviceBuffer(make_stream(make_device(1)), 10, pool=pool)
    with pytest.raises(ValueError, match="has 64 bytes, this has 3"):
        pool.adopt(stream, b"abc", 10)


def test_only_plain_memory_is_shared(fake: StandIn, stream: Stream) -> None:
    with pytest.raises(ValueError, match="only plain memory"):
        share(DeviceBuffer(stream, 10))
    buffer = DeviceBuffer.plain(stream, 100)
    shared = share(buffer.view(10, 20))
    assert (len(shared.handle), shared.offset, shared.nbytes) == (64, 10, 20)
    assert fake.last("cuIpcGetMemHandle")[1] == buffer.pointer
    opened = open_shared(stream, shared)
    assert opened.nbytes == 20
    opened.close()
    del opened
    gc.collect()
    resource.drain()
    assert fake.names()[-1] == "cuIpcCloseMemHandle"
    with pytest.raises(ValueError, match="64 bytes, this one has 3"):
        open_shared(stream, SharedMemory(b"abc", 0, 1))


def _known(fake: StandIn, kind: int, managed: int, device: int, start: int, nbytes: int) -> None:
    """Have the driver say this of every address."""
    sizes = {2: (ctypes.c_uint, kind), 8: (ctypes.c_int, managed), 9: (ctypes.c_int, device)}
    sizes |= {11: (ctypes.c_uint64, start), 12: (ctypes.c_size_t, nbytes), 17: (ctypes.c_void_p, 0)}

    def attributes(count: int, which: Any, places: Any, address: int) -> int:
        for index in range(count):
            cell, value = sizes[which[index]]
            cell.from_address(places[index]).value = value
        return 0

    fake.answers["cuPointerGetAttributes"] = attributes


def test_what_an_address_is(fake: StandIn) -> None:
    _known(fake, 2, 0, 1, 0x1000, 256)
    assert pointer_info(0x1010) == ("device", 1, 0x1000, 256, 0)
    assert require_device_pointer(0x1010, 240, device=1) == 0x1010
    with pytest.raises(ValueError, match="x = 0x1010 is memory of GPU 1, not 0"):
        require_device_pointer(0x1010, device=0, name="x")
    with pytest.raises(ValueError, match="241 bytes from 0x1010, where 240 are left of 256"):
        require_device_pointer(0x1010, 241)
    with pytest.raises(TypeError, match="x is float, not an address"):
        require_device_pointer(1.0, name="x")  # type: ignore[arg-type]
    _known(fake, 2, 1, 0, 0x1000, 256)
    assert pointer_info(0x1000).kind == "managed"
    _known(fake, 1, 0, 0, 0x1000, 256)
    assert pointer_info(0x1000)[:2] == ("pinned", None)
    _known(fake, 0, 0, -2, 0, 0)
    assert pointer_info(0x1000).kind == "unknown"
    with pytest.raises(ValueError, match="no memory that a GPU reaches"):
        require_device_pointer(0x1000)


def test_what_cannot_be_adopted(fake: StandIn, stream: Stream) -> None:
    with pytest.raises(TypeError, match="int has neither __dlpack__ nor __cuda_array_interface__"):
        adopt(stream, 3)
    with pytest.raises(ValueError, match="DLPack device type 1 is no memory that a GPU reaches"):
        adopt(stream, np.zeros(3))
