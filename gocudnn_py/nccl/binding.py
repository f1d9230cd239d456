"""nccl4py, found when it is first needed, and its errors as ours.

Its functions with C's names are called, and not its own communicator: that takes the type of the numbers from the
array, where bytes would be uint8 and bfloat16 is unknown, and looks for PyTorch and CuPy at each call.
"""

from __future__ import annotations

import functools
from importlib import import_module
from typing import Any

from gocudnn_py.errors import LibraryNotFound, NcclError, NotInThisVersion, VersionMismatch
from gocudnn_py.finding import cuda_major, find, installed

ID_BYTES = 128  # NCCL_UNIQUE_ID_BYTES
MISSING = "FunctionNotFoundError"  # of a module of nccl4py's own, which finds C's functions one by one


@functools.cache
def bindings() -> Any:
    """The module of nccl4py. Raises LibraryNotFound without it or NCCL, VersionMismatch when it is older than 0.5."""
    try:
        module = import_module("nccl.bindings.nccl")
    except ImportError as error:
        raise LibraryNotFound("nccl4py", str(error), cuda_major()) from None
    if not hasattr(module, "Comm"):
        raise VersionMismatch(f"nccl4py {installed('nccl4py')} is older than 0.5, the oldest supported")
    find("nccl")
    return module


def call(name: str, *arguments: object) -> Any:
    """Call a function by nccl4py's name for it; what it answers.

    Raises NcclError in the library's words, NotInThisVersion (ncclGetErrorString, ncclGetLastError, ncclGetVersion).
    """
    module = bindings()
    try:
        return getattr(module, name)(*arguments)
    except module.NCCLError as error:
        raise failure(name, error.status) from None
    except RuntimeError as error:
        if type(error).__name__ != MISSING:
            raise
        raise NotInThisVersion(c_name(name), "NCCL", version(), module.get_library_path()) from error


def failure(name: str, status: int) -> NcclError:
    """The exception for a status: the meaning of the status, and what NCCL noted last."""
    module = bindings()
    return NcclError(
        c_name(name), int(status), module.get_error_string(int(status)), module.get_last_error(module.Comm(0))
    )


def c_name(name: str) -> str:
    """C's name of a function: ncclAllReduce of all_reduce."""
    return "nccl" + name.title().replace("_", "")


def version() -> tuple[int, int, int]:
    """NCCL's version (ncclGetVersion)."""
    number = bindings().get_version()
    return number // 10000, number % 10000 // 100, number % 100


def unique_id() -> bytes:
    """128 bytes that name a communicator to come: one rank makes them, and hands them to all (ncclGetUniqueId)."""
    return bytes(call("get_unique_id"))
