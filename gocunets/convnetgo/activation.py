"""Activations, elementwise, and their gradients from the output y: x need not be kept.

np.where is avoided: it takes ten times as long, its branch being mispredicted every other element.
Scalars go through float(), for a NumPy float64 scalar would widen float32 arrays.
"""

from __future__ import annotations

import numpy as np

from ._arrays import Floats, check_floats, check_same_shape


def logistic(x: Floats) -> Floats:
    """Return y = 1 / (1 + exp(-x)), with both sides of the fraction times exp(x) where x < 0.

    So exp never overflows, and y keeps its digits near 0. Thesis, section 3.3.
    """
    check_floats("logistic", x=x)
    y: Floats = np.exp(np.minimum(x, 0)) / (1 + np.exp(-np.abs(x)))
    return y


def logistic_backward(y: Floats, dy: Floats) -> Floats:
    """Return dx = dy * y * (1 - y)."""
    _check_backward("logistic_backward", y, dy)
    return dy * y * (1 - y)


def tanh(x: Floats) -> Floats:
    """Return y = (exp(x) - exp(-x)) / (exp(x) + exp(-x))."""
    check_floats("tanh", x=x)
    return np.tanh(x)


def tanh_backward(y: Floats, dy: Floats) -> Floats:
    """Return dx = dy * (1 - y^2)."""
    _check_backward("tanh_backward", y, dy)
    return dy * (1 - y * y)


def relu(x: Floats) -> Floats:
    """Return y = max(x, 0). Thesis, section 3.3."""
    check_floats("relu", x=x)
    return np.maximum(x, 0)


def relu_backward(y: Floats, dy: Floats) -> Floats:
    """Return dx = dy * (y > 0)."""
    _check_backward("relu_backward", y, dy)
    return dy * (y > 0)


def leaky_relu(x: Floats, alpha: float = 0.01) -> Floats:
    """Return y = x where x > 0, else alpha * x. Thesis, section 3.3.

    ValueError where alpha is negative: y would not tell the sign of x.
    """
    check_floats("leaky_relu", x=x)
    alpha = _not_negative("leaky_relu", "alpha", alpha)
    y: Floats = (np.maximum if alpha <= 1 else np.minimum)(x, alpha * x)
    return y


def leaky_relu_backward(y: Floats, dy: Floats, alpha: float = 0.01) -> Floats:
    """Return dx = dy where y > 0, else alpha * dy."""
    _check_backward("leaky_relu_backward", y, dy)
    alpha = _not_negative("leaky_relu_backward", "alpha", alpha)
    positive = (y > 0).astype(y.dtype)
    return dy * (positive + alpha * (1 - positive))


def clipped_relu(x: Floats, ceiling: float = 6.0) -> Floats:
    """Return y = min(max(x, 0), ceiling)."""
    check_floats("clipped_relu", x=x)
    return np.minimum(np.maximum(x, 0), _not_negative("clipped_relu", "ceiling", ceiling))


def clipped_relu_backward(y: Floats, dy: Floats, ceiling: float = 6.0) -> Floats:
    """Return dx = dy * (0 < y < ceiling)."""
    _check_backward("clipped_relu_backward", y, dy)
    ceiling = _not_negative("clipped_relu_backward", "ceiling", ceiling)
    return dy * ((y > 0) & (y < ceiling))


def elu(x: Floats, alpha: float = 1.0) -> Floats:
    """Return y = x where x > 0, else alpha * (exp(x) - 1).

    ValueError where alpha is negative: y would not tell the sign of x.
    """
    check_floats("elu", x=x)
    alpha = _not_negative("elu", "alpha", alpha)
    y: Floats = np.maximum(x, 0) + alpha * np.expm1(np.minimum(x, 0))
    return y


def elu_backward(y: Floats, dy: Floats, alpha: float = 1.0) -> Floats:
    """Return dx = dy where y > 0, else dy * (y + alpha)."""
    _check_backward("elu_backward", y, dy)
    alpha = _not_negative("elu_backward", "alpha", alpha)
    positive = (y > 0).astype(y.dtype)
    return dy * (positive + (1 - positive) * (np.minimum(y, 0) + alpha))


def _check_backward(operation: str, y: Floats, dy: Floats) -> None:
    check_floats(operation, y=y, dy=dy)
    check_same_shape(operation, y=y, dy=dy)


def _not_negative(operation: str, name: str, value: float) -> float:
    if not value >= 0:
        raise ValueError(f"{operation}: {name} is {value}, expected at least 0")
    return float(value)
