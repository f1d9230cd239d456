"""NumpyBackend: arrays in one arena, a step a node, a plain loop for a program."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from threadpoolctl import ThreadpoolController

from ...dtypes import DType
from ...errors import CompileError
from ...graph import Graph, Node, Value
from ...passes.layout import Layout, Order, apply_layout, channels_first, channels_last
from ...passes.memory import ALIGNMENT
from ...passes.precision import DtypePolicy
from ...types import TensorType
from .registry import LOWERINGS, Step

Array = npt.NDArray[Any]


def batch_last(type: TensorType) -> tuple[int, ...]:
    """Batch innermost for anything with spatial axes: convnetgo's convolutions copy whole rows of it."""
    axes = channels_first(type)
    return axes if type.rank < 3 else (*axes[1:], 0)


ORDERS: dict[Layout, Order] = {
    "auto": batch_last,
    "channels_first": channels_first,
    "channels_last": channels_last,
}


class NumpyBackend:
    """Runs every op on the CPU by convnetgo, in float32 or float64.

    `threads` is how many NumPy's BLAS may take. More than one gains nothing for small networks, can stall where the
    cores are busy, and changes the last bits of results with the number.
    """

    name = "cpu"

    def __init__(self, threads: int = 1) -> None:
        self.threads = threads
        self._blas = ThreadpoolController().select(user_api="blas")

    def check_policy(self, policy: DtypePolicy) -> None:
        """Raise CompileError for half precision and TF32, which NumPy has not."""
        for dtype in (policy.parameter, policy.compute):
            if dtype not in (DType.float32, DType.float64):
                raise CompileError(f"the cpu device computes in float32 or float64, not {dtype}; use --device cuda")
        if policy.math != "fma":
            raise CompileError(f"math {policy.math} needs --device cuda; the cpu device has fma")

    def lay_out(self, graph: Graph, layout: Layout, pinned: Collection[Value]) -> Graph:
        """Every kernel goes by strides. Left to choose, the batch is innermost."""
        return apply_layout(graph, ORDERS[layout], pinned)

    def allocate(self, nbytes: int) -> Array:
        """A zeroed, aligned uint8 array."""
        raw = np.zeros(nbytes + ALIGNMENT, np.uint8)
        start = -raw.ctypes.data % ALIGNMENT
        return raw[start : start + nbytes]

    def view(self, buffer: Array, offset: int, type: TensorType) -> Array:
        """An array of the type's shape, dtype and strides over the buffer's bytes."""
        strides = tuple(step * type.dtype.itemsize for step in type.strides)
        return np.ndarray(type.shape, type.dtype.numpy(), buffer.data, offset, strides)

    def lower(self, node: Node, inputs: Sequence[Array], outputs: Sequence[Array]) -> Step:
        """The step of a node, from the registered kernels."""
        lowering = LOWERINGS.get(type(node.op))
        if lowering is None:
            where = f" of layer {node.scope}" if node.scope else ""
            raise CompileError(
                f"the cpu backend has no kernel for op {node.op.name}{where}; "
                f"register one with gocunets.backends.numpy.kernel({type(node.op).__name__})"
            )
        return lowering(node, inputs, outputs)

    def copy(self, source: Array, target: Array) -> Step:
        """A step that copies the array."""
        return lambda: np.copyto(target, source)

    def run(self, steps: Sequence[Step]) -> None:
        """The plain loop. Products take one thread: results are then the same bits whatever machine and load.

        NumPy's warnings on overflow are left out: a step that is not finite is flagged in the step state.
        """
        with self._blas.limit(limits=self.threads), np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            for step in steps:
                step()

    def record(self, steps: Sequence[Step]) -> Step:
        """The same loop."""
        return partial(self.run, tuple(steps))

    def upload(self, array: npt.NDArray[np.generic], tensor: Array) -> None:
        """Copy into the tensor."""
        np.copyto(tensor, array)

    def download(self, tensor: Array) -> Array:
        """A copy, in row-major order."""
        return np.array(tensor, order="C")

    def holds(self, nbytes: int) -> bool:
        """Never: the arrays of the host are the device's."""
        return False

    def fuse(self, graph: Graph, keep: Collection[Value]) -> Graph:
        """The graph as it is."""
        return graph

    def synchronize(self) -> None:
        """Nothing runs behind the caller's back."""
