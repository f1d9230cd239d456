"""Normalizations of graphs and the steps of a batch normalization on the card, against NumPy in float64."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from gocudnn_py.cudnn import Handle
from gocudnn_py.cudnn.graph import NormMode, Policy
from gocunets import convnetgo
from tests.gocudnn_py.graph_images import (
    FILTER,
    IMAGE,
    NORM_SHAPES,
    VECTOR,
    batch_norm_backward_weights,
    convolution_and_sums,
    finalize,
    norm,
    norm_backward,
)
from tests.gpu.running_graphs import COVERS, Array, U, allowed, numbers, results

if TYPE_CHECKING:
    from gocunets.backends.cudnn import CudaBackend

pytestmark = COVERS
MODES = [mode for mode in NormMode if mode is not NormMode.GROUP_NORM]
PHASES = [
    (mode, training) for mode in MODES for training in (True, False) if training or mode is not NormMode.BATCH_NORM
]
"""Each in training, and in inference but for batch normalization, which is x * a + b there."""
EPSILON, MOMENTUM = 1e-5, 0.25


def summed_over(mode: NormMode) -> tuple[int, ...]:
    """The axes along which a mode takes its statistics."""
    x, _, statistics = NORM_SHAPES[mode]
    return tuple(axis for axis, (n, m) in enumerate(zip(x, statistics, strict=True)) if n != m)


def statistics(mode: NormMode, x: Array) -> tuple[Array, Array]:
    """The mean, 0 for the root mean square, and the inverse standard deviation."""
    axes = summed_over(mode)
    mean = x.mean(axes, keepdims=True) * (mode is not NormMode.RMS_NORM)
    return mean, 1 / np.sqrt(np.square(x - mean).mean(axes, keepdims=True) + EPSILON)


def drawn(mode: NormMode, dtype: str) -> dict[str, Array]:
    """x off zero, scale and bias, and for backward dy; in float64."""
    x, kept, _ = NORM_SHAPES[mode]
    arrays = {name: numbers(x, dtype, seed).astype(np.float64) for seed, name in enumerate(("x", "dy"))}
    arrays["x"] = (arrays["x"] + 0.5).astype(dtype).astype(np.float64)
    arrays |= {
        name: numbers(kept, "float32", 5 + seed).astype(np.float64) for seed, name in enumerate(("scale", "bias"))
    }
    return arrays


def named(arrays: dict[str, Array], names: str) -> dict[str, Array]:
    return {name: arrays[name] for name in names.split()}


def factor(mode: NormMode, dtype: str) -> float:
    """What of the sum of absolute values the result may be off: sums in float32, one rounding to the type."""
    return 2 * allowed(int(np.prod([NORM_SHAPES[mode][0][axis] for axis in summed_over(mode)]))) + U[dtype]


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize(("mode", "training"), PHASES)
def test_normalize(mode: NormMode, training: bool, dtype: str, backend: CudaBackend, handle: Handle) -> None:
    arrays = drawn(mode, dtype)
    x, scale, bias = arrays["x"], arrays["scale"], arrays["bias"] * (mode is not NormMode.RMS_NORM)
    mean, inverse = statistics(mode, x)
    right = scale * (x - mean) * inverse + bias
    axes = summed_over(mode)
    size = np.abs(scale) * inverse * (np.abs(x) + np.abs(x).mean(axes, keepdims=True)) + np.abs(bias)
    wanted = named(arrays, "x scale" if mode is NormMode.RMS_NORM else "x scale bias")
    running = {"running_mean": numbers(VECTOR, "float32", 8), "running_variance": numbers(VECTOR, "float32", 9) ** 2}
    batch = mode is NormMode.BATCH_NORM
    for made in results(backend, handle, norm(mode, training, dtype), wanted | (running if batch else {})):
        assert (np.abs(made["result y"] - right) <= factor(mode, dtype) * size).all()
        if training:
            check_statistics(mode, made, x, mean, inverse)
        if batch:
            check_running(made, running, mean, 1 / inverse**2 - EPSILON, x.size // x.shape[1])


def check_statistics(mode: NormMode, made: dict[str, Array], x: Array, mean: Array, inverse: Array) -> None:
    axes, near = summed_over(mode), factor(mode, "float32")
    if mode is not NormMode.RMS_NORM:
        assert (np.abs(made["result mean"] - mean) <= near * np.abs(x).mean(axes, keepdims=True)).all()
    spread = np.square(x).mean(axes, keepdims=True) * inverse**2
    assert (np.abs(made["result inverse"] - inverse) <= 2 * near * inverse * spread).all()


def check_running(made: dict[str, Array], before: dict[str, Array], mean: Array, variance: Array, count: int) -> None:
    """The running ones are mixed; of the variance either the biased or the unbiased one may be."""
    new_mean = (1 - MOMENTUM) * before["running_mean"] + MOMENTUM * mean
    assert np.abs(made["result running_mean"] - new_mean).max() <= 1e-5
    low = (1 - MOMENTUM) * before["running_variance"] + MOMENTUM * variance
    high = low + MOMENTUM * variance / (count - 1)
    assert (made["result running_variance"] >= low - 1e-5).all()
    assert (made["result running_variance"] <= high + 1e-5).all()


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("mode", MODES)
def test_normalize_backward(mode: NormMode, dtype: str, backend: CudaBackend, handle: Handle) -> None:
    arrays, axes = drawn(mode, dtype), summed_over(mode)
    x, dy, scale = arrays["x"], arrays["dy"], arrays["scale"]
    arrays["mean"], arrays["inverse"] = (each.astype(np.float32).astype(np.float64) for each in statistics(mode, x))
    normal, g = (x - arrays["mean"]) * arrays["inverse"], dy * scale

    def mean(of: Array) -> Array:
        return of.mean(axes, keepdims=True)

    centred = mode is not NormMode.RMS_NORM
    dx = arrays["inverse"] * (g - centred * mean(g) - normal * mean(g * normal))
    size = arrays["inverse"] * (np.abs(g) + mean(np.abs(g)) + np.abs(normal) * mean(np.abs(g * normal)))
    over = tuple(axis for axis, (n, m) in enumerate(zip(x.shape, scale.shape, strict=True)) if n != m)
    near = 2 * allowed(x.size // scale.size) + (4 * U[dtype] if dtype == "float16" else 0)  # dy times x is rounded
    names = "x dy scale inverse" + (" mean" if centred else "")
    for made in results(backend, handle, norm_backward(mode, dtype), named(arrays, names)):
        assert (np.abs(made["result dx"] - dx) <= (2 * factor(mode, "float32") + U[dtype]) * size).all()
        error = np.abs(made["result dscale"] - (dy * normal).sum(over, keepdims=True))
        assert (error <= near * np.abs(dy * normal).sum(over, keepdims=True)).all()
        if centred:
            error = np.abs(made["result dbias"] - dy.sum(over, keepdims=True))
            assert (error <= near * np.abs(dy).sum(over, keepdims=True)).all()


def test_a_layout_for_fewer_multiprocessors_has_the_same_numbers(backend: CudaBackend, handle: Handle) -> None:
    mode = NormMode.BATCH_NORM
    arrays = drawn(mode, "float16")
    running = {"running_mean": np.zeros(VECTOR), "running_variance": np.ones(VECTOR)}
    mean, inverse = statistics(mode, arrays["x"])
    graph, given = norm(mode, True), named(arrays, "x scale bias") | running
    for made in results(backend, handle, graph, given, Policy(sm_count=40), most=1):
        check_statistics(mode, made, arrays["x"], mean, inverse)


def test_a_convolution_gives_the_sums_of_its_channels(backend: CudaBackend, handle: Handle) -> None:
    x, w = (numbers(shape, "float16", seed).astype(np.float64) for seed, shape in enumerate((IMAGE, FILTER)))
    right, size = (convnetgo.convolution_forward(*each, padding=1) for each in ((x, w), (np.abs(x), np.abs(w))))
    near = allowed(64 * 9) * size + U["float16"] * np.abs(right)
    for made in results(backend, handle, convolution_and_sums(), {"x": x, "w": w}):
        assert (np.abs(made["y"] - right) <= near).all()
        over = (0, 2, 3)
        error = np.abs(made["result sum"] - right.sum(over, keepdims=True))
        assert (error <= 2 * near.sum(over, keepdims=True)).all()
        error = np.abs(made["result squares"] - np.square(right).sum(over, keepdims=True))
        assert (error <= 2 * (2 * near * np.abs(right) + near**2).sum(over, keepdims=True)).all()


def test_statistics_are_finalized(backend: CudaBackend, handle: Handle) -> None:
    count = IMAGE[0] * IMAGE[2] * IMAGE[3]
    mean, variance, scale, bias, was_mean, was_variance = (numbers(VECTOR, "float32", seed) for seed in range(6))
    variance, was_variance = 0.5 + np.abs(variance), 0.5 + np.abs(was_variance)
    arrays = {"sum": mean * count, "squares": (variance + mean**2) * count, "scale": scale, "bias": bias}
    wide = {name: array.astype(np.float32).astype(np.float64) for name, array in arrays.items()}
    running = {"running_mean": was_mean, "running_variance": was_variance}
    true_mean = wide["sum"] / count
    true_variance = wide["squares"] / count - true_mean**2
    inverse = 1 / np.sqrt(true_variance + EPSILON)
    near = 16 * U["float32"] * (wide["squares"] / count) / true_variance  # what the difference of squares loses
    for made in results(backend, handle, finalize(), arrays | running):
        assert (np.abs(made["result mean"] - true_mean) <= 4 * U["float32"] * np.abs(true_mean)).all()
        assert (np.abs(made["result inverse"] - inverse) <= near * inverse).all()
        multiplier = scale * inverse
        assert (np.abs(made["result multiplier"] - multiplier) <= 2 * near * np.abs(multiplier)).all()
        size = np.abs(bias) + np.abs(true_mean * multiplier)
        assert (np.abs(made["result addend"] - (bias - true_mean * multiplier)) <= 2 * near * size).all()
        check_running(made, running, true_mean, true_variance, count)


def test_gradients_of_a_batch_norm_fuse_with_a_convolution(backend: CudaBackend, handle: Handle) -> None:
    dy, x = (numbers(IMAGE, "float16", seed).astype(np.float64) for seed in (0, 1))
    w = numbers(FILTER, "float16", 2).astype(np.float64) / 16
    mean, inverse, scale, bias = (numbers(VECTOR, "float32", seed).astype(np.float64) for seed in range(3, 7))
    inverse = np.abs(inverse).astype(np.float32).astype(np.float64) + 0.5
    arrays = {"dy": dy, "w": w, "x": x, "mean": mean, "inverse": inverse, "scale": scale, "bias": bias}
    normal = (x - mean) * inverse
    z = normal * scale + bias
    d, size = (
        convnetgo.convolution_backward_data(*each, IMAGE, padding=1) for each in ((dy, w), (np.abs(dy), np.abs(w)))
    )
    dz, sure = d * (z > 0), np.abs(z) > 1e-3
    near = allowed(64 * 9) * size + U["float16"] * np.abs(d)
    over, count = (0, 2, 3), x.size // 64

    def total(of: Array) -> Array:
        return of.sum(over, keepdims=True)

    unsure = total(np.abs(d) * (1 + np.abs(normal)) * ~sure)
    dscale, dbias = total(dz * normal), total(dz)
    of_dscale, of_dbias = 2 * total(near * np.abs(normal)) + unsure, 2 * total(near) + unsure
    factors = {
        "result dy_factor": (scale * inverse, 0 * scale),
        "result x_factor": (-scale * inverse**2 * dscale / count, np.abs(scale) * inverse**2 * of_dscale / count),
        "result addend": (
            scale * inverse * (mean * inverse * dscale - dbias) / count,
            np.abs(scale) * inverse * (np.abs(mean) * inverse * of_dscale + of_dbias) / count,
        ),
    }
    for made in results(backend, handle, batch_norm_backward_weights(), arrays):
        assert (np.abs(made["dz"] - dz) <= near)[sure].all()
        assert (np.abs(made["result dscale"] - dscale) <= of_dscale).all()
        assert (np.abs(made["result dbias"] - dbias) <= of_dbias).all()
        for name, (right, allowance) in factors.items():
            assert (np.abs(made[name] - right) <= allowance + 16 * U["float32"] * np.abs(right) + 1e-6).all(), name
