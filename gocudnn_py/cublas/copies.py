"""Copies between arrays of the host and vectors or matrices whose elements or rows lie apart.

What lies in one piece a DeviceBuffer copies itself.
"""

from __future__ import annotations

from gocudnn_py.cublas.handle import Array, Handle
from gocudnn_py.dtypes import numpy_dtype
from gocudnn_py.matrix import Matrix, Vector, lies_plain


def upload(handle: Handle, array: Array, target: Vector | Matrix) -> None:
    """Copy an array to the device; returns when the array may change.

    (cublasSetVectorAsync, cublasSetMatrixAsync.)
    """
    extent, pitch, place = _fit("upload", array, target)
    name = "cublasSetVectorAsync" if isinstance(target, Vector) else "cublasSetMatrixAsync"
    _copy(handle, name, target, extent, (array.ctypes.data, pitch, *place))


def download(handle: Handle, source: Vector | Matrix, array: Array) -> Array:
    """Fill an array from the device, after what the stream has to do.

    (cublasGetVectorAsync, cublasGetMatrixAsync.)
    """
    extent, pitch, place = _fit("download", array, source)
    if not array.flags.writeable:
        raise ValueError("download needs an array that can be written")
    name = "cublasGetVectorAsync" if isinstance(source, Vector) else "cublasGetMatrixAsync"
    _copy(handle, name, source, extent, (*place, array.ctypes.data, pitch))
    return array


def _copy(
    handle: Handle, name: str, there: Vector | Matrix, extent: tuple[int, ...], places: tuple[int, int, int, int]
) -> None:
    handle.hold(name, there)
    if getattr(handle.stream, "capturing", False):
        raise ValueError(f"{name}: a capture cannot wait for a copy of the host's memory")
    handle.call(name, *extent, *places, handle.stream.handle)
    handle.stream.synchronize()


def _fit(what: str, array: Array, there: Vector | Matrix) -> tuple[tuple[int, ...], int, tuple[int, int]]:
    """Extents as the library reads them with the size of an element, the array's pitch, and the place and its pitch.

    Raises TypeError for another type, ValueError for another shape or elements that the library cannot step over.
    """
    if array.dtype != numpy_dtype(there.code):
        raise TypeError(f"{what}: an array of {array.dtype.name} for {there}")
    lies_plain(what, **({"matrix": there} if isinstance(there, Matrix) else {}))
    shape = there.shape if isinstance(there, Matrix) else (there.size,)
    place = there.address, there.pitch if isinstance(there, Matrix) else there.stride
    steps = (*array.strides, array.itemsize)[:2]
    apart, rest = divmod(steps[0], array.itemsize)
    run = shape[1] if len(shape) > 1 else 1
    if array.shape != shape or rest or steps[1] != array.itemsize or apart < run or place[1] < 1:
        raise ValueError(f"{what}: an array {array.shape} with strides {array.strides} bytes, for {there}")
    return (*shape[::-1], array.itemsize), apart, place
