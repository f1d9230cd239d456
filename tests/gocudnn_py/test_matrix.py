"""Matrices and vectors in row-major terms, types and scalars of products, and files that may be lost; no GPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gocudnn_py import disk
from gocudnn_py._abi.cublas import ComputeType, Operation
from gocudnn_py._abi.cuda import CudaDataType
from gocudnn_py.dtypes import numpy_dtype
from gocudnn_py.matrix import Matrix, Vector, compute_type, host_scalar, product_sizes, scale_type


def test_a_transpose_moves_nothing() -> None:
    a = Matrix(4096, 3, 5, "float16", pitch=8)
    assert (a.shape, a.T.shape, a.T.T) == ((3, 5), (5, 3), a)
    assert (a.operation, a.T.operation) == (Operation.N, Operation.T)
    assert str(a.T) == "R_16F[5x3]"
    assert a.T.address == 4096


@pytest.mark.parametrize(
    ("rows", "columns", "pitch", "words"),
    [(0, 3, 0, "0 x 3"), (3, 5, 4, "rows of 5 elements cannot lie 4 apart"), (2**63, 1, 0, "9223372036854775808 x 1")],
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
    with pytest.raises(ValueError, match="transposed product"):
        product_sizes("gemm", a, b, Matrix(0, 7, 3).T)


def test_float32_is_rounded_only_when_asked() -> None:
    assert compute_type(CudaDataType.R_32F, "fma") is ComputeType.COMPUTE_32F
    assert compute_type(CudaDataType.R_32F, "tf32") is ComputeType.COMPUTE_32F_FAST_TF32
    assert compute_type(CudaDataType.R_16F, "tf32") is ComputeType.COMPUTE_32F
    assert compute_type(CudaDataType.R_64F, "fma") is ComputeType.COMPUTE_64F
    with pytest.raises(ValueError, match="'fast' is none of fma, tf32"):
        compute_type(CudaDataType.R_32F, "fast")


def test_products_of_every_type() -> None:
    types, compute = CudaDataType, ComputeType
    for code, math, result, sums, scale in (
        (types.R_32F, "pedantic", types.R_32F, compute.COMPUTE_32F_PEDANTIC, types.R_32F),
        (types.R_32F, "bfloat16x9", types.R_32F, compute.COMPUTE_32F_EMULATED_16BFX9, types.R_32F),
        (types.C_32F, "tf32", types.C_32F, compute.COMPUTE_32F_FAST_TF32, types.C_32F),
        (types.C_64F, "fma", types.C_64F, compute.COMPUTE_64F, types.C_64F),
        (types.R_64F, "pedantic", types.R_64F, compute.COMPUTE_64F_PEDANTIC, types.R_64F),
        (types.R_16BF, "fma", types.R_32F, compute.COMPUTE_32F, types.R_32F),
        (types.R_16F, "half_sums", types.R_16F, compute.COMPUTE_16F, types.R_16F),
        (types.R_8I, "fma", types.R_32I, compute.COMPUTE_32I, types.R_32I),
        (types.R_8I, "fma", types.R_8I, compute.COMPUTE_32I, types.R_32F),
        (types.R_8I, "fma", types.R_32F, compute.COMPUTE_32F, types.R_32F),
        (types.R_8F_E4M3, "fma", types.R_16BF, compute.COMPUTE_32F, types.R_32F),
    ):
        assert (compute_type(code, math, result), scale_type(sums, result)) == (sums, scale)
    with pytest.raises(TypeError, match="there are no products of R_64I"):
        compute_type(types.R_64I, "fma")


@pytest.mark.parametrize("code", [CudaDataType.R_32F, CudaDataType.R_64F, CudaDataType.C_64F, CudaDataType.R_16BF])
def test_scalars_are_what_c_reads(code: CudaDataType) -> None:
    assert np.frombuffer(host_scalar(-0.375, code), numpy_dtype(code))[0] == -0.375


def test_scalars_that_a_type_lacks() -> None:
    assert host_scalar(2.0, CudaDataType.R_32I) == (2).to_bytes(4, "little")
    assert np.isinf(np.frombuffer(host_scalar(float("inf"), CudaDataType.R_16F), np.float16)[0])
    with pytest.raises(ValueError, match=r"0.5 is no int32"):
        host_scalar(0.5, CudaDataType.R_32I)
    with pytest.raises(ValueError, match=r"100000.0 is beyond what float16 holds"):
        host_scalar(1e5, CudaDataType.R_16F)
    with pytest.raises(TypeError, match=r"1j is complex, and float64 is not"):
        host_scalar(1j, CudaDataType.R_64F)


def test_integers_beyond_their_type() -> None:
    for value in (3_000_000_000, -(2**31) - 1, float("inf")):
        with pytest.raises(ValueError, match=rf"{value} is no int32"):
            host_scalar(value, CudaDataType.R_32I)
    assert host_scalar(2**31 - 1, CudaDataType.R_32I) == (2**31 - 1).to_bytes(4, "little")


def test_equal_numbers_are_not_taken_for_one_another() -> None:
    code = CudaDataType.R_32F
    for value in (0.0, -0.0, 0, 0.0):
        assert host_scalar(value, code) == np.float32(value).tobytes()
    for imaginary in (0.0, -0.0):
        number = complex(1.0, imaginary)
        assert host_scalar(number, CudaDataType.C_32F) == np.complex64(number).tobytes()
    host_scalar(1.0, code)
    with pytest.raises(TypeError, match="is complex, and float32 is not"):
        host_scalar(1 + 0j, code)


def test_conjugates() -> None:
    a = Matrix(0, 3, 5, "complex64")
    assert (a.H.operation, a.H.H, a.T.H.conjugated, a.T.H.transposed) == (Operation.C, a, True, False)
    assert Matrix(0, 3, 5).H == Matrix(0, 3, 5).T
    with pytest.raises(ValueError, match="conjugated and not transposed"):
        a.T.H.operation  # noqa: B018 - it raises
    with pytest.raises(TypeError, match="R_32F has no conjugate"):
        Matrix(0, 3, 5, conjugated=True)


def test_offsets_are_in_elements() -> None:
    assert Matrix(4096, 3, 5, "complex128", offset=3).address == 4096 + 48
    assert Vector(4096, 3, "float16", offset=3).address == 4096 + 6
    assert Vector(4096, 3, "float4_e2m1fn", offset=2).address == 4096 + 1
    assert Vector(4096, 3, stride=7, offset=2).column == Matrix(4096, 3, 1, pitch=7, offset=2)
    assert str(Vector(0, 3, "bfloat16")) == "R_16BF[3]"


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
