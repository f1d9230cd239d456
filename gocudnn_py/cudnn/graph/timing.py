"""How long a plan takes on the card."""

from __future__ import annotations

import statistics
from collections.abc import Mapping

from gocudnn_py._abi.cudnn import DataType
from gocudnn_py.cuda import DeviceBuffer, Event, Stream
from gocudnn_py.cudnn.graph.execution import Execution
from gocudnn_py.cudnn.graph.plan import Plan
from gocudnn_py.cudnn.graph.tensor import Tensor
from gocudnn_py.cudnn.handle import Handle

PATTERN = 0x3C  # every two bytes are 1.06 in half precision, and every four 0.0115 in single: no zeros, no NaNs
WHOLE = {DataType.INT8, DataType.UINT8, DataType.INT32, DataType.UINT32, DataType.INT64}


class Stopwatch:
    """Measures plans of one graph on a stream: milliseconds a run, the median of `rounds` after a warm-up.

    Buffers are its own, but for those `given` for tensors by name. Of its own, whole numbers are 0, for some graphs
    take them for lengths and offsets.
    """

    def __init__(
        self,
        handle: Handle,
        stream: Stream,
        *,
        rounds: int = 5,
        repeats: int = 4,
        given: Mapping[str, DeviceBuffer] | None = None,
    ) -> None:
        self.handle, self.stream, self.rounds, self.repeats = handle, stream, rounds, repeats
        self.given = dict(given or {})
        self._buffers: dict[int, DeviceBuffer] = {}

    def __call__(self, plan: Plan) -> float:
        """Run a plan and return its time (cudnnBackendExecute). Raises CudnnError when it does not run."""
        pointers = {tensor: self._buffer(tensor) for tensor in plan.graph.real}
        with DeviceBuffer(self.stream, plan.workspace) as workspace:
            run = plan.bind(pointers, workspace)
            run(self.handle)
            times = [self._time(run) for _ in range(self.rounds)]
            self.stream.synchronize()
        return statistics.median(times)

    def close(self) -> None:
        """Give the buffers back."""
        for buffer in self._buffers.values():
            buffer.close()
        self._buffers.clear()

    def _time(self, run: Execution) -> float:
        start, stop = (Event(self.stream.device, timing=True) for _ in range(2))
        start.record(self.stream)
        for _ in range(self.repeats):
            run(self.handle)
        stop.record(self.stream)
        return stop.milliseconds_since(start) / self.repeats

    def _buffer(self, tensor: Tensor) -> DeviceBuffer:
        if tensor.name in self.given:
            return self.given[tensor.name]
        if tensor.uid not in self._buffers:
            self._buffers[tensor.uid] = DeviceBuffer(self.stream, tensor.nbytes)
            self._buffers[tensor.uid].fill(0 if tensor.dtype in WHOLE else PATTERN)
        return self._buffers[tensor.uid]
