"""The same numbers in other places; pieces are cut along the axes as they lie in memory."""

from __future__ import annotations

import math
from collections.abc import Sequence

from gocudnn_py.cuda import Scalar

from ....graph import Node
from ....ops.shape import Concat, Pad, Reshape, Slice, Split, bounds
from ....types import MAX_RANK
from ..backend import CudaBackend, Step, Tensor
from ..registry import lowering
from .elementwise import THREADS, blocks, c_type, sequence

SOURCE = "movement.cu"


@lowering(Reshape)
def _(backend: CudaBackend, node: Node, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> Step:
    return backend.copy(inputs[0], outputs[0])


@lowering(Concat, freedom="same")
def _(backend: CudaBackend, node: Node, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> Step:
    op = node.op
    assert isinstance(op, Concat)
    pieces = bounds([x.type.shape[op.axis] for x in inputs])
    return sequence(
        *(_columns(backend, op.axis, x, outputs[0], 0, start) for x, (start, _) in zip(inputs, pieces, strict=True))
    )


@lowering(Split, freedom="same")
def _(backend: CudaBackend, node: Node, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> Step:
    op = node.op
    assert isinstance(op, Split)
    pieces = bounds(op.sizes)
    return sequence(
        *(_columns(backend, op.axis, inputs[0], y, start, 0) for y, (start, _) in zip(outputs, pieces, strict=True))
    )


@lowering(Slice, Pad, freedom="same")
def _(backend: CudaBackend, node: Node, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> Step:
    op = node.op
    assert isinstance(op, Slice | Pad)
    x, y = inputs[0].type, outputs[0].type
    by_axis = [0, *(op.starts if isinstance(op, Slice) else [-before for before in op.before])]
    starts = [by_axis[axis] for axis in y.order[1:]]
    lead = MAX_RANK - y.rank
    extents = [[*[1] * lead, *type.extents[1:]] for type in (x, y)]
    numbers = [*extents[0], *extents[1], *[0] * lead, *starts]
    arguments = [(Scalar.pointer, inputs[0]), (Scalar.pointer, outputs[0]), (Scalar.int64, y.size)]
    arguments += [(Scalar.float64, op.value if isinstance(op, Pad) else 0.0)]
    arguments += [(Scalar.int64, number) for number in numbers]
    defines = {"T": c_type(y.dtype)}
    return backend.launch(SOURCE, "move_window", [blocks(y.size)], [THREADS], arguments, defines=defines)


def _columns(backend: CudaBackend, axis: int, x: Tensor, y: Tensor, x_start: int, y_start: int) -> Step:
    """A launch that copies the smaller of two tensors along an axis into, or out of, the larger."""
    place = x.type.order.index(axis)
    inner = math.prod(x.type.extents[place + 1 :])
    rows = math.prod(x.type.extents[:place])
    x_width, y_width = x.type.shape[axis] * inner, y.type.shape[axis] * inner
    width = min(x_width, y_width)
    itemsize = x.type.dtype.itemsize
    addresses = x.pointer + x_start * inner * itemsize, y.pointer + y_start * inner * itemsize
    arguments = [(Scalar.pointer, address) for address in addresses]
    arguments += [(Scalar.int64, number) for number in (rows, width, x_width, y_width)]
    defines = {"T": c_type(x.type.dtype)}
    return backend.launch(SOURCE, "copy_columns", [blocks(rows * width)], [THREADS], arguments, defines=defines)
