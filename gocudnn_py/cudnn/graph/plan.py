"""Plans: an engine made ready for a graph, its workspace, its execution, its JSON."""

from __future__ import annotations

import ctypes
import json
from collections.abc import Iterator, Mapping
from typing import Any

from gocudnn_py._abi.cudnn import BackendAttributeName as Attribute
from gocudnn_py._abi.cudnn import BackendAttributeType as Type
from gocudnn_py._abi.cudnn import BackendDescriptorType as Kind
from gocudnn_py.cudnn.graph.descriptor import BackendDescriptor
from gocudnn_py.cudnn.graph.engines import Candidate, DeviceProperties, Policy, Target, candidates, refusals
from gocudnn_py.cudnn.graph.graph import Graph
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
    def of(graph: Graph, candidate: Candidate, target: Target) -> Plan:
        """The plan of a candidate; compiles its kernel where the engine does that. Raises CudnnError."""
        made = _for_target(target)
        made.set(Attribute.EXECUTION_PLAN_ENGINE_CONFIG, Type.BACKEND_DESCRIPTOR, candidate.config)
        return Plan(graph, made.finalize(), candidate.engine)

    @staticmethod
    def from_json(graph: Graph, content: bytes, target: Target) -> Plan:
        """The plan that `json` gave, made for the same graph, cuDNN and GPU. Raises CudnnError for another's."""
        made = _for_target(target)
        made.set_text(Attribute.EXECUTION_PLAN_JSON_REPRESENTATION, content).finalize()
        return Plan(graph, made, _engine_of(content))

    @property
    def json(self) -> bytes:
        """The plan with its kernels, to be kept or shipped."""
        return self.descriptor.text(Attribute.EXECUTION_PLAN_JSON_REPRESENTATION)

    def bind(self, pointers: Mapping[Tensor, Any], workspace: Any = 0) -> Execution:
        """A run on these addresses (or buffers), one for each tensor of the graph that has memory.

        Raises ValueError for a tensor without one, or an address that is not aligned as declared.
        """
        return Execution(self, pointers, workspace)

    def __repr__(self) -> str:
        return f"Plan(engine {self.engine}, workspace {self.workspace:,} bytes)\n{self.graph}"


class Execution:
    """A plan bound to addresses: call it with a handle, as often as you like; keeps the buffers alive."""

    def __init__(self, plan: Plan, pointers: Mapping[Tensor, Any], workspace: Any = 0) -> None:
        self.plan, self._held = plan, (dict(pointers), workspace)
        tensors = plan.graph.real
        missing = [tensor.name for tensor in tensors if tensor not in pointers]
        if missing:
            raise ValueError(f"no address for {', '.join(missing)} of {plan.graph}")
        addresses = [_address(pointers[tensor]) for tensor in tensors]
        for tensor, address in zip(tensors, addresses, strict=True):
            if address % tensor.alignment:
                raise ValueError(f"{tensor.name} lies at {address:#x}, declared is a multiple of {tensor.alignment}")
        scratch = _address(workspace)
        if plan.workspace and not scratch:
            raise ValueError(f"{plan!r} needs {plan.workspace:,} bytes of workspace, none is given")
        pack = BackendDescriptor(Kind.VARIANT_PACK_DESCRIPTOR)
        pack.set(Attribute.VARIANT_PACK_UNIQUE_IDS, Type.INT64, *(tensor.uid for tensor in tensors))
        pack.set(Attribute.VARIANT_PACK_DATA_POINTERS, Type.VOID_PTR, *addresses)
        pack.set(Attribute.VARIANT_PACK_WORKSPACE, Type.VOID_PTR, scratch)
        self._pack = pack.finalize()
        self._execute = pack.lib.cudnnBackendExecute
        self._arguments = ctypes.c_void_p(plan.descriptor.handle), ctypes.c_void_p(self._pack.handle)

    def __call__(self, handle: Handle) -> None:
        """Run on the handle's stream (cudnnBackendExecute)."""
        self._execute(handle.handle, *self._arguments)


def plans(graph: Graph, target: Target, policy: Policy | None = None) -> Iterator[Plan]:
    """Every plan that a policy lets through, cuDNN's best guess first, made as it is asked for.

    An engine whose plan cannot be made is passed over: the heuristics list some that fail to compile.
    Raises GraphRefused, with the reasons, when there is not one.
    """
    policy = policy or Policy()
    operations = graph.build(target if isinstance(target, Handle) else None)
    float32 = graph.multiplies_float32
    reasons: list[str] = []
    found = False
    for candidate in candidates(operations, target):
        objection = policy.objection(candidate, float32)
        if objection is None:
            try:
                plan = Plan.of(graph, candidate, target)
            except CudnnError as error:
                objection = error.library_message or error.name
            else:
                if policy.workspace is None or plan.workspace <= policy.workspace:
                    found = True
                    yield plan
                    continue
                objection = f"it needs {plan.workspace:,} bytes of workspace, {policy.workspace:,} are allowed"
        reasons.append(f"{candidate}: {objection}")
    if not found:
        reasons = reasons or refusals(operations, target) or ["cuDNN proposes none"]
        listed = "".join(f"\n  {reason}" for reason in reasons)
        raise GraphRefused(f"no engine for {graph}\nunder {policy}:{listed}", reasons=reasons)


def _for_target(target: Target) -> BackendDescriptor:
    made = BackendDescriptor(Kind.EXECUTION_PLAN_DESCRIPTOR)
    if isinstance(target, DeviceProperties):
        return made.set(Attribute.EXECUTION_PLAN_DEVICEPROP, Type.BACKEND_DESCRIPTOR, target.descriptor())
    return made.set(Attribute.EXECUTION_PLAN_HANDLE, Type.HANDLE, target.handle)


def _engine_of(content: bytes) -> int:
    """The engine's number in a plan's JSON, -1 where it is not found."""
    try:
        engine = json.loads(content)["engine"]
    except (ValueError, KeyError, TypeError):
        return -1
    return int(engine.get("engineId", -1)) if isinstance(engine, dict) else -1


def _address(place: Any) -> int:
    return int(getattr(place, "pointer", place))
