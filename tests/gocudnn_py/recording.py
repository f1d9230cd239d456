"""A stand-in for a library in front of what needs a GPU: it notes what each function was given, by parameter."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from gocudnn_py._abi.cudnn import FUNCTIONS

HANDLE: Any = SimpleNamespace(handle=0xC0DE)


class Recording:
    """Notes calls of the functions it is given and answers by them, or not at all; passes all others on."""

    def __init__(self, library: Any, functions: dict[str, Callable[..., None] | None]) -> None:
        self._library, self._functions = library, functions
        self.calls: list[tuple[str, dict[str, Any]]] = []

    def __getattr__(self, name: str) -> Any:
        if name not in self._functions:
            return getattr(self._library, name)
        row = FUNCTIONS[name]

        def call(*arguments: Any) -> None:
            assert len(arguments) == len(row.names), f"{name} takes {row.names}"
            for kind, argument in zip(row.arguments, arguments, strict=True):
                kind.from_param(argument)
            self.calls.append((name, dict(zip(row.names, arguments, strict=True))))
            answer = self._functions[name]
            if answer is not None:
                answer(*arguments)

        return call

    def only(self, name: str) -> dict[str, Any]:
        """The arguments of the one call there was of a function."""
        (found,) = [arguments for called, arguments in self.calls if called == name]
        return found


def buffer(pointer: int, nbytes: int = 1 << 20) -> Any:
    """What is taken for a device buffer."""
    return SimpleNamespace(pointer=pointer, nbytes=nbytes)


def writes(number: int) -> Callable[..., None]:
    """An answer that writes a number to the last argument."""

    def answer(*arguments: Any) -> None:
        arguments[-1]._obj.value = number

    return answer
