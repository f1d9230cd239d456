"""Pools, what addresses are, and memory of other libraries, on a card."""

from __future__ import annotations

import gc
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from gocudnn_py.cuda import (
    DeviceBuffer,
    ManagedBuffer,
    PinnedBuffer,
    Pool,
    Stream,
    adopt,
    pointer_info,
    require_device_pointer,
)
from gocudnn_py.errors import OutOfMemory
from tests.gpu.test_cuda_memory import _stall

if TYPE_CHECKING:
    from gocunets.backends.cudnn import CudaBackend


def test_a_pool_says_what_it_holds(backend: CudaBackend) -> None:
    pool = Pool(backend.device, threshold=64 << 20)
    assert pool.threshold == 64 << 20
    assert pool.access(backend.device) == "readwrite"
    with DeviceBuffer(backend.stream, 4 << 20, pool=pool) as buffer:
        buffer.fill(1)
        assert 4 << 20 <= pool.usage.used <= pool.usage.reserved
    backend.synchronize()
    usage = pool.usage
    assert usage.used == 0
    assert usage.used_high >= 4 << 20
    assert usage.reserved >= 4 << 20  # below the threshold it is kept
    pool.trim()
    assert pool.usage.reserved == 0
    pool.reset_highs()
    assert pool.usage == (0, 0, 0, 0)
    pool.set_attribute("REUSE_ALLOW_OPPORTUNISTIC", 0)
    assert pool.attribute("REUSE_ALLOW_OPPORTUNISTIC") == 0
    pool.close()


def test_a_pool_has_a_limit(backend: CudaBackend) -> None:
    with Pool(backend.device, limit=64 << 20) as pool:
        with pytest.raises(OutOfMemory):
            DeviceBuffer(backend.stream, 1 << 30, pool=pool)
        buffer = DeviceBuffer(backend.stream, 1 << 20, pool=pool, zeroed=True)
        assert not buffer.download(np.ones(1 << 20, np.uint8)).any()
        buffer.close()


def test_a_pool_that_is_closed_first(backend: CudaBackend) -> None:
    for _ in range(200):  # the driver's fault, were it destroyed first, comes with the next few
        pool = Pool(backend.device)
        buffer = DeviceBuffer(backend.stream, 1 << 20, pool=pool, zeroed=True)
        pool.close()
        assert not buffer.download(np.ones(1 << 20, np.uint8)).any()
        buffer.close()
    backend.synchronize()


def test_what_addresses_are(backend: CudaBackend) -> None:
    device = backend.device
    with Pool(device) as pool, DeviceBuffer(backend.stream, 1000, pool=pool) as pooled:
        info = pointer_info(pooled.pointer + 10)
        assert (info.kind, info.device, info.pool) == ("device", device.ordinal, pool.handle)
        assert not info.nbytes or info.start <= pooled.pointer < info.start + info.nbytes
    plain, pinned = DeviceBuffer.plain(backend.stream, 1000), PinnedBuffer(device, 1000)
    managed, array = ManagedBuffer(device, 1000), np.zeros(1000)
    info = pointer_info(plain.pointer + 10)
    assert (info.kind, info.device, info.start, info.pool) == ("device", device.ordinal, plain.pointer, 0)
    assert info.nbytes >= 1000
    assert pointer_info(pinned.pointer)[:2] == ("pinned", None)
    assert pointer_info(managed.pointer).kind == "managed"
    assert pointer_info(array.ctypes.data).kind == "unknown"
    with PinnedBuffer.register(device, array):
        assert pointer_info(array.ctypes.data).kind == "pinned"
    assert pointer_info(array.ctypes.data).kind == "unknown"
    for good in (plain, pinned, managed):
        assert require_device_pointer(good.pointer, 1000, device=device.ordinal) == good.pointer
    with pytest.raises(ValueError, match=r"x = .* is no memory that a GPU reaches"):
        require_device_pointer(array.ctypes.data, name="x")
    with pytest.raises(ValueError, match=f"where {info.nbytes - 10} are left of {info.nbytes}"):
        require_device_pointer(plain.pointer + 10, info.nbytes)
    with pytest.raises(ValueError, match=f"is memory of GPU {device.ordinal}, not 99"):
        require_device_pointer(plain.pointer, device=99)


class Interface:
    """An array of another library by its __cuda_array_interface__."""

    def __init__(self, buffer: DeviceBuffer, stream: Stream, **different: Any) -> None:
        self.buffer = buffer
        self.__cuda_array_interface__ = {
            "version": 3,
            "shape": (4, 8),
            "typestr": "<i4",
            "data": (buffer.pointer, False),
            "strides": None,
            "stream": stream.handle,
        } | different


def test_memory_of_another_library_is_waited_for_and_held(backend: CudaBackend) -> None:
    producer = backend.device.stream()
    memory = DeviceBuffer.plain(backend.stream, 128, zeroed=True)
    backend.synchronize()
    stalled = _stall(backend, producer)
    memory.fill(5, 4, stream=producer)
    foreign = Interface(memory, producer)
    gone, adopted = weakref.ref(foreign), adopt(backend.stream, foreign)
    del foreign
    gc.collect()
    assert gone() is not None
    assert (adopted.shape, adopted.dtype, adopted.readonly, adopted.nbytes) == ((4, 8), np.int32, False, 128)
    assert (adopted.download(np.zeros((4, 8), np.int32)) == 5).all()
    adopted.fill(6, 4)
    adopted.close()
    del adopted
    gc.collect()
    assert gone() is None
    assert (memory.download(np.zeros(32, np.int32)) == 6).all()
    stalled.close()


def test_memory_that_is_not_adopted(backend: CudaBackend) -> None:
    memory = DeviceBuffer.plain(backend.stream, 128)
    array = np.zeros(128, np.uint8)
    for different, words in (
        ({"strides": (64, 4)}, "is not contiguous"),
        ({"mask": memory}, "mask"),
        ({"data": (array.ctypes.data, False)}, "no memory that a GPU reaches"),
    ):
        with pytest.raises(ValueError, match=words):
            adopt(backend.stream, Interface(memory, backend.stream, **different))


def test_dlpack_between_streams(backend: CudaBackend) -> None:
    memory = DeviceBuffer.plain(backend.stream, 100)
    stalled = _stall(backend, backend.stream)
    memory.fill(9)
    adopted = adopt(backend.device.stream(), memory)
    assert adopted.pointer == memory.pointer
    assert (adopted.download(np.zeros(100, np.uint8)) == 9).all()
    stalled.close()


def test_torch_tensors_are_adopted(backend: CudaBackend) -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("this PyTorch has no CUDA")
    tensor = torch.arange(12, dtype=torch.float32, device="cuda").reshape(3, 4)
    adopted = adopt(backend.stream, tensor)
    assert (adopted.shape, adopted.dtype) == ((3, 4), np.float32)
    assert (adopted.download(np.zeros((3, 4), np.float32)) == np.arange(12).reshape(3, 4)).all()
    adopted.fill(0)
    backend.synchronize()
    assert not tensor.cpu().numpy().any()
    with pytest.raises(ValueError, match="not contiguous"):
        adopt(backend.stream, tensor.T)
