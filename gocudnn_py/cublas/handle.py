"""cuBLAS's handle: its stream, workspace and settings, and the one place that calls the library."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterable, Sequence
from numbers import Number
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from gocudnn_py import driver
from gocudnn_py._abi.cublas import Math, PointerMode
from gocudnn_py._abi.cuda import CudaDataType
from gocudnn_py.cublas.names import INT32_MAX, int32s, wide
from gocudnn_py.cublas.settings import Settings
from gocudnn_py.cuda import DeviceBuffer, Stream
from gocudnn_py.dtypes import numpy_dtype
from gocudnn_py.errors import UnusableResource
from gocudnn_py.library import load
from gocudnn_py.matrix import Placed, Vector, check_places, host_scalar, used_on
from gocudnn_py.resource import Resource

Array: TypeAlias = npt.NDArray[Any]
WORKSPACE = 32 * 2**20  # what NVIDIA recommends for sm_90; smaller cards need less
STRICT = Math.DEFAULT_MATH | Math.MATH_DISALLOW_REDUCED_PRECISION_REDUCTION


class Handle(Settings, Resource):
    """cuBLAS on a stream and its device, with a workspace of its own, so that nothing is allocated in a capture.

    Made and given back by cublasCreate_v2 and cublasDestroy_v2; serves one thread at a time. Float32 stays float32
    and halves are summed in float32 until `math_mode` says otherwise. Raises CublasError, NoDevice.
    """

    _noted: list[tuple[str, tuple[Any, ...]]] | None = None

    def __init__(self, stream: Stream, workspace: int = WORKSPACE) -> None:
        lib, made = load("cublas"), ctypes.c_void_p()
        self.workspace = DeviceBuffer(stream, workspace)
        with driver.primary_context(stream.device.ordinal):
            lib.cublasCreate_v2(ctypes.byref(made))
            destroy = lib.cublasDestroy_v2
            super().__init__(made.value or 0, destroy, stream, self.workspace, device=stream.device.ordinal)
            self.lib: Any = lib
            self.gpu = stream.device
            self._mode = PointerMode.HOST
            self.use(stream)
            self.math_mode = STRICT

    def use(self, stream: Any) -> None:
        """Work on another stream from now on, one of a capture say (cublasSetStream_v2, cublasSetWorkspace_v2).

        The workspace stays the handle's own: setting a stream alone takes it away. Raises ValueError for a stream of
        another GPU.
        """
        ordinal = getattr(getattr(stream, "device", None), "ordinal", self.device)
        if ordinal != self.device:
            raise ValueError(f"a handle for GPU {self.device} cannot work on a stream of GPU {ordinal}")
        self.lib.cublasSetStream_v2(self.handle, stream.handle)
        self.lib.cublasSetWorkspace_v2(self.handle, self.workspace.pointer, self.workspace.nbytes)
        used_on(stream, (self.workspace,))
        self.stream = stream

    @property
    def library_stream(self) -> int:
        """The stream's pointer as cuBLAS has it (cublasGetStream_v2)."""
        pointer = ctypes.c_void_p()
        self.lib.cublasGetStream_v2(self.handle, ctypes.byref(pointer))
        return pointer.value or 0

    @property
    def pointer_mode(self) -> PointerMode:
        """Where the last scalars lay, as the library has it (cublasGetPointerMode_v2)."""
        mode = ctypes.c_int()
        self.lib.cublasGetPointerMode_v2(self.handle, ctypes.byref(mode))
        return PointerMode(mode.value)

    def call(self, name: str, *arguments: Any) -> None:
        """Call a function, in its 64-bit form when a number does not fit an int. Raises ValueError, CublasError."""
        takes_handle, numbers = int32s(name)
        counts = numbers(arguments)
        if max(counts) > INT32_MAX or min(counts) < -INT32_MAX:
            form = wide(name)
            if form is None:
                most = max(counts, key=abs)
                raise ValueError(f"{name} takes numbers to {INT32_MAX}, not {most}, and has no 64-bit form")
            name = form
        if self._noted is not None:
            if not takes_handle:
                raise ValueError(f"{name} takes no handle, and cannot be bound")
            self._noted.append((name, arguments))
            return
        first = (self.handle,) if takes_handle else ()
        self.gpu.enter()
        getattr(self.lib, name)(*first, *arguments)

    def noted(self, work: Callable[[], object]) -> list[tuple[str, tuple[Any, ...]]]:
        """The calls that `work` would make, by name with all arguments but the handle; none is made.

        Raises ValueError for one that takes no handle, or an address of the host that would soon be stale.
        """
        calls: list[tuple[str, tuple[Any, ...]]] = []
        self._noted = calls
        try:
            work()
        finally:
            self._noted = None
        return calls

    def ready(self, stream: Any, mode: PointerMode) -> bool:
        """Make ready for a call whose scalars lie as `mode` says; whether the stream is still this one."""
        if not self.usable:
            raise UnusableResource(self._complaint())
        self.gpu.enter()
        if mode is not self._mode:
            self._point(mode)
        return self.stream is stream

    def scalars(self, *typed: tuple[CudaDataType, Any]) -> tuple[Any, ...]:
        """Alphas and betas as C takes them: numbers of these types, or places on the device (cublasSetPointerMode_v2).

        Raises TypeError when some are numbers and some are not.
        """
        if self._on_host(value for _, value in typed):
            return tuple(host_scalar(plain(value), code) for code, value in typed)
        return tuple(self._device_scalar(code, value) for code, value in typed)

    def cells(self, *typed: tuple[CudaDataType, Any]) -> tuple[list[int], list[Array]]:
        """Places of numbers, or of several in a row, that C may overwrite; of the host with the arrays there."""
        if self._on_host(value for _, value in typed):
            self._refuse_noting("an operation that reads or writes numbers of the host")
            arrays = [_array(code, value if isinstance(value, Sequence) else [value]) for code, value in typed]
            return [array.ctypes.data for array in arrays], arrays
        return [self._device_scalar(code, value) for code, value in typed], []

    def result(self, name: str, code: CudaDataType, out: Any, *arguments: Any, after: tuple[Any, ...] = ()) -> Any:
        """Call a function with a result before `after`: it is given back, or written to `out` on the device.

        A result that is given back waits for the stream. Raises ValueError within a capture, which cannot wait.
        """
        if out is not None:
            self._point(PointerMode.DEVICE)
            self.call(name, *arguments, self._device_scalar(code, out), *after)
            return None
        self._refuse_noting(name)
        if getattr(self.stream, "capturing", False):
            raise ValueError(f"{name}: a capture cannot wait for a result; give `out`, a place on the device")
        self._point(PointerMode.HOST)
        cell = np.zeros(1, numpy_dtype(code))
        self.call(name, *arguments, cell.ctypes.data, *after)
        return cell[0].item()

    def hold(self, what: str, *operands: Any) -> None:
        """Check that operands lie on this GPU, and have their buffers outlive what this stream is given."""
        used_on(self.stream, check_places(what, self.device, *operands))

    def _refuse_noting(self, what: str) -> None:
        if self._noted is not None:
            raise ValueError(f"{what} cannot be bound unless its numbers lie on the device")

    def _on_host(self, values: Iterable[Any]) -> bool:
        numbers = [type(value) is float or isinstance(value, Number | Sequence) for value in values]
        if any(numbers) and not all(numbers):
            raise TypeError("scalars must all be numbers or all lie on the device, not some of each")
        self._point(PointerMode.HOST if all(numbers) else PointerMode.DEVICE)
        return all(numbers)

    def _device_scalar(self, code: CudaDataType, value: Any) -> int:
        if not isinstance(value, Placed) and not hasattr(value, "pointer"):
            raise TypeError(f"a scalar is a number, a buffer or a Vector, not {type(value).__name__}")
        placed = value if isinstance(value, Placed) else Vector(value, 1, code)
        self.hold("scalar", placed)
        if placed.code != code:
            raise TypeError(f"a scalar of {placed.code.name} where {code.name} is needed")
        return placed.address

    def _point(self, mode: PointerMode) -> None:
        if mode is not self._mode:
            self.lib.cublasSetPointerMode_v2(self.handle, mode)
            self._mode = mode


def plain(value: Any) -> Any:
    """A number of Python's own for one of NumPy's."""
    return value.item() if isinstance(value, np.generic) else value


def _array(code: CudaDataType, values: Sequence[Any]) -> Array:
    content = b"".join(host_scalar(plain(value), code) for value in values)
    return np.frombuffer(bytearray(content), numpy_dtype(code))


def common_type(what: str, *operands: Placed) -> CudaDataType:
    """The type that all have. Raises TypeError with each."""
    if len({operand.code for operand in operands}) > 1:
        raise TypeError(f"{what}: {', '.join(map(str, operands))} have different types")
    return operands[0].code
