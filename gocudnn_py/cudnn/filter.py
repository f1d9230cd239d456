"""Filter descriptors: type, layout and dimensions of a convolution's weights."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from gocudnn_py._abi.cudnn import DataType, ReorderType, TensorFormat
from gocudnn_py.cudnn.descriptor import MAX_RANK, DataDescriptor, check_rank, int32s, int_array, ints, size_of
from gocudnn_py.cudnn.handle import Handle
from gocudnn_py.cudnn.place import FLOAT_SIZE, within
from gocudnn_py.dtypes import DType, cudnn_dtype


@dataclass(frozen=True, slots=True)
class FilterSpec:
    """What a filter descriptor holds."""

    dtype: DataType
    dims: tuple[int, ...]
    format: TensorFormat


class FilterDescriptor(DataDescriptor):
    """A filter's type and dimensions (K, C / groups, *kernel, whatever the layout)."""

    kind = "Filter"

    def set(self, dtype: DType, dims: Sequence[int], format: TensorFormat = TensorFormat.NCHW) -> Self:
        """Describe a packed filter of 3 to 8 dimensions; NCHW means K,C,R,S in memory, NHWC K,R,S,C.

        cudnnSetFilter4dDescriptor, for other ranks cudnnSetFilterNdDescriptor.
        """
        dims = int32s("dims", dims, least=1)
        check_rank("a filter", len(dims), 3)
        self.dtype = cudnn_dtype(dtype)
        if len(dims) == 4:
            self.lib.cudnnSetFilter4dDescriptor(self.handle, self.dtype, format, *dims)
        else:
            self.lib.cudnnSetFilterNdDescriptor(self.handle, self.dtype, format, len(dims), int_array(dims))
        return self

    def get(self) -> FilterSpec:
        """Read back type, dimensions and layout (cudnnGetFilterNdDescriptor)."""
        code, layout, rank = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
        dims = int_array([0] * MAX_RANK)
        out = ctypes.byref(code), ctypes.byref(layout), ctypes.byref(rank)
        self.lib.cudnnGetFilterNdDescriptor(self.handle, MAX_RANK, *out, dims)
        return FilterSpec(DataType(code.value), tuple(dims[: rank.value]), TensorFormat(layout.value))

    def get_4d(self) -> FilterSpec:
        """The same of four dimensions (cudnnGetFilter4dDescriptor)."""
        code, layout, *dims = ints(6, self.lib.cudnnGetFilter4dDescriptor, self.handle)
        return FilterSpec(DataType(code), tuple(dims), TensorFormat(layout))

    @property
    def size_in_bytes(self) -> int:
        """The bytes the filter takes (cudnnGetFilterSizeInBytes)."""
        return size_of(self.lib.cudnnGetFilterSizeInBytes, self.handle)

    def reorder(
        self,
        handle: Handle,
        w: Any,
        to: Any,
        *,
        bias: tuple[Any, Any] | None = None,
        reorder: ReorderType = ReorderType.DEFAULT_REORDER,
    ) -> None:
        """Reorder an int8 filter of vectors of 32 channels, and (bias, its result) of K float32, for tensor cores.

        A convolution descriptor with NO_REORDER then takes it as it is (cudnnReorderFilterAndBias).
        """
        nbytes = self.size_in_bytes
        filters = within("w", w, nbytes), within("to", to, nbytes)
        biases = [within("bias", each, FLOAT_SIZE * self.get().dims[0]) for each in bias or (None, None)]
        places = *filters, int(bias is not None), *biases
        self.lib.cudnnReorderFilterAndBias(handle.handle, self.handle, reorder, *places)

    def _describe(self) -> str:
        spec = self.get()
        return f"{spec.dtype.name}, {spec.dims}, {spec.format.name}" if spec.dims else "not set"
