"""Calls of cuBLAS made ready once: what is packed, without a GPU."""

from __future__ import annotations

import ctypes
from types import SimpleNamespace
from typing import Any

import pytest

from gocudnn_py import cublas
from gocudnn_py._abi.cublas import PointerMode
from gocudnn_py.cublas.handle import Handle
from gocudnn_py.errors import UnusableResource


class Unmade(Handle):
    """A handle whose library notes what it is called with."""

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.lib = SimpleNamespace(plain=lambda name: self._note, fail=self._fail)
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

    def hold(self, what: str, *operands: Any) -> None:
        self.held = what, operands


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
    assert first[0].value == 0xB1A5
    assert {2 << 40, 1 << 40, 3 << 40} <= {cell.value for cell in first if isinstance(cell, ctypes.c_void_p)}


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
    operands = [cublas.Matrix(256, 2, 2) for _ in range(3)]
    product = cublas.BoundCall(handle, cublas.gemm, *operands)
    handle.stream = object()
    product()
    assert handle.held == ("cublasGemmEx", tuple(operands))
