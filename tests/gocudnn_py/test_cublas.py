"""What cuBLAS is asked for, and what is refused before it is asked; no GPU, and no library but for the log."""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gocudnn_py import cublas
from gocudnn_py._abi.cublas import FUNCTIONS
from gocudnn_py._abi.cuda import CudaDataType
from gocudnn_py.cublas import Band, Batch, Matrix, Packed, Vector, batched
from gocudnn_py.cublas.names import function, wide
from gocudnn_py.errors import CublasError
from tests.gocudnn_py.column_major import EmulatedHandle, HostPlace, Recording, documented

HUGE = 2**31


@pytest.fixture
def handle() -> EmulatedHandle:
    return EmulatedHandle(Recording())


WIDE: dict[str, Callable[[Any], Any]] = {
    "cublasSaxpy_v2_64": lambda h: cublas.axpy(h, Vector(0, HUGE), Vector(0, HUGE)),
    "cublasDscal_v2_64": lambda h: cublas.scal(h, Vector(0, 3, "float64", HUGE), 2.0),
    "cublasNrm2Ex_64": lambda h: cublas.nrm2(h, Vector(0, HUGE, "float16")),
    "cublasIsamax_v2_64": lambda h: cublas.iamax(h, Vector(0, HUGE)),
    "cublasSgemv_v2_64": lambda h: cublas.gemv(h, Matrix(0, HUGE, 2), Vector(0, 2), Vector(0, HUGE)),
    "cublasStrmv_v2_64": lambda h: cublas.trmv(h, Matrix(0, 4, 4, pitch=HUGE), Vector(0, 4), lower=True),
    "cublasSsbmv_v2_64": lambda h: cublas.symv(
        h, Band(0, HUGE, HUGE, 1, 0), Vector(0, HUGE), Vector(0, HUGE), lower=True
    ),
    "cublasGemmEx_64": lambda h: cublas.gemm(h, Matrix(0, 2, HUGE), Matrix(0, HUGE, 3), Matrix(0, 2, 3)),
    "cublasSsyrk_v2_64": lambda h: cublas.syrk(h, Matrix(0, 2, HUGE), Matrix(0, 2, 2), lower=True),
    "cublasSgeam_64": lambda h: cublas.geam(h, Matrix(0, 2, HUGE), Matrix(0, HUGE, 2).T, Matrix(8, 2, HUGE)),
}


@pytest.mark.parametrize("name", WIDE)
def test_extents_beyond_32_bits_take_the_64_bit_form(name: str, handle: EmulatedHandle) -> None:
    WIDE[name](handle)
    assert handle.lib.called[-1] == name


def test_the_largest_int_is_no_reason_for_it(handle: EmulatedHandle) -> None:
    cublas.axpy(handle, Vector(0, HUGE - 1), Vector(0, HUGE - 1))
    assert handle.lib.called == ["cublasSaxpy_v2"]
    assert wide("cublasSmatinvBatched") is None
    assert function("{}symv", CudaDataType.C_64F) == "cublasZsymv_v2"


def test_long_numbers_where_there_is_no_64_bit_form(handle: EmulatedHandle) -> None:
    packed, a = Packed(0, HUGE), Matrix(0, HUGE, HUGE)
    with pytest.raises(ValueError, match=r"cublasStpttr takes numbers to 2147483647, not 2147483648"):
        cublas.tpttr(handle, packed, a, lower=True)


def test_results_within_a_capture() -> None:
    handle = EmulatedHandle(capturing=True)
    with pytest.raises(ValueError, match="cublasSnrm2_v2: a capture cannot wait for a result"):
        cublas.nrm2(handle, X)
    with pytest.raises(ValueError, match="cannot wait for a copy"):
        cublas.upload(handle, np.zeros(3, np.float32), X)


X = Vector(0, 3)
A, B, C = Matrix(0, 3, 5), Matrix(0, 5, 7), Matrix(0, 3, 7)


def test_scalars_set_the_pointer_mode_only_when_it_changes(handle: EmulatedHandle) -> None:
    place = HostPlace(None, 8)
    for alpha in (1.0, 2.0, Vector(place, 1), place, 3.0):
        cublas.axpy(handle, X, X, alpha=alpha)
    assert [name for name in handle.lib.called if "Mode" in name] == ["cublasSetPointerMode_v2"] * 2


def test_streams_are_told_which_places_they_use(handle: EmulatedHandle) -> None:
    place: Any = HostPlace(None, 12)
    cublas.copy(handle, X, Vector(place, 3))
    assert handle.used == []  # neither an address nor what cannot be told
    place.used_on = None
    cublas.copy(handle, X, Vector(place, 3))
    assert handle.used == [place]


def test_the_addresses_of_a_batch_are_held(monkeypatch: pytest.MonkeyPatch, handle: EmulatedHandle) -> None:
    monkeypatch.setattr(batched, "DeviceBuffer", HostPlace)
    monkeypatch.setattr(HostPlace, "used_on", None, raising=False)
    stream: Any = None
    a, b, c = (Batch(stream, [Matrix(0, 3, 3)]) for _ in range(3))
    cublas.gemm_batched(handle, a.T, b, c)
    assert handle.used == [a.pointers, b.pointers, c.pointers]


def test_another_stream(handle: EmulatedHandle) -> None:
    handle.workspace = HostPlace(None, 64)  # type: ignore[assignment]
    stream = SimpleNamespace(handle=7, device=SimpleNamespace(ordinal=0))
    handle.use(stream)
    assert (handle.lib.called, handle.stream) == (["cublasSetStream_v2", "cublasSetWorkspace_v2"], stream)
    with pytest.raises(ValueError, match="a handle for GPU 0 cannot work on a stream of GPU 1"):
        handle.use(SimpleNamespace(handle=7, device=SimpleNamespace(ordinal=1)))


def test_batches(monkeypatch: pytest.MonkeyPatch, handle: EmulatedHandle) -> None:
    monkeypatch.setattr(batched, "DeviceBuffer", HostPlace)
    stream: Any = None
    two = Batch(stream, [Matrix(64, 3, 5), Matrix(256, 3, 5)])
    assert (two.size, two.head.address, two.T.head.shape, two.H.pointers) == (2, 64, (5, 3), two.pointers)
    assert two.pointers.memory.view(np.uint64).tolist() == [64, 256]
    for groups, words in (
        ((), "has an empty one"),
        (([],), r"groups of \[0\] has an empty one"),
        (([A, B],), "not alike"),
        (([A, Matrix(0, 3, 5, pitch=6)],), "not alike"),
    ):
        with pytest.raises(ValueError, match=words):
            Batch(stream, *groups)
    three = Batch(stream, [Matrix(0, 5, 7)] * 3)
    with pytest.raises(ValueError, match=r"gemm_batched: batches of \(2,\), \(3,\), \(3,\)"):
        cublas.gemm_batched(handle, two, three, three)
    with pytest.raises(ValueError, match="for gemm_grouped_batched"):
        Batch(stream, [A], [B]).head.address  # noqa: B018 - it raises
    with pytest.raises(TypeError, match="vectors have no transpose"):
        Batch(stream, [X]).T  # noqa: B018 - it raises
    groups = [Batch(stream, [each], [each]) for each in (A, B, C)]
    with pytest.raises(ValueError, match="for 2 groups, which need a number each"):
        cublas.gemm_grouped_batched(handle, *groups, alpha=[1.0])


OF_LOADING = {"cublasGetVersion_v2", "cublasGetStatusName", "cublasGetStatusString"}  # `load` asks these


def test_every_function_is_reached_or_has_cs_name_for_a_reason() -> None:
    there = {name for name in FUNCTIONS if not name.endswith("_64")}
    assert documented(cublas, r"\bcublas[A-Z]\w*") == there - OF_LOADING


@pytest.mark.covers("cublasSetLoggerCallback", "cublasGetLoggerCallback", "cublasLoggerConfigure")
def test_the_log(cublas: Any, caplog: pytest.LogCaptureFixture, no_gpu: None) -> None:
    from gocudnn_py.cublas import log, log_to_logging

    def installed() -> bool:
        found = ctypes.c_void_p()
        cublas.cublasGetLoggerCallback(ctypes.byref(found))
        return found.value == ctypes.cast(log._installed, ctypes.c_void_p).value

    with caplog.at_level(logging.INFO, "gocudnn_py.cublas"):
        log_to_logging()
        with pytest.raises(CublasError):
            cublas.cublasCreate_v2(ctypes.byref(ctypes.c_void_p()))
        heard = len(caplog.records)
        assert installed()
        log_to_logging(False)
        assert installed()
        with pytest.raises(CublasError):
            cublas.cublasCreate_v2(ctypes.byref(ctypes.c_void_p()))
    assert "cublasCreate_v2" in caplog.text
    assert heard == len(caplog.records)
