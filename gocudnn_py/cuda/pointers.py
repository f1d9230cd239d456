"""What an address is: for diagnostics, and for refusing one that would be read or written wrongly."""

from __future__ import annotations

import ctypes
from typing import Any, Literal, NamedTuple

from gocudnn_py import driver

# CU_POINTER_ATTRIBUTE_: their number, and what they are written into.
ATTRIBUTES = {
    "kind": (2, ctypes.c_uint),  # MEMORY_TYPE
    "managed": (8, ctypes.c_int),  # IS_MANAGED
    "device": (9, ctypes.c_int),  # DEVICE_ORDINAL
    "start": (11, ctypes.c_uint64),  # RANGE_START_ADDR
    "nbytes": (12, ctypes.c_size_t),  # RANGE_SIZE
    "pool": (17, ctypes.c_void_p),  # MEMPOOL_HANDLE
}
Kind = Literal["device", "managed", "pinned", "unknown"]


class PointerInfo(NamedTuple):
    """What the driver knows of an address: `device` is None unless a GPU holds it, or made it when it is managed.

    `start` and `nbytes` are the allocation around it; `pool` is the pool's handle, 0 when it is of none.
    """

    kind: Kind
    device: int | None
    start: int
    nbytes: int
    pool: int


def pointer_info(address: int) -> PointerInfo:
    """What an address is; "unknown" is memory of the host that CUDA does not know, or nothing at all.

    A context has to be current (cuPointerGetAttributes).
    """
    cells: dict[str, Any] = {name: cell() for name, (_, cell) in ATTRIBUTES.items()}
    which = (ctypes.c_int * len(cells))(*(number for number, _ in ATTRIBUTES.values()))
    places = (ctypes.c_void_p * len(cells))(*map(ctypes.addressof, cells.values()))
    driver.call("cuPointerGetAttributes", len(cells), which, places, address)
    found = {name: int(cell.value or 0) for name, cell in cells.items()}
    kind = _kind(found["kind"], found["managed"])
    of_gpu = kind in ("device", "managed")
    return PointerInfo(kind, found["device"] if of_gpu else None, found["start"], found["nbytes"], found["pool"])


def _kind(kind: int, managed: int) -> Kind:
    if managed:
        return "managed"
    names: dict[int, Kind] = {1: "pinned", 2: "device"}  # CU_MEMORYTYPE_HOST, CU_MEMORYTYPE_DEVICE
    return names.get(kind, "unknown")


def require_device_pointer(address: int, nbytes: int = 0, *, device: int | None = None, name: str = "pointer") -> int:
    """The address, if a kernel may read and write so many bytes there, on that GPU if one is named.

    Pinned and managed memory may be. Raises TypeError when it is no int, ValueError saying what it is instead
    (cuPointerGetAttributes).
    """
    if not isinstance(address, int):
        raise TypeError(f"{name} is {type(address).__name__}, not an address")
    info = pointer_info(address)
    if info.kind == "unknown":
        raise ValueError(f"{name} = {address:#x} is no memory that a GPU reaches")
    if info.kind == "device" and device not in (None, info.device):
        raise ValueError(f"{name} = {address:#x} is memory of GPU {info.device}, not {device}")
    end = info.start + info.nbytes
    if info.nbytes and address + nbytes > end:
        raise ValueError(f"{name}: {nbytes} bytes from {address:#x}, where {end - address} are left of {info.nbytes}")
    return address
