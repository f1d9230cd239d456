"""Graph: operations over tensors, written down like the mathematics, checked by cuDNN when it is built."""

from __future__ import annotations

from gocudnn_py.cudnn.graph import (
    attention,
    attention_pattern,
    blocks,
    convolutions,
    moving,
    noise,
    norms,
    pointwise,
    products,
    resampling,
    scores,
    statistics,
)
from gocudnn_py.cudnn.graph.operations import Row

FAMILIES = (
    convolutions,
    pointwise,
    statistics,
    products,
    resampling,
    norms,
    moving,
    noise,
    blocks,
    scores,
    attention,
)
OPERATIONS: dict[str, Row] = {row.name: row for family in FAMILIES for row in family.ROWS}
"""Every kind of operation by its name. Another of cuDNN's is another row of its family."""


class Graph(
    convolutions.Convolutions,
    resampling.Resampling,
    norms.Norms,
    blocks.Blocks,
    attention.Attention,
    attention_pattern.AttentionPattern,
):
    """An operation graph of cuDNN: add tensors and operations, name the outputs, ask for plans.

        graph = Graph()
        x = graph.tensor("x", (8, 64, 56, 56), "float16", order=channels_last(4))
        w = graph.tensor("w", (32, 64, 3, 3), "float16", order=channels_last(4))
        b = graph.tensor("b", (1, 32, 1, 1), "float16")
        y = graph.relu(graph.add(graph.convolution(x, w, padding=1), b))
        graph.output(y, "y", dtype="float16")

    `compute` is the type that every operation computes in, `intermediate` that of tensors inside the graph.
    Making one needs no library; `build` has cuDNN check it. A `dynamic` graph's kernels serve other extents too, by a
    `KernelCache`.
    """
