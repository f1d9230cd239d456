"""Layers: state plus one call. Input channels and features are read off the input."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence

from .. import ops
from ..errors import GraphError
from ..graph import Value
from ..init import Constant, Fans, He, Initializer
from .module import Module, Parameter

Extent = int | Sequence[int]


class Conv(Module):
    """Convolution of (N, C, *S) with `filters` filters of extent `kernel`, and a bias."""

    def __init__(
        self,
        filters: int,
        kernel: Extent,
        *,
        stride: Extent = 1,
        padding: Extent = 0,
        dilation: Extent = 1,
        groups: int = 1,
        bias: bool = True,
        initializer: Initializer | None = None,
    ) -> None:
        self.filters = _positive("filters", filters)
        self.kernel, self.stride, self.padding, self.dilation = kernel, stride, padding, dilation
        self.groups = _positive("groups", groups)
        self.w = Parameter(initializer or He())
        self.b = Parameter(Constant()) if bias else None

    def forward(self, x: Value) -> Value:
        kernel = each_axis(self.kernel, _spatial_rank(self, x))
        shape = (self.filters, x.shape[1] // self.groups, *kernel)
        taps = math.prod(kernel)
        fans = Fans(shape[1] * taps, max(1, self.filters // self.groups) * taps, math.prod(x.shape[1:]))
        w = self.w.read(x, shape, fans)
        b = self.b.read(x, (self.filters,), fans) if self.b else None
        return ops.convolution(
            x, w, b, stride=self.stride, padding=self.padding, dilation=self.dilation, groups=self.groups
        )


class TransposedConv(Module):
    """Transposed convolution of (N, C, *S): the shape a convolution with these numbers would have come from."""

    def __init__(
        self,
        filters: int,
        kernel: Extent,
        *,
        stride: Extent = 1,
        padding: Extent = 0,
        dilation: Extent = 1,
        groups: int = 1,
        output_padding: Extent = 0,
        bias: bool = True,
        initializer: Initializer | None = None,
    ) -> None:
        self.filters = _positive("filters", filters)
        self.kernel, self.stride, self.padding, self.dilation = kernel, stride, padding, dilation
        self.groups, self.output_padding = _positive("groups", groups), output_padding
        self.w = Parameter(initializer or He())
        self.b = Parameter(Constant()) if bias else None

    def forward(self, x: Value) -> Value:
        kernel = each_axis(self.kernel, _spatial_rank(self, x))
        shape = (x.shape[1], self.filters // self.groups, *kernel)
        taps = math.prod(kernel)
        fans = Fans(max(1, x.shape[1] // self.groups) * taps, shape[1] * taps, math.prod(x.shape[1:]))
        w = self.w.read(x, shape, fans)
        b = self.b.read(x, (self.filters,), fans) if self.b else None
        return ops.transposed_convolution(
            x,
            w,
            b,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            groups=self.groups,
            output_padding=self.output_padding,
        )


class Dense(Module):
    """Fully connected layer: (N, I) -> (N, features). Anything with more axes is flattened first."""

    def __init__(self, features: int, *, bias: bool = True, initializer: Initializer | None = None) -> None:
        self.features = _positive("features", features)
        self.w = Parameter(initializer or He())
        self.b = Parameter(Constant()) if bias else None

    def forward(self, x: Value) -> Value:
        x = ops.flatten(x) if len(x.shape) != 2 else x
        fans = Fans(x.shape[1], self.features, x.shape[1])
        w = self.w.read(x, (x.shape[1], self.features), fans)
        return ops.fully_connected(x, w, self.b.read(x, (self.features,), fans) if self.b else None)


class MaxPool(Module):
    """The largest element of each window; the stride defaults to the window."""

    def __init__(self, window: Extent, *, stride: Extent | None = None, padding: Extent = 0) -> None:
        self.window, self.stride, self.padding = window, stride, padding

    def forward(self, x: Value) -> Value:
        return ops.max_pool(x, self.window, stride=self.stride, padding=self.padding)


class AveragePool(Module):
    """The mean of each window; the stride defaults to the window."""

    def __init__(
        self,
        window: Extent,
        *,
        stride: Extent | None = None,
        padding: Extent = 0,
        include_padding: bool = False,
    ) -> None:
        self.window, self.stride, self.padding = window, stride, padding
        self.include_padding = include_padding

    def forward(self, x: Value) -> Value:
        return ops.average_pool(
            x, self.window, stride=self.stride, padding=self.padding, include_padding=self.include_padding
        )


class GlobalAveragePool(Module):
    """The mean over all spatial axes: (N, C, *S) -> (N, C)."""

    def forward(self, x: Value) -> Value:
        return ops.flatten(ops.global_average_pool(x))


class BatchNorm(Module):
    """Batch normalisation by the batch's statistics in training, by running ones in inference.

    `spatial` shares statistics over the spatial axes (one of each a channel); without it every
    activation has its own. running = (1 - momentum) running + momentum batch.
    """

    def __init__(self, *, epsilon: float = 1e-5, momentum: float = 0.1, spatial: bool = True) -> None:
        self.epsilon, self.momentum, self.spatial = epsilon, momentum, spatial
        self.gamma = Parameter(Constant(1.0))
        self.beta = Parameter(Constant())
        self.running_mean = Parameter(Constant(), trainable=False)
        self.running_variance = Parameter(Constant(1.0), trainable=False)

    def forward(self, x: Value) -> Value:
        shape = x.shape[1:2] if self.spatial else x.shape[1:]
        gamma, beta = self.gamma.read(x, shape), self.beta.read(x, shape)
        running = self.running_mean.read(x, shape), self.running_variance.read(x, shape)
        if not x.graph.training:
            return ops.batch_norm_inference(x, gamma, beta, *running, epsilon=self.epsilon, spatial=self.spatial)
        y, mean, invstd = ops.batch_norm(x, gamma, beta, epsilon=self.epsilon, spatial=self.spatial)
        updated = ops.running_statistics(*running, mean, invstd, x, momentum=self.momentum, epsilon=self.epsilon)
        for parameter, value in zip((self.running_mean, self.running_variance), updated, strict=True):
            assert parameter.state is not None
            x.graph.assign(parameter.state, value)
        return y


class Dropout(Module):
    """Zeroes a share `rate` of the elements in training and scales the rest."""

    def __init__(self, rate: float = 0.5) -> None:
        if not 0 <= rate < 1:
            raise ValueError(f"dropout rate {rate} is not in [0, 1)")
        self.rate = rate

    def forward(self, x: Value) -> Value:
        return ops.dropout(x, self.rate)


class Activation(Module):
    """An activation by kind: logistic, tanh, relu, leaky_relu, clipped_relu, elu."""

    def __init__(self, kind: str, parameter: float | None = None) -> None:
        if kind not in ops.KINDS:
            raise ValueError(f"activation {kind!r} is none of {', '.join(ops.KINDS)}")
        self.kind, self.parameter = kind, parameter

    def forward(self, x: Value) -> Value:
        return ops.activation(x, self.kind, self.parameter)


class Logistic(Activation):
    """1 / (1 + exp(-x))."""

    def __init__(self) -> None:
        super().__init__("logistic")


class Tanh(Activation):
    """The hyperbolic tangent."""

    def __init__(self) -> None:
        super().__init__("tanh")


class ReLU(Activation):
    """The positive part of x."""

    def __init__(self) -> None:
        super().__init__("relu")


class LeakyReLU(Activation):
    """x where positive, `slope` x elsewhere."""

    def __init__(self, slope: float = 0.01) -> None:
        super().__init__("leaky_relu", slope)


class ClippedReLU(Activation):
    """x between 0 and `ceiling`."""

    def __init__(self, ceiling: float = 6.0) -> None:
        super().__init__("clipped_relu", ceiling)


class ELU(Activation):
    """x where positive, alpha (exp(x) - 1) elsewhere."""

    def __init__(self, alpha: float = 1.0) -> None:
        super().__init__("elu", alpha)


class Softmax(Module):
    """Probabilities along an axis. Not needed before a CrossEntropy loss, which takes logits."""

    def __init__(self, axis: int = 1, *, log: bool = False) -> None:
        self.axis, self.log = axis, log

    def forward(self, x: Value) -> Value:
        return ops.log_softmax(x, self.axis) if self.log else ops.softmax(x, self.axis)


class Flatten(Module):
    """(N, ...) -> (N, elements a sample)."""

    def forward(self, x: Value) -> Value:
        return ops.flatten(x)


class Reshape(Module):
    """Gives each sample the shape `shape`; one extent may be -1."""

    def __init__(self, shape: Sequence[int]) -> None:
        self.shape = tuple(shape)

    def forward(self, x: Value) -> Value:
        return ops.reshape(x, self.shape)


class Pad(Module):
    """Extends every axis of a sample by `before` and `after` elements of `value`."""

    def __init__(self, before: Sequence[int], after: Sequence[int], value: float = 0.0) -> None:
        self.before, self.after, self.value = tuple(before), tuple(after), value

    def forward(self, x: Value) -> Value:
        return ops.pad(x, self.before, self.after, self.value)


def each_axis(extent: Extent, rank: int) -> tuple[int, ...]:
    """One whole number for each spatial axis. Raises TypeError for anything else."""
    try:
        numbers = (operator.index(extent),) * rank if not isinstance(extent, Sequence) else tuple(extent)
        return tuple(map(operator.index, numbers))
    except TypeError:
        raise TypeError(f"{extent!r} is neither a whole number nor one for each of {rank} spatial axes") from None


def _spatial_rank(module: Module, x: Value) -> int:
    rank = len(x.shape) - 2
    if not 1 <= rank <= 3:
        name = module.path or type(module).__name__
        raise GraphError(f"layer {name}: x={x.shape} has {rank} spatial axes; (N, C, *S) with 1 to 3 is needed")
    return rank


def _positive(name: str, value: int) -> int:
    if value < 1:
        raise ValueError(f"{name} is {value}; at least 1 is needed")
    return value
