"""Choosing a plan: the kept one, else the fastest by measurement, else cuDNN's first guess."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import islice
from pathlib import Path

from gocudnn_py import disk, driver
from gocudnn_py.cudnn.graph.engines import DeviceProperties, Policy, Target
from gocudnn_py.cudnn.graph.graph import Graph
from gocudnn_py.cudnn.graph.plan import Plan, plans
from gocudnn_py.errors import CudnnError, GraphRefused
from gocudnn_py.library import load

Measure = Callable[[Plan], float]
FORMAT = "1"


def choose_plan(
    graph: Graph,
    target: Target,
    policy: Policy | None = None,
    *,
    measure: Measure | None = None,
    most: int = 8,
    folder: Path | None = None,
) -> Plan:
    """The plan for a graph on a GPU, and keep the choice for other processes.

    With `measure`, which gives a plan's time, the first `most` plans are compared; a plan that fails to run
    is passed over. Without it the first is taken. `folder` holds the kept plans, the user's cache unless
    given. Raises GraphRefused when no plan is to be had, or every one that is measured fails.
    """
    policy = policy or Policy()
    path = (folder or disk.cache_folder("plans")) / f"{key(graph, target, policy, measured=measure is not None)}.plan"
    kept = _restore(path, graph, target)
    if kept is not None:
        return kept
    chosen = _first_or_fastest(graph, target, policy, measure, most)
    disk.write(path, json.dumps({"plan": chosen.json.decode()}).encode())
    return chosen


def key(graph: Graph, target: Target, policy: Policy, *, measured: bool) -> str:
    """What a kept plan is good for: this graph, policy, cuDNN build, and kind of GPU."""
    lib = load("cudnn")
    build = lib.version, lib.cudnnGetCudartVersion()
    return disk.key(FORMAT, graph.key(), policy, measured, build, *_gpu(target))


def _gpu(target: Target) -> tuple[object, ...]:
    if isinstance(target, DeviceProperties):
        properties = json.loads(target.json)
        return properties["deviceName"], properties["deviceVer"], properties["driverVer"]
    gpu = driver.gpus()[target.device or 0]
    return gpu.name, gpu.capability, driver.version()


def _restore(path: Path, graph: Graph, target: Target) -> Plan | None:
    """The plan that a file holds; None when there is none, or it is corrupt or another's."""
    content = disk.read(path)
    if content is None:
        return None
    try:
        return Plan.from_json(graph, json.loads(content)["plan"].encode(), target)
    except (CudnnError, ValueError, KeyError, TypeError):
        return None


def _first_or_fastest(graph: Graph, target: Target, policy: Policy, measure: Measure | None, most: int) -> Plan:
    possible = plans(graph, target, policy)
    first = next(possible)
    if measure is None:
        return first
    timed: list[tuple[float, int, Plan]] = []
    failures: list[str] = []
    for number, plan in enumerate((first, *islice(possible, most - 1))):
        try:
            timed.append((measure(plan), number, plan))
        except CudnnError as error:
            failures.append(f"engine {plan.engine}: {error}")
    if not timed:
        raise GraphRefused(f"no plan runs, of {len(failures)} tried: {failures[0]}\nin {graph}", reasons=failures)
    return min(timed)[2]
