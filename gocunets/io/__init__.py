"""Model files: one safetensors file with the weights, the architecture and where training stands."""

from __future__ import annotations

from .checkpoint import load, read_header, save

__all__ = ["load", "read_header", "save"]
