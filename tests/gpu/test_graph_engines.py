"""Engines chosen by hand and by autotuning, kept, shipped and shared on the card, and CUDA graphs that cuDNN fills."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from gocudnn_py.cudnn import Handle
from gocudnn_py.cudnn.graph import (
    DeviceProperties,
    Engine,
    Graph,
    KernelCache,
    NumericalNote,
    Plan,
    Policy,
    candidates,
    channels_last,
    choose_plan,
    engine_count,
    kept_ranking,
    load_plan,
    plans,
    rank_plans,
    save_plan,
)
from gocudnn_py.cudnn.graph.native import NativeGraph
from gocudnn_py.cudnn.graph.timing import Stopwatch
from gocudnn_py.errors import NotInThisVersion, NotSupported
from gocudnn_py.library import load
from gocunets import convnetgo
from tests.gocudnn_py.graph_others import scaled_sum
from tests.gpu.running_graphs import COVERS, Array, Memory, U, allowed, bound, numbers

if TYPE_CHECKING:
    from gocunets.backends.cudnn import CudaBackend

pytestmark = COVERS
ROOT = Path(__file__).parents[2]
READY = Policy(compile=False)
OTHER_SUMS = {note for note in NumericalNote if note.name.startswith(("WINOGRAD", "FFT"))}
"""Engines with these add up other numbers than the products, of which some are larger."""


def convolution(channels: int = 64) -> Graph:
    graph = Graph()
    x = graph.tensor("x", (8, channels, 14, 14), "float16", order=channels_last(4))
    w = graph.tensor("w", (64, channels, 3, 3), "float16", order=channels_last(4))
    graph.output(graph.convolution(x, w, padding=1), "y", dtype="float16")
    return graph


class Convolved:
    """The memory of a convolution and what it has to make."""

    def __init__(self, backend: CudaBackend) -> None:
        self.graph = convolution()
        self.memory = Memory(backend, self.graph)
        self.y, arrays = self.memory.named("y"), []
        for seed, name in enumerate("xw"):
            arrays.append(numbers(self.memory.named(name).dims, "float16", seed).astype(np.float64))
            self.memory.put(self.memory.named(name), arrays[-1])
        self.right, size = (convnetgo.convolution_forward(*each, padding=1) for each in (arrays, map(np.abs, arrays)))
        self.near = allowed(64 * 9) * size + U["float16"] * np.abs(self.right)

    def __call__(self, plan: Plan, handle: Handle) -> Array:
        """What a plan makes, found to be right."""
        self.memory.buffers[self.y].fill(0xFF)
        bound(plan, self.memory)(handle)
        found = self.memory.get(self.y)
        assert (np.abs(found - self.right) <= self.near).all(), plan.candidate
        return found


def test_every_setting_of_every_engine_is_right(backend: CudaBackend, handle: Handle) -> None:
    convolved, seen = Convolved(backend), []
    for plan in plans(convolved.graph, handle, READY):
        if not OTHER_SUMS.intersection(plan.candidate.notes):
            convolved(plan, handle)
            seen.append(str(plan.candidate))
    assert len(set(seen)) == len(seen) > 8


def test_an_engine_by_its_number_is_that_of_the_heuristics(backend: CudaBackend, handle: Handle) -> None:
    convolved = Convolved(backend)
    operations = convolved.graph.build(handle)
    guess = next(each for each in candidates(operations, handle) if not each.compiled_at_run_time)
    engine = Engine(operations, guess.engine, handle)
    assert engine.notes == guess.notes
    made = [Plan.of(convolved.graph, each, handle) for each in (guess, engine.configure(guess.knobs))]
    assert made[0].workspace == made[1].workspace == guess.workspace
    assert (convolved(made[0], handle) == convolved(made[1], handle)).all()


def test_every_engine_with_the_settings_that_it_likes_best_is_right(backend: CudaBackend, handle: Handle) -> None:
    convolved, tried = Convolved(backend), 0
    operations = convolved.graph.build(handle)
    for number in range(engine_count(operations)):
        try:
            candidate = Engine(operations, number, handle).configure()
        except NotSupported:
            continue
        if READY.objection(candidate, float32=False) is None and not OTHER_SUMS.intersection(candidate.notes):
            convolved(Plan.of(convolved.graph, candidate, handle), handle)
            tried += 1
    assert tried > 1


PROGRAM = """
import json, sys
from pathlib import Path
from gocudnn_py.cudnn import Handle
from gocudnn_py.cudnn.graph import Policy, choose_plan
from tests.gpu.test_graph_engines import READY, convolution
def measure(plan):
    raise SystemExit("a plan was measured again")
plan = choose_plan(convolution(), Handle(), READY, measure=measure, folder=Path(sys.argv[1]))
print(json.dumps([plan.engine, str(plan.candidate), plan.workspace]))
"""


def test_the_fastest_of_all_is_known_to_the_next_process(backend: CudaBackend, handle: Handle, tmp_path: Path) -> None:
    convolved, times = Convolved(backend), []
    watch = Stopwatch(handle, backend.stream, rounds=3)

    def measure(plan: Plan) -> float:
        times.append(watch(plan))
        return times[-1]

    chosen = choose_plan(convolved.graph, handle, READY, measure=measure, most=None, folder=tmp_path)
    watch.close()
    ranking = kept_ranking(convolved.graph, handle, READY, folder=tmp_path)
    assert ranking is not None
    assert sorted(times) == [trial.time for trial in ranking.trials if trial.time is not None]
    assert min(times) > 0
    assert max(times) < 100
    assert ranking.trials[0].candidate == str(chosen.candidate)
    assert len(str(ranking).splitlines()) == len(ranking.trials) + 1
    convolved(chosen, handle)
    command = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    again = json.loads(done.stdout.splitlines()[-1])
    assert again == [chosen.engine, str(chosen.candidate), chosen.workspace]


def test_a_ranking_says_why_the_others_were_refused(backend: CudaBackend, handle: Handle) -> None:
    graph = convolution()
    watch = Stopwatch(handle, backend.stream, rounds=1, repeats=1)
    best, ranking = rank_plans(graph, handle, Policy(compile=False, workspace=0), measure=watch)
    watch.close()
    assert best.workspace == 0
    refused = [trial.refusal for trial in ranking.trials if trial.time is None]
    assert any("compiled at run time" in refusal for refusal in refused)


def test_a_plan_is_saved_and_loaded(backend: CudaBackend, handle: Handle, tmp_path: Path) -> None:
    convolved, path = Convolved(backend), tmp_path / "convolution.plan"
    plan = next(plans(convolved.graph, handle, READY))
    save_plan(path, plan, handle)
    for target in (handle, DeviceProperties.of(handle)):
        loaded = load_plan(path, convolution(), target)
        assert str(loaded.candidate) == str(plan.candidate)
    again = load_plan(path, convolved.graph, handle)
    assert (convolved(again, handle) == convolved(plan, handle)).all()
    with pytest.raises(ValueError, match="has a plan for another graph"):
        load_plan(path, convolution(32), handle)


def test_a_device_is_described_by_its_number_too(backend: CudaBackend, handle: Handle) -> None:
    by_number, by_handle = DeviceProperties.of_device(backend.device.ordinal), DeviceProperties.of(handle)
    one, other = json.loads(by_number.json), json.loads(by_handle.json)
    for name in ("deviceName", "deviceVer", "multiProcessorCount"):
        assert one[name] == other[name]
    convolved = Convolved(backend)
    made = next(plans(convolved.graph, by_number, READY))
    convolved(Plan.from_json(convolved.graph, made.json, handle), handle)


def product(rows: int) -> Graph:
    graph = Graph(dynamic=True)
    c = graph.matmul(graph.tensor("a", (1, rows, 128), "float16"), graph.tensor("b", (1, 128, 256), "float16"))
    graph.output(graph.relu(c), "c", dtype="float16")
    return graph


def test_products_of_other_extents_share_a_kernel(backend: CudaBackend, handle: Handle) -> None:
    kernels, cached = KernelCache(product(64).build(handle)), []
    for rows in (64, 320, 48):
        graph = product(rows)
        memory = Memory(backend, graph)
        arrays = [
            numbers(memory.named(name).dims, "float16", seed).astype(np.float64) for seed, name in enumerate("ab")
        ]
        for name, array in zip("ab", arrays, strict=True):
            memory.put(memory.named(name), array)
        candidate = next(candidates(graph.build(handle), handle))
        cached.append(candidate in kernels)
        bound(Plan.of(graph, candidate, handle, kernels=kernels), memory)(handle)
        right, size = arrays[0] @ arrays[1], np.abs(arrays[0]) @ np.abs(arrays[1])
        off = np.abs(memory.get(memory.named("c")) - right.clip(0))
        assert (off <= allowed(128) * size + U["float16"] * np.abs(right)).all()
    assert not cached[0]


@pytest.mark.covers("cudnnGetExecutionPlanWorkspaceSize")
def test_scratch_memory_for_these_extents(backend: CudaBackend, handle: Handle) -> None:
    convolved = Convolved(backend)
    plan = next(plans(convolved.graph, handle, READY))
    run = bound(plan, convolved.memory)
    run(handle)
    assert 0 <= run.workspace(handle) <= plan.workspace


def test_an_older_library_says_that_it_cannot_tell_the_scratch_memory(backend: CudaBackend, handle: Handle) -> None:
    if load("cudnn").version >= (9, 23):
        pytest.skip("this cuDNN can")
    convolved = Convolved(backend)
    run = bound(next(plans(convolved.graph, handle, READY)), convolved.memory)
    run(handle)
    with pytest.raises(NotInThisVersion, match="cudnnGetExecutionPlanWorkspaceSize"):
        run.workspace(handle)


# --- CUDA graphs that cuDNN fills ------------------------------------------------------------------------------------


def summed(backend: CudaBackend, graph: Graph, seed: int) -> tuple[Memory, Array, Array]:
    """Memory of 3.5 x + b, and x and b."""
    memory = Memory(backend, graph)
    x, b = (numbers(memory.named(name).dims, "float32", seed + i).astype(np.float64) for i, name in enumerate("xb"))
    memory.put(memory.named("x"), x)
    memory.put(memory.named("b"), b)
    return memory, x, b


def check_sum(memory: Memory, x: Array, b: Array, factor: float = 3.5) -> None:
    off = np.abs(memory.get(memory.named("y")) - (factor * x + b))
    assert (off <= 2 * U["float32"] * (abs(factor) * np.abs(x) + np.abs(b))).all()


@pytest.mark.covers("cudnnBackendPopulateCudaGraph", "cudnnBackendUpdateCudaGraph")
def test_a_graph_is_filled_updated_and_run_without_a_capture(backend: CudaBackend, handle: Handle) -> None:
    graph = scaled_sum()
    plan = next(each for each in plans(graph, handle) if each.candidate.makes_cuda_graphs)
    (number,) = graph.scalars
    first, second = (summed(backend, graph, seed) for seed in (1, 5))
    run = bound(plan, first[0])
    run(handle)
    check_sum(*first)
    with NativeGraph(run, handle) as native:
        for seed in (11, 21):  # what lies at the addresses is read at every launch
            x, b = (numbers(each.shape, "float32", seed).astype(np.float64) for each in first[1:])
            first[0].put(first[0].named("x"), x)
            first[0].put(first[0].named("b"), b)
            native.launch(backend.stream)
            check_sum(first[0], x, b)
        before = first[0].get(first[0].named("y"))
        native.update(bound(plan, second[0]), handle)
        native.launch(backend.stream)
        check_sum(*second)
        assert (first[0].get(first[0].named("y")) == before).all()
        native.update(bound(plan, second[0], values={number: -2.0}), handle)
        native.launch(backend.stream)
        check_sum(*second, factor=-2.0)
        other = next(plans(graph, handle))
        with pytest.raises(ValueError, match="of the plan that it was made of"):
            native.update(bound(other, second[0]), handle)
