"""Devices, streams, memory, kernels and CUDA graphs: thin over cuda.core, adding only what it lacks.

Importing loads nothing; the first `Device` does.
"""

from __future__ import annotations

from .device import Device, Event, Stream
from .graph import CapturedGraph, capture
from .kernel import Kernel, Launch, Module, Scalar
from .memory import DeviceBuffer, ManagedBuffer, PinnedBuffer

__all__ = [
    "CapturedGraph",
    "Device",
    "DeviceBuffer",
    "Event",
    "Kernel",
    "Launch",
    "ManagedBuffer",
    "Module",
    "PinnedBuffer",
    "Scalar",
    "Stream",
    "capture",
]
