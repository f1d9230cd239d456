"""One engine of a graph by its number: what it is like, its knobs with their ranges, and settings made by hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from gocudnn_py._abi.cudnn import BackendAttributeName as Attribute
from gocudnn_py._abi.cudnn import BackendAttributeType as Type
from gocudnn_py._abi.cudnn import BackendBehaviorNote as Behaviour
from gocudnn_py._abi.cudnn import BackendDescriptorType as Kind
from gocudnn_py._abi.cudnn import BackendKnobType as KnobType
from gocudnn_py._abi.cudnn import BackendLayoutType as Layout
from gocudnn_py._abi.cudnn import BackendNumericalNote as Note
from gocudnn_py.cudnn.graph.descriptor import BackendDescriptor, descriptor
from gocudnn_py.cudnn.graph.target import Target, aimed
from gocudnn_py.errors import NotSupported

MOST_TENSORS = 32  # that an engine says something of: cuDNN does not tell how many before


@dataclass(frozen=True)
class Knob:
    """Something that an engine lets one choose: a whole number from `least` to `most` in steps of `step`."""

    type: KnobType | int
    least: int
    most: int
    step: int

    @property
    def values(self) -> range:
        """All its choices."""
        return range(self.least, self.most + 1, max(1, self.step))

    def __str__(self) -> str:
        return f"{name_of(self.type)} {self.least}..{self.most}" + (f" by {self.step}" if self.step > 1 else "")


@dataclass(frozen=True, eq=False)
class Candidate:
    """An engine with its settings, as the heuristics propose it or `Engine.configure` makes it."""

    config: BackendDescriptor
    engine: int
    notes: tuple[Note | int, ...]
    behaviour: tuple[Behaviour | int, ...]
    knobs: Mapping[KnobType | int, int]

    @staticmethod
    def of(config: BackendDescriptor) -> Candidate:
        """What a configuration holds (cudnnBackendGetAttribute)."""
        (engine,) = config.descriptors(Attribute.ENGINECFG_ENGINE, Kind.ENGINE_DESCRIPTOR, at_most=1)
        most = engine.count(Attribute.ENGINE_KNOB_INFO, Type.BACKEND_DESCRIPTOR)
        choices = config.descriptors(Attribute.ENGINECFG_KNOB_CHOICES, Kind.KNOB_CHOICE_DESCRIPTOR, most)
        types = members(KnobType, [each.one(Attribute.KNOB_CHOICE_KNOB_TYPE, Type.KNOB_TYPE) for each in choices])
        values = [int(each.one(Attribute.KNOB_CHOICE_KNOB_VALUE, Type.INT64)) for each in choices]
        return Candidate(
            config,
            int(engine.one(Attribute.ENGINE_GLOBAL_INDEX, Type.INT64)),
            members(Note, engine.get(Attribute.ENGINE_NUMERICAL_NOTE, Type.NUMERICAL_NOTE)),
            members(Behaviour, engine.get(Attribute.ENGINE_BEHAVIOR_NOTE, Type.BEHAVIOR_NOTE)),
            dict(zip(types, values, strict=True)),
        )

    @property
    def compiled_at_run_time(self) -> bool:
        """Whether making its plan compiles a kernel, which takes up to seconds."""
        return Behaviour.RUNTIME_COMPILATION in self.behaviour

    @property
    def makes_cuda_graphs(self) -> bool:
        """Whether a CUDA graph can be filled with its plan's kernels without a capture: see `NativeGraph`."""
        return Behaviour.SUPPORTS_CUDA_GRAPH_NATIVE_API in self.behaviour

    @property
    def workspace(self) -> int:
        """The bytes of scratch memory that its plan will need, before there is one (cudnnBackendGetAttribute)."""
        return int(self.config.one(Attribute.ENGINECFG_WORKSPACE_SIZE, Type.INT64))

    @property
    def shared_memory(self) -> int | None:
        """The bytes of shared memory of a block, None for an engine that does not say (cudnnBackendGetAttribute)."""
        try:
            return int(self.config.one(Attribute.ENGINECFG_SHARED_MEMORY_USED, Type.INT32))
        except NotSupported:
            return None

    def __str__(self) -> str:
        knobs = ", ".join(f"{name_of(knob)}={value}" for knob, value in self.knobs.items())
        return f"engine {self.engine}" + (f" ({knobs})" if knobs else "")


class Engine:
    """The engine of a built graph that has a number; there are `engine_count` of them (cudnnBackendFinalize).

    `sm_count` is how many multiprocessors it may use, all unless given; `shared_memory` the most bytes of it that a
    block may use (from cuDNN 9.28), and without `clusters` its blocks do not work together. Raises NotSupported where
    it does not do this graph or is not for this GPU.
    """

    def __init__(
        self,
        operations: BackendDescriptor,
        number: int,
        target: Target,
        *,
        sm_count: int | None = None,
        shared_memory: int | None = None,
        clusters: bool = True,
    ) -> None:
        made = aimed(BackendDescriptor(Kind.ENGINE_DESCRIPTOR), Attribute.ENGINE_DEVICEPROP, target)
        made.set(Attribute.ENGINE_OPERATION_GRAPH, Type.BACKEND_DESCRIPTOR, operations)
        made.set(Attribute.ENGINE_GLOBAL_INDEX, Type.INT64, number)
        if sm_count is not None:
            made.set(Attribute.ENGINE_SM_COUNT_TARGET, Type.INT32, sm_count)
        if shared_memory is not None:
            made.set(Attribute.ENGINE_SHARED_MEMORY_LIMIT, Type.INT32, shared_memory)
        if not clusters:
            made.set(Attribute.ENGINE_DISABLE_CLUSTER_COOPERATIVE, Type.BOOLEAN, True)
        self.number, self.descriptor = number, made.finalize()

    @cached_property
    def notes(self) -> tuple[Note | int, ...]:
        """What its numbers are like (cudnnBackendGetAttribute)."""
        return members(Note, self.descriptor.get(Attribute.ENGINE_NUMERICAL_NOTE, Type.NUMERICAL_NOTE))

    @cached_property
    def behaviour(self) -> tuple[Behaviour | int, ...]:
        """What it needs and can do (cudnnBackendGetAttribute)."""
        return members(Behaviour, self.descriptor.get(Attribute.ENGINE_BEHAVIOR_NOTE, Type.BEHAVIOR_NOTE))

    @cached_property
    def knobs(self) -> dict[KnobType | int, Knob]:
        """What can be chosen, by the type of the knob (cudnnBackendGetAttribute)."""
        found = self.descriptor.descriptors(Attribute.ENGINE_KNOB_INFO, Kind.KNOB_INFO_DESCRIPTOR)
        return {knob.type: knob for knob in map(_knob, found)}

    @cached_property
    def layouts(self) -> dict[int, tuple[Layout | int, ...]]:
        """The layouts that it likes best, by the number of the tensor; few engines say (cudnnBackendGetAttribute)."""
        found = self.descriptor.descriptors(Attribute.ENGINE_LAYOUT_INFO, Kind.LAYOUT_INFO_DESCRIPTOR, MOST_TENSORS)
        return {
            int(each.one(Attribute.LAYOUT_INFO_TENSOR_UID, Type.INT64)): members(
                Layout, each.get(Attribute.LAYOUT_INFO_TYPES, Type.LAYOUT_TYPE)
            )
            for each in found
        }

    def configure(self, choices: Mapping[KnobType | int, int] | None = None) -> Candidate:
        """The engine with these knobs chosen, the others as it thinks best (cudnnBackendFinalize).

        Raises ValueError for a knob that it has not or a choice out of its range, NotSupported for choices that do not
        go together.
        """
        chosen = dict(choices or {})
        for type, value in chosen.items():
            if type not in self.knobs:
                has = ", ".join(map(str, self.knobs.values())) or "none"
                raise ValueError(f"engine {self.number} has no knob {name_of(type)}; it has {has}")
            if value not in self.knobs[type].values:
                raise ValueError(f"engine {self.number}: {name_of(type)}={value} is not one of {self.knobs[type]}")
        config = BackendDescriptor(Kind.ENGINECFG_DESCRIPTOR)
        config.set(Attribute.ENGINECFG_ENGINE, Type.BACKEND_DESCRIPTOR, self.descriptor)
        if chosen:
            made = [_choice(type, value) for type, value in chosen.items()]
            config.set(Attribute.ENGINECFG_KNOB_CHOICES, Type.BACKEND_DESCRIPTOR, *made)
        return Candidate(config.finalize(), self.number, self.notes, self.behaviour, chosen)

    def __repr__(self) -> str:
        said = [", ".join(map(str, self.knobs.values())), ", ".join(map(name_of, (*self.notes, *self.behaviour)))]
        return f"Engine({'; '.join([str(self.number), *filter(None, said)])})"


def engine_count(operations: BackendDescriptor) -> int:
    """How many engines cuDNN numbers for a built graph; not each does it (cudnnBackendGetAttribute)."""
    return int(operations.one(Attribute.OPERATIONGRAPH_ENGINE_GLOBAL_COUNT, Type.INT64))


def members(enumeration: Any, values: list[int]) -> tuple[Any, ...]:
    """Members of an enumeration, or the numbers where a newer library has newer ones."""
    known = set(map(int, enumeration))
    return tuple(enumeration(value) if value in known else value for value in values)


def name_of(member: int) -> str:
    """An enumeration member's name, or the number of one that is not known."""
    return str(getattr(member, "name", member))


def _knob(info: BackendDescriptor) -> Knob:
    (type,) = members(KnobType, [info.one(Attribute.KNOB_INFO_TYPE, Type.KNOB_TYPE)])
    numbers = (Attribute.KNOB_INFO_MINIMUM_VALUE, Attribute.KNOB_INFO_MAXIMUM_VALUE, Attribute.KNOB_INFO_STRIDE)
    return Knob(type, *(int(info.one(number, Type.INT64)) for number in numbers))


def _choice(type: int, value: int) -> BackendDescriptor:
    return descriptor(
        Kind.KNOB_CHOICE_DESCRIPTOR,
        [
            (Attribute.KNOB_CHOICE_KNOB_TYPE, Type.KNOB_TYPE, (type,)),
            (Attribute.KNOB_CHOICE_KNOB_VALUE, Type.INT64, (value,)),
        ],
    )
