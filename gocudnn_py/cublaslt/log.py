"""cuBLASLt's own log, by its callback, into `logging`."""

from __future__ import annotations

import logging
import os
import threading
from typing import Any

from gocudnn_py._abi.cublaslt import LoggerCallback
from gocudnn_py.library import load

logger = logging.getLogger("gocudnn_py.cublaslt")
LEVELS = {1: logging.ERROR, 2: logging.INFO, 3: logging.INFO, 4: logging.DEBUG, 5: logging.DEBUG}
"""The library's levels: errors, performance trace and hints, heuristics, every call."""
ERRORS, HINTS, EVERYTHING = 1, 3, 5
_lock = threading.Lock()
_installed: Any = None  # what the library calls; it must live as long as the library may call it


def log_to_logging(level: int = ERRORS, *, file: str | None = None, mask: int | None = None) -> None:
    """Have cuBLASLt log to the logger `gocudnn_py.cublaslt` up to a level of its own, 0 for nothing any more.

    And to a file, if given; `mask` picks single levels, 2 to the power of each less one, in place of all up to one
    (cublasLtLoggerSetCallback, cublasLtLoggerOpenFile, cublasLtLoggerSetLevel, cublasLtLoggerSetMask).
    """
    global _installed
    if level not in (0, *LEVELS):
        raise ValueError(f"level {level} is none of 0 to {max(LEVELS)}")
    lib, callback = load("cublaslt"), LoggerCallback(_log)
    with _lock:
        lib.cublasLtLoggerOpenFile((file or os.devnull).encode())  # else it writes to the standard output as well
        lib.cublasLtLoggerSetCallback(callback)
        _installed = callback
        lib.cublasLtLoggerSetLevel(level)
        if mask is not None:
            lib.cublasLtLoggerSetMask(mask)


def disable_log() -> None:
    """Have cuBLASLt log nothing for the rest of the process, whatever is asked later (cublasLtLoggerForceDisable)."""
    load("cublaslt").cublasLtLoggerForceDisable()


def _log(level: int, function: bytes | None, message: bytes | None) -> None:
    said = (message or b"").decode(errors="replace").strip()
    logger.log(LEVELS.get(level, logging.INFO), "%s: %s", (function or b"").decode(), said)
