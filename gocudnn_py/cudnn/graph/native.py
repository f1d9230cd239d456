"""CUDA graphs that cuDNN fills with a plan's kernels by itself, without a capture, and updates for other addresses."""

from __future__ import annotations

import ctypes

from gocudnn_py import driver
from gocudnn_py.cuda import Stream
from gocudnn_py.cuda.nodes import UpdateResult
from gocudnn_py.cudnn.graph.execution import Execution
from gocudnn_py.cudnn.handle import Handle
from gocudnn_py.resource import Resource


class _Blank(Resource):
    """An empty CUDA graph, to be filled."""

    def __init__(self, device: int) -> None:
        made = ctypes.c_void_p()
        with driver.primary_context(device):
            driver.call("cuGraphCreate", ctypes.byref(made), 0)
        super().__init__(made.value or 0, _destroy_graph, device=device)


class NativeGraph(Resource):
    """A CUDA graph of one run of a plan, ready to be launched (cudnnBackendPopulateCudaGraph, cuGraphCreate,
    cuGraphInstantiateWithFlags, cuGraphExecDestroy, cuGraphDestroy).

    The plan's engine must be able to: see `Candidate.makes_cuda_graphs`. The graph holds the run, its buffers and
    its plan. Raises ValueError for an engine that cannot, NotSupported where cuDNN finds so later.
    """

    def __init__(self, run: Execution, handle: Handle) -> None:
        if not run.plan.candidate.makes_cuda_graphs:
            raise ValueError(f"{run.plan.candidate} cannot fill a CUDA graph: capture its run instead")
        device = handle.device or 0
        self._graph, self._run = _Blank(device), [run]
        plan, pack = run.plan.descriptor, run.pack
        with driver.primary_context(device):
            pack.lib.cudnnBackendPopulateCudaGraph(handle.handle, plan.handle, pack.handle, self._graph.handle)
            made = ctypes.c_void_p()
            driver.call("cuGraphInstantiateWithFlags", ctypes.byref(made), self._graph.handle, 0)
        super().__init__(made.value or 0, _destroy_executable, self._graph, self._run, device=device)
        self._stream: Stream | None = None

    def update(self, run: Execution, handle: Handle) -> None:
        """Make it run on another run's addresses of the same plan (cudnnBackendUpdateCudaGraph,
        cuGraphExecUpdate_v2).

        Launches that are under way keep the addresses that they began with. Raises ValueError for another plan's run.
        """
        if run.plan is not self._run[0].plan:
            raise ValueError("a CUDA graph is updated by a run of the plan that it was made of")
        plan, pack = run.plan.descriptor, run.pack
        with driver.primary_context(self.device or 0):
            pack.lib.cudnnBackendUpdateCudaGraph(handle.handle, plan.handle, pack.handle, self._graph.handle)
            driver.call("cuGraphExecUpdate_v2", self.handle, self._graph.handle, ctypes.byref(UpdateResult()))
        self._run[0], self._stream = run, None

    def launch(self, stream: Stream) -> None:
        """Run it in stream order. Raises UnusableResource after `close` or a fork (cuGraphLaunch).

        Raises ValueError on a stream that records.
        """
        if stream.capturing:
            raise ValueError("a CUDA graph is not launched on a stream that records: record the run of the plan")
        if stream is not self._stream:
            self._stream = stream
            for buffer in self._run[0].buffers:
                note = getattr(buffer, "used_on", None)  # an address has none
                if note is not None:
                    note(stream)
        driver.call("cuGraphLaunch", self.handle, stream.cell)


def _destroy_graph(handle: int) -> None:
    driver.call("cuGraphDestroy", handle)


def _destroy_executable(handle: int) -> None:
    driver.call("cuGraphExecDestroy", handle)
