"""Engines by number, knobs, rankings, kept and shipped plans, and kernels shared, without a GPU."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gocudnn_py.cudnn.graph import Knob, KnobType, Ranking, Trial

CONVOLUTION = """
def convolution(channels=64, batch=8):
    graph = Graph()
    x = graph.tensor("x", (batch, channels, 28, 28), "float16", order=channels_last(4))
    w = graph.tensor("w", (64, channels, 3, 3), "float16", order=channels_last(4))
    graph.output(graph.convolution(x, w, padding=1), "y", dtype="float16")
    return graph
def product(rows=64, relu=True):
    graph = Graph(dynamic=True)
    c = graph.matmul(graph.tensor("a", (1, rows, 128), "float16"), graph.tensor("b", (1, 128, 256), "float16"))
    graph.output(graph.relu(c) if relu else c, "c", dtype="float16")
    return graph
gpu = gpus["sm_90"]
"""


def test_engines_have_numbers_notes_and_knobs_with_ranges(deviceless: Callable[[str], Any]) -> None:
    count, shown, ranges, agree = deviceless(
        CONVOLUTION
        + """
from gocudnn_py.errors import NotSupported
operations = convolution().build()
count, engines = engine_count(operations), {}
for number in range(count):
    try:
        engines[number] = Engine(operations, number, gpu)
    except NotSupported:
        pass
ranges = [[knob.least, knob.most, knob.step] for engine in engines.values() for knob in engine.knobs.values()]
agree = []
for candidate in candidates(operations, gpu):
    engine = engines[candidate.engine]
    values = all(value in engine.knobs[knob].values for knob, value in candidate.knobs.items() if value >= 0)
    agree.append(values and engine.notes == candidate.notes and engine.behaviour == candidate.behaviour)
layouts = [engine.layouts for engine in engines.values() if engine.layouts]
assert all(set(each) == {1, 2, 3} for each in layouts)  # the numbers of x, w and y
print(json.dumps([count, [repr(engine) for engine in engines.values()], ranges, agree]))
"""
    )
    assert len(shown) < count
    assert any("TILE_SIZE 0.." in text and "TENSOR_CORE" in text for text in shown)
    assert len(ranges) > 50
    assert all(least <= most and step >= 1 for least, most, step in ranges)
    assert len(agree) > 20
    assert all(agree)


def test_knobs_are_chosen_by_hand_and_checked(deviceless: Callable[[str], Any]) -> None:
    made, missing, outside, workspace = deviceless(
        CONVOLUTION
        + """
graph = convolution()
operations = graph.build()
guess = next(candidates(operations, gpu))
engine = Engine(operations, guess.engine, gpu)
chosen = engine.configure(guess.knobs)
plan = Plan.of(graph, chosen, gpu)
def refused(choices):
    try:
        engine.configure(choices)
    except ValueError as error:
        return str(error)
knob = next(iter(engine.knobs.values()))
again = Plan.from_json(graph, plan.json, gpu)
assert again.candidate.knobs == plan.candidate.knobs
assert again.candidate.makes_cuda_graphs == guess.makes_cuda_graphs
print(json.dumps([chosen.knobs == plan.candidate.knobs == guess.knobs, refused({KnobType.WINO_TILE: 1}),
                  refused({knob.type: knob.most + 1}), chosen.workspace == plan.workspace]))
"""
    )
    assert made
    assert workspace
    assert "has no knob WINO_TILE; it has " in missing
    assert " is not one of " in outside


def test_knobs_say_what_they_are() -> None:
    knob = Knob(KnobType.TILE_SIZE, 0, 6, 2)
    assert list(knob.values) == [0, 2, 4, 6]
    assert str(knob) == "TILE_SIZE 0..6 by 2"
    assert str(Knob(999, 1, 3, 1)) == "999 1..3"


def test_a_policy_may_lay_out_for_fewer_multiprocessors(deviceless: Callable[[str], Any]) -> None:
    assert deviceless(
        CONVOLUTION
        + """
from gocudnn_py.cudnn.graph.descriptor import Attribute, Kind, Type
from tests.gocudnn_py.graph_images import norm
def target(policy):
    config = next(plans(norm(NormMode.BATCH_NORM, True), gpu, policy)).candidate.config
    (engine,) = config.descriptors(Attribute.ENGINECFG_ENGINE, Kind.ENGINE_DESCRIPTOR, at_most=1)
    return engine.one(Attribute.ENGINE_SM_COUNT_TARGET, Type.INT32)
print(json.dumps([target(Policy()), target(Policy(sm_count=40))]))
"""
    ) == [0, 40]


def test_all_candidates_are_ranked_and_the_ranking_is_kept(deviceless: Callable[[str], Any], tmp_path: Path) -> None:
    best, engines, ranking, kept, none, table = deviceless(
        CONVOLUTION
        + f"""
from gocudnn_py.errors import CudnnError
folder, graph, policy = Path({str(tmp_path)!r}), convolution(), Policy(compile=False)
tried = []
def measure(plan):
    tried.append(plan.engine)
    if len(tried) == 2:
        raise CudnnError("cudnnBackendExecute", 5000, "CUDNN_STATUS_EXECUTION_FAILED", "no\\nluck")
    return 1.0 / len(tried)
plan, ranking = rank_plans(graph, gpu, policy, measure=measure)
before = len(tried)
tried.clear()
chosen = choose_plan(graph, gpu, policy, measure=measure, most=None, folder=folder)
assert len(tried) == before > 8
kept = kept_ranking(graph, gpu, policy, folder=folder)
none = kept_ranking(convolution(32), gpu, policy, folder=folder)
same = plan.candidate.knobs == chosen.candidate.knobs and plan.engine == tried[-1] == chosen.engine
print(json.dumps([same, len(tried), ranking.records, kept == ranking, none, str(kept)]))
"""
    )
    assert best
    assert kept
    assert none is None
    times = [trial["time"] for trial in ranking if trial["time"] is not None]
    assert times == sorted(times)
    assert len(times) == engines - 1
    refusals = [trial["refusal"] for trial in ranking if trial["time"] is None]
    assert any("no\nluck" in refusal for refusal in refusals)
    assert any("compiled at run time" in refusal for refusal in refusals)
    lines = table.splitlines()
    assert lines[0].split() == ["time", "workspace", "engine"]
    assert len(lines) == len(ranking) + 1
    assert any(line.lstrip().startswith("refused") and "no luck" in line for line in lines)


def test_a_ranking_is_a_table() -> None:
    ranking = Ranking.of(
        [Trial("engine 1", refusal="too\n large"), Trial("engine 2", 2.0, 1024), Trial("engine 3", 0.5, 0)]
    )
    assert str(ranking) == "\n".join(
        [
            "   time  workspace  engine",
            " 0.5000          0  engine 3",
            " 2.0000      1,024  engine 2",
            "refused             engine 1: too large",
        ]
    )
    assert Ranking.from_records(ranking.records) == ranking
    with pytest.raises(TypeError):
        Ranking.from_records([{"engine": 1}])


def test_plans_are_shipped_and_checked(deviceless: Callable[[str], Any], tmp_path: Path) -> None:
    same, graph, gpu, version, whole, missing = deviceless(
        CONVOLUTION
        + f"""
from gocudnn_py import disk
from gocudnn_py.errors import VersionMismatch
path = Path({str(tmp_path)!r}) / "convolution.plan"
plan = next(plans(convolution(), gpu, Policy(compile=False)))
save_plan(path, plan, gpu)
same = load_plan(path, convolution(), gpu).engine == plan.engine
def refused(kind, *arguments):
    try:
        load_plan(*arguments)
    except kind as error:
        return str(error)
graph = refused(ValueError, path, convolution(32), gpu)
other = refused(ValueError, path, convolution(), gpus["sm_80"])
content = json.loads(disk.read(path))
old = path.with_suffix(".old")
disk.write(old, json.dumps(content | {{"cudnn": [9, 1, 0]}}).encode())
version = refused(VersionMismatch, old, convolution(), gpu)
path.write_bytes(path.read_bytes()[:-5])
whole = refused(ValueError, path, convolution(), gpu)
missing = refused(FileNotFoundError, path.with_suffix(".none"), convolution(), gpu)
print(json.dumps([same, graph, other, version, whole, missing]))
"""
    )
    assert same
    assert "has a plan for another graph:\ngraph, computed in FLOAT\n  x: HALF[8x64x28x28]" in graph
    assert "HALF[8x32x28x28]" in graph
    assert gpu.endswith("has a plan for NVIDIA H200 (sm_90), not for NVIDIA A100 (sm_80)")
    assert "made with cuDNN 9.1.0; loaded is 9." in version
    assert whole.endswith("is not a whole file of a plan")
    assert missing.startswith("there is no plan in ")


def test_a_plan_that_cannot_be_written_is_told(deviceless: Callable[[str], Any]) -> None:
    assert (
        deviceless(
            CONVOLUTION
            + """
try:
    save_plan("/proc/no/such.plan", next(plans(convolution(), gpu, Policy(compile=False))), gpu)
except OSError as error:
    print(json.dumps(str(error)))
"""
        )
        == "the plan could not be written to /proc/no/such.plan"
    )


def test_plans_of_other_extents_share_kernels(deviceless: Callable[[str], Any], cudnn: Any) -> None:
    alike, before, after, quick, restored, counted = deviceless(
        CONVOLUTION
        + """
import time
from gocudnn_py.errors import NotInThisVersion
small, large = product(64), product(320)
operations = small.build()
kernels = KernelCache(operations)
alike = [same_topology(operations, large.build()), same_topology(operations, product(64, relu=False).build())]
candidate = next(candidates(operations, gpu))
before = candidate in kernels
def make(graph, kernels):
    start = time.perf_counter()
    Plan.of(graph, next(candidates(graph.build(), gpu)), gpu, kernels=kernels)
    return time.perf_counter() - start
first, second = make(small, kernels), make(large, kernels)
again = KernelCache(json=kernels.json)
try:
    counted = [kernels.entries, kernels.revision]
except NotInThisVersion as error:
    counted = None
print(json.dumps([alike, before, candidate in kernels, second < first / 10, candidate in again, counted]))
"""
    )
    assert alike == [True, False]
    assert (before, after, quick) == (False, True, True)
    if cudnn.version[:2] >= (9, 27):
        assert restored
        assert counted == [1, 1]
    else:
        assert counted is None


def test_a_kernel_cache_is_for_one_graph() -> None:
    from gocudnn_py.cudnn.graph import KernelCache

    with pytest.raises(ValueError, match="give one of them"):
        KernelCache()


def test_an_engine_that_fills_no_cuda_graph_is_refused(deviceless: Callable[[str], Any]) -> None:
    assert "cannot fill a CUDA graph: capture its run instead" in deviceless("""
from gocudnn_py.cudnn.graph.native import NativeGraph
from tests.gocudnn_py.graph_images import norm
plan = next(plans(norm(NormMode.LAYER_NORM, False, "float32"), gpus["sm_90"]))
try:
    NativeGraph(plan.bind(dict.fromkeys(plan.graph.real, 256), 256), None)
except ValueError as error:
    print(json.dumps(str(error)))
""")


def test_values_of_scalars_are_checked(deviceless: Callable[[str], Any]) -> None:
    words = deviceless("""
from tests.gocudnn_py.graph_others import scaled_sum
graph = scaled_sum("float16")
plan = next(plans(graph, gpus["sm_90"]))
(number,) = graph.scalars
pointers = dict.fromkeys(graph.real, 256)
plan.bind(pointers, values={number: -1.0})
try:
    plan.bind(pointers, values={graph.real[0]: 1.0})
except ValueError as error:
    print(json.dumps(str(error)))
""")
    assert words == "x: HALF[8x64x16x16] channels last is not passed by value"
