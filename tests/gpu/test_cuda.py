"""gocudnn_py.cuda on a card: memory, files, launches, graphs."""

from __future__ import annotations

import io
import weakref
from typing import TYPE_CHECKING

import numpy as np
import pytest

from gocudnn_py.cuda import DeviceBuffer, Module, PinnedBuffer, Scalar, capture

if TYPE_CHECKING:
    from gocunets.backends.cudnn import CudaBackend

SAXPY = """
extern "C" __global__ void saxpy(float a, const float* x, float* y, int n)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] = a * x[i] + y[i];
}
"""
SIGNATURE = [Scalar.float32, Scalar.pointer, Scalar.pointer, Scalar.int32]


def _floats(backend: CudaBackend, values: np.ndarray) -> DeviceBuffer:
    buffer = DeviceBuffer(backend.stream, values.nbytes)
    buffer.upload(values)
    return buffer


def test_memory_comes_back_as_it_went(backend: CudaBackend) -> None:
    values = np.arange(1000, dtype=np.float32)
    assert (_floats(backend, values).download(np.empty_like(values)) == values).all()


def test_new_memory_is_zero_when_asked(backend: CudaBackend) -> None:
    buffer = DeviceBuffer(backend.stream, 4097, zeroed=True)
    assert not buffer.download(np.ones(4097, np.uint8)).any()


def test_buffer_is_a_file(backend: CudaBackend) -> None:
    buffer = DeviceBuffer(backend.stream, 10, zeroed=True)
    assert buffer.write(b"hello") == 5
    assert buffer.seek(-6, io.SEEK_END) == 4
    assert buffer.read(3) == b"o\0\0"
    buffer.seek(8)
    assert buffer.write(b"abc") == 2
    with pytest.raises(ValueError, match="10 bytes is full"):
        buffer.write(b"d")
    assert buffer.read() == b""


@pytest.mark.parametrize(("offset", "count"), [(-1, 4), (8, 4), (0, 11)])
def test_copies_stay_inside_the_buffer(backend: CudaBackend, offset: int, count: int) -> None:
    buffer = DeviceBuffer(backend.stream, 10)
    with pytest.raises(ValueError, match="buffer of 10"):
        buffer.upload(np.zeros(count, np.uint8), offset)


def test_closed_buffer_is_refused(backend: CudaBackend) -> None:
    buffer = DeviceBuffer(backend.stream, 10)
    buffer.close()
    buffer.close()
    with pytest.raises(ValueError, match="closed"):
        buffer.upload(np.zeros(4, np.uint8))


def test_pinned_memory_is_an_array(backend: CudaBackend) -> None:
    pinned = PinnedBuffer(backend.device, 16)
    pinned.array[:] = 7
    assert (pinned.array == 7).all()


def test_bound_launch_and_patch(backend: CudaBackend) -> None:
    x, y = np.arange(300, dtype=np.float32), np.ones(300, np.float32)
    dx, dy = _floats(backend, x), _floats(backend, y)
    kernel = Module(backend.device, SAXPY).kernel("saxpy", SIGNATURE)
    launch = kernel.bind([2], [256], [2.0, dx, dy, 300])
    launch(backend.stream)
    launch.patch(0, 1.0)
    launch(backend.stream)
    assert (dy.download(np.empty_like(y)) == 3 * x + 1).all()


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ([2.0, 0, 0], TypeError, "takes 4 arguments, 3 given"),
        ([2.0, 0, 0, 2**31], ValueError, "does not fit int32"),
        ([2.0, 0, 0, 1.5], TypeError, "declared int32"),
        ([2.0, "x", 0, 1], TypeError, "declared pointer"),
    ],
)
def test_wrong_arguments_are_refused(
    backend: CudaBackend, arguments: list[object], error: type[Exception], words: str
) -> None:
    kernel = Module(backend.device, SAXPY).kernel("saxpy", SIGNATURE)
    with pytest.raises(error, match=words):
        kernel.bind([1], [1], arguments)


def test_wrong_signature_is_refused(backend: CudaBackend) -> None:
    with pytest.raises(ValueError, match=r"takes parameters of \[4, 8, 8, 4\] bytes"):
        Module(backend.device, SAXPY).kernel("saxpy", SIGNATURE[:-1])


def test_launches_that_are_not_bound_take_what_they_are_given(backend: CudaBackend) -> None:
    kernel, x = Module(backend.device, SAXPY).kernel("saxpy", SIGNATURE), np.arange(300, dtype=np.float32)
    places = [_floats(backend, np.zeros_like(x)) for _ in range(3)]
    source = _floats(backend, x)
    for factor, place in enumerate(places):
        kernel.launch(backend.stream, [2], [256], [float(factor), source, place, 300])
    kernel.launch(backend.stream, [1], [256], [100.0, source, places[0], 300])  # the first 256
    with pytest.raises(TypeError, match="takes 4 arguments, 3 given"):
        kernel.launch(backend.stream, [1], [256], [1.0, source, places[0]])
    results = [place.download(np.empty_like(x)) for place in places]
    assert (results[0] == np.where(np.arange(300) < 256, 100 * x, 0)).all()
    assert (results[1] == x).all()
    assert (results[2] == 2 * x).all()
    del place
    gone = weakref.ref(places[2])
    kernel.launch(backend.stream, [2], [256], [1.0, source, places.pop(), 300])
    assert gone() is None


def test_recorded_launches_run_when_launched(backend: CudaBackend) -> None:
    x, y = np.arange(300, dtype=np.float32), np.zeros(300, np.float32)
    dx, dy = _floats(backend, x), _floats(backend, y)
    launch = Module(backend.device, SAXPY).kernel("saxpy", SIGNATURE).bind([2], [256], [1.0, dx, dy, 300])
    graph = capture(backend.stream, lambda stream: [launch(stream) for _ in range(3)], [launch])
    assert graph.nodes == 3
    assert not dy.download(np.ones_like(y)).any()
    graph.launch(backend.stream)
    graph.launch(backend.stream)
    assert (dy.download(np.empty_like(y)) == 6 * x).all()


def test_launches_that_overlap_wait_for_what_they_read(backend: CudaBackend) -> None:
    if backend.device.capability < (9, 0):
        pytest.skip(f"{backend.device} launches no kernel before the last has ended")
    source = """
    extern "C" __global__ void shift(const int* x, int* y, int n)
    {
        asm volatile("griddepcontrol.launch_dependents;");
        asm volatile("griddepcontrol.wait;" ::: "memory");
        const int i = blockIdx.x * blockDim.x + threadIdx.x;
        if (i < n) y[(i + 1) % n] = x[i] + 1;
    }
    """
    count = 100_000
    x = np.arange(count, dtype=np.int32)
    places = [_floats(backend, x), _floats(backend, x)]
    kernel = Module(backend.device, source).kernel("shift", [Scalar.pointer, Scalar.pointer, Scalar.int32])
    launches = [
        kernel.bind([-(-count // 256)], [256], [places[i], places[1 - i], count], overlaps=True) for i in (0, 1)
    ]
    graph = capture(backend.stream, lambda stream: [launch(stream) for launch in 50 * launches], launches)
    graph.launch(backend.stream)
    for launch in launches:
        launch(backend.stream)
    assert (places[0].download(np.empty_like(x)) == np.roll(x, 102) + 102).all()


SLOW = """
extern "C" __global__ void slow(int* x, long long cycles, int value)
{
    const long long end = clock64() + cycles;
    while (clock64() < end) {}
    *x = value;
}
"""


@pytest.mark.parametrize("recorded", [False, True])
def test_memory_is_given_back_after_other_streams_have_used_it(recorded: bool, backend: CudaBackend) -> None:
    other, size = backend.device.stream(), 4096
    kernel = Module(backend.device, SLOW).kernel("slow", [Scalar.pointer, Scalar.int64, Scalar.int32])
    buffer = DeviceBuffer(backend.stream, size, zeroed=True)
    backend.synchronize()
    address = buffer.pointer
    launch = kernel.bind([1], [1], [buffer, 200_000_000, 1])
    if recorded:
        capture(other, launch, [launch]).launch(other)
    else:
        launch(other)
    del launch
    buffer.close()
    again = DeviceBuffer(backend.stream, size, zeroed=True)  # what was given back is taken again first
    assert again.pointer == address
    other.synchronize()
    assert again.download(np.ones(size, np.uint8)).sum() == 0  # the late kernel wrote before the zeros


def test_failed_recording_leaves_the_stream_usable(backend: CudaBackend) -> None:
    def fail(stream: object) -> None:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        capture(backend.stream, fail)
    backend.synchronize()
    assert DeviceBuffer(backend.stream, 8, zeroed=True).download(np.ones(8, np.uint8)).sum() == 0


def test_other_libraries_see_the_memory(backend: CudaBackend) -> None:
    torch = pytest.importorskip("torch")
    values = np.arange(64, dtype=np.uint8)
    buffer = _floats(backend, values)
    assert (torch.as_tensor(buffer, device="cuda").cpu().numpy() == values).all()
    assert (torch.from_dlpack(buffer).view(torch.uint8).cpu().numpy() == values).all()
