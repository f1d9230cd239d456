"""Each op as a call of convnetgo."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from ... import convnetgo
from ...dtypes import DType
from ...ops.activation import KINDS, Activation, ActivationBackward
from ...ops.conv import (
    Convolution,
    ConvolutionBackwardBias,
    ConvolutionBackwardData,
    ConvolutionBackwardFilter,
    TransposedConvolution,
)
from ...ops.data import GatherBatch
from ...ops.elementwise import Add, Cast, Copy, Full, Scale
from ...ops.linear import (
    FullyConnected,
    FullyConnectedBackwardBias,
    FullyConnectedBackwardData,
    FullyConnectedBackwardFilter,
)
from ...ops.loss import (
    CountCorrect,
    CrossEntropy,
    CrossEntropyBackward,
    MaskedMean,
    MaskedMeanBackward,
    SquaredError,
    SquaredErrorBackward,
)
from ...ops.norm import BatchNorm, BatchNormBackward, BatchNormInference, RunningStatistics
from ...ops.pool import AveragePool, AveragePoolBackward, MaxPool, MaxPoolBackward
from ...ops.random import Dropout, DropoutBackward
from ...ops.shape import Concat, Pad, Reshape, Slice, Split, bounds
from ...ops.softmax import Softmax, SoftmaxBackward
from ...state import STEP_STATE
from .registry import kernel

Array = npt.NDArray[Any]


def _geometry(op: Any) -> dict[str, Any]:
    return {"stride": op.stride, "padding": op.padding, "dilation": op.dilation, "groups": op.groups}


@kernel(Convolution)
def _(op: Convolution, x: Array, w: Array, b: Array | None = None) -> Array:
    return convnetgo.convolution_forward(x, w, b, **_geometry(op))


@kernel(ConvolutionBackwardData)
def _(op: ConvolutionBackwardData, dy: Array, w: Array) -> Array:
    return convnetgo.convolution_backward_data(dy, w, op.x_shape, **_geometry(op))


@kernel(ConvolutionBackwardFilter)
def _(op: ConvolutionBackwardFilter, x: Array, dy: Array) -> Array:
    return convnetgo.convolution_backward_filter(x, dy, op.w_shape, **_geometry(op))


@kernel(ConvolutionBackwardBias)
def _(op: ConvolutionBackwardBias, dy: Array) -> Array:
    return convnetgo.convolution_backward_bias(dy)


@kernel(TransposedConvolution)
def _(op: TransposedConvolution, x: Array, w: Array, b: Array | None = None) -> Array:
    return convnetgo.transposed_convolution_forward(x, w, b, **_geometry(op), output_padding=op.output_padding)


@kernel(FullyConnected)
def _(op: FullyConnected, x: Array, w: Array, b: Array | None = None) -> Array:
    return convnetgo.fully_connected_forward(x, w, b)


@kernel(FullyConnectedBackwardData)
def _(op: FullyConnectedBackwardData, dy: Array, w: Array) -> Array:
    return convnetgo.fully_connected_backward_data(dy, w)


@kernel(FullyConnectedBackwardFilter)
def _(op: FullyConnectedBackwardFilter, x: Array, dy: Array) -> Array:
    return convnetgo.fully_connected_backward_filter(x, dy)


@kernel(FullyConnectedBackwardBias)
def _(op: FullyConnectedBackwardBias, dy: Array) -> Array:
    return convnetgo.fully_connected_backward_bias(dy)


def _window(op: Any) -> dict[str, Any]:
    return {"window": op.window, "stride": op.stride, "padding": op.padding}


@kernel(MaxPool)
def _(op: MaxPool, x: Array) -> tuple[Array, Array]:
    return convnetgo.max_pool_forward(x, **_window(op))


@kernel(MaxPoolBackward)
def _(op: MaxPoolBackward, dy: Array, indices: Array) -> Array:
    return convnetgo.max_pool_backward(dy, indices, op.x_shape)


@kernel(AveragePool)
def _(op: AveragePool, x: Array) -> Array:
    return convnetgo.average_pool_forward(x, **_window(op), include_padding=op.include_padding)


@kernel(AveragePoolBackward)
def _(op: AveragePoolBackward, dy: Array) -> Array:
    return convnetgo.average_pool_backward(dy, op.x_shape, **_window(op), include_padding=op.include_padding)


@kernel(Activation)
def _(op: Activation, x: Array) -> Array:
    return _FORWARD[op.kind](x, *_parameter(op))


@kernel(ActivationBackward)
def _(op: ActivationBackward, y: Array, dy: Array) -> Array:
    return _BACKWARD[op.kind](y, dy, *_parameter(op))


def _parameter(op: Activation | ActivationBackward) -> tuple[float, ...]:
    return () if op.parameter is None else (op.parameter,)


_FORWARD: dict[str, Callable[..., Array]] = {kind: getattr(convnetgo, kind) for kind in KINDS}
_BACKWARD: dict[str, Callable[..., Array]] = {kind: getattr(convnetgo, f"{kind}_backward") for kind in KINDS}


@kernel(BatchNorm)
def _(op: BatchNorm, x: Array, gamma: Array, beta: Array) -> tuple[Array, Array, Array]:
    return convnetgo.batch_norm_forward(x, gamma, beta, epsilon=op.epsilon, spatial=op.spatial)


@kernel(BatchNormBackward)
def _(
    op: BatchNormBackward, x: Array, dy: Array, gamma: Array, mean: Array, invstd: Array
) -> tuple[Array, Array, Array]:
    return convnetgo.batch_norm_backward(x, dy, gamma, mean, invstd, spatial=op.spatial)


@kernel(BatchNormInference)
def _(op: BatchNormInference, x: Array, gamma: Array, beta: Array, mean: Array, variance: Array) -> Array:
    return convnetgo.batch_norm_inference(x, gamma, beta, mean, variance, epsilon=op.epsilon, spatial=op.spatial)


@kernel(RunningStatistics)
def _(
    op: RunningStatistics, running_mean: Array, running_variance: Array, mean: Array, invstd: Array, x: Array
) -> tuple[Array, Array]:
    count = x.size // mean.size
    variance = (invstd**-2 - op.epsilon) * (count / max(1, count - 1))
    return (
        convnetgo.running_average(running_mean, mean, op.momentum),
        convnetgo.running_average(running_variance, variance, op.momentum),
    )


@kernel(Softmax)
def _(op: Softmax, x: Array) -> Array:
    return (convnetgo.log_softmax if op.log else convnetgo.softmax)(x, op.axis)


@kernel(SoftmaxBackward)
def _(op: SoftmaxBackward, y: Array, dy: Array) -> Array:
    return (convnetgo.log_softmax_backward if op.log else convnetgo.softmax_backward)(y, dy, op.axis)


@kernel(CrossEntropy)
def _(op: CrossEntropy, logits: Array, labels: Array) -> tuple[Array, Array]:
    return convnetgo.cross_entropy(logits, labels)


@kernel(CrossEntropyBackward)
def _(op: CrossEntropyBackward, probabilities: Array, labels: Array, dlosses: Array) -> Array:
    return convnetgo.cross_entropy_backward(probabilities, labels, dlosses)


@kernel(SquaredError)
def _(op: SquaredError, y: Array, target: Array) -> Array:
    return convnetgo.squared_error(y, target)


@kernel(SquaredErrorBackward)
def _(op: SquaredErrorBackward, y: Array, target: Array, dlosses: Array) -> Array:
    return convnetgo.squared_error_backward(y, target, dlosses)


def _valid(step: Array) -> int:
    return int(step.view(STEP_STATE)["batch_size"][0])


@kernel(MaskedMean)
def _(op: MaskedMean, losses: Array, step: Array) -> Any:
    return np.mean(losses[: _valid(step)])


@kernel(MaskedMeanBackward)
def _(op: MaskedMeanBackward, dy: Array, step: Array) -> Array:
    valid = _valid(step)
    dlosses = np.zeros(op.shape, dy.dtype)
    dlosses[:valid] = dy / dlosses[:valid].size
    return dlosses


@kernel(CountCorrect)
def _(op: CountCorrect, scores: Array, labels: Array, step: Array) -> int:
    valid = _valid(step)
    return int(np.count_nonzero(scores[:valid].argmax(axis=1) == labels[:valid]))


@kernel(Add)
def _(op: Add, a: Array, b: Array) -> Array:
    return a + b


@kernel(Scale)
def _(op: Scale, x: Array) -> Array:
    return x * op.factor


@kernel(Cast)
def _(op: Cast, x: Array) -> Array:
    return x.astype(op.dtype)


@kernel(Copy)
def _(op: Copy, x: Array) -> Array:
    return x


@kernel(Full)
def _(op: Full) -> Any:
    return np.asarray(op.value, op.dtype)


@kernel(Reshape)
def _(op: Reshape, x: Array) -> Array:
    return x.reshape(x.shape[0], *op.shape)


@kernel(Concat)
def _(op: Concat, *xs: Array) -> Array:
    return np.concatenate(xs, op.axis)


@kernel(Split)
def _(op: Split, x: Array) -> list[Array]:
    return [np.take(x, range(*piece), op.axis) for piece in bounds(op.sizes)]


@kernel(Slice)
def _(op: Slice, x: Array) -> Array:
    return x[:, *(slice(start, stop) for start, stop in zip(op.starts, op.stops, strict=True))]


@kernel(Pad)
def _(op: Pad, x: Array) -> Array:
    widths = [(0, 0), *zip(op.before, op.after, strict=True)]
    return np.pad(x, widths, constant_values=op.value)


@kernel(Dropout)
def _(op: Dropout, x: Array, step: Array) -> tuple[Array, Array]:
    record = step.view(STEP_STATE)[0]
    return convnetgo.dropout_forward(x, op.rate, seed=int(record["seed"]), node=op.node, step=int(record["step"]))


@kernel(DropoutBackward)
def _(op: DropoutBackward, dy: Array, mask: Array) -> Array:
    return convnetgo.dropout_backward(dy, mask, op.rate)


@kernel(GatherBatch)
def _(op: GatherBatch, step: Array, images: Array, targets: Array) -> tuple[Array, Array]:
    record = step.view(STEP_STATE)[0]
    positions = (int(record["cursor"]) + np.arange(op.batch)) % len(images)
    seed, epoch = int(record["seed"]), int(record["epoch"])
    indices = convnetgo.permuted_index(positions, len(images), seed=seed, epoch=epoch)
    dtype = DType.of(op.dtype).numpy().type
    return images[indices] * dtype(op.scale) - dtype(op.mean), targets[indices]
