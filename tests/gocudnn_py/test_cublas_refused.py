"""What cuBLAS is not asked for: operands that do not go together, each refused with its numbers; no GPU."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gocudnn_py import cublas
from gocudnn_py.cublas import Band, Batch, Matrix, Packed, Vector, batched
from gocudnn_py.errors import UnusableResource
from tests.gocudnn_py.column_major import EmulatedHandle, HostPlace, Recording


@pytest.fixture
def handle() -> EmulatedHandle:
    return EmulatedHandle(Recording())


A, B, C = Matrix(0, 3, 5), Matrix(0, 5, 7), Matrix(0, 3, 7)
X, Y = Vector(0, 3), Vector(0, 5)
SQUARE, COMPLEX_SQUARE = Matrix(0, 3, 3), Matrix(0, 3, 3, "complex64")
Z = Vector(0, 3, "complex64")

REFUSED: list[tuple[Callable[[Any], Any], type[Exception], str]] = [
    (lambda h: cublas.axpy(h, X, Y), ValueError, r"axpy: x=R_32F\[3\] and y=R_32F\[5\] are not of one length"),
    (lambda h: cublas.axpy(h, X, Vector(0, 3, "float64")), TypeError, r"axpy: R_32F\[3\], R_64F\[3\] have different"),
    (lambda h: cublas.axpy(h, X, X, alpha=1j), TypeError, "1j is complex, and float32 is not"),
    (lambda h: cublas.nrm2(h, Vector(0, 3, stride=-1)), ValueError, "has stride -1; one vector alone"),
    (lambda h: cublas.dot(h, Vector(0, 3, "int32"), Vector(0, 3, "int32")), TypeError, "cuBLAS has no dot for R_32I"),
    (lambda h: cublas.asum(h, Vector(0, 3, "float16")), TypeError, "no asum for R_16F; it has it for R_32F, R_64F, C"),
    (lambda h: cublas.rotm(h, Z, Z, [1.0] * 5), TypeError, "no rotm for C_32F; it has it for R_32F, R_64F"),
    (lambda h: cublas.rotm(h, X, X, [1.0] * 4), ValueError, "5 parameters are needed, 4 given"),
    (lambda h: cublas.rotm(h, X, X, 1.0), ValueError, "rotm: 5 parameters are needed, 1 given"),
    (lambda h: cublas.rotm(h, X, X, HostPlace(None, 16)), ValueError, "ends 20 bytes into a buffer of 16"),
    (lambda h: cublas.rotmg(h, 1.0, 2.0, 3.0, 4.0, [0.0, 0.0]), ValueError, "rotmg: 5 parameters are needed, 2 given"),
    (lambda h: cublas.rotmg(h, X, X, X, X, Vector(0, 4)), ValueError, "rotmg: 5 parameters are needed, 4 given"),
    (lambda h: cublas.rotmg(h, X, X, X, X, HostPlace(None, 8)), ValueError, "ends 20 bytes into a buffer of 8"),
    (lambda h: cublas.scal(h, X, object()), TypeError, "a number, a buffer or a Vector, not object"),
    (lambda h: cublas.rot(h, X, X, 1.0, Vector(0, 1)), TypeError, "not some of each"),
    (lambda h: cublas.axpy(h, X, X, alpha=Vector(0, 1, "float64")), TypeError, "R_64F where R_32F is needed"),
    (lambda h: cublas.gemv(h, A, X, Y), ValueError, r"gemv: R_32F\[3x5\] times R_32F\[3\] does not give R_32F\[5\]"),
    (lambda h: cublas.ger(h, X, X, A), ValueError, "ger: .* does not give"),
    (lambda h: cublas.symv(h, A, X, X, lower=True), ValueError, r"symv: R_32F\[3x5\] is not square"),
    (lambda h: cublas.symv(h, SQUARE, Y, X, lower=True), ValueError, r"R_32F\[5\] is not of the size of R_32F\[3x3\]"),
    (lambda h: cublas.symv(h, COMPLEX_SQUARE.H, Z, Z, lower=True), ValueError, "is conjugated"),
    (
        lambda h: cublas.symv(h, Band(0, 3, 3, 1, 1), X, X, lower=True),
        ValueError,
        "has 1 diagonals outside of its lower",
    ),
    (lambda h: cublas.hemv(h, SQUARE.T, X, X, lower=True), TypeError, "cuBLAS has no hemv for R_32F"),
    (lambda h: cublas.hemv(h, Packed(0, 3, "complex64"), Z, Z, lower=True), ValueError, "read as its conjugate"),
    (lambda h: cublas.her(h, Z, Packed(0, 3, "complex64"), lower=True), ValueError, "store it by columns"),
    (lambda h: cublas.trmv(h, Packed(0, 3, "complex64").H, Z, lower=True), ValueError, "cuBLAS cannot multiply by"),
    (lambda h: cublas.trmv(h, COMPLEX_SQUARE.H, Vector(0, 3, "complex64", -1), lower=True), ValueError, "stride -1"),
    (lambda h: cublas.gemm(h, A, B, C.T), ValueError, "gemm: .* does not give"),
    (lambda h: cublas.gemm(h, A, B, Matrix(0, 7, 3).T), ValueError, "must be as it lies in memory"),
    (lambda h: cublas.gemm(h, A, B, Matrix(0, 3, 7, "float16")), TypeError, r"into R_16F\[3x7\] is not there"),
    (lambda h: cublas.gemm(h, A, B, C, math="fast"), ValueError, "math 'fast' is none of fma, tf32"),
    (lambda h: cublas.gemm(h, A, B, C, math="3m"), TypeError, "cuBLAS has no gemm3m for R_32F"),
    (lambda h: cublas.gemm(h, A, B, C, math="half_sums"), TypeError, "for R_16F into R_16F, not R_32F into R_32F"),
    (
        lambda h: cublas.gemm(h, Matrix(0, 4, 6, "int8"), Matrix(0, 6, 4, "int8"), Matrix(0, 4, 4, "int32")),
        ValueError,
        "at multiples of 4",
    ),
    (
        lambda h: cublas.gemm(
            h, Matrix(0, 4, 4, "float8_e4m3fn"), Matrix(0, 4, 4, "float8_e4m3fn"), Matrix(0, 4, 4, "float16")
        ),
        TypeError,
        "cublaslt has float8",
    ),
    (
        lambda h: cublas.gemm_strided_batched(h, A, B, C, 2, (15, 35, 6)),
        ValueError,
        r"a batch of 2 with strides \(15, 35, 6\)",
    ),
    (lambda h: cublas.symm(h, A, C, C, lower=True), ValueError, "symm: a=.* on the left of b=.* does not give c="),
    (lambda h: cublas.symm(h, SQUARE, C.T, C, lower=True), ValueError, "b must be as it lies in memory"),
    (lambda h: cublas.trsm(h, SQUARE, C, lower=True, side="top"), ValueError, "side 'top' is neither left nor right"),
    (lambda h: cublas.hemm(h, COMPLEX_SQUARE.T, COMPLEX_SQUARE, COMPLEX_SQUARE, lower=True), ValueError, "conjugate"),
    (lambda h: cublas.herk(h, COMPLEX_SQUARE.T, COMPLEX_SQUARE, lower=True), ValueError, "only it or its H can be"),
    (lambda h: cublas.herk(h, COMPLEX_SQUARE, COMPLEX_SQUARE, lower=True, alpha=1j), TypeError, "1j is complex"),
    (lambda h: cublas.syr2k(h, SQUARE, SQUARE.T, SQUARE, lower=True), ValueError, "not turned alike"),
    (lambda h: cublas.syrk(h, B, SQUARE, lower=True), ValueError, "does not give 3 x 3"),
    (lambda h: cublas.geam(h, SQUARE.T, SQUARE, SQUARE), ValueError, "cannot lie in its place"),
    (lambda h: cublas.geam(h, A, B, C), ValueError, "not of one shape"),
    (lambda h: cublas.dgmm(h, Y, A, A), ValueError, "dgmm: x="),
    (lambda h: cublas.trttp(h, SQUARE, Packed(0, 3).T, lower=True), ValueError, "not turned alike"),
    (lambda h: cublas.upload(h, np.zeros(3, np.float64), X), TypeError, "an array of float64"),
    (lambda h: cublas.upload(h, np.zeros((3, 5), np.float32).T, B), ValueError, "with strides"),
    (lambda h: cublas.upload(h, np.zeros((5, 3), np.float32).T, A), ValueError, r"with strides \(4, 12\)"),
]


@pytest.mark.parametrize(("call", "kind", "words"), REFUSED, ids=[words[:40] for _, _, words in REFUSED])
def test_what_is_refused(call: Callable[[Any], Any], kind: type[Exception], words: str, handle: EmulatedHandle) -> None:
    with pytest.raises(kind, match=words):
        call(handle)
    assert not [name for name in handle.lib.called if not name.startswith("cublasSet")]


def test_operands_of_another_gpu(handle: EmulatedHandle) -> None:
    elsewhere = HostPlace(None, 12)
    elsewhere.device = SimpleNamespace(ordinal=1)
    with pytest.raises(ValueError, match="copy: an operand lies on GPU 1, the handle is for GPU 0"):
        cublas.copy(handle, X, Vector(elsewhere, 3))


def test_a_closed_handle(handle: EmulatedHandle) -> None:
    handle._owner = None
    with pytest.raises(UnusableResource, match="closed"):
        cublas.copy(handle, X, X)
    assert handle.lib.called == []


def test_buffers_that_are_too_small() -> None:
    place = HostPlace(None, 64)
    Vector(place, 16)
    Vector(place, 6, stride=-3)
    for make, words in (
        (lambda: Vector(place, 17), "ends 68 bytes into a buffer of 64"),
        (lambda: Vector(place, 16, offset=1), "ends 68 bytes"),
        (lambda: Vector(place, 6, stride=4), "ends 84 bytes"),
        (lambda: Vector(place, 6, offset=-1), "begins -1 elements"),
        (lambda: Matrix(place, 3, 4, pitch=7), "ends 72 bytes"),
        (lambda: Matrix(place, 3, 3, "complex128"), "ends 144 bytes"),
        (lambda: Band(place, 4, 4, 1, 2, pitch=5), "ends 76 bytes"),
        (lambda: Packed(place, 6), "ends 84 bytes"),
    ):
        with pytest.raises(ValueError, match=words):
            make()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Vector(0, 0), "a vector of 0 elements"),
        (lambda: Vector(0, 3, stride=0), "3 elements, 0 apart"),
        (lambda: Vector(0, 2**63), "9223372036854775808 elements"),
        (lambda: Vector(0, 3, stride=-1).column, "stride -1, which no matrix can be"),
        (lambda: Band(0, 3, 3, -1, 0), "-1 diagonals below"),
        (lambda: Band(0, 3, 3, 1, 1, pitch=2), "cannot lie 2 elements a row"),
        (lambda: Packed(0, 0), "a packed matrix of 0 rows"),
    ],
)
def test_operands_that_cannot_be(make: Callable[[], Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()


def test_factors_that_are_refused(monkeypatch: pytest.MonkeyPatch, handle: EmulatedHandle) -> None:
    monkeypatch.setattr(batched, "DeviceBuffer", HostPlace)
    stream: Any = None
    square, other = (Batch(stream, [Matrix(place, 3, 3)] * 2) for place in (64, 128))
    info, tall = Vector(0, 2, "int32"), Batch(stream, [Matrix(0, 3, 5)] * 2)
    for call, words in (
        (lambda: cublas.getrf_batched(handle, tall, None, info), "are not square"),
        (lambda: cublas.getrf_batched(handle, square, Vector(0, 5, "int32"), info), "6 int32 are needed"),
        (lambda: cublas.getrf_batched(handle, square, None, Vector(0, 2)), r"2 int32 are needed .* not R_32F\[2\]"),
        (lambda: cublas.getrs_batched(handle, square, None, other), "must be stored by columns"),
        (lambda: cublas.getri_batched(handle, square, None, square, info), "cannot lie in the place"),
        (lambda: cublas.getri_batched(handle, square, None, other.T, info), "not turned alike"),
        (lambda: cublas.matinv_batched(handle, Batch(stream, [Matrix(0, 33, 33)]), square, info), "batches of"),
        (lambda: cublas.geqrf_batched(handle, tall, Batch(stream, [Y] * 2)), "must have 3 elements"),
        (lambda: cublas.gels_batched(handle, tall, tall), "must be stored by columns"),
        (lambda: cublas.gels_batched(handle, Batch(stream, [Matrix(0, 5, 3)] * 2).T, square.T), "as many as columns"),
    ):
        with pytest.raises(ValueError, match=words):
            call()
    large = Batch(stream, [Matrix(0, 33, 33)])
    with pytest.raises(ValueError, match="more than 32 rows"):
        cublas.matinv_batched(handle, large, large, Vector(0, 1, "int32"))
