"""A training step of the thesis's network on the CPU, ours and PyTorch's, in turn, one thread each."""

from __future__ import annotations

import importlib.util
import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .process import measured

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


@dataclass(frozen=True)
class Row:
    """Milliseconds a step at one batch size, the median of the rounds; `peer` is None without PyTorch."""

    batch: int
    ours: float
    peer: float | None

    @property
    def ratio(self) -> float | None:
        """Our time over the peer's: below 1 is faster."""
        return None if self.peer is None else self.ours / self.peer


def run(batches: Sequence[int], *, rounds: int = 3, seconds: float = 2.0, threads: int = 1) -> list[Row]:
    """Measure each batch size in alternating processes, ours and PyTorch's (left out when not installed)."""
    peers = ["gocunets", "torch"] if importlib.util.find_spec("torch") else ["gocunets"]
    rows = []
    for batch in batches:
        times: dict[str, list[float]] = {peer: [] for peer in peers}
        for _ in range(rounds):
            for peer in peers:
                times[peer].append(_measure(peer, batch, seconds, threads))
        medians = {peer: statistics.median(values) for peer, values in times.items()}
        rows.append(Row(batch, medians["gocunets"], medians.get("torch")))
    return rows


def machine() -> str:
    """The processor and the versions that the figures are for."""
    import numpy

    versions = [f"Python {platform.python_version()}", f"NumPy {numpy.__version__}"]
    if importlib.util.find_spec("torch"):
        from importlib.metadata import version

        versions.append(f"PyTorch {version('torch')}")
    return f"{_processor()}; {', '.join(versions)}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def _measure(peer: str, batch: int, seconds: float, threads: int) -> float:
    environment = os.environ | dict.fromkeys(THREAD_VARIABLES, str(threads))
    arguments = peer, batch, seconds, threads
    found = measured(f"{peer} at batch {batch}", "gocunets.bench.cpu_worker", *arguments, environment=environment)
    return float(found["milliseconds"])
