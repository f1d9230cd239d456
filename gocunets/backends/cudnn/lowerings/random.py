"""Dropout, by the Philox numbers that convnetgo has."""

from __future__ import annotations

from collections.abc import Sequence

from gocudnn_py.cuda import Scalar

from ....graph import Node
from ....ops.random import Dropout, DropoutBackward
from ..backend import CudaBackend, Step, Tensor
from ..registry import lowering
from .elementwise import THREADS, blocks, element, places

SOURCE = "random.cu"


@lowering(Dropout)
def _(backend: CudaBackend, node: Node, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> Step:
    op = node.op
    assert isinstance(op, Dropout)
    count = inputs[0].type.size
    arguments = [
        *places(*inputs, *outputs),
        (Scalar.int64, count),
        (Scalar.uint32, op.node),
        (Scalar.uint32, int(op.rate * 2**32)),
        (Scalar.float32, 1 - op.rate),
    ]
    grid, defines = [blocks(-(-count // 4))], element(inputs[0], outputs[0])
    return backend.launch(SOURCE, "dropout_forward", grid, [THREADS], arguments, defines=defines)


@lowering(DropoutBackward)
def _(backend: CudaBackend, node: Node, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> Step:
    op = node.op
    assert isinstance(op, DropoutBackward)
    count = inputs[0].type.size
    arguments = [*places(*inputs, *outputs), (Scalar.int64, count), (Scalar.float32, 1 - op.rate)]
    defines = element(inputs[0], outputs[0])
    return backend.launch(SOURCE, "dropout_backward", [blocks(count)], [THREADS], arguments, defines=defines)
