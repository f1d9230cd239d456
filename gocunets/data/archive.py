"""Sets in one .npz file, as Keras keeps them: x_train, y_train, x_test, y_test."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

import numpy as np

from .dataset import Array, Dataset, Splits, count_classes
from .errors import DataError, DataNotFound

BRIGHTEST = 20.0  # no standardised pixel is brighter
NAMES = ("x_train", "y_train", "x_test", "y_test")


def load_npz(path: str | PathLike[str]) -> Splits:
    """Read a set from a .npz file: images (N, H, W) or (N, C, H, W), labels (N,) or (N, 1).

    As many classes as the training labels ask for. Pickled objects are refused. DataNotFound if the file is
    missing, DataError if it is broken, lacks an array, or an array cannot be used.
    """
    path = Path(path)
    arrays = _read(path)
    x_train, x_test = (_images(path, name, arrays[name]) for name in ("x_train", "x_test"))
    y_train, y_test = (_labels(path, name, arrays[name]) for name in ("y_train", "y_test"))
    classes = count_classes(f"{path} train", y_train)
    return Splits(
        Dataset(f"{path} train", x_train, y_train, classes),
        Dataset(f"{path} test", x_test, y_test, classes),
        f"arrays from {path}: {len(x_train):,} training and {len(x_test):,} test images{_unscaled(x_train)}",
        comparable=False,
    )


def _read(path: Path) -> dict[str, Array]:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            found = sorted(archive)
            arrays = {name: archive[name] for name in NAMES if name in archive}
    except FileNotFoundError as error:
        raise DataNotFound(f"{path} does not exist") from error
    except Exception as error:  # zipfile, zlib and NumPy's header parser raise a dozen kinds
        raise DataError(f"{path}: not a readable .npz file: {type(error).__name__}: {error}") from error
    missing = [name for name in NAMES if name not in arrays]
    if missing:
        raise DataError(f"{path}: lacks {', '.join(missing)}; it holds {', '.join(found) or 'nothing'}")
    return arrays


def _images(path: Path, name: str, x: Array) -> Array:
    if x.ndim == 3:
        return x[:, np.newaxis]
    if x.ndim == 4 and x.shape[3] in (1, 3) and x.shape[1] not in (1, 3):
        raise DataError(f"{path}: {name} {x.shape} has its channels last; expected (N, C, H, W): transpose(0, 3, 1, 2)")
    return x


def _unscaled(x: Array) -> str:
    """A word on floating-point pixels that look as if they were meant to be divided by 255."""
    if x.dtype.kind != "f" or not x.size or not x.max() > BRIGHTEST:
        return ""
    return f"; their pixels reach {x.max():g} and are taken as they are: divide by 255, or store uint8"


def _labels(path: Path, name: str, y: Array) -> Array:
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.dtype.kind not in "iu":
        raise DataError(f"{path}: {name} is {y.dtype}, expected integers")
    return y
