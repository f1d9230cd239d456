"""A small graph for every kind of operation, and where cuDNN has an engine for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gocudnn_py.cudnn.graph import (
    Graph,
    MoeGroupedMatmulMode,
    NormMode,
    ReduceTensorOp,
    ResampleMode,
    ReshapeMode,
    SignalMode,
)
from tests.gocudnn_py import graph_attention as attention
from tests.gocudnn_py import graph_images as images
from tests.gocudnn_py import graph_others as others

EVERYWHERE = "sm_80 sm_90 sm_100"


@dataclass(frozen=True)
class Case:
    """A graph, the architectures on which it has engines, and the first cuDNN that has all of its attributes.

    `engines` is the first cuDNN that was found to have engines for it, where that is a later one.
    """

    make: Callable[[], Graph]
    on: str = EVERYWHERE
    since: tuple[int, int] = (9, 19)
    engines: tuple[int, int] = (9, 19)

    def has_engines(self, gpu: str, version: tuple[int, ...]) -> bool:
        """Whether the table says that a cuDNN has engines for it on an architecture."""
        return gpu in self.on.split() and version[:2] >= max(self.since, self.engines)


NOWHERE = ""
SCORES = (attention.B, attention.H, attention.S, attention.S)
CASES: dict[str, Case] = {
    **{
        f"{mode.name.lower()} {dtype}": Case(lambda m=mode, d=dtype: images.pool(m, d))
        for mode in ResampleMode
        if "POOL" in mode.name
        for dtype in ("float16", "float32")
    },
    "maxpool with index": Case(lambda: images.pool(ResampleMode.MAXPOOL, index="int8")),
    "maxpool, channels first": Case(lambda: images.pool(ResampleMode.MAXPOOL, last=False)),
    "nearest": Case(lambda: images.pool(ResampleMode.NEAREST, window=2, stride=2), NOWHERE),
    "bilinear": Case(images.upsample),
    "maxpool backward": Case(lambda: images.unpool(ResampleMode.MAXPOOL, index="int8")),
    "maxpool backward, channels first": Case(lambda: images.unpool(ResampleMode.MAXPOOL, last=False)),
    "avgpool backward": Case(lambda: images.unpool(ResampleMode.AVGPOOL_EXCLUDE_PADDING, "float32")),
    **{
        f"{mode.name.lower()} {'training' if training else 'inference'}": Case(
            lambda m=mode, t=training: images.norm(m, t), NOWHERE if mode is NormMode.GROUP_NORM else EVERYWHERE
        )
        for mode in NormMode
        for training in (True, False)
        if training or mode is not NormMode.BATCH_NORM
    },
    "batch_norm inference": Case(lambda: images.norm(NormMode.BATCH_NORM, False, given=True), NOWHERE),
    "layer_norm of given statistics": Case(lambda: images.norm(NormMode.LAYER_NORM, False, given=True)),
    **{
        f"{mode.name.lower()} backward": Case(lambda m=mode: images.norm_backward(m))
        for mode in NormMode
        if mode is not NormMode.GROUP_NORM
    },
    "convolution and sums": Case(images.convolution_and_sums),
    "sums alone": Case(lambda: images.outputs(graph := Graph(), graph.channel_sums(images.image(graph))), NOWHERE),
    "finalize": Case(images.finalize),
    "batch norm backward weights": Case(images.batch_norm_backward_weights),
    "attention by parts": Case(lambda: attention.attention_by_parts(causal=True)),
    "attention by parts, float32": Case(lambda: attention.attention_by_parts("float32", causal=True)),
    "attention by parts, fewer heads": Case(lambda: attention.attention_by_parts(kv_heads=2)),
    "attention by parts, padded": Case(lambda: attention.attention_by_parts(causal=True, padded=True)),
    "attention by parts, dropout": Case(lambda: attention.attention_by_parts(causal=True, drop=True)),
    "attention, ragged": Case(attention.ragged_attention),
    "attention, paged": Case(attention.paged_attention),
    "attention backward by parts": Case(lambda: attention.attention_backward_by_parts(causal=True)),
    "attention backward by parts, padded": Case(lambda: attention.attention_backward_by_parts(padded=True)),
    "attention backward by parts, dropout": Case(
        lambda: attention.attention_backward_by_parts(drop=True), "sm_80 sm_90"
    ),
    "attention": Case(lambda: attention.attention("statistics")),
    "attention, padded and paged": Case(lambda: attention.attention(pages=True, padded=True)),
    "attention, blocks": Case(lambda: attention.attention(blocks=True), "sm_100"),
    "attention, causal": Case(lambda: attention.attention("statistics", causal=True), since=(9, 21)),
    "attention, sink": Case(lambda: attention.attention("max", "sum", sink=True, causal=True), since=(9, 21)),
    "attention, dropout": Case(lambda: attention.attention("mask", drop=True), since=(9, 21)),
    "attention backward": Case(lambda: attention.attention_backward(causal=True), since=(9, 21)),
    "attention backward, bias": Case(lambda: attention.attention_backward(bias=True), since=(9, 28)),
    "attention backward, sink": Case(lambda: attention.attention_backward(sink=True, causal=True), since=(9, 21)),
    "attention backward, dropout": Case(lambda: attention.attention_backward(drop=True), since=(9, 28)),
    "softmax": Case(lambda: others.alone(lambda g, x: g.softmax(x).y, SCORES), NOWHERE, (9, 20)),
    "band mask": Case(lambda: others.alone(lambda g, x: g.band_mask(x, right=3), SCORES), NOWHERE, (9, 20)),
    "rotate": Case(lambda: others.rotate(False), NOWHERE, (9, 24)),
    "rotate backward": Case(lambda: others.rotate(True), NOWHERE, (9, 25)),
    "grouped matmul": Case(others.grouped_matmul),
    "grouped matmul, gathered": Case(lambda: others.grouped_matmul(MoeGroupedMatmulMode.GATHER)),
    "grouped matmul, scattered": Case(lambda: others.grouped_matmul(MoeGroupedMatmulMode.SCATTER), engines=(9, 28)),
    "grouped matmul backward": Case(others.grouped_matmul_backward, NOWHERE, (9, 22)),
    "dequantized matmul": Case(others.dequantized_matmul, "sm_100"),
    "quantize": Case(others.quantize, NOWHERE),
    "reshape": Case(lambda: others.alone(lambda g, x: g.reshape(x, (8, 32, 64))), NOWHERE),
    "logical reshape": Case(
        lambda: others.alone(lambda g, x: g.reshape(x, (8, 32, 64), mode=ReshapeMode.LOGICAL)), NOWHERE, (9, 22)
    ),
    "transpose": Case(lambda: others.alone(lambda g, x: g.transpose(x, (0, 2, 1))), NOWHERE, (9, 22)),
    "sliced matmul": Case(others.sliced_matmul, since=(9, 22)),
    "concatenate": Case(others.concatenated, NOWHERE),
    "concatenate in place": Case(lambda: others.concatenated(0), NOWHERE),
    "expand band": Case(
        lambda: others.alone(lambda g, x: g.expand_band(x, (2, 4, 32, 32), 3, lower=4, upper=3), (2, 4, 32, 8)), NOWHERE
    ),
    "contract band": Case(
        lambda: others.alone(
            lambda g, x: g.contract_band(x, (2, 4, 32, 8), 3, lower=4, upper=3, padding=0.0, most=8), (2, 4, 32, 32)
        ),
        NOWHERE,
    ),
    **{f"random {kind}": Case(lambda k=kind: others.random(k), NOWHERE) for kind in ("bernoulli", "uniform", "normal")},
    **{f"signal {mode.name}": Case(lambda m=mode: others.signal(m), NOWHERE) for mode in SignalMode},
    "scaled sum": Case(others.scaled_sum),
    "select": Case(others.select),
    **{
        f"reduction {operator.name}": Case(lambda o=operator: others.reduction(o))
        for operator in (ReduceTensorOp.ADD, ReduceTensorOp.MAX)
    },
    "vectorized convolution": Case(others.vectorized_convolution),
}
