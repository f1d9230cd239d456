"""From modules to graphs: the inference trace, the evaluation trace, the whole training step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .data import Normalization
from .dtypes import DType
from .graph import Graph, Mode, Value
from .losses import Loss
from .ops.base import one
from .ops.data import GatherBatch
from .ops.elementwise import copy
from .ops.loss import masked_mean
from .ops.update import AdvanceStep, FlagNonFinite, LossScale, UnlessFlagged, Unscale, Update
from .optim import Optimizer
from .passes.gradient import gradient
from .passes.precision import DtypePolicy, apply_policy
from .state import State

Forward = Callable[[Value], Value]


@dataclass(frozen=True)
class Gather:
    """Batches that a program takes itself from a data set on the device, in the epoch's order."""

    batch: int
    images: State
    targets: State
    normalization: Normalization | None

    def add_to(self, graph: Graph, dtype: DType) -> tuple[Value, Value]:
        """The nodes that make `x` and `target`."""
        scale, mean = (self.normalization.scale, self.normalization.mean) if self.normalization else (1.0, 0.0)
        op = GatherBatch(self.batch, scale, mean, dtype)
        x, target = graph.add(op, graph.step, graph.read(self.images), graph.read(self.targets))
        return x, target


@dataclass(frozen=True)
class ParameterGroup:
    """Parameters that one optimizer updates in one launch, and their moments: `moments[i][j]` is the
    i-th moment of the j-th parameter.
    """

    optimizer: Optimizer
    parameters: tuple[State, ...]
    moments: tuple[tuple[State, ...], ...]


def trace_module(forward: Forward, shape: Sequence[int], policy: DtypePolicy, mode: Mode, step_state: State) -> Graph:
    """The module alone, before any casts: input `x` (N, ...), output `y`."""
    graph = Graph(mode, step_state)
    x = graph.input("x", shape, policy.parameter)
    graph.output("y", forward(x))
    return graph


def trace_loss(
    forward: Forward,
    shape: Sequence[int],
    policy: DtypePolicy,
    mode: Mode,
    step_state: State,
    loss: Loss,
    gather: Gather | None = None,
) -> Graph:
    """The module and its loss: inputs `x` and `target`; outputs `y`, `loss` (mean over the valid samples),
    `prediction` in inference, and `correct` where the loss counts right answers.

    With `gather` there are no inputs: the program takes its batches itself.
    """
    if gather is None:
        graph = trace_module(forward, shape, policy, mode, step_state)
        y = graph.outputs["y"]
        target_type = loss.target_type(y.type)
        target = graph.input("target", target_type.shape, target_type.dtype)
    else:
        graph = Graph(mode, step_state)
        x, target = gather.add_to(graph, policy.parameter)
        y = forward(x)
        graph.output("y", y)
    with graph.scoped("loss"):
        graph.output("loss", masked_mean(loss.losses(y, target)))
        correct = loss.correct(y, target)
        if correct is not None:
            graph.output("correct", correct)
        if mode == "inference":
            graph.output("prediction", loss.prediction(y))
    return apply_policy(graph, policy)


def add_training(graph: Graph, groups: Sequence[ParameterGroup], scaled: bool = False) -> dict[State, Value]:
    """Append the backward pass and the update; returns each parameter's gradient. `scaled`: by a loss scale.

    Outputs `gradient/<name>` are added for every parameter.
    """
    graph.phase = "backward"
    parameters = [parameter for group in groups for parameter in group.parameters]
    seed = one(graph.add(LossScale(), graph.step)) if scaled else None
    raw = gradient(graph, graph.outputs["loss"], [graph.read(parameter) for parameter in parameters], seed)
    if scaled:
        raw = [one(graph.add(Unscale(), graph.step, value)) for value in raw]
    gradients = {p: _own(graph, value, raw[:i]) for i, (p, value) in enumerate(zip(parameters, raw, strict=True))}
    for parameter, value in gradients.items():
        graph.output(f"gradient/{parameter.name}", value)
    graph.phase = "update"
    _add_update(graph, groups, gradients, scaled)
    return gradients


def _own(graph: Graph, value: Value, others: Sequence[Value]) -> Value:
    """A gradient that is computed into a place of its own: copied where it is something else as well."""
    made_backward = value.node is not None and value.node.phase == "backward"
    return value if made_backward and value not in others else copy(value)


def _add_update(graph: Graph, groups: Sequence[ParameterGroup], gradients: dict[State, Value], scaled: bool) -> None:
    loss = graph.outputs["loss"]
    flagged = one(graph.add(FlagNonFinite(scaled), graph.step, loss, *gradients.values()))
    if graph.assigned:  # running statistics
        old = [graph.read(state) for state in graph.assigned]
        guarded = graph.add(UnlessFlagged(len(old)), flagged, *old, *graph.assigned.values())
        graph.assigned = dict(zip(graph.assigned, guarded, strict=True))
    for number, group in enumerate(groups):
        count = len(group.parameters)
        if not count:
            continue
        dws = [gradients[parameter] for parameter in group.parameters]
        states = [*group.parameters, *(state for moment in group.moments for state in moment)]
        reads = [graph.read(state) for state in states]
        op = Update(group.optimizer, number, count)
        results = graph.add(op, flagged, *reads[:count], *dws, *reads[count:])
        for state, result in zip(states, results, strict=True):
            graph.assign(state, result)
    counted = [graph.outputs["correct"]] if "correct" in graph.outputs else []
    graph.assign(graph.step_state, one(graph.add(AdvanceStep(scaled), flagged, loss, *counted)))
