"""A library that is not there: its calls are checked against the C declarations and written down."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterable, Mapping
from itertools import count
from types import SimpleNamespace
from typing import Any

import pytest

from gocudnn_py import driver
from gocudnn_py._abi.base import Function
from gocudnn_py.cuda import DeviceBuffer


class Recorded:
    """Functions that take what C's take, and answer through `answers`; what is created gets a number of its own."""

    def __init__(self, functions: Mapping[str, Function], answers: Mapping[str, Callable[..., None]] = {}) -> None:
        self._functions, self._answers, self._made = functions, answers, count(0x1000)
        self.calls: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Callable[..., None]:
        row = self._functions[name]

        def called(*arguments: Any) -> None:
            assert len(arguments) == len(row.arguments), f"{name} takes {row.names}, not {arguments}"
            for kind, argument in zip(row.arguments, arguments, strict=True):
                kind.from_param(argument)
            self.calls.append((name, *arguments))
            self._answer(name, arguments)

        return called

    def _answer(self, name: str, arguments: tuple[Any, ...]) -> None:
        if name in self._answers:
            self._answers[name](*arguments)
        elif "Create" in name:
            made = next(each for each in arguments if hasattr(each, "_obj") and type(each._obj) is ctypes.c_void_p)
            made._obj.value = next(self._made)

    @property
    def names(self) -> list[str]:
        """What was called, in order."""
        return [call[0] for call in self.calls]

    def last(self, name: str) -> tuple[Any, ...]:
        """The arguments of the last call of a function."""
        return next(call[1:] for call in reversed(self.calls) if call[0] == name)


class FakeStream:
    """A stream of a GPU that is not there."""

    def __init__(self, handle: int = 77, ordinal: int = 0) -> None:
        self.handle, self.used, self.waited = handle, list[Any](), 0
        self.device = SimpleNamespace(ordinal=ordinal, enter=lambda: None)

    def uses(self, *things: Any) -> None:
        self.used.extend(things)

    def synchronize(self) -> None:
        self.waited += 1

    def __repr__(self) -> str:
        return f"FakeStream({self.handle})"


class FakeMemory:
    """An allocation at an address where nothing is."""

    def __init__(self, address: int) -> None:
        self.address, self.users = address, dict[int, Any]()
        self.closed = False

    @property
    def handle(self) -> int:
        return self.address

    def close(self) -> None:
        self.closed = True


def fake_buffer(stream: FakeStream, nbytes: int, address: int = 0x100000) -> DeviceBuffer:
    """A device buffer that no GPU has."""
    return DeviceBuffer.over(stream, nbytes, FakeMemory(address))  # type: ignore[arg-type]


def without_driver(monkeypatch: pytest.MonkeyPatch, library: Recorded, modules: Iterable[Any]) -> None:
    """Have the modules load the recorded library, and no context made current."""
    for module in modules:
        monkeypatch.setattr(module, "load", lambda name: library)
    monkeypatch.setattr(driver, "current", lambda ordinal: True)
