"""Figures from labels and predictions."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def accuracy(labels: Array, predicted: Array) -> float:
    """The share of equal entries of two integer arrays (N,)."""
    _require_equal_length(labels, predicted)
    return float(np.mean(labels == predicted))


def confusion_matrix(labels: Array, predicted: Array, classes: int) -> Array:
    """Counts (classes, classes), int64: row = label, column = prediction."""
    _require_equal_length(labels, predicted)
    matrix = np.zeros((classes, classes), np.int64)
    np.add.at(matrix, (labels, predicted), 1)
    return matrix


def _require_equal_length(labels: Array, predicted: Array) -> None:
    if labels.shape != predicted.shape or not labels.size:
        raise ValueError(f"{labels.shape} labels with {predicted.shape} predictions")
