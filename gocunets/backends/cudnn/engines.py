"""cuDNN's engines and cuBLASLt's algorithms for one backend: chosen once, kept on disk, run on its stream."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from gocudnn_py import cublaslt
from gocudnn_py.cuda import DeviceBuffer
from gocudnn_py.cudnn import Handle
from gocudnn_py.cudnn.graph import Graph, Policy, Tensor, choose_plan
from gocudnn_py.cudnn.graph.timing import Stopwatch
from gocudnn_py.errors import GraphRefused
from gocudnn_py.matrix import Matrix

if TYPE_CHECKING:
    from ...types import TensorType
    from .backend import CudaBackend

Step = Callable[[], None]
LONG = 1024  # inner axis: at 2,048 cuBLASLt took 10 us where our kernel took 36 (64 x 10 results, H100)
TIMED = 8  # of cuDNN's guesses: among 16 was one whose gradient in TF32 was 3 % off where 2.4 % are allowed (H200)
logger = logging.getLogger("gocunets.cuda")


@dataclass(frozen=True)
class EnginePolicy:
    """How the libraries' engines are chosen.

    `choose` the fastest by measurement, which takes some milliseconds an operation once and is kept on disk, or
    cuDNN's first guess. A `deterministic` one gives the same bits on every run. `workspace` is the most bytes of
    scratch memory. Operations of fewer than `least_work` multiply-adds go to our own direct kernels, which need
    no library to be loaded; a product of matrices with a long inner axis goes to cuBLASLt from a sixteenth of that.
    """

    choose: Literal["fastest", "first"] = "fastest"
    deterministic: bool = True
    workspace: int = 256 * 2**20
    least_work: int = 2**22


class Engines:
    """The libraries for a backend. Loaded when the first operation is large enough for them.

    Raises LibraryNotFound with the command that installs what is missing.
    """

    def __init__(self, backend: CudaBackend, policy: EnginePolicy) -> None:
        self._backend, self.policy = backend, policy
        self._scratch: DeviceBuffer | None = None

    @cached_property
    def handle(self) -> Handle:
        """cuDNN's handle on the backend's stream."""
        return Handle(self._backend.device.ordinal, self._backend.stream)

    @cached_property
    def blas(self) -> cublaslt.Handle:
        """cuBLASLt's handle."""
        return cublaslt.Handle(self._backend.device)

    def takes(self, multiply_adds: int) -> bool:
        """Whether an operation is large enough."""
        return multiply_adds >= self.policy.least_work

    def takes_product(self, rows: int, inner: int, columns: int) -> bool:
        """Whether a product of matrices is large enough, or so long that our kernel would have few blocks for it."""
        work = rows * inner * columns
        return self.takes(work) or (inner > LONG and self.takes(16 * work))

    def run_graph(self, graph: Graph, places: Mapping[Tensor, Any], math: str) -> Step | None:
        """A step that runs a graph of cuDNN's on these places; None when no engine does it under the policy."""
        policy = Policy(
            tf32=math == "tf32",
            deterministic=self.policy.deterministic,
            compile=False,  # the engines that lead on plain convolutions come compiled
            workspace=self.policy.workspace,
        )
        watch = Stopwatch(self.handle, self._backend.stream) if self.policy.choose == "fastest" else None
        try:
            plan = choose_plan(graph, self.handle, policy, measure=watch, most=TIMED)
        except GraphRefused as refused:
            logger.info("left to kernels of ours: %s", refused)
            return None
        finally:
            if watch is not None:
                watch.close()
        run = plan.bind(places, self._workspace(plan.workspace))
        backend, handle = self._backend, self.handle

        def step() -> None:
            handle.use(backend.stream)
            run(handle)

        return step

    def multiply(self, a: Matrix, b: Matrix, c: Matrix, bias: Any, math: str) -> Step:
        """A step that makes c = a b + bias by cuBLASLt."""
        scratch = self._workspace(min(self.policy.workspace, 32 * 2**20))
        run = cublaslt.Matmul(self.blas, a, b, c, bias=bias, math=math, workspace=scratch)
        backend = self._backend
        return lambda: run(backend.stream)

    def _workspace(self, nbytes: int) -> DeviceBuffer | int:
        """Scratch memory that all steps share, for they run one after another; earlier, smaller ones keep theirs."""
        if not nbytes:
            return 0
        if self._scratch is None or self._scratch.nbytes < nbytes:
            self._scratch = DeviceBuffer(self._backend.stream, nbytes)
        return self._scratch


def graph_tensor(graph: Graph, name: str, type: TensorType) -> Tensor:
    """A tensor of (N, C, *spatial) for cuDNN, which wants two spatial axes or three."""
    return graph.tensor(name, with_two_axes(type.shape, 1), type.dtype, strides=strides_of_two_axes(type))


def strides_of_two_axes(type: TensorType) -> tuple[int, ...]:
    """Its strides in elements, to `with_two_axes` of its shape."""
    return with_two_axes(type.strides, type.shape[2] * type.strides[2])


def with_two_axes(numbers: Sequence[int], fill: int) -> tuple[int, ...]:
    """(N, C, L) as (N, C, 1, L)."""
    return (*numbers[:2], fill, *numbers[2:]) if len(numbers) == 3 else tuple(numbers)
