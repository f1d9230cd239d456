"""Losses against their definitions, numerical gradients, and errors."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest

from gocunets.convnetgo import (
    cross_entropy,
    cross_entropy_backward,
    softmax,
    squared_error,
    squared_error_backward,
)

from .arrays import STRIDES, assert_gradient, randoms, with_strides
from .bound import assert_within

LOGITS = [(3, 4), (5, 10, 1, 1), (2, 3, 4), (2, 2, 3, 2), (1, 1), (2, 100)]
every_logits = pytest.mark.parametrize("shape", LOGITS, ids=str)
every_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def labels_for(shape: tuple[int, ...]) -> Any:
    """Return labels (N, *spatial) that use the first class and the last."""
    labels = np.random.default_rng(0).integers(0, shape[1], (shape[0], *shape[2:]))
    labels.flat[0], labels.flat[-1] = 0, shape[1] - 1
    return labels


def definition(logits: Any, labels: Any) -> Any:
    """Return the losses one label at a time, in float64."""
    losses = np.empty(labels.shape)
    for n, *at in np.ndindex(*labels.shape):
        scores = [math.exp(logits[n, c, *at]) for c in range(logits.shape[1])]
        losses[n, *at] = -math.log(scores[labels[n, *at]] / sum(scores))
    return losses


def size(logits: Any) -> Any:
    """Return the magnitude of a loss: the largest and the smallest logit that it subtracts."""
    return 1 + np.log(logits.shape[1]) + logits.max(1) - logits.min(1)


@every_logits
@every_dtype
@pytest.mark.parametrize("label_dtype", [np.int32, np.int64, np.uint8])
def test_cross_entropy(shape: tuple[int, ...], dtype: Any, label_dtype: Any) -> None:
    logits, labels = randoms(*shape), labels_for(shape)
    losses, probabilities = cross_entropy(logits.astype(dtype), labels.astype(label_dtype))
    assert_within(losses, definition(logits, labels), size(logits), shape[1], dtype)
    np.testing.assert_array_equal(probabilities, softmax(logits.astype(dtype)))


@every_logits
@every_dtype
def test_cross_entropy_backward(shape: tuple[int, ...], dtype: Any) -> None:
    probabilities = softmax(randoms(*shape)).astype(np.float32).astype(np.float64)
    labels = labels_for(shape)
    dlosses = randoms(*labels.shape, seed=1)
    one_hot = np.moveaxis(np.eye(shape[1])[labels], -1, 1)
    right = (probabilities - one_hot) * dlosses[:, np.newaxis]
    magnitude = (probabilities + one_hot) * np.abs(dlosses[:, np.newaxis])
    dlogits = cross_entropy_backward(probabilities.astype(dtype), labels, dlosses.astype(dtype))
    assert_within(dlogits, right, magnitude, 2, dtype)


@every_logits
def test_cross_entropy_gradient_numerically(shape: tuple[int, ...]) -> None:
    logits, labels = randoms(*shape), labels_for(shape)
    dlosses = randoms(*labels.shape, seed=1)
    dlogits = cross_entropy_backward(cross_entropy(logits, labels)[1], labels, dlosses)
    assert_gradient(lambda moved: cross_entropy(moved, labels)[0], logits, dlosses, dlogits)


@every_dtype
def test_a_logit_wrong_by_one_percent_is_noticed(dtype: Any) -> None:
    logits, labels = np.array([[1.0, 2.0, 3.0]]), np.array([1])
    wrong = logits.astype(dtype)
    wrong[0, 0] *= 1.01
    with pytest.raises(AssertionError, match="beyond the bound"):
        assert_within(cross_entropy(wrong, labels)[0], definition(logits, labels), size(logits), 3, dtype)


@every_dtype
def test_cross_entropy_of_large_logits(dtype: Any) -> None:
    logits = np.array([[1e4, -1e4], [1e30, 0]], dtype)
    losses, _ = cross_entropy(logits, np.array([1, 1]))
    np.testing.assert_allclose(losses, [2e4, 1e30], rtol=1e-6)


def test_natural_logarithm() -> None:
    losses, _ = cross_entropy(np.zeros((1, 10)), np.array([3]))
    np.testing.assert_allclose(losses, [math.log(10)])


@every_dtype
@pytest.mark.parametrize("shape", [(3, 4), (2, 3, 4, 2), (5,), (1, 100)], ids=str)
def test_squared_error(shape: tuple[int, ...], dtype: Any) -> None:
    y, target, dlosses = randoms(*shape), randoms(*shape, seed=1), randoms(shape[0], seed=2)
    count, axes = math.prod(shape[1:]), tuple(range(1, len(shape)))
    spread = dlosses.reshape(-1, *(1,) * len(axes))
    absolute = np.abs(y) + np.abs(target)
    y_in, target_in, dlosses_in = (array.astype(dtype) for array in (y, target, dlosses))
    losses, dy = squared_error(y_in, target_in), squared_error_backward(y_in, target_in, dlosses_in)
    assert_within(losses, ((y - target) ** 2).sum(axes) / count, (absolute**2).sum(axes) / count, count, dtype)
    assert_within(dy, 2 * (y - target) / count * spread, 2 * absolute / count * np.abs(spread), 2, dtype)


@pytest.mark.parametrize("shape", [(3, 4), (2, 3, 4, 2), (5,)], ids=str)
def test_squared_error_gradient_numerically(shape: tuple[int, ...]) -> None:
    y, target, dlosses = randoms(*shape), randoms(*shape, seed=1), randoms(shape[0], seed=2)
    dy = squared_error_backward(y, target, dlosses)
    assert_gradient(lambda moved: squared_error(moved, target), y, dlosses, dy)


@pytest.mark.parametrize("kind", STRIDES)
def test_any_strides(kind: str) -> None:
    logits, target = randoms(3, 4, 2), randoms(3, 4, 2, seed=1)
    labels = labels_for(logits.shape)
    strided = with_strides(logits, kind)
    strided_labels = labels if kind == "every second" else with_strides(labels.copy(), kind)
    for result, right in zip(cross_entropy(strided, strided_labels), cross_entropy(logits, labels), strict=True):
        np.testing.assert_allclose(result, right, rtol=1e-14)
    dlosses, probabilities = randoms(3, 2), cross_entropy(logits, labels)[1]
    np.testing.assert_allclose(
        cross_entropy_backward(with_strides(probabilities, kind), strided_labels, with_strides(dlosses, kind)),
        cross_entropy_backward(probabilities, labels, dlosses),
        rtol=1e-14,
    )
    np.testing.assert_allclose(
        squared_error(strided, with_strides(target, kind)), squared_error(logits, target), rtol=1e-14
    )


def test_errors() -> None:
    logits, losses = np.zeros((4, 10)), np.zeros(4)
    y, short = np.zeros((2, 3)), np.zeros((2, 2))
    calls = [
        (
            lambda: cross_entropy(logits, np.array([0, 9, 1, 12])),
            "cross_entropy: label 12 at index (3,) is outside 0..9 (C=10)",
        ),
        (
            lambda: cross_entropy(np.zeros((1, 3, 2, 2)), np.array([[[0, 1], [-1, 0]]])),
            "cross_entropy: label -1 at index (0, 1, 0) is outside 0..2 (C=3)",
        ),
        (
            lambda: cross_entropy(logits, np.array([0, 1])),
            "cross_entropy: labels has shape (2,), expected (4,) (logits=(4, 10))",
        ),
        (
            lambda: cross_entropy(losses, np.array([0])),
            "cross_entropy: logits have shape (4,), expected (N, C, *spatial)",
        ),
        (
            lambda: cross_entropy_backward(logits, np.array([0, 9, 10, 0]), losses),
            "cross_entropy_backward: label 10 at index (2,) is outside 0..9 (C=10)",
        ),
        (
            lambda: cross_entropy_backward(logits, np.zeros(4, int), losses[:2]),
            "cross_entropy_backward: dlosses has shape (2,), expected (4,)",
        ),
        (lambda: squared_error(y, short), "squared_error: shapes differ (y=(2, 3), target=(2, 2))"),
        (
            lambda: squared_error_backward(y, short, losses),
            "squared_error_backward: shapes differ (y=(2, 3), target=(2, 2))",
        ),
        (
            lambda: squared_error_backward(y, y, losses),
            "squared_error_backward: dlosses has shape (4,), expected (2,) (y=(2, 3))",
        ),
    ]
    for call, message in calls:
        with pytest.raises(ValueError, match=re.escape(message)):
            call()
    with pytest.raises(TypeError, match="cross_entropy: labels are float64, expected integers"):
        cross_entropy(logits, losses)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="squared_error: y is float16, expected float32 or float64"):
        squared_error(y.astype(np.float16), y)
