"""The fused ops: small-channel convolutions, the loss, the end of the backward pass, the batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gocudnn_py.cuda import Scalar

from ....errors import CompileError
from ....graph import Node, Value
from ....ops.data import GatherBatch
from ....types import TensorType
from .. import tiling
from ..backend import CudaBackend, Step, Tensor
from ..fused import FinishGradients, FusedBackward, FusedConvolution, Geometry, SoftmaxLoss
from ..registry import lowering
from .elementwise import activation_code

WHOLE_THREADS = 64  # of the gradients where the window is the whole input
FINISH_THREADS, FINISH_WIDTH = 256, 64  # of a block of finish_gradients, and sums that it makes
GRADIENT = np.dtype(
    [("source", "u8"), ("target", "u8"), ("count", "i8"), ("stride", "i8"), ("parts", "i8"), ("first_block", "i8")]
)


@lowering(FusedConvolution)
def _(backend: CudaBackend, node: Node, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> Step:
    op = node.op
    assert isinstance(op, FusedConvolution)
    geometry, images = op.geometry, inputs[0].type.shape[0]
    arguments = [*map(_pointer, (inputs[0], inputs[1], inputs[-1], outputs[0])), (Scalar.float32, op.parameter or 0.0)]
    defines = _defines(geometry, op.kind) | {"HAS_BIAS": int(len(inputs) > 2), "W_IS_OLD": _is_old(node.inputs[1])}
    if geometry.whole:
        defines |= {"FORWARD_WHOLE": 1}
        threads = 32 * min(geometry.filters, 16)
        return _launch(backend, "convolution_forward_whole", [images], threads, arguments, defines)
    tiles = tiling.forward(geometry, images, backend.shared_limit)
    defines |= {"FORWARD": 1, "BLOCK_K": tiles.block, "THREAD_K": tiles.thread, "SPLITS": tiles.splits}
    grid = [images, geometry.filters // tiles.block]
    return _launch(backend, "convolution_forward", grid, tiles.threads, arguments, defines, tiles.shared)


@lowering(FusedBackward)
def _(backend: CudaBackend, node: Node, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> Step:
    op = node.op
    assert isinstance(op, FusedBackward)
    geometry, operands = op.geometry, (*op.inputs(inputs), *op.outputs(outputs))
    images = operands[1].type.shape[0]  # of dy, which is always there
    arguments = [(Scalar.pointer, 0) if tensor is None else _pointer(tensor) for tensor in operands]
    arguments += [(Scalar.float32, op.parameter or 0.0), (Scalar.int32, images), (Scalar.int32, op.parts)]
    defines = _defines(geometry, op.kind)
    if geometry.whole:
        defines |= {"BACKWARD_WHOLE": 1, "FILTER": int(op.parts > 0), "DATA": int(op.data)}
        grid = -(-geometry.taps // WHOLE_THREADS) * (op.parts + images * op.data)
        return _launch(backend, "convolution_backward_whole", [grid], WHOLE_THREADS, arguments, defines)
    grid, threads, shared = 0, 0, 0
    if op.parts:
        tiles = tiling.backward_filter(geometry, op.parts, backend.shared_limit)
        defines |= {"BACKWARD_FILTER": 1, "FILTER_C": tiles.channels, "FILTER_K": tiles.filters}
        defines |= {"FILTER_THREAD_K": tiles.thread, "FILTER_SPLITS": tiles.splits}
        grid += op.parts * (geometry.channels // tiles.channels) * (geometry.filters // tiles.filters)
        threads, shared = tiles.threads, tiles.shared
    if op.data:
        tiles = tiling.backward_data(geometry, images, backend.shared_limit)
        defines |= {"BACKWARD_DATA": 1, "BLOCK_C": tiles.block, "THREAD_C": tiles.thread, "DATA_SPLITS": tiles.splits}
        defines |= {"W_IS_OLD": _is_old(node.inputs[-1])}
        grid += images * (geometry.channels // tiles.block)
        threads, shared = max(threads, tiles.threads), max(shared, tiles.shared)
    return _launch(backend, "convolution_backward", [grid], threads, arguments, defines, shared)


def _launch(
    backend: CudaBackend,
    kernel: str,
    grid: Sequence[int],
    threads: int,
    arguments: Sequence[tuple[Scalar, Any]],
    defines: dict[str, object],
    shared: int = 0,
) -> Step:
    defines = {"THREADS": threads} | defines
    return backend.launch(
        "small_convolution.cu", kernel, grid, [threads], arguments, defines=defines, shared=shared, overlaps=True
    )


@lowering(FinishGradients)
def _(backend: CudaBackend, node: Node, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> Step:
    op = node.op
    assert isinstance(op, FinishGradients)
    if inputs[0].pointer != outputs[0].pointer:
        raise CompileError("the step state is not updated in place; compile with share=True")
    complete = inputs[2 + op.sources :]
    table = np.zeros(len(op.gradients) + len(complete), GRADIENT)
    first = 0
    for row, gradient, target in zip(table, op.gradients, outputs[1:], strict=False):
        source = inputs[2 + gradient.source]
        row["source"], row["target"] = source.pointer + 4 * gradient.offset, target.pointer
        row["count"], (row["parts"], row["stride"]) = target.type.size, source.type.shape
    for row, tensor in zip(table[len(op.gradients) :], complete, strict=True):
        row["source"] = row["target"] = tensor.pointer
        row["count"], row["parts"] = tensor.type.size, 1
    for row in table:
        width = FINISH_WIDTH if row["source"] != row["target"] else FINISH_THREADS
        row["first_block"], first = first, first - (-int(row["count"]) // width)
    held = backend.allocate(table.nbytes)
    held.upload(table)
    arguments: list[tuple[Scalar, Any]] = [
        (Scalar.pointer, held),
        (Scalar.int32, len(table)),
        _pointer(inputs[1]),
        _pointer(outputs[0]),
    ]
    return backend.launch("finish.cu", "finish_gradients", [first], [FINISH_THREADS], arguments, overlaps=True)


@lowering(SoftmaxLoss)
def _(backend: CudaBackend, node: Node, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> Step:
    op, logits = node.op, inputs[0].type
    assert isinstance(op, SoftmaxLoss)
    arguments = [*map(_pointer, (*inputs, *outputs)), (Scalar.int32, logits.shape[0]), (Scalar.int32, int(op.scaled))]
    return backend.launch(
        "softmax_loss.cu", "softmax_loss", [1], [256], arguments, defines={"CLASSES": logits.shape[1]}, overlaps=True
    )


@lowering(GatherBatch)
def _(backend: CudaBackend, node: Node, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> Step:
    op = node.op
    assert isinstance(op, GatherBatch)
    images, targets = inputs[1].type, inputs[2].type
    size = images.shape[0]
    defines = {
        "IMAGE": _c_type(images),
        "SIZE": f"{size}ull",
        "HALF": max(1, -(-(size - 1).bit_length() // 2)),
        "PIXELS": images.size // size,
        "TARGET_BYTES": targets.nbytes // size,
    }
    arguments = [*map(_pointer, (*inputs, *outputs)), (Scalar.float32, op.scale), (Scalar.float32, op.mean)]
    return backend.launch("gather.cu", "gather_batch", [op.batch], [256], arguments, defines=defines, overlaps=True)


def _is_old(w: Value) -> int:
    """Whether a parameter as it was when the step began, which updates and the step counter ended before."""
    return int(w.node is None and w not in w.graph.inputs.values())


def _c_type(type: TensorType) -> str:
    names = {"uint8": "unsigned char", "float32": "float", "float64": "double"}
    if type.dtype not in names:
        raise CompileError(f"the cuda backend gathers no {type.dtype} images")
    return names[type.dtype]


def _pointer(tensor: Any) -> tuple[Scalar, Any]:
    return Scalar.pointer, tensor


def _defines(geometry: Geometry, kind: str) -> dict[str, object]:
    output = geometry.output
    names: dict[str, object] = {"C": geometry.channels, "H": geometry.height, "W": geometry.width}
    names |= {"K": geometry.filters, "R": geometry.kernel[0], "S": geometry.kernel[1], "OH": output[0], "OW": output[1]}
    for name, pair in (("STRIDE", geometry.stride), ("PAD", geometry.padding), ("DILATION", geometry.dilation)):
        names |= {f"{name}_H": pair[0], f"{name}_W": pair[1]}
    return names | {"KIND": activation_code(kind)}
