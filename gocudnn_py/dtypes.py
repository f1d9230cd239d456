"""NumPy's data types and the libraries' own, both ways, and the alpha and beta scalars that go with them."""

from __future__ import annotations

import ctypes
import functools
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from gocudnn_py._abi.cuda import CudaDataType
from gocudnn_py._abi.cudnn import DataType

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

DType: TypeAlias = "DTypeLike | DataType"

# One row a type: NumPy's (or ml_dtypes') name, cuDNN's, CUDA's. cuDNN's BOOLEAN, 8 to a byte, has no row.
TABLE: tuple[tuple[str, DataType | None, CudaDataType | None], ...] = (
    ("float32", DataType.FLOAT, CudaDataType.R_32F),
    ("float64", DataType.DOUBLE, CudaDataType.R_64F),
    ("float16", DataType.HALF, CudaDataType.R_16F),
    ("bfloat16", DataType.BFLOAT16, CudaDataType.R_16BF),
    ("float8_e4m3fn", DataType.FP8_E4M3, CudaDataType.R_8F_E4M3),
    ("float8_e5m2", DataType.FP8_E5M2, CudaDataType.R_8F_E5M2),
    ("float8_e8m0fnu", DataType.FP8_E8M0, CudaDataType.R_8F_UE8M0),
    ("float4_e2m1fn", DataType.FP4_E2M1, CudaDataType.R_4F_E2M1),
    ("int4", DataType.INT4, CudaDataType.R_4I),
    ("uint4", DataType.UINT4, CudaDataType.R_4U),
    ("int8", DataType.INT8, CudaDataType.R_8I),
    ("uint8", DataType.UINT8, CudaDataType.R_8U),
    ("int16", None, CudaDataType.R_16I),
    ("uint16", None, CudaDataType.R_16U),
    ("int32", DataType.INT32, CudaDataType.R_32I),
    ("uint32", DataType.UINT32, CudaDataType.R_32U),
    ("int64", DataType.INT64, CudaDataType.R_64I),
    ("uint64", None, CudaDataType.R_64U),
    ("complex64", DataType.COMPLEX_FP32, CudaDataType.C_32F),
    ("complex128", DataType.COMPLEX_FP64, CudaDataType.C_64F),
    ("bool", DataType.BYTE_BOOLEAN, None),
)
TO_CUDNN = {name: cudnn for name, cudnn, _ in TABLE if cudnn is not None}
TO_CUDA = {name: cuda for name, _, cuda in TABLE if cuda is not None}
FROM_CUDNN = {cudnn: name for name, cudnn in TO_CUDNN.items()}
FROM_CUDA = {cuda: name for name, cuda in TO_CUDA.items()}


def cudnn_dtype(dtype: DType) -> DataType:
    """The cuDNN type of anything that NumPy or ml_dtypes takes for a type; a DataType stays as it is."""
    if isinstance(dtype, DataType):
        return dtype
    name = numpy_dtype(dtype).name
    if name not in TO_CUDNN:
        raise ValueError(f"cuDNN has no data type for {name}; it has {', '.join(TO_CUDNN)}")
    return TO_CUDNN[name]


def cuda_dtype(dtype: DTypeLike | CudaDataType) -> CudaDataType:
    """The CUDA type (of cuBLAS and cuBLASLt) of anything that NumPy or ml_dtypes takes for a type."""
    if isinstance(dtype, CudaDataType):
        return dtype
    name = numpy_dtype(dtype).name
    if name not in TO_CUDA:
        raise ValueError(f"CUDA's libraries have no data type for {name}; they have {', '.join(TO_CUDA)}")
    return TO_CUDA[name]


def numpy_dtype(dtype: DTypeLike | DataType | CudaDataType) -> np.dtype[Any]:
    """The NumPy type; bfloat16 and the narrow floats are ml_dtypes', which must be installed for them."""
    if isinstance(dtype, DataType):
        return _by_name(_name_of(dtype, FROM_CUDNN))
    if isinstance(dtype, CudaDataType):
        return _by_name(_name_of(dtype, FROM_CUDA))
    return _by_name(dtype)


def _name_of(dtype: Any, names: dict[Any, str]) -> str:
    if dtype not in names:
        raise ValueError(f"NumPy has no data type for {type(dtype).__name__}.{dtype.name}")
    return names[dtype]


def _by_name(dtype: DTypeLike) -> np.dtype[Any]:
    if dtype is None:  # float64 to NumPy, a mistake here
        raise TypeError("None is no data type")
    try:
        return np.dtype(dtype)
    except TypeError:
        if not isinstance(dtype, str):
            raise
        module: Any = import_module("ml_dtypes")
        if not hasattr(module, dtype):
            raise TypeError(f"{dtype!r} is no data type of NumPy or ml_dtypes") from None
        narrow: np.dtype[Any] = np.dtype(getattr(module, dtype))
        return narrow


@functools.lru_cache(maxsize=256)
def scalar(value: float, dtype: DType) -> Any:
    """An alpha or beta for tensors of a type, ready to pass: a double for float64, a float for all else.

    The object is shared between calls with the same value: making one costs as much as the call it is for.
    """
    kind = ctypes.c_double if cudnn_dtype(dtype) is DataType.DOUBLE else ctypes.c_float
    return ctypes.byref(kind(value))
