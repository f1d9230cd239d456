"""Kernels: of compiled code, with declared signatures, and what they ask of the GPU."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Self

from gocudnn_py import driver
from gocudnn_py.cuda import owners
from gocudnn_py.cuda.device import CACHES, Device
from gocudnn_py.cuda.launch import Launch, Shape
from gocudnn_py.cuda.memory import DeviceBuffer
from gocudnn_py.cuda.names import value_of
from gocudnn_py.cuda.parameters import Parameter, Parameters
from gocudnn_py.cuda.program import Code, compile_source, with_defines
from gocudnn_py.cuda.stream import Stream

MAX_DYNAMIC_SHARED = 8  # CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES


class Module:
    """CUDA C++ source compiled for a device; kernels and global variables by name.

    `defines` become macros; the rest is as `compile_source` has it. The cubin is kept on disk. Raises CompilerError
    with the compiler's log when the source is wrong.
    """

    def __init__(
        self,
        device: Device,
        source: str,
        defines: Mapping[str, object] | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        folders: Sequence[str] = (),
        options: Sequence[str] = (),
        names: Sequence[str] = (),
    ) -> None:
        self.source = with_defines(source, defines or {})
        code = compile_source(
            self.source, device.architecture, headers=headers, folders=folders, options=options, names=names
        )
        self._load(device, code)

    @classmethod
    def of(cls, device: Device, code: Code) -> Self:
        """A module of code that is compiled or linked already: cubin, or PTX that the driver compiles."""
        module = cls.__new__(cls)
        module.source = ""
        module._load(device, code)
        return module

    def _load(self, device: Device, code: Code) -> None:
        from cuda.core import ObjectCode

        makers = {"cubin": ObjectCode.from_cubin, "ptx": ObjectCode.from_ptx}
        if code.kind not in makers:
            raise ValueError(f"{code.kind} cannot be loaded before it is linked")
        device.make_current()
        self.device, self._names = device, code.lowered
        self._code = makers[code.kind](code.content)

    def kernel(self, name: str, signature: Sequence[Parameter]) -> Kernel:
        """The kernel `name`: extern "C", or one of the `names` compiled ("scale<float>").

        Raises ValueError when the signature is not the compiled one's (cuLibraryGetKernel, cuKernelGetParamInfo).
        """
        self.device.enter()
        return Kernel(self.device, self._code.get_kernel(self._names.get(name, name)), name, tuple(signature))

    def variable(self, name: str, stream: Stream) -> DeviceBuffer:
        """The memory of a variable, constant or not: one of the global namespace, or of the `names` ("&space::table").

        It holds the module. Raises CudaError when there is none (cuLibraryGetGlobal).
        """
        address, size = ctypes.c_uint64(), ctypes.c_size_t()
        library, symbol = int(self._code.handle), self._names.get(name, name).encode()
        self.device.enter()
        driver.call("cuLibraryGetGlobal", ctypes.byref(address), ctypes.byref(size), library, symbol)
        owner = owners.Allocation(stream, address.value, owners.finish, self._code)
        return DeviceBuffer.over(stream, size.value, owner)


class Attributes(NamedTuple):
    """What a kernel takes: registers and bytes of local memory a thread, bytes of shared memory a block."""

    registers: int
    local: int
    shared: int
    constant: int
    max_threads: int
    max_dynamic_shared: int


class Kernel:
    """A kernel with its declared parameter types, whose number and sizes were checked against the code."""

    def __init__(self, device: Device, core: Any, name: str, signature: tuple[Parameter, ...]) -> None:
        self.device, self.name, self.signature, self._core = device, name, signature, core
        self.parameters = Parameters(name, device, signature)
        sizes, declared = [info.size for info in core.arguments_info], self.parameters.sizes
        if sizes != declared:
            raise ValueError(f"kernel {name} takes parameters of {sizes} bytes, declared are {declared}")
        self.function = int(core.handle)
        self._ready = threading.local()

    def bind(
        self,
        grid: Sequence[int],
        block: Sequence[int],
        arguments: Sequence[Any],
        *,
        shared: int = 0,
        overlaps: bool = False,
        cooperative: bool = False,
        cluster: Sequence[int] | None = None,
    ) -> Launch:
        """A launch with its arguments packed, to be made again and again. Raises TypeError or ValueError.

        With `overlaps` (programmatic dependent launch, compute capability 9.0) it may start before the kernel before
        it has ended: the kernel has to execute griddepcontrol.wait before it touches what that one wrote or reads.
        Blocks of a `cooperative` launch may wait for one another, so all of them have to fit on the GPU at once.
        `cluster` blocks (compute capability 9.0) reach each other's shared memory; the grid counts blocks all the same.
        """
        ways = {"overlaps": overlaps, "cooperative": cooperative}
        shape = Shape.of(grid, block, shared, cluster=cluster, **ways)
        if cluster is not None and self.device.capability < (9, 0):
            raise ValueError(f"kernel {self.name}: {self.device} has no clusters, which begin with sm_90")
        launch = Launch(self, shape, arguments)
        if cooperative:
            self._check_together(shape)
        return launch

    def _check_together(self, shape: Shape) -> None:
        blocks, threads = _product(shape.grid), _product(shape.block)
        room = self.blocks_per_multiprocessor(threads, shape.shared) * self.device.multiprocessors
        if blocks > room:
            raise ValueError(
                f"kernel {self.name}: {blocks} blocks launched together, {room} fit on {self.device} at once"
            )

    def launch(
        self, stream: Stream, grid: Sequence[int], block: Sequence[int], arguments: Sequence[Any], *, shared: int = 0
    ) -> None:
        """Launch once; for a launch that is made again, `bind` it (cuLaunchKernelEx).

        What the last launch of each thread packed is used again where grid, block and shared memory are the same.
        """
        mine, extents = self._ready, (*grid, None, *block, shared)
        if getattr(mine, "extents", None) != extents:
            mine.launch, mine.extents = self.bind(grid, block, arguments, shared=shared), extents
            mine.launch.arguments = []  # nobody holds afterwards what was launched
        mine.launch.once(stream, arguments)

    def allow_shared(self, nbytes: int) -> None:
        """Allow a block so much dynamic shared memory, more than the usual 48 KiB.

        It is never lowered, for launches that were bound with more may be made again (cuKernelGetAttribute,
        cuKernelSetAttribute).
        """
        place = self.function, self.device.ordinal
        if nbytes > driver.number("cuKernelGetAttribute", MAX_DYNAMIC_SHARED, *place):
            driver.call("cuKernelSetAttribute", MAX_DYNAMIC_SHARED, nbytes, *place)

    def prefer_cache(self, name: str) -> None:
        """Say what it prefers of shared memory and L1, as `Device.cache_preference` has it (cuKernelSetCacheConfig)."""
        driver.call("cuKernelSetCacheConfig", self.function, value_of(*CACHES, name), self.device.ordinal)

    @property
    def attributes(self) -> Attributes:
        """What it takes on its device (cuKernelGetAttribute)."""
        found = self._core.attributes[self.device.ordinal]
        return Attributes(
            found.num_regs,
            found.local_size_bytes,
            found.shared_size_bytes,
            found.const_size_bytes,
            found.max_threads_per_block,
            found.max_dynamic_shared_size_bytes,
        )

    def blocks_per_multiprocessor(self, block: int, shared: int = 0) -> int:
        """How many blocks of so many threads run at once (cuOccupancyMaxActiveBlocksPerMultiprocessor)."""
        self.device.enter()
        return int(self._core.occupancy.max_active_blocks_per_multiprocessor(block, shared))

    def suggested_block(self, shared: int = 0, limit: int = 0) -> tuple[int, int]:
        """Threads of a block that keep the GPU fullest, at most `limit` if not 0, and blocks that fill it.

        (cuOccupancyMaxPotentialBlockSize)
        """
        self.device.enter()
        found = self._core.occupancy.max_potential_block_size(shared, limit)
        return int(found.max_block_size), int(found.min_grid_size)

    def free_shared(self, blocks: int, block: int) -> int:
        """Bytes of dynamic shared memory a block may take when so many run on a multiprocessor.

        (cuOccupancyAvailableDynamicSMemPerBlock)
        """
        self.device.enter()
        return int(self._core.occupancy.available_dynamic_shared_memory_per_block(blocks, block))


def _product(extents: tuple[int, int, int]) -> int:
    x, y, z = extents
    return x * y * z
