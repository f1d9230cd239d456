"""Weight updates: each returns the new weights and moments and leaves its inputs alone.

All arithmetic is in the dtype of w. Scalars go through float(), for a NumPy float64 scalar would widen it.
"""

from __future__ import annotations

import math

import numpy as np

from ._arrays import Floats, check_floats, check_same_shape

LOSS_SCALE_PERIOD = 2000
"""Steps without an overflow after which a loss scale is doubled."""


def regularize(w: Floats, dw: Floats, l1: float, l2: float) -> Floats:
    """Return dw + l1 * sign(w) + l2 * w, the gradient of the loss with its penalty."""
    _check("regularize", w=w, dw=dw)
    total = float(l2) * w
    total += dw
    if l1:
        total += float(l1) * np.sign(w)
    return total


def next_loss_scale(scale: float, steady: int, overflowed: bool) -> tuple[float, int]:
    """Return the factor of the next step's gradients in half precision, and how many steps it has been steady.

    Halved, down to 1, where a gradient overflowed (the update is skipped); doubled after 2,000 steps without.
    Micikevicius et al., "Mixed precision training" (2018), section 3.2.
    """
    if overflowed:
        return max(1.0, scale / 2), 0
    return (2 * scale, 0) if steady + 1 == LOSS_SCALE_PERIOD else (scale, steady + 1)


def penalty(w: Floats, l1: float, l2: float) -> float:
    """Return l1 * sum(|w|) + l2 / 2 * sum(w^2), summed in float64."""
    check_floats("penalty", w=w)
    magnitudes = np.abs(w).astype(np.float64, copy=False).ravel()
    return float(l1) * float(magnitudes.sum()) + float(l2) / 2 * float(magnitudes @ magnitudes)


def sgd(w: Floats, dw: Floats, rate: float) -> Floats:
    """Return w - rate * dw. Thesis, equation 3.11."""
    _check("sgd", w=w, dw=dw)
    new: Floats = w - float(rate) * dw
    return new


def momentum(w: Floats, m: Floats, dw: Floats, rate: float, decay: float = 0.9) -> tuple[Floats, Floats]:
    """Return (w - m, m) for the new m = decay * m + rate * dw. Thesis, equations 3.12 and 3.13."""
    _check("momentum", w=w, m=m, dw=dw)
    m = float(decay) * m
    m += float(rate) * dw
    return w - m, m


def adagrad(w: Floats, s: Floats, dw: Floats, rate: float, epsilon: float = 1e-8) -> tuple[Floats, Floats]:
    """Return (w - rate * dw / (sqrt(s) + epsilon), s) for the new s = s + dw^2.

    Thesis, equations 3.14 and 3.15.
    """
    _check("adagrad", w=w, s=s, dw=dw)
    s = s + np.square(dw)
    divisor = np.sqrt(s)
    divisor += float(epsilon)
    return w - float(rate) * dw / divisor, s


def adadelta(
    w: Floats,
    s: Floats,
    u: Floats,
    dw: Floats,
    rate: float = 1.0,
    decay: float = 0.95,
    epsilon: float = 1e-6,
) -> tuple[Floats, Floats, Floats]:
    """Return (w - rate * step, s, u), s and u being running means of dw^2 and of step^2.

    step = sqrt(u + epsilon) / sqrt(s + epsilon) * dw, with the new s and the old u. Zeiler 2012, algorithm 1.
    """
    _check("adadelta", w=w, s=s, u=u, dw=dw)
    decay, epsilon = float(decay), float(epsilon)
    s = _running_mean(s, np.square(dw), decay)
    step = np.sqrt((u + epsilon) / (s + epsilon))
    step *= dw
    u = _running_mean(u, np.square(step), decay)
    return w - float(rate) * step, s, u


def adam(
    w: Floats,
    m: Floats,
    v: Floats,
    dw: Floats,
    rate: float = 1e-3,
    step: int = 1,
    beta1: float = 0.9,
    beta2: float = 0.999,
    epsilon: float = 1e-8,
) -> tuple[Floats, Floats, Floats]:
    """Return (w - rate / (1 - beta1^t) * m / (sqrt(v) / sqrt(1 - beta2^t) + epsilon), m, v).

    t is the step; m and v are running means of dw and dw^2; steps count from 1, else ValueError.
    Kingma and Ba 2015, algorithm 1, with epsilon where PyTorch has it.
    """
    _check("adam", w=w, m=m, v=v, dw=dw)
    if step < 1:
        raise ValueError(f"adam: step is {step}, steps count from 1")
    beta1, beta2 = float(beta1), float(beta2)
    m = _running_mean(m, dw, beta1)
    v = _running_mean(v, np.square(dw), beta2)
    divisor = np.sqrt(v)
    divisor /= math.sqrt(1 - beta2**step)
    divisor += float(epsilon)
    update = np.divide(m, divisor, out=divisor)
    update *= float(rate) / (1 - beta1**step)
    return np.subtract(w, update, out=update), m, v


def _running_mean(mean: Floats, new: Floats, decay: float) -> Floats:
    mean = decay * mean
    mean += (1 - decay) * new
    return mean


def _check(operation: str, **arrays: Floats) -> None:
    check_floats(operation, **arrays)
    check_same_shape(operation, **arrays)
