"""Plans made ahead of time: kept in a file on one machine, for a GPU of another, and checked when they are loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from gocudnn_py import disk
from gocudnn_py.cudnn.graph.errata import erratum
from gocudnn_py.cudnn.graph.graph import Graph
from gocudnn_py.cudnn.graph.plan import Plan
from gocudnn_py.cudnn.graph.target import DeviceProperties, Target
from gocudnn_py.errors import VersionMismatch
from gocudnn_py.library import load

FORMAT = "gocudnn_py plan 1"


def save_plan(path: Path | str, plan: Plan, target: Target) -> None:
    """Write a plan and what it is good for to a file: its graph, cuDNN's version, the GPU it was made for.

    (cudnnBackendGetAttribute.) Raises OSError.
    """
    content = {
        "format": FORMAT,
        "graph": plan.graph.key(),
        "text": str(plan.graph),
        "cudnn": list(load("cudnn").version),
        "gpu": _described(target),
        "plan": plan.json.decode(),
    }
    encoded = json.dumps(content).encode()
    disk.write(Path(path), encoded)
    if disk.read(Path(path)) != encoded:  # a cache may be lost without a word, this may not
        raise OSError(f"the plan could not be written to {path}")


def load_plan(path: Path | str, graph: Graph, target: Target) -> Plan:
    """The plan of a file, for the same graph, cuDNN and kind of GPU (cudnnBackendFinalize).

    Raises ValueError that says what is other about the graph or the GPU, or that the engine is known to be wrong,
    VersionMismatch for another cuDNN, FileNotFoundError, CudnnError.
    """
    content = _content(Path(path))
    if content["graph"] != graph.key():
        raise ValueError(f"{path} has a plan for another graph:\n{content['text']}\nwanted is one for\n{graph}")
    version = load("cudnn").version
    if tuple(content["cudnn"]) != version:
        made, here = (".".join(map(str, each)) for each in (content["cudnn"], version))
        raise VersionMismatch(f"{path} has a plan made with cuDNN {made}; loaded is {here}, which must be the same")
    gpu = _described(target)
    if content["gpu"]["architecture"] != gpu["architecture"]:
        raise ValueError(f"{path} has a plan for {_said(content['gpu'])}, not for {_said(gpu)}")
    plan = Plan.from_json(graph, content["plan"].encode(), target)
    wrong = erratum(graph, plan.engine)
    if wrong:
        raise ValueError(f"{path} has a plan of engine {plan.engine}: {wrong}; choose another")
    return plan


def _content(path: Path) -> dict[str, Any]:
    if not path.exists():
        raise FileNotFoundError(f"there is no plan in {path}")
    stored = disk.read(path)
    content = json.loads(stored) if stored is not None else None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ValueError(f"{path} is not a whole file of a plan")
    return content


def _described(target: Target) -> dict[str, Any]:
    """The name and the architecture of the GPU, 900 for sm_90."""
    properties = target if isinstance(target, DeviceProperties) else DeviceProperties.of(target)
    found = json.loads(properties.json)
    return {"name": found["deviceName"], "architecture": found["deviceVer"]}


def _said(gpu: dict[str, Any]) -> str:
    return f"{gpu['name']} (sm_{gpu['architecture'] // 10})"
