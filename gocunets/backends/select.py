"""Which backend a device name means on this machine, and why another is not to be had."""

from __future__ import annotations

import ctypes
import importlib.util
import sys

from ..errors import DeviceUnavailable
from .base import Backend

DEVICES = ("auto", "cpu", "cuda")
PACKAGES = ("cuda.bindings", "cuda.core", "cuda.pathfinder")


def choose(device: str | Backend = "auto") -> Backend:
    """The backend for "cpu", "cuda" or "auto" (cuda where it is to be had, else cpu), or the one given.

    Raises DeviceUnavailable, saying what is missing and what to install.
    """
    if not isinstance(device, str):
        return device
    if device not in DEVICES:
        raise ValueError(f"device {device!r} is none of {', '.join(DEVICES)}")
    obstacle = None if device == "cpu" else cuda_obstacle()
    if device == "cuda" and obstacle:
        raise DeviceUnavailable(f"device cuda: {obstacle}")
    if device == "cpu" or obstacle:
        from .numpy import NumpyBackend

        return NumpyBackend()
    from .cudnn import CudaBackend

    return CudaBackend()


def cuda_obstacle() -> str | None:
    """Why no network can run on CUDA here, with what to do about it; None when one can."""
    if not _driver():
        return (
            "no NVIDIA driver found (libcuda). A machine with an NVIDIA GPU and its driver is needed; "
            "without one, use --device cpu"
        )
    missing = [package for package in PACKAGES if not _installed(package)]
    if missing:
        return f"{', '.join(missing)} missing: pip install 'gocunets[cu13]' (or [cu12] for a CUDA 12 driver)"
    from .cudnn.available import obstacle

    return obstacle()


def _installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:
        return False


def _driver() -> bool:
    name = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True
