"""Pooling, interpolation and elementwise graphs on the card, against convnetgo and NumPy in float64."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from gocudnn_py.cudnn import Handle
from gocudnn_py.cudnn.graph import ResampleMode, plans
from gocunets import convnetgo
from tests.gocudnn_py.graph_images import IMAGE, VECTOR, pool, unpool, upsample
from tests.gocudnn_py.graph_others import scaled_sum, select
from tests.gpu.running_graphs import COVERS, Array, Memory, U, bound, numbers, results

if TYPE_CHECKING:
    from gocunets.backends.cudnn import CudaBackend

pytestmark = COVERS
WINDOW = {"window": 3, "stride": 2, "padding": 1}
X, Y = (4, 32, 14, 14), (4, 32, 7, 7)
AVERAGES = {ResampleMode.AVGPOOL: True, ResampleMode.AVGPOOL_EXCLUDE_PADDING: False}
"""Whether each counts what is padded."""


def distinct(shape: tuple[int, ...], seed: int) -> Array:
    """Numbers that float16 holds, no two alike in a plane."""
    rng = np.random.default_rng(seed)
    cells = shape[2] * shape[3]
    planes = [rng.permutation(cells) - cells // 2 for _ in range(shape[0] * shape[1])]
    return (np.stack(planes) / 8).reshape(shape)


@pytest.mark.parametrize("last", [True, False], ids=["channels last", "channels first"])
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_max_pool(dtype: str, last: bool, backend: CudaBackend, handle: Handle) -> None:
    x = distinct(X, 1)
    right, _ = convnetgo.max_pool_forward(x, **WINDOW)
    for made in results(backend, handle, pool(ResampleMode.MAXPOOL, dtype, last=last), {"x": x}):
        assert (made["y"] == right).all()


@pytest.mark.parametrize("last", [True, False], ids=["channels last", "channels first"])
@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("mode", AVERAGES)
def test_average_pool(mode: ResampleMode, dtype: str, last: bool, backend: CudaBackend, handle: Handle) -> None:
    x = numbers(X, dtype, 2).astype(np.float64)
    right, size = (
        convnetgo.average_pool_forward(each, **WINDOW, include_padding=AVERAGES[mode]) for each in (x, np.abs(x))
    )
    for made in results(backend, handle, pool(mode, dtype, last=last), {"x": x}):
        assert (np.abs(made["y"] - right) <= 4 * U[dtype] * size).all()


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_max_pool_backward_by_its_indices(dtype: str, backend: CudaBackend, handle: Handle) -> None:
    x, dy = distinct(X, 3), numbers(Y, dtype, 4).astype(np.float64)
    right_y, indices = convnetgo.max_pool_forward(x, **WINDOW)
    right, size = (convnetgo.max_pool_backward(each, indices, X) for each in (dy, np.abs(dy)))
    for made in results(backend, handle, pool(ResampleMode.MAXPOOL, dtype, "int8"), {"x": x}):
        assert (made["y"] == right_y).all()
        arrays = {"dy": dy, "index": made["index"]}
        for gradient in results(backend, handle, unpool(ResampleMode.MAXPOOL, dtype, "int8"), arrays):
            assert (np.abs(gradient["dx"] - right) <= 4 * U[dtype] * size).all()


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_max_pool_backward_of_channels_first(dtype: str, backend: CudaBackend, handle: Handle) -> None:
    x, dy = distinct(X, 5), numbers(Y, dtype, 6).astype(np.float64)
    y, indices = convnetgo.max_pool_forward(x, **WINDOW)
    right, size = (convnetgo.max_pool_backward(each, indices, X) for each in (dy, np.abs(dy)))
    graph = unpool(ResampleMode.MAXPOOL, dtype, last=False)
    for made in results(backend, handle, graph, {"x": x, "y": y, "dy": dy}):
        assert (np.abs(made["dx"] - right) <= 4 * U[dtype] * size).all()


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("mode", AVERAGES)
def test_average_pool_backward(mode: ResampleMode, dtype: str, backend: CudaBackend, handle: Handle) -> None:
    dy = numbers(Y, dtype, 7).astype(np.float64)
    right, size = (
        convnetgo.average_pool_backward(each, X, **WINDOW, include_padding=AVERAGES[mode]) for each in (dy, np.abs(dy))
    )
    for made in results(backend, handle, unpool(mode, dtype), {"dy": dy}):
        assert (np.abs(made["dx"] - right) <= 4 * U[dtype] * size).all()


def doubled(x: Array, axis: int, first: int) -> Array:
    """Twice as many along an axis, every other one a mean of neighbours: its place is (i - `first`) / 2, edges held."""
    places = (np.arange(2 * x.shape[axis]) - first) / 2
    low, high = (np.clip(function(places).astype(int), 0, x.shape[axis] - 1) for function in (np.floor, np.ceil))
    return (x.take(low, axis) + x.take(high, axis)) / 2


def test_bilinear_doubles(backend: CudaBackend, handle: Handle) -> None:
    x = numbers((4, 32, 8, 6), "float32", 8).astype(np.float64)
    for made in results(backend, handle, upsample(), {"x": x}):
        errors = []
        for first in (0, 1):  # cuDNN does not document whether the means lie after or before the numbers
            right, size = (doubled(doubled(each, 2, first), 3, first) for each in (x, np.abs(x)))
            errors.append((np.abs(made["y"] - right) - 4 * U["float32"] * size).max())
        assert min(errors) <= 0


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_elementwise_is_no_less_precise_than_its_types(dtype: str, backend: CudaBackend, handle: Handle) -> None:
    x, b = (numbers(shape, dtype, seed).astype(np.float64) for seed, shape in enumerate([IMAGE, VECTOR]))
    for made in results(backend, handle, scaled_sum(dtype), {"x": x, "b": b}):
        assert (np.abs(made["y"] - (3.5 * x + b)) <= 2 * U[dtype] * (3.5 * np.abs(x) + np.abs(b))).all()


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_one_of_two_is_selected(dtype: str, backend: CudaBackend, handle: Handle) -> None:
    x, b = numbers(IMAGE, dtype, 9).astype(np.float64), numbers(IMAGE, dtype, 10)
    b = (np.abs(b) + b.dtype.type(0.5)).astype(np.float64)
    right, least = np.where(x > b, x, x / b), float(np.finfo(dtype).smallest_subnormal)
    for made in results(backend, handle, select(dtype), {"x": x, "b": b}):
        assert (np.abs(made["y"] - right) <= 4 * U[dtype] * np.abs(right) + least).all()


def test_a_scalar_has_another_value_at_another_run(backend: CudaBackend, handle: Handle) -> None:
    graph = scaled_sum()
    memory = Memory(backend, graph)
    x, b, y = (memory.named(name) for name in ("x", "b", "y"))
    content = numbers(x.dims, "float32", 10)
    memory.put(x, content)
    memory.put(b, np.zeros(b.dims))
    (number,) = graph.scalars
    plan = next(plans(graph, handle))
    for values in ({number: -2.0}, {number: 0.25}, {number: 7.0}, {}):
        bound(plan, memory, values=values)(handle)
        right = values.get(number, 3.5) * content.astype(np.float64)
        assert (np.abs(memory.get(y) - right) <= U["float32"] * np.abs(right)).all()
