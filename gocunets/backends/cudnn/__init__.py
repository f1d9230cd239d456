"""The CUDA backend: cuDNN and our own kernels, the whole step one CUDA graph.

The only place in gocunets that imports gocudnn_py.
"""

from __future__ import annotations

from . import lowerings  # noqa: F401  (its import registers the lowerings)
from .backend import CudaBackend, Tensor
from .engines import EnginePolicy
from .registry import lowering

__all__ = ["CudaBackend", "EnginePolicy", "Tensor", "lowering"]
