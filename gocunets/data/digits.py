"""Scikit-learn's 8x8 digits, brought to 28x28: the set for a machine without MNIST and without network."""

from __future__ import annotations

from importlib import import_module

import numpy as np

from .dataset import Array, Dataset, Splits
from .errors import DataNotFound

DIGITS_NOTE = "digits (offline fallback), not comparable with MNIST"
TRAIN_SIZE = 1437  # of 1,797; the other 360 are the test set


def load_digits_fallback(seed: int = 0) -> Splits:
    """Return the digits as uint8 (N, 1, 28, 28), split 1,437 to 360 by `seed`.

    DataNotFound if scikit-learn is not installed. Nothing is downloaded: the package carries the images.
    """
    try:
        digits = import_module("sklearn.datasets").load_digits()
    except ImportError as error:
        raise DataNotFound("digits: scikit-learn is missing: pip install 'gocunets[data]'") from error
    grey = bilinear(digits.images.astype(np.float32) / 16, 28, 28)
    images = np.rint(grey * 255).astype(np.uint8)[:, np.newaxis]
    labels = digits.target.astype(np.int64)
    # RandomState's stream is frozen by NumPy; default_rng's may change with a release
    order = np.random.RandomState(seed).permutation(len(images))
    train, test = order[:TRAIN_SIZE], order[TRAIN_SIZE:]
    return Splits(
        Dataset("digits train", images[train], labels[train], 10),
        Dataset("digits test", images[test], labels[test], 10),
        DIGITS_NOTE,
        comparable=False,
    )


def bilinear(x: Array, height: int, width: int) -> Array:
    """Resize the last two axes of a float array, pixel centres at half integers, edges clamped.

    y[i] = x[l] + (x[l+1] - x[l]) * f with l + f = (i + 1/2) * in / out - 1/2 (align_corners=False).
    Elementwise, so bit-equal on every machine; no low-pass filter when it shrinks.
    """
    return _stretch(_stretch(x, height, -2), width, -1)


def _stretch(x: Array, size: int, axis: int) -> Array:
    extent = x.shape[axis]
    position = ((np.arange(size) + 0.5) * (extent / size) - 0.5).clip(0, extent - 1)
    low = position.astype(np.intp)
    high = np.minimum(low + 1, extent - 1)
    shape = (-1, 1) if axis == -2 else (-1,)
    fraction = (position - low).astype(x.dtype).reshape(shape)
    y = x.take(low, axis)
    return np.asarray(y + (x.take(high, axis) - y) * fraction)
