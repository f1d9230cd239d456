"""Calls of cuBLAS made ready once: what is packed, without a GPU."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gocudnn_py import cublas
from gocudnn_py._abi.cublas import PointerMode
from gocudnn_py.cublas import batched
from gocudnn_py.cublas.handle import Handle
from gocudnn_py.errors import UnusableResource
from tests.gocudnn_py.column_major import HostPlace
from tests.gocudnn_py.cuda_standin import address_of


class Unmade(Handle):
    """A handle whose library notes what it is called with."""

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.lib = SimpleNamespace(plain=lambda name: self._note, fail=self._fail)
        self.lib.cublasSetPointerMode_v2 = lambda *_: None
        self._handle, self.stream, self.gpu = 0xB1A5, object(), SimpleNamespace(enter=lambda: None)
        self._noted, self._mode, self.device, self.open, self.status = None, PointerMode.HOST, 0, True, 0

    handle = property(lambda self: self._handle)
    usable = property(lambda self: self.open)
    pointer_mode = property(lambda self: self._mode)

    def _complaint(self) -> str:
        return "this Handle is closed"

    def _note(self, *arguments: Any) -> int:
        self.calls.append(arguments)
        return self.status

    def _fail(self, name: str, status: int) -> None:
        raise RuntimeError(f"{name}: {status}")


def test_a_product_is_packed_once() -> None:
    handle = Unmade()
    a, b, c = (cublas.Matrix(address, 4, 4) for address in (1 << 40, 2 << 40, 3 << 40))
    product = cublas.BoundCall(handle, cublas.gemm, a, b, c, alpha=2.0, beta=0.5)
    assert handle.calls == []
    assert repr(product) == "BoundCall(cublasGemmEx)"
    product()
    product()
    first, second = handle.calls
    assert [id(cell) for cell in first] == [id(cell) for cell in second]
    assert address_of(first[0]) == 0xB1A5
    assert {2 << 40, 1 << 40, 3 << 40} <= {address_of(cell) for cell in first if "'P'" in repr(cell)}


def test_what_cannot_be_bound() -> None:
    handle = Unmade()
    with pytest.raises(ValueError, match="makes 0 calls"):
        cublas.BoundCall(handle, lambda handle: None)
    with pytest.raises(TypeError, match="3 times"):
        cublas.BoundCall(handle, lambda handle: _refuse())
    product = cublas.BoundCall(handle, cublas.gemm, *(cublas.Matrix(256, 2, 2) for _ in range(3)))
    handle.status = 13
    with pytest.raises(RuntimeError, match="cublasGemmEx: 13"):
        product()
    handle.open = False
    with pytest.raises(UnusableResource, match="closed"):
        product()


def _refuse() -> None:
    raise TypeError("3 times 4")


def test_another_stream_holds_the_operands() -> None:
    handle = Unmade()
    places: list[Any] = [HostPlace(None, 16) for _ in range(4)]
    for place in places:
        place.used_on = None
    a, b, c = (cublas.Matrix(place, 2, 2) for place in places[:3])
    product = cublas.BoundCall(handle, cublas.trmm, a, b, c=c, lower=True, alpha=places[3])
    held: list[Any] = []
    handle.stream = SimpleNamespace(uses=lambda *buffers: held.extend(buffers))
    product()
    assert held == places


def test_a_recording_holds_the_operands_each_time() -> None:
    handle, held = Unmade(), list[Any]()
    places: list[Any] = [HostPlace(None, 16) for _ in range(3)]
    for place in places:
        place.used_on = None
    product = cublas.BoundCall(handle, cublas.gemm, *(cublas.Matrix(place, 2, 2) for place in places))
    stream: Any = SimpleNamespace(uses=lambda *buffers: held.append(buffers))
    handle.stream = stream
    for records in (False, False, True, True, False):
        stream.capturing = records
        product()
    assert held == [tuple(places)] * 4


X, Y = cublas.Vector(1 << 40, 8), cublas.Vector(2 << 40, 8)
ON_THE_HOST: list[tuple[Callable[..., object], tuple[Any, ...]]] = [
    (cublas.dot, (X, Y)),
    (cublas.nrm2, (X,)),
    (cublas.iamax, (X,)),
    (cublas.rotg, (1.0, 2.0)),
    (cublas.rotmg, (1.0, 2.0, 3.0, 4.0)),
    (cublas.rotm, (X, Y, (0.0, 1.0, 2.0, 3.0, 4.0))),
]


@pytest.mark.parametrize(("operation", "operands"), ON_THE_HOST)
def test_places_of_the_host_are_not_bound(operation: Callable[..., object], operands: tuple[Any, ...]) -> None:
    with pytest.raises(ValueError, match="cannot be bound unless its numbers lie on the device"):
        cublas.BoundCall(Unmade(), operation, *operands)


def test_results_on_the_device_are_bound() -> None:
    handle, out = Unmade(), HostPlace(None, 4)
    cublas.BoundCall(handle, cublas.dot, X, Y, out=out)()
    assert address_of(handle.calls[0][-1]) == out.pointer


def test_functions_without_a_handle_are_not_bound() -> None:
    handle = Unmade()
    handle.stream = SimpleNamespace(handle=0, synchronize=lambda: None)
    with pytest.raises(ValueError, match="cublasSetMatrixAsync takes no handle"):
        cublas.BoundCall(handle, cublas.upload, np.zeros((4, 4), np.float32), cublas.Matrix(1 << 40, 4, 4))


def test_arrays_of_a_grouped_product_live_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batched, "DeviceBuffer", HostPlace)
    stream: Any = None
    shapes = ((3, 5), (5, 7), (3, 7)), ((2, 4), (4, 6), (2, 6))
    a, b, c = (
        cublas.Batch(stream, *([cublas.Matrix(1 << 40, *group[index])] for group in shapes)) for index in range(3)
    )
    handle = Unmade()
    cublas.BoundCall(handle, cublas.gemm_grouped_batched, a, b, c)()
    held = [ctypes.string_at(cell, 8) for cell in handle.calls[0] if isinstance(cell, ctypes.c_char_p)]
    found = [np.frombuffer(each, np.int32).tolist() for each in held]
    one, two = np.ones(2, np.float32).view(np.int32).tolist(), [0, 0]
    assert found == [[0, 0], [0, 0], [7, 6], [3, 2], [5, 4], one, [7, 6], [5, 4], two, [7, 6], [1, 1]]
