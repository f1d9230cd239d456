"""Max and average pooling, and their gradients as gathers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ....graph import Node
from ....ops.pool import AveragePool, AveragePoolBackward, MaxPool, MaxPoolBackward
from ..backend import CudaBackend, Step, Tensor
from ..registry import lowering
from .convolution import axis_defines, three_axes
from .elementwise import element, elementwise, places

KERNELS = {
    MaxPool: "max_pool_forward",
    MaxPoolBackward: "max_pool_backward",
    AveragePool: "average_pool_forward",
    AveragePoolBackward: "average_pool_backward",
}


@lowering(MaxPool, MaxPoolBackward, AveragePool, AveragePoolBackward, freedom="same")
def _(backend: CudaBackend, node: Node, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> Step:
    op: Any = node.op
    first, result = inputs[0].type.shape, outputs[0].type.shape
    x, y = (result, first) if isinstance(op, MaxPoolBackward | AveragePoolBackward) else (first, result)
    defines: dict[str, object] = {"INCLUDE_PADDING": int(getattr(op, "include_padding", False))} | axis_defines(
        X=three_axes(x[2:], 1),
        Y=three_axes(y[2:], 1),
        W=three_axes(op.window, 1),
        S=three_axes(op.stride, 1),
        P=three_axes(op.padding, 0),
    )
    defines |= {"C": x[1], "LAST": int(outputs[0].type.channels_last)}
    defines |= element(*inputs, *outputs)
    arguments = places(*inputs, *outputs)
    return elementwise(backend, "pooling.cu", KERNELS[type(op)], arguments, outputs[0].type.size, defines)
