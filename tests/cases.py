"""One table of op cases for every backend: how a case is built, its inputs, what it must give, how exactly."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gocunets import DType, Graph, Value, ops, optim
from gocunets.graph import Mode
from gocunets.ops.data import GatherBatch
from gocunets.ops.shape import Slice
from gocunets.ops.update import AdvanceStep, FlagNonFinite, LossScale, UnlessFlagged, Unscale, Update
from tests.convnetgo import loops
from tests.running import RATE, SCALE, SEED, STEP, step_record

Array = NDArray[Any]
Arrays = tuple[Array, ...]
Fill = Literal["normal", "positive", "apart", "labels", "bits", "infinite"]
LABELS = (DType.int32, DType.int64)


@dataclass(frozen=True)
class Input:
    """An input of a case. `apart` values lie far from 0 and from one another, for ops with kinks.

    Without a dtype it has the float dtype under test.
    """

    shape: tuple[int, ...]
    fill: Fill = "normal"
    classes: int = 0
    dtype: DType | None = None

    def array(self, seed: int) -> Array:
        """The content: float64 numbers that float32 holds exactly, or whole numbers."""
        rng = np.random.default_rng((seed, *self.shape))
        numbers = rng.standard_normal(self.shape)
        if self.fill == "labels":
            labels = rng.integers(0, self.classes, self.shape)
            labels.flat[0], labels.flat[-1] = 0, self.classes - 1
            return labels
        if self.fill == "bits":
            return numbers > 0
        if self.fill == "positive":
            numbers = np.square(numbers) + 0.1
        if self.fill == "apart":
            count = math.prod(self.shape)
            numbers = ((rng.permutation(count) - count / 2 + 0.25) * (6 / count)).reshape(self.shape)
        if self.fill == "infinite":
            numbers.flat[-1] = np.inf
        return numbers.astype(np.float32).astype(np.float64)


@dataclass(frozen=True, eq=False)
class Case:
    """An op, or a few, with attributes and shapes.

    `build` makes the outputs from Values, `reference` from float64 arrays, both in the order of `inputs`.
    M of the bound is `magnitude` of the same arrays; without it, the reference of their absolute values.
    M of the gradient is `backward_magnitude` of (arrays, dys), one array for each of `wrt`. "absolute" stands
    for the gradient at the absolute values, "masked" for the gradient at the inputs with absolute dys.
    `exact` says that nothing is rounded; dys come for the outputs in `seeded`; 1 % more of one number of an
    `inert` input changes nothing.
    """

    name: str
    build: Callable[..., Value | Sequence[Value]]
    inputs: Mapping[str, Input]
    reference: Callable[..., Any]
    magnitude: Callable[..., Any] | None = None
    backward_magnitude: Callable[[Arrays, Arrays], Sequence[Array]] | Literal["absolute", "masked"] = "absolute"
    terms: int = 1
    backward_terms: int = 1
    exact: bool = False
    wrt: tuple[str, ...] = ("x",)
    seeded: tuple[int, ...] = (0,)
    inert: tuple[str, ...] = ()
    valid: int = 1
    mode: Mode = "inference"

    def __str__(self) -> str:
        return self.name

    def trace(self, dtype: DType) -> tuple[Graph, dict[str, Value], list[Value]]:
        """A graph with the inputs and the outputs y0, y1, ... of the case."""
        graph = Graph(self.mode)
        values = {name: graph.input(name, spec.shape, spec.dtype or dtype) for name, spec in self.inputs.items()}
        built = self.build(*values.values())
        ys = [built] if isinstance(built, Value) else list(built)
        for i, y in enumerate(ys):
            graph.output(f"y{i}", y)
        return graph, values, ys

    def feeds(self, dtype: DType) -> dict[str, Array]:
        """The inputs in a dtype."""
        given = zip(self.inputs.items(), arrays(self), strict=True)
        return {name: array.astype((spec.dtype or dtype).numpy()) for (name, spec), array in given}


@cache
def arrays(case: Case) -> Arrays:
    """The inputs in float64."""
    return tuple(spec.array(seed) for seed, spec in enumerate(case.inputs.values()))


@cache
def rounded(case: Case, dtype: DType) -> Arrays:
    """The inputs in float64, those of the dtype under test rounded to it."""
    specs = zip(case.inputs.values(), arrays(case), strict=True)
    return tuple(array if spec.dtype else array.astype(dtype.numpy()).astype(np.float64) for spec, array in specs)


@cache
def expected(case: Case, dtype: DType = DType.float32) -> Arrays:
    """What the outputs must be."""
    return as_tuple(case.reference(*rounded(case, dtype)))


@cache
def magnitudes(case: Case, dtype: DType = DType.float32) -> Arrays:
    """M of each output."""
    if case.magnitude is None:
        return as_tuple(case.reference(*absolute(rounded(case, dtype))))
    return as_tuple(case.magnitude(*rounded(case, dtype)))


def absolute(values: Arrays) -> Arrays:
    """Absolute values; truth values stay."""
    return tuple(np.abs(value) for value in values)


def as_tuple(result: Any) -> Arrays:
    """The outputs of a reference as a tuple of arrays."""
    return tuple(map(np.asarray, result if isinstance(result, tuple | list) else (result,)))


def siblings(y: Value) -> tuple[Value, ...]:
    """All outputs of the node that made y."""
    assert y.node is not None
    return y.node.outputs


# --- convolutions and products ----------------------------------------------------------------------------


def axes(geometry: Mapping[str, Any], key: str, default: int, rank: int) -> tuple[int, ...]:
    value = geometry.get(key, default)
    return (value,) * rank if isinstance(value, int) else tuple(value)


def convolution(
    name: str, x: tuple[int, ...], w: tuple[int, ...], *, bias: bool = True, groups: int = 1, **geometry: Any
) -> Case:
    rank = len(x) - 2
    settings = [axes(geometry, key, default, rank) for key, default in WINDOW.items()]
    out = loops.output_sizes(x[2:], w[2:], *settings)

    def reference(x: Array, w: Array, b: Array | None = None) -> Array:
        return loops.convolution(x, w, np.zeros(len(w)) if b is None else b, *settings, groups)

    return Case(
        f"convolution {name}",
        lambda *values: ops.convolution(*values, groups=groups, **geometry),
        {"x": Input(x), "w": Input(w)} | ({"b": Input((w[0],))} if bias else {}),
        reference,
        terms=math.prod(w[1:]) + bias,
        backward_terms=max(w[0] // groups * math.prod(w[2:]), x[0] * math.prod(out)),
        wrt=("x", "w", "b") if bias else ("x", "w"),
    )


def transposed(
    name: str, x: tuple[int, ...], w: tuple[int, ...], *, bias: bool = True, groups: int = 1, **geometry: Any
) -> Case:
    rank = len(x) - 2
    settings = [axes(geometry, key, default, rank) for key, default in WINDOW.items()]
    more = axes(geometry, "output_padding", 0, rank)
    out = tuple(
        (size - 1) * s - 2 * p + (taps - 1) * d + 1 + extra
        for size, taps, s, p, d, extra in zip(x[2:], w[2:], *settings, more, strict=True)
    )

    def reference(x: Array, w: Array, b: Array | None = None) -> Array:
        channels = w.shape[1] * groups
        return loops.transposed_convolution(x, w, np.zeros(channels) if b is None else b, out, *settings, groups)

    return Case(
        f"transposed convolution {name}",
        lambda *values: ops.transposed_convolution(*values, groups=groups, **geometry),
        {"x": Input(x), "w": Input(w)} | ({"b": Input((w[1] * groups,))} if bias else {}),
        reference,
        terms=w[0] // groups * math.prod(w[2:]) + bias,
        backward_terms=max(math.prod(w[1:]), x[0] * math.prod(out)),
        wrt=("x", "w", "b") if bias else ("x", "w"),
    )


def fully_connected(name: str, n: int, i: int, o: int, *, bias: bool = True) -> Case:
    return Case(
        f"fully connected {name}",
        lambda *values: ops.fully_connected(*values),
        {"x": Input((n, i)), "w": Input((i, o))} | ({"b": Input((o,))} if bias else {}),
        lambda x, w, b=None: loops.fully_connected(x, w, np.zeros(o) if b is None else b),
        terms=i + bias,
        backward_terms=max(n, o),
        wrt=("x", "w", "b") if bias else ("x", "w"),
    )


WINDOW = {"stride": 1, "padding": 0, "dilation": 1}
PRODUCTS = [
    convolution("1d", (2, 3, 9), (4, 3, 3)),
    convolution("1d strided, padded, dilated", (2, 2, 12), (3, 2, 3), stride=2, padding=2, dilation=2),
    convolution("2d", (2, 3, 5, 6), (4, 3, 3, 2)),
    convolution("2d without bias", (2, 2, 5, 5), (3, 2, 3, 3), padding=1, bias=False),
    convolution("2d strided, floor", (2, 2, 8, 7), (2, 2, 3, 3), stride=(2, 3)),
    convolution("2d dilated", (1, 2, 8, 9), (2, 2, 3, 3), dilation=(2, 3)),
    convolution("thesis layer, small", (2, 1, 9, 9), (2, 1, 4, 4), stride=2, padding=6, dilation=3),
    convolution("1x1", (3, 4, 3, 3), (5, 4, 1, 1)),
    convolution("window = input", (3, 2, 4, 4), (5, 2, 4, 4)),
    convolution("padding beyond window", (1, 1, 3, 3), (2, 1, 2, 2), padding=3),
    convolution("2 groups", (2, 4, 5, 5), (6, 2, 3, 3), padding=1, groups=2),
    convolution("depthwise", (2, 4, 5, 6), (4, 1, 3, 3), padding=1, groups=4),
    convolution("depthwise, 2 filters a channel", (2, 3, 5, 5), (6, 1, 2, 2), stride=2, groups=3, bias=False),
    convolution("more than 64 terms", (1, 9, 4, 4), (2, 9, 4, 4), padding=1),
    convolution("batch of 17", (17, 1, 4, 4), (2, 1, 3, 3)),
    convolution("3d", (2, 2, 4, 3, 4), (2, 2, 2, 2, 2)),
    convolution("3d unequal axes", (1, 2, 5, 6, 4), (2, 2, 2, 3, 2), stride=(2, 2, 1), padding=(1, 0, 1), bias=False),
    convolution("3d grouped", (1, 4, 3, 3, 3), (2, 2, 2, 2, 2), padding=1, dilation=(2, 1, 1), groups=2),
    transposed("1d", (2, 3, 5), (3, 2, 3), stride=2),
    transposed("2d", (2, 3, 4, 4), (3, 2, 3, 3)),
    transposed("2d without bias", (2, 2, 3, 4), (2, 3, 2, 3), padding=1, bias=False),
    transposed("2d strided, output padding", (2, 2, 3, 3), (2, 2, 3, 3), stride=2, padding=1, output_padding=1),
    transposed("2d output padding of one axis", (1, 2, 3, 3), (2, 1, 2, 2), stride=(2, 3), output_padding=(0, 2)),
    transposed("2d dilated", (1, 2, 4, 3), (2, 2, 2, 3), padding=1, dilation=2),
    transposed("2 groups", (2, 4, 3, 3), (4, 1, 3, 3), groups=2, stride=2, padding=1),
    transposed("depthwise", (1, 3, 3, 4), (3, 1, 2, 2), groups=3, stride=2, bias=False),
    transposed("3d", (1, 2, 2, 3, 2), (2, 2, 2, 2, 2), stride=(2, 1, 2), bias=False),
    fully_connected("", 3, 5, 4),
    fully_connected("without bias", 4, 3, 2, bias=False),
    fully_connected("one sample", 1, 6, 3),
    fully_connected("one output", 5, 3, 1),
    fully_connected("more than 64 terms", 2, 150, 3),
]

# --- pools ------------------------------------------------------------------------------------------------


def max_pool(name: str, x: tuple[int, ...], window: Any, **geometry: Any) -> Case:
    spec = {"window": window, **geometry}
    sizes = [axes(spec, "window", 1, len(x) - 2), axes(spec, "stride", window, len(x) - 2)]
    padding = axes(spec, "padding", 0, len(x) - 2)
    return Case(
        f"max pool {name}",
        lambda x: siblings(ops.max_pool(x, window, **geometry)),
        {"x": Input(x, "apart")},
        lambda x: loops.max_pool(x, *sizes, padding),
        backward_magnitude="masked",
        backward_terms=math.prod(sizes[0]),
        exact=True,
    )


def average_pool(name: str, x: tuple[int, ...], window: Any, *, include_padding: bool = False, **geometry: Any) -> Case:
    spec = {"window": window, **geometry}
    sizes = [axes(spec, "window", 1, len(x) - 2), axes(spec, "stride", window, len(x) - 2)]
    padding = axes(spec, "padding", 0, len(x) - 2)
    return Case(
        f"average pool {name}",
        lambda x: ops.average_pool(x, window, include_padding=include_padding, **geometry),
        {"x": Input(x)},
        lambda x: loops.average_pool(x, *sizes, padding, include_padding),
        terms=math.prod(sizes[0]),
        backward_terms=math.prod(sizes[0]),
    )


POOLS = [
    max_pool("1d", (2, 3, 8), 2),
    max_pool("2d", (2, 2, 6, 4), 2),
    max_pool("2d overlapping", (2, 2, 5, 6), 3, stride=1),
    max_pool("2d padded, floor", (2, 2, 6, 7), 3, stride=2, padding=1),
    max_pool("2d unequal axes", (1, 2, 6, 5), (3, 2), stride=(1, 2), padding=(1, 0)),
    max_pool("3d", (1, 2, 4, 3, 4), 2, stride=(2, 1, 2)),
    average_pool("1d", (2, 3, 8), 2),
    average_pool("2d", (2, 2, 6, 4), 2),
    average_pool("2d overlapping", (2, 2, 5, 6), 3, stride=1),
    average_pool("2d padded", (2, 2, 6, 7), 3, stride=2, padding=1),
    average_pool("2d padding counts", (2, 2, 6, 7), 3, stride=2, padding=1, include_padding=True),
    average_pool("3d unequal axes", (1, 2, 4, 3, 4), (2, 1, 3), stride=(2, 1, 1), padding=(0, 0, 1)),
    Case(
        "global average pool",
        ops.global_average_pool,
        {"x": Input((2, 3, 4, 5))},
        lambda x: x.mean((2, 3), keepdims=True),
        terms=20,
    ),
]

# --- elementwise ------------------------------------------------------------------------------------------


def sigmoid(x: Array) -> Array:
    return np.where(x >= 0, 1 / (1 + np.exp(-np.abs(x))), np.exp(-np.abs(x)) / (1 + np.exp(-np.abs(x))))


def activation(kind: str, definition: Callable[[Array], Array], parameter: float | None = None) -> Case:
    """Twice |y|, as in tests/convnetgo: exp and tanh are within 3 units in the last place."""
    scale = max(1.0, parameter or 1.0)
    name = f"{kind}" if parameter is None else f"{kind} {parameter}"
    return Case(
        f"activation {name}",
        lambda x: ops.activation(x, kind, parameter),
        {"x": Input((3, 4, 2, 3), "apart")},
        definition,
        magnitude=lambda x: 2 * np.abs(definition(x)),
        # The derivative is made of y and 1 or the parameter, which cancel where it is small.
        backward_magnitude=lambda xs, dys: [np.abs(dys[0]) * (scale + 2 * np.abs(definition(np.minimum(xs[0], 1))))],
        exact=kind in ("relu", "clipped_relu"),
    )


ELEMENTWISE = [
    activation("logistic", sigmoid),
    activation("tanh", np.tanh),
    activation("relu", lambda x: np.where(x > 0, x, 0)),
    activation("leaky_relu", lambda x: np.where(x > 0, x, 0.01 * x)),
    activation("leaky_relu", lambda x: np.where(x > 0, x, 0.5 * x), 0.5),
    activation("leaky_relu", lambda x: np.where(x > 0, x, 3 * x), 3.0),
    activation("clipped_relu", lambda x: np.clip(x, 0, 6)),
    activation("clipped_relu", lambda x: np.clip(x, 0, 1.5), 1.5),
    activation("elu", lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0)))),
    activation("elu", lambda x: np.where(x > 0, x, 2 * np.expm1(np.minimum(x, 0))), 2.0),
    Case(
        "add",
        ops.add,
        {"a": Input((2, 3, 2)), "b": Input((2, 3, 2))},
        lambda a, b: a + b,
        wrt=("a", "b"),
    ),
    Case("add of a value to itself", lambda x: x + x, {"x": Input((2, 3))}, lambda x: 2 * x),
    Case(
        "scale",
        lambda x: ops.scale(x, -0.3),
        {"x": Input((2, 3, 2, 2))},
        lambda x: -0.3 * x,
        magnitude=lambda x: np.abs(x),
        backward_magnitude=lambda _, dys: [np.abs(dys[0])],
    ),
    Case("scale of a scalar", lambda x: ops.scale(x, 2.0), {"x": Input(())}, lambda x: 2 * x, exact=True),
    Case("cast to float32", lambda x: ops.cast(x, DType.float32), {"x": Input((2, 3))}, lambda x: x, exact=True),
    Case("cast to float64", lambda x: ops.cast(x, DType.float64), {"x": Input((2, 3))}, lambda x: x, exact=True),
    Case(
        "cast of whole numbers",
        lambda x, n: x + ops.cast(n, x.dtype),
        {"x": Input((4,)), "n": Input((4,), "labels", 9, DType.int64)},
        lambda x, n: x + n,
    ),
    Case(
        "cast to whole numbers",
        lambda x: ops.cast(x, DType.int32),
        {"x": Input((9,))},
        np.trunc,
        exact=True,
        wrt=(),
        inert=("x",),
    ),
    Case("copy", ops.copy, {"x": Input((2, 3, 4))}, lambda x: x, exact=True),
    Case(
        "full",
        lambda x: x + ops.full(x.graph, (2, 3), 1.5, x.dtype),
        {"x": Input((2, 3))},
        lambda x: x + 1.5,
    ),
    Case(
        "full of whole numbers",
        lambda x: ops.full(x.graph, (2,), 3.0, DType.int64),
        {"x": Input((2, 3))},
        lambda x: np.array([3, 3]),
        exact=True,
        wrt=(),
        inert=("x",),
    ),
]

# --- movements --------------------------------------------------------------------------------------------


def movement(name: str, build: Callable[..., Any], shapes: Sequence[tuple[int, ...]], reference: Any) -> Case:
    names = "xyz"[: len(shapes)]
    inputs = {name: Input(shape) for name, shape in zip(names, shapes, strict=True)}
    return Case(name, build, inputs, reference, exact=True, wrt=tuple(names))


MOVEMENTS = [
    movement("reshape", lambda x: ops.reshape(x, (4, 3)), [(2, 3, 4)], lambda x: x.reshape(2, 4, 3)),
    movement("reshape with -1", lambda x: ops.reshape(x, (2, -1)), [(3, 4, 5)], lambda x: x.reshape(3, 2, 10)),
    movement("reshape to no axes", lambda x: ops.reshape(x, ()), [(3, 1)], lambda x: x[:, 0]),
    movement("flatten", ops.flatten, [(2, 3, 2, 2)], lambda x: x.reshape(2, 12)),
    movement("flatten of a vector", ops.flatten, [(3,)], lambda x: x[:, None]),
    movement(
        "concat",
        lambda *v: ops.concat(v),
        [(2, 1, 3), (2, 3, 3), (2, 2, 3)],
        lambda *v: np.concatenate(v, 1),
    ),
    movement("concat along axis 2", lambda *v: ops.concat(v, 2), [(2, 3, 1, 2), (2, 3, 2, 2)], lambda *v: np.dstack(v)),
    movement("concat of one", lambda *v: ops.concat(v, 0), [(2, 3)], lambda x: x),
    movement("split, one piece used", lambda x: ops.split(x, (1, 2))[1], [(2, 3, 2)], lambda x: x[:, 1:]),
    movement("pad", lambda x: ops.pad(x, (1, 0), (0, 2)), [(2, 3, 2)], lambda x: np.pad(x, ((0, 0), (1, 0), (0, 2)))),
    movement(
        "pad with a value",
        lambda x: ops.pad(x, (0, 1, 2), (0, 1, 0), -1.5),
        [(2, 2, 3, 2)],
        lambda x: np.pad(x, ((0, 0), (0, 0), (1, 1), (2, 0)), constant_values=-1.5),
    ),
    movement(
        "slice",
        lambda x: x.graph.add(Slice((0, 1), (2, 3)), x),
        [(2, 3, 4)],
        lambda x: x[:, 0:2, 1:3],
    ),
    Case(
        "split",
        lambda x: ops.split(x, (1, 3, 2)),
        {"x": Input((2, 6, 2))},
        lambda x: np.split(x, [1, 4], 1),
        exact=True,
        seeded=(0, 1, 2),
    ),
    Case(
        "split of the batch",
        lambda x: ops.split(x, (1, 2), 0),
        {"x": Input((3, 2))},
        lambda x: np.split(x, [1]),
        exact=True,
        seeded=(0, 1),
    ),
]

# --- normalisation ----------------------------------------------------------------------------------------


def statistics_axes(x: Array, spatial: bool) -> tuple[int, ...]:
    return (0, *range(2, x.ndim)) if spatial else (0,)


def spread_out(vector: Array, x: Array, spatial: bool) -> Array:
    return vector.reshape(-1, *(1,) * (x.ndim - 2)) if spatial else vector


def batch_norm_values(x: Array, epsilon: float, spatial: bool) -> tuple[Array, Array, Array]:
    """mean, invstd, and how much larger x is than its deviation: what x - mean costs in digits."""
    over = statistics_axes(x, spatial)
    mean, variance = x.mean(over), x.var(over)
    invstd = 1 / np.sqrt(variance + epsilon)
    return mean, invstd, np.abs(x).mean(over) * invstd + 1


def batch_norm(name: str, x: tuple[int, ...], *, spatial: bool = True, epsilon: float = 1e-5) -> Case:
    vector = x[1:2] if spatial else x[1:]
    count = math.prod(x) // math.prod(vector)

    def spreads(x: Array, *vectors: Array) -> list[Array]:
        return [spread_out(v, x, spatial) for v in vectors]

    def reference(x: Array, gamma: Array, beta: Array) -> Arrays:
        mean, invstd, _ = batch_norm_values(x, epsilon, spatial)
        g, b, m, s = spreads(x, gamma, beta, mean, invstd)
        return g * (x - m) * s + b, mean, invstd

    def magnitude(x: Array, gamma: Array, beta: Array) -> Arrays:
        mean, invstd, size = batch_norm_values(x, epsilon, spatial)
        g, b, m, s, z = spreads(x, np.abs(gamma), np.abs(beta), np.abs(mean), invstd, size)
        return g * (np.abs(x) + m) * s * z + b, np.abs(x).mean(statistics_axes(x, spatial)), invstd * size

    def backward(xs: Arrays, dys: Arrays) -> Sequence[Array]:
        x, gamma, _ = xs
        mean, invstd, size = batch_norm_values(x, epsilon, spatial)
        g, m, s, z = spreads(x, np.abs(gamma), np.abs(mean), invstd, size)
        dy, xhat, over = np.abs(dys[0]), (np.abs(x) + m) * s * z, statistics_axes(x, spatial)
        dbeta, dgamma = dy.sum(over), (dy * xhat).sum(over)
        shared, turned = spreads(x, dbeta / count, dgamma / count)
        return [g * s * z * (dy + shared + xhat * turned), dgamma, dbeta]

    return Case(
        f"batch norm {name}",
        lambda *values: ops.batch_norm(*values, spatial=spatial, epsilon=epsilon),
        {"x": Input(x), "gamma": Input(vector), "beta": Input(vector)},
        reference,
        magnitude,
        backward,
        terms=count,
        backward_terms=count,
        wrt=("x", "gamma", "beta"),
    )


def batch_norm_inference(name: str, x: tuple[int, ...], *, spatial: bool = True) -> Case:
    vector = Input(x[1:2] if spatial else x[1:])

    def reference(x: Array, gamma: Array, beta: Array, mean: Array, variance: Array, sign: int = -1) -> Array:
        g, b, m, v = (spread_out(a, x, spatial) for a in (gamma, beta, mean, variance))
        return g * (x + sign * m) / np.sqrt(v + 1e-3) + b

    return Case(
        f"batch norm inference {name}",
        lambda *values: ops.batch_norm_inference(*values, spatial=spatial, epsilon=1e-3),
        {"x": Input(x), "gamma": vector, "beta": vector, "mean": vector, "variance": Input(vector.shape, "positive")},
        reference,
        lambda *xs: reference(*absolute(xs), sign=1),
        wrt=(),
    )


def running_statistics(name: str, x: tuple[int, ...], *, spatial: bool = True) -> Case:
    vector = x[1:2] if spatial else x[1:]
    count = math.prod(x) // math.prod(vector)

    def build(x: Value, mean: Value, variance: Value) -> Sequence[Value]:
        ones = ops.full(x.graph, vector, 1.0, x.dtype)
        _, m, s = ops.batch_norm(x, ones, ones, epsilon=1e-3, spatial=spatial)
        return ops.running_statistics(mean, variance, m, s, x, momentum=0.3, epsilon=1e-3)

    def reference(x: Array, mean: Array, variance: Array) -> Arrays:
        over = statistics_axes(x, spatial)
        return 0.7 * mean + 0.3 * x.mean(over), 0.7 * variance + 0.3 * x.var(over, ddof=1)

    def magnitude(x: Array, mean: Array, variance: Array) -> Arrays:
        over = statistics_axes(x, spatial)
        square = np.square(x).sum(over) / (count - 1) + 1e-3
        return 0.7 * np.abs(mean) + 0.3 * np.abs(x).mean(over), 0.7 * variance + 0.3 * 2 * square

    return Case(
        f"running statistics {name}",
        build,
        {"x": Input(x), "mean": Input(vector), "variance": Input(vector, "positive")},
        reference,
        magnitude,
        terms=count,
        wrt=(),
    )


NORMS = [
    batch_norm("of features", (5, 3)),
    batch_norm("1d", (4, 2, 3)),
    batch_norm("2d", (3, 2, 4, 3)),
    batch_norm("2d, large epsilon", (3, 2, 2, 3), epsilon=0.1),
    batch_norm("3d", (3, 2, 2, 3, 2)),
    batch_norm("per activation", (5, 2, 2, 3), spatial=False),
    batch_norm("more than 64 terms", (40, 1, 2, 2)),
    batch_norm_inference("of features", (5, 3)),
    batch_norm_inference("2d", (3, 2, 4, 3)),
    batch_norm_inference("per activation", (2, 2, 4, 3), spatial=False),
    running_statistics("2d", (3, 2, 4, 3)),
    running_statistics("per activation", (5, 2, 3), spatial=False),
]

# --- softmax and losses -----------------------------------------------------------------------------------


def probabilities(x: Array, axis: int = 1) -> Array:
    exponentials = np.exp(x - x.max(axis, keepdims=True))
    return exponentials / exponentials.sum(axis, keepdims=True)


def depth(x: Array, axis: int = 1) -> Array:
    """1 + how far x lies below its maximum: what an error of x - max costs exp."""
    return 1 + (x.max(axis, keepdims=True) - x).max(axis, keepdims=True)


def softmax(shape: tuple[int, ...], axis: int) -> Case:
    def backward(xs: Arrays, dys: Arrays) -> Sequence[Array]:
        y, dy = probabilities(xs[0], axis) * depth(xs[0], axis), np.abs(dys[0])
        return [y * (dy + (dy * y).sum(axis, keepdims=True))]

    return Case(
        f"softmax of {shape} on axis {axis}",
        lambda x: ops.softmax(x, axis),
        {"x": Input(shape)},
        lambda x: probabilities(x, axis),
        lambda x: probabilities(x, axis) * depth(x, axis),
        backward,
        terms=shape[axis],
        backward_terms=shape[axis],
    )


def log_softmax(shape: tuple[int, ...], axis: int) -> Case:
    def magnitude(x: Array) -> Array:
        return np.abs(np.log(probabilities(x, axis))) + depth(x, axis)

    def backward(xs: Arrays, dys: Arrays) -> Sequence[Array]:
        y, dy = probabilities(xs[0], axis) * magnitude(xs[0]), np.abs(dys[0])
        return [dy + y * dy.sum(axis, keepdims=True)]

    return Case(
        f"log-softmax of {shape} on axis {axis}",
        lambda x: ops.log_softmax(x, axis),
        {"x": Input(shape)},
        lambda x: np.log(probabilities(x, axis)),
        magnitude,
        backward,
        terms=shape[axis],
        backward_terms=shape[axis],
    )


def cross_entropy(shape: tuple[int, ...], labels: DType) -> Case:
    def reference(logits: Array, labels: Array) -> Arrays:
        p = probabilities(logits)
        return -np.log(np.take_along_axis(p, labels[:, None], 1)[:, 0]), p

    def backward(xs: Arrays, dys: Arrays) -> Sequence[Array]:
        logits, labels = xs
        one_hot = np.moveaxis(np.eye(shape[1])[labels], -1, 1)
        return [(probabilities(logits) * depth(logits) + one_hot) * np.abs(dys[0])[:, None]]

    return Case(
        f"cross-entropy of {shape}, {labels} labels",
        lambda *values: siblings(ops.cross_entropy(*values)),
        {"x": Input(shape), "labels": Input(shape[:1] + shape[2:], "labels", shape[1], labels)},
        reference,
        lambda x, _: (math.log(shape[1]) + depth(x)[:, 0], probabilities(x) * depth(x)),
        backward,
        terms=shape[1],
        backward_terms=2,
    )


def squared_error(shape: tuple[int, ...]) -> Case:
    count, over = math.prod(shape[1:]), tuple(range(1, len(shape)))

    def backward(xs: Arrays, dys: Arrays) -> Sequence[Array]:
        both, dy = np.abs(xs[0]) + np.abs(xs[1]), np.abs(dys[0]).reshape(-1, *(1,) * len(over))
        return [2 * both / count * dy] * 2

    return Case(
        f"squared error of {shape}",
        ops.squared_error,
        {"x": Input(shape), "target": Input(shape)},
        lambda x, target: np.square(x - target).sum(over) / count,
        lambda x, target: np.square(np.abs(x) + np.abs(target)).sum(over) / count,
        backward,
        terms=count,
        wrt=("x", "target"),
    )


def masked_mean(shape: tuple[int, ...], valid: int) -> Case:
    return Case(
        f"masked mean of {valid} of {shape}",
        ops.masked_mean,
        {"x": Input(shape)},
        lambda x: x[:valid].sum() / x[:valid].size,
        terms=valid * math.prod(shape[1:]),
        valid=valid,
    )


def count_correct(shape: tuple[int, ...], valid: int) -> Case:
    labels = Input(shape[:1] + shape[2:], "labels", shape[1], DType.int64)

    def reference(x: Array, labels: Array) -> Array:
        hits = [int(np.argmax(x[n, :, *at])) == labels[n, *at] for n, *at in np.ndindex(*labels.shape) if n < valid]
        return np.array(sum(hits))

    return Case(
        f"count correct of {valid} of {shape}",
        ops.count_correct,
        {"x": Input(shape, "apart"), "labels": labels},
        reference,
        exact=True,
        wrt=(),
        inert=("x",),
        valid=valid,
    )


LOSSES = [
    softmax((3, 4), 1),
    softmax((2, 3, 2, 2), 1),
    softmax((2, 3, 4), -1),
    softmax((4, 3), 0),
    softmax((2, 100), 1),
    log_softmax((3, 4), 1),
    log_softmax((2, 3, 2, 2), 1),
    log_softmax((2, 3, 4), -1),
    log_softmax((2, 100), 1),
    cross_entropy((3, 4), DType.int64),
    cross_entropy((3, 4), DType.int32),
    cross_entropy((2, 5, 1, 1), DType.int64),
    cross_entropy((2, 3, 4), DType.int64),
    cross_entropy((2, 3, 2, 3), DType.int32),
    cross_entropy((2, 100), DType.int64),
    squared_error((3, 4)),
    squared_error((2, 3, 2, 2)),
    squared_error((5,)),
    masked_mean((5,), 5),
    masked_mean((5,), 3),
    masked_mean((4, 2, 3), 3),
    masked_mean((100,), 99),
    count_correct((20, 3), 20),
    count_correct((20, 3), 11),
    count_correct((4, 3, 2, 2), 3),
]

# --- dropout ----------------------------------------------------------------------------------------------


def dropout(shape: tuple[int, ...], rate: float) -> Case:
    def reference(x: Array) -> Arrays:
        words = [loops.random_word(element, SEED, 1, STEP) for element in range(x.size)]
        mask = (np.array(words) >= int(rate * 2**32)).reshape(x.shape)
        return x * mask / (1 - rate), mask

    return Case(
        f"dropout {rate} of {shape}",
        lambda x: siblings(ops.dropout(x, rate)),
        {"x": Input(shape)},
        reference,
        backward_magnitude="masked",
        mode="training",
    )


def gather(name: str, size: int, batch: int, images: DType | None) -> Case:
    """Images 3 x 2, halved, less 0.25."""
    fill: dict[str, Any] = {"fill": "labels", "classes": 256} if images else {}

    def build(images: Value, targets: Value) -> Sequence[Value]:
        dtype = images.dtype if images.dtype.is_float else DType.float32
        return images.graph.add(GatherBatch(batch, 0.5, 0.25, dtype), images.graph.step, images, targets)

    def reference(images: Array, targets: Array) -> Arrays:
        order = [loops.permuted_index(i % size, size, SEED, 0) for i in range(batch)]
        return images[order] * 0.5 - 0.25, targets[order]

    return Case(
        f"gather {name}",
        build,
        {"x": Input((size, 3, 2), dtype=images, **fill), "target": Input((size,), "labels", 9, DType.int64)},
        reference,
        lambda images, targets: [values + 0.5 for values in reference(np.abs(images), targets)],
        terms=2,
        wrt=(),
    )


RANDOM = [
    dropout((3, 7), 0.5),
    dropout((2, 3, 2, 3), 0.2),
    dropout((9,), 0.9),
    gather("3 of 7", 7, 3, None),
    gather("beyond the end", 5, 8, None),
    gather("of pixels", 6, 4, DType.uint8),
]

# --- the end of a step ------------------------------------------------------------------------------------


def penalised(w: Array, dw: Array, rule: optim.Optimizer) -> tuple[Array, Array]:
    """The gradient with L1 and L2, and its M."""
    return dw + rule.l1 * np.sign(w) + rule.l2 * w, np.abs(dw) + rule.l1 + rule.l2 * np.abs(w)


def update(rule: optim.Optimizer, formula: Callable[..., Any], moments: Mapping[str, Fill]) -> Case:
    """A formula takes (w, dw, M of dw, *moments) and answers with each result and its M."""

    def results(w: Array, dw: Array, *moments: Array) -> list[tuple[Array, Array]]:
        return list(formula(rule, w, *penalised(w, dw, rule), *moments))

    def build(*values: Value) -> Sequence[Value]:
        graph = values[0].graph
        return graph.add(Update(rule, 0, 1), graph.step, *values)

    return Case(
        f"update by {rule.name}{', L1 and L2' if rule.l1 else ''}",
        build,
        {"w": Input((3, 5)), "dw": Input((3, 5))} | {name: Input((3, 5), fill) for name, fill in moments.items()},
        lambda *xs: [result for result, _ in results(*xs)],
        lambda *xs: [size for _, size in results(*xs)],
        wrt=(),
    )


def sgd(rule: optim.SGD, w: Array, dw: Array, size: Array) -> Any:
    yield w - RATE * dw, np.abs(w) + RATE * size


def momentum(rule: optim.Momentum, w: Array, dw: Array, size: Array, m: Array) -> Any:
    new, new_size = rule.decay * m + RATE * dw, rule.decay * np.abs(m) + RATE * size
    yield w - new, np.abs(w) + new_size
    yield new, new_size


def adagrad(rule: optim.Adagrad, w: Array, dw: Array, size: Array, s: Array) -> Any:
    new = s + dw**2
    yield w - RATE * dw / (np.sqrt(new) + rule.epsilon), np.abs(w) + RATE * size / np.sqrt(new) * (s + size**2) / new
    yield new, s + size**2


def adadelta(rule: optim.Adadelta, w: Array, dw: Array, size: Array, s: Array, u: Array) -> Any:
    new = rule.decay * s + (1 - rule.decay) * dw**2
    new_size = rule.decay * s + (1 - rule.decay) * size**2
    change = np.sqrt((u + rule.epsilon) / (new + rule.epsilon)) * dw
    change_size = np.sqrt((u + rule.epsilon) / (new + rule.epsilon)) * size * new_size / new
    yield w - RATE * change, np.abs(w) + RATE * change_size
    yield new, new_size
    yield rule.decay * u + (1 - rule.decay) * change**2, rule.decay * u + (1 - rule.decay) * change_size**2


def adam(rule: optim.Adam, w: Array, dw: Array, size: Array, m: Array, v: Array) -> Any:
    t = STEP + 1
    new_m, m_size = (rule.beta1 * a + (1 - rule.beta1) * b for a, b in ((m, dw), (np.abs(m), size)))
    new_v, v_size = (rule.beta2 * v + (1 - rule.beta2) * b**2 for b in (dw, size))
    root = np.sqrt(new_v / (1 - rule.beta2**t)) + rule.epsilon
    factor = RATE / (1 - rule.beta1**t) / root
    yield w - factor * new_m, np.abs(w) + factor * m_size * v_size / new_v
    yield new_m, m_size
    yield new_v, v_size


def record_bytes(record: Array) -> Array:
    return record.view(np.uint8)


def flag(fill: Fill, scaled: bool = False, **fields: Any) -> Case:
    return Case(
        f"flag non-finite, {fill} gradient{' by a loss scale' * scaled}",
        lambda x, dw: x.graph.add(FlagNonFinite(scaled), x.graph.step, x, dw),
        {"x": Input(()), "dw": Input((2, 3), fill)},
        lambda *_: record_bytes(step_record(**fields)),
        exact=True,
        wrt=(),
        inert=("x", "dw"),
    )


def guard(fill: Fill, scaled: bool = False) -> Case:
    def build(x: Value, dw: Value, old: Value, new: Value) -> Sequence[Value]:
        graph = x.graph
        flagged = graph.add(FlagNonFinite(scaled), graph.step, x, dw)
        return graph.add(UnlessFlagged(2), *flagged, old, old, new, new)

    return Case(
        f"unless flagged, {fill} gradient{' by a loss scale' * scaled}",
        build,
        {"x": Input((1,)), "dw": Input((2,), fill), "old": Input((3,)), "new": Input((3,))},
        lambda _x, _dw, old, new: [old, old] if fill == "infinite" else [new, new],
        exact=True,
        wrt=(),
        inert=("x", "dw", "new" if fill == "infinite" else "old"),
    )


def advance(fill: Fill, **fields: Any) -> Case:
    """The end of a step with a loss scale whose gradient is `fill`."""

    def build(x: Value, dw: Value) -> Sequence[Value]:
        graph = x.graph
        return graph.add(AdvanceStep(scaled=True), *graph.add(FlagNonFinite(scaled=True), graph.step, x, dw), x)

    return Case(
        f"advance step, {fill} gradient by a loss scale",
        build,
        {"x": Input(()), "dw": Input((2, 3), fill)},
        lambda x, _: record_bytes(step_record(4, **{"cursor": 4, "loss_sum": 4 * x, "steady": 0, **fields})),
        exact=True,
        wrt=(),
        valid=4,
        inert=("dw",),
    )


L1_L2 = {"l1": 0.02, "l2": 0.3}
STEP_END = [
    update(optim.SGD(), sgd, {}),
    update(optim.SGD(**L1_L2), sgd, {}),
    update(optim.Momentum(decay=0.8), momentum, {"m": "normal"}),
    update(optim.Momentum(**L1_L2), momentum, {"m": "normal"}),
    update(optim.Adagrad(), adagrad, {"s": "positive"}),
    update(optim.Adagrad(**L1_L2), adagrad, {"s": "positive"}),
    update(optim.Adadelta(), adadelta, {"s": "positive", "u": "positive"}),
    update(optim.Adadelta(**L1_L2), adadelta, {"s": "positive", "u": "positive"}),
    update(optim.Adam(), adam, {"m": "normal", "v": "positive"}),
    update(optim.Adam(**L1_L2), adam, {"m": "normal", "v": "positive"}),
    flag("normal"),
    flag("infinite", nonfinite=1, first_bad_step=STEP),
    guard("normal"),
    flag("infinite", scaled=True, steady=-1),
    guard("infinite"),
    guard("infinite", scaled=True),
    advance("normal", step=STEP + 1, loss_scale=2 * SCALE),
    advance("infinite", loss_scale=SCALE / 2),
    Case(
        "loss scale",
        lambda x: [*x.graph.add(LossScale(), x.graph.step), *x.graph.add(Unscale(), x.graph.step, x)],
        {"x": Input((2, 3))},
        lambda x: [np.array(SCALE), x / SCALE],
        wrt=(),
    ),
    Case(
        "advance step",
        lambda x, n: x.graph.add(AdvanceStep(), x.graph.step, x, n),
        {"x": Input(()), "n": Input((), "labels", 9, DType.int64)},
        lambda x, n: record_bytes(step_record(4, step=STEP + 1, cursor=4, correct=n, loss_sum=4 * x)),
        exact=True,
        wrt=(),
        valid=4,
    ),
]

CASES = [*PRODUCTS, *POOLS, *ELEMENTWISE, *MOVEMENTS, *NORMS, *LOSSES, *RANDOM, *STEP_END]
DIFFERENTIABLE = [case for case in CASES if case.wrt]
