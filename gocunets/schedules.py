"""Learning rates that change with the step. A schedule is called with the number of updates made so far."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from .registry import Registered


class Schedule(Registered, family="schedule"):
    """A learning rate by step; subclasses are frozen dataclasses that can be stored."""

    def __call__(self, step: int) -> float:
        """The rate of the update after `step` updates."""
        raise NotImplementedError


@dataclass(frozen=True)
class StepDecay(Schedule):
    """`rate` times `factor` for every whole `every` steps."""

    name: ClassVar[str] = "step_decay"
    rate: float
    every: int
    factor: float = 0.1

    def __call__(self, step: int) -> float:
        return float(self.rate * self.factor ** (step // self.every))


@dataclass(frozen=True)
class Exponential(Schedule):
    """`rate` times `decay` to the power of the step."""

    name: ClassVar[str] = "exponential"
    rate: float
    decay: float

    def __call__(self, step: int) -> float:
        return float(self.rate * self.decay**step)


@dataclass(frozen=True)
class Cosine(Schedule):
    """From `rate` to `final` along half a cosine in `steps` steps, then `final`; `warmup` linear steps first."""

    name: ClassVar[str] = "cosine"
    rate: float
    steps: int
    final: float = 0.0
    warmup: int = 0

    def __call__(self, step: int) -> float:
        if step < self.warmup:
            return self.rate * (step + 1) / self.warmup
        share = min(1.0, (step - self.warmup) / max(1, self.steps - self.warmup))
        return self.final + (self.rate - self.final) * (1 + math.cos(math.pi * share)) / 2
