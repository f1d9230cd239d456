"""What is known of a training: a record an epoch, and where it stands."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .data.batches import Last


@dataclass(frozen=True)
class EpochRecord:
    """One epoch: training loss (nats) and accuracy as seen while training, then those of the validation data."""

    epoch: int
    steps: int
    loss: float
    accuracy: float | None
    validation_loss: float | None
    validation_accuracy: float | None
    seconds: float


@dataclass
class Progress:
    """Where training stands, beside the step state: what a checkpoint must know to go on.

    `epoch` counts whole epochs of this fit, `epochs_before` those of earlier fits; `curve` has
    (step, mean training loss since the point before) some twenty times an epoch; `seconds` is the time
    spent in the epoch that is under way.
    """

    epoch: int = 0
    epochs_before: int = 0
    start_step: int = 0
    batch: int = 0
    last: Last = "smaller"
    samples: int = 0
    records: list[EpochRecord] = field(default_factory=list)
    curve: list[tuple[int, float]] = field(default_factory=list)
    seconds: float = 0.0

    def describe(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return dataclasses.asdict(self)

    @staticmethod
    def restore(description: Mapping[str, Any]) -> Progress:
        """The progress that `describe` described."""
        records = [EpochRecord(**record) for record in description["records"]]
        curve = [(int(step), float(loss)) for step, loss in description["curve"]]
        return Progress(**{**description, "records": records, "curve": curve})
