"""The marker `covers`: which C functions a test checks, and that it calls them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from gocudnn_py.errors import NotInThisVersion
from gocudnn_py.library import Library, load

PREFIXES = {
    "cudnn": "cudnn",
    "cublasLt": "cublaslt",
    "cublas": "cublas",
    "curand": "curand",
    "nvjpeg": "nvjpeg",
    "npp": "npp",
}
"""Libraries by what their functions' names begin with, the longer prefix first."""


@contextmanager
def called(functions: tuple[str, ...]) -> Iterator[set[str]]:
    """The functions that have been called, and did not fail, since the block began."""
    done: set[str] = set()
    with ExitStack() as restore:
        for name in functions:
            library = _library(name)
            try:
                function = getattr(library, name)
            except NotInThisVersion as error:
                pytest.skip(str(error))
            setattr(library, name, _watched(name, function, done))
            restore.callback(setattr, library, name, function)
        yield done


def _library(function: str) -> Library:
    for prefix, name in PREFIXES.items():
        if function.startswith(prefix):
            return load(name)  # type: ignore[call-overload,no-any-return]
    raise LookupError(f"{function} is of none of the libraries {', '.join(PREFIXES.values())}")


def _watched(name: str, function: Callable[..., Any], done: set[str]) -> Callable[..., Any]:
    def watched(*arguments: Any) -> Any:
        result = function(*arguments)
        done.add(name)
        return result

    return watched
