"""Which engines cuDNN offers for a graph, in its order of preference, and which of them a policy lets through."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from gocudnn_py._abi.cudnn import BackendAttributeName as Attribute
from gocudnn_py._abi.cudnn import BackendAttributeType as Type
from gocudnn_py._abi.cudnn import BackendBehaviorNote as Behaviour
from gocudnn_py._abi.cudnn import BackendDescriptorType as Kind
from gocudnn_py._abi.cudnn import BackendHeurMode as Heuristic
from gocudnn_py._abi.cudnn import BackendNumericalNote as Note
from gocudnn_py.cudnn.graph.descriptor import BackendDescriptor
from gocudnn_py.cudnn.handle import Handle
from gocudnn_py.cudnn.log import collected
from gocudnn_py.errors import CudnnError

HEURISTICS = (Heuristic.A, Heuristic.FALLBACK)


@dataclass(frozen=True)
class DeviceProperties:
    """A GPU as cuDNN describes it in JSON: plans can be made for it where there is none.

    `of` reads those of a handle's GPU.
    """

    json: bytes

    @staticmethod
    def of(handle: Handle) -> DeviceProperties:
        """The properties of the GPU that a handle is for."""
        made = BackendDescriptor(Kind.DEVICEPROP_DESCRIPTOR)
        made.set(Attribute.DEVICEPROP_HANDLE, Type.HANDLE, handle.handle).finalize()
        return DeviceProperties(made.text(Attribute.DEVICEPROP_JSON_REPRESENTATION))

    def descriptor(self) -> BackendDescriptor:
        """The finalized descriptor."""
        made = BackendDescriptor(Kind.DEVICEPROP_DESCRIPTOR)
        return made.set_text(Attribute.DEVICEPROP_JSON_REPRESENTATION, self.json).finalize()


Target = Handle | DeviceProperties


@dataclass(frozen=True)
class Policy:
    """Which engines may run.

    `tf32` lets float32 products be rounded to TF32; `deterministic` wants the same bits on every run;
    `reduced_sums` lets half-precision sums be kept in half precision; `compile` allows engines whose kernels
    are compiled when the plan is made, which takes up to seconds; `workspace` is the most bytes.
    """

    tf32: bool = False
    deterministic: bool = False
    reduced_sums: bool = False
    compile: bool = True
    workspace: int | None = None

    def objection(self, candidate: Candidate, float32: bool) -> str | None:
        """Why an engine may not run, None when it may; `float32` says that the graph's data are."""
        notes = set(candidate.notes)
        if float32 and not self.tf32 and notes & {Note.TENSOR_CORE, Note.DOWN_CONVERT_INPUTS}:
            return "it rounds float32 to TF32 or less"
        if self.deterministic and Note.NONDETERMINISTIC in notes:
            return "it is not deterministic"
        if not self.reduced_sums and Note.REDUCED_PRECISION_REDUCTION in notes:
            return "it adds up in half precision"
        if not self.compile and candidate.compiled_at_run_time:
            return "its kernel is compiled at run time"
        return None


@dataclass(frozen=True, eq=False)
class Candidate:
    """An engine with its settings, as the heuristics propose it."""

    config: BackendDescriptor
    engine: int
    notes: tuple[Note | int, ...]
    behaviour: tuple[Behaviour | int, ...]
    knobs: dict[int, int] = field(default_factory=dict)

    @property
    def compiled_at_run_time(self) -> bool:
        """Whether making its plan compiles a kernel, which takes up to seconds."""
        return Behaviour.RUNTIME_COMPILATION in self.behaviour

    def __str__(self) -> str:
        knobs = ", ".join(f"{knob}={value}" for knob, value in self.knobs.items())
        return f"engine {self.engine}" + (f" ({knobs})" if knobs else "")


def candidates(
    operations: BackendDescriptor, target: Target, heuristics: Sequence[Heuristic] = HEURISTICS
) -> Iterator[Candidate]:
    """Engines with settings for a built graph, best guess first, each once; asks cuDNN as they are wanted."""
    seen: set[tuple[object, ...]] = set()
    for mode in heuristics:
        for config in _proposals(operations, target, mode):
            candidate = _describe(config)
            identity = candidate.engine, *sorted(candidate.knobs.items())
            if identity not in seen:
                seen.add(identity)
                yield candidate


def refusals(operations: BackendDescriptor, target: Target) -> list[str]:
    """Why cuDNN proposes no engine for a built graph: the first reason that each engine gives, in its words."""
    with collected() as lines:
        for mode in HEURISTICS:
            _proposals(operations, target, mode)
    reasons, engine = [], ""
    for line in lines:
        if line.startswith("engineConfig:"):
            found = re.search(r'"engineId":(\d+)', line)
            engine = f"engine {found[1]}" if found else "an engine"
        elif engine and "; Reason: " in line:
            status, reason = line.split("; Reason: ", 1)
            reasons.append(f"{engine}: {status.rpartition('CUDNN_STATUS_')[2]}: {reason}")
            engine = ""
    return list(dict.fromkeys(reasons))


def _proposals(operations: BackendDescriptor, target: Target, mode: Heuristic) -> list[BackendDescriptor]:
    heuristic = BackendDescriptor(Kind.ENGINEHEUR_DESCRIPTOR)
    heuristic.set(Attribute.ENGINEHEUR_OPERATION_GRAPH, Type.BACKEND_DESCRIPTOR, operations)
    heuristic.set(Attribute.ENGINEHEUR_MODE, Type.HEUR_MODE, mode)
    if isinstance(target, DeviceProperties):
        heuristic.set(Attribute.ENGINEHEUR_DEVICEPROP, Type.BACKEND_DESCRIPTOR, target.descriptor())
    try:
        heuristic.finalize()
        return heuristic.descriptors(Attribute.ENGINEHEUR_RESULTS, Kind.ENGINECFG_DESCRIPTOR)
    except CudnnError as error:
        if error.status // 1000 in (3, 4):  # this heuristic knows nothing, another may
            return []
        raise


def _describe(config: BackendDescriptor) -> Candidate:
    (engine,) = config.descriptors(Attribute.ENGINECFG_ENGINE, Kind.ENGINE_DESCRIPTOR, at_most=1)
    choices = config.descriptors(Attribute.ENGINECFG_KNOB_CHOICES, Kind.KNOB_CHOICE_DESCRIPTOR)
    knobs = {
        int(choice.one(Attribute.KNOB_CHOICE_KNOB_TYPE, Type.KNOB_TYPE)): int(
            choice.one(Attribute.KNOB_CHOICE_KNOB_VALUE, Type.INT64)
        )
        for choice in choices
    }
    return Candidate(
        config,
        int(engine.one(Attribute.ENGINE_GLOBAL_INDEX, Type.INT64)),
        tuple(_known(Note, value) for value in engine.get(Attribute.ENGINE_NUMERICAL_NOTE, Type.NUMERICAL_NOTE)),
        tuple(_known(Behaviour, value) for value in engine.get(Attribute.ENGINE_BEHAVIOR_NOTE, Type.BEHAVIOR_NOTE)),
        knobs,
    )


def _known(enumeration: Any, value: int) -> Any:
    """A member of an enumeration, or the number where a newer library has newer ones."""
    try:
        return enumeration(value)
    except ValueError:
        return value
