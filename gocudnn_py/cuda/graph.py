"""CUDA graphs by capture: what is recorded holds what it touches."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable, Sequence
from typing import Any

from gocudnn_py import driver
from gocudnn_py.cuda.device import Stream
from gocudnn_py.cuda.kernel import Launch
from gocudnn_py.cuda.memory import DeviceBuffer
from gocudnn_py.resource import Resource, capturing, drain


class CapturedGraph(Resource):
    """A recorded sequence of work; `keep_alive` are the buffers, kernels and handles it uses.

    A Resource of ours around cuda.core's graph, which would destroy itself at any moment, also within a capture,
    where the driver forbids it.
    """

    def __init__(self, core: Any, nodes: int, device: int, keep_alive: Sequence[object] = ()) -> None:
        super().__init__(int(core.handle), functools.partial(_destroy, core), *keep_alive, device=device)
        self.nodes = nodes
        self._used = [each for each in keep_alive if isinstance(each, DeviceBuffer | Launch)]
        self._stream: Stream | None = None

    def launch(self, stream: Stream) -> None:
        """Run the whole sequence in stream order. Raises UnusableResource after `close` or a fork."""
        if stream is not self._stream:
            self._stream = stream
            for each in self._used:
                each.used_on(stream)
        driver.call("cuGraphLaunch", ctypes.c_void_p(self.handle), stream.cell)


def _destroy(core: Any, handle: int) -> None:
    core.close()


def capture(stream: Stream, work: Callable[[Stream], object], keep_alive: Sequence[object] = ()) -> CapturedGraph:
    """Record what `work` gives to the stream it is called with; nothing of it runs.

    The recording is by thread: allocating, freeing and synchronising on this thread raise meanwhile.
    """
    drain()
    builder = stream.core.create_graph_builder()
    with capturing():
        builder.begin_building("thread_local")
        try:
            work(_Capturing(stream, int(builder.stream.handle)))
        finally:
            builder.end_building()
    nodes = len(builder.graph_definition.nodes())
    core = builder.complete()
    builder.close()
    core.upload(stream.core)
    return CapturedGraph(core, nodes, stream.device.ordinal, keep_alive)


class _Capturing(Stream):
    """The stream of a capture, as launches take it."""

    capturing = True

    def __init__(self, parent: Stream, handle: int) -> None:
        self.device, self.core, self.handle = parent.device, parent.core, handle
        self.cell = ctypes.c_void_p(handle)
