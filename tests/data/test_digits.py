"""The digits that need no network: the same ones on every machine, and a bilinear resize that is right."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from gocunets.data import DataNotFound, bilinear, digits, load_digits_fallback


def test_the_split_is_fixed() -> None:
    splits = load_digits_fallback()
    assert splits.train.images.shape == (1437, 1, 28, 28)
    assert splits.test.images.shape == (360, 1, 28, 28)
    assert splits.train.images.dtype == np.uint8
    assert (splits.train.images.min(), splits.train.images.max()) == (0, 255)
    assert splits.note == "digits (offline fallback), not comparable with MNIST"
    assert not splits.comparable
    content = b"".join(
        part.tobytes() for data in (splits.train, splits.test) for part in (data.images, data.labels.astype("<i8"))
    )
    assert hashlib.sha256(content).hexdigest() == "fde48180f90808e714dddf7ada1f0fc2d1739dca13160e29b1e9b4520f7e99eb"


def test_the_parts_share_no_image_and_follow_the_seed() -> None:
    first, second = load_digits_fallback(), load_digits_fallback(seed=1)
    assert not np.array_equal(first.train.images, second.train.images)
    for splits in (first, second):
        labels = np.concatenate((splits.train.labels, splits.test.labels))
        assert np.bincount(labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    images = np.concatenate((first.train.images, first.test.images))
    assert len(np.unique(images, axis=0)) == 1797


def test_without_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(digits, "import_module", absent)
    with pytest.raises(DataNotFound, match=r"scikit-learn is missing: pip install 'gocunets\[data\]'"):
        load_digits_fallback()


def slow_bilinear(x: np.ndarray, height: int, width: int) -> np.ndarray:
    """One pixel at a time, straight from the definition."""
    rows, columns = x.shape
    y = np.zeros((height, width))
    for i in range(height):
        for j in range(width):
            r = min(max((i + 0.5) * rows / height - 0.5, 0), rows - 1)
            c = min(max((j + 0.5) * columns / width - 0.5, 0), columns - 1)
            for m in range(rows):
                for n in range(columns):
                    y[i, j] += max(0, 1 - abs(r - m)) * max(0, 1 - abs(c - n)) * x[m, n]
    return y


@pytest.mark.parametrize("size", [(28, 28), (8, 8), (3, 11), (1, 1), (16, 5)], ids=str)
@pytest.mark.parametrize("source", [(8, 8), (1, 4), (5, 7)], ids=str)
def test_bilinear_against_its_definition(source: tuple[int, int], size: tuple[int, int]) -> None:
    x = np.random.RandomState(0).rand(2, *source)
    y = bilinear(x, *size)
    for image, expected in zip(y, x, strict=True):
        np.testing.assert_allclose(image, slow_bilinear(expected, *size), rtol=0, atol=1e-14)


def test_bilinear_of_the_same_size_is_the_image() -> None:
    x = np.random.RandomState(0).rand(3, 8, 8).astype(np.float32)
    np.testing.assert_array_equal(bilinear(x, 8, 8), x, strict=True)
