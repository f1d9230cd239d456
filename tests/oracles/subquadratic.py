"""Causal convolutions in NumPy, x and y being (batch, channels, length) and filters (channels, taps).

The first tap meets the present: y[t] = sum over j of x[t - j] w[j]. cuDNN's direct ones have their filters reversed.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def causal(x: Array, w: Array) -> Array:
    """Every channel with its filter."""
    y = np.zeros(np.broadcast_shapes(x.shape, (1, len(w), 1)))
    for j in range(min(w.shape[1], x.shape[2])):
        y[..., j:] += x[..., : x.shape[2] - j] * w[:, j, None]
    return y


def causal_backward(x: Array, w: Array, dy: Array) -> tuple[Array, Array]:
    """dx and dw."""
    dx, dw, length = np.zeros(x.shape), np.zeros(w.shape), x.shape[2]
    for j in range(min(w.shape[1], length)):
        dx[..., : length - j] += dy[..., j:] * w[:, j, None]
        dw[:, j] = (x[..., : length - j] * dy[..., j:]).sum(axis=(0, 2))
    return dx, dw


def silu(z: Array) -> Array:
    """z times its logistic function."""
    y: Array = z / (1 + np.exp(-z))
    return y


def silu_slope(z: Array) -> Array:
    """The derivative of silu."""
    s = 1 / (1 + np.exp(-z))
    slope: Array = s * (1 + z * (1 - s))
    return slope


def biased(x: Array, w: Array, b: Array, activate: bool) -> Array:
    """Convolution, bias, and silu if asked."""
    z = causal(x, w) + b[:, None]
    return silu(z) if activate else z


def biased_backward(x: Array, w: Array, b: Array, dy: Array, activate: bool) -> tuple[Array, Array, Array]:
    """dx, dw and db."""
    dz = dy * silu_slope(causal(x, w) + b[:, None]) if activate else dy
    return *causal_backward(x, w, dz), dz.sum(axis=(0, 2))


def hyena(x: Array, projection: Array, mixer: Array, skip: Array) -> tuple[Array, Array]:
    """y and the gated result of x (batch, channels, 3, length) and projection (channels, 3, taps)."""
    gates = _projected(x, projection)
    mixed = gates[:, :, 1] * gates[:, :, 2]
    y = causal(mixed, mixer) + skip[:, None] * mixed
    return y, y * gates[:, :, 0]


def hyena_backward(
    x: Array, projection: Array, mixer: Array, skip: Array, dgated: Array
) -> tuple[Array, Array, Array, Array]:
    """Gradients of x, projection, mixer and skip."""
    gates = _projected(x, projection)
    mixed = gates[:, :, 1] * gates[:, :, 2]
    y, dy = causal(mixed, mixer) + skip[:, None] * mixed, dgated * gates[:, :, 0]
    dmixed, dmixer = causal_backward(mixed, mixer, dy)
    dmixed += skip[:, None] * dy
    dgates = np.stack([dgated * y, dmixed * gates[:, :, 2], dmixed * gates[:, :, 1]], axis=2)
    dx, dprojection = causal_backward(_flat(x), projection.reshape(-1, projection.shape[2]), _flat(dgates))
    return dx.reshape(x.shape), dprojection.reshape(projection.shape), dmixer, (dy * mixed).sum(axis=(0, 2))


def _flat(x: Array) -> Array:
    return x.reshape(len(x), -1, x.shape[3])


def _projected(x: Array, projection: Array) -> Array:
    return causal(_flat(x), projection.reshape(-1, projection.shape[2])).reshape(x.shape)
