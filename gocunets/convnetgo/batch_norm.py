"""Batch normalisation, its gradients and its running statistics.

Sums over the batch accumulate in float64: NumPy adds some memory orders one by one, which in float32 would
cost several digits over a large batch.
"""

from __future__ import annotations

import math

import numpy as np

from ._arrays import Floats, Shape, check_floats, check_shape


def batch_norm_forward(
    x: Floats,
    gamma: Floats,
    beta: Floats,
    *,
    epsilon: float = 1e-5,
    spatial: bool = True,
    channels_last: bool = False,
) -> tuple[Floats, Floats, Floats]:
    """Return (y, mean, invstd), where y = gamma * (x - mean) * invstd + beta.

    invstd = 1 / sqrt(variance + epsilon), and the variance is the biased one. With spatial the statistics
    are over N and the spatial axes and all vectors are (C,); without it they are over N, and all vectors
    have shape x.shape[1:].
    Ioffe and Szegedy 2015, algorithm 1; cudnnBatchNormalizationForwardTraining.
    """
    check_floats("batch_norm", x=x, gamma=gamma, beta=beta)
    axes, vector = _layout("batch_norm", x.shape, spatial, channels_last)
    _check_vectors("batch_norm", x.shape, vector, gamma=gamma, beta=beta)
    mean = x.mean(axes, dtype=np.float64, keepdims=True).astype(x.dtype)
    centred = x - mean
    variance = np.square(centred).mean(axes, dtype=np.float64, keepdims=True)
    invstd = (1 / np.sqrt(variance + float(epsilon))).astype(x.dtype)
    y = centred * (gamma.reshape(mean.shape) * invstd) + beta.reshape(mean.shape)
    return y, mean.reshape(gamma.shape), invstd.reshape(gamma.shape)


def batch_norm_inference(
    x: Floats,
    gamma: Floats,
    beta: Floats,
    running_mean: Floats,
    running_variance: Floats,
    *,
    epsilon: float = 1e-5,
    spatial: bool = True,
    channels_last: bool = False,
) -> Floats:
    """Return y = gamma * (x - running_mean) / sqrt(running_variance + epsilon) + beta.

    Shapes as in batch_norm_forward.
    """
    vectors = {
        "gamma": gamma,
        "beta": beta,
        "running_mean": running_mean,
        "running_variance": running_variance,
    }
    check_floats("batch_norm_inference", x=x, **vectors)
    axes, vector = _layout("batch_norm_inference", x.shape, spatial, channels_last)
    _check_vectors("batch_norm_inference", x.shape, vector, **vectors)
    shape = _broadcast_shape(x.shape, axes)
    scale = gamma / np.sqrt(running_variance + float(epsilon))
    y: Floats = (x - running_mean.reshape(shape)) * scale.reshape(shape) + beta.reshape(shape)
    return y


def batch_norm_backward(
    x: Floats,
    dy: Floats,
    gamma: Floats,
    mean: Floats,
    invstd: Floats,
    *,
    spatial: bool = True,
    channels_last: bool = False,
) -> tuple[Floats, Floats, Floats]:
    """Return (dx, dgamma, dbeta), with xhat = (x - mean) * invstd and M the values in each statistic.

    dbeta = sum dy, dgamma = sum dy * xhat, dx = gamma * invstd * (dy - dbeta / M - xhat * dgamma / M).
    mean and invstd are those of batch_norm_forward; shapes as there.
    """
    check_floats("batch_norm_backward", x=x, dy=dy, gamma=gamma, mean=mean, invstd=invstd)
    check_shape("batch_norm_backward", "dy", dy.shape, x.shape)
    axes, vector = _layout("batch_norm_backward", x.shape, spatial, channels_last)
    _check_vectors("batch_norm_backward", x.shape, vector, gamma=gamma, mean=mean, invstd=invstd)
    shape = _broadcast_shape(x.shape, axes)
    count = math.prod(x.shape[axis] for axis in axes)
    xhat = (x - mean.reshape(shape)) * invstd.reshape(shape)
    dbeta = dy.sum(axes, dtype=np.float64, keepdims=True).astype(x.dtype)
    dgamma = (dy * xhat).sum(axes, dtype=np.float64, keepdims=True).astype(x.dtype)
    dx = (gamma * invstd).reshape(shape) * (dy - dbeta / count - xhat * (dgamma / count))
    return dx, dgamma.reshape(gamma.shape), dbeta.reshape(gamma.shape)


def running_average(running: Floats, new: Floats, momentum: float) -> Floats:
    """Return (1 - momentum) * running + momentum * new."""
    check_floats("running_average", running=running, new=new)
    check_shape("running_average", "new", new.shape, running.shape)
    momentum = float(momentum)
    average: Floats = (1 - momentum) * running + momentum * new
    return average


def _layout(operation: str, x_shape: Shape, spatial: bool, channels_last: bool) -> tuple[Shape, Shape]:
    """Return the axes that the statistics are over and the shape of their vectors."""
    if len(x_shape) < 2:
        raise ValueError(f"{operation}: x has {len(x_shape)} axes, expected at least 2 (x={x_shape})")
    channel = len(x_shape) - 1 if channels_last else 1
    kept = (channel,) if spatial else tuple(range(1, len(x_shape)))
    axes = tuple(axis for axis in range(len(x_shape)) if axis not in kept)
    if any(x_shape[axis] == 0 for axis in axes):
        raise ValueError(f"{operation}: x has no values to average (x={x_shape})")
    return axes, tuple(x_shape[axis] for axis in kept)


def _broadcast_shape(x_shape: Shape, axes: Shape) -> Shape:
    return tuple(1 if axis in axes else size for axis, size in enumerate(x_shape))


def _check_vectors(operation: str, x_shape: Shape, vector: Shape, **vectors: Floats) -> None:
    for name, array in vectors.items():
        check_shape(operation, name, array.shape, vector, x=x_shape)
