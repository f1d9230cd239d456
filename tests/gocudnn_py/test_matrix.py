"""Matrices in row-major terms, what cuBLASLt is told of them, and files that may be lost; no GPU."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gocudnn_py import disk
from gocudnn_py._abi.cublas import ComputeType, Operation
from gocudnn_py._abi.cublaslt import Epilogue, MatmulDescAttributes
from gocudnn_py._abi.cuda import CudaDataType
from gocudnn_py.matrix import Matrix, compute_type, product_sizes


def test_a_transpose_moves_nothing() -> None:
    a = Matrix(4096, 3, 5, "float16", pitch=8)
    assert (a.shape, a.T.shape, a.T.T) == ((3, 5), (5, 3), a)
    assert (a.operation, a.T.operation) == (Operation.N, Operation.T)
    assert str(a.T) == "R_16F[5x3]"
    assert a.T.address == 4096


@pytest.mark.parametrize(
    ("rows", "columns", "pitch", "words"),
    [(0, 3, 0, "0 x 3"), (3, 5, 4, "rows of 5 elements cannot lie 4 apart"), (2**31, 1, 0, "2147483648 x 1")],
)
def test_matrices_that_cannot_be(rows: int, columns: int, pitch: int, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Matrix(0, rows, columns, pitch=pitch)


def test_products_are_checked() -> None:
    a, b, c = Matrix(0, 3, 5), Matrix(0, 5, 7), Matrix(0, 3, 7)
    assert product_sizes("gemm", a, b, c) == (3, 5, 7)
    assert product_sizes("gemm", a, Matrix(0, 7, 5).T, c) == (3, 5, 7)
    with pytest.raises(ValueError, match=r"gemm: R_32F\[3x5\] times R_32F\[7x5\] does not give R_32F\[3x7\]"):
        product_sizes("gemm", a, b.T, c)
    with pytest.raises(TypeError, match="different types"):
        product_sizes("gemm", a, Matrix(0, 5, 7, np.float16), c)
    with pytest.raises(ValueError, match="transposed product"):
        product_sizes("gemm", a, b, Matrix(0, 7, 3).T)


def test_float32_is_rounded_only_when_asked() -> None:
    assert compute_type(CudaDataType.R_32F, "fma") is ComputeType.COMPUTE_32F
    assert compute_type(CudaDataType.R_32F, "tf32") is ComputeType.COMPUTE_32F_FAST_TF32
    assert compute_type(CudaDataType.R_16F, "tf32") is ComputeType.COMPUTE_32F
    assert compute_type(CudaDataType.R_64F, "fma") is ComputeType.COMPUTE_64F
    with pytest.raises(ValueError, match="'fast' is neither of fma, tf32"):
        compute_type(CudaDataType.R_32F, "fast")


def test_cublaslt_keeps_what_it_is_told(cublaslt: Any) -> None:
    from gocudnn_py.cublaslt import MatmulDescriptor, MatrixLayout

    descriptor = MatmulDescriptor(ComputeType.COMPUTE_32F, CudaDataType.R_32F)
    address = 2**40 + 256
    for attribute, cell in (
        (MatmulDescAttributes.TRANSA, ctypes.c_int32(Operation.T)),
        (MatmulDescAttributes.EPILOGUE, ctypes.c_int32(Epilogue.RELU_BIAS)),
        (MatmulDescAttributes.BIAS_POINTER, ctypes.c_uint64(address)),
    ):
        descriptor.set(attribute, cell)
    assert descriptor.get(MatmulDescAttributes.TRANSA, ctypes.c_int32()) == Operation.T
    assert descriptor.get(MatmulDescAttributes.EPILOGUE, ctypes.c_int32()) == Epilogue.RELU_BIAS
    assert descriptor.get(MatmulDescAttributes.BIAS_POINTER, ctypes.c_uint64()) == address
    with MatrixLayout(Matrix(0, 3, 5, "bfloat16")) as layout:
        assert layout.handle
    with pytest.raises(Exception, match="INVALID_VALUE"):
        descriptor.set(MatmulDescAttributes.TRANSA, ctypes.c_int8(1))


def test_a_kept_file_comes_back_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOCUDNN_CACHE", str(tmp_path))
    path = disk.cache_folder("plans") / disk.key("a", 1)
    assert path.parent == tmp_path / "plans"
    assert disk.read(path) is None
    disk.write(path, b"content")
    assert disk.read(path) == b"content"
    for spoiled in (b"", path.read_bytes()[:-1], b"x" + path.read_bytes()[1:]):
        path.write_bytes(spoiled)
        assert disk.read(path) is None
    assert disk.key("a", 1) != disk.key("a", 2)
    disk.write(Path("/proc/nowhere/file"), b"costs only time")
