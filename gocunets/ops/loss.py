"""Losses a sample, their mean over the valid samples, and the count of right answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from ..dtypes import DType
from ..graph import Node, Value
from ..types import TensorType
from .base import Op, Precision, one, require_float, require_same


@dataclass(frozen=True)
class CrossEntropy(Op):
    """-ln softmax(logits)[label], and the probabilities. logits (N, C, *S), labels (N, *S) integers."""

    name: ClassVar[str] = "cross_entropy"
    precision: ClassVar[Precision] = "full"

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        logits, labels = inputs
        _require_classes(logits, labels)
        return TensorType(labels.shape, logits.dtype), logits

    def gradient(self, node: Node, dys: Sequence[Value | None], wanted: Sequence[bool]) -> Sequence[Value | None]:
        dlosses = dys[0]
        assert dlosses is not None
        return *dlosses.graph.add(CrossEntropyBackward(), node.outputs[1], node.inputs[1], dlosses), None

    def flops(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        return 3 * inputs[0].size


@dataclass(frozen=True)
class CrossEntropyBackward(Op):
    """dlogits = (probabilities - one-hot(labels)) dlosses."""

    name: ClassVar[str] = "cross_entropy_backward"
    precision: ClassVar[Precision] = "full"

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        probabilities, labels, _ = inputs
        _require_classes(probabilities, labels)
        return (probabilities,)


@dataclass(frozen=True)
class SquaredError(Op):
    """Mean of (y - target)² over all axes but the first: (N, ...) -> (N,)."""

    name: ClassVar[str] = "squared_error"
    precision: ClassVar[Precision] = "full"

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        y, target = inputs
        require_float("y", y)
        require_same("y", y, "target", target)
        return (TensorType(y.shape[:1], y.dtype),)

    def gradient(self, node: Node, dys: Sequence[Value | None], wanted: Sequence[bool]) -> Sequence[Value | None]:
        (dlosses,) = dys
        assert dlosses is not None
        y, target = node.inputs
        add = dlosses.graph.add
        dy = one(add(SquaredErrorBackward(), y, target, dlosses)) if wanted[0] else None
        dtarget = one(add(SquaredErrorBackward(), target, y, dlosses)) if wanted[1] else None
        return dy, dtarget

    def flops(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        return 3 * inputs[0].size


@dataclass(frozen=True)
class SquaredErrorBackward(Op):
    """dy = 2 (y - target) dlosses / elements a sample."""

    name: ClassVar[str] = "squared_error_backward"
    precision: ClassVar[Precision] = "full"

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        return (inputs[0],)


@dataclass(frozen=True)
class MaskedMean(Op):
    """Mean over the first `batch_size` samples of the step state: (N, *S) -> scalar."""

    name: ClassVar[str] = "masked_mean"
    precision: ClassVar[Precision] = "full"

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        losses, _ = inputs
        require_float("losses", losses)
        if losses.rank < 1:
            raise ValueError(f"losses have shape {losses.shape}; one a sample is needed")
        return (TensorType((), losses.dtype),)

    def gradient(self, node: Node, dys: Sequence[Value | None], wanted: Sequence[bool]) -> Sequence[Value | None]:
        (dy,) = dys
        assert dy is not None
        losses, step = node.inputs
        return *dy.graph.add(MaskedMeanBackward(losses.shape), dy, step), None

    def flops(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        return inputs[0].size


@dataclass(frozen=True)
class MaskedMeanBackward(Op):
    """dlosses = dy / elements counted, and 0 for the samples beyond `batch_size`."""

    name: ClassVar[str] = "masked_mean_backward"
    precision: ClassVar[Precision] = "full"
    shape: tuple[int, ...]

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        return (TensorType(self.shape, inputs[0].dtype),)


@dataclass(frozen=True)
class CountCorrect(Op):
    """How many of the first `batch_size` samples have their largest score at the label: int64 scalar.

    With spatial axes every position counts.
    """

    name: ClassVar[str] = "count_correct"
    precision: ClassVar[Precision] = "full"

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        scores, labels, _ = inputs
        _require_classes(scores, labels)
        return (TensorType((), DType.int64),)


def cross_entropy(logits: Value, labels: Value) -> Value:
    """Loss of each sample in nats: logits (N, C, *S), labels (N, *S)."""
    return logits.graph.add(CrossEntropy(), logits, labels)[0]


def squared_error(y: Value, target: Value) -> Value:
    """Mean squared error of each sample: (N, ...) -> (N,)."""
    return one(y.graph.add(SquaredError(), y, target))


def masked_mean(losses: Value) -> Value:
    """Mean over the valid samples of the batch."""
    return one(losses.graph.add(MaskedMean(), losses, losses.graph.step))


def count_correct(scores: Value, labels: Value) -> Value:
    """How many of the valid samples have their largest score at the label."""
    return one(scores.graph.add(CountCorrect(), scores, labels, scores.graph.step))


def _require_classes(logits: TensorType, labels: TensorType) -> None:
    require_float("logits", logits)
    if labels.dtype not in (DType.int32, DType.int64):
        raise ValueError(f"labels are {labels.dtype}; int32 or int64 is needed")
    if logits.rank < 2 or labels.shape != logits.shape[:1] + logits.shape[2:]:
        raise ValueError(f"logits have shape {logits.shape}, labels {labels.shape}; (N, C, *S) and (N, *S)")
