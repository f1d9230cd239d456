"""NumPy's types and the libraries', both ways, and the scalars."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import pytest

from gocudnn_py._abi.cuda import CudaDataType
from gocudnn_py._abi.cudnn import DataType
from gocudnn_py.dtypes import TABLE, cuda_dtype, cudnn_dtype, numpy_dtype, scalar

ml_dtypes = pytest.importorskip("ml_dtypes")


@pytest.mark.parametrize("row", TABLE, ids=[row[0] for row in TABLE])
def test_round_trip(row: tuple[str, DataType | None, CudaDataType | None]) -> None:
    name, cudnn, cuda = row
    dtype = numpy_dtype(name)
    assert dtype.name == name
    if cudnn is not None:
        assert cudnn_dtype(dtype) is cudnn
        assert numpy_dtype(cudnn) == dtype
    if cuda is not None:
        assert cuda_dtype(dtype) is cuda
        assert numpy_dtype(cuda) == dtype


@pytest.mark.parametrize("given", ["bfloat16", ml_dtypes.bfloat16, np.dtype(ml_dtypes.bfloat16), DataType.BFLOAT16])
def test_every_spelling_of_a_type(given: Any) -> None:
    assert cudnn_dtype(given) is DataType.BFLOAT16


@pytest.mark.parametrize(("dtype", "error"), [("uint64", ValueError), ("nonsense", TypeError), (None, TypeError)])
def test_types_cudnn_does_not_have(dtype: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        cudnn_dtype(dtype)


def test_types_numpy_does_not_have() -> None:
    with pytest.raises(ValueError, match=r"DataType\.INT8x4"):
        numpy_dtype(DataType.INT8x4)
    with pytest.raises(ValueError, match=r"CudaDataType\.C_8I"):
        numpy_dtype(CudaDataType.C_8I)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "int8"])
def test_scalars_are_floats(dtype: str) -> None:
    assert scalar(0.5, dtype)._obj.value == 0.5
    assert isinstance(scalar(0.5, dtype)._obj, ctypes.c_float)


def test_scalars_of_double_are_doubles() -> None:
    assert isinstance(scalar(0.1, np.float64)._obj, ctypes.c_double)
    assert scalar(0.1, np.float64)._obj.value == 0.1


def test_scalars_are_made_once() -> None:
    assert scalar(1.0, np.dtype("float32")) is scalar(1.0, np.dtype("float32"))
