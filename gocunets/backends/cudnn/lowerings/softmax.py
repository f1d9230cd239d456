"""Softmax and log-softmax along any axis, and their gradients."""

from __future__ import annotations

import math
from collections.abc import Sequence

from gocudnn_py.cuda import Scalar

from ....graph import Node
from ....ops.softmax import Softmax, SoftmaxBackward
from ..backend import CudaBackend, Step, Tensor
from ..registry import lowering
from .elementwise import THREADS, blocks, pointers

LONG_ROW = 64  # elements from which a warp shares a row


@lowering(Softmax, SoftmaxBackward)
def _(backend: CudaBackend, node: Node, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> Step:
    op = node.op
    assert isinstance(op, Softmax | SoftmaxBackward)
    shape = inputs[0].type.shape
    axis = op.axis % len(shape)
    outer, size, inner = math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])
    lanes = 32 if size >= LONG_ROW else 1
    arguments = [*pointers(*inputs, *outputs), *((Scalar.int64, number) for number in (outer, size, inner))]
    kernel = "softmax_forward" if isinstance(op, Softmax) else "softmax_backward"
    defines = {"LANES": lanes, "LOG": int(op.log)}
    grid = [blocks(outer * inner * lanes)]
    return backend.launch("softmax.cu", kernel, grid, [THREADS], arguments, defines=defines)
