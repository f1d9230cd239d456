"""Kernels: compiled by NVRTC for the card at hand, kept on disk, with declared signatures and bound launches."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, ClassVar

from gocudnn_py import disk, driver
from gocudnn_py.cuda.device import Device, Stream
from gocudnn_py.cuda.memory import DeviceBuffer


class Scalar(Enum):
    """Parameter types of a kernel; `pointer` takes a device buffer or an address."""

    pointer = "pointer", ctypes.c_uint64
    int32 = "int32", ctypes.c_int32
    uint32 = "uint32", ctypes.c_uint32
    int64 = "int64", ctypes.c_int64
    uint64 = "uint64", ctypes.c_uint64
    float32 = "float32", ctypes.c_float
    float64 = "float64", ctypes.c_double

    @property
    def cell(self) -> Any:
        """The ctypes class that holds such an argument."""
        return self.value[1]


class Module:
    """CUDA C++ source compiled for a device; kernels by name.

    `defines` become macros. The cubin is kept on disk under a key of source, options, architecture and
    compiler version. Raises cuda.core's error with the compiler's log when the source is wrong.
    """

    def __init__(self, device: Device, source: str, defines: Mapping[str, object] | None = None) -> None:
        from cuda.core import ObjectCode

        self.device = device
        lines = [f"#define {name} {value}" for name, value in (defines or {}).items()]
        self.source = "\n".join([*lines, source])
        device.make_current()
        self._code = ObjectCode.from_cubin(cached_cubin(self.source, device.architecture))

    def kernel(self, name: str, signature: Sequence[Scalar]) -> Kernel:
        """The kernel `name` (extern "C"). Raises ValueError when the signature is not the compiled one's."""
        return Kernel(self.device, self._code.get_kernel(name), name, tuple(signature))


class Kernel:
    """A kernel with its declared parameter types, whose number and sizes were checked against the code."""

    def __init__(self, device: Device, core: Any, name: str, signature: tuple[Scalar, ...]) -> None:
        self.device, self.name, self.signature, self._core = device, name, signature, core
        sizes = [info.size for info in core.arguments_info]
        declared = [ctypes.sizeof(scalar.cell) for scalar in signature]
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
    ) -> Launch:
        """A launch with its arguments packed, to be made again and again. Raises TypeError or ValueError.

        With `overlaps` (programmatic dependent launch, compute capability 9.0) it may start before the kernel before
        it has ended: the kernel has to execute griddepcontrol.wait before it touches what that one wrote or reads.
        """
        return Launch(self, grid, block, arguments, shared, overlaps)

    def launch(
        self, stream: Stream, grid: Sequence[int], block: Sequence[int], arguments: Sequence[Any], *, shared: int = 0
    ) -> None:
        """Launch once; for a launch that is made again, `bind` it.

        What the last launch of each thread packed is used again where grid, block and shared memory are the same.
        """
        mine, extents = self._ready, (*grid, None, *block, shared)
        if getattr(mine, "extents", None) == extents:
            mine.launch.refill(arguments)
        else:
            mine.launch, mine.extents = self.bind(grid, block, arguments, shared=shared), extents
        try:
            mine.launch(stream)
        finally:
            mine.launch.arguments = []  # nobody holds afterwards what was launched

    def allow_shared(self, nbytes: int) -> None:
        """Allow more dynamic shared memory a block than the usual 48 KiB."""
        driver.call("cuKernelSetAttribute", 8, nbytes, ctypes.c_void_p(self.function), self.device.ordinal)


class Launch:
    """One launch, bound: call it with a stream. Arguments are kept alive and may be replaced by `patch`.

    It goes through cuLaunchKernelEx, whose four arguments cost ctypes half of cuLaunchKernel's eleven.
    """

    def __init__(
        self,
        kernel: Kernel,
        grid: Sequence[int],
        block: Sequence[int],
        arguments: Sequence[Any],
        shared: int,
        overlaps: bool,
    ) -> None:
        self.kernel = kernel
        self._check(arguments)
        self.arguments = list(arguments)
        pairs = zip(kernel.signature, arguments, strict=True)
        self._cells = [scalar.cell(_plain(kernel, i, scalar, value)) for i, (scalar, value) in enumerate(pairs)]
        addresses = [ctypes.addressof(cell) for cell in self._cells]
        self._parameters = (ctypes.c_void_p * max(1, len(addresses)))(*addresses)
        if shared > 48 * 1024:
            kernel.allow_shared(shared)
        self._call = driver.library().cuLaunchKernelEx
        self._extents = (*_three(grid), *_three(block), shared)
        attributes = [_OVERLAP] if overlaps else []
        self._attributes = (_LaunchAttribute * len(attributes))(*attributes)
        self._stream: Stream | None = None
        self._packed: tuple[Any, ...] = ()

    def patch(self, index: int, value: Any) -> None:
        """Replace one argument. Raises TypeError or ValueError."""
        self._cells[index].value = _plain(self.kernel, index, self.kernel.signature[index], value)
        self.arguments[index] = value
        self._used_again()

    def refill(self, arguments: Sequence[Any]) -> None:
        """Replace all arguments. Raises TypeError or ValueError."""
        self._check(arguments)
        for index, (scalar, value) in enumerate(zip(self.kernel.signature, arguments, strict=True)):
            self._cells[index].value = _plain(self.kernel, index, scalar, value)
        self.arguments = list(arguments)
        self._used_again()

    def _check(self, arguments: Sequence[Any]) -> None:
        wanted = len(self.kernel.signature)
        if len(arguments) != wanted:
            raise TypeError(f"kernel {self.kernel.name} takes {wanted} arguments, {len(arguments)} given")

    def _used_again(self) -> None:
        if self._stream is not None and not self._stream.capturing:
            self.used_on(self._stream)

    def used_on(self, stream: Stream) -> None:
        """Say so of the buffers among its arguments (see `DeviceBuffer.used_on`)."""
        for argument in self.arguments:
            if isinstance(argument, DeviceBuffer):
                argument.used_on(stream)

    def __call__(self, stream: Stream) -> None:
        if stream is not self._stream:  # packed once a stream: a launch is then one call into the driver
            self._stream, self._packed = stream, self._pack(stream)
        status = self._call(*self._packed)
        if status:
            driver.fail("cuLaunchKernelEx", status)

    def _pack(self, stream: Stream) -> tuple[Any, ...]:
        if stream.device.ordinal != self.kernel.device.ordinal:
            raise ValueError(f"kernel {self.kernel.name} of {self.kernel.device} is launched on {stream}")
        if not stream.capturing:
            self.used_on(stream)
        attributes = ctypes.cast(self._attributes, ctypes.c_void_p)
        settings = _LaunchConfig(*self._extents, stream.handle, attributes, len(self._attributes))
        return ctypes.byref(settings), ctypes.c_void_p(self.kernel.function), self._parameters, None


class _LaunchAttribute(ctypes.Structure):
    """CUlaunchAttribute, as far as it allows the overlap."""

    _fields_: ClassVar = [
        ("id", ctypes.c_int),
        ("pad", ctypes.c_int),
        ("allowed", ctypes.c_int),
        ("rest", ctypes.c_char * 60),
    ]


class _LaunchConfig(ctypes.Structure):
    """CUlaunchConfig."""

    _fields_: ClassVar = [
        *((name, ctypes.c_uint) for name in ("grid_x", "grid_y", "grid_z", "block_x", "block_y", "block_z", "shared")),
        ("stream", ctypes.c_void_p),
        ("attributes", ctypes.c_void_p),
        ("count", ctypes.c_uint),
    ]


_OVERLAP = _LaunchAttribute(id=6, allowed=1)  # CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION


def cached_cubin(source: str, architecture: str) -> bytes:
    """The cubin of a source for an architecture, from the disk or compiled and kept there."""
    from cuda.bindings import nvrtc
    from cuda.core import Program, ProgramOptions

    _, major, minor = nvrtc.nvrtcVersion()
    path = disk.cache_folder("kernels") / f"{disk.key(architecture, major, minor, source)}.cubin"
    kept = disk.read(path)
    if kept is not None:
        return kept
    options = ProgramOptions(arch=architecture, std="c++17", include_path=_include_paths())
    cubin = bytes(Program(source, "c++", options).compile("cubin").code)
    disk.write(path, cubin)
    return cubin


def _include_paths() -> list[str]:
    """Folders with cuda_fp16.h and cuda_bf16.h."""
    from cuda.pathfinder import find_nvidia_header_directory

    found = find_nvidia_header_directory("cudart")
    return [found] if found else []


def _plain(kernel: Kernel, index: int, scalar: Scalar, value: Any) -> Any:
    if scalar is Scalar.pointer:
        if isinstance(value, DeviceBuffer):
            if value.device.ordinal != kernel.device.ordinal:
                raise ValueError(f"kernel {kernel.name}: argument {index} lies on {value.device}, not {kernel.device}")
            return value.pointer
        value = getattr(value, "pointer", value)
    if scalar in (Scalar.float32, Scalar.float64):
        return float(value)
    if not isinstance(value, int):
        raise TypeError(f"kernel {kernel.name}: argument {index} is {type(value).__name__}, declared {scalar.name}")
    bits = 8 * ctypes.sizeof(scalar.cell)
    low = -(2 ** (bits - 1)) if scalar in (Scalar.int32, Scalar.int64) else 0
    if not low <= value < low + 2**bits:
        raise ValueError(f"kernel {kernel.name}: argument {index} = {value} does not fit {scalar.name}")
    return value


def _three(extents: Sequence[int]) -> tuple[int, int, int]:
    x, y, z = (*extents, 1, 1, 1)[:3]
    return x, y, z
