"""The fully connected product and its gradients, by one tiled kernel."""

from __future__ import annotations

from collections.abc import Sequence

from gocudnn_py.cuda import Scalar

from ....graph import Node
from ....ops.linear import (
    FullyConnected,
    FullyConnectedBackwardBias,
    FullyConnectedBackwardData,
    FullyConnectedBackwardFilter,
)
from ..backend import CudaBackend, Step, Tensor
from ..registry import lowering
from .convolution import sum_of_channel
from .elementwise import element, places

TILE = 16


@lowering(FullyConnected)
def _(backend: CudaBackend, node: Node, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> Step:
    x, w, *b = inputs
    rows, inner = x.type.shape
    columns = w.type.shape[1]
    return _multiply(backend, x, w, outputs[0], (rows, inner, columns), (inner, 1), (columns, 1), *b)


@lowering(FullyConnectedBackwardData)
def _(backend: CudaBackend, node: Node, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> Step:
    dy, w = inputs
    rows, inner = dy.type.shape
    return _multiply(backend, dy, w, outputs[0], (rows, inner, w.type.shape[0]), (inner, 1), (1, inner))


@lowering(FullyConnectedBackwardFilter)
def _(backend: CudaBackend, node: Node, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> Step:
    x, dy = inputs
    samples, rows = x.type.shape
    columns = dy.type.shape[1]
    return _multiply(backend, x, dy, outputs[0], (rows, samples, columns), (1, rows), (columns, 1))


@lowering(FullyConnectedBackwardBias)
def _(backend: CudaBackend, node: Node, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> Step:
    samples, features = inputs[0].type.shape
    return sum_of_channel(backend, inputs[0], outputs[0], (samples, features, 1))


def _multiply(
    backend: CudaBackend,
    a: Tensor,
    b: Tensor,
    y: Tensor,
    sizes: tuple[int, int, int],
    a_strides: tuple[int, int],
    b_strides: tuple[int, int],
    bias: Tensor | None = None,
) -> Step:
    """Y (rows, columns) = a (rows, inner) b (inner, columns) + bias, by the strides of a and b in elements."""
    rows, _, columns = sizes
    tiles = -(-rows // TILE) * -(-columns // TILE)
    shift = [(Scalar.pointer, 0)] if bias is None else places(bias)
    addresses = [*places(a, b), *shift, *places(y)]
    numbers = [(Scalar.int64, number) for number in (*sizes, *a_strides, *b_strides)]
    grid, arguments = [max(1, min(tiles, 65535))], [*addresses, *numbers]
    return backend.launch("linear.cu", "multiply", grid, [TILE * TILE], arguments, defines=element(a, b, y))
