"""A driver for tests without one: it checks what it is called with, notes it, and answers that all is well."""

from __future__ import annotations

import ctypes
import gc
import itertools
import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from gocudnn_py import driver, resource
from gocudnn_py.cuda import Stream

KINDS = {name: kinds for kinds, names in driver.FUNCTIONS.items() for name in names.split()}
CELLS = (ctypes.c_void_p, ctypes.c_uint64, ctypes.c_size_t)


address_of = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)(lambda address: address)
"""The address that C gets of an argument which `from_param` has made."""


class StandIn:
    """`calls` are what was called, with what; `answers` a status for a name, or a function to do in its place."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple[Any, ...]]] = []
        self.answers: dict[str, int | Callable[..., int]] = {}
        self._numbers = itertools.count(0x10000, 0x10000)

    def __getattr__(self, name: str) -> Callable[..., int]:
        def call(*arguments: Any) -> int:
            kinds = KINDS.get(name, "pppp")  # cuLaunchKernelEx is declared nowhere, for speed
            assert len(arguments) == len(kinds), f"{name} takes {len(kinds)} arguments, {len(arguments)} given"
            for kind, argument in zip(kinds, arguments, strict=True):
                driver.KINDS[kind].from_param(argument)  # raises what ctypes would raise
            self.calls.append((name, arguments))
            answer = self.answers.get(name, self._make)
            return answer if isinstance(answer, int) else answer(*arguments)

        return call

    def _make(self, *arguments: Any) -> int:
        """Write a number where the first argument points, if to a handle, an address or a size."""
        cell = getattr(arguments[0], "_obj", None) if arguments else None
        if isinstance(cell, CELLS):
            cell.value = next(self._numbers)
        return 0

    def names(self, *but: str) -> list[str]:
        """What was called, in order, without the handling of contexts."""
        return [name for name, _ in self.calls if not name.startswith("cuCtx") and name not in but]

    def last(self, name: str) -> tuple[Any, ...]:
        """The arguments of the last call of a function."""
        return next(arguments for each, arguments in reversed(self.calls) if each == name)


def make_device(ordinal: int = 0) -> Any:
    """As much of a device as memory and streams need."""
    return SimpleNamespace(
        ordinal=ordinal,
        pool_handle=0x77,
        capability=(9, 0),
        priorities=(0, -5),
        multiprocessors=4,
        enter=lambda: None,
        make_current=lambda: None,
    )


def make_stream(device: Any, handle: int = 0x500) -> Stream:
    """A stream of it."""
    stream = Stream.__new__(Stream)
    stream._take(device, SimpleNamespace(handle=handle, priority=0))
    return stream


def standing_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    """For a fixture: the stand-in as the driver, which all that was made is given back to in the end."""
    resource.drain()
    stand_in = StandIn()
    monkeypatch.setattr(driver, "library", lambda: stand_in)
    monkeypatch.setattr(driver, "_here", threading.local())  # it remembers functions of the library
    monkeypatch.setattr(driver, "context", lambda index: 0xC000 + index)
    yield stand_in
    gc.collect()
    resource.drain()
