"""Operation graphs: shapes, text, canonical form and misuse with no library; engines and plans with no GPU."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gocudnn_py.cudnn.graph import (
    Graph,
    MoeGroupedMatmulMode,
    PointwiseMode,
    ReduceTensorOp,
    Tensor,
    channels_last,
    errata,
)
from gocunets import convnetgo
from tests.gocudnn_py.graph_others import grouped_matmul
from tests.gocudnn_py.without_gpu import GPUS

NHWC = channels_last(4)


def convolution_graph(**settings: Any) -> Graph:
    graph = Graph()
    x = graph.tensor("x", (8, 64, 28, 28), "float16", order=NHWC)
    w = graph.tensor("w", (32, 64, 3, 3), "float16", order=NHWC)
    b = graph.tensor("b", (1, 32, 1, 1), "float16")
    graph.output(graph.relu(graph.add(graph.convolution(x, w, **settings), b)), "y", dtype="float16")
    return graph


def test_a_graph_reads_like_the_mathematics() -> None:
    assert str(convolution_graph(padding=1, stride=2)) == "\n".join(
        [
            "graph, computed in FLOAT",
            "  x: HALF[8x64x28x28] channels last",
            "  w: HALF[32x64x3x3] channels last",
            "  b: HALF[1x32x1x1]",
            "  t4 = convolution(x, w, padding=(1, 1), stride=(2, 2))",
            "  t5 = t4 + b",
            "  y = relu(t5)",
            "  -> y: HALF[8x32x14x14] channels last",
        ]
    )


def test_equal_graphs_have_equal_keys_and_others_not() -> None:
    assert convolution_graph(padding=1).key() == convolution_graph(padding=1).key()
    keys = {convolution_graph(padding=1, stride=stride, dilation=d).key() for stride in (1, 2) for d in (1, 2)}
    assert len(keys) == 4
    other = convolution_graph(padding=1)
    other.output(other.tensors[-1], dtype="float32")
    assert other.key() != convolution_graph(padding=1).key()


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_output_dimensions_are_those_of_the_reference(rank: int) -> None:
    rng = np.random.default_rng(rank)
    for _ in range(200):
        groups = int(rng.integers(1, 4))
        x_dims = (2, 4 * groups, *rng.integers(12, 20, rank).tolist())
        w_dims = (2 * groups, 4, *rng.integers(1, 4, rank).tolist())
        window = {
            "padding": rng.integers(0, 3, rank).tolist(),
            "stride": rng.integers(1, 4, rank).tolist(),
            "dilation": rng.integers(1, 3, rank).tolist(),
        }
        graph = Graph()
        y = graph.convolution(graph.tensor("x", x_dims, "float32"), graph.tensor("w", w_dims, "float32"), **window)
        tuples = {name: tuple(value) for name, value in window.items()}
        assert y.dims == convnetgo.convolution_output_shape(x_dims, w_dims, groups=groups, **tuples)


def test_what_is_inside_takes_its_order_from_its_inputs() -> None:
    graph = Graph()
    x = graph.tensor("x", (2, 3, 4, 5), "float32", order=NHWC)
    b = graph.tensor("b", (1, 3, 1, 1), "float32")
    assert graph.add(b, x).strides == x.strides == (60, 1, 15, 3)
    assert graph.add(x, b).virtual


def misuse() -> dict[str, tuple[Callable[[Graph, Tensor], Any], str]]:
    """What each mistake is and what it must say."""

    def other(graph: Graph, x: Tensor) -> Any:
        return graph.add(x, Graph().tensor("z", (2, 8, 6, 6), "float32"))

    def tensor(graph: Graph, dims: tuple[int, ...], **settings: Any) -> Tensor:
        return graph.tensor("w", dims, "float32", **settings)

    return {
        "channels": (
            lambda g, x: g.convolution(x, tensor(g, (4, 3, 3, 3))),
            r"do not divide into groups \(x=\(2, 8, 6, 6\), w=\(4, 3, 3, 3\)\)",
        ),
        "ranks": (lambda g, x: g.convolution(x, tensor(g, (4, 8, 3))), "different ranks"),
        "window": (
            lambda g, x: g.convolution(x, tensor(g, (4, 8, 3, 3)), padding=(1, 1, 1)),
            "2 numbers of at least 0",
        ),
        "stride": (lambda g, x: g.convolution(x, tensor(g, (4, 8, 3, 3)), stride=0), "2 numbers of at least 1"),
        "too large a filter": (lambda g, x: g.convolution(x, tensor(g, (4, 8, 9, 9))), "output of the convolution"),
        "no channels": (lambda g, x: g.convolution(tensor(g, (8, 6)), x), r"needs \(N, C, \*spatial\)"),
        "twice": (lambda g, x: g.tensor("x", (1,), "float32"), "x is there twice"),
        "negative": (lambda g, x: tensor(g, (2, -1)), r"w\[1\] is -1"),
        "too wide": (lambda g, x: tensor(g, (2**63,)), "outside 1 to"),
        "too many": (lambda g, x: tensor(g, (1,) * 9), "9 dimensions; cuDNN takes 1 to 8"),
        "strides": (lambda g, x: tensor(g, (2, 3), strides=(1,)), r"dimensions \(2, 3\) but strides \(1,\)"),
        "broadcast": (lambda g, x: g.add(x, tensor(g, (2, 7, 6, 6))), "do not broadcast"),
        "reduction": (lambda g, x: g.reduction(ReduceTensorOp.ADD, x, (1, 3, 1, 1)), "does not reduce"),
        "matmul": (lambda g, x: g.matmul(x, tensor(g, (2, 8, 5, 6))), r"are not \(batch, m, k\)"),
        "another graph": (other, "of another graph"),
        "another's output": (lambda g, x: Graph().output(x), "of another graph"),
    }


@pytest.mark.parametrize(("make", "words"), misuse().values(), ids=misuse())
def test_misuse_is_refused_with_the_numbers(make: Callable[[Graph, Tensor], Any], words: str) -> None:
    graph = Graph()
    x = graph.tensor("x", (2, 8, 6, 6), "float32")
    with pytest.raises(ValueError, match=words):
        make(graph, x)


def test_a_backward_mode_takes_two_tensors() -> None:
    graph = Graph()
    with pytest.raises(TypeError, match="RELU_BWD of 1 tensors"):
        graph.pointwise(PointwiseMode.RELU_BWD, graph.tensor("x", (2, 3), "float32"))


# --- with cuDNN and no GPU ------------------------------------------------------------------------------------------


def test_every_operation_has_engines_on_every_gpu(deviceless: Callable[[str], Any]) -> None:
    found = deviceless("""
def graphs():
    for dtype in ("float32", "float16", "bfloat16"):
        order = None if dtype == "float32" else channels_last(4)
        window = dict(padding=(1, 1), stride=(2, 2))
        sizes = dict(x=(8, 64, 28, 28), w=(64, 64, 3, 3), dy=(8, 64, 14, 14))
        def start(*names):
            graph = Graph()
            return graph, *(graph.tensor(name, sizes[name], dtype, order=order) for name in names)
        graph, x, w = start("x", "w")
        graph.output(graph.convolution(x, w, **window), dtype=dtype)
        yield f"convolution {dtype}", graph
        graph, dy, w = start("dy", "w")
        graph.output(graph.convolution_backward_data(dy, w, sizes["x"], **window), dtype=dtype)
        yield f"data gradient {dtype}", graph
        graph, x, dy = start("x", "dy")
        graph.output(graph.convolution_backward_filter(x, dy, sizes["w"], **window), dtype=dtype)
        yield f"filter gradient {dtype}", graph
        if dtype == "float32":
            continue
        graph = Graph()
        a, b = graph.tensor("a", (1, 64, 128), dtype), graph.tensor("b", (1, 128, 256), dtype)
        graph.output(graph.matmul(a, b), dtype=dtype)
        yield f"matmul {dtype}", graph
        graph, x = start("x")
        graph.output(graph.reduction(ReduceTensorOp.ADD, x, (1, 64, 1, 1)))
        yield f"reduction {dtype}", graph
        graph, x = start("x")
        graph.output(graph.relu(graph.add(x, x)), dtype=dtype)
        yield f"pointwise {dtype}", graph

found = {}
for name, graph in graphs():
    for gpu, properties in gpus.items():
        found[f"{name} on {gpu}"] = next(plans(graph, properties, Policy(deterministic=True))).engine
print(json.dumps(found))
""")
    assert len(found) == 15 * len(GPUS)
    assert all(engine >= 0 for engine in found.values())


def test_policies_choose_between_engines(deviceless: Callable[[str], Any]) -> None:
    notes = deviceless("""
graph = Graph()
x, w = graph.tensor("x", (8, 64, 28, 28), "float32"), graph.tensor("w", (64, 64, 3, 3), "float32")
graph.output(graph.convolution(x, w, padding=1))
operations = graph.build()
def let(policy):
    every = list(candidates(operations, gpus["sm_90"]))
    return [sorted(map(int, c.notes)) for c in every if policy.objection(c, graph.multiplies_float32) is None]
small = max(plan.workspace for plan in plans(graph, gpus["sm_90"], Policy(workspace=4096)))
print(json.dumps([let(Policy()), let(Policy(tf32=True)), small]))
""")
    strict, tf32, small = notes
    assert strict
    assert not any({0, 1} & set(each) for each in strict)  # tensor cores, inputs rounded
    assert any(0 in each for each in tf32)
    assert small <= 4096


def test_an_engine_that_is_known_to_be_wrong_does_not_run(deviceless: Callable[[str], Any]) -> None:
    found = deviceless("""
from tests.gocudnn_py.graph_images import norm_backward
from gocudnn_py.cudnn.graph import NormMode
from gocudnn_py.cudnn.graph.plan import attempts
def tried(mode):
    made = list(attempts(norm_backward(mode, "float16"), gpus["sm_90"]))
    return [[a.candidate.engine, a.plan is not None, a.objection] for a in made]
print(json.dumps([tried(NormMode.INSTANCE_NORM), tried(NormMode.LAYER_NORM)]))
""")
    instance, layer = found
    assert {engine for engine, planned, _ in instance if planned} == {2}
    assert {why for engine, _, why in instance if engine == 0} == {
        "it makes a wrong gradient of an instance normalization's scale (seen with cuDNN 9.19 on sm_90)"
    }
    assert not any("wrong" in why for _, _, why in layer)


def convolution_of(last: bool, uneven: bool) -> Graph:
    """Of tensors whose sizes are multiples of 128 bytes, but for that of y where it is to be `uneven`."""
    graph, order = Graph(), channels_last(4) if last else None
    x = graph.tensor("x", (8, 64, 28, 28), "float16", order=order)
    w = graph.tensor("w", (65 if uneven else 64, 64, 8, 3), "float16", order=order)
    y = graph.output(graph.convolution(x, w), dtype="float16")
    assert [tensor.nbytes % 128 > 0 for tensor in (x, w, y)] == [False, False, uneven]
    return graph


@pytest.mark.parametrize(
    ("version", "engine", "last", "uneven", "wrong"),
    [
        ((9, 27, 0), 4, False, True, True),
        ((9, 19, 0), 70, False, True, True),
        ((9, 28, 1), 78, False, True, True),
        ((9, 28, 1), 4, False, False, False),
        ((9, 28, 1), 4, True, True, False),
        ((9, 28, 1), 7, False, False, True),
        ((9, 28, 1), 7, True, True, False),
        ((9, 26, 0), 7, False, True, False),
        ((9, 27, 0), 5, False, True, False),
    ],
)
def test_engines_that_convolve_channels_first_wrongly(
    version: tuple[int, int, int], engine: int, last: bool, uneven: bool, wrong: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(errata, "load", lambda name: SimpleNamespace(version=version))
    found = errata.erratum(convolution_of(last, uneven), engine) or ""
    assert ("it convolves wrongly" in found) is wrong


@pytest.mark.parametrize(
    ("mode", "version", "wrong"),
    [
        (MoeGroupedMatmulMode.NONE, (9, 19, 0), set()),
        (MoeGroupedMatmulMode.GATHER, (9, 19, 0), {7}),
        (MoeGroupedMatmulMode.GATHER, (9, 28, 1), set()),
        (MoeGroupedMatmulMode.SCATTER, (9, 28, 1), {4, 7}),
    ],
)
def test_engines_that_group_products_wrongly(
    mode: MoeGroupedMatmulMode, version: tuple[int, int, int], wrong: set[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(errata, "load", lambda name: SimpleNamespace(version=version))
    graph = grouped_matmul(mode)
    assert {engine for engine in range(12) if errata.erratum(graph, engine)} == wrong


def test_plans_are_kept_and_a_spoiled_one_is_made_anew(deviceless: Callable[[str], Any], tmp_path: Path) -> None:
    steps = deviceless(f"""
folder = Path({str(tmp_path)!r})
def graph(channels=64):
    graph = Graph()
    x, w = graph.tensor("x", (8, channels, 28, 28), "float16"), graph.tensor("w", (64, channels, 3, 3), "float16")
    graph.output(graph.convolution(x, w), dtype="float16")
    return graph
calls = []
def measure(plan):
    calls.append(plan.engine)
    return -len(calls)  # the last one is the fastest
gpu = gpus["sm_90"]
first = choose_plan(graph(), gpu, measure=measure, most=3, folder=folder)
measured = len(calls)
again = choose_plan(graph(), gpu, measure=measure, most=3, folder=folder)
(kept,) = folder.iterdir()
kept.write_bytes(kept.read_bytes()[:-7])
spoiled = choose_plan(graph(), gpu, measure=measure, most=3, folder=folder)
known = len(calls)
choose_plan(graph(32), gpu, measure=measure, most=3, folder=folder)
choose_plan(graph(), gpus["sm_80"], measure=measure, most=3, folder=folder)
choose_plan(graph(), gpu, Policy(deterministic=True), measure=measure, most=3, folder=folder)
print(json.dumps([calls[2], first.engine, again.engine, spoiled.engine, measured, known, len(calls)]))
""")
    third, first, again, spoiled, measured, known, at_last = steps
    assert first == again == spoiled == third
    assert (measured, known, at_last) == (3, 6, 15)


def test_a_kept_plan_of_an_engine_found_wrong_since_is_made_anew(
    deviceless: Callable[[str], Any], tmp_path: Path
) -> None:
    first, again, refusal = deviceless(f"""
from gocudnn_py.cudnn.graph import choice, errata, load_plan, save_plan
graph, folder = Graph(), Path({str(tmp_path)!r})
x, w = graph.tensor("x", (8, 64, 28, 28), "float16"), graph.tensor("w", (64, 64, 3, 3), "float16")
graph.output(graph.convolution(x, w), dtype="float16")
gpu = gpus["sm_90"]
first = choose_plan(graph, gpu, folder=folder)
save_plan(folder / "shipped", first, gpu)
wrong = errata.Erratum((first.engine,), (9, 0, 0), lambda operation: True, "it is wrong here")
errata.ERRATA = (wrong,)
again = choose_plan(graph, gpu, folder=folder)
try:
    load_plan(folder / "shipped", graph, gpu)
except ValueError as error:
    print(json.dumps([first.engine, again.engine, str(error)]))
""")
    assert again != first
    assert f"has a plan of engine {first}: it is wrong here; choose another" in refusal


def test_plans_that_all_fail_are_told_and_not_kept(deviceless: Callable[[str], Any], tmp_path: Path) -> None:
    error, reasons, kept = deviceless(f"""
from gocudnn_py.errors import CudnnError
def fail(plan):
    raise CudnnError("cudnnBackendExecute", 5000, "CUDNN_STATUS_EXECUTION_FAILED", "no luck")
graph = Graph()
x, w = graph.tensor("x", (8, 64, 28, 28), "float16"), graph.tensor("w", (64, 64, 3, 3), "float16")
graph.output(graph.convolution(x, w), dtype="float16")
folder = Path({str(tmp_path)!r})
try:
    choose_plan(graph, gpus["sm_90"], measure=fail, most=3, folder=folder)
except GraphRefused as error:
    print(json.dumps([str(error), len(error.reasons), len(list(folder.iterdir()))]))
""")
    assert error.startswith("no plan runs, of 3 tried: engine ")
    assert "no luck" in error
    assert (reasons, kept) == (3, 0)


def test_a_folder_that_cannot_be_written_costs_only_time(deviceless: Callable[[str], Any]) -> None:
    assert deviceless("""
graph = Graph()
x, w = graph.tensor("x", (8, 64, 28, 28), "float16"), graph.tensor("w", (64, 64, 3, 3), "float16")
graph.output(graph.convolution(x, w), dtype="float16")
print(json.dumps(choose_plan(graph, gpus["sm_90"], folder=Path("/proc/no/such")).engine >= 0))
""")


def test_refusals_name_the_operation_or_give_reasons(deviceless: Callable[[str], Any]) -> None:
    layout, dtype, limit = deviceless("""
def refused(graph, policy=None):
    try:
        next(plans(graph, gpus["sm_90"], policy))
    except GraphRefused as error:
        return [str(error), error.operation, list(error.reasons)]
graph = Graph()
x = graph.tensor("x", (8, 64, 28, 28), "float16")
graph.output(graph.add(x, x), "sum", dtype="float16")
layout = refused(graph)
graph = Graph(compute="int32")
x, w = graph.tensor("x", (8, 64, 28, 28), "float16"), graph.tensor("w", (64, 64, 3, 3), "float16")
graph.output(graph.convolution(x, w), dtype="float16")
dtype = refused(graph)
graph = Graph()
x, dy = graph.tensor("x", (8, 64, 28, 28), "float32"), graph.tensor("dy", (8, 64, 26, 26), "float32")
graph.output(graph.convolution_backward_filter(x, dy, (64, 64, 3, 3)))
limit = refused(graph, Policy(deterministic=True, workspace=-1))
print(json.dumps([layout, dtype, limit]))
""")
    assert "sum = x + x" in layout[0]
    assert any("LAYOUT" in reason for reason in layout[2])
    assert any("DATA_TYPE" in reason for reason in dtype[2])
    assert any("bytes of workspace" in reason for reason in limit[2])
    assert any("not deterministic" in reason for reason in limit[2])


def test_a_plan_of_another_gpu_or_version_is_refused(deviceless: Callable[[str], Any]) -> None:
    assert deviceless("""
from gocudnn_py.errors import CudnnError
graph = Graph()
x, w = graph.tensor("x", (8, 64, 28, 28), "float16"), graph.tensor("w", (64, 64, 3, 3), "float16")
graph.output(graph.convolution(x, w), dtype="float16")
plan = next(plans(graph, gpus["sm_90"]))
text = plan.json
assert Plan.from_json(graph, text, gpus["sm_90"]).engine == plan.engine
refused = []
for spoiled in (text[: len(text) // 2], text.replace(b'"cudnnVersion":9', b'"cudnnVersion":8'), b"{}"):
    try:
        Plan.from_json(graph, spoiled, gpus["sm_90"])
    except CudnnError as error:
        refused.append(error.status)
print(json.dumps(len(refused) == 3))
""")


def test_executions_check_their_addresses(deviceless: Callable[[str], Any]) -> None:
    words = deviceless("""
graph = Graph()
x, dy = graph.tensor("x", (8, 64, 28, 28), "float32"), graph.tensor("dy", (8, 64, 26, 26), "float32")
dw = graph.output(graph.convolution_backward_filter(x, dy, (64, 64, 3, 3)), "dw")
plan = next(plan for plan in plans(graph, gpus["sm_90"]) if plan.workspace)
words = []
class Memory:
    pointer, nbytes = 512, 16
small, given = Memory(), {x: 256, dy: 256, dw: 256}
others = (given, 0), (given, small), (given | {x: small}, 256), (given | {x: 0}, 256), (given, 256 + 64)
for pointers, workspace in (({x: 256}, 256), (given | {dy: 257}, 256), *others):
    try:
        plan.bind(pointers, workspace)
    except ValueError as error:
        words.append(str(error))
plan.bind({x: 256, dy: 512, dw: 1024}, 2048)
print(json.dumps(words))
""")
    assert words[0].startswith("no address for dy, dw of graph")
    assert words[1] == "dy lies at 0x101, declared is a multiple of 16"
    assert "bytes of workspace, none is given" in words[2]
    assert "bytes of workspace, 16 are given" in words[3]
    assert words[4] == "x: FLOAT[8x64x28x28] takes 1,605,632 bytes, its memory has 16"
    assert words[5] == "x: FLOAT[8x64x28x28] lies at address 0"
    assert words[6] == "the workspace at 0x140 is not at a multiple of 128 bytes"


def test_cudnn_logs_into_logging(deviceless: Callable[[str], Any]) -> None:
    logged = deviceless("""
import logging
from gocudnn_py.cudnn.log import log_to_logging
lines = []
class Handler(logging.Handler):
    def emit(self, record):
        lines.append((record.levelname, record.getMessage()))
logging.getLogger("gocudnn_py.cudnn").addHandler(Handler())
log_to_logging(logging.WARNING)
graph = Graph()
x = graph.tensor("x", (8, 64, 28, 28), "float16")
graph.output(graph.add(x, x), dtype="float16")
try:
    next(plans(graph, gpus["sm_90"]))
except GraphRefused:
    pass
print(json.dumps(lines))
""")
    assert any(level == "WARNING" and "NOT_SUPPORTED_LAYOUT" in text for level, text in logged)
