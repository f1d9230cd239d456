"""The Backend protocol: all that the rest of gocunets knows of a device."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ..graph import Graph, Node, Value
from ..passes.layout import Layout
from ..passes.precision import DtypePolicy
from ..types import TensorType

Array = npt.NDArray[np.generic]
Step = Callable[[], None]


class Backend(Protocol):
    """A device with its memory and its code for each op. Buffers and tensors are the backend's own objects."""

    name: str

    def check_policy(self, policy: DtypePolicy) -> None:
        """Raise CompileError when this backend cannot compute as the policy says."""

    def lay_out(self, graph: Graph, layout: Layout, pinned: Collection[Value]) -> Graph:
        """Choose the order in memory of every value (see `passes.layout`); `pinned` ones stay row-major."""

    def allocate(self, nbytes: int) -> Any:
        """A zeroed buffer whose start is aligned for any slot."""

    def view(self, buffer: Any, offset: int, type: TensorType) -> Any:
        """The tensor of `type` at `offset` bytes into a buffer; it keeps the buffer alive."""

    def lower(self, node: Node, inputs: Sequence[Any], outputs: Sequence[Any]) -> Step:
        """Prepare a node once; the step runs it on those tensors. Raises CompileError for an op without code."""

    def copy(self, source: Any, target: Any) -> Step:
        """A step that copies one tensor into another of the same shape and dtype."""

    def run(self, steps: Sequence[Step]) -> None:
        """Run steps once, in their order."""

    def record(self, steps: Sequence[Step]) -> Step:
        """All steps as one, to be run again and again."""

    def upload(self, array: Array, tensor: Any) -> None:
        """Fill a tensor from an array of its shape and dtype."""

    def download(self, tensor: Any) -> Array:
        """The content of a tensor, as an array of the caller's own."""

    def holds(self, nbytes: int) -> bool:
        """Whether a data set of so many bytes should lie on the device, to be gathered there."""

    def fuse(self, graph: Graph, keep: Collection[Value]) -> Graph:
        """The graph with groups of nodes replaced by ops of this backend; `keep` and outputs are still made."""

    def synchronize(self) -> None:
        """Wait until every step that was started has ended."""
