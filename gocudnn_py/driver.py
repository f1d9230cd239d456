"""The CUDA driver as far as reporting and entering a device need it: straight from libcuda, no package."""

from __future__ import annotations

import ctypes
import functools
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple, NoReturn

from gocudnn_py.errors import CudaError, NoDevice

FILE = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
MAJOR_ATTRIBUTE, MINOR_ATTRIBUTE = 75, 76  # compute capability, in cuDeviceGetAttribute


class Gpu(NamedTuple):
    """One GPU: its number, name, compute capability and memory in bytes."""

    number: int
    name: str
    capability: tuple[int, int]
    memory: int


@functools.cache
def library() -> ctypes.CDLL:
    """The driver library, loaded and initialised; NoDevice when there is none or it finds no GPU."""
    try:
        dll = ctypes.CDLL(FILE)
    except OSError as error:
        raise NoDevice(f"no NVIDIA driver on this machine: {error}") from None
    status = dll.cuInit(0)
    if status:
        raise NoDevice(f"the NVIDIA driver is there but unusable: cuInit: {_name(dll, status)} ({status})")
    return dll


def _name(dll: ctypes.CDLL, status: int) -> str:
    text = ctypes.c_char_p()
    dll.cuGetErrorName(status, ctypes.byref(text))
    return text.value.decode() if text.value else "CUDA error"


def call(name: str, *arguments: object) -> None:
    """Call a driver function by name; CudaError when it answers with an error."""
    status = getattr(library(), name)(*arguments)
    if status:
        fail(name, status)


broken = False
"""Whether a kernel failed so that the context is lost: from then on every call of this process fails the same way."""
LOST = {214, 220, 700, 702, 710, 714, 715, 716, 717, 718, 719, 721}  # ECC, NVLink, illegal address, timeout, trap, ...


def fail(name: str, status: int) -> NoReturn:
    """Raise the CudaError of a status that `name` answered with."""
    global broken
    broken = broken or status in LOST
    dll, text = library(), ctypes.c_char_p()
    dll.cuGetErrorString(status, ctypes.byref(text))
    raise CudaError(name, status, _name(dll, status), (text.value or b"").decode())


def version() -> tuple[int, int]:
    """The newest CUDA that this driver runs, (13, 0) say."""
    number = ctypes.c_int()
    call("cuDriverGetVersion", ctypes.byref(number))
    return number.value // 1000, number.value % 1000 // 10


def gpus() -> list[Gpu]:
    """Every GPU of this machine that this process may see."""
    count = ctypes.c_int()
    call("cuDeviceGetCount", ctypes.byref(count))
    return [_gpu(index) for index in range(count.value)]


def _gpu(index: int) -> Gpu:
    device, memory, text = ctypes.c_int(), ctypes.c_size_t(), ctypes.create_string_buffer(256)
    call("cuDeviceGet", ctypes.byref(device), index)
    call("cuDeviceGetName", text, len(text), device)
    call("cuDeviceTotalMem_v2", ctypes.byref(memory), device)
    capability = _attribute(MAJOR_ATTRIBUTE, device), _attribute(MINOR_ATTRIBUTE, device)
    return Gpu(index, text.value.decode(), capability, memory.value)


def _attribute(attribute: int, device: ctypes.c_int) -> int:
    value = ctypes.c_int()
    call("cuDeviceGetAttribute", ctypes.byref(value), attribute, device)
    return value.value


@functools.cache
def _primary(index: int) -> ctypes.c_void_p:
    """The device's primary context, retained once for the life of the process, as the CUDA runtime does."""
    device, context = ctypes.c_int(), ctypes.c_void_p()
    call("cuDeviceGet", ctypes.byref(device), index)
    call("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
    return context


@contextmanager
def primary_context(index: int) -> Iterator[None]:
    """Make a device's primary context current for the block, and what was current before after it."""
    call("cuCtxPushCurrent_v2", _primary(index))
    try:
        yield
    finally:
        call("cuCtxPopCurrent_v2", ctypes.byref(ctypes.c_void_p()))


def memory_info(index: int) -> tuple[int, int]:
    """Free and total memory of a device in bytes."""
    free, total = ctypes.c_size_t(), ctypes.c_size_t()
    with primary_context(index):
        call("cuMemGetInfo_v2", ctypes.byref(free), ctypes.byref(total))
    return free.value, total.value


def copy_device(target: int, source: int, nbytes: int, stream: int) -> None:
    """Copy device memory in the order of a stream."""
    addresses = ctypes.c_uint64(target), ctypes.c_uint64(source)
    call("cuMemcpyDtoDAsync_v2", *addresses, ctypes.c_size_t(nbytes), ctypes.c_void_p(stream))
