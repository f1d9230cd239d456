"""What cuBLAS's handle can be set to."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any


def _setting(name: str, cell: Callable[[], Any] = ctypes.c_int) -> Any:
    """A property that is read and written by the library's Get and Set of a name."""

    def read(handle: Any) -> int:
        out = cell()
        getattr(handle.lib, f"cublasGet{name}")(handle.handle, ctypes.byref(out))
        return out.value or 0

    def write(handle: Any, value: int) -> None:
        getattr(handle.lib, f"cublasSet{name}")(handle.handle, value)

    return property(read, write)


class Settings:
    """Settings of a handle, read and written as attributes. Those of emulation raise NotInThisVersion before 13.1.

    `math_mode`: how float32 may be rounded, bits of Math (cublasGetMathMode, cublasSetMathMode).
    `atomics`: whether sums may give other bits on each run, an AtomicsMode (cublasGetAtomicsMode,
    cublasSetAtomicsMode).
    `sm_count`: how many multiprocessors to plan for, 0 for all (cublasGetSmCountTarget, cublasSetSmCountTarget).
    `emulation`: when wide types are emulated by narrow ones, an EmulationStrategy (cublasGetEmulationStrategy,
    cublasSetEmulationStrategy).
    `emulated_specials`: which infinities and NaNs emulation keeps, a mask (cublasGetEmulationSpecialValuesSupport,
    cublasSetEmulationSpecialValuesSupport).
    `mantissa_control`: whether emulated float64 has a fixed number of mantissa bits
    (cublasGetFixedPointEmulationMantissaControl, cublasSetFixedPointEmulationMantissaControl).
    `mantissa_bits`: the most that it has (cublasGetFixedPointEmulationMaxMantissaBitCount,
    cublasSetFixedPointEmulationMaxMantissaBitCount).
    `mantissa_offset`: bits more than it would choose (cublasGetFixedPointEmulationMantissaBitOffset,
    cublasSetFixedPointEmulationMantissaBitOffset).
    `mantissa_bits_used`: address of an int32 on the device that is told the bits, 0 for none
    (cublasGetFixedPointEmulationMantissaBitCountPointer, cublasSetFixedPointEmulationMantissaBitCountPointer).
    """

    math_mode: int = _setting("MathMode")
    atomics: int = _setting("AtomicsMode")
    sm_count: int = _setting("SmCountTarget")
    emulation: int = _setting("EmulationStrategy")
    emulated_specials: int = _setting("EmulationSpecialValuesSupport")
    mantissa_control: int = _setting("FixedPointEmulationMantissaControl")
    mantissa_bits: int = _setting("FixedPointEmulationMaxMantissaBitCount")
    mantissa_offset: int = _setting("FixedPointEmulationMantissaBitOffset")
    mantissa_bits_used: int = _setting("FixedPointEmulationMantissaBitCountPointer", ctypes.c_void_p)
