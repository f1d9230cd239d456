"""Where every value lives: offsets in one arena, shared by values that are never alive together."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from ..graph import Graph, Node, Value
from ..state import State

ALIGNMENT = 256


@dataclass(frozen=True)
class Slot:
    """`offset` bytes into an arena: "values", "gradients", or the storage of a state."""

    arena: str | State
    offset: int = 0


@dataclass
class Plan:
    """The place of every value, and what follows from it.

    `copies` are the assignments whose value is not computed in place: made at the end of a run.
    `skipped` are the nodes whose output is their input seen otherwise. `shared` are the values whose
    bytes another value overwrites before the run ends.
    """

    slots: dict[Value, Slot] = field(default_factory=dict)
    arena_bytes: int = 0
    copies: list[tuple[State, Value]] = field(default_factory=list)
    skipped: set[Node] = field(default_factory=set)
    shared: set[Value] = field(default_factory=set)

    @property
    def buffers(self) -> int:
        """How many values have a place in the arena of values."""
        return sum(slot.arena == "values" for slot in self.slots.values())


def plan_memory(
    graph: Graph,
    *,
    keep: Collection[Value] = (),
    placed: Mapping[Value, Slot] | None = None,
    share: bool = True,
) -> Plan:
    """Place every value of `graph`.

    `keep` and the outputs stay intact to the end; `placed` values have a place already (gradients in
    their arena). With `share` off every value has bytes of its own and nothing is done in place:
    slower and larger, bit for bit the same.
    """
    return _Planner(graph, set(keep) | set(graph.outputs.values()), placed or {}, share).plan()


def align(nbytes: int) -> int:
    """The next multiple of the slot alignment."""
    return -(-nbytes // ALIGNMENT) * ALIGNMENT


class _Planner:
    """Values that share bytes by being views or written in place form one block, which gets one place."""

    def __init__(self, graph: Graph, keep: set[Value], placed: Mapping[Value, Slot], share: bool) -> None:
        self.graph, self.keep, self.placed, self.share = graph, keep, placed, share
        self.last_use = _last_uses(graph, keep)
        self.state_of = {value: state for state, value in graph.reads.items()}
        self.block: dict[Value, Value] = {value: value for value in self._sources()}
        self.overwritten: set[Value] = set()
        self.result = Plan()

    def plan(self) -> Plan:
        for position, node in enumerate(self.graph.nodes):
            self._join_blocks(position, node)
        self._place_blocks()
        self._find_copies()
        self._find_shared()
        return self.result

    def _sources(self) -> list[Value]:
        return [*self.graph.inputs.values(), *self.graph.reads.values()]

    def _join_blocks(self, position: int, node: Node) -> None:
        for y in node.outputs:
            self.block[y] = y
        types = [value.type for value in node.inputs]
        if node.op.views(types, [y.type for y in node.outputs]) and self._free_to_view(node):
            self.block[node.outputs[0]] = self.block[node.inputs[0]]
            self.result.skipped.add(node)
            return
        for out, source in node.op.aliases().items() if self.share else ():
            x, y = node.inputs[source], node.outputs[out]
            if self._may_overwrite(x, y, position, node):
                self.overwritten.update(self._members(x, node))
                self.block[y] = self.block[x]

    def _free_to_view(self, node: Node) -> bool:
        x, y = node.inputs[0], node.outputs[0]
        return self.share and y not in self.placed and not isinstance(self._home(self.block[x]), State)

    def _may_overwrite(self, x: Value, y: Value, position: int, node: Node) -> bool:
        block = self.block[x]
        dead = all(self.last_use.get(v, -1) <= position and v not in self.keep for v in self._members(x, node))
        once = sum(self.block[value] is block for value in node.inputs) == 1
        if not dead or not once or y in self.placed or x.type != y.type or block in self.graph.inputs.values():
            return False
        home = self._home(block)
        return not isinstance(home, State) or self.graph.assigned.get(home) is y or self._leads_to(home, y)

    def _members(self, x: Value, node: Node) -> list[Value]:
        """The values in x's block before `node`."""
        return [v for v, root in self.block.items() if root is self.block[x] and v not in node.outputs]

    def _leads_to(self, state: State, y: Value) -> bool:
        """Whether the state's final value is made from y in place, as the step state's is."""
        if y in self.keep or y in self.graph.assigned.values():
            return False  # the state gets its final value at the end of the run, where y is still wanted
        final = self.graph.assigned.get(state)
        while final is not None and final.node is not None:
            if final is y:
                return True
            source = final.node.op.aliases().get(final.node.outputs.index(final))
            final = None if source is None else final.node.inputs[source]
        return False

    def _home(self, block: Value) -> State | None:
        return self.state_of.get(block)

    def _place_blocks(self) -> None:
        intervals: dict[Value, list[int]] = {}
        born = dict.fromkeys(self._sources(), -1)
        born |= {y: i for i, node in enumerate(self.graph.nodes) for y in node.outputs}
        for value, block in self.block.items():
            start, stop = born[value], max(self.last_use.get(value, -1), born[value])
            first, last = intervals.get(block, [start, stop])
            intervals[block] = [min(first, start), max(last, stop)]
        places = self._pack({b: (i[0], i[1]) for b, i in intervals.items() if self._in_arena(b)})
        for value, block in self.block.items():
            state = self._home(block)
            fixed = self.placed.get(block) or (Slot(state) if state is not None else None)
            self.result.slots[value] = fixed or Slot("values", places[block])

    def _in_arena(self, block: Value) -> bool:
        return block not in self.placed and self._home(block) is None

    def _pack(self, intervals: Mapping[Value, tuple[int, int]]) -> dict[Value, int]:
        """First fit by offset, the largest blocks first."""
        end = len(self.graph.nodes)
        done: list[tuple[int, int, int, int]] = []  # offset, past the end, first, last
        places = {}
        for block, (first, last) in sorted(intervals.items(), key=lambda item: -item[0].type.nbytes):
            if not self.share or block in self.graph.inputs.values():
                first, last = -1, end
            size, offset = align(max(1, block.type.nbytes)), 0
            for start, stop, born, dead in sorted(done):
                if born <= last and first <= dead and offset + size > start:
                    offset = max(offset, stop)
            done.append((offset, offset + size, first, last))
            places[block] = offset
            self.result.arena_bytes = max(self.result.arena_bytes, offset + size)
        return places

    def _find_copies(self) -> None:
        for state, value in self.graph.assigned.items():
            if self.result.slots[value] != Slot(state):
                self.result.copies.append((state, value))

    def _find_shared(self) -> None:
        if not self.share:
            return
        alive = self.keep | set(self.graph.inputs.values())
        blocks_kept = {self.block[value] for value in alive}
        self.result.shared |= self.overwritten
        for value, block in self.block.items():
            if self._in_arena(block) and block not in blocks_kept:
                self.result.shared.add(value)


def _last_uses(graph: Graph, keep: Collection[Value]) -> dict[Value, int]:
    """The position of the last node that reads each value; the end for what must survive the run."""
    last: dict[Value, int] = {}
    end = len(graph.nodes)
    for i, node in enumerate(graph.nodes):
        for x in node.inputs:
            last[x] = i
    last.update(dict.fromkeys((*keep, *graph.assigned.values()), end))
    return last
