"""Dropout by the Philox generator, and its gradient."""

from __future__ import annotations

from ._arrays import Bools, Floats, check_floats, check_shape
from .philox import random_bits


def dropout_forward(x: Floats, rate: float, *, seed: int, node: int, step: int) -> tuple[Floats, Bools]:
    """Return (y, mask): y = x * mask / (1 - rate), mask true where an element is kept.

    Element e in the row-major order of x.shape, whatever its strides, is kept where its random word is at
    least floor(rate * 2^32). ValueError where the rate is outside [0, 1).
    """
    check_floats("dropout", x=x)
    _check_rate("dropout", rate)
    threshold = int(rate * 2**32)
    mask = (random_bits(x.size, seed=seed, node=node, step=step) >= threshold).reshape(x.shape)
    return x * mask / (1 - float(rate)), mask


def dropout_backward(dy: Floats, mask: Bools, rate: float) -> Floats:
    """Return dx = dy * mask / (1 - rate)."""
    check_floats("dropout_backward", dy=dy)
    check_shape("dropout_backward", "mask", mask.shape, dy.shape)
    _check_rate("dropout_backward", rate)
    dx: Floats = dy * mask / (1 - float(rate))
    return dx


def _check_rate(operation: str, rate: float) -> None:
    if not 0 <= rate < 1:
        raise ValueError(f"{operation}: rate is {rate}, expected 0 <= rate < 1")
