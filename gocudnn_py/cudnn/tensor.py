"""Tensor descriptors: type, dimensions and strides of data."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from gocudnn_py._abi.cudnn import DataType, TensorFormat
from gocudnn_py.cudnn.descriptor import (
    MAX_RANK,
    DataDescriptor,
    check_rank,
    int32s,
    int_array,
    ints,
    same_rank,
    size_of,
)
from gocudnn_py.dtypes import DType, cudnn_dtype


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """What a tensor descriptor holds; strides count elements."""

    dtype: DataType
    dims: tuple[int, ...]
    strides: tuple[int, ...]


class TensorDescriptor(DataDescriptor):
    """A tensor's type, dimensions (N, C, *spatial, whatever the layout) and strides."""

    kind = "Tensor"

    def set(self, dtype: DType, dims: Sequence[int], format: TensorFormat = TensorFormat.NCHW) -> Self:
        """Describe a packed tensor of 2 to 8 dimensions; NHWC and NCHW_VECT_C need a spatial one.

        cudnnSetTensor4dDescriptor, and for other ranks cudnnSetTensorNdDescriptorEx.
        """
        dims = int32s("dims", dims, least=1)
        # With NHWC and no spatial dimension, cuDNN 9.19 leaves the first stride uninitialised.
        check_rank(f"a {TensorFormat(format).name} tensor", len(dims), 2 if format == TensorFormat.NCHW else 3)
        self.dtype = code = cudnn_dtype(dtype)
        if len(dims) == 4:
            self.lib.cudnnSetTensor4dDescriptor(self.handle, format, code, *dims)
        else:
            self.lib.cudnnSetTensorNdDescriptorEx(self.handle, format, code, len(dims), int_array(dims))
        return self

    def set_strided(self, dtype: DType, dims: Sequence[int], strides: Sequence[int]) -> Self:
        """Describe a tensor of 2 to 8 dimensions by strides in elements.

        cudnnSetTensor4dDescriptorEx, and for other ranks cudnnSetTensorNdDescriptor.
        """
        dims, strides = int32s("dims", dims, least=1), int32s("strides", strides)
        same_rank("tensor", dims=dims, strides=strides)
        check_rank("a tensor", len(dims), 2)
        self.dtype = code = cudnn_dtype(dtype)
        if len(dims) == 4:
            self.lib.cudnnSetTensor4dDescriptorEx(self.handle, code, *dims, *strides)
        else:
            arrays = int_array(dims), int_array(strides)
            self.lib.cudnnSetTensorNdDescriptor(self.handle, code, len(dims), *arrays)
        return self

    def get(self) -> TensorSpec:
        """Read back type, dimensions and strides (cudnnGetTensorNdDescriptor)."""
        code, rank = ctypes.c_int(), ctypes.c_int()
        dims, strides = int_array([0] * MAX_RANK), int_array([0] * MAX_RANK)
        out = ctypes.byref(code), ctypes.byref(rank)
        self.lib.cudnnGetTensorNdDescriptor(self.handle, MAX_RANK, *out, dims, strides)
        return TensorSpec(DataType(code.value), tuple(dims[: rank.value]), tuple(strides[: rank.value]))

    def get_4d(self) -> TensorSpec:
        """The same of four dimensions (cudnnGetTensor4dDescriptor)."""
        code, *numbers = ints(9, self.lib.cudnnGetTensor4dDescriptor, self.handle)
        return TensorSpec(DataType(code), tuple(numbers[:4]), tuple(numbers[4:]))

    @property
    def size_in_bytes(self) -> int:
        """The bytes from the first to past the last element (cudnnGetTensorSizeInBytes)."""
        return size_of(self.lib.cudnnGetTensorSizeInBytes, self.handle)

    def _describe(self) -> str:
        spec = self.get()
        return f"{spec.dtype.name}, {spec.dims}, strides={spec.strides}" if spec.dims else "not set"
