"""Networks by name."""

from __future__ import annotations

from .thesis import thesis_network

__all__ = ["thesis_network"]
