"""Products that cuBLASLt is asked for, their epilogues, and those that are refused; the library, but no GPU."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from gocudnn_py import cublaslt
from gocudnn_py._abi.cublaslt import Epilogue, MatmulPreferenceAttributes
from gocudnn_py.cublaslt import After, Aux, Matrix, Order, Problem, Tiles, Vector
from gocudnn_py.errors import CublasError
from tests.gocudnn_py.column_major import HostPlace
from tests.gocudnn_py.column_major_lt import emulated_handle

pytestmark = pytest.mark.usefixtures("cublaslt")
A, B, C = Matrix(0, 16, 32, "float16"), Matrix(0, 32, 48, "float16"), Matrix(0, 16, 48, "float16")


def square(dtype: str, *, transposed: bool = False, size: int = 16) -> Matrix:
    return Matrix(0, size, size, dtype, transposed=transposed)


E4M3, E5M2 = "float8_e4m3fn", "float8_e5m2"
BIAS, SUMS = HostPlace(None, 96), Vector(0, 48, "float16")
AUX = Aux(0, 128)
REFUSED: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: Problem(A, C, B, (9, 0)), ValueError, r"R_16F\[16x32\] times R_16F\[16x48\] does not give R_16F\[32x48\]"),
    (lambda: Problem(A, B, Matrix(0, 48, 16, "float16").T, (9, 0)), ValueError, "c must be as it lies in memory"),
    (lambda: Problem(A, Matrix(0, 32, 48), C, (9, 0)), TypeError, "different types, which only float8 may"),
    (lambda: Problem(A, B, Matrix(0, 16, 48, "float64"), (9, 0)), TypeError, "gives R_16F, R_32F, not R_64F"),
    (lambda: Problem(A, B, C, (9, 0), math="fast"), ValueError, "math 'fast' is none of"),
    (lambda: Problem(A, B, C, (9, 0), alpha=1j), TypeError, "1j is complex"),
    (lambda: Problem(A, B, C, (9, 0), alpha=BIAS), TypeError, "must both be numbers or both lie on the device"),
    (lambda: Problem(A, B, C, (9, 0), alpha=SUMS, beta=SUMS), TypeError, "must be R_32F"),
    (lambda: Problem(A, B, C, (9, 0), batch=2, strides=(0, 0, 700)), ValueError, r"strides \(0, 0, 700\)"),
    (lambda: Problem(A, B, C, (9, 0), batch=0), ValueError, "a batch of 0"),
    (lambda: Problem(A, B, C, (9, 0), given_addend=A, beta=1.0), ValueError, r"the addend R_16F\[16x32\] for"),
    (lambda: Problem(square(E4M3), square(E4M3), square("float16"), (9, 0)), ValueError, "b is as it lies"),
    (
        lambda: Problem(square(E4M3, transposed=True), square(E4M3, transposed=True), square("float16"), (12, 0)),
        ValueError,
        "a is transposed and b is transposed",
    ),
    (
        lambda: Problem(square(E4M3), square(E4M3, transposed=True), square("float16"), (8, 0)),
        ValueError,
        r"needs a GPU of compute capability 8.9, this one has \(8, 0\)",
    ),
    (
        lambda: Problem(square(E5M2), square(E5M2, transposed=True), square("float16"), (9, 0)),
        TypeError,
        "one factor at least is E4M3",
    ),
    (
        lambda: Problem(
            square(E4M3, size=24), square(E4M3, transposed=True, size=24), square("float16", size=24), (9, 0)
        ),
        ValueError,
        "multiple of 16, not inner axis 24, columns 24, a's pitch 24, b's pitch 24",
    ),
    (
        lambda: Problem(square(E4M3), square(E4M3, transposed=True), square(E4M3), (9, 0), beta=1.0),
        ValueError,
        "cannot be its own addend; give one of R_16BF",
    ),
    (
        lambda: Problem(square("int8", size=6), square("int8", size=6), square("int32", size=6), (9, 0)),
        ValueError,
        "multiple of 4, not inner axis 6",
    ),
    (lambda: After(activation="tanh").code, ValueError, "activation 'tanh' is neither relu nor gelu"),
    (lambda: After(aux=AUX).code, ValueError, "aux an activation"),
    (lambda: After(bias_gradient=1).code, ValueError, "needs `gradient` or `sums_of`"),
    (lambda: After(activation="relu", gradient=True).code, ValueError, "needs the activation and its aux"),
    (lambda: After(activation="relu", gradient=True, aux=AUX, bias=1).code, ValueError, "and has no bias"),
    (lambda: After(sums_of="a").code, ValueError, "needs a bias_gradient"),
    (lambda: After(sums_of="a", bias_gradient=1, activation="relu").code, ValueError, "goes with nothing else"),
    (lambda: Problem(A, B, C, (9, 0), After(bias=Vector(0, 16, "float16"))), ValueError, "which needs 48 in one piece"),
    (
        lambda: Problem(A, B, C, (9, 0), After(bias_gradient=SUMS, sums_of="a")),
        ValueError,
        "which needs 16 in one piece",
    ),
    (lambda: Problem(A, B, C, (9, 0), After(activation="relu", aux=Aux(0, 48))), ValueError, "rows 48 apart for"),
    (lambda: Problem(A, B, C, (9, 0), After(activation="gelu", aux=Aux(0, 40))), ValueError, "with gelu, steps of 8"),
    (lambda: Problem(A, B, C, (9, 0), After(bias=HostPlace(None, 95))), ValueError, "bias for .* ends 96 bytes"),
    (
        lambda: Problem(
            A,
            B,
            C,
            (9, 0),
            After(bias=Vector(HostPlace(None, 96), 48, "float16"), bias_stride=48),
            batch=2,
            strides=(0, 0, 768),
        ),
        ValueError,
        "ends 192 bytes into a buffer of 96",
    ),
    (
        lambda: Problem(
            A, B, C, (9, 0), After(activation="relu", aux=AUX, gradient=True, bias_gradient=HostPlace(None, 4))
        ),
        ValueError,
        "bias for .* ends 96 bytes into a buffer of 4",
    ),
    (
        lambda: Problem(A, B, C, (9, 0), After(activation="relu", aux=Aux(HostPlace(None, 255), 128))),
        ValueError,
        "aux for .* ends 256 bytes into a buffer of 255",
    ),
    (
        lambda: Problem(
            A,
            B,
            C,
            (9, 0),
            After(activation="gelu", aux=Aux(HostPlace(None, 1536), 48, 768)),
            batch=2,
            strides=(0, 0, 768),
        ),
        ValueError,
        "aux for .* ends 3072 bytes into a buffer of 1536",
    ),
    (lambda: Tiles(0, 3, 5, order=Order.ROW), ValueError, "3 x 5 in tiles of order ROW"),
    (lambda: Tiles(BIAS, 3, 5), ValueError, "ends 160 bytes into a buffer of 96"),
    (lambda: cublaslt.transform(emulated_handle(), None, A, C), ValueError, "are not of one shape"),
    (lambda: cublaslt.transform(emulated_handle(), None, A, A, beta=1.0), ValueError, "and there is no b"),
    (
        lambda: cublaslt.transform(emulated_handle(), None, A, Matrix(0, 32, 16, "float16").T),
        ValueError,
        "c must be as it lies",
    ),
    (
        lambda: cublaslt.Matmul(emulated_handle(), A, B, C, relu=True, after=After()),
        ValueError,
        "bias and relu within `after`",
    ),
]


@pytest.mark.parametrize(("call", "kind", "words"), REFUSED, ids=[words[:40] for _, _, words in REFUSED])
def test_what_is_refused(call: Callable[[], Any], kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words):
        call()


@pytest.mark.parametrize(
    ("after", "code"),
    [
        (After(), Epilogue.DEFAULT),
        (After(bias=1), Epilogue.BIAS),
        (After(activation="relu"), Epilogue.RELU),
        (After(activation="gelu"), Epilogue.GELU),
        (After(bias=1, activation="relu"), Epilogue.RELU_BIAS),
        (After(bias=1, activation="gelu"), Epilogue.GELU_BIAS),
        (After(activation="relu", aux=AUX), Epilogue.RELU_AUX),
        (After(activation="gelu", aux=AUX), Epilogue.GELU_AUX),
        (After(bias=1, activation="relu", aux=AUX), Epilogue.RELU_AUX_BIAS),
        (After(bias=1, activation="gelu", aux=AUX), Epilogue.GELU_AUX_BIAS),
        (After(activation="relu", aux=AUX, gradient=True), Epilogue.DRELU),
        (After(activation="gelu", aux=AUX, gradient=True), Epilogue.DGELU),
        (After(activation="relu", aux=AUX, gradient=True, bias_gradient=1), Epilogue.DRELU_BGRAD),
        (After(activation="gelu", aux=AUX, gradient=True, bias_gradient=1), Epilogue.DGELU_BGRAD),
        (After(bias_gradient=1, sums_of="b"), Epilogue.BGRADA),
        (After(bias_gradient=1, sums_of="a"), Epilogue.BGRADB),
    ],
)
def test_every_epilogue_has_its_parts(after: After, code: Epilogue) -> None:
    assert after.code is code


def test_every_epilogue_of_the_header_is_among_them() -> None:
    parts: Any = test_every_epilogue_has_its_parts
    (mark,) = parts.pytestmark
    assert {code for _, code in mark.args[1]} == set(Epilogue)


def test_what_an_activation_keeps() -> None:
    c = Matrix(0, 3, 130, "float16")
    assert (cublaslt.aux_pitch("relu", c), cublaslt.aux_nbytes("relu", c)) == (256, 96)
    assert (cublaslt.aux_pitch("gelu", c), cublaslt.aux_nbytes("gelu", c)) == (136, 816)


def test_what_an_epilogue_has_room_for() -> None:
    Problem(A, B, C, (9, 0), After(bias=HostPlace(None, 96), activation="relu", aux=Aux(HostPlace(None, 256), 128)))
    Problem(A, B, C, (9, 0), After(activation="gelu", aux=Aux(HostPlace(None, 1536), 48)))
    narrow = square(E4M3), square(E4M3, transposed=True)
    Problem(*narrow, square("float32"), (9, 0), After(bias=HostPlace(None, 32)))  # of bfloat16
    Problem(*narrow, square("float16"), (9, 0), After(bias=HostPlace(None, 32)))
    with pytest.raises(ValueError, match="ends 64 bytes into a buffer of 16"):
        Problem(square("int8"), square("int8"), square("int8"), (9, 0), After(bias=HostPlace(None, 16)))


def test_operands_of_another_gpu() -> None:
    elsewhere = HostPlace(None, 2 * 16 * 32)
    elsewhere.device = SimpleNamespace(ordinal=1)
    with pytest.raises(ValueError, match="matmul: an operand lies on GPU 1, the handle is for GPU 0"):
        cublaslt.Matmul(emulated_handle(), Matrix(elsewhere, 16, 32, "float16"), B, C)
    with pytest.raises(ValueError, match="GPU 1"):
        cublaslt.Matmul(emulated_handle(), A, B, C, workspace=elsewhere)


def test_alignment_is_told() -> None:
    problem = Problem(Matrix(48, 16, 32), Matrix(4096, 32, 48), Matrix(8, 16, 48), (9, 0))
    assert problem.alignments == (256, 16, 8, 8)
    with problem.preference(0) as preference:
        assert preference.get(MatmulPreferenceAttributes.MIN_ALIGNMENT_B_BYTES) == 16
    batch = Problem(Matrix(0, 16, 32), Matrix(0, 32, 48), Matrix(0, 16, 48), (9, 0), batch=2, strides=(513, 0, 768))
    assert batch.alignments == (256, 4, 256, 256)


def test_no_algorithm_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    handle = emulated_handle()
    monkeypatch.setattr(handle.lib, "cublasLtMatmulAlgoGetHeuristic", lambda *_: None, raising=False)
    with pytest.raises(
        CublasError, match=r"NOT_SUPPORTED \(15\): no algorithm for R_16F\[16x32\] times R_16F\[32x48\]"
    ):
        cublaslt.Matmul(handle, A, B, C)
