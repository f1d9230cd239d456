"""The parameter classes and the row type that the generated tables are written in."""

from __future__ import annotations

import ctypes
import operator
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

if TYPE_CHECKING:
    Pointer: TypeAlias = (
        int
        | bytes
        | ctypes.c_void_p
        | ctypes.c_char_p
        | ctypes.Array[Any]
        | ctypes._Pointer[Any]
        | ctypes._CArgObject
        | ctypes._CFunctionType
        | None
    )


class Int:
    """A C `int`, `unsigned int` or enumeration.

    A plain index costs a third of what `c_int` does (0.5 against 1.8 us for a call with seven), for ctypes
    takes the number as it is. It keeps the low 32 bits without a word, so nothing wider than 32 bits may
    ever use it, and sizes are checked where they enter a descriptor.
    """

    from_param = operator.index


class Answer(ctypes.c_int):
    """The result of a function that answers with a status: raised when not zero, never returned."""


Ptr = ctypes.c_void_p
Text = ctypes.c_char_p
Size = ctypes.c_size_t
Int64 = ctypes.c_int64
Uint64 = ctypes.c_uint64
Float = ctypes.c_float
Double = ctypes.c_double


class Function(NamedTuple):
    """One C function: `result` is None for void; `header` is the file that declares it."""

    result: Any
    arguments: tuple[Any, ...]
    names: tuple[str, ...]
    deprecated: bool
    header: str
