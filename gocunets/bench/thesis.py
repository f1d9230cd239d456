"""The thesis's table 4.2 on a GPU: seconds an epoch at each batch size, ours and PyTorch's, in one run."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

BATCHES = (10, 20, 40, 50, 100, 200)
PEERS = ("gocunets", "torch-captured", "torch-eager")


@dataclass(frozen=True)
class Row:
    """Seconds an epoch of 60,000 images at one batch size, by peer: the median of the epochs measured."""

    batch: int
    seconds: dict[str, float]

    @property
    def ratio(self) -> float | None:
        """The best peer's time over ours: above 1 we are faster."""
        others = [time for peer, time in self.seconds.items() if peer != "gocunets"]
        return min(others) / self.seconds["gocunets"] if others else None


def run(batches: Sequence[int], peers: Sequence[str] = PEERS, *, epochs: int = 3) -> list[Row]:
    """Measure each peer in a process of its own; PyTorch's are left out when it is not installed.

    Raises RuntimeError with a peer's own words when its process fails.
    """
    if importlib.util.find_spec("torch") is None:
        peers = [peer for peer in peers if not peer.startswith("torch")]
    results = {peer: _measure(peer, batches, epochs) for peer in peers}
    return [Row(batch, {peer: results[peer][batch] for peer in peers}) for batch in batches]


def _measure(peer: str, batches: Sequence[int], epochs: int) -> dict[int, float]:
    command = [sys.executable, "-m", "gocunets.bench.thesis_worker", peer, str(epochs), *map(str, batches)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{peer} failed: {(done.stderr.strip() or done.stdout.strip()).splitlines()[-1]}")
    return {int(batch): seconds for batch, seconds in json.loads(done.stdout.splitlines()[-1]).items()}
