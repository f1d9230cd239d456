"""A call of cuBLAS made ready once, to be made again and again at little more than the library's own cost."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

from gocudnn_py._abi.base import Int
from gocudnn_py._abi.cublas import FUNCTIONS
from gocudnn_py.cublas.handle import Handle
from gocudnn_py.matrix import used_on


class BoundCall:
    """An operation with its operands, checked and packed: call it as often as you like, on the handle's stream.

        product = cublas.BoundCall(handle, cublas.gemm, a, b, c, beta=1.0)
        product()

    What lies in the operands is read anew each time, numbers such as alpha stay as they were. Raises ValueError for an
    operation that takes several calls, gives a result to the host, has the library read an array there, or takes no
    handle, and whatever the operation raises.
    """

    def __init__(self, handle: Handle, operation: Callable[..., object], *operands: Any, **how: Any) -> None:
        self._handle, given = handle, (*operands, *how.values())
        self._places = tuple(place for each in given for place in getattr(each, "places", (each,)))
        calls = handle.noted(lambda: operation(handle, *operands, **how))
        if len(calls) != 1:
            raise ValueError(f"{operation.__name__} makes {len(calls)} calls, which cannot be bound as one")
        self.name, arguments = calls[0]
        self._function = handle.lib.plain(self.name)
        kinds = FUNCTIONS[self.name].arguments[1:]
        self._arguments = ctypes.c_void_p.from_param(handle.handle), *map(_converted, kinds, arguments)
        self._stream, self._mode = handle.stream, handle.pointer_mode

    def __call__(self) -> None:
        """Make the call. Raises CublasError, UnusableResource when the handle is closed."""
        handle = self._handle
        records = getattr(handle.stream, "capturing", False)
        if not handle.ready(self._stream, self._mode) or records:
            used_on(handle.stream, self._places)
            self._stream = None if records else handle.stream  # a recording is soon over
        status = self._function(*self._arguments)
        if status:
            handle.lib.fail(self.name, status)

    def __repr__(self) -> str:
        return f"BoundCall({self.name})"


def _converted(kind: Any, argument: Any) -> Any:
    """An argument as a call takes it, with no conversion left to do."""
    if isinstance(argument, bytes):
        return ctypes.c_char_p(argument)
    return (ctypes.c_int if kind is Int else kind).from_param(argument)
