"""Where the time of a training step goes: each node alone, and the whole that is recorded."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from ..backends import Backend
from ..backends.base import Step
from ..program import Program

COPIES = 50
"""How often a node stands in one recording, so that what a replay costs the host does not show."""


@dataclass(frozen=True)
class Row:
    """Microseconds of a node, each time after the one before."""

    phase: str
    node: str
    output: tuple[int, ...]
    microseconds: float


@dataclass(frozen=True)
class Account:
    """A step at one batch size: its nodes, and the recorded whole."""

    batch: int
    rows: list[Row]
    step: float

    @property
    def in_turn(self) -> float:
        """The sum of the nodes."""
        return sum(row.microseconds for row in self.rows)


def run(backend: Backend, batch: int, *, seconds: float = 0.05) -> Account:
    """Account for a step of the thesis's network on data that the device holds; each figure takes `seconds`."""
    program = _program(backend, batch)
    rows = []
    for phase, node, step in program.steps():
        shape = node.outputs[0].shape if node.outputs else ()
        time_of_one = _measure(backend, [step] * COPIES, seconds) / COPIES
        rows.append(Row(phase, node.op.name, shape, time_of_one))
    return Account(batch, rows, _measure(backend, [step for _, _, step in program.steps()], seconds))


def _program(backend: Backend, batch: int) -> Program:
    from .. import Network, optim, zoo
    from .thesis_worker import L1, L2, RATE

    random = np.random.default_rng(0)
    images, labels = random.standard_normal((4 * batch, 1, 28, 28), np.float32), random.integers(0, 10, 4 * batch)
    network = Network(zoo.thesis_network(), (1, 28, 28)).compile(optimizer=optim.Adam(RATE, L1, L2), device=backend)
    network.compiled.make_resident(images, labels, None)
    network.compiled.prepare_step(batch, 0)
    return network.compiled.program("resident", batch)


def _measure(backend: Backend, steps: list[Step], seconds: float) -> float:
    """Microseconds of one run of all steps."""
    backend.run(steps)
    recorded = backend.record(steps)
    recorded()
    backend.synchronize()
    runs, started = 0, time.perf_counter()
    while time.perf_counter() < started + seconds or not runs:
        for _ in range(10):
            recorded()
        backend.synchronize()
        runs += 10
    return 1e6 * (time.perf_counter() - started) / runs
