"""`gocunets train`: the thesis's network on MNIST, by default."""

from __future__ import annotations

import math
import os
import shlex
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import click
from rich.console import Console

from .. import data, optim, plots
from ..backends import choose
from ..data import DataError, Dataset, Splits
from ..errors import CheckpointError
from ..metrics import confusion_matrix
from ..network import Network
from ..passes.precision import DtypePolicy
from ..summary import layer_rows
from ..train import Checkpoint, Trainer
from ..zoo import thesis_network
from .common import Interrupted, confusion_table, console, data_option, device_line, device_option, layer_table
from .progress import Display

MODEL_NAME = "model.safetensors"
OPTIMIZERS: dict[str, type[optim.Optimizer]] = {
    "adam": optim.Adam,
    "sgd": optim.SGD,
    "momentum": optim.Momentum,
    "adagrad": optim.Adagrad,
    "adadelta": optim.Adadelta,
}


class _Finite(click.FloatRange):
    """A finite number of at least 0."""

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> float:
        number = float(super().convert(value, parameter, context))
        if not math.isfinite(number):
            self.fail(f"{value} is not finite", parameter, context)
        return number


FINITE = _Finite(min=0)


@click.command("train", context_settings={"show_default": True})
@data_option
@device_option
@click.option("--batch", type=click.IntRange(min=1), default=50, help="Images a step.")
@click.option("--epochs", type=click.IntRange(min=1), default=3, help="Epochs in all, those before --resume included.")
@click.option("--dtype", type=click.Choice(["float32", "float64", "float16", "bfloat16"]), default="float32",
              help="What layers compute in; half precision needs CUDA.")  # fmt: skip
@click.option("--math", type=click.Choice(["fma", "tf32"]), default="fma", help="Products of float32 on CUDA.")
@click.option("--optimizer", type=click.Choice(list(OPTIMIZERS)), default="adam", help="Update rule.")
@click.option("--lr", type=FINITE, default=None, help="Learning rate.  [default: the optimizer's own]")
@click.option("--l1", type=FINITE, default=1e-5, help="L1 penalty on all parameters.")
@click.option("--l2", type=FINITE, default=1e-4, help="L2 penalty on all parameters.")
@click.option("--seed", type=click.IntRange(min=0, max=2**63 - 1), default=0, help="Of weights, order and dropout.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=None,
    help="Folder for the model and the pictures.  [default: the next free runs/N]",
)
@click.option("--resume", is_flag=True, help="Go on with the model in --out, if there is one.")
@click.option("--checkpoint-every", type=click.IntRange(min=1), default=None, metavar="STEPS",
              help="Write the model every so many steps too, not only after every epoch.")  # fmt: skip
@click.pass_context
def train_command(context: click.Context, /, **options: Any) -> None:
    """Train the thesis's CNN and write model and pictures to a folder."""
    out = console()
    folder = _folder(options["out"], options["resume"])
    model = folder / MODEL_NAME
    resuming = options["resume"] and model.exists()
    if not resuming:  # a file fixes its own dtype
        choose(options["device"]).check_policy(DtypePolicy.of(options["dtype"], options["math"]))
    splits = data.load(options["source"])
    out.print(f"data: {splits.note}")
    out.print(device_line(options["device"]))
    if resuming:
        network = _resumed(model, splits, options, context)
        out.print(
            f"resuming {model} after {network.progress.epoch} epochs, step {network.compiled.step_record['step']}"
        )
    else:
        network = _fresh(splits, options)
    out.print(layer_table(layer_rows(network.trace()), "The network, one image"))
    _train(network, splits, model, options, out)
    _report(network, splits, folder, out)


def _folder(folder: Path | None, resume: bool) -> Path:
    """The output folder; nothing is made yet, but that it can be is looked at. Raises UsageError, CheckpointError."""
    if folder is None:
        if resume:
            raise click.UsageError("--resume needs --out, the folder of the run to go on with")
        folder = next(path for n in range(1, 1_000_000) if not (path := Path("runs") / str(n)).exists())
    if (folder / MODEL_NAME).exists() and not resume:
        raise click.UsageError(f"{folder} holds a model already; go on with it by --resume, or choose another --out")
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    _prove_writable(there, folder)
    return folder


def _make(folder: Path) -> None:
    """Make the output folder, now that there is something to write. Raises CheckpointError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CheckpointError(f"cannot write to {folder}: {error.strerror}") from error
    _prove_writable(folder, folder)


def _prove_writable(there: Path, folder: Path) -> None:
    """Write a file and take it away again. Raises CheckpointError."""
    probe = there / f".writable.{os.getpid()}"
    try:
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise CheckpointError(f"cannot write to {folder}: {error.strerror}") from error


def _fresh(splits: Splits, options: dict[str, Any]) -> Network:
    shape = splits.train.images.shape[1:]
    network = Network(thesis_network(splits.train.classes), shape, seed=options["seed"])
    penalties = {"l1": options["l1"], "l2": options["l2"]}
    rate = {} if options["lr"] is None else {"rate": options["lr"]}
    optimizer = OPTIMIZERS[options["optimizer"]](**rate, **penalties)
    return network.compile(optimizer=optimizer, device=options["device"], dtype=options["dtype"], math=options["math"])


def _resumed(model: Path, splits: Splits, options: dict[str, Any], context: click.Context) -> Network:
    network = Network.load(model, device=options["device"])
    for name, fixed in _settings(network).items():
        given = context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
        if given and options[name] != fixed:
            raise click.UsageError(f"--{name} {options[name]}, but {model} was trained with {fixed}; leave it out")
    options["batch"] = network.progress.batch
    _check_same_data(network, splits.train, model)
    return network


def _check_same_data(network: Network, train: Dataset, model: Path) -> None:
    """Raise DataError for as many images of another mean; of another number, Trainer knows."""
    before, now = network.normalization, train.normalization()
    if before is None or len(train) != network.progress.samples or math.isclose(before.mean, now.mean, rel_tol=1e-6):
        return
    raise DataError(
        f"{train.name} has pixels of mean {now.mean:.6f}, {model} was trained on pixels of mean {before.mean:.6f}; "
        "--resume needs the same data"
    )


def _settings(network: Network) -> dict[str, Any]:
    """The options that a model file fixes."""
    policy, rule = network.policy, next(iter(network.compiled.optimizers.values()))
    return {
        "batch": network.progress.batch,
        "dtype": policy.compute,
        "math": policy.math,
        "optimizer": rule.name,
        "lr": rule.rate,
        "l1": rule.l1,
        "l2": rule.l2,
        "seed": network.seed,
    }


def _train(network: Network, splits: Splits, model: Path, options: dict[str, Any], out: Console) -> None:
    display = Display(out)
    trainer = Trainer(
        network,
        splits.train,
        epochs=options["epochs"],
        batch=options["batch"],
        validation=splits.test,
        callbacks=[Checkpoint(model, options["checkpoint_every"]), display],
        resume=options["resume"] and model.exists(),
    )
    _make(model.parent)
    try:
        with _stopping_on_signals(trainer) as received:
            trainer.run()
    finally:
        display.close()
    if received:
        out.print(f"interrupted after step {trainer.step}; go on with: {_command_to_resume(model.parent, options)}")
        raise Interrupted(received[0])


def _command_to_resume(folder: Path, options: dict[str, Any]) -> str:
    given = {"--out": folder, "--data": options["source"], "--epochs": options["epochs"]}
    if options["checkpoint_every"]:
        given["--checkpoint-every"] = options["checkpoint_every"]
    if options["device"] != "auto":
        given["--device"] = options["device"]
    return shlex.join(["gocunets", "train", "--resume", *(str(word) for pair in given.items() for word in pair)])


@contextmanager
def _stopping_on_signals(trainer: Trainer) -> Iterator[list[int]]:
    """Let Ctrl-C and SIGTERM end training after the step under way; a second one at once."""
    received: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        if received:
            raise KeyboardInterrupt
        received.append(number)
        trainer.stop()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _report(network: Network, splits: Splits, folder: Path, out: Console) -> None:
    last = network.progress.records[-1]
    predicted = network.predict(splits.test.images).argmax(axis=1)
    out.print(confusion_table(confusion_matrix(splits.test.labels, predicted, splits.test.classes)))
    out.print(f"test accuracy {100 * (last.validation_accuracy or 0):.2f} % on {len(splits.test):,} images")
    if not splits.comparable:
        out.print(f"this is the result on {splits.test.name}, not on MNIST")
    written = [folder / MODEL_NAME]
    if plots.available():
        written += [folder / "loss.png", folder / "filters.png"]
        plots.plot_losses(network.progress, written[1])
        plots.plot_filters(next(w for w in network.weights.values() if w.ndim == 4), written[2])
    else:
        out.print("no pictures: matplotlib is missing (pip install 'gocunets[data]')")
    out.print("written: " + ", ".join(map(str, written)))
