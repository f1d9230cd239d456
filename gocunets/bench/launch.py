"""What it costs the host to launch a kernel: ours, other Python packages', and a loop in C as the floor."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """Microseconds a launch, the median of the batches; None for a peer that is not there, with the reason."""

    peer: str
    microseconds: float | None
    note: str = ""


def run() -> list[Row]:
    """Measure all in one process, so that they share card, driver and clocks. Raises RuntimeError when it fails."""
    command = [sys.executable, "-m", "gocudnn_py.bench.launch"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"the measurement failed: {(done.stderr.strip() or done.stdout.strip()).splitlines()[-1]}")
    return [Row(**row) for row in json.loads(done.stdout.splitlines()[-1])]
