"""Batch normalisation: training, inference, gradient and running statistics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from ..errors import GraphError
from ..graph import Node, Value
from ..types import TensorType
from .base import Op, Precision, one, require_dtype, require_float


@dataclass(frozen=True)
class _BatchNorm(Op):
    epsilon: float
    spatial: bool

    def _require_vectors(self, x: TensorType, **vectors: TensorType) -> None:
        require_float("x", x)
        require_dtype(x, **vectors)
        if x.rank < 2:
            raise ValueError(f"x has shape {x.shape}; (N, C, *S) is needed")
        expected = x.shape[1:2] if self.spatial else x.shape[1:]
        for name, vector in vectors.items():
            if vector.shape != expected:
                raise ValueError(f"x has shape {x.shape}, so {name} needs {expected}, not {vector.shape}")


@dataclass(frozen=True)
class BatchNorm(_BatchNorm):
    """y = gamma (x - mean) invstd + beta, with the statistics of this batch. Outputs y, mean, invstd."""

    name: ClassVar[str] = "batch_norm"
    precision: ClassVar[Precision] = "full"

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        x, gamma, beta = inputs
        self._require_vectors(x, gamma=gamma, beta=beta)
        return x, TensorType(gamma.shape, x.dtype), TensorType(gamma.shape, x.dtype)

    def gradient(self, node: Node, dys: Sequence[Value | None], wanted: Sequence[bool]) -> Sequence[Value | None]:
        dy, *others = dys
        if dy is None or any(other is not None for other in others):
            raise GraphError(f"{node}: the gradient goes through y only, not through mean and invstd")
        x, gamma, _ = node.inputs
        _, mean, invstd = node.outputs
        return dy.graph.add(BatchNormBackward(self.epsilon, self.spatial), x, dy, gamma, mean, invstd)


@dataclass(frozen=True)
class BatchNormBackward(_BatchNorm):
    """dx, dgamma and dbeta from x, dy, gamma and the saved statistics."""

    name: ClassVar[str] = "batch_norm_backward"
    precision: ClassVar[Precision] = "full"

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        x, _, gamma, mean, invstd = inputs
        self._require_vectors(x, gamma=gamma, mean=mean, invstd=invstd)
        return x, gamma, gamma


@dataclass(frozen=True)
class BatchNormInference(_BatchNorm):
    """y = gamma (x - running mean) / sqrt(running variance + epsilon) + beta."""

    name: ClassVar[str] = "batch_norm_inference"
    precision: ClassVar[Precision] = "full"

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        x, gamma, beta, mean, variance = inputs
        self._require_vectors(x, gamma=gamma, beta=beta, mean=mean, variance=variance)
        return (x,)


@dataclass(frozen=True)
class RunningStatistics(Op):
    """The running mean and (unbiased) variance after a batch: (1 - momentum) old + momentum new.

    Inputs: running mean, running variance, the batch's mean and invstd, and x, whose size says how
    many elements a channel were seen. `epsilon` is that of the normalisation.
    """

    name: ClassVar[str] = "running_statistics"
    precision: ClassVar[Precision] = "full"
    momentum: float
    epsilon: float

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        running_mean, running_variance, *_ = inputs
        return running_mean, running_variance

    def aliases(self) -> dict[int, int]:
        return {0: 0, 1: 1}


def batch_norm(
    x: Value, gamma: Value, beta: Value, *, epsilon: float = 1e-5, spatial: bool = True
) -> tuple[Value, Value, Value]:
    """Normalise x (N, C, *S) by the statistics of the batch; returns y, mean, invstd."""
    y, mean, invstd = x.graph.add(BatchNorm(epsilon, spatial), x, gamma, beta)
    return y, mean, invstd


def batch_norm_inference(
    x: Value,
    gamma: Value,
    beta: Value,
    mean: Value,
    variance: Value,
    *,
    epsilon: float = 1e-5,
    spatial: bool = True,
) -> Value:
    """Normalise x (N, C, *S) by running statistics."""
    return one(x.graph.add(BatchNormInference(epsilon, spatial), x, gamma, beta, mean, variance))


def running_statistics(
    running_mean: Value,
    running_variance: Value,
    mean: Value,
    invstd: Value,
    x: Value,
    *,
    momentum: float,
    epsilon: float,
) -> tuple[Value, Value]:
    """The running statistics after a batch x with the statistics that `batch_norm` returned."""
    op = RunningStatistics(momentum, epsilon)
    new_mean, new_variance = x.graph.add(op, running_mean, running_variance, mean, invstd, x)
    return new_mean, new_variance
