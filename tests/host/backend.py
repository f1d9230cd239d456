"""The CUDA backend with the host in the card's place: its lowerings, its launches, our kernels, and no GPU."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gocudnn_py.cuda import Scalar
from gocunets.backends.cudnn import CudaBackend, EnginePolicy, Tensor
from gocunets.backends.cudnn.engines import Engines
from tests.host import kernels

Array = NDArray[Any]
ALIGNMENT = 512
POISON = 0x7F  # around every buffer, to see what is written beside it


class HostBuffer:
    """Memory of the host with the interface of a device buffer; writes beyond it are noticed when it is read."""

    def __init__(self, nbytes: int) -> None:
        self.nbytes = nbytes
        self._memory = np.full(nbytes + 3 * ALIGNMENT, POISON, np.uint8)
        start = -self._memory.ctypes.data % ALIGNMENT + ALIGNMENT
        self._inside = slice(start, start + nbytes)
        self._bytes = self._memory[self._inside]
        self._bytes[:] = 0
        self.pointer = self._memory.ctypes.data + start

    def upload(self, array: Array, offset: int = 0) -> None:
        self._bytes[offset : offset + array.nbytes] = np.ascontiguousarray(array).reshape(-1).view(np.uint8)

    def download(self, array: Array, offset: int = 0) -> Array:
        before, behind = self._memory[: self._inside.start], self._memory[self._inside.stop :]
        assert (before == POISON).all(), "something was written before a buffer"
        assert (behind == POISON).all(), "something was written behind a buffer"
        array.reshape(-1).view(np.uint8)[:] = self._bytes[offset : offset + array.nbytes]
        return array


class Anywhere:
    """A device that every thread is on."""

    def enter(self) -> None:
        pass


class HostBackend(CudaBackend):
    """Lowers as the CUDA backend does; a launch runs the kernel that the host's compiler made."""

    name = "cuda kernels on the host"

    def __init__(self) -> None:
        self.device = Anywhere()  # type: ignore[assignment]
        self.shared_limit = 227 * 1024
        self.engines = Engines(self, EnginePolicy(least_work=2**62))  # there are no libraries
        self.launches = 0

    def allocate(self, nbytes: int) -> Any:
        return HostBuffer(nbytes)

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
    ) -> Callable[[], None]:
        function = kernels.compiled(source, kernel, tuple(sorted((defines or {}).items())))
        cells = [scalar.cell(getattr(value, "pointer", value)) for scalar, value in arguments]

        def step() -> None:
            self.launches += 1
            kernels.launch(function, grid, block, shared, cells)

        step.arguments = arguments  # type: ignore[attr-defined]  # a launch keeps its buffers alive
        return step

    def copy(self, source: Tensor, target: Tensor) -> Callable[[], None]:
        return lambda: ctypes.memmove(target.pointer, source.pointer, source.type.nbytes) and None

    def record(self, steps: Sequence[Callable[[], None]]) -> Callable[[], None]:
        steps = tuple(steps)

        def run() -> None:
            for step in steps:
                step()

        return run

    def holds(self, nbytes: int) -> bool:
        return True

    def synchronize(self) -> None:
        pass
