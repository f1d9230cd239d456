"""NPP's stream context: a stream and its device's numbers, which every function takes by value."""

from __future__ import annotations

import ctypes
from weakref import WeakKeyDictionary

from gocudnn_py import driver
from gocudnn_py._abi.npp import NppLibraryVersion, NppStreamContext
from gocudnn_py.cuda import Stream
from gocudnn_py.library import load

DEVICE_FIELDS = {
    "nMultiProcessorCount": 16,  # CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT
    "nMaxThreadsPerMultiProcessor": 39,  # CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR
    "nMaxThreadsPerBlock": 1,  # CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK
    "nSharedMemPerBlock": 8,  # CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK
    "nCudaDevAttrComputeCapabilityMajor": driver.MAJOR_ATTRIBUTE,
    "nCudaDevAttrComputeCapabilityMinor": driver.MINOR_ATTRIBUTE,
}
NON_BLOCKING = 1  # CU_STREAM_NON_BLOCKING
_contexts: WeakKeyDictionary[Stream, NppStreamContext] = WeakKeyDictionary()


def stream_context(stream: Stream) -> NppStreamContext:
    """What NPP has to know of a stream, made once for each (cuDeviceGetAttribute, cuStreamGetFlags).

    NPP's own function for it is gone since CUDA 12.9.
    """
    context = _contexts.get(stream)
    if context is None:
        context = _contexts[stream] = _made(stream)
    return context


def _made(stream: Stream) -> NppStreamContext:
    ordinal, flags = stream.device.ordinal, ctypes.c_uint(NON_BLOCKING)
    if not stream.capturing:  # a recording may not be asked, and is of a stream that does not block
        with driver.primary_context(ordinal):
            driver.call("cuStreamGetFlags", stream.cell, ctypes.byref(flags))
    numbers = {field: driver.attribute(ordinal, which) for field, which in DEVICE_FIELDS.items()}
    # hWorkspace stays 0, none: it was reserved before NPP 13.2.
    return NppStreamContext(hStream=stream.handle, nCudaDeviceId=ordinal, nStreamFlags=flags.value, **numbers)


def library_version() -> tuple[int, int, int]:
    """NPP's own version, (major, minor, build) (nppGetLibVersion)."""
    found = NppLibraryVersion.from_address(load("npp").nppGetLibVersion() or 0)
    return found.major, found.minor, found.build
