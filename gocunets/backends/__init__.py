"""Backends: where a lowered program runs. `choose` turns the word a user gives into one."""

from __future__ import annotations

from .base import Backend
from .select import choose, cuda_obstacle

__all__ = ["Backend", "choose", "cuda_obstacle"]
