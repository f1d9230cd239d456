"""Losses: a loss for each sample from the network's output and the target."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from .dtypes import DType
from .graph import Value
from .ops.loss import count_correct, cross_entropy, squared_error
from .ops.softmax import softmax
from .registry import Registered
from .types import TensorType


class Loss(Registered, family="loss"):
    """What is minimised: the mean over the batch of `losses`. Subclasses are frozen dataclasses."""

    def target_type(self, output: TensorType) -> TensorType:
        """Shape and dtype of the target that goes with an output."""
        raise NotImplementedError

    def losses(self, output: Value, target: Value) -> Value:
        """The loss of each sample: (N, ...)."""
        raise NotImplementedError

    def prediction(self, output: Value) -> Value:
        """What `predict` answers with; the output itself by default."""
        return output

    def correct(self, output: Value, target: Value) -> Value | None:
        """How many answers are right, where that means something."""
        return None

    def answers(self, output: TensorType) -> int:
        """How many answers a sample asks for, of which `correct` counts the right ones."""
        return 1


@dataclass(frozen=True)
class CrossEntropy(Loss):
    """Softmax cross-entropy in nats. Output: logits (N, C, *S); target: integer classes (N, *S)."""

    name: ClassVar[str] = "cross_entropy"

    def target_type(self, output: TensorType) -> TensorType:
        return TensorType(output.shape[:1] + output.shape[2:], DType.int64)

    def losses(self, output: Value, target: Value) -> Value:
        return cross_entropy(output, target)

    def prediction(self, output: Value) -> Value:
        return softmax(output)

    def correct(self, output: Value, target: Value) -> Value | None:
        return count_correct(output, target)

    def answers(self, output: TensorType) -> int:
        return math.prod(output.shape[2:])


@dataclass(frozen=True)
class MeanSquaredError(Loss):
    """Mean of (output - target)² over each sample's elements; the target has the output's shape."""

    name: ClassVar[str] = "mean_squared_error"

    def target_type(self, output: TensorType) -> TensorType:
        return TensorType(output.shape, output.dtype)

    def losses(self, output: Value, target: Value) -> Value:
        return squared_error(output, target)
