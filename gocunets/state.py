"""States: tensors that outlive a run, and the one that every program has, the step state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from .dtypes import DType
from .types import TensorType

Role = Literal["parameter", "moment", "statistic", "step", "data"]
MAX_GROUPS = 8

STEP_STATE = np.dtype(
    [
        ("step", np.int64),  # updates made so far
        ("seed", np.uint64),  # key of every random number
        ("epoch", np.int64),  # whose order the samples are taken in
        ("cursor", np.int64),  # samples of this epoch that were consumed
        ("correct", np.int64),  # of those, how many were answered rightly
        ("loss_sum", np.float64),  # of those, the sum of the losses
        ("first_bad_step", np.int64),  # where the flag below was set
        (
            "nonfinite",
            np.int32,
        ),  # 1 once the loss or a gradient was not finite: updates are skipped from there
        ("batch_size", np.int32),  # valid samples of this batch
        ("loss_scale", np.float32),  # what gradients are multiplied by on their way back
        ("steady", np.int32),  # steps since the loss scale changed; -1 once a gradient of this step overflowed
        ("learning_rate", np.float64, (MAX_GROUPS,)),  # by parameter group
    ],
    align=True,
)
"""The one structure that every recorded program takes: what changes from step to step without being traced again.

`step` counts updates; learning rates and the batch size are written by the host before a step.
"""


@dataclass(eq=False)
class State:
    """A tensor that outlives a run: a parameter, a moment, a running statistic or the step state.

    A program reads it as a Value and may assign it once; `initial` makes its first content.
    """

    name: str
    type: TensorType
    role: Role
    initial: Callable[[], npt.NDArray[np.generic]]

    def __repr__(self) -> str:
        return f"State({self.name}: {self.type}, {self.role})"


def initial_step_state(seed: int = 0) -> npt.NDArray[np.void]:
    """A step state before the first step, as an array of one `STEP_STATE` record."""
    record = np.zeros(1, STEP_STATE)
    record["seed"] = seed
    record["first_bad_step"] = -1
    record["loss_scale"] = 1
    return record


def new_step_state(seed: int = 0) -> State:
    """The step state as a State: its bytes."""
    type = TensorType((STEP_STATE.itemsize,), DType.uint8)
    return State("step_state", type, "step", lambda: initial_step_state(seed).view(np.uint8))
