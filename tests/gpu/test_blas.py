"""cuBLAS and cuBLASLt on the card, against NumPy in float64."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from gocudnn_py import cublas, cublaslt
from gocudnn_py.cuda import DeviceBuffer, capture
from gocudnn_py.dtypes import numpy_dtype
from gocudnn_py.matrix import Matrix

if TYPE_CHECKING:
    from gocunets.backends.cudnn import CudaBackend

U = {"float64": 2.0**-53, "float32": 2.0**-24, "tf32": 2.0**-11, "float16": 2.0**-11, "bfloat16": 2.0**-8}
every_dtype = pytest.mark.parametrize("dtype", list(U))
every_side = pytest.mark.parametrize("turned", [(False, False), (True, False), (False, True), (True, True)], ids=str)
SIZES = 33, 72, 48  # rows, inner, columns


@pytest.fixture(scope="module")
def handle(backend: CudaBackend) -> cublas.Handle:
    return cublas.Handle(backend.stream)


@pytest.fixture(scope="module")
def light(backend: CudaBackend) -> cublaslt.Handle:
    return cublaslt.Handle(backend.device)


def matrix(
    backend: CudaBackend, rows: int, columns: int, dtype: str, turned: bool, seed: int, batch: int = 1
) -> tuple[Matrix, Any]:
    """A matrix on the card, stored as its transpose when `turned`, and its content in float64."""
    stored = "float32" if dtype == "tf32" else dtype
    shape = (batch, columns, rows) if turned else (batch, rows, columns)
    array = np.random.default_rng(seed).standard_normal(shape).astype(numpy_dtype(stored))
    buffer = DeviceBuffer(backend.stream, array.nbytes)
    buffer.upload(array)
    made = Matrix(buffer, *shape[1:], stored, transposed=turned)
    wide = array.astype(np.float64)
    return made, wide.transpose(0, 2, 1) if turned else wide


def check(c: Matrix, right: Any, size: Any, dtype: str) -> None:
    found = c.place.download(np.empty(right.shape, numpy_dtype(c.dtype))).astype(np.float64)
    assert (np.abs(found - right) <= 5 * U[dtype] * size).all()


@every_side
@every_dtype
def test_gemm(dtype: str, turned: tuple[bool, bool], backend: CudaBackend, handle: cublas.Handle) -> None:
    rows, inner, columns = SIZES
    a, wide_a = matrix(backend, rows, inner, dtype, turned[0], 0)
    b, wide_b = matrix(backend, inner, columns, dtype, turned[1], 1)
    c, wide_c = matrix(backend, rows, columns, dtype, False, 2)
    cublas.gemm(handle, a, b, c, alpha=0.5, beta=2.0, math="tf32" if dtype == "tf32" else "fma")
    size = 0.5 * np.abs(wide_a) @ np.abs(wide_b) + 2 * np.abs(wide_c)
    check(c, 0.5 * wide_a @ wide_b + 2 * wide_c, size, dtype)


@every_dtype
def test_strided_batches(dtype: str, backend: CudaBackend, handle: cublas.Handle) -> None:
    rows, inner, columns = SIZES
    a, wide_a = matrix(backend, rows, inner, dtype, True, 0, batch=5)
    b, wide_b = matrix(backend, inner, columns, dtype, False, 1)
    c, _ = matrix(backend, rows, columns, dtype, False, 2, batch=5)
    strides = (rows * inner, 0, rows * columns)
    cublas.gemm_strided_batched(handle, a, b, c, 5, strides, math="tf32" if dtype == "tf32" else "fma")
    check(c, wide_a @ wide_b, np.abs(wide_a) @ np.abs(wide_b), dtype)


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("with_bias", [False, True])
@every_side
@every_dtype
def test_matmul_with_epilogues(
    dtype: str, turned: tuple[bool, bool], with_bias: bool, relu: bool, backend: CudaBackend, light: cublaslt.Handle
) -> None:
    if dtype == "float64" and (with_bias or relu):
        pytest.skip("cuBLASLt has no epilogues in float64")
    rows, inner, columns = 32, 72, 48
    a, wide_a = matrix(backend, rows, inner, dtype, turned[0], 0)
    b, wide_b = matrix(backend, inner, columns, dtype, turned[1], 1)
    c, _ = matrix(backend, rows, columns, dtype, False, 2)
    bias, wide_bias = matrix(backend, 1, columns, dtype, False, 3)
    run = cublaslt.Matmul(
        light,
        a,
        b,
        c,
        bias=bias.place if with_bias else None,
        relu=relu,
        math="tf32" if dtype == "tf32" else "fma",
        workspace=DeviceBuffer(backend.stream, 2**22),
    )
    run(backend.stream)
    right = wide_a @ wide_b + (wide_bias if with_bias else 0)
    size = np.abs(wide_a) @ np.abs(wide_b) + np.abs(wide_bias)
    check(c, right.clip(0) if relu else right, size, dtype)


def test_captured_products_replay(backend: CudaBackend, handle: cublas.Handle, light: cublaslt.Handle) -> None:
    a, wide_a = matrix(backend, 16, 32, "float32", False, 0)
    b, wide_b = matrix(backend, 32, 24, "float32", False, 1)
    (c, _), (d, _) = (matrix(backend, 16, 24, "float32", False, seed) for seed in (2, 3))
    run = cublaslt.Matmul(light, a, b, d, workspace=DeviceBuffer(backend.stream, 2**20))
    cublas.gemm(handle, a, b, c)
    run(backend.stream)

    def work(stream: Any) -> None:
        handle.use(stream)
        cublas.gemm(handle, a, b, c)
        run(stream)

    recorded = capture(backend.stream, work, [handle, light, run])
    handle.use(backend.stream)
    for result in (c, d):
        result.place.fill(0)
    recorded.launch(backend.stream)
    for result in (c, d):
        check(result, wide_a @ wide_b, np.abs(wide_a) @ np.abs(wide_b), "float32")
