"""NCCL: collectives and messages between GPUs, by nccl4py. Importing loads nothing."""

from __future__ import annotations

from .binding import unique_id
from .communicator import Communicator
from .group import group

__all__ = ["Communicator", "group", "unique_id"]
