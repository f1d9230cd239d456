"""cuBLAS's own log, by its callback, into `logging`."""

from __future__ import annotations

import logging
import threading
from typing import Any

from gocudnn_py._abi.cublas import LogCallback
from gocudnn_py.library import load

logger = logging.getLogger("gocudnn_py.cublas")
_lock = threading.Lock()
_installed: Any = None  # what the library calls; it must live as long as the library may call it


def log_to_logging(on: bool = True, file: str | None = None) -> None:
    """Have cuBLAS log every call to the logger `gocudnn_py.cublas`, and to a file if given, or nothing any more.

    (cublasSetLoggerCallback, cublasLoggerConfigure.) It slows each call down.
    """
    global _installed
    lib = load("cublas")
    callback = LogCallback(_log if on else _nothing)
    with _lock:
        lib.cublasSetLoggerCallback(callback)
        _installed = callback
        lib.cublasLoggerConfigure(int(on), 0, 0, file.encode() if on and file else None)


def _log(message: bytes | None) -> None:
    logger.info("%s", (message or b"").decode(errors="replace").strip())


def _nothing(message: bytes | None) -> None:
    pass
