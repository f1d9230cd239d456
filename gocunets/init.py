"""Initial weights, by the shared Philox generator: equal for one seed on every machine and backend."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from . import convnetgo

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Fans:
    """What an initialiser may want to know of a parameter's place.

    `inputs` and `outputs` count the connections of one output and one input; `input_size` is the
    number of elements of the layer's whole input, one sample.
    """

    inputs: int
    outputs: int
    input_size: int


class Initializer:
    """Makes the first content of a parameter. Subclasses need `__call__` only."""

    def __call__(self, shape: tuple[int, ...], fans: Fans, *, seed: int, node: int) -> Array:
        """A float64 array of `shape`; `node` tells parameters of one seed apart."""
        raise NotImplementedError


@dataclass(frozen=True)
class Constant(Initializer):
    """Every element `value`."""

    value: float = 0.0

    def __call__(self, shape: tuple[int, ...], fans: Fans, *, seed: int, node: int) -> Array:
        return np.full(shape, self.value)


@dataclass(frozen=True)
class Normal(Initializer):
    """Normal numbers with the given standard deviation and mean."""

    deviation: float = 0.01
    mean: float = 0.0

    def __call__(self, shape: tuple[int, ...], fans: Fans, *, seed: int, node: int) -> Array:
        return self.mean + self.deviation * _normal(shape, seed, node)


@dataclass(frozen=True)
class He(Initializer):
    """Normal with variance 2 / ((1 + slope²) fan-in), for rectifiers (He and others 2015)."""

    slope: float = 0.0

    def __call__(self, shape: tuple[int, ...], fans: Fans, *, seed: int, node: int) -> Array:
        return math.sqrt(2 / ((1 + self.slope**2) * fans.inputs)) * _normal(shape, seed, node)


@dataclass(frozen=True)
class Glorot(Initializer):
    """Uniform within ±sqrt(6 / (fan-in + fan-out)) (Glorot and Bengio 2010)."""

    def __call__(self, shape: tuple[int, ...], fans: Fans, *, seed: int, node: int) -> Array:
        limit = math.sqrt(6 / (fans.inputs + fans.outputs))
        return limit * _centred(shape, seed, node)


@dataclass(frozen=True)
class FanInUniform(Initializer):
    """Uniform within ±1/sqrt(fan-in): what PyTorch gives convolution and linear layers, biases too."""

    def __call__(self, shape: tuple[int, ...], fans: Fans, *, seed: int, node: int) -> Array:
        return _centred(shape, seed, node) / math.sqrt(fans.inputs)


@dataclass(frozen=True)
class Stinson(Initializer):
    """The thesis author's: normal with deviation 2 sqrt(2 / size of the layer's whole input)."""

    def __call__(self, shape: tuple[int, ...], fans: Fans, *, seed: int, node: int) -> Array:
        return 2 * math.sqrt(2 / fans.input_size) * _normal(shape, seed, node)


def _normal(shape: tuple[int, ...], seed: int, node: int) -> Array:
    return convnetgo.normal(shape, seed=seed, node=node, dtype=np.dtype(np.float64))


def _centred(shape: tuple[int, ...], seed: int, node: int) -> Array:
    return 2 * convnetgo.uniform(shape, seed=seed, node=node, dtype=np.dtype(np.float64)) - 1
