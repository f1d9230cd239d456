"""Activations, sums, scaling, casts and constants."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gocudnn_py.cuda import Scalar

from ....dtypes import DType
from ....errors import CompileError
from ....graph import Node
from ....ops.activation import Activation, ActivationBackward
from ....ops.elementwise import Add, Cast, Copy, Full, Scale
from ....types import MAX_RANK
from ..backend import CudaBackend, Step, Tensor
from ..registry import lowering

SOURCE = "elementwise.cu"
THREADS = 256
KINDS = ("identity", "logistic", "tanh", "relu", "leaky_relu", "clipped_relu", "elu")
C_TYPES = {
    DType.boolean: "bool",
    DType.uint8: "unsigned char",
    DType.int32: "int",
    DType.int64: "long long",
    DType.float16: "float16",
    DType.bfloat16: "bfloat16",
    DType.float32: "float",
    DType.float64: "double",
}


def blocks(count: int) -> int:
    """Blocks of THREADS for a loop over `count` elements that strides by the grid."""
    return max(1, min(4096, -(-count // THREADS)))


def activation_code(kind: str) -> int:
    """The number that kernels know an activation by (kernels/activation.cuh)."""
    return KINDS.index(kind)


def c_type(dtype: DType) -> str:
    """The C type of elements. Raises CompileError for those without kernels."""
    if dtype not in C_TYPES:
        raise CompileError(f"the cuda backend has no kernels for {dtype}")
    return C_TYPES[dtype]


def places(*tensors: Tensor) -> list[tuple[Scalar, Any]]:
    """Tensors as arguments of a kernel that is compiled for their types."""
    return [(Scalar.pointer, tensor) for tensor in tensors]


def element(*tensors: Tensor) -> dict[str, object]:
    """The define for a kernel over floating-point tensors of one type. Raises CompileError for others."""
    dtypes = {tensor.type.dtype for tensor in tensors if tensor.type.dtype.is_float}
    if len(dtypes) > 1:
        raise CompileError(f"the cuda backend has no kernel over {' and '.join(sorted(dtypes))} together")
    (dtype,) = dtypes
    if dtype is DType.float64:
        raise CompileError(f"the cuda backend computes in float32, float16 or bfloat16, not {dtype}")
    return {} if dtype is DType.float32 else {"T": c_type(dtype)}


def pointers(*tensors: Tensor) -> list[tuple[Scalar, Any]]:
    """Tensors as arguments of a kernel of float32. Raises CompileError for those of other floating-point types."""
    require_float32(*tensors)
    return places(*tensors)


def require_float32(*tensors: Tensor) -> None:
    """Raise CompileError for tensors of other floating-point types."""
    for tensor in tensors:
        if tensor.type.dtype.is_float and tensor.type.dtype is not DType.float32:
            raise CompileError(f"this op runs in float32 on the cuda backend, not {tensor.type.dtype}")


def elementwise(
    backend: CudaBackend,
    source: str,
    kernel: str,
    arguments: Sequence[tuple[Scalar, Any]],
    count: int,
    defines: dict[str, object] | None = None,
) -> Step:
    """A launch over `count` elements, which is the last argument."""
    every = [*arguments, (Scalar.int64, count)]
    return backend.launch(source, kernel, [blocks(count)], [THREADS], every, defines=defines)


def sequence(*steps: Step) -> Step:
    """One step that makes several launches."""

    def run() -> None:
        for step in steps:
            step()

    return run


@lowering(Activation, ActivationBackward, freedom="same")
def _(backend: CudaBackend, node: Node, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> Step:
    op = node.op
    assert isinstance(op, Activation | ActivationBackward)
    kernel = "activation_forward" if isinstance(op, Activation) else "activation_backward"
    arguments = [*places(*inputs, *outputs), (Scalar.float32, op.parameter or 0.0)]
    defines = {"KIND": activation_code(op.kind)} | element(*inputs, *outputs)
    return elementwise(backend, SOURCE, kernel, arguments, outputs[0].type.size, defines)


@lowering(Add, freedom="same")
def _(backend: CudaBackend, node: Node, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> Step:
    defines = element(*inputs, *outputs)
    return elementwise(backend, SOURCE, "add", places(*inputs, *outputs), outputs[0].type.size, defines)


@lowering(Scale, freedom="same")
def _(backend: CudaBackend, node: Node, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> Step:
    op = node.op
    assert isinstance(op, Scale)
    arguments = [*places(*inputs, *outputs), (Scalar.float64, op.factor)]
    return elementwise(backend, SOURCE, "scale", arguments, outputs[0].type.size, element(*inputs, *outputs))


@lowering(Cast, Copy, freedom="any")
def _(backend: CudaBackend, node: Node, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> Step:
    x, y = inputs[0].type, outputs[0].type
    if x == y:
        return backend.copy(inputs[0], outputs[0])
    defines: dict[str, object] = {"FROM": c_type(x.dtype), "TO": c_type(y.dtype)}
    if x.order == y.order:
        return elementwise(backend, SOURCE, "cast", places(*inputs, *outputs), y.size, defines)
    lead = MAX_RANK - y.rank
    extents = [*[1] * lead, *y.extents]
    strides = [*[0] * lead, *(x.strides[axis] for axis in y.order)]
    numbers = [(Scalar.int64, number) for number in (*extents[1:], *strides)]
    return elementwise(backend, SOURCE, "reorder", [*places(*inputs, *outputs), *numbers], y.size, defines)


@lowering(Full, freedom="any")
def _(backend: CudaBackend, node: Node, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> Step:
    op = node.op
    assert isinstance(op, Full)
    arguments = [*places(*outputs), (Scalar.float64, op.value)]
    defines: dict[str, object] = {"T": c_type(outputs[0].type.dtype)}
    return elementwise(backend, SOURCE, "fill", arguments, outputs[0].type.size, defines)
