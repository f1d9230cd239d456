"""CUDA graphs without a GPU: what they consist of, what they hold, how they are changed."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from gocudnn_py import resource
from gocudnn_py.cuda import CapturedGraph, DeviceBuffer, Recording, RecordingStream, Shape, Stream
from gocudnn_py.cuda.launch import Launch
from gocudnn_py.errors import CudaError, UnusableResource
from tests.gocudnn_py.cuda_standin import StandIn, make_device, make_stream, standing_in

pytest.importorskip("cuda.bindings", reason="cuda-bindings is missing: pip install 'gocunets[cu13]'")
KERNEL, MEMSET, CHILD, CONDITIONAL = 0, 2, 4, 13
Graphs = dict[int, list[tuple[int, int]]]  # handle: (node, kind)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    yield from standing_in(monkeypatch)


@pytest.fixture
def stream(fake: StandIn) -> Stream:
    return make_stream(make_device())


@pytest.fixture
def graphs(fake: StandIn) -> Graphs:
    """The graphs that the driver knows of."""
    known: Graphs = {1: [(11, KERNEL), (12, MEMSET), (13, KERNEL)], 2: [(21, CHILD), (22, CONDITIONAL)], 3: []}
    kinds = lambda node: next(kind for nodes in known.values() for each, kind in nodes if each == node)  # noqa: E731

    def nodes(graph: int, places: Any, count: Any) -> int:
        found = known[graph]
        count._obj.value = len(found)
        for index, (node, _) in enumerate(found if places is not None else []):
            places[index] = node
        return 0

    def edges(graph: int, starts: Any, ends: Any, data: Any, count: Any) -> int:
        found = known[graph]
        count._obj.value = max(0, len(found) - 1)
        if starts is not None:
            for index in range(len(found) - 1):
                starts[index], ends[index] = found[index][0], found[index + 1][0]
        return 0

    def kind(node: int, answer: Any) -> int:
        answer._obj.value = kinds(node)
        return 0

    def parameters(node: int, answer: Any) -> int:
        found = answer._obj
        found.kernel, found.grid_x, found.grid_y, found.grid_z, found.shared = 0x99, 2, 1, 1, 64
        found.block_x, found.block_y, found.block_z = 32, 1, 1
        return 0

    def name(answer: Any, kernel: int) -> int:
        assert kernel == 0x99
        answer._obj.value = b"saxpy"
        return 0

    def child(node: int, answer: Any) -> int:
        answer._obj.value = 1
        return 0

    fake.answers |= {
        "cuGraphGetNodes": nodes,
        "cuGraphGetEdges_v2": edges,
        "cuGraphNodeGetType": kind,
        "cuGraphKernelNodeGetParams_v2": parameters,
        "cuKernelGetName": name,
        "cuGraphChildGraphNodeGetGraph": child,
    }
    return known


def test_what_a_graph_consists_of(graphs: Graphs) -> None:
    recording = Recording(1, None, 0, ())
    first, second, _ = recording.nodes
    assert (first.kind, first.name, first.grid, first.block, first.shared) == (
        "kernel",
        "saxpy",
        (2, 1, 1),
        (32, 1, 1),
        64,
    )
    assert (str(first), str(second)) == ("kernel saxpy", "memset")
    assert recording.edges == [(0, 1), (1, 2)]
    outer = Recording(2, None, 0, ()).nodes
    assert [node.kind for node in outer] == ["graph", "conditional"]
    assert [str(node) for node in outer[0].children] == ["kernel saxpy", "memset", "kernel saxpy"]
    empty = Recording(3, None, 0, ())
    assert (empty.nodes, empty.edges) == ([], [])


def test_a_graph_holds_its_recording_and_that_what_it_touches(fake: StandIn, graphs: Graphs, stream: Stream) -> None:
    buffer = DeviceBuffer(stream, 16)
    graph = Recording(1, None, 0, [buffer, buffer]).instantiate(stream)
    assert graph.nodes == 3
    assert graph.recording.held == (buffer,)
    other = make_stream(stream.device, 0x600)
    graph.launch(other)
    assert buffer.memory.users == {0x600: other}
    del buffer
    gc.collect()
    resource.drain()
    assert "cuMemFreeAsync" not in fake.names()
    graph.close()
    del graph
    gc.collect()
    resource.drain()
    ends = [name for name in fake.names() if "Destroy" in name and "Graph" in name]
    assert ends == ["cuGraphExecDestroy", "cuGraphDestroy"]
    assert fake.names()[-1] == "cuMemFreeAsync"


def test_a_graph_is_not_launched_into_a_recording(graphs: Graphs, stream: Stream) -> None:
    builder = SimpleNamespace(stream=SimpleNamespace(handle=0x500))
    recording_stream = RecordingStream(stream, builder, [], [])
    graph = CapturedGraph(Recording(1, None, 0, ()))
    with pytest.raises(ValueError, match="embed"):
        graph.launch(recording_stream)
    with pytest.raises(ValueError, match="a clone cannot be embedded"):
        recording_stream.embed(graph.recording.clone())
    with pytest.raises(ValueError, match="nothing to choose from"):
        recording_stream.choose(SimpleNamespace(core=None))  # type: ignore[arg-type]


def test_a_recording_stream_holds_what_it_works_on(fake: StandIn, stream: Stream) -> None:
    held: list[object] = []
    builder = SimpleNamespace(stream=SimpleNamespace(handle=0x500))
    recording_stream = RecordingStream(stream, builder, held, [])
    a, b = DeviceBuffer(stream, 16), DeviceBuffer(stream, 16)
    a.fill(1, stream=recording_stream)
    b.copy_from(a, 16, stream=recording_stream)
    assert held == [a, b, a]
    assert not a.memory.users


def test_nothing_is_allocated_by_a_stream_that_records(fake: StandIn, stream: Stream) -> None:
    recording_stream = RecordingStream(stream, SimpleNamespace(stream=SimpleNamespace(handle=0x500)), [], [])
    for make in (DeviceBuffer, DeviceBuffer.plain):
        with pytest.raises(ValueError, match="1,000 bytes cannot be allocated while a CUDA graph is recorded"):
            make(recording_stream, 1000)
    assert fake.names() == []


def _launch(stream: Stream, *arguments: object) -> Launch:
    write = SimpleNamespace(size=8, offsets=[0], write=lambda *arguments: None)
    kernel: Any = SimpleNamespace(name="other", parameters=write, function=0x77, device=stream.device)
    return Launch(kernel, Shape.of([4], [128], 32), arguments)


def test_a_kernel_is_replaced(fake: StandIn, graphs: Graphs, stream: Stream) -> None:
    graph, buffer = CapturedGraph(Recording(1, None, 0, ())), DeviceBuffer(stream, 16)
    other = make_stream(stream.device, 0x600)
    graph.launch(other)
    launch = _launch(stream, buffer)
    graph.replace(2, launch)
    _, node, settings = fake.last("cuGraphExecKernelNodeSetParams_v2")
    found = settings._obj
    assert (node, found.function, found.kernel, found.grid_x, found.block_x, found.shared) == (
        13,
        None,
        0x77,
        4,
        128,
        32,
    )
    assert found.parameters == ctypes.addressof(launch.pointers)
    assert buffer.memory.users == {0x600: other}
    with pytest.raises(ValueError, match="node 1 is a memset, not a kernel"):
        graph.replace(1, launch)
    with pytest.raises(IndexError):
        graph.replace(3, launch)
    graph.enable(1, False)
    assert fake.last("cuGraphNodeSetEnabled")[1:] == (12, 0)


def test_a_graph_is_not_launched_on_a_stream_that_records(graphs: Graphs, stream: Stream) -> None:
    graph = CapturedGraph(Recording(1, None, 0, []))
    graph.launch(stream)
    stream.capturing = True
    with pytest.raises(ValueError, match=r"stream\.embed\(recording\)"):
        graph.launch(stream)


def test_a_closed_graph_holds_nothing(fake: StandIn, graphs: Graphs, stream: Stream) -> None:
    graph = CapturedGraph(Recording(1, None, 0, [DeviceBuffer(stream, 16)]))
    graph.launch(stream)
    with resource.capturing():
        graph.close()
        gc.collect()
        assert "cuMemFreeAsync" not in fake.names()  # nor is the graph gone yet
    graph.close()
    assert fake.names("cuStreamWaitEvent")[-3:] == ["cuGraphExecDestroy", "cuGraphDestroy", "cuMemFreeAsync"]
    launch = _launch(stream, DeviceBuffer(stream, 16))
    for use in (
        lambda: graph.launch(stream),
        lambda: graph.recording,
        lambda: graph.replace(0, launch),
        lambda: graph.enable(0),
    ):
        with pytest.raises(UnusableResource, match="this CapturedGraph is closed"):
            use()


def test_an_update_holds_the_old_until_it_ran(fake: StandIn, graphs: Graphs, stream: Stream) -> None:
    first, old, new = (DeviceBuffer(stream, 16) for _ in range(3))
    graph = CapturedGraph(Recording(1, None, 0, [first]))
    graph.update(Recording(1, None, 0, [old]))
    graph.launch(stream)
    del old
    fake.answers["cuEventQuery"] = 600
    graph.update(Recording(1, None, 0, [new]))
    gc.collect()
    resource.drain()
    assert "cuMemFreeAsync" not in fake.names()  # what was launched may still run
    fake.answers["cuEventQuery"] = 0
    graph.update(Recording(1, None, 0, [new]))
    gc.collect()
    resource.drain()
    assert fake.names().count("cuMemFreeAsync") == 1


@pytest.mark.parametrize(
    ("result", "node", "recording", "words"),
    [
        (3, 12, 1, "ERROR_NODE_TYPE_CHANGED .* at node 1 of the new recording: memset"),
        (4, 21, 1, "ERROR_FUNCTION_CHANGED .* at node 0 of the old recording: graph"),
        (2, 0, 3, "ERROR_TOPOLOGY_CHANGED .* 2 nodes became 0"),
    ],
)
def test_a_refused_update_says_why(
    result: int, node: int, recording: int, words: str, fake: StandIn, graphs: Graphs, stream: Stream
) -> None:
    def refuse(graph: int, other: int, answer: Any) -> int:
        answer._obj.result, answer._obj.node = result, node
        return 910

    fake.answers["cuGraphExecUpdate_v2"] = refuse
    graph = CapturedGraph(Recording(2, None, 0, ()))
    with pytest.raises(CudaError, match=words):
        graph.update(Recording(recording, None, 0, ()))
    assert graph.recording.handle == 2
    fake.answers["cuGraphExecUpdate_v2"] = 1
    with pytest.raises(CudaError, match="cuGraphExecUpdate_v2: CUDA error"):
        graph.update(Recording(recording, None, 0, ()))
