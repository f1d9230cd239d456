"""Recording what a stream is given, as a CUDA graph that is not made ready to run yet."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from gocudnn_py import driver
from gocudnn_py.cuda import callbacks
from gocudnn_py.cuda.nodes import Node, edges_of, nodes_of
from gocudnn_py.cuda.stream import Stream, Used
from gocudnn_py.resource import Resource, capturing, drain

if TYPE_CHECKING:
    from gocudnn_py.cuda.graph import CapturedGraph

RELAXED = 2  # CU_STREAM_CAPTURE_MODE_RELAXED
VERBOSE = 1  # CU_GRAPH_DEBUG_DOT_FLAGS_VERBOSE
SET_CONDITIONAL = (
    'extern "C" __device__ void cudaGraphSetConditional(unsigned long long condition, unsigned int value);\n'
)
"""What a kernel's source needs to set a `Condition`, which it takes as a Scalar.uint64."""
Work = Callable[["RecordingStream"], object]


class Condition:
    """A number that kernels of a graph set and that decides what runs; an argument for a Scalar.uint64."""

    def __init__(self, core: Any) -> None:
        self.core, self.handle = core, int(core.handle)

    def __index__(self) -> int:
        return self.handle


class RecordingStream(Stream):
    """The stream of a recording: what it is given does not run, and what that works on is held by the recording."""

    capturing = True

    def __init__(self, parent: Stream, builder: Any, held: list[object], bodies: list[Any]) -> None:
        self._take(parent.device, builder.stream)
        self._builder, self.held, self._bodies = builder, held, bodies

    def uses(self, *things: Used) -> None:
        """Have the recording hold what it works on."""
        self.held.extend(things)

    def call_host(self, function: Callable[..., object], *arguments: object) -> Future[Any]:
        """See `Stream.call_host` (cuLaunchHostFunc, cuUserObjectCreate)."""
        run, future = callbacks.guarded(function, arguments)
        self._builder.callback(run)
        return future

    def embed(self, recording: Recording) -> None:
        """Record another recording as one node; a copy, so what becomes of it later does not matter.

        Raises ValueError for a clone (cuGraphAddChildGraphNode, cuStreamUpdateCaptureDependencies).
        """
        if recording.builder is None:
            raise ValueError("a clone cannot be embedded; the recording that it was made of can, which copies it")
        self._builder.embed(recording.builder)
        self.held.append(recording)

    def condition(self, initial: int | None = None) -> Condition:
        """A number for `when`, `repeat` or `choose`, set to `initial` whenever the graph is launched.

        (cuGraphConditionalHandleCreate)
        """
        return Condition(self._builder.create_condition(initial))

    def when(self, condition: Condition, then: Work, otherwise: Work | None = None) -> None:
        """Record what runs if the condition is not 0, and what otherwise (cuGraphAddNode)."""
        with relaxed():
            bodies = self._builder.if_else(condition.core) if otherwise else [self._builder.if_then(condition.core)]
        self._record(bodies, [then, otherwise] if otherwise else [then])

    def repeat(self, condition: Condition, body: Work) -> None:
        """Record what runs again and again while the condition is not 0, asked before each time (cuGraphAddNode)."""
        with relaxed():
            bodies = [self._builder.while_loop(condition.core)]
        self._record(bodies, [body])

    def choose(self, condition: Condition, *works: Work) -> None:
        """Record several works, of which that one runs whose number the condition is, if any (cuGraphAddNode)."""
        if not works:
            raise ValueError("nothing to choose from")
        with relaxed():
            bodies = self._builder.switch(condition.core, len(works))
        self._record(bodies, works)

    def _record(self, bodies: Sequence[Any], works: Sequence[Work]) -> None:
        self._bodies.extend(bodies)  # their streams are given back after the recording
        for body, work in zip(bodies, works, strict=True):
            with _building(body):
                work(RecordingStream(self, body, self.held, self._bodies))


class Recording(Resource):
    """Recorded work as a CUDA graph: to be looked at, embedded, copied, and made ready to run by `instantiate`.

    It holds what the work touches (cuGraphDestroy).
    """

    def __init__(self, handle: int, builder: Any, device: int, held: Sequence[object]) -> None:
        self.builder, self.held = builder, tuple({id(each): each for each in held}.values())
        super().__init__(handle, _closing(builder), *self.held, device=device)

    @property
    def nodes(self) -> list[Node]:
        """Its nodes, in the order in which they were recorded.

        (cuGraphGetNodes, cuGraphNodeGetType, cuGraphKernelNodeGetParams_v2, cuKernelGetName, cuFuncGetName,
        cuGraphChildGraphNodeGetGraph)
        """
        return nodes_of(self.handle)

    @property
    def edges(self) -> list[tuple[int, int]]:
        """Which node waits for which, as (the earlier, the later), counted as in `nodes` (cuGraphGetEdges_v2)."""
        number = {node.handle: index for index, node in enumerate(self.nodes)}
        return sorted((number[start], number[end]) for start, end in edges_of(self.handle))

    def write_dot(self, path: str | os.PathLike[str], *, verbose: bool = False) -> None:
        """Write it as a graph for Graphviz, with all parameters if wanted (cuGraphDebugDotPrint)."""
        driver.call("cuGraphDebugDotPrint", self.handle, os.fsencode(path), VERBOSE if verbose else 0)

    def clone(self) -> Recording:
        """A copy, which changes on its own (cuGraphClone)."""
        made = driver.number("cuGraphClone", self.handle, kind=ctypes.c_void_p)
        return Recording(made, None, self.device or 0, self.held)

    def instantiate(self, stream: Stream) -> CapturedGraph:
        """Make it ready to run, uploaded in the order of a stream (cuGraphInstantiateWithFlags, cuGraphUpload)."""
        from gocudnn_py.cuda.graph import CapturedGraph

        graph = CapturedGraph(self)
        driver.call("cuGraphUpload", graph.handle, stream.cell)
        return graph


def _closing(builder: Any) -> Callable[[int], object]:
    """What destroys a graph: the builder that made it, or the driver."""
    return _destroy if builder is None else lambda handle: builder.close()


def _destroy(handle: int) -> None:
    driver.call("cuGraphDestroy", handle)


def record(stream: Stream, work: Work, keep_alive: Sequence[object] = ()) -> Recording:
    """Record what `work` gives to the stream it is called with; nothing of it runs.

    The recording is by thread: allocating, freeing and synchronising on this thread raise meanwhile. What `Launch`,
    copies and fills touch is held; `keep_alive` is what else it needs: handles, plans, what libraries were given
    (cuStreamBeginCapture, cuStreamEndCapture).
    """
    drain()
    stream.device.enter()
    builder, held, bodies = stream.core.create_graph_builder(), list(keep_alive), list[Any]()
    recorded = RecordingStream(stream, builder, held, bodies)
    with capturing(), _building(builder), _marked(stream, recorded):
        work(recorded)
    for body in bodies:
        body.close()
    recording = Recording(int(builder.graph_definition.handle), builder, stream.device.ordinal, held)
    held.clear()  # whoever keeps the stream does not keep what it worked on
    return recording


@contextmanager
def _building(builder: Any) -> Iterator[None]:
    """Let a builder record for the block; what the block raises is told first."""
    builder.begin_building("thread_local")
    try:
        yield
    except BaseException:
        with suppress(Exception):  # an invalid recording cannot be ended well
            builder.end_building()
        raise
    builder.end_building()


@contextmanager
def _marked(stream: Stream, recorded: RecordingStream) -> Iterator[None]:
    """Have the stream do as the one that `work` is called with, whose handle is its own: it only records."""
    instead = {"capturing": True, "uses": recorded.uses, "call_host": recorded.call_host}
    vars(stream).update(instead)
    try:
        yield
    finally:
        for name in instead:
            vars(stream).pop(name, None)


@contextmanager
def relaxed() -> Iterator[None]:
    """Let this thread make streams while it records (cuThreadExchangeStreamCaptureMode)."""
    mode = ctypes.c_int(RELAXED)
    driver.call("cuThreadExchangeStreamCaptureMode", ctypes.byref(mode))
    try:
        yield
    finally:
        driver.call("cuThreadExchangeStreamCaptureMode", ctypes.byref(mode))
