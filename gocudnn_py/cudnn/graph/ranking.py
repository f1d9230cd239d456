"""Autotuning: every candidate of a graph tried and timed, and a table of how each did or why it was refused."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from gocudnn_py.cudnn.graph.engines import Policy
from gocudnn_py.cudnn.graph.graph import Graph
from gocudnn_py.cudnn.graph.plan import Plan, attempts, refused
from gocudnn_py.cudnn.graph.target import Target
from gocudnn_py.errors import CudnnError, GraphRefused, OutOfMemory

Measure = Callable[[Plan], float]


@dataclass(frozen=True)
class Trial:
    """How one candidate did: its time, in the unit of the measure, and workspace in bytes, or why it was refused."""

    candidate: str
    time: float | None = None
    workspace: int | None = None
    refusal: str = ""

    @property
    def cells(self) -> tuple[str, str, str]:
        """Time, workspace, candidate with the refusal, as a table has them."""
        time = "refused" if self.time is None else f"{self.time:.4f}"
        workspace = "" if self.workspace is None else f"{self.workspace:,}"
        reason = f": {' '.join(self.refusal.split())}" if self.refusal else ""
        return time, workspace, self.candidate + reason


@dataclass(frozen=True)
class Ranking:
    """The trials of a graph's candidates, the fastest first, those refused last; a table when it is printed."""

    trials: tuple[Trial, ...]

    @staticmethod
    def of(trials: Iterable[Trial]) -> Ranking:
        """Trials in the order of their time; those of the same time stay in theirs."""
        return Ranking(tuple(sorted(trials, key=lambda trial: (trial.time is None, trial.time or 0.0))))

    @staticmethod
    def from_records(records: Iterable[Mapping[str, Any]]) -> Ranking:
        """What `records` gave. Raises TypeError for anything else."""
        return Ranking(tuple(Trial(**record) for record in records))

    @property
    def records(self) -> list[dict[str, Any]]:
        """The trials as plain data, to be kept as JSON."""
        return [asdict(trial) for trial in self.trials]

    def __str__(self) -> str:
        rows = [("time", "workspace", "engine"), *(trial.cells for trial in self.trials)]
        widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
        return "\n".join(f"{time:>{widths[0]}}  {space:>{widths[1]}}  {text}" for time, space, text in rows)


def rank_plans(
    graph: Graph, target: Target, policy: Policy | None = None, *, measure: Measure, most: int | None = None
) -> tuple[Plan, Ranking]:
    """The fastest plan by measurement, and how every candidate did, or the first `most` that become plans.

    A plan that fails to run is refused with its error (cudnnBackendFinalize and what `measure` calls). Raises
    GraphRefused when there is no plan, or none runs.
    """
    policy = policy or Policy()
    trials: list[Trial] = []
    best: tuple[float, Plan] | None = None
    failures: list[str] = []
    tried = 0
    for attempt in attempts(graph, target, policy):
        if attempt.plan is None:
            trials.append(Trial(str(attempt.candidate), refusal=attempt.objection))
            continue
        trial = _try(str(attempt.candidate), attempt.plan, measure)
        trials.append(trial)
        tried += 1
        if trial.time is None:
            failures.append(f"engine {attempt.plan.engine}: {trial.refusal}")
        elif best is None or trial.time < best[0]:
            best = trial.time, attempt.plan
        if tried == most:
            break
    if best is None and not tried:
        raise refused(graph, target, policy, [f"{trial.candidate}: {trial.refusal}" for trial in trials])
    if best is None:
        raise GraphRefused(f"no plan runs, of {tried} tried: {failures[0]}\nin {graph}", reasons=failures)
    return best[1], Ranking.of(trials)


def _try(candidate: str, plan: Plan, measure: Measure) -> Trial:
    try:
        return Trial(candidate, measure(plan), plan.workspace)
    except (CudnnError, OutOfMemory) as error:
        return Trial(candidate, None, plan.workspace, str(error))
