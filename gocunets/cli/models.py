"""`gocunets eval`, `predict` and `summary`: commands on a model file."""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
from rich.table import Table

from .. import data
from ..io import read_header
from ..metrics import confusion_matrix
from ..network import Network
from ..summary import layer_rows
from .common import confusion_table, console, data_option, device_line, device_option, layer_table

MODEL = click.argument("model", type=click.Path(path_type=Path))


@click.command("eval")
@MODEL
@data_option
@device_option
@click.option("--batch", type=click.IntRange(min=1), default=200, show_default=True, help="Images a batch.")
def eval_command(model: Path, source: str, device: str, batch: int, debug: bool) -> None:
    """Loss, accuracy and confusion matrix of MODEL on the test set."""
    out = console()
    network = Network.load(model, device=device)
    splits = data.load(source)
    out.print(f"data: {splits.note}")
    out.print(device_line(device))
    result = network.evaluate(splits.test, batch=batch)
    out.print(f"test loss {result.loss:.4f} nats, {result.count:,} images")
    if result.accuracy is not None:
        predicted = network.predict(splits.test.images, batch=batch).argmax(axis=1)
        out.print(f"test accuracy {100 * result.accuracy:.2f} %")
        classes = max(splits.test.classes, 1 + int(predicted.max()))
        out.print(confusion_table(confusion_matrix(splits.test.labels, predicted, classes)))


@click.command("predict")
@MODEL
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--top", type=click.IntRange(min=1), default=3, show_default=True, help="Classes to show.")
@click.option("--invert", is_flag=True, help="Dark on light, where the training data is light on dark.")
@device_option
def predict_command(model: Path, images: tuple[Path, ...], top: int, invert: bool, device: str, debug: bool) -> None:
    """The most probable classes of each IMAGE (PNG, JPEG or .npy), resized to what MODEL takes."""
    out = console()
    network = Network.load(model, device=device)
    shape = network.input_shape
    if len(shape) != 3:
        raise click.UsageError(f"{model} takes inputs of shape {shape}, not images")
    pictures = np.stack([data.read_image(path, (shape[0], shape[1], shape[2])) for path in images])
    pictures = 255 - pictures if invert else pictures
    if network.normalization is not None and network.normalization.scale == 1:  # trained on floats in 0..1
        pictures = pictures.astype(np.float32) / 255
    probabilities = network.predict(pictures)
    table = Table()
    for name in ("image", "class", "probability", "then"):
        table.add_column(name, overflow="fold")
    for path, row in zip(images, probabilities, strict=True):
        ranked = np.argsort(-row, kind="stable")[:top]
        others = ", ".join(f"{index} ({100 * row[index]:.1f} %)" for index in ranked[1:])
        table.add_row(str(path), str(ranked[0]), f"{100 * row[ranked[0]]:.1f} %", others)
    out.print(table)


@click.command("summary")
@MODEL
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def summary_command(model: Path, debug: bool) -> None:
    """Layers, shapes, parameters and training record of MODEL."""
    out = console()
    header = read_header(model)
    network = Network.load(model, device="cpu")
    out.print(layer_table(layer_rows(network.trace()), f"{model}: input {'x'.join(map(str, network.input_shape))}"))
    rules = ", ".join(str(rule) for rule in network.compiled.optimizers.values())
    out.print(f"loss {network.compiled.loss}, optimizer {rules}, seed {network.seed}, dtype {network.policy.compute}")
    versions = header.get("versions")
    writer = versions.get("gocunets", "unknown") if isinstance(versions, dict) else "unknown"
    out.print(f"written by gocunets {writer} on {header.get('device', 'an unknown device')}")
    for record in network.progress.records:
        tested = "" if record.validation_loss is None else f", test loss {record.validation_loss:.4f}"
        right = (
            "" if record.validation_accuracy is None else f", test accuracy {100 * record.validation_accuracy:.2f} %"
        )
        out.print(f"epoch {record.epoch}: loss {record.loss:.4f}{tested}{right}, {record.seconds:.1f} s")
