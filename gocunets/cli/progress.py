"""What is shown while training: a live bar on a terminal, a line an epoch elsewhere."""

from __future__ import annotations

import time

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from ..progress import EpochRecord
from ..train import Callback, Trainer

REFRESH_SECONDS = 0.1


class Display(Callback):
    """Loss, accuracy, images a second and time left."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._bar: Progress | None = None
        self._task = TaskID(0)
        self._shown = 0.0
        self._first = 0
        self._began = 0.0

    def on_start(self, trainer: Trainer) -> None:
        self._began, self._first = time.perf_counter(), trainer.step
        if not self.console.is_terminal:
            return
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
        )
        self._task = self._bar.add_task(
            "", total=trainer.total_steps, completed=trainer.step - trainer.progress.start_step, figures=""
        )
        self._bar.start()

    def on_step(self, trainer: Trainer) -> None:
        now = time.perf_counter()
        if self._bar is None or now - self._shown < REFRESH_SECONDS:
            return
        self._shown = now
        done = trainer.step - trainer.progress.start_step
        self._bar.update(
            self._task,
            completed=done,
            description=f"epoch {trainer.progress.epoch + 1}/{trainer.epochs}",
            figures=self._figures(trainer, now),
        )

    def on_epoch(self, trainer: Trainer, record: EpochRecord) -> None:
        parts = [f"epoch {record.epoch}/{trainer.epochs}", f"loss {record.loss:.4f}"]
        if record.accuracy is not None:
            parts.append(f"accuracy {100 * record.accuracy:.2f} %")
        if record.validation_loss is not None:
            parts.append(f"test loss {record.validation_loss:.4f}")
        if record.validation_accuracy is not None:
            parts.append(f"test accuracy {100 * record.validation_accuracy:.2f} %")
        parts.append(f"{record.seconds:.1f} s, {trainer.progress.samples / max(record.seconds, 1e-9):,.0f} images/s")
        self.console.print("  ".join(parts))

    def on_stop(self, trainer: Trainer) -> None:
        self.close()

    def close(self) -> None:
        """Take the bar off the terminal."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _figures(self, trainer: Trainer, now: float) -> str:
        record = trainer.look()
        seen = max(1, int(record["cursor"]))
        parts = [f"loss {record['loss_sum'] / seen:.4f}"]
        compiled = trainer.network.compiled
        if compiled.counts_correct:
            parts.append(f"accuracy {100 * record['correct'] / (seen * compiled.answers):.2f} %")
        speed = (trainer.step - self._first) * trainer.progress.batch / max(now - self._began, 1e-9)
        return "  ".join([*parts, f"{speed:,.0f} images/s"])
