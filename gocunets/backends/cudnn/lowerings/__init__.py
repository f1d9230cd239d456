"""Launches for every op, one file a family."""

from __future__ import annotations

from . import (  # noqa: F401
    convolution,
    elementwise,
    fused,
    linear,
    losses,
    movement,
    norm,
    pooling,
    random,
    softmax,
    update,
)
