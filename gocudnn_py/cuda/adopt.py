"""Memory of other libraries, seen here as a buffer."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gocudnn_py.cuda import owners
from gocudnn_py.cuda.memory import DeviceBuffer
from gocudnn_py.cuda.pointers import pointer_info
from gocudnn_py.cuda.stream import Stream

GPU_REACHES = (2, 3, 13)  # kDLCUDA, kDLCUDAHost, kDLCUDAManaged


class AdoptedBuffer(DeviceBuffer):
    """Memory of another library's array, which is held until it is closed and the streams that used it are done.

    `shape`, `dtype` and `readonly` are the array's.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]


def adopt(stream: Stream, foreign: object) -> AdoptedBuffer:
    """The memory of anything with `__dlpack__` or `__cuda_array_interface__`, without a copy.

    Work given to `stream` from now on waits for what its owner has given to its own. Raises TypeError for other
    objects, ValueError for memory that is not contiguous, not the GPU's of the stream, or of masked arrays
    (cuPointerGetAttributes, cuEventRecord, cuStreamWaitEvent, cuStreamSynchronize).
    """
    if not hasattr(foreign, "__dlpack__") and not hasattr(foreign, "__cuda_array_interface__"):
        raise TypeError(f"{type(foreign).__name__} has neither __dlpack__ nor __cuda_array_interface__")
    stream.device.enter()
    _check_place(stream, foreign)
    view = _viewed(stream, foreign)
    shape, dtype = tuple(view.shape), np.dtype(view.dtype)
    if not _contiguous(shape, view.strides):
        raise ValueError(f"memory of shape {shape} with strides {tuple(view.strides)} is not contiguous")
    nbytes = math.prod(shape) * dtype.itemsize
    if nbytes:
        _check_device(stream, view.ptr)
    owner = owners.Allocation(stream, view.ptr, owners.finish, view, foreign)
    buffer = AdoptedBuffer.over(stream, nbytes, owner)
    buffer.shape, buffer.dtype, buffer.readonly = shape, dtype, bool(view.readonly)
    return buffer


def _check_place(stream: Stream, foreign: Any) -> None:
    """Before cuda.core looks at it, which says less of what is wrong."""
    if not hasattr(foreign, "__dlpack_device__"):
        address = foreign.__cuda_array_interface__["data"][0]
        if address:
            _check_device(stream, address)
    elif (kind := int(foreign.__dlpack_device__()[0])) not in GPU_REACHES:
        raise ValueError(f"{type(foreign).__name__} of DLPack device type {kind} is no memory that a GPU reaches")


def _viewed(stream: Stream, foreign: object) -> Any:
    from cuda.core.utils import StridedMemoryView

    try:
        return StridedMemoryView.from_any_interface(foreign, stream_ptr=stream.handle)
    except BufferError as error:
        raise ValueError(f"{type(foreign).__name__} cannot be adopted: {error}") from error


def _contiguous(shape: tuple[int, ...], strides: tuple[int, ...] | None) -> bool:
    """Whether elements follow one another in row-major order; strides count elements."""
    if strides is None or 0 in shape:
        return True
    wanted = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
    return all(n == 1 or have == want for n, have, want in zip(shape, strides, wanted, strict=True))


def _check_device(stream: Stream, address: int) -> None:
    info = pointer_info(address)
    if info.kind == "unknown":
        raise ValueError(f"{address:#x} is no memory that a GPU reaches")
    if info.kind == "device" and info.device != stream.device.ordinal:
        raise ValueError(f"memory of GPU {info.device}, adopted on {stream}")
