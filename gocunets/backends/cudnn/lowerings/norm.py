"""Batch normalisation: training, inference, gradient, running statistics."""

from __future__ import annotations

import math
from collections.abc import Sequence

from gocudnn_py.cuda import Scalar

from ....graph import Node
from ....ops.norm import BatchNorm, BatchNormBackward, BatchNormInference, RunningStatistics
from ....passes.layout import Freedom
from ..backend import CudaBackend, Step, Tensor
from ..registry import lowering
from .convolution import channel_sizes
from .elementwise import THREADS, blocks, pointers

SOURCE = "norm.cu"


def _freedom(node: Node) -> Freedom:
    """A statistic of each activation lies as x would, row-major, without the samples."""
    return "same" if node.op.fields()["spatial"] else "row_major"


def _freedom_of_statistics(node: Node) -> Freedom:
    """Of x only the size is asked for, and one of each channel has but one axis."""
    return "any" if node.outputs[0].type.rank == 1 else "row_major"


@lowering(BatchNorm, BatchNormBackward, freedom=_freedom)
def _(backend: CudaBackend, node: Node, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> Step:
    op = node.op
    assert isinstance(op, BatchNorm | BatchNormBackward)
    sizes = _sizes(inputs[0], op.spatial)
    arguments = [*pointers(*inputs, *outputs), *((Scalar.int64, size) for size in sizes)]
    grid = [max(1, min(sizes[1], 65535))]
    if isinstance(op, BatchNormBackward):
        return backend.launch(SOURCE, "batch_norm_backward", grid, [THREADS], arguments)
    return backend.launch(SOURCE, "batch_norm_forward", grid, [THREADS], [*arguments, (Scalar.float64, op.epsilon)])


@lowering(BatchNormInference, freedom=_freedom)
def _(backend: CudaBackend, node: Node, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> Step:
    op = node.op
    assert isinstance(op, BatchNormInference)
    _, channels, plane = _sizes(inputs[0], op.spatial)
    count = inputs[0].type.size
    numbers = [(Scalar.int64, number) for number in (count, channels, plane)]
    arguments = [*pointers(*inputs, *outputs), *numbers, (Scalar.float64, op.epsilon)]
    return backend.launch(SOURCE, "batch_norm_inference", [blocks(count)], [THREADS], arguments)


@lowering(RunningStatistics, freedom=_freedom_of_statistics)
def _(backend: CudaBackend, node: Node, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> Step:
    op = node.op
    assert isinstance(op, RunningStatistics)
    channels = outputs[0].type.size
    seen = inputs[4].type.size // channels
    constants = (op.momentum, op.epsilon, seen / max(1, seen - 1))
    arguments = [*pointers(*inputs[:4], *outputs), (Scalar.int64, channels)]
    arguments += [(Scalar.float64, constant) for constant in constants]
    return backend.launch(SOURCE, "running_statistics", [blocks(channels)], [THREADS], arguments)


def _sizes(x: Tensor, spatial: bool) -> tuple[int, int, int]:
    """Samples, channels that have a statistic, and positions that share it."""
    samples, *activations = x.type.shape
    return channel_sizes(x.type) if spatial else (samples, math.prod(activations), 1)
