"""Every operation of cuBLAS and cuBLASLt on the card, the cases that run without one in tests/gocudnn_py."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from gocudnn_py import cublas, cublaslt
from gocudnn_py._abi.cublas import Status
from gocudnn_py.cublas.names import wide
from gocudnn_py.cuda import DeviceBuffer
from gocudnn_py.errors import CublasError
from tests.gocudnn_py.blas_cases import Array, Case, Desk, rows, rows_of, take_wide_forms
from tests.gocudnn_py.blas_lt import LT_CASES

if TYPE_CHECKING:
    from gocunets.backends.cudnn import CudaBackend


def optional(case: Case, dtype: str, way: dict[str, Any]) -> bool:
    """What a library may lack: tiles of older GPUs, epilogues of some types and batches, int8 with no factor turned."""
    gelu = case.name == "matmul_with_epilogue" and dtype == "float32" and way["activation"] == "gelu"
    untransposed = case.name == "gemm_of_mixed_types" and dtype == "int8" and way["turns"] == ("", "")
    return (
        gelu or untransposed or case.name in ("brought_into_tiles", "transformed", "int8_result", "matmul_of_batches")
    )


class Card:
    """Where operands lie in these tests."""

    def __init__(self, backend: CudaBackend) -> None:
        self.stream = backend.stream
        self.handle, self.light = cublas.Handle(backend.stream), cublaslt.Handle(backend.device)
        self.scratch = DeviceBuffer(backend.stream, 2**25)

    def put(self, array: Array) -> DeviceBuffer:
        buffer = DeviceBuffer(self.stream, array.nbytes)
        buffer.upload(array)
        return buffer

    def get(self, place: DeviceBuffer, array: Array) -> Array:
        return place.download(array)


@pytest.fixture(scope="module")
def card(backend: CudaBackend) -> Card:
    return Card(backend)


@pytest.mark.parametrize(("case", "dtype", "way", "functions"), rows(covering=True))
def test_cublas(case: Case, dtype: str, way: dict[str, Any], functions: tuple[str, ...], card: Card) -> None:
    case.run(Desk(card, dtype), **way)


@pytest.mark.parametrize(("case", "dtype", "way", "functions"), rows(covering=True, form=wide))
def test_cublas_in_64_bits(
    case: Case,
    dtype: str,
    way: dict[str, Any],
    functions: tuple[str, ...],
    card: Card,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    take_wide_forms(monkeypatch)
    case.run(Desk(card, dtype, "int64"), **way)


@pytest.mark.parametrize(("case", "dtype", "way", "functions"), rows_of(LT_CASES, True))
def test_cublaslt(case: Case, dtype: str, way: dict[str, Any], functions: tuple[str, ...], card: Card) -> None:
    try:
        case.run(Desk(card, dtype), **way)
    except CublasError as error:
        if error.status != Status.NOT_SUPPORTED or not optional(case, dtype, way):
            raise
        pytest.skip(f"this GPU and cuBLASLt have none: {error}")
