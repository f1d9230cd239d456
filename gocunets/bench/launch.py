"""What it costs the host to launch a kernel: ours, other Python packages', and a loop in C as the floor."""

from __future__ import annotations

from dataclasses import dataclass

from .process import measured


@dataclass(frozen=True)
class Row:
    """Microseconds a launch, the median of the batches; None for a peer that is not there, with the reason."""

    peer: str
    microseconds: float | None
    note: str = ""


def run() -> list[Row]:
    """Measure all in one process, so that they share card, driver and clocks. Raises GocunetsError when it fails."""
    return [Row(**row) for row in measured("launches", "gocudnn_py.bench.launch")]
