"""CUDA graphs that run: what was recorded, made ready, launched, changed."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import TYPE_CHECKING

from gocudnn_py import driver
from gocudnn_py.cuda.event import Event
from gocudnn_py.cuda.names import members
from gocudnn_py.cuda.nodes import KernelParameters, UpdateResult, count_of
from gocudnn_py.cuda.recording import Recording, Work, record
from gocudnn_py.cuda.stream import Stream
from gocudnn_py.errors import CudaError
from gocudnn_py.resource import Resource

if TYPE_CHECKING:
    from gocudnn_py.cuda.launch import Launch

UPDATE_FAILURE = 910  # CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE


class CapturedGraph(Resource):
    """A recorded sequence of work, ready to run; it holds the buffers, kernels and handles that the recording holds.

    A Resource of ours: cuda.core's graphs destroy themselves at any moment, also within a capture, where the driver
    forbids it (cuGraphInstantiateWithFlags, cuGraphExecDestroy, cuGraphGetNodes).
    """

    def __init__(self, recording: Recording) -> None:
        self._kept: list[object] = [recording]  # grows and shrinks as the graph is changed
        device = recording.device or 0
        with driver.primary_context(device):
            made = ctypes.c_void_p()
            driver.call("cuGraphInstantiateWithFlags", ctypes.byref(made), recording.handle, 0)
        super().__init__(made.value or 0, _destroy, self._kept, device=device)
        self._recordings = [recording]  # the first has the nodes that the driver knows, the last is what it does
        self.nodes = count_of(recording.handle)
        self._stream: Stream | None = None
        self._past: list[tuple[Event, Recording]] = []

    @property
    def recording(self) -> Recording:
        """What it does. Raises UnusableResource after `close` or a fork."""
        _ = self.handle
        return self._recordings[-1]

    @property
    def _made_of(self) -> Recording:
        _ = self.handle
        return self._recordings[0]

    def launch(self, stream: Stream) -> None:
        """Run the whole sequence in stream order. Raises UnusableResource after `close` or a fork (cuGraphLaunch).

        Raises ValueError on a stream that records: see `RecordingStream.embed`.
        """
        handle = self.handle
        if stream.capturing:
            raise ValueError("a graph is recorded as part of another by stream.embed(recording)")
        if stream is not self._stream:
            self._stream = stream
            for each in (*self.recording.held, *self._kept):
                _note(each, stream)
        stream.device.enter()
        driver.call("cuGraphLaunch", handle, stream.cell)

    def update(self, recording: Recording) -> None:
        """Do from the next launch on what another recording of the same structure does.

        Cheaper than instantiating it; what the first recording holds is held all the same. Raises CudaError saying at
        which node they differ too much, and how; the graph is then as it was (cuGraphExecUpdate_v2).
        """
        result = UpdateResult()
        status = driver.function("cuGraphExecUpdate_v2")(self.handle, recording.handle, ctypes.byref(result))
        if status == UPDATE_FAILURE:
            raise CudaError("cuGraphExecUpdate_v2", status, *self._refusal(recording, result))
        if status:
            driver.fail("cuGraphExecUpdate_v2", status)
        self._follow(recording)

    def _refusal(self, recording: Recording, result: UpdateResult) -> tuple[str, str]:
        names = members("CUgraphExecUpdateResult", "CU_GRAPH_EXEC_UPDATE_")
        reason = next((name for name, value in names.items() if value == result.result), str(result.result))
        for where, graph in (("new", recording), ("old", self._made_of)):
            for index, node in enumerate(graph.nodes):
                if node.handle == result.node:
                    return reason, f"at node {index} of the {where} recording: {node}"
        return reason, f"{self.nodes} nodes became {count_of(recording.handle)}"

    def _follow(self, recording: Recording) -> None:
        """Hold another recording, and the one before until what was launched of it is done."""
        self._past = [(event, old) for event, old in self._past if not event.done]
        if self._stream is not None:
            event = Event(self._stream.device)
            event.record(self._stream)
            self._past.append((event, self.recording))
            for each in recording.held:
                _note(each, self._stream)
        self._recordings[1:] = [recording]
        self._kept[:] = [*self._recordings, *(old for _, old in self._past)]

    def replace(self, node: int, launch: Launch) -> None:
        """Let a kernel node, counted as in `recording.nodes` at first, do another bound launch from the next run on.

        Clusters, overlap and cooperation stay as recorded. Raises IndexError, ValueError
        (cuGraphExecKernelNodeSetParams_v2).
        """
        found = self._made_of.nodes[node]
        if found.kind != "kernel":
            raise ValueError(f"node {node} is a {found.kind}, not a kernel")
        with driver.primary_context(launch.kernel.device.ordinal):
            parameters = KernelParameters.of(launch)
            driver.call("cuGraphExecKernelNodeSetParams_v2", self.handle, found.handle, ctypes.byref(parameters))
        if self._stream is not None:
            launch.used_on(self._stream)
        self._kept.append(launch)

    def close(self) -> None:
        """Destroy it, and let go of what it holds (cuGraphExecDestroy)."""
        super().close()
        self._kept, self._past, self._recordings = [], [], []

    def enable(self, node: int, on: bool = True) -> None:
        """Let a kernel, copy or fill, counted as in `recording.nodes` at first, run or not (cuGraphNodeSetEnabled)."""
        driver.call("cuGraphNodeSetEnabled", self.handle, self._made_of.nodes[node].handle, int(on))


def _note(thing: object, stream: Stream) -> None:
    note = getattr(thing, "used_on", None)
    if note is not None:
        note(stream)


def _destroy(handle: int) -> None:
    driver.call("cuGraphExecDestroy", handle)


def capture(stream: Stream, work: Work, keep_alive: Sequence[object] = ()) -> CapturedGraph:
    """Record what `work` gives to the stream it is called with, and make it ready to run; see `record`."""
    return record(stream, work, keep_alive).instantiate(stream)
