"""Filter descriptors: type, layout and dimensions of a convolution's weights."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from gocudnn_py._abi.cudnn import DataType, TensorFormat
from gocudnn_py.cudnn.descriptor import MAX_RANK, DataDescriptor, check_rank, int32s, int_array
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

        cudnnSetFilterNdDescriptor.
        """
        dims = int32s("dims", dims, least=1)
        check_rank("a filter", len(dims), 3)
        self.dtype = cudnn_dtype(dtype)
        self.lib.cudnnSetFilterNdDescriptor(self.handle, self.dtype, format, len(dims), int_array(dims))
        return self

    def get(self) -> FilterSpec:
        """Read back type, dimensions and layout (cudnnGetFilterNdDescriptor)."""
        code, layout, rank = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
        dims = int_array([0] * MAX_RANK)
        out = ctypes.byref(code), ctypes.byref(layout), ctypes.byref(rank)
        self.lib.cudnnGetFilterNdDescriptor(self.handle, MAX_RANK, *out, dims)
        return FilterSpec(DataType(code.value), tuple(dims[: rank.value]), TensorFormat(layout.value))

    @property
    def size_in_bytes(self) -> int:
        """The bytes the filter takes (cudnnGetFilterSizeInBytes)."""
        size = ctypes.c_size_t()
        self.lib.cudnnGetFilterSizeInBytes(self.handle, ctypes.byref(size))
        return size.value

    def _describe(self) -> str:
        spec = self.get()
        return f"{spec.dtype.name}, {spec.dims}, {spec.format.name}" if spec.dims else "not set"
