"""Python functions in stream order."""

from __future__ import annotations

import ctypes
import itertools
import logging
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from gocudnn_py import driver

logger = logging.getLogger("gocudnn_py.cuda")
_waiting: dict[int, Callable[[], None]] = {}  # held here until the stream gets there
_numbers = itertools.count(1)


def launch(stream: ctypes.c_void_p, function: Callable[..., object], arguments: tuple[object, ...]) -> Future[Any]:
    """Give a call to a stream; its future (cuLaunchHostFunc)."""
    run, future = guarded(function, arguments)
    number = next(_numbers)
    _waiting[number] = run
    try:
        driver.call("cuLaunchHostFunc", stream, _entry, number)
    except BaseException:
        del _waiting[number]
        raise
    return future


def guarded(function: Callable[..., object], arguments: tuple[object, ...]) -> tuple[Callable[[], None], Future[Any]]:
    """A call that never raises, and the future that has what it returned or raised the first time."""
    if not callable(function):
        raise TypeError(f"a host function is called, and {type(function).__name__} cannot be")
    future: Future[Any] = Future()
    calls = itertools.count()

    def run() -> None:
        first = next(calls) == 0
        if first and not future.set_running_or_notify_cancel():
            return
        try:
            result = function(*arguments)
        except BaseException as error:
            logger.error("a host function of a stream failed", exc_info=error)
            if first:
                future.set_exception(error)
        else:
            if first:
                future.set_result(result)

    return run, future


def _run(number: int) -> None:
    _waiting.pop(number)()


_entry = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(_run)  # what the driver calls
