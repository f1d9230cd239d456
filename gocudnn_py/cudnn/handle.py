"""cuDNN's handle: one for each thread, device and stream."""

from __future__ import annotations

import ctypes
import threading
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from gocudnn_py import driver
from gocudnn_py._abi.cudnn import ErrQueryMode, Status
from gocudnn_py.errors import NoDevice, SetupFailed
from gocudnn_py.library import load
from gocudnn_py.resource import Resource


class Handle(Resource):
    """cuDNN on one device and stream (cudnnCreate, cudnnDestroy, cudnnSetStream).

    `stream` is None for the default stream, a pointer, or anything with `__cuda_stream__`. It is held, for a
    destroyed stream's pointer may be given out again, and changed only by `use`, for that costs 2.5 us.

    One thread at a time may use it; `current_handle` gives each its own. Raises NoDevice when there is no GPU,
    ValueError for a stream of another.
    """

    _used: object = None

    def __init__(self, device: int = 0, stream: object = None) -> None:
        self.lib = lib = load("cudnn")
        _check_device(device, stream)
        made = ctypes.c_void_p()
        with _context(device):
            try:
                lib.cudnnCreate(ctypes.byref(made))
            except SetupFailed as error:
                if error.status != Status.NOT_INITIALIZED:
                    raise
                raise NoDevice(f"cuDNN finds no usable GPU: {error}") from error
            super().__init__(made.value or 0, lib.cudnnDestroy, stream, device=device)
            self.stream = stream_pointer(stream)
            if self.stream:
                lib.cudnnSetStream(self.handle, self.stream)

    def use(self, stream: object) -> None:
        """Work on another stream from now on, one of a capture say, and hold it (cudnnSetStream)."""
        pointer = stream_pointer(stream)
        if pointer != self.stream:
            _check_device(self.device or 0, stream)
            self.lib.cudnnSetStream(self.handle, pointer)
            self.stream = pointer
        self._used = stream  # another object may own an equal pointer

    def library_stream(self) -> int:
        """The stream's pointer as cuDNN has it (cudnnGetStream)."""
        pointer = ctypes.c_void_p()
        self.lib.cudnnGetStream(self.handle, ctypes.byref(pointer))
        return pointer.value or 0

    def runtime_error(self, mode: ErrQueryMode = ErrQueryMode.BLOCKING) -> int:
        """The status that kernels left which found something wrong as they ran, 0 for none (cudnnQueryRuntimeError).

        BLOCKING waits for the stream; SPATIAL_PERSISTENT batch normalisation, for one, reports overflows so.
        """
        status = ctypes.c_int()
        self.lib.cudnnQueryRuntimeError(self.handle, ctypes.byref(status), mode, None)
        return status.value

    def __repr__(self) -> str:
        return f"Handle(device={self.device}, stream={self.stream:#x}{'' if self.usable else ', unusable'})"


def _context(device: int) -> AbstractContextManager[None]:
    try:
        driver.library()
    except NoDevice:
        return nullcontext()  # cuDNN is asked all the same, and says what is wrong in its own words
    return driver.primary_context(device)


def _check_device(device: int, stream: object) -> None:
    ordinal = getattr(getattr(stream, "device", None), "ordinal", device)
    if ordinal != device:
        raise ValueError(f"{stream} belongs to GPU {ordinal}, the handle to GPU {device}")


def stream_pointer(stream: object) -> int:
    """The pointer of a stream given as None, an int or an object with `__cuda_stream__`."""
    if stream is None or isinstance(stream, int):
        return stream or 0
    protocol: Any = getattr(stream, "__cuda_stream__", None)
    if protocol is None:
        raise TypeError(f"a stream is None, a pointer or has __cuda_stream__; {type(stream).__name__} is not")
    return int(protocol()[1])


_mine = threading.local()


def current_handle(device: int = 0, stream: object = None) -> Handle:
    """The calling thread's handle for a device and stream, made at the first call."""
    handles: dict[tuple[int, int], Handle] = _mine.__dict__.setdefault("handles", {})
    key = device, stream_pointer(stream)
    if key not in handles or handles[key].closed:
        handles[key] = Handle(device, stream)
    return handles[key]
