"""Products, reductions and convolutions of vectors in graphs on the card, against NumPy in float64."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from gocudnn_py._abi.cudnn import DataType
from gocudnn_py.cuda import DeviceBuffer
from gocudnn_py.cudnn import FilterDescriptor, Handle, TensorFormat
from gocudnn_py.cudnn.graph import MoeGroupedMatmulMode, ReduceTensorOp, plans
from gocudnn_py.errors import GraphRefused
from gocunets import convnetgo
from tests.gocudnn_py.graph_images import IMAGE
from tests.gocudnn_py.graph_others import grouped_matmul, reduction, sliced_matmul, vectorized_convolution
from tests.gpu.running_graphs import COVERS, Array, Memory, U, allowed, bound, needs, numbers, results

if TYPE_CHECKING:
    from gocunets.backends.cudnn import CudaBackend

pytestmark = COVERS
EXPERTS, TOKENS, TOP_K = 4, 256, 2


def grouped(tokens: Array, weights: Array, starts: Array) -> Array:
    """Every token times the weights of its expert, tokens (T, K) in the order of the experts."""
    expert = np.searchsorted(starts, np.arange(len(tokens)), side="right") - 1
    return np.stack([token @ weights[number] for token, number in zip(tokens, expert, strict=True)])


@pytest.mark.parametrize("mode", MoeGroupedMatmulMode)
def test_tokens_go_to_their_experts(mode: MoeGroupedMatmulMode, backend: CudaBackend, handle: Handle) -> None:
    if mode is not MoeGroupedMatmulMode.NONE:
        needs(9, 28)  # 9.19 has no engine that scatters, and one that gathers wrongly
    if mode is MoeGroupedMatmulMode.SCATTER and backend.device.capability < (10, 0):
        with pytest.raises(GraphRefused, match="it scatters rows to wrong places"):
            next(plans(grouped_matmul(mode), handle))
        return
    gathers, rng = mode is MoeGroupedMatmulMode.GATHER, np.random.default_rng(1)
    rows = TOKENS * TOP_K if gathers else TOKENS
    tokens, weights = (
        numbers(shape, "float16", seed).astype(np.float64) for seed, shape in enumerate([(TOKENS, 128), (4, 128, 64)])
    )
    starts = np.array([0, 100, 100, 180]) * rows // TOKENS  # the second expert has none
    arrays = {"tokens": tokens[None], "weights": weights, "offsets": starts.reshape(EXPERTS, 1, 1)}
    index = rng.permutation(rows)
    taken, places = tokens, np.arange(rows)
    if gathers:
        arrays["index"], taken = (index // TOP_K).reshape(1, rows, 1), tokens[index // TOP_K]
    if mode is MoeGroupedMatmulMode.SCATTER:
        arrays |= {name: each.reshape(1, rows, 1) for name, each in (("index", index // 2), ("ks", index % 2))}
        places = index
    right, size = (grouped(*each, starts) for each in ((taken, weights), (np.abs(taken), np.abs(weights))))
    for made in results(backend, handle, grouped_matmul(mode), arrays):
        off = np.abs(made["y"][0][places] - right)
        assert (off <= allowed(128) * size + U["float16"] * np.abs(right)).all()


def test_the_maximum_of_each_channel(backend: CudaBackend, handle: Handle) -> None:
    x = numbers(IMAGE, "float16", 2).astype(np.float64)
    for made in results(backend, handle, reduction(ReduceTensorOp.MAX), {"x": x}):
        assert (made["y"] == x.max((0, 2, 3), keepdims=True)).all()


def test_a_part_is_multiplied(backend: CudaBackend, handle: Handle) -> None:
    needs(9, 22)
    x, b = (numbers(shape, "float16", seed).astype(np.float64) for seed, shape in enumerate([(8, 64, 32), (8, 32, 16)]))
    right, size = (each[0][:, 16:48] @ each[1] for each in ((x, b), (np.abs(x), np.abs(b))))
    for made in results(backend, handle, sliced_matmul(), {"x": x, "b": b}):
        assert (np.abs(made["y"] - right) <= allowed(32) * size + U["float16"] * np.abs(right)).all()


def in_vectors(array: Array) -> Array:
    """(N, C, H, W) as (N, C / 32, H, W, 32)."""
    n, c, h, w = array.shape
    return array.reshape(n, c // 32, 32, h, w).transpose(0, 1, 3, 4, 2)


def test_a_convolution_of_vectors_takes_a_reordered_filter(backend: CudaBackend, handle: Handle) -> None:
    rng = np.random.default_rng(3)
    x, w = rng.integers(-1, 2, (8, 64, 28, 28)), rng.integers(-1, 2, (64, 64, 3, 3))
    right = convnetgo.convolution_forward(x.astype(np.float64), w.astype(np.float64), padding=1)
    assert np.abs(right).max() < 128
    graph = vectorized_convolution()
    memory = Memory(backend, graph)
    inputs, filter, result = (memory.named(name) for name in "xwy")
    memory.put(inputs, in_vectors(x))
    source = DeviceBuffer(backend.stream, w.size)
    source.upload(np.ascontiguousarray(in_vectors(w).astype(np.int8)))
    FilterDescriptor().set(DataType.INT8x32, w.shape, TensorFormat.NCHW_VECT_C).reorder(
        handle, source, memory.buffers[filter]
    )
    bound(next(plans(graph, handle)), memory)(handle)
    found = memory.buffers[result].download(np.empty((8, 2, 28, 28, 32), np.int8))
    assert (found == in_vectors(right)).all()
