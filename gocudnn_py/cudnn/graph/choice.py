"""Choosing a plan: the kept one, else the fastest by measurement, else cuDNN's first guess."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from gocudnn_py import disk, driver
from gocudnn_py.cudnn.graph.engines import Policy
from gocudnn_py.cudnn.graph.errata import erratum
from gocudnn_py.cudnn.graph.graph import Graph
from gocudnn_py.cudnn.graph.plan import Plan, plans
from gocudnn_py.cudnn.graph.ranking import Measure, Ranking, rank_plans
from gocudnn_py.cudnn.graph.target import DeviceProperties, Target
from gocudnn_py.errors import CudnnError
from gocudnn_py.library import load

FORMAT = "1"


def choose_plan(
    graph: Graph,
    target: Target,
    policy: Policy | None = None,
    *,
    measure: Measure | None = None,
    most: int | None = 16,
    folder: Path | None = None,
) -> Plan:
    """The plan for a graph on a GPU, and keep the choice for other processes.

    With `measure`, which gives a plan's time, the first `most` plans are compared, all of them for None; a plan that
    fails to run is passed over. Without it the first is taken. A kept choice stands, of however many it was made.
    `folder` holds the kept plans, the user's cache unless given; `kept_ranking` reads how the comparison went
    (cudnnBackendFinalize, cudnnBackendGetAttribute). Raises GraphRefused when no plan is to be had, or every one that
    is measured fails.
    """
    policy = policy or Policy()
    path = _path(graph, target, policy, folder, measured=measure is not None)
    kept = _restore(path, graph, target)
    if kept is not None:
        return kept
    record: dict[str, Any] = {}
    if measure is None:
        chosen = next(plans(graph, target, policy))
    else:
        chosen, ranking = rank_plans(graph, target, policy, measure=measure, most=most)
        record["ranking"] = ranking.records
    disk.write(path, json.dumps({"plan": chosen.json.decode(), **record}).encode())
    return chosen


def kept_ranking(
    graph: Graph, target: Target, policy: Policy | None = None, *, folder: Path | None = None
) -> Ranking | None:
    """How the plans compared when a kept one was chosen by measurement, None when none is kept."""
    content = _read(_path(graph, target, policy or Policy(), folder, measured=True))
    try:
        return None if content is None else Ranking.from_records(content["ranking"])
    except (KeyError, TypeError):
        return None


def key(graph: Graph, target: Target, policy: Policy, *, measured: bool) -> str:
    """What a kept plan is good for: this graph, policy, cuDNN build, and kind of GPU (cudnnGetCudartVersion)."""
    lib = load("cudnn")
    build = lib.version, lib.cudnnGetCudartVersion()
    return disk.key(FORMAT, graph.key(), policy, measured, build, *_gpu(target))


def _path(graph: Graph, target: Target, policy: Policy, folder: Path | None, *, measured: bool) -> Path:
    return (folder or disk.cache_folder("plans")) / f"{key(graph, target, policy, measured=measured)}.plan"


def _gpu(target: Target) -> tuple[object, ...]:
    if isinstance(target, DeviceProperties):
        properties = json.loads(target.json)
        return properties["deviceName"], properties["deviceVer"], properties["driverVer"]
    gpu = driver.gpus()[target.device or 0]
    return gpu.name, gpu.capability, driver.version()


def _read(path: Path) -> dict[str, Any] | None:
    """What a file holds; None when there is none, or it is corrupt."""
    content = disk.read(path)
    try:
        found = None if content is None else json.loads(content)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _restore(path: Path, graph: Graph, target: Target) -> Plan | None:
    """The plan that a file holds; None when there is none, or it is corrupt or another's, or its engine is wrong."""
    content = _read(path)
    try:
        plan = None if content is None else Plan.from_json(graph, content["plan"].encode(), target)
    except (CudnnError, KeyError, TypeError, AttributeError):
        return None
    return None if plan is None or erratum(graph, plan.engine) else plan
