"""Pictures as PNG files, by matplotlib: loss curves and first filters of a training, times of a benchmark."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .progress import Progress

Array = npt.NDArray[Any]


def available() -> bool:
    """Whether matplotlib is installed (`pip install 'gocunets[data]'`)."""
    import importlib.util

    return importlib.util.find_spec("matplotlib") is not None


def plot_losses(progress: Progress, path: Path) -> None:
    """Training loss by step, and the validation loss after each epoch where there is one."""
    figure, axes = _figure(7, 4)
    if progress.curve:
        steps, losses = zip(*progress.curve, strict=True)
        axes.plot(steps, losses, linewidth=1.2, label="training")
    validated = [(r.steps, r.validation_loss) for r in progress.records if r.validation_loss is not None]
    if validated:
        axes.plot(*zip(*validated, strict=True), "o-", label="test")
    positive = any(loss > 0 for _, loss in (*progress.curve, *validated))
    axes.set(xlabel="step", ylabel="loss (nats)", yscale="log" if positive else "linear", title="Loss")
    axes.grid(alpha=0.3, which="both")
    if axes.lines:
        axes.legend()
    figure.savefig(path, dpi=150)


def plot_filters(w: Array, path: Path) -> None:
    """The first input channel of each filter of w (K, C, H, W), on one grey scale."""
    count = len(w)
    columns = math.ceil(math.sqrt(count * 1.6))
    rows = math.ceil(count / columns)
    limit = float(np.abs(w[:, 0]).max()) or 1.0
    figure, grid = _figure(columns * 0.9, rows * 0.9 + 0.4, rows, columns)
    for axes in np.atleast_1d(grid).flat:
        axes.axis("off")
    for axes, image in zip(np.atleast_1d(grid).flat, w[:, 0], strict=False):
        axes.imshow(image, cmap="gray", vmin=-limit, vmax=limit, interpolation="nearest")
    figure.suptitle(f"{count} first filters, ±{limit:.2f}", fontsize=9)
    figure.savefig(path, dpi=150)


def plot_times(rows: Mapping[int, Mapping[str, float]], path: Path) -> None:
    """Seconds an epoch by batch size, a line a peer: `rows` is batch size -> peer -> seconds."""
    figure, axes = _figure(7, 4)
    for peer in dict.fromkeys(peer for times in rows.values() for peer in times):
        times = [(batch, found[peer]) for batch, found in sorted(rows.items()) if peer in found]
        axes.plot(*zip(*times, strict=True), "o-", linewidth=1.2, label=peer)
    axes.set(
        xlabel="batch size", ylabel="seconds an epoch", xscale="log", yscale="log", title="Training, 60,000 images"
    )
    axes.set_xticks(sorted(rows), [str(batch) for batch in sorted(rows)], minor=False)
    axes.minorticks_off()
    axes.grid(alpha=0.3, which="both")
    axes.legend()
    figure.savefig(path, dpi=150)


def _figure(width: float, height: float, rows: int = 1, columns: int = 1) -> tuple[Any, Any]:
    """A figure that needs no display and no global state of matplotlib."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns)
