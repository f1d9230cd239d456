"""Optimizers: which moments a parameter has, and the hyper-parameters of its update.

The formulas are in convnetgo; each backend maps an optimizer to its code. L1 and L2 are part of the
gradient: dw + l1 sign(w) + l2 w, biases included, as in the thesis.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .registry import Registered
from .schedules import Schedule


@dataclass(frozen=True)
class Optimizer(Registered, family="optimizer"):
    """An update rule. `moments` names the tensors it keeps beside each parameter, zero at first."""

    moments: ClassVar[tuple[str, ...]] = ()
    rate: float | Schedule = 1e-2
    l1: float = 0.0
    l2: float = 0.0

    def __post_init__(self) -> None:
        if not isinstance(self.rate, Schedule) and not self.rate >= 0:
            raise ValueError(f"{self.name}: learning rate {self.rate} is negative or NaN")
        for key in ("l1", "l2"):
            if not getattr(self, key) >= 0:
                raise ValueError(f"{self.name}: {key} {getattr(self, key)} is negative or NaN")

    def rate_at(self, step: int) -> float:
        """The learning rate of the update after `step` updates."""
        return self.rate(step) if isinstance(self.rate, Schedule) else self.rate


@dataclass(frozen=True)
class SGD(Optimizer):
    """w -= rate dw. Thesis, equation 3.11."""

    name: ClassVar[str] = "sgd"


@dataclass(frozen=True)
class Momentum(Optimizer):
    """m = decay m + rate dw; w -= m. Thesis, equations 3.12 and 3.13."""

    name: ClassVar[str] = "momentum"
    moments: ClassVar[tuple[str, ...]] = ("m",)
    decay: float = 0.9


@dataclass(frozen=True)
class Adagrad(Optimizer):
    """s += dw²; w -= rate dw / (sqrt(s) + epsilon). Thesis, equations 3.14 and 3.15."""

    name: ClassVar[str] = "adagrad"
    moments: ClassVar[tuple[str, ...]] = ("s",)
    epsilon: float = 1e-8


@dataclass(frozen=True)
class Adadelta(Optimizer):
    """Steps in units of past steps (Zeiler 2012): the rate is a factor, 1 by default."""

    name: ClassVar[str] = "adadelta"
    moments: ClassVar[tuple[str, ...]] = ("s", "u")
    rate: float | Schedule = 1.0
    decay: float = 0.95
    epsilon: float = 1e-6


@dataclass(frozen=True)
class Adam(Optimizer):
    """Bias-corrected first and second moments (Kingma and Ba 2015). Thesis, section 3.4.4."""

    name: ClassVar[str] = "adam"
    moments: ClassVar[tuple[str, ...]] = ("m", "v")
    rate: float | Schedule = 1e-3
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
