"""Stand-ins where there is no GPU: a cuDNN that notes its calls, buffers, a stream, and a cuDNN that is too old."""

from __future__ import annotations

import ctypes.util
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest

from gocudnn_py._abi.cudnn import FUNCTIONS
from gocudnn_py.errors import cudnn_error
from gocudnn_py.library import Library, load

HANDLE, STREAM = 0x7000, 0x5000


@dataclass(frozen=True)
class Buffer:
    """Memory that nobody touches."""

    pointer: int
    nbytes: int


def buffers(**sizes: int) -> SimpleNamespace:
    """Buffers by name, each at an address of its own, a multiple of 256."""
    return SimpleNamespace(
        **{name: Buffer(0x10000 * (place + 1), nbytes) for place, (name, nbytes) in enumerate(sizes.items())}
    )


class Recorder:
    """Notes every call as the values of the C function's parameters by name; `answers` are called instead.

    Each argument has to be one that the parameter's type takes, and their number the function's.
    """

    def __init__(self, **answers: Callable[..., None]) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.answers = answers

    def __getattr__(self, name: str) -> Any:
        row = FUNCTIONS[name]

        def call(*arguments: Any) -> None:
            assert len(arguments) == len(row.arguments), (name, len(arguments), row.names)
            for kind, argument in zip(row.arguments, arguments, strict=True):
                kind.from_param(argument)
            values = {what: _value(argument) for what, argument in zip(row.names, arguments, strict=True)}
            self.calls.append((name, values))
            if name in self.answers:
                self.answers[name](**values)

        return call

    @property
    def only(self) -> tuple[str, dict[str, Any]]:
        """The one call that was made."""
        (call,) = self.calls
        return call


def _value(argument: Any) -> Any:
    """What is pointed at, the numbers of an array, or the argument itself."""
    if isinstance(argument, ctypes.Array):
        return tuple(argument)
    return getattr(argument, "_obj", argument)


def handle() -> Any:
    """What stands for a cuDNN handle."""
    return SimpleNamespace(handle=HANDLE)


def stream() -> Any:
    """What stands for a stream; `entered` counts how often its device was made current."""
    made = SimpleNamespace(handle=STREAM, entered=0)

    def enter() -> None:
        made.entered += 1

    made.device = SimpleNamespace(enter=enter)
    return made


def older_library() -> Library:
    """A library of version 9.19.0 that has no function of cuDNN at all."""
    path = ctypes.util.find_library("c")
    if path is None:
        pytest.skip("no C library by name on this platform")
    library = Library("cuDNN", path, FUNCTIONS, lambda _, function, status: cudnn_error(function, status, ""))
    library.version = (9, 19, 0)
    return library


def skip_what_is_missing(request: pytest.FixtureRequest) -> None:
    """Skip a test that is marked to check functions which the loaded library does not have; for use in a fixture."""
    library = load("cudnn")
    for name in (name for marker in request.node.iter_markers("covers") for name in marker.args):
        if not hasattr(library, name):
            pytest.skip(f"{name} is not in {library!r}")
