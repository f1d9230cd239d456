"""The CUDA backend with the host in the card's place: its lowerings, its launches, our kernels, and no GPU."""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gocudnn_py.cuda import Scalar
from gocunets.backends.cudnn import CudaBackend, EnginePolicy, Tensor
from gocunets.backends.cudnn.engines import Engines
from tests.host import kernels

Array = NDArray[Any]
ALIGNMENT = 16
PAGE = mmap.PAGESIZE
POISON = 0x7F  # before every buffer, to see what is written there
LIBC = ctypes.CDLL(None, use_errno=True)


class HostBuffer:
    """Memory of the host with the interface of a device buffer, between two pages that may not be touched.

    It ends where the second of them begins, so that reading or writing behind it ends the process there and then;
    what is written before it, on the page it begins on, is noticed when it is read.
    """

    def __init__(self, nbytes: int) -> None:
        self.nbytes = nbytes
        room = -(-max(1, nbytes) // PAGE) * PAGE
        self._map = mmap.mmap(-1, room + 2 * PAGE)
        memory = np.frombuffer(self._map, np.uint8)
        first = memory.ctypes.data
        start = (room + PAGE - nbytes) // ALIGNMENT * ALIGNMENT
        self._before, self._bytes = memory[PAGE:start], memory[start : start + nbytes]
        self._before[:] = POISON
        self.pointer = first + start
        for guard in (first, first + PAGE + room):
            assert not LIBC.mprotect(ctypes.c_void_p(guard), ctypes.c_size_t(PAGE), 0)

    def upload(self, array: Array, offset: int = 0) -> None:
        self._bytes[offset : offset + array.nbytes] = np.ascontiguousarray(array).reshape(-1).view(np.uint8)

    def download(self, array: Array, offset: int = 0) -> Array:
        assert (self._before == POISON).all(), "something was written before a buffer"
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
        overlaps: bool = False,
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
