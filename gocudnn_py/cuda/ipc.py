"""Device memory shared between processes of one machine."""

from __future__ import annotations

import ctypes
from typing import NamedTuple

from gocudnn_py import driver
from gocudnn_py.cuda import owners
from gocudnn_py.cuda.event import as_ipc
from gocudnn_py.cuda.memory import DeviceBuffer
from gocudnn_py.cuda.stream import Stream
from gocudnn_py.driver import IpcHandle

LAZY_PEERS = 1  # CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS


class SharedMemory(NamedTuple):
    """What another process needs to open a buffer; it can be pickled."""

    handle: bytes
    offset: int
    nbytes: int


def share(buffer: DeviceBuffer) -> SharedMemory:
    """Let another process `open_shared` a `plain` buffer or a part of one, which has to live as long.

    Raises ValueError for memory of a pool, which `Pool.share` shares (cuIpcGetMemHandle).
    """
    root = buffer.memory.root
    if not root.shareable:
        raise ValueError("only plain memory can be shared so: DeviceBuffer.plain, or a pool that is shared")
    handle = IpcHandle()
    driver.call("cuIpcGetMemHandle", ctypes.byref(handle), root.handle)
    return SharedMemory(bytes(handle), buffer.pointer - root.handle, buffer.nbytes)


def open_shared(stream: Stream, shared: SharedMemory) -> DeviceBuffer:
    """The buffer of another process; what this one does with it is ordered by events or by waiting.

    Raises ValueError, and CudaError in the process that shared it (cuIpcOpenMemHandle_v2, cuIpcCloseMemHandle).
    """
    if shared.offset < 0 or shared.nbytes < 0:
        raise ValueError(f"{shared.nbytes} bytes from byte {shared.offset}")
    made = ctypes.c_uint64()
    with driver.primary_context(stream.device.ordinal):
        driver.call("cuIpcOpenMemHandle_v2", ctypes.byref(made), as_ipc(shared.handle), LAZY_PEERS)
    whole = owners.Allocation(stream, made.value, owners.close_ipc)
    return DeviceBuffer.over(stream, shared.offset + shared.nbytes, whole).view(shared.offset)
