"""Graphs on the card: buffers for their tensors, filled from arrays, and plans run on them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from gocudnn_py.cuda import DeviceBuffer
from gocudnn_py.cudnn import Handle
from gocudnn_py.cudnn.graph import Execution, Graph, Plan, Policy, Tensor, plans
from gocudnn_py.dtypes import numpy_dtype
from gocudnn_py.library import load

if TYPE_CHECKING:
    from gocunets.backends.cudnn import CudaBackend

Array = np.ndarray[Any, Any]
U = {"float32": 2.0**-24, "tf32": 2.0**-11, "float16": 2.0**-11, "bfloat16": 2.0**-8}
"""The unit round-off of each type."""

COVERS = pytest.mark.covers(
    "cudnnBackendCreateDescriptor",
    "cudnnBackendSetAttribute",
    "cudnnBackendFinalize",
    "cudnnBackendGetAttribute",
    "cudnnBackendExecute",
)
"""What every run of a graph that is checked has checked."""


def needs(*version: int) -> None:
    """Skip a test where cuDNN is older."""
    found = load("cudnn").version
    if found < version:
        pytest.skip(f"of cuDNN {'.'.join(map(str, version))} and newer, this is {'.'.join(map(str, found))}")


def allowed(terms: int, dtype: str = "float32") -> float:
    """How much of the sum of absolute values a sum of so many terms may be off."""
    return max(4.0, terms**0.5 / 2) * U[dtype]


def numbers(shape: tuple[int, ...], dtype: str, seed: int) -> Array:
    """Normal numbers that a type holds."""
    return np.random.default_rng(seed).standard_normal(shape).astype(numpy_dtype(dtype))


class Memory:
    """Buffers for the tensors of a graph, filled from arrays in the tensors' own memory order."""

    def __init__(self, backend: CudaBackend, graph: Graph) -> None:
        self.stream, self.graph = backend.stream, graph
        self.buffers = {tensor: DeviceBuffer(backend.stream, tensor.nbytes, zeroed=True) for tensor in graph.real}

    def named(self, name: str) -> Tensor:
        return next(tensor for tensor in self.graph.real if tensor.name == name)

    def put(self, tensor: Tensor, array: Array) -> None:
        """An array with the tensor's dimensions, or one as it lies in memory."""
        stored = array.astype(numpy_dtype(tensor.dtype))
        if stored.shape == tensor.dims:
            stored = stored.transpose(np.argsort([-stride for stride in tensor.strides], kind="stable"))
        self.buffers[tensor].upload(np.ascontiguousarray(stored))

    def get(self, tensor: Tensor) -> Array:
        """An array with the tensor's dimensions, of float64."""
        order = np.argsort([-stride for stride in tensor.strides], kind="stable")
        flat = np.empty([tensor.dims[axis] for axis in order], numpy_dtype(tensor.dtype))
        return self.buffers[tensor].download(flat).transpose(np.argsort(order)).astype(np.float64)


def bound(plan: Plan, memory: Memory, **values: Any) -> Execution:
    """A plan on a memory's buffers."""
    return plan.bind(memory.buffers, DeviceBuffer(memory.stream, plan.workspace), **values)


def results(
    backend: CudaBackend,
    handle: Handle,
    graph: Graph,
    arrays: Mapping[str, Array],
    policy: Policy | None = None,
    most: int = 3,
) -> Iterator[dict[str, Array]]:
    """What the first plans of a graph make of arrays by name, one plan after another; at least one."""
    memory = Memory(backend, graph)
    made = [tensor for tensor in graph.real if tensor.name not in arrays]
    for name, array in arrays.items():
        memory.put(memory.named(name), array)
    for plan in islice(plans(graph, handle, policy), most):
        for tensor in made:
            memory.buffers[tensor].fill(0xFF)  # NaN to floats
        bound(plan, memory)(handle)
        yield {tensor.name: memory.get(tensor) for tensor in made}
