"""A product prepared once, with what comes after it, and run on any stream."""

from __future__ import annotations

import ctypes
from typing import Any

from gocudnn_py._abi.cublas import Status
from gocudnn_py._abi.cublaslt import MatmulAlgo, MatmulHeuristicResult
from gocudnn_py.cublaslt.algorithm import Algorithm
from gocudnn_py.cublaslt.epilogue import After
from gocudnn_py.cublaslt.handle import Handle
from gocudnn_py.cublaslt.problem import Problem
from gocudnn_py.cublaslt.scales import Scales
from gocudnn_py.errors import CublasError
from gocudnn_py.matrix import Matrix, check_places, used_on


class Matmul:
    """c = after(alpha a b + beta addend), made ready once, run on any stream.

    `bias`, one number a column, and `relu` are short for the commonest `after`. The addend is c's own content unless
    given; alpha and beta are numbers, or both places on the device. `math` is as `gocudnn_py.matrix.MATH` has it;
    `fast_sums` lets float8 products be summed with less precision. Of a `batch`, members lie `strides` elements apart
    in a, b and c (0 for one that all share), those of the addend as c's. `workspace` is a buffer whose size limits
    the algorithms, of which the library's first choice is taken until `use` or `tune` takes another.

    Raises TypeError and ValueError for what does not go together, CublasError when the library has no algorithm.
    """

    def __init__(
        self,
        handle: Handle,
        a: Matrix,
        b: Matrix,
        c: Matrix,
        *,
        bias: Any = None,
        relu: bool = False,
        after: After | None = None,
        addend: Matrix | None = None,
        alpha: Any = 1.0,
        beta: Any = 0.0,
        math: str = "fma",
        scales: Scales | None = None,
        fast_sums: bool = False,
        batch: int = 1,
        strides: tuple[int, int, int] = (0, 0, 0),
        workspace: Any = None,
    ) -> None:
        if after is not None and (bias is not None or relu):
            raise ValueError("matmul: give bias and relu within `after`, or without it")
        after = after or After(bias=bias, activation="relu" if relu else None)
        factors, sums = (alpha, beta, math), (scales or Scales(), fast_sums)
        self.problem = Problem(a, b, c, handle.gpu.capability, after, addend, *factors, *sums, batch, strides)
        self.handle, self.workspace = handle, _Workspace(workspace)
        self._places = check_places("matmul", handle.device, self.problem, self.workspace)
        self._stream: Any = None
        self.algorithm = self.candidates(1)[0]

    @property
    def workspace_used(self) -> int:
        """Bytes of workspace that the chosen algorithm takes."""
        return self.algorithm.workspace

    def __call__(self, stream: Any) -> None:
        """Run on a stream (cublasLtMatmul)."""
        records = getattr(stream, "capturing", False)
        if stream is not self._stream or records:
            self._stream = None if records else stream  # a recording is soon over, and would hold what it recorded
            used_on(stream, self._places)
        self.launch(stream, self.algorithm, self.problem.addend.address, self.problem.c.address)

    def launch(self, stream: Any, algorithm: Algorithm, addend: int, c: int) -> None:
        """Run by an algorithm, from another addend, into another place (cublasLtMatmul)."""
        problem, (one, two) = self.problem, self.problem.scalars
        a_layout, b_layout, c_layout, d_layout = (layout.handle for layout in problem.layouts)
        self.handle.lib.cublasLtMatmul(
            self.handle.enter(), problem.descriptor.handle, one, problem.b.address, a_layout,
            problem.a.address, b_layout, two, addend, c_layout, c, d_layout,
            ctypes.byref(algorithm.algo), *self.workspace.pair, stream.handle,
        )  # fmt: skip

    def candidates(self, most: int = 8) -> list[Algorithm]:
        """Up to so many algorithms, the library's favourite first (cublasLtMatmulAlgoGetHeuristic).

        Raises CublasError when there is none.
        """
        found, count = (MatmulHeuristicResult * most)(), ctypes.c_int()
        name, ask = "cublasLtMatmulAlgoGetHeuristic", self.handle.lib.cublasLtMatmulAlgoGetHeuristic
        with self.problem.preference(self.workspace.pair[1]) as preference:
            told = *self.problem.handles, preference.handle
            ask(self.handle.enter(), *told, most, found, ctypes.byref(count))  # type: ignore[call-arg]
        possible = [each for each in found[: count.value] if each.state == Status.SUCCESS]
        if not possible:
            said = f"no algorithm for {self}; narrow types and epilogues have one for some layouts and sizes only"
            raise CublasError(name, Status.NOT_SUPPORTED, "CUBLAS_STATUS_NOT_SUPPORTED", said)
        return [_algorithm(each.algo, each) for each in possible]

    def ids(self, most: int = 64) -> list[int]:
        """Numbers of the algorithms for these types (cublasLtMatmulAlgoGetIds)."""
        found, count = (ctypes.c_int * most)(), ctypes.c_int()
        ask: Any = self.handle.lib.cublasLtMatmulAlgoGetIds
        ask(self.handle.enter(), *self.problem.types, most, found, ctypes.byref(count))
        return list(found[: count.value])

    def make(self, id: int) -> Algorithm:
        """An algorithm by its number, to be set up and checked (cublasLtMatmulAlgoInit)."""
        algo, init = MatmulAlgo(), self.handle.lib.cublasLtMatmulAlgoInit
        init(self.handle.enter(), *self.problem.types, id, ctypes.byref(algo))  # type: ignore[call-arg]
        return Algorithm(algo)

    def check(self, algorithm: Algorithm) -> Algorithm:
        """The algorithm with the workspace that it takes here (cublasLtMatmulAlgoCheck).

        Raises CublasError when it cannot run, ValueError when it takes more workspace than there is.
        """
        result, ask = MatmulHeuristicResult(), self.handle.lib.cublasLtMatmulAlgoCheck
        places: tuple[Any, Any] = ctypes.byref(algorithm.algo), ctypes.byref(result)
        ask(self.handle.enter(), *self.problem.handles, *places)  # type: ignore[call-arg]
        if result.workspaceSize > self.workspace.pair[1]:
            raise ValueError(
                f"{algorithm!r} takes {result.workspaceSize} bytes of workspace, of {self.workspace.pair[1]}"
            )
        return _algorithm(algorithm.algo, result)

    def use(self, algorithm: Algorithm) -> None:
        """Run by another algorithm from now on (cublasLtMatmulAlgoCheck)."""
        self.algorithm = self.check(algorithm)

    def __str__(self) -> str:
        return f"{self.problem}, with {self.workspace.pair[1]} bytes of workspace"


class _Workspace:
    """Scratch memory, a buffer or nothing."""

    def __init__(self, place: Any) -> None:
        self.places = (place,)

    @property
    def pair(self) -> tuple[int, int]:
        """Where it lies, and its bytes."""
        (place,) = self.places
        return int(getattr(place, "pointer", 0)), int(getattr(place, "nbytes", 0))


def _algorithm(algo: MatmulAlgo, result: MatmulHeuristicResult) -> Algorithm:
    copied = MatmulAlgo.from_buffer_copy(bytes(algo))
    return Algorithm(copied, int(result.workspaceSize), float(result.wavesCount))
