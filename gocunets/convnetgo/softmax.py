"""Softmax and its logarithm along one axis, and their gradients from the output y."""

from __future__ import annotations

import numpy as np

from ._arrays import Floats, check_floats, check_same_shape


def softmax(x: Floats, axis: int = 1) -> Floats:
    """Return y = exp(x - max) / sum(exp(x - max)) along the axis; the maximum keeps exp from overflowing."""
    check_floats("softmax", x=x)
    y: Floats = np.exp(x - x.max(axis=axis, keepdims=True))
    y /= y.sum(axis=axis, keepdims=True)
    return y


def softmax_backward(y: Floats, dy: Floats, axis: int = 1) -> Floats:
    """Return dx = y * (dy - sum(dy * y)) along the axis."""
    check_floats("softmax_backward", y=y, dy=dy)
    check_same_shape("softmax_backward", y=y, dy=dy)
    dx: Floats = y * (dy - (dy * y).sum(axis=axis, keepdims=True))
    return dx


def log_softmax(x: Floats, axis: int = 1) -> Floats:
    """Return y = (x - max) - log(sum(exp(x - max))) along the axis."""
    check_floats("log_softmax", x=x)
    y: Floats = x - x.max(axis=axis, keepdims=True)
    y -= np.log(np.exp(y).sum(axis=axis, keepdims=True))
    return y


def log_softmax_backward(y: Floats, dy: Floats, axis: int = 1) -> Floats:
    """Return dx = dy - exp(y) * sum(dy) along the axis."""
    check_floats("log_softmax_backward", y=y, dy=dy)
    check_same_shape("log_softmax_backward", y=y, dy=dy)
    dx: Floats = dy - np.exp(y) * dy.sum(axis=axis, keepdims=True)
    return dx
