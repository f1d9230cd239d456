"""Functions of cuBLAS and cuBLASLt that `load` calls, or that have C's names only; the libraries, but no GPU."""

from __future__ import annotations

import ctypes
from enum import IntEnum
from pathlib import Path
from typing import Any

import pytest

from gocudnn_py._abi.cublas import ComputeType
from gocudnn_py._abi.cublaslt import (
    EmulationDescAttributes,
    MatmulDescAttributes,
    MatmulPreferenceAttributes,
    MatrixLayoutAttribute,
    MatrixTransformDescAttributes,
)
from gocudnn_py._abi.cuda import CudaDataType, LibraryPropertyType
from gocudnn_py.cublaslt.descriptors import read, write
from gocudnn_py.errors import CublasError

ROOM = 512
"""Bytes, more than any descriptor takes."""
R_32F = CudaDataType.R_32F


def parts(get: Any) -> tuple[int, ...]:
    """Major, minor and patch, by a library's function for properties."""
    number, found = ctypes.c_int(), []
    for each in (LibraryPropertyType.MAJOR_VERSION, LibraryPropertyType.MINOR_VERSION, LibraryPropertyType.PATCH_LEVEL):
        get(each, ctypes.byref(number))
        found.append(number.value)
    return tuple(found)


def number_of(version: tuple[int, ...]) -> int:
    return version[0] * 10000 + version[1] * 100 + version[2]


@pytest.mark.covers("cublasGetVersion_v2", "cublasGetProperty", "cublasGetCudartVersion")
def test_versions_of_cublas_agree(cublas: Any) -> None:
    number = ctypes.c_int()
    cublas.cublasGetVersion_v2(None, ctypes.byref(number))
    assert parts(cublas.cublasGetProperty) == cublas.version
    assert number.value == number_of(cublas.version)
    assert cublas.cublasGetCudartVersion() // 1000 == cublas.version[0]


@pytest.mark.covers("cublasLtGetVersion", "cublasLtGetProperty", "cublasLtGetCudartVersion")
def test_versions_of_cublaslt_agree(cublaslt: Any) -> None:
    assert parts(cublaslt.cublasLtGetProperty) == cublaslt.version
    assert cublaslt.cublasLtGetVersion() == number_of(cublaslt.version)
    assert cublaslt.cublasLtGetCudartVersion() // 1000 == cublaslt.version[0]


@pytest.mark.covers("cublasGetStatusName", "cublasGetStatusString")
def test_a_refusal_has_the_words_of_cublas(cublas: Any) -> None:
    with pytest.raises(
        CublasError, match=r"cublasGetProperty: CUBLAS_STATUS_INVALID_VALUE \(7\): an unsupported value"
    ):
        cublas.cublasGetProperty(99, ctypes.byref(ctypes.c_int()))


@pytest.mark.covers("cublasLtGetStatusName", "cublasLtGetStatusString")
def test_a_refusal_has_the_words_of_cublaslt(cublaslt: Any) -> None:
    with pytest.raises(
        CublasError, match=r"cublasLtGetProperty: CUBLAS_STATUS_INVALID_VALUE \(7\): an unsupported value"
    ):
        cublaslt.cublasLtGetProperty(99, ctypes.byref(ctypes.c_int()))


@pytest.mark.covers("cublasXerbla")
def test_a_wrong_parameter_is_told(cublas: Any, capfd: pytest.CaptureFixture[str]) -> None:
    cublas.cublasXerbla(b"SAXPY", 3)
    ctypes.CDLL(None).fflush(None)
    assert "On entry to SAXPY parameter number 3 had an illegal value" in capfd.readouterr().out


MADE_THERE: list[tuple[str, tuple[int, ...], IntEnum, int]] = [
    ("MatrixLayout", (R_32F, 5, 3, 8), MatrixLayoutAttribute.LD, 8),
    ("MatmulDesc", (ComputeType.COMPUTE_32F, R_32F), MatmulDescAttributes.COMPUTE_TYPE, ComputeType.COMPUTE_32F),
    ("MatrixTransformDesc", (CudaDataType.R_64F,), MatrixTransformDescAttributes.SCALE_TYPE, CudaDataType.R_64F),
    ("MatmulPreference", (), MatmulPreferenceAttributes.REDUCTION_SCHEME_MASK, 7),
]


@pytest.mark.parametrize(
    ("kind", "arguments", "attribute", "value"),
    [pytest.param(*row, id=row[0], marks=pytest.mark.covers(f"cublasLt{row[0]}Init_internal")) for row in MADE_THERE],
)
def test_descriptors_in_memory_of_the_callers_own(
    kind: str, arguments: tuple[int, ...], attribute: IntEnum, value: int, cublaslt: Any
) -> None:
    """What a descriptor begins with is what one that the library makes begins with."""
    memory = ctypes.create_string_buffer(b"\xff" * ROOM, ROOM)
    getattr(cublaslt, f"cublasLt{kind}Init_internal")(memory, ROOM, *arguments)
    found = read(getattr(cublaslt, f"cublasLt{kind}GetAttribute"), memory, attribute)
    assert int.from_bytes(found, "little") == value


@pytest.mark.covers("cublasLtEmulationDescInit_internal")
def test_emulation_in_memory_of_the_callers_own(cublaslt: Any) -> None:
    bits, memory = EmulationDescAttributes.FIXEDPOINT_MAX_MANTISSA_BIT_COUNT, ctypes.create_string_buffer(ROOM)
    functions = cublaslt.cublasLtEmulationDescGetAttribute, cublaslt.cublasLtEmulationDescSetAttribute
    cublaslt.cublasLtEmulationDescInit_internal(memory, ROOM)
    write(*functions, memory, bits, 55)
    cublaslt.cublasLtEmulationDescInit_internal(memory, ROOM)
    assert int.from_bytes(read(functions[0], memory, bits), "little") == 0


GROUPS = {
    MatrixLayoutAttribute.GROUPED_MATRIX_LAYOUT_ROWS_ARRAY: 1 << 12,
    MatrixLayoutAttribute.GROUPED_MATRIX_LAYOUT_COLS_ARRAY: 2 << 12,
    MatrixLayoutAttribute.GROUPED_MATRIX_LAYOUT_LD_ARRAY: 3 << 12,
}
"""Where the arrays of a grouped layout lie on a device."""


def check_groups(cublaslt: Any, layout: Any) -> None:
    for attribute, place in GROUPS.items():
        found = read(cublaslt.cublasLtMatrixLayoutGetAttribute, layout, attribute)
        assert int.from_bytes(found, "little") == place


@pytest.mark.covers("cublasLtGroupedMatrixLayoutCreate")
def test_grouped_layouts(cublaslt: Any) -> None:
    layout = ctypes.c_void_p()
    cublaslt.cublasLtGroupedMatrixLayoutCreate(ctypes.byref(layout), R_32F, 2, *GROUPS.values())
    check_groups(cublaslt, layout)
    cublaslt.cublasLtMatrixLayoutDestroy(layout)


@pytest.mark.covers("cublasLtGroupedMatrixLayoutInit_internal")
def test_grouped_layouts_in_memory_of_the_callers_own(cublaslt: Any) -> None:
    layout = ctypes.create_string_buffer(ROOM)
    cublaslt.cublasLtGroupedMatrixLayoutInit_internal(layout, ROOM, R_32F, 2, *GROUPS.values())
    check_groups(cublaslt, layout)


@pytest.mark.covers("cublasLtLoggerSetFile")
def test_a_file_of_c_for_the_log(cublaslt: Any, tmp_path: Path) -> None:
    c = ctypes.CDLL(None)
    c.fopen.restype = ctypes.c_void_p
    file = ctypes.c_void_p(c.fopen(str(tmp_path / "log").encode(), b"w"))
    cublaslt.cublasLtLoggerSetFile(file)
    cublaslt.cublasLtLoggerSetLevel(1)
    with pytest.raises(CublasError):
        cublaslt.cublasLtMatrixLayoutSetAttribute(None, 0, None, 0)
    cublaslt.cublasLtLoggerSetLevel(0)
    c.fflush(file)
    assert "matLayout cannot be NULL" in (tmp_path / "log").read_text()
