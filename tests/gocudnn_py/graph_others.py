"""Graphs of products, moved data, random numbers and elementwise operations for tests with and without a GPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gocudnn_py.cudnn.graph import (
    Graph,
    MoeGroupedMatmulMode,
    PointwiseMode,
    ReduceTensorOp,
    Reordering,
    SignalMode,
    Tensor,
)
from tests.gocudnn_py.graph_attention import D, S, heads
from tests.gocudnn_py.graph_images import VECTOR, image, outputs


def grouped_matmul(mode: MoeGroupedMatmulMode = MoeGroupedMatmulMode.NONE) -> Graph:
    graph = Graph()
    tokens = graph.tensor("tokens", (1, 256, 128), "float16")
    weights = graph.tensor("weights", (4, 128, 64), "float16", strides=(128 * 64, 1, 128))
    offsets = graph.tensor("offsets", (4, 1, 1), "int32")
    more: dict[str, Any] = {}
    if mode is MoeGroupedMatmulMode.GATHER:
        more = {"index": graph.tensor("index", (1, 512, 1), "int32")}
    if mode is MoeGroupedMatmulMode.SCATTER:
        more = {name: graph.tensor(name, (1, 256, 1), "int32") for name in ("index", "ks")} | {"top_k": 2}
    graph.output(graph.grouped_matmul(tokens, weights, offsets, mode=mode, **more), "y", dtype="float16")
    return graph


def grouped_matmul_backward() -> Graph:
    graph = Graph()
    tokens, dy = graph.tensor("tokens", (1, 256, 128), "float16"), graph.tensor("dy", (1, 256, 64), "float16")
    dw = graph.grouped_matmul_backward_weights(tokens, dy, graph.tensor("offsets", (4, 1, 1), "int32"))
    graph.output(dw, "dw", dtype="float16", strides=(128 * 64, 1, 128))
    return graph


def dequantized_matmul() -> Graph:
    graph = Graph()
    blocks = {"reordering": Reordering.F8_128x4}
    a, b = (
        graph.tensor("a", (1, 128, 256), "float8_e4m3fn"),
        graph.tensor("b", (1, 256, 128), "float8_e4m3fn", strides=(256 * 128, 1, 256)),
    )
    of_a = graph.tensor("scale of a", (1, 128, 8), "float8_e8m0fnu", **blocks)
    of_b = graph.tensor("scale of b", (1, 8, 128), "float8_e8m0fnu", strides=(1024, 1, 8), **blocks)
    wide = graph.block_dequantize(a, of_a, (1, 32)), graph.block_dequantize(b, of_b, (32, 1))
    graph.output(graph.matmul(*wide), "c", dtype="float16")
    return graph


def quantize() -> Graph:
    graph = Graph()
    made = graph.block_quantize(
        graph.tensor("x", (1, 256, 128), "float16"), 32, dtype="float8_e4m3fn", scale_dtype="float8_e8m0fnu"
    )
    return outputs(graph, made)


def alone(
    operation: Callable[[Graph, Tensor], Tensor], dims: tuple[int, ...] = (8, 64, 32), dtype: str = "float16"
) -> Graph:
    """A graph of one operation on one tensor."""
    graph = Graph()
    graph.output(operation(graph, graph.tensor("x", dims, dtype)), "y", dtype=dtype)
    return graph


def sliced_matmul() -> Graph:
    graph = Graph()
    part = graph.slice(graph.tensor("x", (8, 64, 32), "float16"), (0, 16, 0), (8, 48, 32))
    graph.output(graph.matmul(part, graph.tensor("b", (8, 32, 16), "float16")), "y", dtype="float16")
    return graph


def scaled_sum(dtype: str = "float32") -> Graph:
    """3.5 x + b, by a number passed by value."""
    graph = Graph()
    x, b = image(graph, dtype=dtype), image(graph, "b", dtype, VECTOR)
    graph.output(graph.add(graph.multiply(x, 3.5), b), "y", dtype=dtype)
    return graph


def select(dtype: str = "float32") -> Graph:
    """x where it is more than b, else x / b."""
    graph = Graph()
    x, b = image(graph, dtype=dtype), image(graph, "b", dtype)
    more = graph.pointwise(PointwiseMode.CMP_GT, x, b, dtype="int8")
    graph.output(graph.where(more, x, graph.divide(x, b)), "y", dtype=dtype)
    return graph


def reduction(operator: ReduceTensorOp) -> Graph:
    graph = Graph()
    graph.output(graph.reduction(operator, image(graph), VECTOR), "y")
    return graph


def vectorized_convolution() -> Graph:
    """Of int8, 32 channels an element."""
    graph = Graph(compute="int32")
    x = graph.tensor("x", (8, 2, 28, 28), "int8", vector=(32, 1))
    w = graph.tensor("w", (64, 2, 3, 3), "int8", vector=(32, 1), reordering=Reordering.INT8x32)
    y = graph.convolution(x, w, padding=1)
    y.dims, y.strides, y.vector = x.dims, x.strides, x.vector
    graph.output(y, "y", dtype="int8")
    return graph


def signal(mode: SignalMode) -> Graph:
    graph = Graph()
    x, flag = image(graph), graph.tensor("flag", (1, 1, 1, 1), "int32")
    graph.output(graph.signal(mode, x, flag, 1), "y", dtype="float16")
    return graph


def rotate(backward: bool) -> Graph:
    graph = Graph()
    (x,), angles = heads(graph, "x"), graph.tensor("angles", (S, 1, 1, D), "float32")
    turn = graph.rotate_backward if backward else graph.rotate
    graph.output(turn(x, angles, scale=2.0, width=D), "y", dtype="float16")
    return graph


def concatenated(in_place: int | None = None) -> Graph:
    graph = Graph()
    graph.output(
        graph.concatenate([image(graph, f"x{i}") for i in range(3)], 1, in_place=in_place), "y", dtype="float16"
    )
    return graph


def random(kind: str) -> Graph:
    graph = Graph()
    seed, dims = graph.tensor("seed", (1, 1, 1), "int64"), (4, 32, 64)
    made = {
        "bernoulli": lambda: graph.bernoulli(dims, 0.7, seed),
        "uniform": lambda: graph.uniform(dims, 5, low=-1.0, high=2.0),
        "normal": lambda: graph.normal(dims, seed, graph.tensor("offset", (1, 1, 1), "int64"), mean=1.0, deviation=2.0),
    }
    graph.output(made[kind](), "y")
    return graph
