"""Program: a graph that is placed and lowered on a backend, run whole or by phases."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from .backends.base import Backend, Step
from .errors import GocunetsError, GraphError, ValueReleased
from .exclusive import Exclusive
from .graph import PHASES, Graph, Node, Phase, Value
from .ops.update import LossScale
from .passes.memory import Plan, Slot, plan_memory
from .state import State
from .store import StateStore

Array = npt.NDArray[np.generic]


class Program:
    """One trace made runnable. The first run goes node by node, later runs are the recorded whole.

    `keep` pins values that are to be read after a run; `share=False` gives every value memory of its
    own. Serves one thread at a time.
    """

    def __init__(
        self,
        graph: Graph,
        backend: Backend,
        store: StateStore,
        *,
        keep: Collection[Value] = (),
        gradients: Mapping[State, Value] | None = None,
        share: bool = True,
    ) -> None:
        self.graph, self.backend, self.store = graph, backend, store
        placed = {value: store.gradients[state] for state, value in (gradients or {}).items()}
        self.plan: Plan = plan_memory(graph, keep=keep, placed=placed, share=share)
        self._arena = backend.allocate(self.plan.arena_bytes)
        self._tensors = {value: self._place(value, slot) for value, slot in self.plan.slots.items()}
        self._steps = {phase: list(self._lower(phase)) for phase in PHASES}
        self._last = [phase for phase in PHASES if self._steps[phase] or phase == "forward"][-1]
        self._final = self._copies()
        self._recorded: dict[Phase | None, Step] = {}
        self._values = {value.name: value for value in self.plan.slots}
        self._forgives = any(isinstance(node.op, LossScale) for node in graph.nodes)
        self._exclusive = Exclusive("program")

    def feed(self, **arrays: Array) -> None:
        """Fill inputs by name. Raises ValueError for an unknown name or a wrong shape."""
        with self._exclusive:
            for name, array in arrays.items():
                value = self.graph.inputs.get(name)
                if value is None:
                    raise ValueError(f"no input {name!r}; there are {', '.join(self.graph.inputs)}")
                if array.shape != value.shape:
                    raise ValueError(f"input {name} has shape {value.shape}, not {array.shape}")
                self.backend.upload(array, self._tensors[value])

    def run(self, phase: Phase | None = None, *, assign: bool = True, check: bool = False) -> None:
        """Run all phases, or one. Without `assign`, states that are not updated in place keep their content.

        With `check`, every node is waited for and looked at: the first that fails or makes an infinite
        or NaN value is named. Gradients that a loss scale multiplies may overflow.
        """
        with self._exclusive:
            if check:
                for each in self._phases(phase):
                    for node, step in self._steps[each]:
                        self._run_checked(node, step)
            elif phase in self._recorded:
                self._recorded[phase]()
            else:
                self._run_first(phase)
            if assign and phase in (None, self._last):
                self.backend.run(self._final)

    def read(self, value: str | Value) -> Array:
        """The content of an output or a kept value after a run.

        Raises ValueReleased for a value whose memory others share.
        """
        value = self.value(value)
        if value in self.plan.shared:
            raise ValueReleased(
                f"%{value.name} shares its memory with later values; compile with keep=[{value.name!r}], "
                "or look at all values of a batch with Network.inspect"
            )
        with self._exclusive:
            return self.backend.download(self._tensors[value])

    def read_all(self) -> dict[str, Array]:
        """The content of every value by name; needs a program that shares no memory."""
        return {name: self.read(value) for name, value in self._values.items()}

    def value(self, name: str | Value) -> Value:
        """The value with this name, or the output of this name. Raises KeyError that lists the names."""
        if isinstance(name, Value):
            return name
        value = self.graph.outputs.get(name) or self._values.get(name)
        if value is None:
            raise KeyError(f"no value {name!r}; there are {', '.join(self._values)}")
        return value

    def steps(self) -> Iterator[tuple[Phase, Node, Step]]:
        """The lowered nodes in the order of a run."""
        for phase in PHASES:
            for node, step in self._steps[phase]:
                yield phase, node, step

    def _place(self, value: Value, slot: Slot) -> Any:
        if isinstance(slot.arena, State):
            return self.store.tensor(slot.arena)
        buffer = self._arena if slot.arena == "values" else self.store.gradient_arena(slot.arena)
        return self.backend.view(buffer, slot.offset, value.type)

    def _lower(self, phase: Phase) -> Iterator[tuple[Node, Step]]:
        for node in self.graph.nodes:
            if node.phase == phase and node not in self.plan.skipped:
                inputs = [self._tensors[value] for value in node.inputs]
                yield node, self.backend.lower(node, inputs, [self._tensors[y] for y in node.outputs])

    def _copies(self) -> list[Step]:
        pairs = [(self._tensors[value], self.store.tensor(state)) for state, value in self.plan.copies]
        return [self.backend.copy(source, target) for source, target in pairs]

    def _phases(self, phase: Phase | None) -> tuple[Phase, ...]:
        return PHASES if phase is None else (phase,)

    def _run_first(self, phase: Phase | None) -> None:
        steps = [step for each in self._phases(phase) for _, step in self._steps[each]]
        self.backend.run(steps)
        self._recorded[phase] = self.backend.record(steps)

    def _run_checked(self, node: Node, step: Step) -> None:
        try:
            self.backend.run([step])
            self.backend.synchronize()
        except GocunetsError:
            raise
        except Exception as error:
            raise GraphError(f"{_where(node)} failed: {error}") from error
        if self._forgives and node.phase == "backward":
            return  # by a loss scale gradients may overflow: the step then makes no update and halves it
        for value in node.outputs:
            if value.dtype.is_float and not np.isfinite(self.backend.download(self._tensors[value])).all():
                raise FloatingPointError(f"{_where(node)} made infinite or NaN values in {value!r}")


def _where(node: Node) -> str:
    return f"layer {node.scope} ({node.op.name})" if node.scope else node.op.name
