"""The NumPy backend: every op by convnetgo, in planned memory. Kernels of your own register here."""

from __future__ import annotations

from . import kernels, updates  # noqa: F401  (their import registers the kernels)
from .backend import NumpyBackend
from .registry import kernel, update_rule

__all__ = ["NumpyBackend", "kernel", "update_rule"]
