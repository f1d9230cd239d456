"""Labelled images in memory, checked when they are made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .errors import DataError

Array = NDArray[Any]


@dataclass(frozen=True)
class Normalization:
    """The map from stored pixels to what a network sees: images * scale - mean."""

    scale: float
    mean: float

    def apply(self, images: Array, dtype: DTypeLike = np.float32) -> Array:
        """Return images * scale - mean, computed in the float type `dtype`.

        A new array of the same shape, made without another temporary. TypeError if `dtype` is not a float
        type.
        """
        kind: np.dtype[Any] = np.dtype(dtype)
        if kind.kind != "f":
            raise TypeError(f"normalization: dtype {kind} is not a float type")
        scale, mean = kind.type(self.scale), kind.type(self.mean)
        y = np.multiply(images, scale, dtype=kind, casting="same_kind")
        return np.asarray(np.subtract(y, mean, out=y))


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Images (N, C, H, W), uint8 in 0..255 or float, with one class number each.

    Labels of any integer type become int64 (N,). DataError, naming the set, the first bad index and its
    value: lengths that differ, empty data, another rank or type, a label outside 0..classes-1, NaN or
    infinity.
    """

    name: str
    images: Array
    labels: Array
    classes: int

    def __post_init__(self) -> None:
        _check_images(self.name, self.images)
        _check_labels(self.name, self.labels, len(self.images), self.classes)
        object.__setattr__(self, "labels", self.labels.astype(np.int64, copy=False))

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        shape = "x".join(str(extent) for extent in self.images.shape[1:])
        return f"Dataset({self.name}: {len(self):,} images {shape} {self.images.dtype}, {self.classes} classes)"

    @property
    def scale(self) -> float:
        """What brings pixels to 0..1: 1/255 for uint8 images, 1 for float images."""
        return 1 / 255 if self.images.dtype == np.uint8 else 1.0

    def pixel_mean(self) -> float:
        """Mean over all pixels of images / 255 (float images as they are), summed exactly or in float64."""
        if self.images.dtype == np.uint8:
            return int(self.images.sum(dtype=np.uint64)) / (255 * self.images.size)
        return float(self.images.mean(dtype=np.float64))

    def normalization(self) -> Normalization:
        """The thesis's input map made from these (training) images: x / 255 minus their scalar mean."""
        return Normalization(self.scale, self.pixel_mean())


@dataclass(frozen=True, eq=False)
class Splits:
    """A training set and a test set of the same kind.

    `note` is one line for humans: what the data is and where it came from. `comparable` is True only when
    the images are those of MNIST, byte for byte: only then may results stand beside others' MNIST results.
    DataError if image shape, type or number of classes differ between the two.
    """

    train: Dataset
    test: Dataset
    note: str
    comparable: bool

    def __post_init__(self) -> None:
        train, test = _kind(self.train), _kind(self.test)
        if train != test:
            raise DataError(f"{self.train.name} has {train}, {self.test.name} has {test}: they must agree")


def count_classes(name: str, labels: Array, least: int = 1) -> int:
    """How many classes training labels ask for: one more than the largest, at least `least`.

    DataError when a class above 9 occurs nowhere, for then the largest label is more likely wrong than right.
    """
    if not labels.size:
        return least
    largest = int(labels.max())
    present = np.unique(labels[(labels >= 10) & (labels <= largest)])
    wanted = max(0, largest - 9)
    if len(present) < wanted:
        raise DataError(
            f"{name}: label {int(labels.argmax())} is {largest}, which asks for {largest + 1:,} classes, but "
            f"{wanted - len(present):,} of them occur nowhere; number the classes from 0 without gaps"
        )
    return max(least, largest + 1)


def _kind(data: Dataset) -> str:
    return f"images {data.images.shape[1:]} {data.images.dtype} in {data.classes} classes"


def _check_images(name: str, images: Array) -> None:
    if images.ndim != 4:
        raise DataError(f"{name}: images have rank {images.ndim} {images.shape}, expected 4 (N, C, H, W)")
    if images.size == 0:
        raise DataError(f"{name}: no data: images are {images.shape}")
    if images.dtype == np.uint8:
        return
    if images.dtype.kind != "f":
        raise DataError(f"{name}: images are {images.dtype}, expected uint8 or a float type")
    _check_finite(name, images)


def _check_finite(name: str, images: Array) -> None:
    bad = ~np.isfinite(images)
    if not bad.any():
        return
    first = tuple(int(i) for i in np.unravel_index(int(bad.argmax()), bad.shape))
    count = int(bad.any(axis=(1, 2, 3)).sum())
    raise DataError(
        f"{name}: image {first[0]} holds {images[first]} at (channel, row, column) {first[1:]}; "
        f"{count:,} of {len(images):,} images are not finite"
    )


def _check_labels(name: str, labels: Array, images: int, classes: int) -> None:
    if labels.ndim != 1:
        raise DataError(f"{name}: labels have rank {labels.ndim} {labels.shape}, expected 1 (N,)")
    if labels.dtype.kind not in "iu":
        raise DataError(f"{name}: labels are {labels.dtype}, expected integers")
    if len(labels) != images:
        raise DataError(f"{name}: {images:,} images, {len(labels):,} labels")
    if classes < 1:
        raise DataError(f"{name}: {classes} classes, expected at least 1")
    bad = (labels < 0) | (labels >= classes)
    if bad.any():
        first = int(bad.argmax())
        raise DataError(
            f"{name}: label {first} is {labels[first]}, outside 0..{classes - 1} "
            f"({int(bad.sum()):,} of {len(labels):,} are)"
        )
