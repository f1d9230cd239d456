"""Convolution, transposed convolution and their gradients; 1 to 3 spatial axes, groups, dilation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from .. import convnetgo
from ..graph import Node, Value
from ..types import TensorType
from .base import Op, one, require_float

Extent = int | Sequence[int]
Geometry = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], int]


@dataclass(frozen=True)
class _Windowed(Op):
    """What all convolutions share: one number a spatial axis for each of stride, padding and dilation."""

    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int

    def _output_shape(self, x: Sequence[int], w: Sequence[int]) -> tuple[int, ...]:
        return convnetgo.convolution_output_shape(
            tuple(x),
            tuple(w),
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            groups=self.groups,
        )

    def _geometry(self) -> Geometry:
        return self.stride, self.padding, self.dilation, self.groups


@dataclass(frozen=True)
class Convolution(_Windowed):
    """y = w * x + b (cross-correlation). x (N, C, *S), w (K, C/groups, *kernel), b (K,) or absent.

    Thesis, equations 3.3 and 3.5 to 3.7.
    """

    name: ClassVar[str] = "convolution"

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        x, w, *b = inputs
        _require_floats(x, w, *b)
        shape = self._output_shape(x.shape, w.shape)
        _require_bias(b, shape[1])
        return (TensorType(shape, x.dtype),)

    def gradient(self, node: Node, dys: Sequence[Value | None], wanted: Sequence[bool]) -> Sequence[Value | None]:
        (dy,) = dys
        assert dy is not None
        x, w, *b = node.inputs
        graph = dy.graph
        dx = graph.add(ConvolutionBackwardData(*self._geometry(), x.shape), dy, w) if wanted[0] else (None,)
        dw = graph.add(ConvolutionBackwardFilter(*self._geometry(), w.shape), x, dy) if wanted[1] else (None,)
        db = [one(graph.add(ConvolutionBackwardBias(), dy)) if wanted[2] else None for _ in b]
        return (dx[0], dw[0], *db)

    def flops(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        bias = outputs[0].size if len(inputs) > 2 else 0
        return 2 * outputs[0].size * (inputs[1].size // inputs[1].shape[0]) + bias


@dataclass(frozen=True)
class ConvolutionBackwardData(_Windowed):
    """dx of a convolution from dy and w. Thesis, equation 3.8."""

    name: ClassVar[str] = "convolution_backward_data"
    x_shape: tuple[int, ...]

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        dy, w = inputs
        _require_output(self._output_shape(self.x_shape, w.shape), dy)
        return (TensorType(self.x_shape, dy.dtype),)

    def flops(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        return 2 * inputs[0].size * (inputs[1].size // inputs[1].shape[0])


@dataclass(frozen=True)
class ConvolutionBackwardFilter(_Windowed):
    """dw of a convolution from x and dy. Thesis, equation 3.9."""

    name: ClassVar[str] = "convolution_backward_filter"
    w_shape: tuple[int, ...]

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        x, dy = inputs
        _require_output(self._output_shape(x.shape, self.w_shape), dy)
        return (TensorType(self.w_shape, dy.dtype),)

    def flops(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        return 2 * inputs[1].size * (outputs[0].size // outputs[0].shape[0])


@dataclass(frozen=True)
class ConvolutionBackwardBias(Op):
    """db: dy summed over the batch and the spatial axes. Thesis, equation 3.10."""

    name: ClassVar[str] = "convolution_backward_bias"

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        (dy,) = inputs
        return (TensorType((dy.shape[1],), dy.dtype),)

    def flops(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        return inputs[0].size


@dataclass(frozen=True)
class TransposedConvolution(_Windowed):
    """The data gradient of a convolution, as a layer. x (N, C, *S), w (C, K/groups, *kernel), b (K,) or absent."""

    name: ClassVar[str] = "transposed_convolution"
    output_padding: tuple[int, ...]

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        x, w, *b = inputs
        _require_floats(x, w, *b)
        shape = convnetgo.transposed_convolution_output_shape(
            x.shape,
            w.shape,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            groups=self.groups,
            output_padding=self.output_padding,
        )
        _require_bias(b, shape[1])
        return (TensorType(shape, x.dtype),)

    def gradient(self, node: Node, dys: Sequence[Value | None], wanted: Sequence[bool]) -> Sequence[Value | None]:
        (dy,) = dys
        assert dy is not None
        x, w, *b = node.inputs
        graph = dy.graph
        dx = graph.add(Convolution(*self._geometry()), dy, w) if wanted[0] else (None,)
        dw = graph.add(ConvolutionBackwardFilter(*self._geometry(), w.shape), dy, x) if wanted[1] else (None,)
        db = [one(graph.add(ConvolutionBackwardBias(), dy)) if wanted[2] else None for _ in b]
        return (dx[0], dw[0], *db)

    def flops(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        bias = outputs[0].size if len(inputs) > 2 else 0
        return 2 * inputs[0].size * (inputs[1].size // inputs[1].shape[0]) + bias


def convolution(
    x: Value,
    w: Value,
    b: Value | None = None,
    *,
    stride: Extent = 1,
    padding: Extent = 0,
    dilation: Extent = 1,
    groups: int = 1,
) -> Value:
    """Convolve x (N, C, *S) with w (K, C/groups, *kernel) and add b (K,)."""
    op = Convolution(*_geometry(x, stride, padding, dilation, groups))
    return one(x.graph.add(op, x, w, *([] if b is None else [b])))


def transposed_convolution(
    x: Value,
    w: Value,
    b: Value | None = None,
    *,
    stride: Extent = 1,
    padding: Extent = 0,
    dilation: Extent = 1,
    groups: int = 1,
    output_padding: Extent = 0,
) -> Value:
    """Scatter x (N, C, *S) through w (C, K/groups, *kernel) and add b (K,): a convolution run backwards."""
    geometry = _geometry(x, stride, padding, dilation, groups)
    op = TransposedConvolution(*geometry, _each_axis(output_padding, x))
    return one(x.graph.add(op, x, w, *([] if b is None else [b])))


def _geometry(x: Value, stride: Extent, padding: Extent, dilation: Extent, groups: int) -> Geometry:
    return _each_axis(stride, x), _each_axis(padding, x), _each_axis(dilation, x), groups


def _each_axis(extent: Extent, x: Value) -> tuple[int, ...]:
    rank = len(x.shape) - 2
    return (extent,) * rank if isinstance(extent, int) else tuple(extent)


def _require_floats(*types: TensorType) -> None:
    for name, type in zip("xwb", types, strict=False):
        require_float(name, type)
        if type.dtype != types[0].dtype:
            raise ValueError(f"x is {types[0].dtype}, {name} is {type.dtype}; they must agree")


def _require_bias(b: Sequence[TensorType], channels: int) -> None:
    if b and b[0].shape != (channels,):
        raise ValueError(f"b has shape {b[0].shape}, the output has {channels} channels")


def _require_output(expected: tuple[int, ...], dy: TensorType) -> None:
    if dy.shape != expected:
        raise ValueError(f"dy has shape {dy.shape}, the convolution's output has {expected}")
