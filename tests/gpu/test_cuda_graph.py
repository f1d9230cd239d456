"""CUDA graphs on a card: looked at, changed, joined, with conditions and host functions."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from gocudnn_py import driver
from gocudnn_py.cuda import (
    SET_CONDITIONAL,
    DeviceBuffer,
    Kernel,
    Module,
    RecordingStream,
    Scalar,
    capture,
    record,
)
from gocudnn_py.errors import CudaError
from tests.gpu.test_cuda import SAXPY, SIGNATURE, _floats

if TYPE_CHECKING:
    from gocunets.backends.cudnn import CudaBackend

CONDITIONS = (
    SET_CONDITIONAL
    + """
extern "C" __global__ void set(unsigned long long condition, const int* value)
{
    cudaGraphSetConditional(condition, *value);
}
extern "C" __global__ void count(unsigned long long condition, int* counter, int end)
{
    cudaGraphSetConditional(condition, ++*counter < end);
}
"""
)
N = 300
X = np.arange(N, dtype=np.float32)


@pytest.fixture(scope="module")
def saxpy(backend: CudaBackend) -> Kernel:
    return Module(backend.device, SAXPY).kernel("saxpy", SIGNATURE)


@pytest.fixture(scope="module")
def conditions(backend: CudaBackend) -> Module:
    if driver.version() < (12, 8):
        pytest.skip(f"else and switch begin with CUDA 12.8, this driver runs {driver.version()}")
    return Module(backend.device, CONDITIONS)


def _result(buffer: DeviceBuffer) -> np.ndarray:
    return buffer.download(np.empty(N, np.float32))


def test_what_was_recorded(backend: CudaBackend, saxpy: Kernel, tmp_path: Path) -> None:
    x, y = _floats(backend, X), _floats(backend, np.zeros_like(X))

    def work(stream: RecordingStream) -> None:
        y.fill(0, stream=stream)
        saxpy.launch(stream, [2], [256], [1.0, x, y, N])
        y.copy_from(x, 8, at=8, stream=stream)

    recording = record(backend.stream, work)
    nodes = recording.nodes
    assert [node.kind for node in nodes] == ["memset", "kernel", "memcpy"]
    assert (nodes[1].name, nodes[1].grid, nodes[1].block, nodes[1].shared) == ("saxpy", (2, 1, 1), (256, 1, 1), 0)
    assert recording.edges == [(0, 1), (1, 2)]
    assert {x, y} <= set(recording.held)
    path = tmp_path / "graph.dot"
    recording.write_dot(path, verbose=True)
    assert path.read_text().startswith("digraph")
    wanted = X.copy()
    wanted[2:4] = X[:2]
    for graph in (recording.instantiate(backend.stream), recording.clone().instantiate(backend.stream)):
        y.fill(9)
        graph.launch(backend.stream)
        assert (_result(y) == wanted).all()


def test_a_graph_holds_what_was_recorded(backend: CudaBackend, saxpy: Kernel) -> None:
    x, y = _floats(backend, X), _floats(backend, np.zeros_like(X))
    launch = saxpy.bind([2], [256], [1.0, x, y, N])
    gone, graph = weakref.ref(x), capture(backend.stream, launch)
    del x, launch
    gc.collect()
    assert gone() is not None
    graph.launch(backend.stream)
    assert (_result(y) == X).all()
    graph.close()
    del graph
    gc.collect()
    backend.synchronize()
    gc.collect()
    assert gone() is None


def test_a_graph_is_updated(backend: CudaBackend, saxpy: Kernel) -> None:
    x, y, z = (_floats(backend, values) for values in (X, np.zeros_like(X), np.ones_like(X)))
    graph = capture(backend.stream, lambda stream: saxpy.launch(stream, [2], [256], [1.0, x, y, N]))
    graph.launch(backend.stream)
    graph.update(record(backend.stream, lambda stream: saxpy.launch(stream, [2], [256], [3.0, x, z, N])))
    graph.launch(backend.stream)
    assert (_result(y) == X).all()
    assert (_result(z) == 3 * X + 1).all()


def test_an_update_that_is_refused_says_why(backend: CudaBackend, saxpy: Kernel) -> None:
    x, y = _floats(backend, X), _floats(backend, np.zeros_like(X))
    launch = saxpy.bind([2], [256], [1.0, x, y, N])
    graph = capture(backend.stream, launch)
    with pytest.raises(CudaError, match="cuGraphExecUpdate_v2: ERROR_TOPOLOGY_CHANGED"):
        graph.update(record(backend.stream, lambda stream: [launch(stream), launch(stream)]))
    with pytest.raises(CudaError, match="cuGraphExecUpdate_v2: ERROR_NODE_TYPE_CHANGED"):
        graph.update(record(backend.stream, lambda stream: y.fill(0, stream=stream)))
    graph.launch(backend.stream)
    assert (_result(y) == X).all()


def test_a_kernel_of_a_graph_is_replaced_and_switched_off(backend: CudaBackend, saxpy: Kernel) -> None:
    x, y, z = (_floats(backend, values) for values in (X, np.zeros_like(X), np.zeros_like(X)))
    first, second = (saxpy.bind([2], [256], [factor, x, y, N]) for factor in (1.0, 10.0))
    graph = capture(backend.stream, lambda stream: [first(stream), second(stream)])
    graph.replace(1, saxpy.bind([1], [256], [5.0, x, z, N]))
    graph.launch(backend.stream)
    assert (_result(y) == X).all()
    assert (_result(z) == np.where(np.arange(N) < 256, 5 * X, 0)).all()
    graph.enable(0, False)
    graph.launch(backend.stream)
    assert (_result(y) == X).all()
    graph.enable(0)
    graph.launch(backend.stream)
    assert (_result(y) == 2 * X).all()


def test_a_recording_within_another(backend: CudaBackend, saxpy: Kernel) -> None:
    x, y = _floats(backend, X), _floats(backend, np.zeros_like(X))
    inner = record(backend.stream, lambda stream: saxpy.launch(stream, [2], [256], [1.0, x, y, N]))

    def work(stream: RecordingStream) -> None:
        y.fill(0, stream=stream)
        stream.embed(inner)
        stream.embed(inner)

    outer = record(backend.stream, work)
    assert [node.kind for node in outer.nodes] == ["memset", "graph", "graph"]
    assert [node.name for node in outer.nodes[1].children] == ["saxpy"]
    graph = outer.instantiate(backend.stream)
    inner.close()
    graph.launch(backend.stream)
    assert (_result(y) == 2 * X).all()
    with pytest.raises(ValueError, match="embed"):
        record(backend.stream, graph.launch)


def test_host_functions_of_a_graph_run_each_time(backend: CudaBackend) -> None:
    calls: list[int] = []
    futures = []
    graph = capture(backend.stream, lambda stream: futures.append(stream.call_host(calls.append, 1)))
    for _ in range(3):
        graph.launch(backend.stream)
    backend.synchronize()
    assert calls == [1, 1, 1]
    assert futures[0].result(1) is None


@pytest.mark.parametrize("value", [0, 1])
@pytest.mark.parametrize("otherwise", [False, True])
def test_what_runs_if(value: int, otherwise: bool, backend: CudaBackend, conditions: Module) -> None:
    chosen = DeviceBuffer(backend.stream, 4)
    chosen.upload(np.array([value], np.int32))
    y = _floats(backend, np.zeros_like(X))
    set_ = conditions.kernel("set", [Scalar.uint64, Scalar.pointer])

    def work(stream: RecordingStream) -> None:
        condition = stream.condition()
        set_.launch(stream, [1], [1], [condition, chosen])
        fills = [lambda body: y.fill(1, stream=body), lambda body: y.fill(2, stream=body)]
        stream.when(condition, fills[0], fills[1] if otherwise else None)

    recording = record(backend.stream, work)
    assert [node.kind for node in recording.nodes] == ["kernel", "conditional"]
    recording.instantiate(backend.stream).launch(backend.stream)
    wanted = 1 if value else 2 if otherwise else 0
    assert (y.download(np.empty(4 * N, np.uint8)) == wanted).all()


def test_what_runs_again_and_again(backend: CudaBackend, conditions: Module, saxpy: Kernel) -> None:
    x, y = _floats(backend, X), _floats(backend, np.zeros_like(X))
    counter = DeviceBuffer(backend.stream, 4, zeroed=True)
    count = conditions.kernel("count", [Scalar.uint64, Scalar.pointer, Scalar.int32])

    def work(stream: RecordingStream) -> None:
        condition = stream.condition(1)

        def body(inner: RecordingStream) -> None:
            saxpy.launch(inner, [2], [256], [1.0, x, y, N])
            count.launch(inner, [1], [1], [condition, counter, 7])

        stream.repeat(condition, body)

    graph = capture(backend.stream, work)
    graph.launch(backend.stream)
    assert (_result(y) == 7 * X).all()
    assert counter.download(np.zeros(1, np.int32)) == 7
    graph.launch(backend.stream)  # the condition is 1 again at each launch: it runs once
    assert (_result(y) == 8 * X).all()


@pytest.mark.parametrize("value", [0, 2, 3])
def test_what_is_chosen(value: int, backend: CudaBackend, conditions: Module) -> None:
    chosen = DeviceBuffer(backend.stream, 4)
    chosen.upload(np.array([value], np.int32))
    y = _floats(backend, np.zeros_like(X))
    set_ = conditions.kernel("set", [Scalar.uint64, Scalar.pointer])

    def work(stream: RecordingStream) -> None:
        condition = stream.condition(0)
        set_.launch(stream, [1], [1], [condition, chosen])
        stream.choose(condition, *[lambda body, n=n: y.fill(10 + n, stream=body) for n in range(3)])
        y.fill(99, at=0, count=1, stream=stream)  # comes after

    capture(backend.stream, work).launch(backend.stream)
    wanted = np.full(4 * N, 10 + value if value < 3 else 0, np.uint8)
    wanted[0] = 99
    assert (y.download(np.empty(4 * N, np.uint8)) == wanted).all()


def test_conditions_within_conditions(backend: CudaBackend, conditions: Module) -> None:
    y, counter = _floats(backend, np.zeros_like(X)), DeviceBuffer(backend.stream, 4, zeroed=True)
    count = conditions.kernel("count", [Scalar.uint64, Scalar.pointer, Scalar.int32])

    def work(stream: RecordingStream) -> None:
        again = stream.condition(1)

        def body(inner: RecordingStream) -> None:
            inner.when(inner.condition(1), lambda deep: y.fill(4, stream=deep))
            count.launch(inner, [1], [1], [again, counter, 3])

        stream.repeat(again, body)

    capture(backend.stream, work).launch(backend.stream)
    assert counter.download(np.zeros(1, np.int32)) == 3
    assert (y.download(np.empty(4 * N, np.uint8)) == 4).all()


def test_a_body_that_fails_leaves_the_stream_usable(backend: CudaBackend, conditions: Module) -> None:
    def fail(stream: object) -> None:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        record(backend.stream, lambda stream: stream.when(stream.condition(1), fail))
    backend.synchronize()
    assert DeviceBuffer(backend.stream, 8, zeroed=True).download(np.ones(8, np.uint8)).sum() == 0


def test_what_is_forbidden_while_recording(backend: CudaBackend) -> None:
    other = backend.device.stream()
    with pytest.raises(CudaError):
        record(backend.stream, lambda stream: DeviceBuffer.plain(other, 64))
    for make in (DeviceBuffer, DeviceBuffer.plain):
        with pytest.raises(ValueError, match="64 bytes cannot be allocated while a CUDA graph is recorded"):
            record(backend.stream, lambda stream, make=make: make(backend.stream, 64))
    assert not backend.stream.capturing
    assert DeviceBuffer(backend.stream, 8, zeroed=True).download(np.ones(8, np.uint8)).sum() == 0
