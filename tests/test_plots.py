"""Pictures of a training are readable PNG files, whatever there is to show."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gocunets import EpochRecord, plots
from gocunets.progress import Progress


def look(path: Path) -> np.ndarray:
    """The grey values of a PNG file."""
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        return np.asarray(picture.convert("L"))


def make_progress(epochs: int, validated: bool, points: int = 20, loss: float = 2.0) -> Progress:
    records = [
        EpochRecord(n, 60 * n, loss / n, 0.9, loss / n if validated else None, 0.8 if validated else None, 1.0)
        for n in range(1, epochs + 1)
    ]
    curve = [(3 * n, loss / n) for n in range(1, points * epochs + 1)]
    return Progress(epoch=epochs, records=records, curve=curve)


@pytest.mark.parametrize("validated", [True, False])
@pytest.mark.parametrize("epochs", [0, 1, 3])
def test_losses(epochs: int, validated: bool, tmp_path: Path) -> None:
    plots.plot_losses(make_progress(epochs, validated), tmp_path / "loss.png")
    assert look(tmp_path / "loss.png").shape == (600, 1050)


@pytest.mark.parametrize("loss", [0.0, 1e-12, 1e12])
def test_losses_of_any_size(loss: float, tmp_path: Path) -> None:
    plots.plot_losses(make_progress(2, True, loss=loss), tmp_path / "loss.png")
    look(tmp_path / "loss.png")


@pytest.mark.parametrize("points", [0, 1])
def test_losses_of_few_points(points: int, tmp_path: Path) -> None:
    plots.plot_losses(make_progress(1, True, points), tmp_path / "loss.png")
    look(tmp_path / "loss.png")


def test_more_epochs_draw_more(tmp_path: Path) -> None:
    ink = []
    for epochs in (0, 3):
        plots.plot_losses(make_progress(epochs, True), tmp_path / "loss.png")
        ink.append(int((look(tmp_path / "loss.png") < 200).sum()))
    assert ink[0] < ink[1]


@pytest.mark.parametrize("shape", [(1, 1, 4, 4), (20, 1, 4, 4), (7, 3, 5, 5), (2, 3, 1, 1), (64, 16, 3, 7)], ids=str)
def test_filters(shape: tuple[int, ...], tmp_path: Path) -> None:
    w = np.random.RandomState(0).standard_normal(shape).astype(np.float32)
    plots.plot_filters(w, tmp_path / "filters.png")
    assert len(np.unique(look(tmp_path / "filters.png"))) > 5


def test_filters_that_are_zero(tmp_path: Path) -> None:
    plots.plot_filters(np.zeros((3, 1, 2, 2), np.float32), tmp_path / "filters.png")
    look(tmp_path / "filters.png")


def test_plotting_needs_no_display(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And leaves matplotlib's global state alone."""
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    plots.plot_losses(make_progress(1, True), tmp_path / "loss.png")
    look(tmp_path / "loss.png")


@pytest.mark.parametrize("there", [True, False])
def test_available(there: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object() if there else None)
    assert plots.available() is there
