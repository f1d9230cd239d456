"""The fully connected product and its gradients: large ones by cuBLASLt, others by one tiled kernel."""

from __future__ import annotations

from collections.abc import Sequence

from gocudnn_py.cuda import Scalar
from gocudnn_py.matrix import Matrix

from ....graph import Node
from ....ops.linear import (
    FullyConnected,
    FullyConnectedBackwardBias,
    FullyConnectedBackwardData,
    FullyConnectedBackwardFilter,
)
from ..backend import CudaBackend, Step, Tensor
from ..registry import lowering
from ..tiling import FULL_CARD
from .convolution import sum_of_channel
from .elementwise import element, places

TILE = 16


@lowering(FullyConnected)
def _(backend: CudaBackend, node: Node, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> Step:
    x, w, *b = inputs
    rows, inner = x.type.shape
    columns = w.type.shape[1]
    return _multiply(backend, node, x, w, outputs[0], (rows, inner, columns), (inner, 1), (columns, 1), *b)


@lowering(FullyConnectedBackwardData)
def _(backend: CudaBackend, node: Node, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> Step:
    dy, w = inputs
    rows, inner = dy.type.shape
    return _multiply(backend, node, dy, w, outputs[0], (rows, inner, w.type.shape[0]), (inner, 1), (1, inner))


@lowering(FullyConnectedBackwardFilter)
def _(backend: CudaBackend, node: Node, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> Step:
    x, dy = inputs
    samples, rows = x.type.shape
    columns = dy.type.shape[1]
    return _multiply(backend, node, x, dy, outputs[0], (rows, samples, columns), (1, rows), (columns, 1))


@lowering(FullyConnectedBackwardBias)
def _(backend: CudaBackend, node: Node, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> Step:
    samples, features = inputs[0].type.shape
    return sum_of_channel(backend, inputs[0], outputs[0], (samples, features, 1))


def _matrix(tensor: Tensor, rows: int, columns: int, strides: tuple[int, int]) -> Matrix:
    """A tensor as a matrix by its strides in elements, one of which is 1."""
    if strides[1] == 1 and strides[0] >= columns:
        return Matrix(tensor, rows, columns, tensor.type.dtype, strides[0])
    return Matrix(tensor, columns, rows, tensor.type.dtype, strides[1], transposed=True)


def _multiply(
    backend: CudaBackend,
    node: Node,
    a: Tensor,
    b: Tensor,
    y: Tensor,
    sizes: tuple[int, int, int],
    a_strides: tuple[int, int],
    b_strides: tuple[int, int],
    bias: Tensor | None = None,
) -> Step:
    """Y (rows, columns) = a (rows, inner) b (inner, columns) + bias, by the strides of a and b in elements."""
    rows, inner, columns = sizes
    if backend.engines.takes_product(rows, inner, columns):
        first, second = _matrix(a, rows, inner, a_strides), _matrix(b, inner, columns, b_strides)
        result = Matrix(y, rows, columns, y.type.dtype)
        return backend.engines.multiply(first, second, result, bias, node.math)
    tiles = -(-rows // TILE) * -(-columns // TILE)
    shift = [(Scalar.pointer, 0)] if bias is None else places(bias)
    addresses = [*places(a, b), *shift, *places(y)]
    numbers = [(Scalar.int64, number) for number in (*sizes, *a_strides, *b_strides)]
    slices = next(n for n in (1, 2, 4) if n == 4 or tiles >= FULL_CARD or inner <= n * TILE)
    grid, arguments = [max(1, min(tiles, 65535))], [*addresses, *numbers]
    defines = element(a, b, y) | {"SLICES": slices}
    return backend.launch("linear.cu", "multiply", grid, [slices * TILE * TILE], arguments, defines=defines)
