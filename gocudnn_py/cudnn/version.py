"""What the loaded cuDNN says of itself."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

from gocudnn_py._abi.cuda import LibraryPropertyType
from gocudnn_py.library import load


@dataclass(frozen=True)
class Version:
    """cuDNN's version, the CUDA runtime's that it was built with, and the newest architecture that it knows."""

    cudnn: tuple[int, int, int]
    cuda: tuple[int, int]
    newest_device: int


def version() -> Version:
    """The loaded cuDNN's (cudnnGetProperty, cudnnGetVersion, cudnnGetCudartVersion, cudnnGetMaxDeviceVersion)."""
    lib = load("cudnn")
    parts = tuple(_property(kind) for kind in (0, 1, 2))
    number, cuda = lib.cudnnGetVersion(), lib.cudnnGetCudartVersion()
    assert number == parts[0] * 10000 + parts[1] * 100 + parts[2]
    return Version((parts[0], parts[1], parts[2]), (cuda // 1000, cuda % 1000 // 10), lib.cudnnGetMaxDeviceVersion())


def check_parts() -> None:
    """Raise CudnnError unless every sub-library is of the same version.

    cudnnGraphVersionCheck, cudnnOpsVersionCheck, cudnnCnnVersionCheck, cudnnAdvVersionCheck.
    """
    lib = load("cudnn")
    for check in (
        lib.cudnnGraphVersionCheck,
        lib.cudnnOpsVersionCheck,
        lib.cudnnCnnVersionCheck,
        lib.cudnnAdvVersionCheck,
    ):
        check()


def _property(kind: int) -> int:
    value = ctypes.c_int()
    load("cudnn").cudnnGetProperty(LibraryPropertyType(kind), ctypes.byref(value))
    return value.value
