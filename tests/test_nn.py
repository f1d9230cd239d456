"""Layers, containers, the thesis's modules, the Builder, initialisers, and extensions of one's own."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest

from gocunets import DType, GraphError, Network, Node, TensorType, Value, init, losses, nn, ops, optim, zoo
from gocunets.backends.numpy import kernel, update_rule
from gocunets.nn.module import PARAMETER_NODES
from gocunets.ops import Op
from gocunets.ops.activation import Activation
from gocunets.ops.base import one, require_float
from gocunets.ops.conv import Convolution, TransposedConvolution
from gocunets.ops.pool import AveragePool, MaxPool
from gocunets.ops.shape import Pad, Reshape
from gocunets.ops.softmax import Softmax
from tests.running import Array

IMAGE = (3, 8, 8)


def output_shape(module: nn.Module, input_shape: Sequence[int]) -> tuple[int, ...]:
    """The shape that one sample leaves with."""
    return Network(module, input_shape).trace(batch=2).outputs["y"].shape[1:]


def shapes(module: nn.Module, input_shape: Sequence[int]) -> dict[str, tuple[int, ...]]:
    """The parameters' shapes by name."""
    Network(module, input_shape)
    return {name: p.state.type.shape for name, p in module.parameters() if p.state is not None}


# --- layers ---------------------------------------------------------------------------------------------------


ONES = (1, 1)
STATISTICS = ("gamma", "beta", "running_mean", "running_variance")
LAYERS: list[tuple[str, nn.Module, tuple[int, ...], tuple[int, ...], Op | None]] = [
    ("conv", nn.Conv(5, 3), IMAGE, (5, 6, 6), Convolution(ONES, (0, 0), ONES, 1)),
    (
        "conv, all flags",
        nn.Conv(6, (3, 2), stride=2, padding=(2, 1), dilation=(2, 1), groups=3),
        IMAGE,
        (6, 4, 5),
        Convolution((2, 2), (2, 1), (2, 1), 3),
    ),
    ("conv of signals", nn.Conv(4, 3), (2, 9), (4, 7), Convolution((1,), (0,), (1,), 1)),
    ("conv of volumes", nn.Conv(4, 2), (2, 4, 5, 6), (4, 3, 4, 5), Convolution((1,) * 3, (0,) * 3, (1,) * 3, 1)),
    (
        "transposed conv",
        nn.TransposedConv(4, 3, stride=2, padding=1, output_padding=1),
        IMAGE,
        (4, 16, 16),
        TransposedConvolution((2, 2), (1, 1), ONES, 1, (1, 1)),
    ),
    ("dense", nn.Dense(7), (5,), (7,), None),
    ("dense of images", nn.Dense(7), IMAGE, (7,), None),
    ("dense of numbers", nn.Dense(7), (), (7,), None),
    ("max pool", nn.MaxPool(2), IMAGE, (3, 4, 4), MaxPool((2, 2), (2, 2), (0, 0))),
    ("max pool, all flags", nn.MaxPool(3, stride=2, padding=1), IMAGE, (3, 4, 4), MaxPool((3, 3), (2, 2), ONES)),
    (
        "average pool",
        nn.AveragePool(3, stride=(1, 2), padding=1, include_padding=True),
        IMAGE,
        (3, 8, 4),
        AveragePool((3, 3), (1, 2), ONES, True),
    ),
    ("global average pool", nn.GlobalAveragePool(), IMAGE, (3,), None),
    ("batch norm", nn.BatchNorm(), IMAGE, IMAGE, None),
    ("batch norm of features", nn.BatchNorm(), (4,), (4,), None),
    ("dropout", nn.Dropout(0.3), IMAGE, IMAGE, None),
    ("logistic", nn.Logistic(), IMAGE, IMAGE, Activation("logistic")),
    ("tanh", nn.Tanh(), IMAGE, IMAGE, Activation("tanh")),
    ("relu", nn.ReLU(), IMAGE, IMAGE, Activation("relu")),
    ("leaky relu", nn.LeakyReLU(0.2), IMAGE, IMAGE, Activation("leaky_relu", 0.2)),
    ("leaky relu by kind", nn.Activation("leaky_relu"), IMAGE, IMAGE, Activation("leaky_relu", 0.01)),
    ("clipped relu", nn.ClippedReLU(3.0), IMAGE, IMAGE, Activation("clipped_relu", 3.0)),
    ("elu", nn.ELU(0.5), IMAGE, IMAGE, Activation("elu", 0.5)),
    ("softmax", nn.Softmax(), IMAGE, IMAGE, Softmax(1)),
    ("log-softmax", nn.Softmax(-1, log=True), IMAGE, IMAGE, Softmax(-1, True)),
    ("flatten", nn.Flatten(), IMAGE, (192,), Reshape((-1,))),
    ("reshape", nn.Reshape((4, -1)), IMAGE, (4, 48), Reshape((4, -1))),
    ("pad", nn.Pad((0, 1, 2), (1, 0, 0), 0.5), IMAGE, (4, 9, 10), Pad((0, 1, 2), (1, 0, 0), 0.5)),
]


@pytest.mark.parametrize(("name", "layer", "x", "y", "op"), LAYERS, ids=[row[0] for row in LAYERS])
def test_layers(name: str, layer: nn.Module, x: tuple[int, ...], y: tuple[int, ...], op: Op | None) -> None:
    graph = Network(layer, x).trace(batch=2)
    graph.verify()
    assert graph.outputs["y"].shape == (2, *y)
    if op is not None:
        assert [node.op for node in graph.nodes] == [op]


@pytest.mark.parametrize(
    ("layer", "right"),
    [
        (nn.Conv(6, (2, 3), groups=3), {"w": (6, 1, 2, 3), "b": (6,)}),
        (nn.Conv(6, 1, bias=False), {"w": (6, 3, 1, 1)}),
        (nn.TransposedConv(4, 3), {"w": (3, 4, 3, 3), "b": (4,)}),
        (nn.TransposedConv(6, 3, groups=3, bias=False), {"w": (3, 2, 3, 3)}),
        (nn.Dense(5), {"w": (192, 5), "b": (5,)}),
        (nn.Dense(5, bias=False), {"w": (192, 5)}),
        (nn.BatchNorm(), dict.fromkeys(STATISTICS, (3,))),
        (nn.BatchNorm(spatial=False), dict.fromkeys(STATISTICS, IMAGE)),
    ],
    ids=lambda part: repr(part) if isinstance(part, nn.Module) else "",
)
def test_parameters(layer: nn.Module, right: dict[str, tuple[int, ...]]) -> None:
    assert shapes(layer, IMAGE) == right


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.Conv(0, 3), "filters is 0; at least 1"),
        (lambda: nn.Conv(3, 3, groups=0), "groups is 0; at least 1"),
        (lambda: nn.TransposedConv(-1, 3), "filters is -1; at least 1"),
        (lambda: nn.Dense(0), "features is 0; at least 1"),
        (lambda: nn.Dropout(1.0), r"dropout rate 1.0 is not in \[0, 1\)"),
        (lambda: nn.Activation("swish"), "activation 'swish' is none of logistic"),
        (nn.Concat, "Concat of no branches"),
        (lambda: nn.Sequential(nn.ReLU(), relu1=nn.Tanh()), "two modules are named relu1"),
    ],
)
def test_layers_that_cannot_be(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


# --- names ----------------------------------------------------------------------------------------------------


def test_sequential_names_its_modules_after_their_class() -> None:
    net = nn.Sequential(nn.Conv(2, 3), nn.ReLU(), nn.Conv(2, 3), nn.MaxPool(2), head=nn.Dense(4))
    assert list(net.layers) == ["conv1", "relu1", "conv2", "maxpool1", "head"]
    assert (len(net), net[2], net["head"], net[-1]) == (5, net["conv2"], net.layers["head"], net["head"])


class Holder(nn.Module):
    """Modules in an attribute, a list, a mapping, and a list of lists."""

    def __init__(self) -> None:
        self.first = nn.Dense(4)
        self.stack = [nn.Dense(4), (nn.Dense(4),)]
        self.table = {"left": nn.Dense(4)}

    def forward(self, x: Value) -> Value:
        for module in (self.first, self.stack[0], self.stack[1][0], self.table["left"]):
            x = module(x)
        return x


PATHS = [
    (Holder(), ["first", "stack.0", "stack.1.0", "table.left"]),
    (
        nn.Sequential(nn.Residual(nn.Sequential(nn.Dense(3)), nn.Dense(3)), nn.Concat(nn.Dense(2), nn.Dense(1))),
        ["residual1.body.dense1", "residual1.shortcut", "concat1.branch1", "concat1.branch2"],
    ),
    (nn.SimpleModuleNetwork([nn.Dense(3), nn.Dense(3)], nn.Dense(2)), ["module1", "module2", "output"]),
]


@pytest.mark.parametrize(("module", "paths"), PATHS, ids=lambda part: type(part).__name__)
def test_parameters_are_named_by_their_path(module: nn.Module, paths: list[str]) -> None:
    network = Network(module, (3,)).compile(device="cpu")
    assert list(network.weights) == [f"{path}.{name}" for path in paths for name in "wb"]


def test_values_are_named_by_their_layer() -> None:
    graph = Network(nn.Sequential(nn.Residual(nn.Sequential(nn.Dense(3), nn.Tanh()))), (3,)).trace()
    names = [value.name for node in graph.nodes for value in node.outputs]
    assert names == [
        "residual1.body.dense1.fully_connected",
        "residual1.body.tanh1.activation",
        "residual1.add",
    ]


def test_a_module_shows_what_it_is_made_of() -> None:
    text = repr(nn.Sequential(nn.Conv(4, 3, stride=2), nn.Residual(nn.Dense(3))))
    assert text.splitlines()[1].startswith("  conv1: Conv(filters=4, kernel=3, stride=2")
    assert text.splitlines()[-1].startswith("    body: Dense(features=3")


WRONG = [
    (
        "channels",
        nn.Sequential(nn.Conv(4, 3), nn.Conv(6, 3, groups=3)),
        r"layer conv2 \(convolution\): .*4 channels.*3",
    ),
    ("filters of groups", nn.Sequential(nn.Conv(4, 3, groups=3)), r"layer conv1 .*4 filters .* 3 groups"),
    ("window", nn.Sequential(nn.Conv(4, 7), nn.Conv(4, 3)), r"layer conv2 .*window spans 3 cells.* has 2"),
    ("pool", nn.Sequential(nn.MaxPool(2), nn.MaxPool(5)), r"layer maxpool2 \(max_pool\): .*5 cells.* has 4"),
    ("conv after dense", nn.Sequential(nn.Dense(4), nn.Conv(4, 3)), r"layer conv1: x=\(1, 4\) has 0 spatial axes"),
    (
        "reshape",
        nn.Sequential(nn.Reshape((5, -1))),
        r"layer reshape1 \(reshape\): 192 elements .* do not fill \(5, -1\)",
    ),
    (
        "residual",
        nn.Sequential(nn.Residual(nn.Conv(3, 3))),
        r"layer residual1 \(add\): a is .*3, 6, 6\], b is .*3, 8, 8\]",
    ),
    (
        "deep inside",
        nn.Sequential(nn.Residual(nn.Sequential(nn.Flatten(), nn.MaxPool(2)))),
        r"layer residual1\.body\.maxpool1 \(max_pool\): .*2 axes",
    ),
    (
        "concat",
        nn.Sequential(nn.Concat(nn.Conv(2, 3), nn.Conv(2, 1))),
        r"layer concat1 \(concat\): float32\[1, 2, 8, 8\] does not join float32\[1, 2, 6, 6\]",
    ),
    ("pad", nn.Sequential(nn.Pad((1,), (1,))), r"layer pad1 \(pad\): padding \(1,\), \(1,\) has not one number"),
    ("softmax", nn.Sequential(nn.Flatten(), nn.Softmax(2)), r"layer softmax1 \(softmax\): axis 2"),
    ("stride of 3 axes", nn.Sequential(nn.Conv(2, 3, stride=(1, 1, 1))), r"layer conv1 .*stride is \(1, 1, 1\)"),
]


@pytest.mark.parametrize(("module", "message"), [row[1:] for row in WRONG], ids=[row[0] for row in WRONG])
def test_a_layer_that_does_not_fit_is_named(module: nn.Module, message: str) -> None:
    with pytest.raises(GraphError, match=message):
        Network(module, IMAGE)


def test_a_module_that_did_not_fit_may_be_used_again() -> None:
    module = nn.Sequential(nn.Conv(4, 3), nn.MaxPool(2), nn.Conv(4, 5))
    with pytest.raises(GraphError, match="layer conv2"):
        Network(module, IMAGE)
    assert Network(module, (1, 20, 20)).trace().outputs["y"].shape == (1, 4, 5, 5)


# --- containers -----------------------------------------------------------------------------------------------


def weights(module: nn.Module, x: Sequence[int], seed: int = 0) -> dict[str, Array]:
    return Network(module, x, seed=seed).compile(device="cpu").weights


def run(module: nn.Module, x: Array, **settings: Any) -> Array:
    return Network(module, x.shape[1:], **settings).compile(device="cpu", dtype="float64").inference(x)


def numbers(*shape: int) -> Array:
    return np.random.default_rng(0).standard_normal(shape)


def test_residual_adds_its_input() -> None:
    x = numbers(2, 3, 4, 4)
    np.testing.assert_array_equal(run(nn.Residual(nn.Tanh()), x), np.tanh(x) + x)
    np.testing.assert_array_equal(run(nn.Residual(nn.Tanh(), nn.ReLU()), x), np.tanh(x) + np.maximum(x, 0))


def test_concat_joins_its_branches() -> None:
    x = numbers(2, 3, 4, 4)
    np.testing.assert_array_equal(run(nn.Concat(nn.Tanh(), nn.ReLU()), x), np.concatenate([np.tanh(x), x.clip(0)], 1))
    along = run(nn.Concat(nn.Tanh(), nn.ReLU(), axis=3), x)
    np.testing.assert_array_equal(along, np.concatenate([np.tanh(x), x.clip(0)], 3))


def test_a_shared_module_is_one_set_of_weights() -> None:
    shared = nn.Dense(4)
    network = Network(nn.Sequential(first=shared, act=nn.Tanh(), second=shared), (4,)).compile(
        device="cpu", optimizer=optim.SGD(0.1), dtype="float64"
    )
    assert list(network.weights) == ["first.w", "first.b"]
    x, before = numbers(5, 4), network.weights
    y = np.tanh(x @ before["first.w"]) @ before["first.w"]
    np.testing.assert_allclose(network.inference(x), y, rtol=1e-12)
    gradient = network.inspect(x, np.arange(5) % 4)["gradient/first.w"]
    network.step(x, np.arange(5) % 4)
    np.testing.assert_array_equal(network.weights["first.w"], before["first.w"] - 0.1 * gradient)


def test_a_shared_module_cannot_take_two_shapes() -> None:
    shared = nn.Dense(4)
    with pytest.raises(GraphError, match=r"parameter first\.w has shape \(3, 4\), its layer now needs \(4, 4\)"):
        Network(nn.Sequential(first=shared, second=shared), (3,))


def test_batch_norm_differs_in_training() -> None:
    network = Network(nn.BatchNorm(), (3,))
    assert [node.op.name for node in network.trace("inference").nodes] == ["batch_norm_inference"]
    training = network.trace("training")
    assert [node.op.name for node in training.nodes] == ["batch_norm", "running_statistics"]
    assert [state.name for state in training.assigned] == ["running_mean", "running_variance"]


# --- initial weights ------------------------------------------------------------------------------------------


def layered() -> nn.Module:
    return nn.Sequential(nn.Conv(4, 3), nn.Conv(4, 3), nn.Dense(5))


def test_a_seed_is_a_set_of_weights() -> None:
    first, again, other = (weights(layered(), IMAGE, seed) for seed in (3, 3, 4))
    for name, w in first.items():
        assert w.tobytes() == again[name].tobytes()
        assert name.endswith(".b") or w.tobytes() != other[name].tobytes()


def test_no_two_parameters_are_alike() -> None:
    both = weights(nn.Sequential(nn.Dense(8), nn.Dense(8)), (8,))
    assert abs(np.corrcoef(both["dense1.w"].ravel(), both["dense2.w"].ravel())[0, 1]) < 0.4


def test_later_layers_do_not_change_earlier_weights() -> None:
    short, long = (weights(nn.Sequential(*layers), IMAGE) for layers in ([nn.Conv(4, 3)], [nn.Conv(4, 3), nn.Dense(2)]))
    np.testing.assert_array_equal(short["conv1.w"], long["conv1.w"])


def test_weights_are_the_same_numbers_in_float64() -> None:
    single = weights(layered(), IMAGE)
    double = Network(layered(), IMAGE).compile(device="cpu", dtype="float64").weights
    for name, w in double.items():
        np.testing.assert_array_equal(w.astype(np.float32), single[name])


def test_biases_begin_at_zero() -> None:
    for name, w in weights(layered(), IMAGE).items():
        assert name.endswith(".w") or not w.any()


@pytest.mark.parametrize(
    ("initializer", "deviation", "limit"),
    [
        (init.He(), math.sqrt(2 / 600), math.inf),
        (init.He(slope=1.0), math.sqrt(1 / 600), math.inf),
        (init.Glorot(), math.sqrt(2 / 1000), math.sqrt(6 / 1000)),
        (init.FanInUniform(), 1 / math.sqrt(3 * 600), 1 / math.sqrt(600)),
        (init.Normal(0.05), 0.05, math.inf),
        (init.Stinson(), 2 * math.sqrt(2 / 600), math.inf),
    ],
    ids=lambda part: type(part).__name__ if isinstance(part, init.Initializer) else "",
)
def test_initialisers(initializer: init.Initializer, deviation: float, limit: float) -> None:
    w = weights(nn.Dense(400, initializer=initializer), (600,))["w"]
    assert w.std() == pytest.approx(deviation, rel=0.01)
    assert abs(w.mean()) < 0.01 * deviation
    assert np.abs(w).max() <= limit * (1 + 1e-6)


def test_constant_and_mean() -> None:
    fans = init.Fans(1, 1, 1)
    np.testing.assert_array_equal(init.Constant(2.5)((2, 3), fans, seed=0, node=1), np.full((2, 3), 2.5))
    assert init.Normal(0.1, mean=3.0)((50, 50), fans, seed=0, node=1).mean() == pytest.approx(3, abs=0.01)


@dataclass(frozen=True)
class Recorded(init.Initializer):
    """Zeros; writes down what it was asked for."""

    calls: list[tuple[init.Fans, int, int]]

    def __call__(self, shape: tuple[int, ...], fans: init.Fans, *, seed: int, node: int) -> Array:
        self.calls.append((fans, seed, node))
        return np.zeros(shape)


@pytest.mark.parametrize(
    ("layer", "fans"),
    [
        (lambda made: nn.Conv(6, (3, 2), initializer=made), init.Fans(3 * 6, 6 * 6, 192)),
        (lambda made: nn.Conv(6, 3, groups=3, initializer=made), init.Fans(9, 2 * 9, 192)),
        (lambda made: nn.TransposedConv(4, 2, initializer=made), init.Fans(3 * 4, 4 * 4, 192)),
        (lambda made: nn.TransposedConv(6, 2, groups=3, initializer=made), init.Fans(4, 2 * 4, 192)),
        (lambda made: nn.Dense(5, initializer=made), init.Fans(192, 5, 192)),
    ],
    ids=["conv", "grouped conv", "transposed conv", "grouped transposed conv", "dense"],
)
def test_initialisers_know_their_place(layer: Any, fans: init.Fans) -> None:
    made = Recorded([])
    weights(nn.Sequential(nn.BatchNorm(), layer(made)), IMAGE, seed=5)
    assert made.calls == [(fans, 5, PARAMETER_NODES + 4)]


# --- the thesis -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("branches", [1, 2, 3, 4])
@pytest.mark.parametrize("window", [2, 3, 4, 5, 6, 7])
@pytest.mark.parametrize(
    ("make", "size"),
    [(nn.CompressionModule, 16), (nn.NeutralModule, 32), (nn.DecompressionModule, 64)],
    ids=["compression", "neutral", "decompression"],
)
def test_sizes_of_the_thesis_modules(make: type[nn.NeutralModule], size: int, window: int, branches: int) -> None:
    filters = [3, 1, 2, 4][:branches]
    assert output_shape(make(filters, window), (2, 32, 32)) == (sum(filters), size, size)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_the_thesis_modules_take_any_number_of_axes(rank: int) -> None:
    there_and_back = nn.Sequential(
        nn.CompressionModule([2, 3], 3), nn.NeutralModule([4], 4), nn.DecompressionModule([1], 5)
    )
    assert output_shape(there_and_back, (2, *(8,) * rank)) == (1, *(8,) * rank)


def test_branches_grow_in_dilation() -> None:
    def dilations(module: nn.Module) -> list[int]:
        graph = Network(module, (1, 32, 32)).trace()
        return [node.op.dilation[0] for node in graph.nodes if isinstance(node.op, Convolution)]

    assert dilations(nn.NeutralModule([1] * 4, 3)) == [1, 2, 3, 4]
    assert dilations(nn.CompressionModule([1] * 3, 4)) == [1, 3, 5]


def test_a_vanilla_module_is_a_convolution_and_an_activation() -> None:
    graph = Network(nn.VanillaModule(4, 3, stride=2, padding=1, activation="tanh"), IMAGE).trace()
    assert [node.op for node in graph.nodes] == [Convolution((2, 2), ONES, ONES, 1), Activation("tanh")]


@pytest.mark.parametrize(("kernel_size", "shape"), [(8, (5,)), (7, (5, 2, 2))], ids=["whole", "less"])
def test_an_output_module_flattens_single_cells(kernel_size: int, shape: tuple[int, ...]) -> None:
    assert output_shape(nn.OutputModule(5, kernel_size), IMAGE) == shape


def test_a_classifier_passes_on_and_holds_the_loss() -> None:
    loss = losses.MeanSquaredError()
    net = nn.SimpleModuleNetwork([nn.VanillaModule(2, 3)], nn.OutputModule(4, 6), nn.ClassifierModule(loss))
    network = Network(net, IMAGE).compile(device="cpu")
    assert network.compiled.loss is loss
    assert network.compile(device="cpu", loss=losses.CrossEntropy()).compiled.loss == losses.CrossEntropy()


def thesis(**settings: Any) -> Network:
    return Network(zoo.thesis_network(**settings), (1, 28, 28))


def test_the_thesis_network() -> None:
    network = thesis().compile(device="cpu")
    assert sum(w.size for w in network.weights.values()) == 16_390
    convolutions = [node for node in network.trace().nodes if isinstance(node.op, Convolution)]
    assert [node.outputs[0].shape[2] for node in convolutions] == [16, 8, 4, 1]
    flops = [node.op.flops([x.type for x in node.inputs], [node.outputs[0].type]) for node in convolutions]
    biases = sum(node.outputs[0].type.size for node in convolutions)
    assert (sum(flops) - biases) / 2 == 597_120
    assert network.trace().outputs["y"].shape == (1, 10)


def test_the_thesis_network_for_other_classes() -> None:
    assert thesis(classes=3).trace().outputs["y"].shape == (1, 3)


def test_the_authors_initial_weights() -> None:
    made = thesis(initializer=init.Stinson()).compile(device="cpu").weights
    deviations = [w.std() for name, w in made.items() if name.endswith(".w")]
    assert deviations == pytest.approx([0.101, 0.0395, 0.079, 0.158], rel=0.06)
    for w, right in zip([w for n, w in made.items() if n.endswith(".w")], [784, 5120, 1280, 320], strict=True):
        spread = 2 * math.sqrt(2 / right)
        assert abs(w.std() / spread - 1) < 4 / math.sqrt(2 * w.size)  # four standard errors


# --- Builder --------------------------------------------------------------------------------------------------


def test_a_builder_sets_flags_once() -> None:
    build = nn.Builder(
        bias=False,
        groups=3,
        activation_kind="elu",
        pooling_mode="average_with_padding",
        spatial_batch_norm=False,
        initializer=init.Constant(0.5),
    )
    made = weights(build.convolution(6, 3), IMAGE)
    assert {name: (w.shape, float(w.mean())) for name, w in made.items()} == {"w": ((6, 1, 3, 3), 0.5)}
    assert list(weights(build.transposed_convolution(6, 3), IMAGE)) == ["w"]
    assert list(weights(build.fully_connected(6), IMAGE)) == ["w"]
    assert shapes(build.batch_norm(epsilon=0.1), IMAGE)["gamma"] == IMAGE
    (pool,) = Network(build.pooling(2, padding=1), IMAGE).trace().nodes
    assert pool.op == AveragePool((2, 2), (2, 2), ONES, True)
    (act,) = Network(build.activation(), IMAGE).trace().nodes
    assert act.op == Activation("elu", 1.0)


def test_a_call_overrides_a_flag() -> None:
    build = nn.Builder(groups=3, bias=False)
    assert list(weights(build.convolution(4, 3, groups=1, bias=True), IMAGE)) == ["w", "b"]
    (act,) = Network(build.activation("clipped_relu", 2.0), IMAGE).trace().nodes
    assert act.op == Activation("clipped_relu", 2.0)
    assert build.dropout(0.1).rate == 0.1


@pytest.mark.parametrize(
    ("mode", "op"),
    [("max", MaxPool((2, 2), (2, 2), (0, 0))), ("average", AveragePool((2, 2), (2, 2), (0, 0), False))],
)
def test_a_builder_pools_as_it_is_told(mode: Any, op: Op) -> None:
    (node,) = Network(nn.Builder(pooling_mode=mode).pooling(2), IMAGE).trace().nodes
    assert node.op == op


def test_a_builder_makes_modules() -> None:
    build = nn.Builder(activation_kind="tanh")
    net = nn.Sequential(
        build.vanilla(4, 3, padding=1),
        build.compression([2, 2], 3),
        build.neutral([4], 3),
        build.decompression([2], 4),
        build.output(5, 8),
    )
    graph = Network(net, IMAGE).trace()
    assert {node.op.kind for node in graph.nodes if isinstance(node.op, Activation)} == {"tanh"}
    assert graph.outputs["y"].shape == (1, 5)


def test_a_builder_makes_tensors_and_weights() -> None:
    last = nn.Builder(dtype=DType.float64, channels_last=True)
    assert last.tensor((2, 3, 4, 5)) == TensorType((2, 3, 4, 5), DType.float64, (0, 2, 3, 1))
    assert last.tensor((2, 3)).order == (0, 1)
    assert nn.Builder().tensor((2, 3, 4, 5)).order == (0, 1, 2, 3)
    assert nn.Builder(initializer=init.Constant(1.0)).weights().initializer == init.Constant(1.0)


# --- of one's own ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Square(Op):
    """y = x²."""

    name: ClassVar[str] = "square_in_tests"

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        require_float("x", inputs[0])
        return inputs

    def gradient(self, node: Node, dys: Sequence[Value | None], wanted: Sequence[bool]) -> Sequence[Value | None]:
        assert dys[0] is not None
        return dys[0].graph.add(SquareBackward(), node.inputs[0], dys[0])


@dataclass(frozen=True)
class SquareBackward(Op):
    """dx = 2 x dy."""

    name: ClassVar[str] = "square_backward_in_tests"

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        return inputs[:1]


@kernel(Square)
def _(op: Square, x: Array) -> Array:
    return x * x


@kernel(SquareBackward)
def _(op: SquareBackward, x: Array, dy: Array) -> Array:
    return 2 * x * dy


class Quadratic(nn.Module):
    """The squares of a dense layer, through a square matrix of its own."""

    def __init__(self, features: int) -> None:
        self.inside = nn.Dense(features)
        self.scale = nn.Parameter(init.Constant(0.3))

    def forward(self, x: Value) -> Value:
        y = one(x.graph.add(Square(), self.inside(x)))
        return ops.fully_connected(y, self.scale.read(x, (y.shape[1], y.shape[1])))


@dataclass(frozen=True)
class FourthPower(losses.Loss):
    """Mean of (output - target)⁴."""

    name: ClassVar[str] = "fourth_power_in_tests"

    def target_type(self, output: TensorType) -> TensorType:
        return output

    def losses(self, output: Value, target: Value) -> Value:
        difference = output + ops.scale(target, -1.0)
        square = one(difference.graph.add(Square(), difference))
        return ops.squared_error(square, ops.scale(square, 0.0))


@dataclass(frozen=True)
class Halving(optim.Optimizer):
    """w -= rate dw, and less every time: a moment counts the steps."""

    name: ClassVar[str] = "halving_in_tests"
    moments: ClassVar[tuple[str, ...]] = ("steps",)


@update_rule(Halving)
def _(rule: Halving, w: Array, dw: Array, steps: Array, *, rate: float, step: int) -> tuple[Array, ...]:
    return w - rate / (1 + steps) * dw, steps + 1


def own_network() -> Network:
    return Network(nn.Sequential(nn.Dense(3), Quadratic(2)), (4,), seed=1).compile(
        device="cpu", dtype="float64", loss=FourthPower(), optimizer=Halving(0.001)
    )


def own_data() -> tuple[Array, Array]:
    return numbers(12, 4), np.abs(numbers(12, 2))


def test_parts_of_ones_own_compute_what_they_say() -> None:
    network = own_network()
    x, target = own_data()
    w = network.weights
    assert list(w) == ["dense1.w", "dense1.b", "quadratic1.scale", "quadratic1.inside.w", "quadratic1.inside.b"]
    y = np.square(x @ w["dense1.w"] @ w["quadratic1.inside.w"]) @ w["quadratic1.scale"]
    np.testing.assert_allclose(network.inference(x), y, rtol=1e-12)
    assert network.step(x, target) == pytest.approx(((y - target) ** 4).mean())


def test_parts_of_ones_own_have_right_gradients() -> None:
    network = own_network()
    x, target = own_data()
    store = network.compiled.store
    values = network.inspect(x, target)
    for state in network.compiled.groups[0].parameters:
        w, step = store.read(state), 1e-6
        direction = numbers(*w.shape)
        above, below = (loss_at(network, state, w + far * direction, x, target) for far in (step, -step))
        store.write(state, w)
        right = (values[f"gradient/{state.name}"] * direction).sum()
        assert right == pytest.approx((above - below) / (2 * step), rel=1e-6)


def loss_at(network: Network, state: Any, w: Array, x: Array, target: Array) -> float:
    network.compiled.store.write(state, w)
    return network.forward(x, target)


def test_parts_of_ones_own_train() -> None:
    network = own_network()
    x, target = own_data()
    records = network.fit((x, target), epochs=30, batch=6)
    assert records[-1].loss < 0.5 * records[0].loss
    assert records[-1].accuracy is None
    steps = network.compiled.store.read(network.compiled.groups[0].moments[0][0])
    np.testing.assert_array_equal(steps, np.full(steps.shape, 60))


class Lost(nn.Module):
    """A module whose op no backend knows."""

    def forward(self, x: Value) -> Value:
        @dataclass(frozen=True)
        class Unknown(Op):
            name: ClassVar[str] = "unknown_op_in_tests"

            def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
                return inputs

        return one(x.graph.add(Unknown(), x))


def test_an_op_without_kernel_is_named() -> None:
    network = Network(nn.Sequential(Lost()), (3,)).compile(device="cpu")
    with pytest.raises(
        Exception, match=r"no kernel for op unknown_op_in_tests of layer lost1; register one with .*Unknown"
    ):
        network.inference(numbers(2, 3))


def test_children_may_be_given_by_hand() -> None:
    class Named(nn.Module):
        def __init__(self) -> None:
            self.hidden = nn.Dense(2)

        def children(self) -> Iterator[tuple[str, nn.Module]]:
            yield "shown", self.hidden

        def forward(self, x: Value) -> Value:
            return self.hidden(x)

    assert list(weights(Named(), (3,))) == ["shown.w", "shown.b"]
