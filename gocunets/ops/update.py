"""The end of a training step: the non-finite flag, all parameter updates in one op, the step counter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from ..dtypes import DType
from ..types import TensorType
from .base import Op, Precision, require_same

if TYPE_CHECKING:
    from ..optim import Optimizer


@dataclass(frozen=True)
class LossScale(Op):
    """What gradients are multiplied by on their way back, from the step state."""

    name: ClassVar[str] = "loss_scale"
    precision: ClassVar[Precision] = "full"

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        return (TensorType((), DType.float32),)


@dataclass(frozen=True)
class Unscale(Op):
    """A gradient divided by the loss scale. Inputs: step state, dw."""

    name: ClassVar[str] = "unscale"
    precision: ClassVar[Precision] = "full"

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        return (inputs[1],)

    def aliases(self) -> dict[int, int]:
        return {0: 1}


@dataclass(frozen=True)
class FlagNonFinite(Op):
    """The step state with its flag set if the loss or a gradient is infinite or NaN.

    Inputs: step state, loss, gradients. With `scaled`, a gradient that overflowed by a loss scale above 1 marks
    this step only.
    """

    name: ClassVar[str] = "flag_non_finite"
    precision: ClassVar[Precision] = "full"
    scaled: bool = False

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        return (inputs[0],)

    def aliases(self) -> dict[int, int]:
        return {0: 0}


@dataclass(frozen=True)
class UnlessFlagged(Op):
    """The new contents of `count` states, such as running statistics; the old ones where the flag is set.

    Inputs: step state, n old contents, n new ones.
    """

    name: ClassVar[str] = "unless_flagged"
    precision: ClassVar[Precision] = "full"
    count: int

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        _, *tensors = inputs
        for old, new in zip(tensors[: self.count], tensors[self.count :], strict=True):
            require_same("old", old, "new", new)
        return tensors[: self.count]

    def aliases(self) -> dict[int, int]:
        return {out: out + 1 for out in range(self.count)}


@dataclass(frozen=True)
class Update(Op):
    """New parameters and moments of one parameter group, by `rule`; unchanged where the flag is set.

    Inputs: step state, n parameters, n gradients, n of each moment. Outputs: n parameters, n of each moment.
    """

    name: ClassVar[str] = "update"
    precision: ClassVar[Precision] = "full"
    rule: Optimizer
    group: int
    count: int

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        _, *tensors = inputs
        expected = self.count * (2 + len(self.rule.moments))
        if len(tensors) != expected:
            raise ValueError(f"{len(tensors)} tensors for {self.count} parameters; {expected} are needed")
        parameters = tensors[: self.count]
        for start in range(0, expected, self.count):
            for w, other in zip(parameters, tensors[start : start + self.count], strict=True):
                if w.shape != other.shape:
                    raise ValueError(f"parameter {w.shape} with gradient or moment {other.shape}")
        return parameters + tensors[2 * self.count :]

    def aliases(self) -> dict[int, int]:
        n = self.count
        outputs = n * (1 + len(self.rule.moments))
        return {out: out + 1 if out < n else out + 1 + n for out in range(outputs)}


@dataclass(frozen=True)
class AdvanceStep(Op):
    """The step state one step on, unless its flag is set: counts the step, its samples and their loss.

    Inputs: step state, mean loss, and where there are classes the number of right answers. With `scaled`, the loss
    scale follows the overflows, and a step that had one counts its samples but is no update.
    """

    name: ClassVar[str] = "advance_step"
    precision: ClassVar[Precision] = "full"
    scaled: bool = False

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        return (inputs[0],)

    def aliases(self) -> dict[int, int]:
        return {0: 0}
