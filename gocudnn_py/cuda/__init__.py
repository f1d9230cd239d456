"""Devices, streams, memory, kernels and CUDA graphs: thin over the driver and cuda.core.

Importing loads nothing; the first `Device` does.
"""

from __future__ import annotations

from .adopt import AdoptedBuffer, adopt
from .copies import Box, copy, copy_box
from .device import Device
from .event import Event
from .graph import CapturedGraph, capture
from .host import ManagedBuffer, PinnedBuffer
from .ipc import SharedMemory, open_shared, share
from .kernel import Attributes, Kernel, Module
from .launch import Launch, Shape
from .linking import link
from .memory import DeviceBuffer
from .nodes import Node
from .parameters import Parameter, Scalar
from .pitched import PitchedBuffer, pitched_like
from .pointers import PointerInfo, pointer_info, require_device_pointer
from .pool import Pool, Usage
from .program import Code, compile_source
from .recording import SET_CONDITIONAL, Condition, Recording, RecordingStream, record
from .stream import Stream
from .worker import Worker

__all__ = [
    "SET_CONDITIONAL",
    "AdoptedBuffer",
    "Attributes",
    "Box",
    "CapturedGraph",
    "Code",
    "Condition",
    "Device",
    "DeviceBuffer",
    "Event",
    "Kernel",
    "Launch",
    "ManagedBuffer",
    "Module",
    "Node",
    "Parameter",
    "PinnedBuffer",
    "PitchedBuffer",
    "PointerInfo",
    "Pool",
    "Recording",
    "RecordingStream",
    "Scalar",
    "Shape",
    "SharedMemory",
    "Stream",
    "Usage",
    "Worker",
    "adopt",
    "capture",
    "compile_source",
    "copy",
    "copy_box",
    "link",
    "open_shared",
    "pitched_like",
    "pointer_info",
    "record",
    "require_device_pointer",
    "share",
]
