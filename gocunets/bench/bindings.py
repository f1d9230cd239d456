"""What calls of the bindings cost the host, by class: ours, other Python packages', and loops in C as the floor."""

from __future__ import annotations

from dataclasses import dataclass

from .process import measured


@dataclass(frozen=True)
class Row:
    """Microseconds a call, the median of the batches; None for a peer that is not there, with the reason."""

    kind: str
    peer: str
    microseconds: float | None
    note: str = ""


def run() -> list[Row]:
    """Measure all in one process, so that they share card, driver and clocks. Raises GocunetsError when it fails."""
    return [Row(**row) for row in measured("calls", "gocudnn_py.bench.bindings")]
