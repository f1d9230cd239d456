"""Batch normalisation by both of cuDNN's families, against convnetgo in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gocudnn_py._abi.cudnn import BatchNormMode, NormAlgo, NormMode
from gocudnn_py.cudnn import ActivationDescriptor, ActivationMode, Handle, LrnDescriptor
from gocudnn_py.cudnn.batchnorm import BatchNormalization, Moments
from gocudnn_py.cudnn.normalization import Normalization
from gocunets import convnetgo
from tests.gpu.card import NHWC, Array, Card, numbers

EPSILON, MOMENTUM = 1e-3, 0.2
HALF = {"dtype": np.float16, "format": NHWC}


def training(word: str, extended: str = "") -> Any:
    """The mark of the functions that every case of a family calls."""
    plain = [f"cudnn{word}{name}" for name in ("ForwardTraining", "Backward", "ForwardInference")]
    sizes = [f"ForwardTraining{extended}WorkspaceSize", f"Training{extended}ReserveSpaceSize"]
    return pytest.mark.covers(*plain, *(f"cudnnGet{word}{name}" for name in sizes))


NEWER_SIZE = pytest.mark.covers("cudnnGetNormalizationBackwardWorkspaceSize")
OLDER, NEWER = training("BatchNormalization", "Ex"), training("Normalization")
EXTENDED = pytest.mark.covers(
    "cudnnBatchNormalizationForwardTrainingEx",
    "cudnnBatchNormalizationBackwardEx",
    "cudnnGetBatchNormalizationForwardTrainingExWorkspaceSize",
    "cudnnGetBatchNormalizationBackwardExWorkspaceSize",
    "cudnnGetBatchNormalizationTrainingExReserveSpaceSize",
)
# class, mode, further arguments, whether statistics are by channel, how x lies
NORMALIZATIONS: list[Any] = [
    pytest.param(BatchNormalization, BatchNormMode.SPATIAL, {}, True, {}, id="spatial", marks=OLDER),
    pytest.param(
        BatchNormalization,
        BatchNormMode.PER_ACTIVATION,
        {},
        False,
        {},
        id="per activation",
        marks=OLDER,
    ),
    pytest.param(
        BatchNormalization,
        BatchNormMode.SPATIAL_PERSISTENT,
        {},
        True,
        {},
        id="persistent",
        marks=OLDER,
    ),
    pytest.param(
        BatchNormalization,
        BatchNormMode.SPATIAL,
        {},
        True,
        {"dtype": np.float64},
        id="float64",
        marks=OLDER,
    ),
    pytest.param(
        BatchNormalization, BatchNormMode.SPATIAL_PERSISTENT, {}, True, HALF, id="persistent half", marks=EXTENDED
    ),
    pytest.param(Normalization, NormMode.PER_CHANNEL, {}, True, {}, id="per channel", marks=NEWER),
    pytest.param(Normalization, NormMode.PER_ACTIVATION, {}, False, {}, id="newer per activation", marks=NEWER),
    pytest.param(
        Normalization,
        NormMode.PER_CHANNEL,
        {"algorithm": NormAlgo.PERSIST},
        True,
        HALF,
        id="newer half",
        marks=NEWER,
    ),
]


class Problem:
    """x, dy, scale and bias with the right answers, by channel or by position."""

    def __init__(self, by_channel: bool, dtype: Any) -> None:
        shape = 6, 8, 5, 4
        self.x, self.dy = numbers(*shape, dtype=dtype), numbers(*shape, seed=1, dtype=dtype)
        self.rows = shape[1:2] if by_channel else shape[1:]
        self.scale, self.bias = 1 + 0.5 * numbers(*self.rows, seed=2), numbers(*self.rows, seed=3)
        self.scale, self.bias = (array.astype(np.float32).astype(np.float64) for array in (self.scale, self.bias))
        how: Any = {"epsilon": EPSILON, "spatial": by_channel}
        self.y, self.mean, self.invstd = convnetgo.batch_norm_forward(self.x, self.scale, self.bias, **how)
        count = self.x.size // self.mean.size
        self.unbiased = (self.invstd**-2.0 - EPSILON) * count / (count - 1)
        statistics = self.mean, self.invstd
        self.dx, self.dscale, self.dbias = convnetgo.batch_norm_backward(
            self.x, self.dy, self.scale, *statistics, spatial=by_channel
        )
        self.how = how


@pytest.mark.parametrize(("kind", "mode", "more", "by_channel", "layout"), NORMALIZATIONS)
def test_training_inference_and_gradients(
    kind: Any, mode: Any, more: dict[str, Any], by_channel: bool, layout: dict[str, Any], card: Card, handle: Handle
) -> None:
    dtype = layout.get("dtype", np.float32)
    right, wide = Problem(by_channel, dtype), np.float64 if dtype is np.float64 else np.float32
    on_x, on_dy = card.put(right.x, **layout), card.put(right.dy, **layout)
    on_y, on_dx = card.empty(right.x.shape, **layout), card.empty(right.x.shape, **layout)
    norm = kind(on_x.descriptor, mode, epsilon=EPSILON, **more)
    scale, bias = card.row(right.scale, wide), card.row(right.bias, wide)
    running, saved, gradients = (Moments(*(card.row(np.ones(right.rows), wide) for _ in range(2))) for _ in range(3))
    room = card.scratch(norm.forward_workspace_size(handle, on_x.descriptor, on_y.descriptor))
    kept = card.scratch(norm.reserve_size(handle, on_x.descriptor))
    scratch = {"workspace": room, "reserve": kept} if kind is Normalization or more or dtype is np.float16 else {}
    norm.forward_training(handle, on_x, on_y, scale, bias, running=running, momentum=MOMENTUM, saved=saved, **scratch)
    if scratch:
        size = norm.backward_workspace_size(handle, on_x.descriptor, on_dy.descriptor, on_dx.descriptor)
        scratch["workspace"] = card.scratch(size)
    norm.backward(handle, on_x, on_dy, on_dx, scale, gradients, saved=saved, **scratch)

    def row(buffer: Any) -> Array:
        return card.read(buffer, right.rows, wide)

    u = float(np.finfo(dtype).eps)
    loose, tight = {"rtol": 8 * u, "atol": 8 * u}, {"rtol": 1e-4, "atol": 1e-4}
    np.testing.assert_allclose(card.get(on_y), right.y, rtol=max(8 * u, 1e-5), atol=max(8 * u, 1e-5))
    np.testing.assert_allclose(row(saved.first), right.mean, **tight)
    np.testing.assert_allclose(row(saved.second), right.invstd, **tight)
    np.testing.assert_allclose(row(running.first), 1 + MOMENTUM * (right.mean - 1), **tight)
    np.testing.assert_allclose(row(running.second), 1 + MOMENTUM * (right.unbiased - 1), **tight)
    np.testing.assert_allclose(row(gradients.first), right.dscale, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(row(gradients.second), right.dbias, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(card.get(on_dx), right.dx, **{key: max(value, 1e-4) for key, value in loose.items()})

    norm.forward_inference(handle, on_x, on_y, scale, bias, running)
    y = convnetgo.batch_norm_inference(
        right.x, right.scale, right.bias, row(running.first), row(running.second), **right.how
    )
    np.testing.assert_allclose(card.get(on_y), y, rtol=max(8 * u, 1e-5), atol=max(8 * u, 1e-5))


@pytest.mark.parametrize("adds", [False, True])
@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(BatchNormalization, marks=EXTENDED),
        pytest.param(Normalization, marks=NEWER_SIZE),
    ],
)
def test_with_an_activation_and_a_sum(kind: Any, adds: bool, card: Card, handle: Handle) -> None:
    right = Problem(True, np.float16)
    z = numbers(*right.x.shape, seed=4, dtype=np.float16)
    before = right.y + (z if adds else 0)
    on_x, on_dy, on_z = (card.put(array, **HALF) for array in (right.x, right.dy, z))
    on_y, on_dx, on_dz = (card.empty(z.shape, **HALF) for _ in range(3))
    relu = ActivationDescriptor().set(ActivationMode.RELU)
    mode: Any = {"mode": BatchNormMode.SPATIAL_PERSISTENT}
    if kind is Normalization:
        mode = {"mode": NormMode.PER_CHANNEL, "algorithm": NormAlgo.PERSIST}
    norm = kind(on_x.descriptor, epsilon=EPSILON, activation=relu, **mode)
    scale, bias = card.row(right.scale), card.row(right.bias)
    saved, gradients = (Moments(*(card.row(np.ones(8)) for _ in range(2))) for _ in range(2))
    x, y, dy, dx, dz = (operand.descriptor for operand in (on_x, on_y, on_dy, on_dx, on_dz))
    room = card.scratch(norm.forward_workspace_size(handle, x, y, on_z.descriptor if adds else None))
    kept = card.scratch(norm.reserve_size(handle, x, adds=adds))
    added = {"z": on_z} if adds else {}
    norm.forward_training(handle, on_x, on_y, scale, bias, saved=saved, workspace=room, reserve=kept, **added)
    room = card.scratch(norm.backward_workspace_size(handle, x, dy, dx, y=y, dz=dz if adds else None))
    more = {"dz": on_dz} if adds else {}
    norm.backward(
        handle,
        on_x,
        on_dy,
        on_dx,
        scale,
        gradients,
        saved=saved,
        y=on_y,
        bias=bias,
        workspace=room,
        reserve=kept,
        **more,
    )
    dbefore = np.where(before > 0, right.dy, 0)
    dx_right, dscale, dbias = convnetgo.batch_norm_backward(right.x, dbefore, right.scale, right.mean, right.invstd)
    clear = np.abs(before) > 0.01  # where rounding does not decide the sign
    np.testing.assert_allclose(card.get(on_y)[clear], before.clip(0)[clear], rtol=4e-3, atol=4e-3)
    np.testing.assert_allclose(card.read(gradients.first, (8,)), dscale, rtol=5e-3, atol=0.1)
    np.testing.assert_allclose(card.read(gradients.second, (8,)), dbias, rtol=5e-3, atol=0.1)
    np.testing.assert_allclose(card.get(on_dx)[clear], dx_right[clear], rtol=1e-2, atol=1e-2)
    if adds:
        np.testing.assert_allclose(card.get(on_dz)[clear], dbefore[clear], rtol=4e-3, atol=4e-3)


@pytest.mark.covers("cudnnDivisiveNormalizationForward", "cudnnDivisiveNormalizationBackward")
@pytest.mark.parametrize("with_means", [False, True])
def test_divisive_normalisation(with_means: bool, card: Card, handle: Handle) -> None:
    x, dy = numbers(2, 3, 6, 7), numbers(2, 3, 6, 7, seed=1)
    m = 0.3 * numbers(2, 3, 6, 7, seed=2) if with_means else np.zeros(x.shape)
    lrn = LrnDescriptor().set(window=3, alpha=0.5, beta=0.75, k=1.5)
    on_x, on_y, on_dx, dmeans = card.put(x), card.empty(x.shape), card.empty(x.shape), card.empty(x.shape)
    scratch: Any = tuple(card.empty(x.shape).place for _ in range(2))
    means = card.row(m) if with_means else None
    lrn.divisive_forward(handle, on_x, on_y, means=means, scratch=scratch)
    lrn.divisive_backward(
        handle, on_x, card.row(dy), on_dx, means=means, dmeans=dmeans.place if with_means else None, scratch=scratch
    )

    def over_window(values: Array) -> Array:
        padded = np.pad(values, ((0, 0), (0, 0), (1, 1), (1, 1)))
        return np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (2, 3)).sum((-1, -2))

    cells, factor = over_window(np.ones(x.shape)), 0.5 / 9
    base = 1.5 + factor * (over_window(np.square(x)) - 2 * m * over_window(x) + cells * np.square(m))
    inner = 2 * factor * 0.75 * dy * x * base**-1.75
    dx = dy * base**-0.75 - x * over_window(inner) + over_window(inner * m)
    np.testing.assert_allclose(card.get(on_y), x * base**-0.75, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(card.get(on_dx), dx, rtol=1e-4, atol=1e-5)
    if with_means:
        right = inner * (over_window(x) - cells * m)
        np.testing.assert_allclose(card.get(dmeans), right, rtol=1e-4, atol=1e-5)
