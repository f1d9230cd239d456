"""Binding on first use, errors with cuDNN's words, and names that are not there."""

from __future__ import annotations

import copy
import ctypes
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gocudnn_py._abi.base import Answer, Function
from gocudnn_py.errors import BadParameter, CublasError, NotInThisVersion, NotSupported
from gocudnn_py.library import Library, load


def test_load_gives_one_object(cudnn: Any) -> None:
    found: list[Any] = []
    threads = [threading.Thread(target=lambda: found.append(load("cudnn"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {id(library) for library in found} == {id(cudnn)}


def test_a_library_that_there_is_not() -> None:
    with pytest.raises(ValueError, match="no library 'cudart'; there are cudnn, cublas, cublaslt"):
        load("cudart")  # type: ignore[call-overload]


def test_a_function_is_bound_once(cudnn: Any) -> None:
    assert cudnn.cudnnGetVersion is cudnn.cudnnGetVersion
    assert "cudnnGetVersion" in vars(cudnn)
    major, minor, patch = cudnn.version
    assert cudnn.cudnnGetVersion() == major * 10000 + minor * 100 + patch
    assert cudnn.version >= (9, 19, 0)


def test_text_and_numbers_come_back_as_themselves(cudnn: Any, cublas: Any, cublaslt: Any) -> None:
    assert cudnn.cudnnGetErrorString(3001) == b"CUDNN_STATUS_NOT_SUPPORTED_GRAPH_PATTERN"
    assert cublas.cublasGetStatusName(15) == b"CUBLAS_STATUS_NOT_SUPPORTED"
    assert cublaslt.cublasLtGetVersion() // 10000 == cublas.version[0]


def test_an_error_has_function_status_and_the_librarys_words(cudnn: Any) -> None:
    made = ctypes.c_void_p()
    cudnn.cudnnCreateTensorDescriptor(ctypes.byref(made))
    with pytest.raises(BadParameter, match="n <= 0") as raised:
        cudnn.cudnnSetTensor4dDescriptor(made, 0, 0, -2, 1, 1, 1)
    cudnn.cudnnDestroyTensorDescriptor(made)
    error = raised.value
    assert (error.function, error.status, error.name) == (
        "cudnnSetTensor4dDescriptor",
        2000,
        "CUDNN_STATUS_BAD_PARAM",
    )
    assert error.library_message == "(n <= 0) || (c <= 0) || (h <= 0) || (w <= 0)"


def test_the_last_words_do_not_stick_to_the_next_error(cudnn: Any) -> None:
    made = ctypes.c_void_p()
    cudnn.cudnnCreateTensorDescriptor(ctypes.byref(made))
    with pytest.raises(BadParameter, match="n <= 0"):
        cudnn.cudnnSetTensor4dDescriptor(made, 0, 0, -2, 1, 1, 1)
    nine = (ctypes.c_int * 9)(*[2] * 9)
    with pytest.raises(NotSupported) as raised:  # cuDNN says nothing about this one
        cudnn.cudnnSetTensorNdDescriptor(made, 0, 9, nine, nine)
    cudnn.cudnnDestroyTensorDescriptor(made)
    assert raised.value.library_message == ""
    assert "Try another" in str(raised.value)


def test_blas_errors(cublas: Any, cublaslt: Any) -> None:
    with pytest.raises(CublasError, match=r"cublasGetVersion_v2: CUBLAS_STATUS_INVALID_VALUE \(7\): "):
        cublas.cublasGetVersion_v2(None, None)
    with pytest.raises(CublasError, match="cublasLtMatrixLayoutSetAttribute"):
        cublaslt.cublasLtMatrixLayoutSetAttribute(None, 0, None, 0)


def test_an_unknown_name_is_an_attribute_error_with_a_suggestion(cudnn: Any) -> None:
    with pytest.raises(AttributeError, match=r"did you mean cudnnCreateTensorDescriptor\?"):
        _ = cudnn.cudnnCreatTensorDescriptor
    with pytest.raises(AttributeError):
        copy.copy(cudnn).__wrapped__  # noqa: B018 - private names never reach the table


def test_dir_and_repr(cudnn: Any) -> None:
    assert {"cudnnCreate", "path", "version"} <= set(dir(cudnn))
    assert repr(cudnn).startswith("<cuDNN 9.")
    assert cudnn.path in repr(cudnn)


def test_a_function_of_a_newer_version(compile_c: Callable[..., Path], tmp_path: Path) -> None:
    path = compile_c("int old(void) { return 0; }", tmp_path / "libold.so")
    table = {name: Function(Answer, (), (), False, "") for name in ("old", "new")}
    library = Library("Old", str(path), table, lambda *_: pytest.fail("no error expected"))
    library.version = (1, 2, 3)
    assert library.old() is None
    assert not hasattr(library, "new")
    with pytest.raises(NotInThisVersion) as raised:
        _ = library.new
    assert str(raised.value) == f"new is not in Old 1.2.3, loaded from {path}"
    assert raised.value.function == "new"
