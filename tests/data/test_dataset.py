"""Dataset, Splits and Normalization: checked when made, exact in their numbers."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from gocunets.data import DataError, Dataset, Normalization, Splits
from gocunets.errors import GocunetsError

ZEROS = np.zeros((4, 1, 2, 3), np.uint8)
LABELS = np.array([0, 1, 2, 1])


def make(images: Any = ZEROS, labels: Any = LABELS, classes: int = 3, name: str = "toy") -> Dataset:
    return Dataset(name, images, labels, classes)


def spoiled(value: float) -> np.ndarray:
    images = np.zeros((4, 1, 2, 3), np.float32)
    images[2, 0, 1, 0] = images[3, 0, 0, 0] = value
    return images


BAD = {
    "rank": ({"images": ZEROS[0]}, r"toy: images have rank 3 \(1, 2, 3\), expected 4 \(N, C, H, W\)"),
    "no images": ({"images": ZEROS[:0], "labels": LABELS[:0]}, r"toy: no data: images are \(0, 1, 2, 3\)"),
    "no pixels": ({"images": ZEROS[..., :0]}, r"toy: no data: images are \(4, 1, 2, 0\)"),
    "image type": ({"images": ZEROS.astype(np.int32)}, "toy: images are int32, expected uint8 or a float"),
    "nan": (
        {"images": spoiled(np.nan)},
        r"toy: image 2 holds nan at \(channel, row, column\) \(0, 1, 0\); 2 of 4",
    ),
    "inf": ({"images": spoiled(-np.inf)}, r"toy: image 2 holds -inf"),
    "label rank": (
        {"labels": LABELS[:, None]},
        r"toy: labels have rank 2 \(4, 1\), expected 1 \(N,\)",
    ),
    "label type": ({"labels": LABELS / 1}, "toy: labels are float64, expected integers"),
    "lengths": ({"labels": LABELS[:3]}, "toy: 4 images, 3 labels"),
    "label high": ({"classes": 2}, r"toy: label 2 is 2, outside 0\.\.1 \(1 of 4 are\)"),
    "label low": ({"labels": -LABELS}, r"toy: label 1 is -1, outside 0\.\.2 \(3 of 4 are\)"),
    "classes": ({"classes": 0}, "toy: 0 classes, expected at least 1"),
}


@pytest.mark.parametrize(("arguments", "message"), BAD.values(), ids=BAD)
def test_bad_data_is_refused_with_its_numbers(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        make(**arguments)


def test_errors_are_value_errors_and_ours() -> None:
    assert issubclass(DataError, ValueError)
    assert issubclass(DataError, GocunetsError)


@pytest.mark.parametrize("dtype", ["uint8", "int32", "uint64", ">i2"])
def test_labels_become_int64(dtype: str) -> None:
    labels = make(labels=LABELS.astype(dtype)).labels
    assert labels.dtype == np.int64
    np.testing.assert_array_equal(labels, LABELS)


def test_a_dataset_tells_its_size_and_is_frozen() -> None:
    data = make()
    assert len(data) == 4
    assert repr(data) == "Dataset(toy: 4 images 1x2x3 uint8, 3 classes)"
    with pytest.raises(dataclasses.FrozenInstanceError):
        data.classes = 4  # type: ignore[misc]


def test_pixel_mean_is_exact() -> None:
    images = np.random.RandomState(0).randint(0, 256, (100, 3, 20, 20)).astype(np.uint8)
    mean = make(images, np.zeros(100, int)).pixel_mean()
    assert mean == sum(images.ravel().tolist()) / (255 * images.size)


def test_pixel_mean_of_floats_is_summed_in_float64() -> None:
    images = np.full((1, 1, 1, 1 << 20), 0.1, np.float16)
    assert make(images, np.zeros(1, int)).pixel_mean() == pytest.approx(float(np.float16(0.1)), rel=1e-12)


def test_normalization_of_the_training_images() -> None:
    images = np.random.RandomState(0).randint(0, 256, (5, 1, 6, 6)).astype(np.uint8)
    data = make(images, np.zeros(5, int))
    found = data.normalization().apply(data.images, np.float64)
    np.testing.assert_allclose(found, images / 255 - (images / 255).mean(), rtol=0, atol=1e-15)
    assert make(images / 255, np.zeros(5, int)).normalization().scale == 1


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("source", [np.uint8, np.float32, np.float64])
def test_normalization_is_computed_in_the_type_asked_for(source: Any, dtype: Any) -> None:
    images = np.arange(256).reshape(4, 1, 8, 8).astype(source)
    before = images.copy()
    y = Normalization(1 / 255, 0.1307).apply(images, dtype)
    expected = images.astype(dtype) * dtype(1 / 255) - dtype(0.1307)
    np.testing.assert_array_equal(y, expected, strict=True)
    np.testing.assert_array_equal(images, before)


def test_normalization_takes_float_types_only() -> None:
    with pytest.raises(TypeError, match="normalization: dtype int32 is not a float type"):
        Normalization(1.0, 0.0).apply(ZEROS, np.int32)


@pytest.mark.parametrize(
    "other",
    [make(classes=4), make(ZEROS.astype(np.float32)), make(np.zeros((4, 1, 3, 3), np.uint8))],
    ids=["classes", "type", "shape"],
)
def test_splits_must_agree(other: Dataset) -> None:
    Splits(make(), make(), "fine", comparable=False)
    with pytest.raises(DataError, match=r"toy has images \(1, 2, 3\) uint8 in 3 classes, toy has images"):
        Splits(make(), other, "bad", comparable=False)
