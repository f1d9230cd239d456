"""From nothing to the end of the first training step, split by what it is spent on: ours and PyTorch's, by process."""

from __future__ import annotations

import importlib.util
import time
from dataclasses import dataclass

from .process import measured

PHASES = ("start", "import", "context", "build", "first step")
"""The interpreter; the packages; the device's context; network, kernels and plans; the step with its loss read."""


@dataclass(frozen=True)
class Row:
    """Seconds of each phase in one process: the first finds caches cold, the next warm."""

    peer: str
    process: int
    seconds: dict[str, float]

    @property
    def total(self) -> float:
        """From the start of the process to the end of the step."""
        return sum(self.seconds.values())


def run(processes: int = 3) -> list[Row]:
    """Start each peer so many times, in turn. Raises GocunetsError with a peer's own words when it fails."""
    peers = ["gocunets", "torch"] if importlib.util.find_spec("torch") else ["gocunets"]
    return [_measure(peer, number) for number in range(1, processes + 1) for peer in peers]


def _measure(peer: str, number: int) -> Row:
    return Row(peer, number, measured(peer, "gocunets.bench.cold_worker", peer, repr(time.time())))
