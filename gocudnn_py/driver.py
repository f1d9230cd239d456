"""The CUDA driver, straight from libcuda: its functions by name with checked arguments, its GPUs, their contexts."""

from __future__ import annotations

import ctypes
import functools
import sys
import threading
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple, NoReturn

from gocudnn_py.errors import CudaError, NoDevice, NotInThisVersion

FILE = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
MAJOR_ATTRIBUTE, MINOR_ATTRIBUTE = 75, 76  # compute capability, in cuDeviceGetAttribute
WRONG_CONTEXT = (201, 400)  # CUDA_ERROR_INVALID_CONTEXT, CUDA_ERROR_INVALID_HANDLE
NOT_READY = 600  # CUDA_ERROR_NOT_READY: what is asked about has not been reached


class Location(ctypes.Structure):
    """CUmemLocation: a kind of place and which of them."""

    _fields_: ClassVar = [("kind", ctypes.c_int), ("number", ctypes.c_int)]


class IpcHandle(ctypes.Structure):
    """CUipcMemHandle and CUipcEventHandle: 64 bytes for another process."""

    _fields_: ClassVar = [("content", ctypes.c_char * 64)]


KINDS = {
    "p": ctypes.c_void_p,  # a pointer or a handle
    "n": ctypes.c_size_t,  # size_t, CUdeviceptr and what else is 64 bits wide
    "i": ctypes.c_int,
    "u": ctypes.c_uint,
    "h": ctypes.c_ushort,
    "b": ctypes.c_ubyte,
    "L": Location,
    "X": IpcHandle,
}
FUNCTIONS = {
    "u": "cuInit",
    "": "cuCtxSynchronize",
    "i": "cuCtxSetCacheConfig",
    "n": "cuMemFree_v2 cuIpcCloseMemHandle",
    "p": "cuCtxDisablePeerAccess cuCtxGetCacheConfig cuCtxGetCurrent cuCtxPopCurrent_v2 cuCtxPushCurrent_v2 "
    "cuDeviceGetCount cuDriverGetVersion cuEventDestroy_v2 cuEventQuery cuEventSynchronize cuGraphDestroy "
    "cuGraphExecDestroy cuMemFreeHost cuMemHostUnregister cuMemPoolDestroy cuStreamQuery cuStreamSynchronize "
    "cuThreadExchangeStreamCaptureMode",
    "in": "cuCtxSetLimit",
    "ip": "cuGetErrorName cuGetErrorString",
    "np": "cuMemFreeAsync",
    "pi": "cuCtxGetLimit cuDeviceGet cuDevicePrimaryCtxRetain cuDeviceTotalMem_v2",
    "pn": "cuIpcGetMemHandle cuMemAlloc_v2 cuMemPoolExportPointer cuMemPoolTrimTo",
    "pp": "cuCtxGetStreamPriorityRange cuEventRecord cuFuncGetName cuGraphChildGraphNodeGetGraph cuGraphClone "
    "cuGraphKernelNodeGetParams_v2 cuGraphLaunch cuGraphNodeGetType cuGraphUpload cuIpcGetEventHandle cuKernelGetName "
    "cuMemGetInfo_v2 cuMemPoolCreate cuMemcpy2DAsync_v2 cuMemcpy3DAsync_v2 cuStreamGetCtx",
    "pu": "cuCtxEnablePeerAccess cuEventCreate",
    "pX": "cuIpcOpenEventHandle",
    "pii": "cuDeviceCanAccessPeer cuDeviceGetAttribute cuDeviceGetName cuDeviceGetPCIBusId cuKernelSetCacheConfig",
    "pin": "cuPointerGetAttribute",
    "pip": "cuMemPoolGetAttribute cuMemPoolSetAttribute",
    "pnu": "cuMemAllocManaged cuMemHostAlloc cuMemHostRegister_v2",
    "ppn": "cuGraphInstantiateWithFlags cuMemPoolSetAccess",
    "ppp": "cuEventElapsedTime cuGraphExecKernelNodeSetParams_v2 cuGraphExecUpdate_v2 cuGraphGetNodes "
    "cuLaunchHostFunc cuMemPoolGetAccess cuMemPoolImportPointer",
    "ppu": "cuGraphDebugDotPrint cuGraphNodeSetEnabled cuMemHostGetDevicePointer_v2 cuStreamWaitEvent",
    "pXu": "cuIpcOpenMemHandle_v2",
    "iipi": "cuKernelSetAttribute",
    "nbnp": "cuMemsetD8Async",
    "nhnp": "cuMemsetD16Async",
    "nniL": "cuMemAdvise_v2",
    "nnnp": "cuMemcpyAsync cuMemcpyDtoDAsync_v2",
    "npnp": "cuMemcpyHtoDAsync_v2",
    "nunp": "cuMemsetD32Async",
    "pipi": "cuKernelGetAttribute",
    "pnnp": "cuMemcpyDtoHAsync_v2",
    "pnnu": "cuStreamAttachMemAsync cuStreamWaitValue64_v2 cuStreamWriteValue64_v2",
    "pnpp": "cuMemAllocFromPoolAsync",
    "pnuu": "cuStreamWaitValue32_v2 cuStreamWriteValue32_v2",
    "ppin": "cuMemPoolExportToShareableHandle cuMemPoolImportFromShareableHandle",
    "pppp": "cuLibraryGetGlobal",
    "uppn": "cuPointerGetAttributes",
    "ppppp": "cuGraphGetEdges_v2",
    "nnLup": "cuMemPrefetchAsync_v2",
    "pninn": "cuMemRangeGetAttribute",
    "ppnnu": "cuMemAllocPitch_v2",
    "nnbnnp": "cuMemsetD2D8Async",
    "nnhnnp": "cuMemsetD2D16Async",
    "nnunnp": "cuMemsetD2D32Async",
    "npnpnp": "cuMemcpyPeerAsync",
}
"""The functions in use by the kinds of their parameters, as cuda.h declares them."""


class Gpu(NamedTuple):
    """One GPU: its number, name, compute capability and memory in bytes."""

    number: int
    name: str
    capability: tuple[int, int]
    memory: int


@functools.cache
def library() -> ctypes.CDLL:
    """The driver library, loaded and initialised (cuInit); NoDevice when there is none or it finds no GPU."""
    try:
        dll = ctypes.CDLL(FILE)
    except OSError as error:
        raise NoDevice(f"no NVIDIA driver on this machine: {error}") from None
    _declare(dll)
    # It never waits, so no other thread needs a turn meanwhile, and has one argument: 0.34 us instead of 0.56.
    vars(dll)["cuCtxGetCurrent"] = ctypes.PyDLL(FILE, handle=dll._handle)["cuCtxGetCurrent"]
    status = dll.cuInit(0)
    if status:
        raise NoDevice(f"the NVIDIA driver is there but unusable: cuInit: {_name(dll, status)} ({status})")
    return dll


def _declare(dll: ctypes.CDLL) -> None:
    """Give the functions that this driver has their parameter types."""
    for kinds, names in FUNCTIONS.items():
        types = [KINDS[kind] for kind in kinds]
        for function in (getattr(dll, name, None) for name in names.split()):
            if function is not None:
                function.argtypes = types


def _name(dll: ctypes.CDLL, status: int) -> str:
    text = ctypes.c_char_p()
    dll.cuGetErrorName(status, ctypes.byref(text))
    return text.value.decode() if text.value else "CUDA error"


def function(name: str) -> Any:
    """A driver function that answers with its status. Raises NotInThisVersion when this driver has none such."""
    try:
        return getattr(library(), name)
    except AttributeError:
        raise NotInThisVersion(name, "the CUDA driver for CUDA", version(), FILE) from None


def call(name: str, *arguments: object) -> None:
    """Call a driver function by name; CudaError when it answers with an error."""
    run = getattr(library(), name, None) or function(name)
    status = run(*arguments)
    if status:
        fail(name, status)


def reached(name: str, handle: int) -> bool:
    """Whether an event or a stream is done, asked of cuEventQuery or cuStreamQuery."""
    status = function(name)(handle)
    if status not in (0, NOT_READY):
        fail(name, status)
    return not status


def number(name: str, *arguments: object, kind: Any = ctypes.c_int) -> int:
    """Call a driver function that writes a number where its first argument points; the number."""
    value = kind()
    call(name, ctypes.byref(value), *arguments)
    return int(value.value or 0)


broken = False
"""Whether a kernel failed so that the context is lost: from then on every call of this process fails the same way."""
LOST = {214, 220, 700, 702, 710, 714, 715, 716, 717, 718, 719, 721}  # ECC, NVLink, illegal address, timeout, trap, ...


def fail(name: str, status: int) -> NoReturn:
    """Raise the CudaError of a status that `name` answered with (cuGetErrorName, cuGetErrorString)."""
    global broken
    broken = broken or status in LOST
    dll, text = library(), ctypes.c_char_p()
    dll.cuGetErrorString(status, ctypes.byref(text))
    raise CudaError(name, status, _name(dll, status), (text.value or b"").decode())


def version() -> tuple[int, int]:
    """The newest CUDA that this driver runs, (13, 0) say (cuDriverGetVersion)."""
    newest = number("cuDriverGetVersion")
    return newest // 1000, newest % 1000 // 10


def gpus() -> list[Gpu]:
    """Every GPU of this machine that this process may see.

    (cuDeviceGetCount, cuDeviceGet, cuDeviceGetName, cuDeviceTotalMem_v2, cuDeviceGetAttribute)
    """
    return [_gpu(index) for index in range(number("cuDeviceGetCount"))]


def _gpu(index: int) -> Gpu:
    device, text = number("cuDeviceGet", index), ctypes.create_string_buffer(256)
    call("cuDeviceGetName", text, len(text), device)
    memory = number("cuDeviceTotalMem_v2", device, kind=ctypes.c_size_t)
    capability = attribute(index, MAJOR_ATTRIBUTE), attribute(index, MINOR_ATTRIBUTE)
    return Gpu(index, text.value.decode(), capability, memory)


def attribute(index: int, which: int) -> int:
    """An attribute of a device, by its number (cuDeviceGet, cuDeviceGetAttribute)."""
    return number("cuDeviceGetAttribute", which, number("cuDeviceGet", index))


@functools.cache
def context(index: int) -> int:
    """The device's primary context, retained once for the life of the process, as the CUDA runtime does.

    (cuDeviceGet, cuDevicePrimaryCtxRetain)
    """
    return number("cuDevicePrimaryCtxRetain", number("cuDeviceGet", index), kind=ctypes.c_void_p)


_here = threading.local()


def _asking() -> tuple[Callable[[], int], ctypes.c_void_p]:
    """What asks for the current context of this thread, and the cell that it is written to."""
    cell = ctypes.c_void_p()
    asking = functools.partial(library().cuCtxGetCurrent, ctypes.byref(cell)), cell
    _here.asking = asking
    return asking


def current(index: int) -> bool:
    """Whether the device's primary context is the one of this thread (cuCtxGetCurrent)."""
    try:
        ask, cell = _here.asking
    except AttributeError:
        ask, cell = _asking()
    status = ask()
    if status:
        fail("cuCtxGetCurrent", status)
    same: bool = cell.value == context(index)
    return same


class primary_context:  # noqa: N801 - read as a function is: with primary_context(0)
    """Make a device's primary context current for the block, and what was current before after it.

    Nothing is done where it is current already (cuCtxGetCurrent, cuCtxPushCurrent_v2, cuCtxPopCurrent_v2).
    """

    __slots__ = ("_index", "_pushed")

    def __init__(self, index: int) -> None:
        self._index = index

    def __enter__(self) -> None:
        self._pushed = not current(self._index)
        if self._pushed:
            call("cuCtxPushCurrent_v2", context(self._index))

    def __exit__(self, *error: object) -> None:
        if self._pushed:
            call("cuCtxPopCurrent_v2", ctypes.byref(ctypes.c_void_p()))


def call_on(index: int, name: str, *arguments: object) -> None:
    """Call a driver function with a device's primary context current, and after it what was before."""
    if current(index):
        call(name, *arguments)
    else:
        with primary_context(index):
            call(name, *arguments)


def memory_info(index: int) -> tuple[int, int]:
    """Free and total memory of a device in bytes (cuMemGetInfo_v2)."""
    free, total = ctypes.c_size_t(), ctypes.c_size_t()
    with primary_context(index):
        call("cuMemGetInfo_v2", ctypes.byref(free), ctypes.byref(total))
    return free.value, total.value


def copy_device(target: int, source: int, nbytes: int, stream: int) -> None:
    """Copy device memory in the order of a stream (cuMemcpyDtoDAsync_v2)."""
    call("cuMemcpyDtoDAsync_v2", target, source, nbytes, stream)
