"""Graphs of attention for tests with and without a GPU."""

from __future__ import annotations

from typing import Any

from gocudnn_py.cudnn.graph import Graph, Recipe, Tensor

B, H, S, D = 2, 4, 128, 64  # batch, heads, length, width


def heads(graph: Graph, names: str, dtype: str = "float16", count: int = H) -> list[Tensor]:
    return [graph.tensor(name, (B, count, S, D), dtype) for name in names.split()]


def turned(graph: Graph, names: str, dtype: str = "float16", count: int = H) -> list[Tensor]:
    """Tensors (B, H, D, S) of memory that is (B, H, S, D)."""
    strides = (count * S * D, S * D, 1, D)
    return [graph.tensor(name, (B, count, D, S), dtype, strides=strides) for name in names.split()]


def recipe(graph: Graph, *, causal: bool = False, padded: bool = False, drop: bool = False) -> Recipe:
    settings: dict[str, Any] = {"modify": graph.causal} if causal else {}
    if padded:
        settings["lengths"] = tuple(graph.tensor(f"lengths_{of}", (B, 1, 1, 1), "int32") for of in ("q", "kv"))
    if drop:
        seed, offset = (graph.tensor(name, (1, 1, 1, 1), "int64") for name in ("seed", "offset"))
        settings |= {"drop": 0.25, "seed": seed, "offset": offset}
    return Recipe(scale=D**-0.5, **settings)


def attention_by_parts(dtype: str = "float16", kv_heads: int = H, **done: bool) -> Graph:
    graph = Graph()
    (q,), (kt,), (v,) = (
        heads(graph, "q", dtype),
        turned(graph, "kt", dtype, kv_heads),
        heads(graph, "v", dtype, kv_heads),
    )
    made = graph.attention_by_parts(q, kt, v, recipe(graph, **done))
    graph.output(made.o, "o", dtype=dtype)
    for name, tensor in made.beside.items():
        graph.output(tensor, name)
    return graph


def ragged_attention() -> Graph:
    """Sequences one after another, (tokens, H, D), of which the offsets tell where each begins."""
    graph = Graph()
    offsets = graph.tensor("offsets", (B + 1, 1, 1, 1), "int32")
    strides = (S * H * D, D, H * D, 1)
    q, v = (graph.tensor(name, (B, H, S, D), "float16", strides=strides, ragged=offsets) for name in "qv")
    kt = graph.tensor("kt", (B, H, D, S), "float16", strides=(S * H * D, D, 1, H * D), ragged=offsets)
    made = graph.attention_by_parts(q, kt, v, recipe(graph, padded=True))
    graph.output(made.o, "o", dtype="float16", strides=strides, ragged=offsets)
    return graph


def paged_attention() -> Graph:
    graph = Graph()
    (q,) = heads(graph, "q")
    blocks, size = 2 * B * S // 16, 16
    pages_k, pages_v = (graph.tensor(f"pages_{of}", (blocks, H, size, D), "float16") for of in "kv")
    table = graph.tensor("table", (B, 1, S // size, 1), "int32")
    how = recipe(graph, padded=True)
    assert how.lengths is not None
    kt = graph.load_pages(pages_k, table, how.lengths[1], (B, H, D, S), strides=(H * S * D, S * D, 1, D))
    v = graph.load_pages(pages_v, table, how.lengths[1], (B, H, S, D))
    graph.output(graph.attention_by_parts(q, kt, v, how).o, "o", dtype="float16")
    return graph


def attention_backward_by_parts(dtype: str = "float16", **done: bool) -> Graph:
    graph = Graph()
    q, o, do = heads(graph, "q o do", dtype)
    kt, vt = turned(graph, "kt vt", dtype)
    statistics = graph.tensor("statistics", (B, H, S, 1), "float32")
    made = graph.attention_backward_by_parts(q, kt, vt, o, do, statistics, recipe(graph, **done))
    for name in ("dq", "dk", "dv"):
        graph.output(getattr(made, name), name, dtype=dtype)
    return graph


def attention(*beside: str, sink: bool = False, blocks: bool = False, pages: bool = False, **done: bool) -> Graph:
    graph = Graph()
    q, k, v = heads(graph, "q k v")
    others: dict[str, Tensor] = {}
    if sink:
        others["sink"] = graph.tensor("sink", (1, H, 1, 1), "float32")
    if blocks:
        others["blocks"] = graph.tensor("blocks", (B, H, 1, 1), "int8")
    if pages:
        k, v = (graph.tensor(f"pages_{of}", (64, H, 16, D), "float16") for of in "kv")
        others |= {f"pages_{of}": graph.tensor(f"table_{of}", (B, 1, S // 16, 1), "int32") for of in "kv"}
    made = graph.attention(q, k, v, recipe(graph, **done), beside=beside, **others)
    graph.output(made.o, "result", dtype="float16")
    for name, tensor in made.beside.items():
        graph.output(tensor, name)
    return graph


def attention_backward(bias: bool = False, sink: bool = False, **done: bool) -> Graph:
    graph = Graph()
    q, k, v, o, do = heads(graph, "q k v o do")
    statistics = graph.tensor("statistics", (B, H, S, 1), "float32")
    how, more, others = recipe(graph, **done), {}, {}
    if bias:
        added = graph.tensor("bias", (1, H, S, S), "float16")
        how, more["dbias"] = Recipe(how.scale, lambda scores: graph.add(scores, added)), added.dims
    if sink:
        others["sink"] = graph.tensor("sink", (1, H, 1, 1), "float32")
        more["dsink"] = (1, H, 1, 1)
    made = graph.attention_backward(q, k, v, o, do, statistics, how, beside=more, **others)
    for name in ("dq", "dk", "dv"):
        graph.output(getattr(made, name), name, dtype="float16")
    for name, tensor in made.beside.items():
        graph.output(tensor, name, dtype="float16" if name == "dbias" else "float32")
    return graph
