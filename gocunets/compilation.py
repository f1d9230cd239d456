"""Compilation: a module on a device, with its states, parameter groups and programs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from .backends import Backend
from .data import Normalization
from .dtypes import DType
from .errors import OutOfDeviceMemory
from .graph import Graph, Mode
from .losses import Loss
from .nn.module import Module
from .optim import Optimizer
from .passes.layout import Layout
from .passes.precision import DtypePolicy, apply_policy
from .program import Program
from .schedules import Schedule
from .state import MAX_GROUPS, STEP_STATE, State
from .store import StateStore
from .tracing import Gather, ParameterGroup, add_training, trace_loss, trace_module
from .types import TensorType

Array = npt.NDArray[Any]
MAX_PROGRAMS = 8
KINDS: dict[str, Mode] = {
    "module": "inference",
    "evaluation": "inference",
    "training": "training",
    "resident": "training",
    "inspection": "training",
}
"""Programs of a network: the module alone; with its loss; the whole step on fed batches; on batches that it gathers
itself from a data set on the device; the step with nothing shared."""
HOST_FIELDS = ("batch_size", "learning_rate", "epoch")
"""Fields of the step state that no program writes."""
STEP_FIELDS = {name: (field[0], field[1]) for name, field in (STEP_STATE.fields or {}).items()}


class Compilation:
    """What `Network.compile` decided, and the programs that follow from it, one a kind and batch size."""

    def __init__(
        self,
        module: Module,
        input_shape: tuple[int, ...],
        step_state: State,
        *,
        loss: Loss,
        optimizer: Optimizer | Mapping[str, Optimizer],
        backend: Backend,
        policy: DtypePolicy,
        layout: Layout = "auto",
        keep: Sequence[str] = (),
        share: bool = True,
    ) -> None:
        self.module, self.input_shape, self.step_state = module, input_shape, step_state
        self.loss, self.backend, self.policy, self.layout = loss, backend, policy, layout
        self.optimizers = {"*": optimizer} if isinstance(optimizer, Optimizer) else dict(optimizer)
        self.keep, self.share = tuple(keep), share
        self.output_type = self.trace("inference", 1).outputs["y"].type
        self._reads = self.trace("training", 1).reads
        self.groups = _make_groups(self.optimizers, self._states("parameter"))
        self.store = self._allocate()
        self._programs: dict[tuple[str, int], Program] = {}
        self._written: dict[str, bytes] = {}
        self._resident: _Resident | None = None
        if keep:
            self._build("training", 1)  # raises for a name that does not exist

    @property
    def counts_correct(self) -> bool:
        """Whether the loss knows right answers from wrong ones."""
        return type(self.loss).correct is not Loss.correct

    @property
    def answers(self) -> int:
        """How many answers the loss wants of a sample."""
        return self.loss.answers(self.output_type)

    def trace(self, mode: Mode, batch: int) -> Graph:
        """The module alone."""
        return trace_module(self.module, (batch, *self.input_shape), self.policy, mode, self.step_state)

    def program(self, kind: str, batch: int) -> Program:
        """A program of `KINDS`, built on first use; the least recently used make room."""
        key = kind, batch
        program = self._programs.pop(key, None)
        while len(self._programs) >= MAX_PROGRAMS:
            del self._programs[next(iter(self._programs))]
        if program is None:
            try:
                program = self._build(kind, batch)
            except OutOfDeviceMemory as error:
                raise OutOfDeviceMemory(error.asked, error.free, batch) from error
        self._programs[key] = program
        return program

    def last_program(self, kind: str) -> Program | None:
        """The program of this kind that was used last."""
        return next((p for (k, _), p in reversed(self._programs.items()) if k == kind), None)

    def feed(self, program: Program, x: Array, target: Array, valid: int, step: int | None = None) -> None:
        """Give a program a batch of which the first `valid` samples count, and this step's learning rates."""
        self.prepare_step(valid, step)
        program.feed(x=x, target=target)

    def prepare_step(self, valid: int, step: int | None = None) -> None:
        """Write what the next step takes from the host: valid samples and learning rates after `step` updates."""
        rates = np.zeros(MAX_GROUPS)
        for number, group in enumerate(self.groups):
            changing = isinstance(group.optimizer.rate, Schedule)
            if changing and step is None:
                step = int(self.step_record["step"])
            rates[number] = group.optimizer.rate_at(step or 0)
        self.write_step(batch_size=valid, learning_rate=rates)

    def make_resident(self, images: Array, target: Array, normalization: Normalization | None) -> None:
        """Put a data set on the device, for the programs of kind "resident"."""
        if self._resident is not None:
            if self._resident.images is images and self._resident.target is target:
                return
            for state in self._resident.states:
                self.store.remove(state)
            self._programs = {key: p for key, p in self._programs.items() if key[0] != "resident"}
        states = [_data_state("images", images), _data_state("targets", target)]
        for state in states:
            self.store.add([state])
        self._resident = _Resident(images, target, normalization, states)

    @property
    def step_record(self) -> np.void:
        """The step state as a record (see `gocunets.state.STEP_STATE`)."""
        return self.store.read(self.step_state).view(STEP_STATE)[0]  # type: ignore[no-any-return]

    def clear_flag(self) -> None:
        """Make the step state as if no step had been bad; the loss scale stays what it is."""
        self.write_step(nonfinite=0, first_bad_step=-1, steady=0)

    def write_step(self, **fields: Any) -> None:
        """Set fields of the step state; those that only the host writes are not written again unchanged."""
        for name, value in fields.items():
            kind, offset = STEP_FIELDS[name]
            content = np.asarray(value, kind.base).tobytes()
            if name not in HOST_FIELDS or self._written.get(name) != content:
                self.store.write_bytes(self.step_state, offset, content)
            self._written[name] = content

    def _states(self, role: str) -> list[State]:
        ordered = [parameter.state for _, parameter in self.module.parameters()]
        return [state for state in ordered if state in self._reads and state is not None and state.role == role]

    def _allocate(self) -> StateStore:
        store = StateStore(self.backend)
        store.add([self.step_state])
        for number, group in enumerate(self.groups):
            store.add(group.parameters)
            store.add_gradients(f"gradients{number}", group.parameters)
            for moment in group.moments:
                store.add(moment)
        store.add(self._states("statistic"))
        return store

    def _build(self, kind: str, batch: int) -> Program:
        mode, shape = KINDS[kind], (batch, *self.input_shape)
        if kind == "module":
            return self._program(apply_policy(self.trace(mode, batch), self.policy))
        gather = self._gather(batch) if kind == "resident" else None
        graph = trace_loss(self.module, shape, self.policy, mode, self.step_state, self.loss, gather)
        if mode == "inference":
            return self._program(graph)
        gradients = add_training(graph, self.groups, self.policy.scaled)
        share = self.share and kind in ("training", "resident")
        return self._program(graph, keep=self._kept(graph), gradients=gradients, share=share)

    def _program(self, graph: Graph, **settings: Any) -> Program:
        pinned = settings.get("gradients", {}).values()
        graph = self.backend.lay_out(graph, self.layout, pinned)
        if settings.get("share", True):
            graph = self.backend.fuse(graph, settings.get("keep", ()))
        return Program(graph, self.backend, self.store, **settings)

    def _gather(self, batch: int) -> Gather:
        resident = self._resident
        assert resident is not None
        return Gather(batch, resident.states[0], resident.states[1], resident.normalization)

    def _kept(self, graph: Graph) -> list[Any]:
        values = {value.name: value for node in graph.nodes for value in node.outputs}
        missing = [name for name in self.keep if name not in values]
        if missing:
            raise ValueError(f"keep: no value {', '.join(missing)}; there are {', '.join(values)}")
        return [values[name] for name in self.keep]


def _make_groups(rules: Mapping[str, Optimizer], parameters: Sequence[State]) -> list[ParameterGroup]:
    if len(rules) > MAX_GROUPS:
        raise ValueError(f"{len(rules)} optimizers; at most {MAX_GROUPS} groups are possible")
    members: dict[str, list[State]] = {pattern: [] for pattern in rules}
    for state in parameters:
        pattern = next((pattern for pattern in rules if fnmatchcase(state.name, pattern)), None)
        if pattern is None:
            raise ValueError(f"no optimizer matches parameter {state.name}; patterns are {', '.join(rules)}")
        members[pattern].append(state)
    return [_make_group(rules[pattern], states) for pattern, states in members.items()]


def _make_group(optimizer: Optimizer, parameters: Sequence[State]) -> ParameterGroup:
    moments = tuple(tuple(_moment(name, state) for state in parameters) for name in optimizer.moments)
    return ParameterGroup(optimizer, tuple(parameters), moments)


def _moment(name: str, parameter: State) -> State:
    zeros: Callable[[], Array] = partial(np.zeros, parameter.type.shape, parameter.type.dtype.numpy())
    return State(f"{name}/{parameter.name}", parameter.type, "moment", zeros)


@dataclass(frozen=True)
class _Resident:
    """A data set on the device, and the arrays it was made from."""

    images: Array
    target: Array
    normalization: Normalization | None
    states: Sequence[State]


def _data_state(name: str, array: Array) -> State:
    return State(name, TensorType(array.shape, DType.of(array.dtype)), "data", lambda: array)
