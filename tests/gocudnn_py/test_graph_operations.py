"""The operations of a graph with no library: their shapes, how they read, their keys, and what they refuse."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from gocudnn_py._abi.cudnn import DataType
from gocudnn_py.cudnn.graph import (
    Graph,
    MoeGroupedMatmulMode,
    NormMode,
    PointwiseMode,
    Recipe,
    ResampleMode,
    Tensor,
    channels_last,
)
from gocunets import convnetgo
from tests.gocudnn_py.graph_cases import CASES

X = (2, 8, 6, 6)

READS = {
    "maxpool with index": "y, index = maxpool(x, window=(3, 3), stride=(2, 2), padding=(1, 1))",
    "bilinear": "y = bilinear(x, window=(2, 2), stride=(1/2, 1/2), padding=(1/2, 1/2), padding_after=(1, 1))",
    "maxpool backward": "dx = maxpool_backward(dy, index, window=(3, 3), stride=(2, 2), padding=(1, 1))",
    "rms_norm training": "result y, result inverse = rms_norm(x, scale, epsilon=1e-05)",
    "layer_norm backward": "result dx, result dscale, result dbias = layer_norm_backward(x, dy, scale, mean, inverse)",
    "sums alone": "result sum, result squares = channel_sums(x)",
    "attention": "result, statistics = attention(q, k, v, scale=0.125)",
    "attention, sink": "softmax: t15, max, sum = softmax(t14, sink=sink)",
    "attention, causal": (
        "modify: t7 = index(t6, axis=2); t8 = index(t6, axis=3); t9 = t7 >= t8; t11 = where(t9, t6, -inf)"
    ),
    "attention backward, bias": "dq, dk, dv, dbias = attention_backward(q, k, v, o, do, statistics, scale=0.125)",
    "attention by parts": "t14 = exp(t13)",
    "attention by parts, dropout": "mask = bernoulli((2, 4, 128, 128), probability=0.75, seed=seed)",
    "grouped matmul, gathered": "y = grouped_matmul(tokens, weights, offsets=offsets, gather=index)",
    "grouped matmul, scattered": "y = grouped_matmul(tokens, weights, offsets=offsets, scatter=index, ks=ks)",
    "dequantized matmul": "t5 = block_dequantize(a, scale of a, 1x32)",
    "quantize": "result y, result scale = block_quantize(x, 32)",
    "reshape": "y = reshape(x, (8, 32, 64))",
    "transpose": "y = transpose(x, (0, 2, 1))",
    "sliced matmul": "t2 = x[0:8, 16:48, 0:32]",
    "concatenate": "y = concatenate(x0, x1, x2, axis=1)",
    "expand band": "y = expand_band(x, axis=3, lower=4, upper=3)",
    "random uniform": "y = uniform((4, 32, 64), low=-1, high=2, seed=5)",
    "signal WAIT": "y = wait(x, flag, 1)",
    "rotate": "y = rotate(x, angles)",
    "band mask": "y = band_mask(x, outside=-inf, right=3)",
    "scaled sum": "t4 = x * 3.5",
    "select": "y = where(t3, x, t4)",
    "reduction ADD": "y = sum(x, axes=(0, 2, 3))",
}


@pytest.mark.parametrize(("name", "line"), READS.items(), ids=READS)
def test_operations_read_like_the_mathematics(name: str, line: str) -> None:
    assert line in [each.strip() for each in str(CASES[name].make()).splitlines()]


def test_a_name_that_comes_later_is_read_everywhere() -> None:
    graph = Graph()
    x = graph.tensor("x", X, "float32")
    y = graph.add(x, x)
    graph.relu(y)
    graph.output(y, "total")
    assert "  t3 = relu(total)" in str(graph).splitlines()


def test_kinds_of_tensors_are_told_apart() -> None:
    graph = Graph()
    offsets = graph.tensor("offsets", (3, 1, 1, 1), "int32")
    x = graph.tensor("x", X, "float16", ragged=offsets)
    assert str(x) == "x: HALF[2x8x6x6] ragged by offsets"
    v = graph.tensor("v", (2, 2, 8, 8), "int8", vector=(32, 1))
    assert str(v).endswith("INT8[2x2x8x8] of vectors of 32 along axis 1")
    number = graph.scalar(2.5)
    assert (graph.real, graph.scalars) == ([offsets, x, v], [number])
    assert number.host_value().tolist() == [2.5]
    assert number.host_value(-1).tolist() == [-1]


@pytest.mark.parametrize("name", CASES)
def test_equal_graphs_have_equal_keys_and_others_not(name: str) -> None:
    case = CASES[name]
    assert case.make().key() == case.make().key()
    others = {other: CASES[other].make().key() for other in CASES if other != name}
    assert case.make().key() not in others.values()


def test_the_value_of_a_scalar_is_no_part_of_the_key_unless_it_is_compiled_in() -> None:
    def key(value: float, constant: bool) -> str:
        graph = Graph()
        x = graph.tensor("x", X, "float32")
        graph.output(graph.multiply(x, graph.scalar(value, constant=constant)))
        return graph.key()

    assert key(2.0, False) == key(0.0, False)
    assert len({key(2.0, True), key(0.0, True), key(2.0, False)}) == 3


def test_large_whole_numbers_are_told_apart_in_keys() -> None:
    def key(seed: int) -> str:
        graph = Graph()
        graph.output(graph.bernoulli((1, 2, 3), 0.5, seed))
        return graph.key()

    assert key(2**53) != key(2**53 + 1)


def test_pooled_extents_are_those_of_the_reference() -> None:
    rng = np.random.default_rng(5)
    for _ in range(100):
        dims = (2, 3, *rng.integers(8, 20, 2).tolist())
        window = tuple(rng.integers(2, 5, 2).tolist())
        stride = tuple(rng.integers(1, 4, 2).tolist())
        padding = tuple(int(rng.integers(0, size)) for size in window)
        graph = Graph()
        x = graph.tensor("x", dims, "float32")
        y = graph.resample(ResampleMode.MAXPOOL, x, window, stride=stride, padding=padding).y
        assert y.dims == convnetgo.pool_output_shape(dims, window=window, stride=stride, padding=padding)
        dx = graph.resample_backward(ResampleMode.AVGPOOL, y, dims, window, stride=stride, padding=padding)
        assert dx.dims == dims


def test_bilinear_doubles() -> None:
    graph = Graph()
    x = graph.tensor("x", (1, 3, 7, 5), "float32")
    half = Fraction(1, 2)
    made = graph.resample(ResampleMode.BILINEAR, x, 2, stride=half, padding=half, padding_after=1)
    assert made.y.dims == (1, 3, 14, 10)
    assert made.indices is None


def test_results_keep_the_order_of_the_axes() -> None:
    graph = Graph()
    x = graph.tensor("x", X, "float16", order=channels_last(4))
    pooled = graph.resample(ResampleMode.MAXPOOL, x, 2, stride=2, index="int8")
    assert pooled.y.strides == (72, 1, 24, 8)
    assert pooled.indices is not None
    assert (pooled.indices.dtype, pooled.indices.strides) == (DataType.INT8, pooled.y.strides)
    one = graph.tensor("one", (2, 1, 6, 6), "float16", order=channels_last(4))
    assert graph.convolution(one, graph.tensor("w", (4, 1, 3, 3), "float16")).strides == (64, 1, 16, 4)
    assert graph.concatenate([x, x], 1).strides == (576, 1, 96, 16)
    assert graph.slice(x, (0, 0, 1, 0), (2, 8, 5, 6), (1, 2, 2, 1)).strides == (288, 2, 96, 8)


def test_shapes_of_what_is_moved() -> None:
    graph = Graph()
    x = graph.tensor("x", (4, 6, 8), "float16")
    assert graph.transpose(x, (2, 0, 1)).dims == (8, 4, 6)
    assert graph.slice(x, (1, 0, 0), (4, 6, 7), (1, 2, 3)).dims == (3, 3, 3)
    assert graph.concatenate([x, x, x], -1).dims == (4, 6, 24)
    assert graph.reshape(x, (24, 8)).strides == (8, 1)
    quantized = graph.block_quantize(x, 4, dtype="float8_e4m3fn", scale_dtype="float8_e8m0fnu", axis=2)
    assert (quantized.scale.dims, quantized.y.dtype) == ((4, 6, 2), DataType.FP8_E4M3)


def test_statistics_of_a_normalization_keep_what_is_not_summed_over() -> None:
    def statistics(mode: NormMode, dims: tuple[int, ...], scale: tuple[int, ...]) -> tuple[int, ...]:
        graph = Graph()
        x, s = graph.tensor("x", dims, "float16"), graph.tensor("scale", scale, "float32")
        made = graph.normalize(mode, x, s, training=True)
        assert (made.mean is None) == (mode is NormMode.RMS_NORM)
        assert made.inverse is not None
        return made.inverse.dims

    assert statistics(NormMode.BATCH_NORM, X, (1, 8, 1, 1)) == (1, 8, 1, 1)
    assert statistics(NormMode.INSTANCE_NORM, X, (1, 8, 1, 1)) == (2, 8, 1, 1)
    assert statistics(NormMode.LAYER_NORM, X, (1, 8, 6, 6)) == (2, 1, 1, 1)
    assert statistics(NormMode.RMS_NORM, X, (1, 8, 1, 1)) == (2, 1, 6, 6)
    assert statistics(NormMode.ADA_LAYER_NORM, (2, 5, 8), (2, 1, 8)) == (2, 5, 1)


def test_only_products_and_sums_of_float32_count_as_such() -> None:
    assert not CASES["maxpool float32"].make().multiplies_float32
    assert not CASES["scaled sum"].make().multiplies_float32
    assert not CASES["attention"].make().multiplies_float32
    assert not CASES["attention backward by parts"].make().multiplies_float32
    assert CASES["attention by parts, float32"].make().multiplies_float32


def test_float32_stays_float32_after_elementwise_operations() -> None:
    def product(a: str, b: str) -> Graph:
        graph = Graph()
        x, y = graph.tensor("x", (1, 8, 8), a), graph.tensor("y", (1, 8, 8), b)
        graph.output(graph.matmul(graph.relu(graph.multiply(x, 2.0)), graph.transpose(y, (0, 2, 1))), "result")
        return graph

    assert product("float32", "float16").multiplies_float32
    assert product("float16", "float32").multiplies_float32
    assert not product("float16", "float16").multiplies_float32
    graph = Graph()
    x, scale = graph.tensor("x", (1, 8, 8), "int8"), graph.tensor("scale", (1, 1, 1), "float32")
    scaled = graph.multiply(graph.pointwise(PointwiseMode.IDENTITY, x), scale)
    graph.output(graph.matmul(scaled, scaled), "result")
    assert not graph.multiplies_float32


def test_offsets_may_come_after_what_they_are_of() -> None:
    graph = Graph()
    o = graph.attention(*(graph.tensor(name, (2, 4, 8, 16), "float16") for name in "qkv")).o
    graph.output(o, "o", dtype="float16", ragged=graph.tensor("offsets", (3, 1, 1, 1), "int32"))
    order = sorted(graph.tensors, key=lambda tensor: tensor.ragged is not None)
    assert [tensor.name for tensor in order][-1] == "o"


def refusals() -> dict[str, tuple[Callable[[Graph, Tensor], Any], str]]:
    """What each mistake is and what it must say."""

    def heads(graph: Graph, *shapes: tuple[int, ...]) -> list[Tensor]:
        return [graph.tensor(name, shape, "float16") for name, shape in zip("qkv", shapes, strict=False)]

    def one(graph: Graph, *dims: int) -> Tensor:
        return graph.tensor("other", dims, "float32")

    pool, bilinear = ResampleMode.MAXPOOL, ResampleMode.BILINEAR
    q = (2, 4, 8, 16)
    return {
        "window": (lambda g, x: g.resample(pool, x, (3, 3, 3)), r"window=\(3, 3, 3\): 2 numbers of at least 1"),
        "stride": (lambda g, x: g.resample(bilinear, x, 2, stride=0), r"resample: a stride of \(0, 0\)"),
        "too large a window": (lambda g, x: g.resample(pool, x, 9), r"result of MAXPOOL\[2\] is -2"),
        "pool without space": (lambda g, x: g.resample(pool, one(g, 3, 4), 2), r"resample needs \(N, C, \*spatial\)"),
        "dy": (
            lambda g, x: g.resample_backward(pool, x, (2, 8, 6, 6), 2, stride=2),
            r"dy is \(2, 8, 6, 6\), of dx \(2, 8, 6, 6\) it would be \(2, 8, 3, 3\)",
        ),
        "training of given statistics": (
            lambda g, x: g.normalize(NormMode.BATCH_NORM, x, x, x, training=True, statistics=(x, x)),
            "training computes its statistics",
        ),
        "running in inference": (
            lambda g, x: g.normalize(NormMode.BATCH_NORM, x, x, x, running=(x, x)),
            "replaced in training only",
        ),
        "reshape": (lambda g, x: g.reshape(x, (2, 8, 35)), r"has 576 elements, \(2, 8, 35\) 560"),
        "permutation": (lambda g, x: g.transpose(x, (0, 1, 1, 2)), r"\(0, 1, 1, 2\) does not order the axes of x"),
        "slice": (lambda g, x: g.slice(x, (0, 0, 0, 0), (2, 9, 6, 6)), r"stop=\(2, 9, 6, 6\)"),
        "slice of fewer axes": (lambda g, x: g.slice(x, (0,), (1,)), "has 4 axes"),
        "no tensors": (lambda g, x: g.concatenate([], 0), "no tensors"),
        "unlike tensors": (lambda g, x: g.concatenate([x, one(g, 2, 8, 6, 5)], 1), r"\(2, 8, 6, 6\), \(2, 8, 6, 5\)"),
        "axis": (lambda g, x: g.concatenate([x], 4), "has no axis 4"),
        "in place": (lambda g, x: g.concatenate([x], 1, in_place=1), "in_place=1 of 1 tensors"),
        "probability": (lambda g, x: g.bernoulli(X, 1.5, 1), "1.5 is not from 0 to 1"),
        "interval": (lambda g, x: g.uniform(X, 1, low=1.0, high=1.0), "from 1.0 to 1.0"),
        "deviation": (lambda g, x: g.normal(X, 1, deviation=-1.0), "-1.0 is negative"),
        "blocks": (
            lambda g, x: g.block_quantize(x, 5, dtype="int8", scale_dtype="float32"),
            "axis 3 of x: .* does not divide into blocks of 5",
        ),
        "dequantized blocks": (lambda g, x: g.block_dequantize(x, x, (1, 0)), r"blocks of \(1, 0\)"),
        "no heads": (lambda g, x: g.attention(*heads(g, q, q, q[1:])), r"are not \(B, H, S, D\)"),
        "widths": (lambda g, x: g.attention(*heads(g, q, (2, 4, 8, 8), q)), "do not belong together"),
        "head counts": (
            lambda g, x: g.attention(*heads(g, q, (2, 3, 8, 16), (2, 3, 8, 16))),
            "the heads of q are not a multiple",
        ),
        "do": (
            lambda g, x: g.attention_backward(*heads(g, q, q, q), x, x, x),
            r"o=\(2, 8, 6, 6\) and do=\(2, 8, 6, 6\), q=\(2, 4, 8, 16\)",
        ),
        "dropout": (lambda g, x: Recipe(drop=0.5), "0.5 .between 0 and 1. needs a seed and an offset"),
        "tokens": (lambda g, x: g.grouped_matmul(x, x, x), r"\(1, T, K\) and \(E, K, N\)"),
        "gather without index": (
            lambda g, x: g.grouped_matmul(*heads(g, (1, 8, 4), (3, 4, 5), (3, 1, 1)), mode=MoeGroupedMatmulMode.GATHER),
            "GATHER needs an index",
        ),
        "product of batches": (lambda g, x: g.matmul(x, one(g, 2, 3, 6, 6)), "matmul"),
        "ragged by another's": (
            lambda g, x: g.tensor("y", X, "float16", ragged=Graph().tensor("offsets", (3, 1, 1, 1), "int32")),
            "offsets.* is of another graph",
        ),
        "filters of no channel": (lambda g, x: g.convolution_backward_filter(x, x, (4, 0, 3, 3)), r"dw\[1\] is 0"),
        "a name that is there": (lambda g, x: g.output(g.relu(x), "x"), "tensor x is there twice"),
        "half of an integer": (lambda g, x: g.add(g.tensor("i", X, "int32"), 0.5), r"0.5 is no number of type INT32"),
        "too large for a half": (lambda g, x: g.scalar(1e6, "float16"), r"1e\+06 is no number of type HALF"),
        "another's sink": (
            lambda g, x: g.attention(*heads(g, q, q, q), sink=Graph().tensor("sink", (1, 4, 1, 1), "float32")),
            "sink.* is of another graph",
        ),
        "a modification that does nothing": (
            lambda g, x: g.attention(*heads(g, q, q, q), Recipe(modify=lambda scores: scores)),
            "no operation of its own makes",
        ),
        "a number of no type": (lambda g, x: g.scalar(1.0, DataType.BOOLEAN), "BOOLEAN"),
    }


@pytest.mark.parametrize(("make", "words"), refusals().values(), ids=refusals())
def test_mistakes_are_refused_with_the_numbers(make: Callable[[Graph, Tensor], Any], words: str) -> None:
    graph = Graph()
    with pytest.raises(ValueError, match=words):
        make(graph, graph.tensor("x", X, "float32"))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda g, x: g.convolution(x, x, strides=2), "a convolution has no strides; it has padding"),
        (lambda g, x: g.pointwise(PointwiseMode.EXP, x, slop=1.0), "EXP has no slop; it has alpha1"),
        (lambda g, x: g.pointwise(PointwiseMode.ADD, x, x, x, x), "ADD of 4 tensors"),
        (lambda g, x: g.attention(x, x, x, key=x), "attention has no key; it has q, k, v"),
        (lambda g, x: g.attention(x, x, x, beside=["o"]), "attention has no o; it has max, sum"),
        (lambda g, x: g.attention(x, x, x, beside=["sums"]), "attention has no sums; it has max, sum, statistics"),
        (lambda g, x: g.band_mask(x, length=x), "band_mask has no length; it has x"),
    ],
)
def test_names_that_are_not_known_are_refused(make: Callable[[Graph, Tensor], Any], words: str) -> None:
    graph = Graph()
    with pytest.raises(TypeError, match=words):
        make(graph, graph.tensor("x", X, "float32"))


def test_a_mistake_leaves_no_trace_in_the_graph() -> None:
    graph = Graph()
    x = graph.tensor("x", X, "float32")
    key = graph.key()
    with pytest.raises(ValueError, match="elements"):
        graph.reshape(x, (2, 8, 35))
    assert graph.key() == key
