"""Plans: an engine made ready for a graph, its workspace, its JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from gocudnn_py._abi.cudnn import BackendAttributeName as Attribute
from gocudnn_py._abi.cudnn import BackendAttributeType as Type
from gocudnn_py._abi.cudnn import BackendDescriptorType as Kind
from gocudnn_py._abi.cudnn import CudaGraphRetention
from gocudnn_py.cudnn.graph.descriptor import BackendDescriptor
from gocudnn_py.cudnn.graph.engine import Candidate
from gocudnn_py.cudnn.graph.engines import Policy, candidates, refusals
from gocudnn_py.cudnn.graph.errata import erratum
from gocudnn_py.cudnn.graph.execution import Execution
from gocudnn_py.cudnn.graph.graph import Graph
from gocudnn_py.cudnn.graph.kernel_cache import KernelCache
from gocudnn_py.cudnn.graph.target import Target, aimed
from gocudnn_py.cudnn.graph.tensor import Tensor
from gocudnn_py.cudnn.handle import Handle
from gocudnn_py.errors import CudnnError, GraphRefused


class Plan:
    """One engine ready to run a graph. Immutable; threads may share it, each with a handle of its own.

    `workspace` is the bytes of scratch memory that a run needs, `engine` the engine's number.
    """

    def __init__(self, graph: Graph, descriptor: BackendDescriptor, engine: int) -> None:
        self.graph, self.descriptor, self.engine = graph, descriptor, engine
        self.workspace = int(descriptor.one(Attribute.EXECUTION_PLAN_WORKSPACE_SIZE, Type.INT64))

    @staticmethod
    def of(
        graph: Graph,
        candidate: Candidate,
        target: Target,
        *,
        kernels: KernelCache | None = None,
        retention: CudaGraphRetention | None = None,
    ) -> Plan:
        """The plan of a candidate; compiles its kernel where the engine does that (cudnnBackendFinalize).

        `kernels` has those of other extents of a dynamic graph. `retention` says who keeps them for CUDA graphs: each
        graph, as is usual, or the caller (from cuDNN 9.28). Raises CudnnError.
        """
        made = _for_target(target)
        made.set(Attribute.EXECUTION_PLAN_ENGINE_CONFIG, Type.BACKEND_DESCRIPTOR, candidate.config)
        if kernels is not None:
            made.set(Attribute.EXECUTION_PLAN_KERNEL_CACHE, Type.BACKEND_DESCRIPTOR, kernels.descriptor)
        if retention is not None:
            made.set(Attribute.EXECUTION_PLAN_CUDA_GRAPH_RETENTION, Type.CUDA_GRAPH_RETENTION, retention)
        return Plan(graph, made.finalize(), candidate.engine)

    @staticmethod
    def from_json(graph: Graph, content: bytes, target: Target) -> Plan:
        """The plan that `json` gave, made for the same graph, cuDNN and GPU (cudnnBackendFinalize).

        Raises CudnnError for another cuDNN's or GPU's. That the graph is the same is not seen here;
        `load_plan` checks it.
        """
        made = _for_target(target)
        made.set_text(Attribute.EXECUTION_PLAN_JSON_REPRESENTATION, content).finalize()
        return Plan(graph, made, _engine_of(content))

    @property
    def json(self) -> bytes:
        """The plan with its kernels, to be kept or shipped (cudnnBackendGetAttribute)."""
        return self.descriptor.text(Attribute.EXECUTION_PLAN_JSON_REPRESENTATION)

    @cached_property
    def candidate(self) -> Candidate:
        """Its engine with the settings and notes, also of a plan that came from JSON (cudnnBackendGetAttribute)."""
        attribute, kind = Attribute.EXECUTION_PLAN_ENGINE_CONFIG, Kind.ENGINECFG_DESCRIPTOR
        (config,) = self.descriptor.descriptors(attribute, kind, at_most=1)
        return Candidate.of(config)

    def bind(
        self, pointers: Mapping[Tensor, Any], workspace: Any = 0, *, values: Mapping[Tensor, float] | None = None
    ) -> Execution:
        """A run on these addresses (or buffers), one for each tensor of the graph that has memory.

        `values` are those of scalars that are to differ from the graph's. Raises ValueError for a tensor without an
        address, an address that is not aligned as declared, and a workspace that is too small or does not begin at a
        multiple of 128 bytes.
        """
        return Execution(self, pointers, workspace, values=values)

    def __repr__(self) -> str:
        return f"Plan(engine {self.engine}, workspace {self.workspace:,} bytes)\n{self.graph}"


@dataclass(frozen=True)
class Attempt:
    """What came of a candidate: a plan, or why there is none."""

    candidate: Candidate
    plan: Plan | None
    objection: str = ""


def attempts(graph: Graph, target: Target, policy: Policy | None = None) -> Iterator[Attempt]:
    """Every candidate for a graph, best guess first, with its plan or why there is none (cudnnBackendFinalize).

    Engines that are known to make wrong numbers of such a graph have none.
    """
    policy = policy or Policy()
    operations = graph.build(target if isinstance(target, Handle) else None)
    float32 = graph.multiplies_float32
    for candidate in candidates(operations, target, sm_count=policy.sm_count):
        objection = erratum(graph, candidate.engine) or policy.objection(candidate, float32)
        plan = None
        if objection is None:
            try:
                plan = Plan.of(graph, candidate, target)
            except CudnnError as error:
                objection = error.library_message or error.name
        if plan is not None and policy.workspace is not None and plan.workspace > policy.workspace:
            objection = f"it needs {plan.workspace:,} bytes of workspace, {policy.workspace:,} are allowed"
            plan = None
        yield Attempt(candidate, plan, objection or "")


def plans(graph: Graph, target: Target, policy: Policy | None = None) -> Iterator[Plan]:
    """Every plan that a policy lets through, cuDNN's best guess first, made as it is asked for (cudnnBackendFinalize).

    An engine whose plan cannot be made is passed over: the heuristics list some that fail to compile.
    Raises GraphRefused, with the reasons, when there is not one.
    """
    policy = policy or Policy()
    reasons: list[str] = []
    found = False
    for attempt in attempts(graph, target, policy):
        if attempt.plan is not None:
            found = True
            yield attempt.plan
        else:
            reasons.append(f"{attempt.candidate}: {attempt.objection}")
    if not found:
        raise refused(graph, target, policy, reasons)


def refused(graph: Graph, target: Target, policy: Policy, reasons: list[str]) -> GraphRefused:
    """The error that says why there is no plan, with cuDNN's own reasons when it proposed no engine."""
    if not reasons:
        operations = graph.build(target if isinstance(target, Handle) else None)
        reasons = refusals(operations, target) or ["cuDNN proposes none"]
    listed = "".join(f"\n  {reason}" for reason in reasons)
    return GraphRefused(f"no engine for {graph}\nunder {policy}:{listed}", reasons=reasons)


def _for_target(target: Target) -> BackendDescriptor:
    made = aimed(BackendDescriptor(Kind.EXECUTION_PLAN_DESCRIPTOR), Attribute.EXECUTION_PLAN_DEVICEPROP, target)
    return made.set(Attribute.EXECUTION_PLAN_HANDLE, Type.HANDLE, target.handle) if isinstance(target, Handle) else made


def _engine_of(content: bytes) -> int:
    """The engine's number in a plan's JSON, -1 where it is not found."""
    try:
        engine = json.loads(content)["engine"]
    except (ValueError, KeyError, TypeError):
        return -1
    return int(engine.get("engineId", -1)) if isinstance(engine, dict) else -1
