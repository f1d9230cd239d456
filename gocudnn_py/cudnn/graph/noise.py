"""Random numbers in a graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gocudnn_py._abi.cudnn import BackendAttributeName as Attribute
from gocudnn_py._abi.cudnn import BackendAttributeType as Type
from gocudnn_py._abi.cudnn import BackendDescriptorType as Kind
from gocudnn_py._abi.cudnn import DataType
from gocudnn_py._abi.cudnn import RngDistribution as Distribution
from gocudnn_py.cudnn.graph.builder import Builder
from gocudnn_py.cudnn.graph.operations import Row, attributes, typed
from gocudnn_py.cudnn.graph.tensor import Tensor

RANDOM = Row(
    "random",
    Kind.OPERATION_RNG_DESCRIPTOR,
    attributes("OPERATION_RNG", seed="SEED", offset="OFFSET_DESC"),
    attributes("OPERATION_RNG", y="YDESC"),
    typed("OPERATION_RNG", fixed_seed=("SEED", Type.INT64)),
    Kind.RNG_DESCRIPTOR,
    Attribute.OPERATION_RNG_DESC,
    typed(
        "RNG",
        distribution=("DISTRIBUTION", Type.RNG_DISTRIBUTION),
        probability=("BERNOULLI_DIST_PROBABILITY", Type.DOUBLE),
        low=("UNIFORM_DIST_MINIMUM", Type.DOUBLE),
        high=("UNIFORM_DIST_MAXIMUM", Type.DOUBLE),
        mean=("NORMAL_DIST_MEAN", Type.DOUBLE),
        deviation=("NORMAL_DIST_STANDARD_DEVIATION", Type.DOUBLE),
    ),
    factors=(),
)
ROWS = (RANDOM,)
Seed = int | Tensor


class Noise(Builder):
    """What a `Graph` has of random numbers: Philox by a seed and an offset.

    A seed is a number, fixed, or a tensor of one int64 (or int32) with memory or by value, which may change at every
    run; so is the offset, without which the numbers begin at the first.
    """

    def bernoulli(self, dims: Sequence[int], keep: float, seed: Seed, offset: Tensor | None = None) -> Tensor:
        """1 with the probability `keep`, else 0: multiply by it and by 1 / keep, and it is dropout."""
        if not 0 <= keep <= 1:
            raise ValueError(f"bernoulli: the probability {keep} is not from 0 to 1")
        return self._random(Distribution.BERNOULLI, dims, seed, offset, probability=keep)

    def uniform(
        self, dims: Sequence[int], seed: Seed, offset: Tensor | None = None, *, low: float = 0.0, high: float = 1.0
    ) -> Tensor:
        """Numbers spread evenly from `low` to `high`."""
        if not low < high:
            raise ValueError(f"uniform: from {low} to {high}")
        return self._random(Distribution.UNIFORM, dims, seed, offset, low=low, high=high)

    def normal(
        self,
        dims: Sequence[int],
        seed: Seed,
        offset: Tensor | None = None,
        *,
        mean: float = 0.0,
        deviation: float = 1.0,
    ) -> Tensor:
        """Numbers of a normal distribution."""
        if deviation < 0:
            raise ValueError(f"normal: the standard deviation {deviation} is negative")
        return self._random(Distribution.NORMAL, dims, seed, offset, mean=mean, deviation=deviation)

    def _random(
        self, distribution: Distribution, dims: Sequence[int], seed: Seed, offset: Tensor | None, **numbers: float
    ) -> Tensor:
        y = self._inner(dims, None, DataType.FLOAT if self.intermediate is DataType.FLOAT else None)
        told = seed if isinstance(seed, Tensor) else None
        inputs = {"seed": told, "offset": offset}
        settings: dict[str, Any] = {
            "distribution": distribution,
            "fixed_seed": None if told else seed,
            **numbers,
        }
        said = ", ".join(f"{name}={value:g}" for name, value in numbers.items())
        text = f"{distribution.name.lower()}({y.dims}, {said}, seed={'{seed}' if told else seed})"
        return self._operate(RANDOM, inputs, {"y": y}, settings, text)
