"""CudaBackend: device memory, lowering by the registry, recording as one CUDA graph."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gocudnn_py.cuda import Device, DeviceBuffer, Launch, Module, Scalar, Stream, capture
from gocudnn_py.errors import OutOfMemory
from gocudnn_py.kernels import read_source

from ...dtypes import DType
from ...errors import CompileError, OutOfDeviceMemory
from ...graph import Graph, Node, Value
from ...passes.layout import Layout, apply_layout, channels_first, channels_last
from ...passes.precision import DtypePolicy
from ...types import TensorType
from .engines import EnginePolicy, Engines
from .fusion import fuse, is_for_libraries
from .registry import LOWERINGS, freedom_of

Array = npt.NDArray[Any]
Step = Callable[[], None]
HALVES = (DType.float16, DType.bfloat16)
COMPUTED = (DType.float32, *HALVES)


@dataclass(frozen=True)
class Tensor:
    """A typed place in device memory; it keeps its buffer alive."""

    buffer: DeviceBuffer
    offset: int
    type: TensorType

    @property
    def pointer(self) -> int:
        """The address of its first element."""
        return self.buffer.pointer + self.offset


class CudaBackend:
    """Runs every op on one GPU, in stream order; nothing waits unless a result is read.

    `engines` says how the libraries' engines are chosen.
    """

    name = "cuda"

    def __init__(self, ordinal: int = 0, engines: EnginePolicy | None = None) -> None:
        self.device = Device(ordinal)
        self.stream = self.device.stream()
        self.shared_limit = self.device.shared_memory
        self.engines = Engines(self, engines or EnginePolicy())
        self._modules: dict[tuple[str, tuple[tuple[str, object], ...]], Module] = {}

    def check_policy(self, policy: DtypePolicy) -> None:
        """Raise CompileError for what has no kernels."""
        if policy.compute not in COMPUTED or policy.parameter is not DType.float32:
            names = ", ".join(COMPUTED)
            raise CompileError(f"the cuda device computes in {names} with float32 parameters, not {policy.compute}")

    def lay_out(self, graph: Graph, layout: Layout, pinned: Collection[Value]) -> Graph:
        """Left to choose, what tensor cores do has its channels last: half precision, and TF32 in large convolutions.

        Inputs stay row-major: the card reorders them faster than the host.
        """
        last = layout == "channels_last" or (layout == "auto" and self._is_for_tensor_cores(graph))
        order = channels_last if last else channels_first
        return apply_layout(graph, order, [*pinned, *graph.inputs.values()], freedom_of)

    def _is_for_tensor_cores(self, graph: Graph) -> bool:
        half = any(y.dtype in HALVES for node in graph.nodes for y in node.outputs)
        tf32 = graph.math == "tf32" and is_for_libraries(graph, self.shared_limit, self.engines.takes)
        return half or tf32

    def allocate(self, nbytes: int) -> DeviceBuffer:
        """Zeroed memory of the stream-ordered pool, which aligns to 512 bytes. Raises OutOfDeviceMemory."""
        self.device.enter()
        try:
            return DeviceBuffer(self.stream, nbytes, zeroed=True)
        except OutOfMemory as error:
            raise OutOfDeviceMemory(error.asked, error.free) from error

    def view(self, buffer: DeviceBuffer, offset: int, type: TensorType) -> Tensor:
        """A typed place in a buffer."""
        return Tensor(buffer, offset, type)

    def lower(self, node: Node, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> Step:
        """The step of a node, from the registered lowerings."""
        lowering = LOWERINGS.get(type(node.op))
        if lowering is None:
            where = f" of layer {node.scope}" if node.scope else ""
            raise CompileError(f"the cuda backend has no code for op {node.op.name}{where}")
        return lowering(self, node, inputs, outputs)

    def launch(
        self,
        source: str,
        kernel: str,
        grid: Sequence[int],
        block: Sequence[int],
        arguments: Sequence[tuple[Scalar, Any]],
        *,
        defines: Mapping[str, object] | None = None,
        shared: int = 0,
        overlaps: bool = False,
    ) -> Step:
        """A step that launches a kernel of `gocudnn_py/kernels/<source>`, compiled with `defines`, on our stream.

        `overlaps` is for kernels that call `wait_for_inputs` (overlap.cuh) before they read or write.
        """
        signature = [scalar for scalar, _ in arguments]
        module = self.module(source, defines or {})
        values, overlaps = [value for _, value in arguments], overlaps and self.device.capability >= (9, 0)
        launch = module.kernel(kernel, signature).bind(grid, block, values, shared=shared, overlaps=overlaps)
        return _Launched(self, launch)

    def module(self, source: str, defines: Mapping[str, object]) -> Module:
        """The compiled module of a source and its defines, compiled once."""
        key = source, tuple(sorted(defines.items()))
        if key not in self._modules:
            self._modules[key] = Module(self.device, read_source(source), defines)
        return self._modules[key]

    def copy(self, source: Tensor, target: Tensor) -> Step:
        """A step that copies device to device."""
        from gocudnn_py import driver

        def step() -> None:
            driver.copy_device(target.pointer, source.pointer, source.type.nbytes, self.stream.handle)

        return step

    def run(self, steps: Sequence[Step]) -> None:
        """Launch one after the other, on one stream."""
        self.device.enter()
        for step in steps:
            step()

    def record(self, steps: Sequence[Step]) -> Step:
        """All steps as one CUDA graph."""
        steps = tuple(steps)
        self.device.enter()
        graph = capture(self.stream, lambda stream: self._run_on(stream, steps), keep_alive=steps)

        def run() -> None:
            self.device.enter()
            graph.launch(self.stream)

        return run

    def _run_on(self, stream: Stream, steps: Sequence[Step]) -> None:
        own, self.stream = self.stream, stream
        try:
            for step in steps:
                step()
        finally:
            self.stream = own

    def upload(self, array: npt.NDArray[np.generic], tensor: Tensor) -> None:
        """Copy an array of the tensor's shape to the device."""
        self.device.enter()
        plain = np.ascontiguousarray(array.transpose(tensor.type.order), tensor.type.dtype.numpy())
        tensor.buffer.upload(plain, tensor.offset)

    def download(self, tensor: Tensor) -> Array:
        """Copy the tensor to the host, after all that was launched before."""
        self.device.enter()
        type = tensor.type
        content = np.empty(type.extents, type.dtype.numpy())
        tensor.buffer.download(content, tensor.offset)
        return np.array(content.transpose(np.argsort(type.order)), order="C")

    def holds(self, nbytes: int) -> bool:
        """Whether a data set takes at most a quarter of the memory that is free."""
        free, _ = self.device.memory_info()
        return nbytes <= free // 4

    def fuse(self, graph: Graph, keep: Collection[Value]) -> Graph:
        """Groups of nodes that one kernel of ours does become one node."""
        return fuse(graph, keep, self.shared_limit, self.engines.takes)

    def synchronize(self) -> None:
        """Wait for everything that was launched."""
        self.stream.synchronize()


class _Launched:
    """A bound launch on whatever stream the backend works on at the moment."""

    def __init__(self, backend: CudaBackend, launch: Launch) -> None:
        self._backend, self._launch = backend, launch

    def __call__(self) -> None:
        self._launch(self._backend.stream)
