"""Which C function does an operation for a data type, by the letters in its name."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from typing import Any

from gocudnn_py._abi.base import Int
from gocudnn_py._abi.cublas import FUNCTIONS
from gocudnn_py._abi.cuda import CudaDataType

INT32_MAX = 2**31 - 1
CODES = (CudaDataType.R_32F, CudaDataType.R_64F, CudaDataType.C_32F, CudaDataType.C_64F)
HALVES = (CudaDataType.R_16F, CudaDataType.R_16BF)
"""The types that have no letter: their functions end with Ex and take the types as arguments."""
LETTERS = {
    "": ("S", "D", "C", "Z"),
    "index": ("s", "d", "c", "z"),
    "length": ("S", "D", "Sc", "Dz"),  # a real result of a complex vector
    "real": ("S", "D", "Cs", "Zd"),  # a real factor of a complex vector
}
"""The letters of float32, float64, complex64 and complex128, in that order."""


@functools.cache
def function(stem: str, code: CudaDataType, letters: str = "") -> str:
    """The name of a function, `stem` with the type's letters in place of `{}`. Raises TypeError when there is none."""
    names = {each: _named(stem.format(letter)) for each, letter in zip(CODES, LETTERS[letters], strict=True)}
    name = names.get(code)
    if name is None:
        there = ", ".join(each.name for each, found in names.items() if found)
        raise TypeError(f"cuBLAS has no {stem.format('')} for {code.name}; it has it for {there}")
    return name


def _named(stem: str) -> str | None:
    return next((name for name in (f"cublas{stem}_v2", f"cublas{stem}") if name in FUNCTIONS), None)


@functools.cache
def int32s(name: str) -> tuple[bool, Callable[[tuple[Any, ...]], tuple[int, ...]]]:
    """Whether a function takes the handle, and what picks C's ints of the arguments after it: they may be too short."""
    row = FUNCTIONS[name]
    first = int(row.names[0] == "handle")
    positions = [index for index, kind in enumerate(row.arguments[first:]) if kind is Int]
    if len(positions) > 1:
        return bool(first), operator.itemgetter(*positions)
    return bool(first), lambda arguments: tuple(arguments[index] for index in positions) or (0,)


@functools.cache
def wide(name: str) -> str | None:
    """The form of a function that takes 64-bit extents and strides; None when cuBLAS has none."""
    return f"{name}_64" if f"{name}_64" in FUNCTIONS else None
