"""Launches of a kernel, packed once and made again and again."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from gocudnn_py import driver
from gocudnn_py.cuda.stream import Stream
from gocudnn_py.driver import WRONG_CONTEXT

if TYPE_CHECKING:
    from gocudnn_py.cuda.kernel import Kernel

COOPERATIVE, CLUSTER, OVERLAP = (
    2,
    4,
    6,
)  # CU_LAUNCH_ATTRIBUTE_COOPERATIVE, _CLUSTER_DIMENSION, _PROGRAMMATIC_STREAM_SER...
USUAL_SHARED = 48 * 1024
Extents = tuple[int, int, int]


class Shape(NamedTuple):
    """How a kernel is launched: blocks, threads of a block, bytes of dynamic shared memory, and in which way.

    `overlaps` is programmatic dependent launch: it may start before the kernel before it has ended. Blocks of a
    `cooperative` launch run all at once and may wait for one another; `cluster` is how many share their memory.
    """

    grid: Extents
    block: Extents
    shared: int = 0
    overlaps: bool = False
    cooperative: bool = False
    cluster: Extents | None = None

    @classmethod
    def of(
        cls,
        grid: Sequence[int],
        block: Sequence[int],
        shared: int = 0,
        *,
        overlaps: bool = False,
        cooperative: bool = False,
        cluster: Sequence[int] | None = None,
    ) -> Shape:
        """With extents of one to three numbers each. Raises ValueError."""
        together = None if cluster is None else _three("cluster", cluster)
        shape = cls(_three("grid", grid), _three("block", block), shared, overlaps, cooperative, together)
        if shared < 0:
            raise ValueError(f"{shared} bytes of shared memory")
        if together and any(blocks % size for blocks, size in zip(shape.grid, together, strict=True)):
            raise ValueError(f"a grid of {shape.grid} blocks is no whole number of clusters of {together}")
        return shape

    def attributes(self) -> Any:
        """The array of CUlaunchAttribute."""
        found = []
        if self.overlaps:
            found.append(_LaunchAttribute(OVERLAP, 0, (1,)))
        if self.cooperative:
            found.append(_LaunchAttribute(COOPERATIVE, 0, (1,)))
        if self.cluster:
            found.append(_LaunchAttribute(CLUSTER, 0, self.cluster))
        return (_LaunchAttribute * len(found))(*found)


class Launch:
    """One launch, bound: call it with a stream. Arguments are kept alive and may be replaced by `patch`.

    It goes through cuLaunchKernelEx, whose four arguments cost ctypes half of cuLaunchKernel's eleven.
    """

    def __init__(self, kernel: Kernel, shape: Shape, arguments: Sequence[Any]) -> None:
        self.kernel, self.shape = kernel, shape
        self._storage = ctypes.create_string_buffer(max(1, kernel.parameters.size))
        kernel.parameters.write(self._storage, arguments)
        self.arguments = list(arguments)
        first = ctypes.addressof(self._storage)
        addresses = [first + offset for offset in kernel.parameters.offsets]
        self._parameters = (ctypes.c_void_p * max(1, len(addresses)))(*addresses)
        if shape.shared > USUAL_SHARED:
            kernel.allow_shared(shape.shared)
        self._call = driver.function("cuLaunchKernelEx")
        self._attributes = shape.attributes()
        pointer = ctypes.cast(self._attributes, ctypes.c_void_p)
        self._settings = _LaunchConfig(*shape.grid, *shape.block, shape.shared, 0, pointer, len(self._attributes))
        places = kernel.function, self._parameters, None
        self._packed = ctypes.byref(self._settings), *map(ctypes.c_void_p.from_param, places)
        self._stream: Stream | None = None

    @property
    def pointers(self) -> Any:
        """The addresses of the packed arguments, as cuLaunchKernel takes them."""
        return self._parameters

    def patch(self, index: int, value: Any) -> None:
        """Replace one argument. Raises TypeError, ValueError or IndexError."""
        if not 0 <= index < len(self.arguments):
            raise IndexError(f"kernel {self.kernel.name} has no argument {index}, it takes {len(self.arguments)}")
        self.kernel.parameters.write_one(self._storage, index, value)
        self.arguments[index] = value
        self._used_again()

    def refill(self, arguments: Sequence[Any]) -> None:
        """Replace all arguments, or none of them. Raises TypeError or ValueError."""
        before = self._storage.raw
        try:
            self.kernel.parameters.write(self._storage, arguments)
        except BaseException:
            self._storage.raw = before
            raise
        self.arguments = list(arguments)
        self._used_again()

    def _used_again(self) -> None:
        if self._stream is not None:
            self.used_on(self._stream)

    def used_on(self, stream: Stream) -> None:
        """Say so of the buffers among its arguments (see `DeviceBuffer.used_on`)."""
        for argument in self.arguments:
            note = getattr(argument, "used_on", None)
            if note is not None:
                note(stream)

    def __call__(self, stream: Stream) -> None:
        """Launch (cuLaunchKernelEx). Raises ValueError on a stream of another GPU, CudaError."""
        if stream is not self._stream or stream.capturing:
            self._turn_to(stream)
            stream.uses(self)
            if stream.capturing:  # the graph keeps what is packed now, whatever is patched later
                stream.uses(*(each for each in self.arguments if hasattr(each, "used_on")))
        status = self._call(*self._packed)
        if status:
            self._retry(stream, status)

    def once(self, stream: Stream, arguments: Sequence[Any]) -> None:
        """Launch with other arguments, which nobody holds afterwards (cuLaunchKernelEx)."""
        if stream is not self._stream or stream.capturing:
            self._turn_to(stream)
            if stream.capturing:  # for the kernel; of arguments of its own it has none
                stream.uses(self)
        self.kernel.parameters.write(self._storage, arguments, stream)
        status = self._call(*self._packed)
        if status:
            self._retry(stream, status)

    def _retry(self, stream: Stream, status: int) -> None:
        """Once more with the GPU current, if the thread had another or none; otherwise the error."""
        if status in WRONG_CONTEXT:
            stream.device.make_current()
            status = self._call(*self._packed)
        if status:
            driver.fail("cuLaunchKernelEx", status)

    def _turn_to(self, stream: Stream) -> None:
        """Have the settings name a stream: packed once, a launch is one call into the driver."""
        if stream.device.ordinal != self.kernel.device.ordinal:
            raise ValueError(f"kernel {self.kernel.name} of {self.kernel.device} is launched on {stream}")
        stream.device.enter()
        self._settings.stream = stream.handle
        self._stream = None if stream.capturing else stream  # a recording is soon over, and would hold what it recorded


class _LaunchAttribute(ctypes.Structure):
    """CUlaunchAttribute; its value is a union of 64 bytes."""

    _fields_: ClassVar = [("id", ctypes.c_int), ("pad", ctypes.c_int), ("value", ctypes.c_uint * 16)]


class _LaunchConfig(ctypes.Structure):
    """CUlaunchConfig."""

    _fields_: ClassVar = [
        *((name, ctypes.c_uint) for name in ("grid_x", "grid_y", "grid_z", "block_x", "block_y", "block_z", "shared")),
        ("stream", ctypes.c_void_p),
        ("attributes", ctypes.c_void_p),
        ("count", ctypes.c_uint),
    ]


def _three(what: str, extents: Sequence[int]) -> Extents:
    if not 1 <= len(extents) <= 3 or min(extents) < 1:
        raise ValueError(f"a {what} of {tuple(extents)}: one to three numbers, each at least 1")
    x, y, z = (*extents, 1, 1)[:3]
    return x, y, z
