"""Losses a sample, their mean, the count of right answers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from gocudnn_py.cuda import Scalar

from ....graph import Node
from ....ops.loss import (
    CountCorrect,
    CrossEntropy,
    CrossEntropyBackward,
    MaskedMean,
    MaskedMeanBackward,
    SquaredError,
    SquaredErrorBackward,
)
from ..backend import CudaBackend, Step, Tensor
from ..registry import lowering
from .elementwise import THREADS, blocks, c_type, pointers

SOURCE = "losses.cu"


def _sizes(*numbers: int) -> list[tuple[Scalar, Any]]:
    return [(Scalar.int64, number) for number in numbers]


def _classes(tensor: Tensor) -> tuple[int, int, int]:
    """Samples, classes and positions of (N, C, *S)."""
    samples, classes, *plane = tensor.type.shape
    return samples, classes, math.prod(plane)


def _rows(tensor: Tensor) -> tuple[int, int]:
    """Samples and elements of each."""
    return tensor.type.shape[0], math.prod(tensor.type.shape[1:])


@lowering(CrossEntropy, CrossEntropyBackward)
def _(backend: CudaBackend, node: Node, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> Step:
    samples, classes, plane = _classes(inputs[0])
    forward = isinstance(node.op, CrossEntropy)
    count = samples * plane * (1 if forward else classes)
    arguments = [*pointers(*inputs, *outputs), *_sizes(samples, classes, plane)]
    kernel = "cross_entropy" if forward else "cross_entropy_backward"
    defines = {"LABEL": c_type(inputs[1].type.dtype)}
    return backend.launch(SOURCE, kernel, [blocks(count)], [THREADS], arguments, defines=defines)


@lowering(CountCorrect)
def _(backend: CudaBackend, node: Node, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> Step:
    arguments = [*pointers(*inputs, *outputs), *_sizes(*_classes(inputs[0]))]
    defines = {"LABEL": c_type(inputs[1].type.dtype)}
    return backend.launch(SOURCE, "count_correct", [1], [THREADS], arguments, defines=defines)


@lowering(SquaredError)
def _(backend: CudaBackend, node: Node, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> Step:
    samples, size = _rows(inputs[0])
    arguments = [*pointers(*inputs, *outputs), *_sizes(samples, size)]
    return backend.launch(SOURCE, "squared_error", [max(1, min(samples, 65535))], [THREADS], arguments)


@lowering(SquaredErrorBackward)
def _(backend: CudaBackend, node: Node, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> Step:
    samples, size = _rows(inputs[0])
    arguments = [*pointers(*inputs, *outputs), *_sizes(samples, size)]
    return backend.launch(SOURCE, "squared_error_backward", [blocks(samples * size)], [THREADS], arguments)


@lowering(MaskedMean)
def _(backend: CudaBackend, node: Node, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> Step:
    arguments = [*pointers(*inputs, *outputs), *_sizes(*_rows(inputs[0]))]
    return backend.launch(SOURCE, "masked_mean", [1], [THREADS], arguments)


@lowering(MaskedMeanBackward)
def _(backend: CudaBackend, node: Node, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> Step:
    samples, plane = _rows(outputs[0])
    arguments = [*pointers(*inputs, *outputs), *_sizes(samples, plane)]
    return backend.launch(SOURCE, "masked_mean_backward", [blocks(samples * plane)], [THREADS], arguments)
