"""cuDNN's own log, by its callback: into `logging`, or into a list while something is being explained."""

from __future__ import annotations

import ctypes
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from gocudnn_py._abi.cudnn import Severity
from gocudnn_py.library import load

logger = logging.getLogger("gocudnn_py.cudnn")
LEVELS = {
    Severity.FATAL: logging.CRITICAL,
    Severity.ERROR: logging.ERROR,
    Severity.WARNING: logging.WARNING,
    Severity.INFO: logging.INFO,
}
Listener = Callable[[int, list[str]], None]
_Callback = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
_lock = threading.RLock()
_installed: Any = None  # what cuDNN calls; it must live as long as cuDNN may call it
_usual: tuple[int, Listener] | None = None


def log_to_logging(level: int = logging.WARNING) -> None:
    """Have cuDNN log what it thinks worth `level` or more to the logger `gocudnn_py.cudnn` (cudnnSetCallback).

    INFO logs every call of cuDNN, and slows each down.
    """
    global _usual
    mask = sum(1 << severity for severity, its_level in LEVELS.items() if its_level >= level)
    with _lock:
        _usual = mask, _log
        _install(_usual)


def logged() -> set[Severity]:
    """What cuDNN is asked to log at present (cudnnGetCallback)."""
    mask, data, function = ctypes.c_uint(), ctypes.c_void_p(), ctypes.c_void_p()
    load("cudnn").cudnnGetCallback(ctypes.byref(mask), ctypes.byref(data), ctypes.byref(function))
    return {severity for severity in Severity if mask.value & 1 << severity}


@contextmanager
def collected() -> Iterator[list[str]]:
    """The lines that cuDNN logs as warnings or errors during the block, on this thread."""
    lines: list[str] = []
    thread = threading.get_ident()

    def collect(severity: int, more: list[str]) -> None:
        if threading.get_ident() == thread:
            lines.extend(more)

    with _lock:
        _install((1 << Severity.ERROR | 1 << Severity.WARNING, collect))
        try:
            yield lines
        finally:
            _install(_usual)


def _log(severity: int, lines: list[str]) -> None:
    logger.log(LEVELS.get(Severity(severity), logging.INFO), "%s", "\n".join(lines))


def _install(listening: tuple[int, Listener] | None) -> None:
    global _installed
    mask, listener = listening or (0, None)

    def called(severity: int, _data: int, _debug: int, message: int) -> None:
        if listener is not None:
            listener(severity, _lines(message))

    callback = _Callback(called)
    load("cudnn").cudnnSetCallback(mask, None, callback)
    _installed = callback


def _lines(address: int | None) -> list[str]:
    """The lines at an address, each ended by a zero byte, the last one empty."""
    lines = []
    while address:
        line = ctypes.string_at(address)
        if not line:
            break
        lines.append(line.decode(errors="replace").strip())
        address += len(line) + 1
    return lines
