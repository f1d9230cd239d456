"""Arrays on the card with their cuDNN descriptors, for tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gocudnn_py.cuda import DeviceBuffer
from gocudnn_py.cudnn import FilterDescriptor, TensorDescriptor, TensorFormat
from gocudnn_py.cudnn.descriptor import Operand
from gocudnn_py.dtypes import numpy_dtype

if TYPE_CHECKING:
    from gocunets.backends.cudnn import CudaBackend

Array = np.ndarray[Any, Any]
NCHW, NHWC = TensorFormat.NCHW, TensorFormat.NHWC


class Card:
    """Puts arrays on the card and reads them back, in any type and layout."""

    def __init__(self, backend: CudaBackend) -> None:
        self.stream = backend.stream

    def put(
        self, array: Array, filter: bool = False, *, dtype: Any = np.float32, format: TensorFormat = NCHW
    ) -> Operand:
        """An array (N, C, *spatial), laid out as `format` says."""
        stored = np.moveaxis(array, 1, -1) if format == NHWC else array
        made: Any = FilterDescriptor() if filter else TensorDescriptor()
        operand: Operand = made.set(dtype, array.shape, format).at(self.row(stored, dtype))
        return operand

    def row(self, array: Array, dtype: Any = np.float32) -> DeviceBuffer:
        """The same without a descriptor, as it lies in memory."""
        content = np.ascontiguousarray(array, numpy_dtype(dtype))
        buffer = DeviceBuffer(self.stream, content.nbytes)
        buffer.upload(content)
        return buffer

    def empty(self, shape: tuple[int, ...], filter: bool = False, **how: Any) -> Operand:
        """Room for an array; NaN until it is written."""
        return self.put(np.full(shape, np.nan), filter, **how)

    def scratch(self, nbytes: int) -> DeviceBuffer:
        """Room for a number of bytes."""
        return DeviceBuffer(self.stream, nbytes)

    def get(self, operand: Operand) -> Array:
        """An array (N, C, *spatial) of float64."""
        spec: Any = operand.descriptor.get()  # type: ignore[attr-defined]
        strides = getattr(spec, "strides", None)
        last = spec.format == NHWC if strides is None else len(spec.dims) > 2 and strides[1] == 1 != spec.dims[1]
        shape = (spec.dims[0], *spec.dims[2:], spec.dims[1]) if last else spec.dims
        found = self.read(operand.place, shape, spec.dtype)
        return np.moveaxis(found, -1, 1) if last else found

    def read(self, buffer: DeviceBuffer, shape: tuple[int, ...], dtype: Any = np.float32) -> Array:
        """An array of float64 from a buffer."""
        found: Array = buffer.download(np.empty(shape, numpy_dtype(dtype))).astype(np.float64)
        return found


def numbers(*shape: int, seed: int = 0, dtype: Any = np.float32) -> Array:
    """Normal numbers of float64 that `dtype` holds exactly."""
    drawn = np.random.default_rng(seed).standard_normal(shape)
    exact: Array = drawn.astype(numpy_dtype(dtype)).astype(np.float64)
    return exact
