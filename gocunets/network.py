"""Network: a Module made trainable. Compile it for a device, then fit, evaluate, predict, save."""

from __future__ import annotations

import operator
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import numpy.typing as npt

from .backends import Backend, choose
from .compilation import Compilation
from .data import Dataset, Normalization
from .data.batches import Last, batch_bounds
from .errors import GocunetsError, NonFiniteLoss
from .exclusive import Exclusive
from .graph import Graph, Math, Mode, Phase
from .losses import CrossEntropy, Loss
from .nn.module import Module, bind, undone_on_error
from .optim import Adam, Optimizer
from .passes.layout import Layout
from .passes.precision import DtypePolicy
from .program import Program
from .progress import EpochRecord, Progress
from .state import new_step_state
from .tracing import trace_module

if TYPE_CHECKING:
    from .train import Callback

Array = npt.NDArray[Any]
Data = Dataset | tuple[Array, Array]
EVALUATION_BATCH = 200


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` found: mean loss, share of right answers (None without classes), samples."""

    loss: float
    accuracy: float | None
    count: int


class Network:
    """A module with its input shape (of one sample, e.g. (1, 28, 28)), and after `compile` its states and programs.

    Shapes are checked here: a layer that does not fit raises GraphError with its name. A Network
    serves one thread at a time; a Module belongs to one Network.
    """

    def __init__(self, module: Module, input_shape: Sequence[int], *, seed: int = 0) -> None:
        self.module = module
        self.input_shape = tuple(map(operator.index, input_shape))
        self.seed = seed
        self.policy = DtypePolicy()
        self.normalization: Normalization | None = None
        self.progress = Progress()
        self._exclusive = Exclusive("network")
        self._identity = object()  # what its parameters name as their owner: naming it would be a reference cycle
        self._step_state = new_step_state(seed)
        self._compiled: Compilation | None = None
        self._active: Program | None = None
        self._due: Phase = "forward"
        with undone_on_error(module):
            bind(module, seed=seed, dtype=self.policy.parameter, owner=self._identity)
            self.trace()

    def compile(
        self,
        *,
        loss: Loss | None = None,
        optimizer: Optimizer | Mapping[str, Optimizer] | None = None,
        device: str | Backend = "auto",
        dtype: str = "float32",
        math: Math = "fma",
        layout: Layout = "auto",
        keep: Collection[str] = (),
        share: bool = True,
    ) -> Network:
        """Prepare for a device; weights that are there already are kept, moments and step counter begin anew.

        `optimizer` is one for all parameters (Adam by default) or several by name pattern, the first
        that matches: {"*.b": SGD(...), "*": Adam(...)}. `layout` is the order of activations in memory,
        "channels_first", "channels_last", or what suits the device. `keep` names values to be readable after a
        step; `share=False` gives every value memory of its own. Raises DeviceUnavailable, CompileError.
        """
        with self._exclusive, undone_on_error(self.module):
            backend = choose(device)
            policy = DtypePolicy.of(dtype, math)
            if layout not in get_args(Layout):
                raise ValueError(f"layout {layout!r} is none of {', '.join(get_args(Layout))}")
            backend.check_policy(policy)
            contents = self._contents()
            bind(self.module, seed=self.seed, dtype=policy.parameter, owner=self._identity)
            own_loss = getattr(self.module, "loss", None)
            compiled = Compilation(
                self.module,
                self.input_shape,
                self._step_state,
                loss=loss or (own_loss if isinstance(own_loss, Loss) else CrossEntropy()),
                optimizer=optimizer or Adam(),
                backend=backend,
                policy=policy,
                layout=layout,
                keep=tuple(keep),
                share=share,
            )
            for state in compiled.store.states:
                if state.name in contents:
                    compiled.store.write(state, contents[state.name])
            compiled.write_step(loss_scale=policy.loss_scale, steady=0)
            self.policy, self._compiled, self._active = policy, compiled, None
            self.progress = Progress()  # steps and moments begin anew, so there is no training to resume
        return self

    def trace(self, mode: Mode = "inference", batch: int = 1) -> Graph:
        """The graph of the module alone, for a batch size."""
        return trace_module(self.module, (batch, *self.input_shape), self.policy, mode, self._step_state)

    # --- one step ---------------------------------------------------------------------------------

    def step(self, x: Array, target: Array, *, check: bool = False) -> float:
        """One training step on one batch; returns its mean loss.

        x (N, *input shape), as the network sees it (normalised); target as the loss wants it. `check`
        runs node by node and names the first that fails or makes infinite or NaN values. Raises
        NonFiniteLoss when the loss or a gradient is not finite; nothing was updated then.
        """
        with self._exclusive:
            program = self._prepare(x, target, "training")
            program.run(check=check)
            self._raise_if_flagged()
            return float(program.read("loss"))

    def forward(self, x: Array, target: Array) -> float:
        """The forward slice of a step; returns the mean loss. Then come `backward` and `update`."""
        with self._exclusive:
            self._active = self._prepare(x, target, "training")
            self._active.run("forward")
            self._due = "backward"
            return float(self._active.read("loss"))

    def backward(self) -> dict[str, Array]:
        """The backward slice of the step that `forward` began; returns the gradients by parameter name."""
        with self._exclusive:
            program = self._slice("backward")
            program.run("backward")
            self._due = "update"
            names = [name for name in program.graph.outputs if name.startswith("gradient/")]
            return {name.removeprefix("gradient/"): program.read(name) for name in names}

    def update(self) -> None:
        """The update slice: parameters, moments, step counter. Raises NonFiniteLoss, as `step` does."""
        with self._exclusive:
            self._slice("update").run("update")
            self._active = None
            self._raise_if_flagged()

    def inference(self, x: Array) -> Array:
        """The network's output for one batch as it sees it (normalised), in inference mode."""
        with self._exclusive:
            program = self.compiled.program("module", len(x))
            program.feed(x=self._cast(x))
            program.run()
            return program.read("y")

    def inspect(self, x: Array, target: Array) -> dict[str, Array]:
        """Every value and gradient of a training step on one batch, by name; nothing is updated."""
        with self._exclusive:
            program = self._prepare(x, target, "inspection")
            program.run("forward")
            program.run("backward")
            values = program.read_all()
            return values | {name: program.read(name) for name in program.graph.outputs}

    def value(self, name: str) -> Array:
        """A value of the last `forward` or `step`, by name. Raises ValueReleased unless it was kept."""
        with self._exclusive:
            program = self._active or self.compiled.last_program("training")
            if program is None:
                raise GocunetsError("no step was made yet, so there is no value to read")
            return program.read(name)

    # --- whole data sets ----------------------------------------------------------------------------

    def fit(
        self,
        train: Data,
        *,
        epochs: int = 1,
        batch: int = 50,
        validation: Data | None = None,
        last: Last = "smaller",
        callbacks: Sequence[Callback] = (),
        resume: bool = False,
    ) -> list[EpochRecord]:
        """Train on a Dataset, or on (x, target) arrays; returns a record for each epoch.

        `last` says what happens to the samples that fill no batch: a smaller batch, dropped, or padded
        with a masked mean. With `resume`, an interrupted fit goes on, up to `epochs` in all. Raises
        NonFiniteLoss when the loss diverges; the weights are then those before the bad step.
        """
        from .train import Trainer

        with self._exclusive:
            trainer = Trainer(
                self,
                train,
                epochs=epochs,
                batch=batch,
                validation=validation,
                last=last,
                callbacks=callbacks,
                resume=resume,
            )
            return trainer.run()

    def evaluate(self, data: Data, *, batch: int | None = None) -> Evaluation:
        """Mean loss and accuracy over a data set, in inference mode."""
        loss_sum, correct, count, counted = 0.0, 0, 0, False
        for program, valid in self._sweep(*self.prepare_data(data), batch):
            loss_sum += valid * float(program.read("loss"))
            count += valid
            if "correct" in program.graph.outputs:
                correct += int(program.read("correct"))
                counted = True
        answers = count * self.compiled.answers
        return Evaluation(loss_sum / count, correct / answers if counted else None, count)

    def predict(self, images: Array, *, batch: int | None = None) -> Array:
        """The loss's prediction for each image, e.g. probabilities (N, classes).

        Images are normalised as the training data was.
        """
        images = np.asarray(images)
        if images.ndim == len(self.input_shape):
            images = images[None]
        if images.shape[1:] != self.input_shape or not len(images):
            raise ValueError(
                f"images have shape {images.shape}; (N, {', '.join(map(str, self.input_shape))}) is needed"
            )
        target_type = self.compiled.loss.target_type(self.compiled.output_type)
        target = np.zeros((len(images), *target_type.shape[1:]), target_type.dtype.numpy())
        pieces = [
            program.read("prediction")[:valid]
            for program, valid in self._sweep(images, target, self.normalization, batch)
        ]
        return np.concatenate(pieces)

    def prepare_data(self, data: Data) -> tuple[Array, Array, Normalization | None]:
        """Images, targets and the normalisation to apply, checked against the network's shapes and classes."""
        normalization = self.normalization
        if isinstance(data, Dataset):
            x, target = data.images, data.labels
            normalization = normalization or data.normalization()
        else:
            x, target = (np.asarray(array) for array in data)
        self._check_data(x, target)
        return x, target, normalization

    # --- states ---------------------------------------------------------------------------------------

    @property
    def compiled(self) -> Compilation:
        """Loss, optimizers, backend and states. Raises GocunetsError before `compile`."""
        if self._compiled is None:
            raise GocunetsError("the network is not compiled; call compile() first")
        return self._compiled

    @property
    def weights(self) -> dict[str, Array]:
        """A copy of every parameter by name."""
        return {s.name: self.compiled.store.read(s) for s in self.compiled.store.states if s.role == "parameter"}

    def save(self, path: str | PathLike[str]) -> None:
        """Write a model file: weights, moments, architecture, where training stands. Raises CheckpointError."""
        from .io.checkpoint import save

        save(self, path)

    @staticmethod
    def load(path: str | PathLike[str], *, device: str | Backend = "auto") -> Network:
        """The network of a model file, compiled, ready to predict or to go on training. Raises CheckpointError."""
        from .io.checkpoint import load

        return load(path, device=device)

    # --- inside -----------------------------------------------------------------------------------------

    def train_batch(self, x: Array, target: Array, valid: int, step: int | None = None) -> None:
        """One step on a batch whose first `valid` samples count, without reading anything back.

        Schedules take it for the `step`th, or ask the step state how many updates were made.
        """
        with self._exclusive:
            self._active = None
            program = self.compiled.program("training", len(x))
            self.compiled.feed(program, x, target, valid, step)
            program.run()

    def train_gathered(self, batch: int, valid: int, step: int) -> None:
        """One step on the next batch of the data set on the device, the `step`th."""
        with self._exclusive:
            self._active = None
            program = self.compiled.program("resident", batch)
            self.compiled.prepare_step(valid, step)
            program.run()

    def normalise(self, x: Array, normalization: Normalization | None) -> Array:
        """A batch in the parameters' dtype, which the program takes, normalised when there is a normalisation."""
        return self._cast(x) if normalization is None else normalization.apply(x, self.policy.parameter.numpy())

    def _prepare(self, x: Array, target: Array, kind: str) -> Program:
        self._active = None  # the step state is written anew: what a forward began cannot go on
        program = self.compiled.program(kind, len(x))
        self.compiled.feed(program, self._cast(x), np.asarray(target), len(x))
        return program

    def _sweep(
        self, x: Array, target: Array, normalization: Normalization | None, batch: int | None
    ) -> Iterator[tuple[Program, int]]:
        """Run every batch of a data set through the evaluation program, the last one padded."""
        size = len(x)
        batch = min(batch or EVALUATION_BATCH, size)
        for start, stop in batch_bounds(size, batch, "pad"):
            with self._exclusive:
                self._active = None
                program = self.compiled.program("evaluation", batch)
                indices = np.arange(start, stop) % size
                valid = min(stop, size) - start
                images = self.normalise(x[indices], normalization)
                self.compiled.feed(program, images, target[indices], valid)
                program.run()
                yield program, valid

    def _cast(self, x: Array) -> Array:
        return np.asarray(x).astype(self.policy.parameter.numpy(), copy=False)

    def _check_data(self, x: Array, target: Array) -> None:
        if x.shape[1:] != self.input_shape:
            raise ValueError(f"images have shape {x.shape[1:]}, the network takes {self.input_shape}")
        if len(x) != len(target) or not len(x):
            raise ValueError(f"{len(x):,} images with {len(target):,} targets")
        expected = self.compiled.loss.target_type(self.compiled.output_type)
        if target.shape[1:] != expected.shape[1:]:
            raise ValueError(f"targets have shape {target.shape[1:]}, the loss takes {expected.shape[1:]}")
        if isinstance(self.compiled.loss, CrossEntropy):
            _check_labels(target, self.compiled.output_type.shape[1])

    def _raise_if_flagged(self) -> None:
        """Raise NonFiniteLoss where the step state says that an update was skipped, and clear it for the next."""
        record = self.compiled.step_record
        if record["nonfinite"]:
            self.compiled.clear_flag()
            raise NonFiniteLoss(int(record["first_bad_step"]) + 1)

    def _slice(self, phase: Phase) -> Program:
        if self._active is None or self._due != phase:
            raise GocunetsError(f"{phase} is not due: a step is forward, backward, update, each once")
        return self._active

    def _contents(self) -> dict[str, Array]:
        if self._compiled is None:
            return {}
        store = self._compiled.store
        return {s.name: store.read(s) for s in store.states if s.role in ("parameter", "statistic")}


def _check_labels(labels: Array, classes: int) -> None:
    if labels.dtype.kind not in "iu":
        raise TypeError(f"labels are {labels.dtype}; integers are needed")
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= classes:
        raise ValueError(f"labels lie in {low}..{high}, the network has {classes} classes (0..{classes - 1})")
