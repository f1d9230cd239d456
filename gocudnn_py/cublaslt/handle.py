"""cuBLASLt's handle, and the cache of what its heuristics found."""

from __future__ import annotations

import ctypes

from gocudnn_py import driver
from gocudnn_py.cuda import Device
from gocudnn_py.library import load
from gocudnn_py.resource import Resource


class Handle(Resource):
    """cuBLASLt on a device (cublasLtCreate, cublasLtDestroy); it knows no stream, each run names its own."""

    def __init__(self, device: Device) -> None:
        self.lib, made = load("cublaslt"), ctypes.c_void_p()
        with driver.primary_context(device.ordinal):
            self.lib.cublasLtCreate(ctypes.byref(made))
        super().__init__(made.value or 0, self.lib.cublasLtDestroy, device=device.ordinal)
        self.gpu = device

    def enter(self) -> int:
        """The C handle, with its device made current. Raises UnusableResource when closed."""
        self.gpu.enter()
        return self.handle


def heuristics_cached() -> int:
    """How many answers of the heuristics this process keeps (cublasLtHeuristicsCacheGetCapacity)."""
    capacity = ctypes.c_size_t()
    load("cublaslt").cublasLtHeuristicsCacheGetCapacity(ctypes.byref(capacity))
    return capacity.value


def keep_heuristics(capacity: int) -> None:
    """Keep so many answers of the heuristics, rounded up, or 0 for none (cublasLtHeuristicsCacheSetCapacity)."""
    if capacity < 0:
        raise ValueError(f"a cache of {capacity} answers")
    load("cublaslt").cublasLtHeuristicsCacheSetCapacity(capacity)
