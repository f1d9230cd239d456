"""gocudnn_py.xtra where only a card will do: more than 2^31 elements, recorded graphs, PyTorch's arrays, streams."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from gocudnn_py import xtra
from gocudnn_py.xtra import DeviceArray, TensorList
from gocunets import convnetgo
from tests.gpu.test_xtra import Array, Card, numbers, same
from tests.gpu.test_xtra import card as card

if TYPE_CHECKING:
    from gocunets.backends.cudnn import CudaBackend

BEYOND = 2**31 + 2**27 + 4099
SPANS = [(0, 1000), (2**31 - 500, 2**31 + 500), (BEYOND - 1000, BEYOND)]


def room(backend: CudaBackend, nbytes: int) -> None:
    """Skip where the card has not so much memory."""
    free, _ = backend.device.memory_info()
    if free < nbytes + 2**30:
        pytest.skip(f"{nbytes:,} bytes are needed, {free:,} are free")


def part(array: DeviceArray, start: int, stop: int) -> Array:
    """Some elements of an array of one axis."""
    return array.rows(start, stop).download()


@pytest.fixture
def many(backend: CudaBackend) -> DeviceArray:
    """More than 2^31 bytes of random words."""
    room(backend, 5 * BEYOND)
    words = DeviceArray.empty(backend.stream, (BEYOND // 4 + 1,), "uint32")
    xtra.random_bits(backend.stream, words, seed=1)
    return DeviceArray(words.place, (BEYOND,), "uint8")


def test_copy_of_many(many: DeviceArray, card: Card) -> None:
    y = DeviceArray.empty(card.stream, (BEYOND + 1,), "uint8")
    shifted = DeviceArray(y.place, (BEYOND,), "uint8", 1)
    xtra.concatenate(card.stream, [many.reshape(1, BEYOND)], shifted.reshape(1, BEYOND), 1)
    for span in SPANS:
        same(part(shifted, *span), part(many, *span))


def test_cast_of_many(many: DeviceArray, card: Card) -> None:
    y = DeviceArray.empty(card.stream, (BEYOND,), "float16")
    xtra.cast(card.stream, many, y)
    for span in SPANS:
        same(part(y, *span), part(many, *span).astype(np.float16))


def test_fill_of_many(backend: CudaBackend) -> None:
    room(backend, 2 * BEYOND)
    y = DeviceArray.empty(backend.stream, (BEYOND,), "float16")
    xtra.fill(backend.stream, y, -3.0)
    for span in SPANS:
        assert (part(y, *span) == -3).all()


@pytest.mark.parametrize("rows", [3, 64])  # distances within a tile of 31 bits, and of more
def test_transpose_of_many(rows: int, many: DeviceArray, card: Card) -> None:
    columns = BEYOND // rows
    y = DeviceArray.empty(card.stream, (columns, rows), "uint8")
    x = DeviceArray(many.place, (rows, columns), "uint8")
    xtra.transpose(card.stream, x, y, (1, 0))
    for start in (0, columns // 2, columns - 1000):
        right = [part(many, row * columns + start, row * columns + start + 1000) for row in range(rows)]
        same(part(y, start, start + 1000), np.stack(right, axis=1))


def test_random_numbers_of_many(many: DeviceArray, backend: CudaBackend) -> None:
    last = BEYOND // 16  # the block that holds the last whole words
    counter = np.array([[last - 1, 0, 0, 0]], np.uint32)
    words = convnetgo.philox4x32(counter, np.array([1, 0], np.uint32)).reshape(-1).view(np.uint8)
    same(part(many, 16 * (last - 1), 16 * last), words)


def test_a_recorded_step_runs_again_and_again(backend: CudaBackend) -> None:
    from gocudnn_py.cuda import capture

    stream = backend.stream
    w, dw = numbers((3, 500)), numbers((3, 500), seed=1)
    on_w, on_dw = DeviceArray.of(stream, w), DeviceArray.of(stream, dw)
    turned = DeviceArray.empty(stream, (500, 3))
    step, rate = DeviceArray.of(stream, np.array(1)), DeviceArray.of(stream, np.array(0.01, np.float32))
    tensors, penalties = TensorList(stream, [on_w], [on_dw], 2), DeviceArray.empty(stream, (2,))
    workspace = xtra.update.WORKSPACE

    def work(captured: Any) -> None:
        scratch = kept.place
        xtra.regularize(captured, tensors, penalties, 0.0, 0.0, workspace=scratch)
        xtra.adam(captured, tensors, rate, step)
        xtra.transpose(captured, on_w, turned, (1, 0))

    kept = DeviceArray.empty(stream, (workspace,), "uint8")
    work(stream)  # compiles, and is a step
    graph = capture(stream, work, [kept.place])
    right, m, v = convnetgo.adam(
        w.astype(np.float64), np.zeros_like(w, float), np.zeros_like(w, float), dw.astype(np.float64), 0.01
    )
    for number in range(2, 5):
        step.upload(np.array(number))
        graph.launch(stream)
        right, m, v = convnetgo.adam(right, m, v, dw.astype(np.float64), 0.01, number)
    np.testing.assert_allclose(on_w.download(), right, rtol=1e-5, atol=1e-6)
    same(turned.download(), on_w.download().T)


def test_buffers_are_held_until_their_work_is_done(backend: CudaBackend) -> None:
    other = backend.device.stream()
    x = DeviceArray.of(backend.stream, numbers((4, 5)))
    y = DeviceArray.empty(backend.stream, (5, 4))
    backend.synchronize()
    xtra.transpose(other, x, y, (1, 0))
    assert other.handle in x.place.memory.users
    other.synchronize()
    same(y.download(), x.download().T)


SLOW = """
extern "C" __global__ void slow(float* x, long long cycles, float value)
{
    const long long end = clock64() + cycles;
    while (clock64() < end) {}
    *x = value;
}
"""


def test_the_stream_that_an_array_names_is_waited_for(backend: CudaBackend) -> None:
    from gocudnn_py.cuda import Module, Scalar

    other = backend.device.stream()
    kernel = Module(backend.device, SLOW).kernel("slow", [Scalar.pointer, Scalar.int64, Scalar.float32])
    x, y = DeviceArray.of(backend.stream, np.zeros(1, np.float32)), DeviceArray.empty(backend.stream, (1,))
    kernel.launch(other, [1], [1], [x.place, 100_000_000, 7.0])
    foreign = type("Foreign", (), {"__cuda_array_interface__": x.__cuda_array_interface__ | {"stream": other.handle}})
    xtra.copy(backend.stream, foreign(), y)
    assert y.download() == 7


@pytest.mark.parametrize("name", ["float32", "float16", "bfloat16", "int64"])
def test_arrays_of_pytorch(name: str, backend: CudaBackend) -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("this PyTorch has no CUDA")
    x = (torch.arange(60, device="cuda").reshape(3, 4, 5) - 30).to(getattr(torch, name))
    y = torch.empty((5, 3, 4), dtype=x.dtype, device="cuda")
    torch.cuda.synchronize()
    xtra.transpose(backend.stream, x, y, (2, 0, 1))
    backend.synchronize()
    assert (y == x.permute(2, 0, 1)).all()
    with pytest.raises(ValueError, match="strides"):
        xtra.transpose(backend.stream, x.permute(1, 0, 2), y, (2, 1, 0))


def test_memory_of_the_host_is_refused(card: Card) -> None:
    class Host:
        __cuda_array_interface__ = numbers((4,)).__array_interface__

    with pytest.raises(ValueError, match="is no memory of a GPU"):
        xtra.fill(card.stream, Host(), 0)


def test_the_benchmark_measures(backend: CudaBackend) -> None:
    from gocudnn_py.bench import bandwidth

    rows = list(bandwidth.measure(backend.stream, "float16", 2**22))
    assert len(rows) > 40
    assert all(float(str(row["GB/s"])) > 0 for row in rows)
