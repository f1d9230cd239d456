"""Random legal problems on the card, thousands of them, against convnetgo or NumPy in float64.

Each family is drawn from SEED in blocks, within the bounds that its function shows. A problem that cuDNN has nothing
for is counted, at most a fifth of a family; the counts go into the record of the run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gocudnn_py._abi.cudnn import BatchNormMode
from gocudnn_py.cudnn import (
    BatchNormalization,
    ConvolutionBwdDataAlgo,
    ConvolutionBwdFilterAlgo,
    ConvolutionDescriptor,
    ConvolutionFwdAlgo,
    Direction,
    Handle,
    MathType,
    Moments,
    PoolingDescriptor,
    PoolingMode,
    ReduceDescriptor,
    ReduceTensorOp,
)
from gocudnn_py.cudnn.graph import Graph, Policy, channels_last, plans
from gocudnn_py.dtypes import numpy_dtype
from gocudnn_py.errors import GraphRefused, NotSupported
from gocunets import convnetgo
from tests.gpu.card import NCHW, NHWC, Array, Card, numbers
from tests.gpu.recurrent import BATCH, BIASES, MODES, PACKED, STEPS, TIME, OnCard, Problem, check
from tests.oracles.rnn import Network

SEED, BLOCKS, PROBLEMS = 2026, 14, 60
U = {"float32": 2.0**-24, "float64": 2.0**-53, "float16": 2.0**-11, "bfloat16": 2.0**-8}
Draw = np.random.Generator


def bound(dtype: str, terms: int) -> float:
    """|a - b| <= bound * the operation on absolute values: that of all tests, and the rounding of the result.

    Twice that for float64, in which what is right is rounded as well.
    """
    once = (max(4.0, terms**0.5 / 2) + 2) * U[dtype]
    return 2 * once if dtype == "float64" else once


def integer(random: Draw, least: int, most: int) -> int:
    return int(random.integers(least, most + 1))


class Window:
    """A legal convolution: 2 or 3 spatial axes, groups, strides, dilations, paddings smaller than the filter."""

    def __init__(self, random: Draw, dtype: str) -> None:
        rank = 2 if random.random() < 0.8 else 3
        each = lambda least, most: tuple(integer(random, least, most) for _ in range(rank))  # noqa: E731
        self.kernel, self.stride, self.dilation = each(1, 4), each(1, 3), each(1, 2)
        self.padding = tuple(integer(random, 0, (k - 1) * d) for k, d in zip(self.kernel, self.dilation, strict=True))
        spans = [(k - 1) * d + 1 for k, d in zip(self.kernel, self.dilation, strict=True)]
        image = tuple(integer(random, max(1, s - 2 * p), s + 12) for s, p in zip(spans, self.padding, strict=True))
        self.groups = int(random.choice([1, 1, 1, 2, 4])) if dtype != "float64" else 1
        step = 8 if dtype in ("float16", "bfloat16") else 1  # what tensor cores take without padding
        inside, filters = step * integer(random, 1, 3), step * integer(random, 1, 3)
        self.x = (integer(random, 1, 4), self.groups * inside, *image)
        self.w = (self.groups * filters, inside, *self.kernel)
        self.how: dict[str, Any] = {"padding": self.padding, "stride": self.stride, "dilation": self.dilation}
        self.y = convnetgo.convolution_output_shape(self.x, self.w, groups=self.groups, **self.how)

    def rights(self, dtype: str) -> dict[str, tuple[Array, Array, int]]:
        """What each direction gives, the same on absolute values, and the terms of a sum."""
        how = {**self.how, "groups": self.groups}
        self.arrays = {
            name: numbers(*getattr(self, name), seed=seed, dtype=dtype) for seed, name in enumerate(("x", "w", "y"))
        }
        x, w, dy = self.arrays.values()
        calls: dict[str, tuple[Callable[..., Array], tuple[Any, ...], tuple[Any, ...], int]] = {
            "forward": (convnetgo.convolution_forward, (x, w), (), int(np.prod(self.w[1:]))),
            "data": (convnetgo.convolution_backward_data, (dy, w), (self.x,), int(np.prod(self.w) // self.w[1])),
            "filter": (convnetgo.convolution_backward_filter, (x, dy), (self.w,), int(np.prod(self.y) // self.y[1])),
        }
        return {
            name: (call(*pair, *shape, **how), call(*map(np.abs, pair), *shape, **how), terms)
            for name, (call, pair, shape, terms) in calls.items()
        }


def near(found: Array, right: tuple[Array, Array, int], dtype: str, what: object) -> None:
    value, size, terms = right
    error = np.abs(found - value)
    assert (error <= bound(dtype, terms) * size + 1e-30).all(), f"{what}: {error.max()} off"


def convolution(random: Draw, card: Card, handle: Handle) -> None:
    """The three directions by descriptors, default algorithms."""
    dtype = str(random.choice(["float32", "float32", "float64", "float16"]))
    window = Window(random, dtype)
    rights, layout = window.rights(dtype), {"dtype": dtype, "format": NCHW}
    if dtype == "float16" and len(window.x) == 4 and window.groups == 1:
        layout["format"] = NHWC if random.random() < 0.5 else NCHW
    math = MathType.TENSOR_OP_MATH if dtype == "float16" else MathType.FMA_MATH
    compute = "float64" if dtype == "float64" else "float32"
    conv = ConvolutionDescriptor().set(**window.how, groups=window.groups, math=math, compute=compute)
    on_x, on_dy = card.put(window.arrays["x"], **layout), card.put(window.arrays["y"], **layout)
    on_w = card.put(window.arrays["w"], filter=True, **layout)
    on_y, on_dx = card.empty(window.y, **layout), card.empty(window.x, **layout)
    on_dw = card.empty(window.w, filter=True, **layout)
    precomputed = ConvolutionFwdAlgo.IMPLICIT_PRECOMP_GEMM
    algorithms = [precomputed, ConvolutionBwdDataAlgo.ALGO_1, ConvolutionBwdFilterAlgo.ALGO_1]
    runs: list[tuple[str, Any, Any, Any]] = [
        ("forward", conv.forward, (on_x, on_w, on_y), Direction.FORWARD),
        ("data", conv.backward_data, (on_w, on_dy, on_dx), Direction.BACKWARD_DATA),
        ("filter", conv.backward_filter, (on_x, on_dy, on_dw), Direction.BACKWARD_FILTER),
    ]
    for (name, run, operands, direction), algorithm in zip(runs, algorithms, strict=True):
        descriptors = [operand.descriptor for operand in operands]
        room = card.scratch(conv.workspace_size(handle, direction, *descriptors, algorithm))
        run(handle, *operands, algorithm=algorithm, workspace=room)
        near(card.get(operands[-1]), rights[name], dtype, (name, vars(window)))


def convolution_graph(random: Draw, card: Card, handle: Handle) -> None:
    """One direction as a graph, by cuDNN's first plan that is deterministic and not compiled at run time."""
    dtype = str(random.choice(["float32", "float16", "bfloat16"]))
    window = Window(random, dtype)
    name = str(random.choice(["forward", "data", "filter"]))
    right = window.rights(dtype)[name]
    order = channels_last(len(window.x)) if dtype != "float32" or random.random() < 0.5 else None
    graph = Graph()
    parts = {"forward": ("x", "w", "y"), "data": ("y", "w", "x"), "filter": ("x", "y", "w")}[name]
    first, second = (graph.tensor(part, getattr(window, part), dtype, order=order) for part in parts[:2])
    if name == "forward":
        result = graph.convolution(first, second, **window.how)
    else:
        make = graph.convolution_backward_data if name == "data" else graph.convolution_backward_filter
        result = make(first, second, getattr(window, parts[2]), **window.how)
    graph.output(result, "result", dtype=dtype)
    plan = next(plans(graph, handle, Policy(deterministic=True, compile=False)))
    buffers = {tensor: card.scratch(tensor.nbytes) for tensor in graph.real}
    for tensor, part in ((first, parts[0]), (second, parts[1])):
        inner = window.arrays[part] if order is None else np.moveaxis(window.arrays[part], 1, -1)
        buffers[tensor].upload(np.ascontiguousarray(inner, numpy_dtype(dtype)))
    plan.bind(buffers, card.scratch(plan.workspace))(handle)
    flat = card.read(buffers[result], (result.size,), dtype)
    found = np.lib.stride_tricks.as_strided(flat, result.dims, [flat.itemsize * step for step in result.strides])
    near(found, right, dtype, (name, dtype, vars(window)))


def pooling(random: Draw, card: Card, handle: Handle) -> None:
    """Maximum and mean over windows of two or three axes, and their gradients."""
    rank = 2 if random.random() < 0.7 else 3
    window = tuple(integer(random, 1, 4) for _ in range(rank))
    padding = tuple(integer(random, 0, extent - 1) for extent in window)
    stride = tuple(integer(random, 1, 3) for _ in range(rank))
    image = tuple(integer(random, extent, extent + 10) for extent in window)
    shape = (integer(random, 1, 4), integer(random, 1, 6), *image)
    mode = PoolingMode(int(random.integers(0, 4)))
    x = numbers(*shape, seed=integer(random, 0, 2**31))
    pool = PoolingDescriptor().set(mode, window, padding, stride)
    on_x = card.put(x)
    how: Any = {"window": window, "stride": stride, "padding": padding}
    include = {"include_padding": mode is PoolingMode.AVERAGE_COUNT_INCLUDE_PADDING}
    largest = mode in (PoolingMode.MAX, PoolingMode.MAX_DETERMINISTIC)
    if largest:
        y, indices = convnetgo.max_pool_forward(x, **how)
        backward = lambda dy: convnetgo.max_pool_backward(dy, indices, x.shape)  # noqa: E731
    else:
        y = convnetgo.average_pool_forward(x, **how, **include)
        backward = lambda dy: convnetgo.average_pool_backward(dy, x.shape, **how, **include)  # noqa: E731
    assert pool.output_shape(on_x.descriptor) == y.shape  # type: ignore[arg-type]
    dy = numbers(*y.shape, seed=1)
    on_y, on_dx = card.empty(y.shape), card.empty(shape)
    pool.forward(handle, on_x, on_y)
    pool.backward(handle, on_y, card.put(dy), on_x, on_dx)
    terms = int(np.prod(window))
    size = np.abs(y) if largest else convnetgo.average_pool_forward(np.abs(x), **how, **include)
    near(card.get(on_y), (y, size, terms), "float32", (mode, shape, how))
    near(card.get(on_dx), (backward(dy), backward(np.abs(dy)), terms), "float32", (mode, shape, how))


def normalization(random: Draw, card: Card, handle: Handle) -> None:
    """Batch normalisation by channel or position: training, its gradients, statistics."""
    spatial = bool(random.random() < 0.6)
    shape = (integer(random, 2, 8), integer(random, 1, 9), integer(random, 1, 8), integer(random, 1, 8))
    x, dy = numbers(*shape, seed=integer(random, 0, 2**31)), numbers(*shape, seed=1)
    rows = shape[1:2] if spatial else shape[1:]
    scale, bias = 1 + 0.5 * numbers(*rows, seed=2), numbers(*rows, seed=3)
    epsilon = 0.1  # so that a position with equal numbers, which 1 / sqrt(variance) would blow up, stays tame
    norm_mode = BatchNormMode.SPATIAL if spatial else BatchNormMode.PER_ACTIVATION
    on_x, on_y, on_dx = card.put(x), card.empty(shape), card.empty(shape)
    norm = BatchNormalization(on_x.descriptor, norm_mode, epsilon=epsilon)  # type: ignore[arg-type]
    saved, gradients = (Moments(card.row(np.zeros(rows)), card.row(np.zeros(rows))) for _ in range(2))
    on_scale, on_bias = card.row(scale), card.row(bias)
    norm.forward_training(handle, on_x, on_y, on_scale, on_bias, saved=saved)
    norm.backward(handle, on_x, card.put(dy), on_dx, on_scale, gradients, saved=saved)
    y, mean, invstd = convnetgo.batch_norm_forward(x, scale, bias, epsilon=epsilon, spatial=spatial)
    dx, dscale, dbias = convnetgo.batch_norm_backward(x, dy, scale, mean, invstd, spatial=spatial)
    terms = x.size // mean.size
    tolerance: Any = {"rtol": 0, "atol": 64 * max(4.0, terms**0.5) * U["float32"] * (1 + np.abs(x).max()) ** 2}
    for buffer, right in ((saved.first, mean), (saved.second, invstd)):
        np.testing.assert_allclose(card.read(buffer, rows), right, **tolerance)
    for buffer, right in ((gradients.first, dscale), (gradients.second, dbias)):
        np.testing.assert_allclose(card.read(buffer, rows), right, rtol=0, atol=terms * tolerance["atol"])
    np.testing.assert_allclose(card.get(on_y), y, **tolerance)
    np.testing.assert_allclose(card.get(on_dx), dx, **tolerance)


REDUCTIONS: dict[ReduceTensorOp, Callable[[Array, tuple[int, ...]], Array]] = {
    ReduceTensorOp.ADD: lambda a, axes: a.sum(axes, keepdims=True),
    ReduceTensorOp.MIN: lambda a, axes: a.min(axes, keepdims=True),
    ReduceTensorOp.MAX: lambda a, axes: a.max(axes, keepdims=True),
    ReduceTensorOp.AMAX: lambda a, axes: np.abs(a).max(axes, keepdims=True),
    ReduceTensorOp.AVG: lambda a, axes: a.mean(axes, keepdims=True),
    ReduceTensorOp.NORM1: lambda a, axes: np.abs(a).sum(axes, keepdims=True),
    ReduceTensorOp.NORM2: lambda a, axes: np.sqrt(np.square(a).sum(axes, keepdims=True)),
}


def reduction(random: Draw, card: Card, handle: Handle) -> None:
    """Any reduction over any axes of four or five."""
    axes = tuple(sorted({integer(random, 0, 3) for _ in range(integer(random, 1, 4))}))
    shape = tuple(integer(random, 2 if axis == axes[0] else 1, 9) for axis in range(integer(random, 4, 5)))
    op = list(REDUCTIONS)[int(random.integers(len(REDUCTIONS)))]
    dtype = str(random.choice(["float32", "float64", "float16"]))
    a = numbers(*shape, seed=integer(random, 0, 2**31), dtype=dtype)
    right = REDUCTIONS[op](a, axes)
    on_a, on_c = card.put(a, dtype=dtype), card.empty(right.shape, dtype=dtype)
    reduce = ReduceDescriptor().set(op, "float64" if dtype == "float64" else "float32")
    room = card.scratch(reduce.workspace_size(handle, on_a.descriptor, on_c.descriptor))  # type: ignore[arg-type]
    reduce.run(handle, on_a, on_c, workspace=room)
    terms = a.size // right.size
    near(card.get(on_c), (right, REDUCTIONS[op](np.abs(a), axes), terms), dtype, (op, shape, axes))


def recurrence(random: Draw, card: Card, handle: Handle) -> None:
    """A recurrent network of up to three layers and its gradients, sequences of any lengths in any layout."""
    mode, hidden, skip = str(random.choice(list(MODES))), integer(random, 1, 12), random.random() < 0.15
    projects = mode == "lstm" and hidden > 1 and not skip and random.random() < 0.3
    net = Network(
        mode,
        hidden if skip else integer(random, 1, 10),
        hidden,
        layers=integer(random, 1, 3),
        bidirectional=random.random() < 0.4,
        projection=integer(random, 1, hidden - 1) if projects else None,
        bias=str(random.choice(list(BIASES))),
        skip=skip,
    )
    layout = (TIME, BATCH, PACKED)[integer(random, 0, 2)]
    lengths = sorted([STEPS, *(integer(random, 1, STEPS) for _ in range(integer(random, 0, 4)))], reverse=True)
    if layout is not PACKED:
        random.shuffle(lengths)
    # In float32 a sum near zero may be on the other side of a ReLU.
    dtype = np.float64 if mode == "relu" else (np.float32, np.float64)[integer(random, 0, 1)]
    problem = Problem(net, layout, tuple(lengths), dtype, seed=integer(random, 0, 2**31))
    right, passes = problem.forward()
    on_card = OnCard(problem, card, handle)
    check(problem, on_card.forward(training=True), right)
    check(problem, on_card.backward(), problem.backward(passes))


FAMILIES = [convolution, convolution_graph, pooling, normalization, reduction, recurrence]


@pytest.mark.parametrize("block", range(BLOCKS))
@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.__name__)
def test_random_problems(
    family: Callable[[Draw, Card, Handle], None],
    block: int,
    card: Card,
    handle: Handle,
    record_property: Callable[[str, object], None],
) -> None:
    random, counts = np.random.default_rng([SEED, FAMILIES.index(family), block]), Counter[str]()
    for _ in range(PROBLEMS):
        try:
            family(random, card, handle)
        except (NotSupported, GraphRefused):
            counts["not supported"] += 1
        else:
            counts["right"] += 1
    record_property(family.__name__, dict(counts))
    assert counts["not supported"] <= PROBLEMS / 5, counts
