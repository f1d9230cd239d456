"""Wide values through every parameter class, called for real: into a small C library made here."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gocudnn_py._abi.base import Answer, Double, Float, Function, Int, Int64, Ptr, Size, Text, Uint64
from gocudnn_py._abi.cudnn import DataType
from gocudnn_py.errors import CudnnError
from gocudnn_py.library import Library

SOURCE = """
#include <stdint.h>
#include <stddef.h>
long long echo_int(int v) { return v; }
unsigned long long echo_unsigned(unsigned v) { return v; }
long long echo_int64(int64_t v) { return v; }
unsigned long long echo_uint64(uint64_t v) { return v; }
size_t echo_size(size_t v) { return v; }
void *echo_pointer(const void *v) { return (void *)v; }
double echo_float(float v) { return v; }
double echo_double(double v) { return v; }
const char *echo_text(const char *v) { return v; }
int status(int v) { return v; }
void thirteen(void *out, int a, size_t b, int c, int64_t d, void *e, double f, int g, void *h, float i,
              int j, size_t k, int l)
{
    int64_t got[12] = {a, b, c, d, (int64_t)e, f, g, (int64_t)h, i, j, k, l};
    for (int n = 0; n < 12; n++) ((int64_t *)out)[n] = got[n];
}
"""
THIRTEEN = (Ptr, Int, Size, Int, Int64, Ptr, Double, Int, Ptr, Float, Int, Size, Int)
FUNCTIONS = {
    "echo_int": Function(Int64, (Int,), ("v",), False, ""),
    "echo_unsigned": Function(Uint64, (Int,), ("v",), False, ""),
    "echo_int64": Function(Int64, (Int64,), ("v",), False, ""),
    "echo_uint64": Function(Uint64, (Uint64,), ("v",), False, ""),
    "echo_size": Function(Size, (Size,), ("v",), False, ""),
    "echo_pointer": Function(Ptr, (Ptr,), ("v",), False, ""),
    "echo_float": Function(Double, (Float,), ("v",), False, ""),
    "echo_double": Function(Double, (Double,), ("v",), False, ""),
    "echo_text": Function(Text, (Ptr,), ("v",), False, ""),
    "status": Function(Answer, (Int,), ("v",), False, ""),
    "thirteen": Function(None, THIRTEEN, tuple("oabcdefghijkl"), False, ""),
}


@pytest.fixture(scope="module")
def echo(compile_c: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Any:
    path = compile_c(SOURCE, tmp_path_factory.mktemp("echo") / "libecho.so")
    return Library("echo", str(path), FUNCTIONS, lambda _, f, s: CudnnError(f, s, "ECHO"))


WIDE = [0, 1, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**32 + 1, 2**47 - 4096, 2**63 - 1]
ABOVE_4_GIB = 0x7FFF_DEAD_B000


@pytest.mark.parametrize("value", WIDE)
@pytest.mark.parametrize("function", ["echo_int64", "echo_uint64", "echo_size"])
def test_wide_integers_arrive_whole(echo: Any, function: str, value: int) -> None:
    assert getattr(echo, function)(value) == value


@pytest.mark.parametrize("value", [*WIDE, ABOVE_4_GIB, 2**64 - 8])
def test_pointers_arrive_whole(echo: Any, value: int) -> None:
    assert (echo.echo_pointer(value) or 0) == value
    assert (echo.echo_pointer(ctypes.c_void_p(value)) or 0) == value


def test_pointers_to_real_memory(echo: Any) -> None:
    buffer = ctypes.create_string_buffer(b"above", 1 << 24)  # big enough to be mapped, far above 4 GiB
    address = ctypes.addressof(buffer)
    assert address > 2**32
    number = ctypes.c_int(7)
    assert echo.echo_pointer(buffer) == echo.echo_pointer(address) == address
    assert echo.echo_pointer(ctypes.byref(number)) == ctypes.addressof(number)
    assert echo.echo_text(address) == b"above"
    assert echo.echo_pointer(None) is None


def test_negative_int64(echo: Any) -> None:
    assert echo.echo_int64(-(2**63)) == -(2**63)


@pytest.mark.parametrize("value", [0, 1, -1, 2**31 - 1, -(2**31)])
def test_ints_of_32_bits_arrive_whole(echo: Any, value: int) -> None:
    assert echo.echo_int(value) == value


def test_unsigned_of_32_bits_arrives_whole(echo: Any) -> None:
    assert echo.echo_unsigned(2**32 - 1) == 2**32 - 1


@pytest.mark.parametrize(("value", "kept"), [(2**31, -(2**31)), (2**32 + 1, 1), (ABOVE_4_GIB, -559042560)])
def test_int_keeps_the_low_32_bits_and_is_therefore_for_ints_only(echo: Any, value: int, kept: int) -> None:
    assert echo.echo_int(value) == kept


def test_int_takes_enumerators_and_refuses_the_rest(echo: Any) -> None:
    assert echo.echo_int(DataType.BFLOAT16) == 9
    for wrong in (1.0, "1", None, ctypes.c_int(1)):
        with pytest.raises(ctypes.ArgumentError):
            echo.echo_int(wrong)
    with pytest.raises(ctypes.ArgumentError):
        echo.echo_int(2**64)


def test_floats(echo: Any) -> None:
    assert echo.echo_double(0.1) == 0.1
    assert echo.echo_float(0.1) == pytest.approx(0.1, rel=1e-7)
    assert echo.echo_double(3) == 3.0


def test_thirteen_arguments_each_in_its_place(echo: Any) -> None:
    out = (ctypes.c_int64 * 12)()
    sent = [-1, 2**33, 3, 2**40, ABOVE_4_GIB, 6.0, -7, 2**35, 9.0, 10, 2**32 + 1, -12]
    echo.thirteen(out, *sent)
    assert list(out) == sent


def test_too_few_arguments(echo: Any) -> None:
    with pytest.raises(TypeError, match="at least 13 arguments"):
        echo.thirteen(None, 1)


def test_a_status_raises_and_is_never_returned(echo: Any) -> None:
    assert echo.status(0) is None
    with pytest.raises(CudnnError, match=r"status: ECHO \(7\)") as raised:
        echo.status(7)
    assert (raised.value.function, raised.value.status) == ("status", 7)
