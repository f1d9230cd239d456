"""Losses, one value a label or a sample, and their gradients."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ._arrays import Floats, Integers, check_floats, check_same_shape, check_shape


def cross_entropy(logits: Floats, labels: Integers) -> tuple[Floats, Floats]:
    """Return (losses, probabilities): losses = -log(probabilities[label]), probabilities = softmax(logits).

    logits and probabilities are (N, C, *spatial), labels and losses are (N, *spatial); natural logarithm.
    ValueError where a label is outside 0..C-1.
    """
    check_floats("cross_entropy", logits=logits)
    chosen = _label_index("cross_entropy", logits, labels)
    shifted = logits - logits.max(axis=1, keepdims=True)
    probabilities = np.exp(shifted)
    total = probabilities.sum(axis=1, keepdims=True)
    losses = np.log(total) - np.take_along_axis(shifted, chosen, axis=1)
    probabilities /= total
    return losses[:, 0], probabilities


def cross_entropy_backward(probabilities: Floats, labels: Integers, dlosses: Floats) -> Floats:
    """Return dlogits = (probabilities - one_hot(labels)) * dlosses.

    probabilities and dlogits are (N, C, *spatial), labels and dlosses are (N, *spatial).
    """
    check_floats("cross_entropy_backward", probabilities=probabilities, dlosses=dlosses)
    chosen = _label_index("cross_entropy_backward", probabilities, labels)
    check_shape("cross_entropy_backward", "dlosses", dlosses.shape, labels.shape)
    dlogits: Floats = probabilities.copy()
    np.put_along_axis(dlogits, chosen, np.take_along_axis(dlogits, chosen, axis=1) - 1, axis=1)
    dlogits *= dlosses[:, np.newaxis]
    return dlogits


def squared_error(y: Floats, target: Floats) -> Floats:
    """Return the mean of (y - target)^2 over all axes but the first: (N,)."""
    check_floats("squared_error", y=y, target=target)
    check_same_shape("squared_error", y=y, target=target)
    losses: Floats = np.square(y - target).mean(axis=tuple(range(1, y.ndim)))
    return losses


def squared_error_backward(y: Floats, target: Floats, dlosses: Floats) -> Floats:
    """Return dy = 2 * (y - target) / M * dlosses, for M values a sample."""
    check_floats("squared_error_backward", y=y, target=target, dlosses=dlosses)
    check_same_shape("squared_error_backward", y=y, target=target)
    check_shape("squared_error_backward", "dlosses", dlosses.shape, y.shape[:1], y=y.shape)
    count = math.prod(y.shape[1:])
    dy: Floats = (y - target) * (dlosses * (2 / count)).reshape(-1, *(1,) * (y.ndim - 1))
    return dy


def _label_index(operation: str, logits: Floats, labels: Integers) -> NDArray[np.intp]:
    """Return the labels as an index along axis 1, or raise."""
    if not np.issubdtype(labels.dtype, np.integer):
        raise TypeError(f"{operation}: labels are {labels.dtype}, expected integers")
    if logits.ndim < 2:
        raise ValueError(f"{operation}: logits have shape {logits.shape}, expected (N, C, *spatial)")
    check_shape(operation, "labels", labels.shape, (logits.shape[0], *logits.shape[2:]), logits=logits.shape)
    count = logits.shape[1]
    outside = (labels < 0) | (labels >= count)
    if outside.any():
        where = tuple(int(axis) for axis in np.argwhere(outside)[0])
        allowed = f"0..{count - 1} (C={count})"
        raise ValueError(f"{operation}: label {labels[where]} at index {where} is outside {allowed}")
    return labels.astype(np.intp)[:, np.newaxis]
