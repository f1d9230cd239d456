"""Convolutions of any geometry, 1 to 3 spatial axes, groups, transposed: large ones by cuDNN, others directly."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from gocudnn_py.cuda import Scalar
from gocudnn_py.cudnn.graph import Graph, channels_last

from ....dtypes import DType
from ....graph import Node
from ....ops.conv import (
    Convolution,
    ConvolutionBackwardBias,
    ConvolutionBackwardData,
    ConvolutionBackwardFilter,
    TransposedConvolution,
)
from ....types import TensorType
from ..backend import CudaBackend, Step, Tensor
from ..engines import graph_tensor, strides_of_two_axes, with_two_axes
from ..fused import ActivatedConvolution
from ..registry import lowering
from .elementwise import THREADS, activation_code, c_type, element, elementwise, places, sequence

SOURCE = "convolution.cu"
SUM_BLOCKS = 512  # that keep a large card busy with reading
KINDS = {
    Convolution: "convolution",
    ConvolutionBackwardData: "convolution_backward_data",
    TransposedConvolution: "convolution_backward_data",
    ConvolutionBackwardFilter: "convolution_backward_filter",
}
NAMES = {
    "convolution": ("x", "w"),
    "convolution_backward_data": ("dy", "w"),
    "convolution_backward_filter": ("x", "dy"),
}


def three_axes(values: Sequence[int], fill: int) -> tuple[int, ...]:
    """One number for each of three spatial axes, leading ones filled."""
    return (*[fill] * (3 - len(values)), *values)


def axis_defines(**rows: Sequence[int]) -> dict[str, object]:
    """X0 X1 X2 and so on for each row of three numbers."""
    return {f"{name}{axis}": number for name, row in rows.items() for axis, number in enumerate(row)}


def _defines(op: Any, x: TensorType, w: TensorType, y: TensorType) -> dict[str, object]:
    """The geometry of the convolution from x (N, C, *S) by w (K, C/groups, *kernel) to y (N, K, *S)."""
    last = {f"{name}_LAST": int(type.channels_last) for name, type in (("X", x), ("W", w), ("Y", y))}
    return {"C": x.shape[1], "K": w.shape[0], "GROUPS": op.groups, **last} | axis_defines(
        X=three_axes(x.shape[2:], 1),
        Y=three_axes(y.shape[2:], 1),
        W=three_axes(w.shape[2:], 1),
        S=three_axes(op.stride, 1),
        P=three_axes(op.padding, 0),
        D=three_axes(op.dilation, 1),
    )


def _bias(inputs: Sequence[Tensor]) -> tuple[Scalar, Any]:
    return places(inputs[2])[0] if len(inputs) > 2 else (Scalar.pointer, 0)


def _by_cudnn(
    backend: CudaBackend,
    op: Any,
    math: str,
    inputs: Sequence[Tensor],
    result: Tensor,
    *,
    biased: bool = False,
    relu: bool = False,
) -> Step | None:
    """One of the three convolutions as one graph of cuDNN's; None for a small one, or one that no engine does."""
    if not backend.engines.takes(op.flops([x.type for x in inputs], [result.type]) // 2):
        return None
    graph, kind = Graph(), KINDS[type(op)]
    tensors = {graph_tensor(graph, name, x.type): x for name, x in zip(NAMES[kind], inputs, strict=False)}
    window = {"padding": op.padding, "stride": op.stride, "dilation": op.dilation}
    if len(op.stride) == 1:
        window = {name: (int(name != "padding"), *values) for name, values in window.items()}
    dims = () if kind == "convolution" else (with_two_axes(result.type.shape, 1),)
    made = getattr(graph, kind)(*tensors, *dims, **window)
    if biased:
        extents = (1, made.dims[1], *[1] * (len(made.dims) - 2))
        b = graph.tensor("b", extents, inputs[2].type.dtype, order=channels_last(len(extents)))
        tensors[b] = inputs[2]
        made = graph.add(made, b)
    if relu:
        made = graph.relu(made)
    strides = strides_of_two_axes(result.type)
    tensors[graph.output(made, "result", dtype=result.type.dtype, strides=strides)] = result
    return backend.engines.run_graph(graph, tensors, math)


def _finished(
    backend: CudaBackend,
    op: Any,
    math: str,
    inputs: Sequence[Tensor],
    y: Tensor,
    kind: str = "identity",
    parameter: float | None = None,
) -> Step | None:
    """A convolution of cuDNN's with bias and activation: in one graph where an engine does that, or by a launch after.

    None where the direct kernels serve.
    """
    biased, plain = len(inputs) > 2, kind == "identity"
    if plain or kind == "relu":
        step = _by_cudnn(backend, op, math, inputs, y, biased=biased, relu=not plain)
        if step is not None or (plain and not biased):
            return step
    step = _by_cudnn(backend, op, math, inputs, y)
    if step is None:
        return None
    _, channels, plane = channel_sizes(y.type)
    numbers = (Scalar.float32, parameter or 0.0), (Scalar.int64, channels), (Scalar.int64, plane)
    defines = {"KIND": activation_code(kind)} | element(*inputs, y)
    arguments = [_bias(inputs), *places(y), *numbers]
    return sequence(step, elementwise(backend, "elementwise.cu", "finish", arguments, y.type.size, defines))


def _direct(backend: CudaBackend, op: Convolution, inputs: Sequence[Tensor], y: Tensor) -> Step:
    x, w = inputs[:2]
    defines = _defines(op, x.type, w.type, y.type) | element(*inputs, y)
    arguments = [*places(x, w), _bias(inputs), *places(y)]
    return elementwise(backend, SOURCE, "convolution_forward", arguments, y.type.size, defines)


@lowering(Convolution, freedom="any")
def _(backend: CudaBackend, node: Node, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> Step:
    op = node.op
    assert isinstance(op, Convolution)
    return _finished(backend, op, node.math, inputs, outputs[0]) or _direct(backend, op, inputs, outputs[0])


@lowering(ActivatedConvolution, freedom="any")
def _(backend: CudaBackend, node: Node, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> Step:
    op, y = node.op, outputs[0]
    assert isinstance(op, ActivatedConvolution)
    step = _finished(backend, op.convolution, node.math, inputs, y, op.kind, op.parameter)
    if step is not None:
        return step
    arguments = [*places(y, y), (Scalar.float32, op.parameter or 0.0)]
    defines = {"KIND": activation_code(op.kind)} | element(y)
    activation = elementwise(backend, "elementwise.cu", "activation_forward", arguments, y.type.size, defines)
    return sequence(_direct(backend, op.convolution, inputs, y), activation)


@lowering(ConvolutionBackwardData, TransposedConvolution, freedom="any")
def _(backend: CudaBackend, node: Node, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> Step:
    dy, w, dx = inputs[0], inputs[1], outputs[0]
    step = _finished(backend, node.op, node.math, inputs, dx)
    if step is not None:
        return step
    defines = _defines(node.op, dx.type, w.type, dy.type) | element(*inputs, dx)
    arguments = [*places(dy, w), _bias(inputs), *places(dx)]
    return elementwise(backend, SOURCE, "convolution_backward_data", arguments, dx.type.size, defines)


@lowering(ConvolutionBackwardFilter, freedom="any")
def _(backend: CudaBackend, node: Node, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> Step:
    x, dy, dw = inputs[0], inputs[1], outputs[0]
    step = _by_cudnn(backend, node.op, node.math, (x, dy), dw)
    if step is not None:
        return step
    defines = _defines(node.op, x.type, dw.type, dy.type) | element(x, dy, dw)
    arguments = [*places(x, dy, dw), (Scalar.int64, x.type.shape[0])]
    return backend.launch(SOURCE, "convolution_backward_filter", [dw.type.size], [THREADS], arguments, defines=defines)


@lowering(ConvolutionBackwardBias, freedom="any")
def _(backend: CudaBackend, node: Node, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> Step:
    return sum_of_channel(backend, inputs[0], outputs[0], channel_sizes(inputs[0].type))


def channel_sizes(type: TensorType) -> tuple[int, int, int]:
    """(N, C, *S) as it lies in memory, (samples, channels, plane): with channels last, every pixel is a sample."""
    samples, channels, *spatial = type.shape
    plane = math.prod(spatial)
    return (samples * plane, channels, 1) if type.channels_last else (samples, channels, plane)


def sum_of_channel(backend: CudaBackend, dy: Tensor, db: Tensor, sizes: tuple[int, int, int]) -> Step:
    """Launches that sum (samples, channels, plane) over all but the channels: in parts, and then over the parts."""
    element(dy, db)  # raises for dtypes that are not computed in
    samples, channels, plane = sizes
    parts = max(1, min(-(-SUM_BLOCKS // _blocks_across(channels, plane)), samples // (8 if plane == 1 else 1)))
    if parts == 1:
        return _sum(backend, dy, db, sizes, 1)
    type = TensorType((parts, channels), DType.float32)
    partial = backend.view(backend.allocate(type.nbytes), 0, type)
    first, second = _sum(backend, dy, partial, sizes, parts), _sum(backend, partial, db, (parts, channels, 1), 1)
    return sequence(first, second)


def _sum(backend: CudaBackend, x: Tensor, y: Tensor, sizes: tuple[int, ...], parts: int) -> Step:
    _, channels, plane = sizes
    kernel, extents = ("sum_rows", sizes[:2]) if plane == 1 else ("sum_planes", sizes)
    defines: dict[str, object] = {"FROM": c_type(x.type.dtype), "TO": c_type(y.type.dtype)}
    arguments = [*places(x, y), *((Scalar.int64, extent) for extent in extents)]
    grid = [_blocks_across(channels, plane), parts]
    return backend.launch("linear.cu", kernel, grid, [THREADS], arguments, defines=defines)


def _blocks_across(channels: int, plane: int) -> int:
    """Blocks beside one another: 32 channels each where they are neighbours in memory, else one."""
    return -(-channels // 32) if plane == 1 else channels
