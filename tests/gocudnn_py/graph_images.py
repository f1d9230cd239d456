"""Graphs of pooling and normalization for tests with and without a GPU."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from gocudnn_py.cudnn.graph import Graph, NormMode, ResampleMode, Sums, Tensor, channels_last

NHWC = channels_last(4)
IMAGE, FILTER, VECTOR = (8, 64, 16, 16), (64, 64, 3, 3), (1, 64, 1, 1)
HALF = Fraction(1, 2)


def image(graph: Graph, name: str = "x", dtype: str = "float16", dims: tuple[int, ...] = IMAGE) -> Tensor:
    return graph.tensor(name, dims, dtype, order=NHWC)


def vectors(graph: Graph, names: str, dtype: str = "float32", dims: tuple[int, ...] = VECTOR) -> list[Tensor]:
    return [graph.tensor(name, dims, dtype, order=NHWC) for name in names.split()]


def outputs(graph: Graph, made: Any, dtype: str | None = None) -> Graph:
    """Give all of a named tuple memory, with names of results."""
    for name, tensor in made._asdict().items():
        if tensor is not None:
            graph.output(tensor, f"result {name}", dtype=dtype)
    return graph


# --- pooling --------------------------------------------------------------------------------------------------------


def pool(
    mode: ResampleMode, dtype: str = "float16", index: str | None = None, last: bool = True, **window: Any
) -> Graph:
    graph = Graph()
    x = graph.tensor("x", (4, 32, 14, 14), dtype, order=NHWC if last else None)
    made = graph.resample(mode, x, window.pop("window", 3), **(window or {"stride": 2, "padding": 1}), index=index)
    graph.output(made.y, "y", dtype=dtype)
    if made.indices is not None:
        graph.output(made.indices, "index")
    return graph


def unpool(mode: ResampleMode, dtype: str = "float16", index: str | None = None, last: bool = True) -> Graph:
    graph = Graph()
    order = NHWC if last else None
    dy = graph.tensor("dy", (4, 32, 7, 7), dtype, order=order)
    given = {"index": graph.tensor("index", dy.dims, index, order=order)} if index else {}
    if not last:
        given = {"x": graph.tensor("x", (4, 32, 14, 14), dtype), "y": graph.tensor("y", dy.dims, dtype)}
    dx = graph.resample_backward(mode, dy, (4, 32, 14, 14), 3, stride=2, padding=1, **given)
    graph.output(dx, "dx", dtype=dtype)
    return graph


def upsample(dtype: str = "float32") -> Graph:
    graph = Graph()
    x = graph.tensor("x", (4, 32, 8, 6), dtype, order=NHWC)
    window = {"stride": HALF, "padding": HALF, "padding_after": 1}
    graph.output(graph.resample(ResampleMode.BILINEAR, x, 2, **window).y, "y", dtype=dtype)
    return graph


# --- normalization --------------------------------------------------------------------------------------------------

NORM_SHAPES: dict[NormMode, tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]] = {
    NormMode.LAYER_NORM: ((256, 64, 1, 1), VECTOR, (256, 1, 1, 1)),
    NormMode.RMS_NORM: ((256, 64, 1, 1), VECTOR, (256, 1, 1, 1)),
    NormMode.INSTANCE_NORM: (IMAGE, VECTOR, (8, 64, 1, 1)),
    NormMode.BATCH_NORM: (IMAGE, VECTOR, VECTOR),
    NormMode.ADA_LAYER_NORM: ((8, 32, 64), (8, 1, 64), (8, 32, 1)),
    NormMode.GROUP_NORM: (IMAGE, VECTOR, (8, 64, 1, 1)),
}
"""The shapes of x, the scale and the statistics of each."""


def norm(mode: NormMode, training: bool, dtype: str = "float16", given: bool = False) -> Graph:
    graph = Graph()
    dims, kept, statistics = NORM_SHAPES[mode]
    order = NHWC if len(dims) == 4 else None
    x, scale, bias = (
        graph.tensor(name, shape, kind, order=order)
        for name, shape, kind in (("x", dims, dtype), ("scale", kept, "float32"), ("bias", kept, "float32"))
    )
    batch = mode is NormMode.BATCH_NORM and training
    settings: dict[str, Any] = {"momentum": 0.25} if batch else {}
    if batch:
        settings["running"] = tuple(vectors(graph, "running_mean running_variance"))
    if given:
        settings["statistics"] = tuple(vectors(graph, "mean inverse", dims=statistics))
    made = graph.normalize(
        mode, x, scale, bias if mode is not NormMode.RMS_NORM else None, training=training, **settings
    )
    outputs(graph, made)
    graph.output(made.y, dtype=dtype)
    return graph


def norm_backward(mode: NormMode, dtype: str = "float16") -> Graph:
    graph = Graph()
    dims, kept, statistics = NORM_SHAPES[mode]
    order = NHWC if len(dims) == 4 else None
    shapes = {"x": dims, "dy": dims, "scale": kept, "mean": statistics, "inverse": statistics}
    if mode is NormMode.RMS_NORM:
        del shapes["mean"]
    kinds = {"x": dtype, "dy": dtype}
    tensors = {
        name: graph.tensor(name, shape, kinds.get(name, "float32"), order=order) for name, shape in shapes.items()
    }
    made = graph.normalize_backward(mode, **tensors, bias=mode is not NormMode.RMS_NORM)
    outputs(graph, made)
    graph.output(made.dx, dtype=dtype)
    return graph


def convolution_and_sums() -> Graph:
    graph = Graph()
    x, w = image(graph), image(graph, "w", dims=FILTER)
    y = graph.output(graph.convolution(x, w, padding=1), "y", dtype="float16")
    return outputs(graph, graph.channel_sums(y))


def finalize() -> Graph:
    graph = Graph()
    total, squares, scale, bias, *running = vectors(graph, "sum squares scale bias running_mean running_variance")
    count = IMAGE[0] * IMAGE[2] * IMAGE[3]
    made = graph.finalize_statistics(Sums(total, squares), scale, bias, count, momentum=0.25, running=tuple(running))
    return outputs(graph, made)


def batch_norm_backward_weights() -> Graph:
    graph = Graph()
    dy, w, x = image(graph, "dy"), image(graph, "w", dims=FILTER), image(graph)
    mean, inverse, scale, bias = vectors(graph, "mean inverse scale bias")
    normal = graph.multiply(graph.subtract(x, mean), inverse)
    z = graph.add(graph.multiply(normal, scale), bias)
    dz = graph.relu_backward(z, graph.convolution_backward_data(dy, w, IMAGE, padding=1))
    graph.output(dz, "dz", dtype="float16")
    return outputs(graph, graph.batch_norm_backward_weights(x, dz, mean, inverse, scale))
