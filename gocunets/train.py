"""Trainer: the loop over epochs and batches, its record, its callbacks."""

from __future__ import annotations

import dataclasses
import operator
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np

from .data.batches import Batches, Last
from .errors import NonFiniteLoss
from .network import Data, Network
from .progress import EpochRecord, Progress

LOOK_EVERY = 50
LOOK_SECONDS = 0.05  # at least between looks: each lets the device run dry
POINTS_AN_EPOCH = 20


class Callback:
    """Called by the Trainer; override what is wanted. Each method gets the trainer."""

    def on_start(self, trainer: Trainer) -> None:
        """Before the first step."""

    def on_step(self, trainer: Trainer) -> None:
        """After every step."""

    def on_epoch(self, trainer: Trainer, record: EpochRecord) -> None:
        """After every epoch and its validation."""

    def on_stop(self, trainer: Trainer) -> None:
        """After the last step, also when `stop` ended training early; not after an error."""


class Checkpoint(Callback):
    """Writes the model file after every epoch, every `steps` steps if given, and at the end."""

    def __init__(self, path: str | Path, steps: int | None = None) -> None:
        self.path, self.steps = Path(path), steps
        self._saved: tuple[int, int] | None = None  # step and epoch of what the file holds

    def on_step(self, trainer: Trainer) -> None:
        if self.steps and trainer.step % self.steps == 0:
            self._save(trainer)

    def on_epoch(self, trainer: Trainer, record: EpochRecord) -> None:
        self._save(trainer)

    def on_stop(self, trainer: Trainer) -> None:
        if self._saved != (trainer.step, trainer.progress.epoch):
            self._save(trainer)

    def _save(self, trainer: Trainer) -> None:
        trainer.look()
        trainer.network.save(self.path)
        self._saved = trainer.step, trainer.progress.epoch


class StopBelow(Callback):
    """Ends training after the first epoch in which a field of its record is below a limit."""

    def __init__(self, limit: float, key: str = "validation_loss") -> None:
        self.limit, self.key = limit, key

    def on_epoch(self, trainer: Trainer, record: EpochRecord) -> None:
        value = getattr(record, self.key)
        if value is not None and value < self.limit:
            trainer.stop()


class Trainer:
    """Trains a network on data for a number of epochs.

    With `resume` it goes on where the network's progress stands, up to `epochs` in all, with the order
    and the steps that an undisturbed run would have had; ValueError when data or batches differ.
    """

    def __init__(
        self,
        network: Network,
        train: Data,
        *,
        epochs: int,
        batch: int,
        validation: Data | None = None,
        last: Last = "smaller",
        callbacks: Sequence[Callback] = (),
        resume: bool = False,
    ) -> None:
        epochs = operator.index(epochs)
        if epochs < 0:
            raise ValueError(f"epochs is {epochs}, expected at least 0")
        self.network, self.validation, self.callbacks = network, validation, callbacks
        self.epochs = epochs
        self.x, self.target, self.normalization = network.prepare_data(train)
        if validation is not None:
            network.prepare_data(validation)  # raises now rather than after an epoch
        self.batches = Batches(len(self.x), batch, network.seed, 0, last)
        self.steps_an_epoch = len(self.batches)
        self.step = int(network.compiled.step_record["step"])
        self.progress = self._resumed() if resume else self._fresh()
        if resume:  # by samples: a step whose gradients overflowed was one, though it made no update
            self.step = self.progress.start_step + self.progress.epoch * self.steps_an_epoch + self._steps_done()
        network.normalization = self.normalization
        self._resident = network.compiled.backend.holds(self.x.nbytes + self.target.nbytes)
        if self._resident:
            network.compiled.make_resident(self.x, self.target, self.normalization)
        self._stopping = False
        self._looked = 0.0
        self._point = (0, 0.0)

    @property
    def total_steps(self) -> int:
        """Steps that the whole training takes, those before a resume included."""
        return self.epochs * self.steps_an_epoch

    def run(self) -> list[EpochRecord]:
        """Train; returns the records of all epochs. Raises NonFiniteLoss."""
        self._call("on_start")
        try:
            while self.progress.epoch < self.epochs and not self._stopping:
                self._run_epoch()
        except NonFiniteLoss:  # said now; the weights are good, and what follows starts clean
            self.network.compiled.clear_flag()
            raise
        self._call("on_stop")
        return self.progress.records

    def stop(self) -> None:
        """End training after the step that is under way. May be called from a signal handler."""
        self._stopping = True

    def look(self) -> np.void:
        """The step state. Raises NonFiniteLoss when it is flagged."""
        record = self.network.compiled.step_record
        self._looked = time.perf_counter()
        if record["nonfinite"]:
            bad = int(record["first_bad_step"])
            raise NonFiniteLoss(bad + 1, (bad - self.progress.start_step) // self.steps_an_epoch + 1)
        return record

    def _fresh(self) -> Progress:
        before = self.network.progress
        progress = Progress(
            batch=self.batches.batch,
            last=self.batches.last,
            samples=len(self.x),
            start_step=self.step,
            epochs_before=before.epochs_before + before.epoch,
        )
        self.network.compiled.clear_flag()
        self.network.compiled.write_step(cursor=0, correct=0, loss_sum=0.0)
        self.network.progress = progress
        return progress

    def _resumed(self) -> Progress:
        progress = self.network.progress
        if not progress.samples:
            raise ValueError("there is no training to resume: this network was never trained, or compiled anew since")
        before = progress.samples, progress.batch, progress.last
        now = len(self.x), self.batches.batch, self.batches.last
        if before != now:
            raise ValueError(
                f"training went on {before[0]:,} samples in batches of {before[1]} (last={before[2]!r}); "
                f"it cannot resume with {now[0]:,} in batches of {now[1]} (last={now[2]!r})"
            )
        return progress

    def _run_epoch(self) -> None:
        started = time.perf_counter() - self.progress.seconds
        epoch = self.progress.epochs_before + self.progress.epoch
        self.network.compiled.write_step(epoch=epoch)
        done = self._steps_done()
        self._restart_point()
        for step in self._steps(epoch, done):
            step()
            self.step += 1
            done += 1
            self.progress.seconds = time.perf_counter() - started
            self._after_step(done)
            if self._stopping and done < self.steps_an_epoch:
                return
        self._finish_epoch()

    def _steps(self, epoch: int, done: int) -> Iterator[Callable[[], None]]:
        """The steps of an epoch after the first `done`, each ready to be made."""
        if self._resident:
            for start, stop in islice(self.batches.bounds(), done, None):
                valid = min(stop, len(self.x)) - start
                yield partial(self.network.train_gathered, stop - start, valid, self.step)
        else:
            for indices, valid in islice(dataclasses.replace(self.batches, epoch=epoch), done, None):
                x = self.network.normalise(self.x[indices], self.normalization)
                yield partial(self.network.train_batch, x, self.target[indices], valid, self.step)

    def _steps_done(self) -> int:
        """Batches of this epoch that a checkpoint had seen."""
        return -(-int(self.look()["cursor"]) // self.batches.batch)

    def _after_step(self, done: int) -> None:
        every = max(1, self.steps_an_epoch // POINTS_AN_EPOCH)
        if done % every == 0:
            self._add_point(self.look())
        elif done % LOOK_EVERY == 0 and time.perf_counter() > self._looked + LOOK_SECONDS:
            self.look()
        self._call("on_step")

    def _restart_point(self) -> None:
        record = self.look()
        self._point = (int(record["cursor"]), float(record["loss_sum"]))

    def _add_point(self, record: np.void) -> None:
        cursor, loss_sum = self._point
        seen, total = int(record["cursor"]), float(record["loss_sum"])
        if seen > cursor:
            self.progress.curve.append((self.step, (total - loss_sum) / (seen - cursor)))
        self._point = (seen, total)

    def _finish_epoch(self) -> None:
        record = self.look()
        seconds, self.progress.seconds = self.progress.seconds, 0.0
        compiled = self.network.compiled
        answers = record["cursor"] * compiled.answers
        validation = self.network.evaluate(self.validation) if self.validation is not None else None
        self.progress.epoch += 1
        self.progress.records.append(
            EpochRecord(
                epoch=self.progress.epoch,
                steps=self.step,
                loss=float(record["loss_sum"] / record["cursor"]),
                accuracy=float(record["correct"] / answers) if compiled.counts_correct else None,
                validation_loss=validation.loss if validation else None,
                validation_accuracy=validation.accuracy if validation else None,
                seconds=seconds,
            )
        )
        self.network.compiled.write_step(cursor=0, correct=0, loss_sum=0.0)
        for callback in self.callbacks:
            callback.on_epoch(self, self.progress.records[-1])

    def _call(self, method: str) -> None:
        for callback in self.callbacks:
            getattr(callback, method)(self)
