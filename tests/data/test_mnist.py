"""Reading a folder of MNIST-format files, and where it is looked for."""

from __future__ import annotations

import gzip
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from gocunets.data import DataError, DataNotFound, cache_folder, load, load_mnist, mnist, write_idx

TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS = (remote.name for remote in mnist.FILES)


@pytest.fixture
def folder(tiny_folder: Path, tmp_path: Path) -> Path:
    """A copy of the tiny set that a test may spoil."""
    return shutil.copytree(tiny_folder, tmp_path / "fashion")


def test_the_arrays_are_those_of_the_files(folder: Path, tiny: dict[str, np.ndarray]) -> None:
    splits = load_mnist(folder)
    assert splits.train.images.shape == (12, 1, 5, 4)
    np.testing.assert_array_equal(splits.train.images[:, 0], tiny[TRAIN_IMAGES])
    np.testing.assert_array_equal(splits.train.labels, tiny[TRAIN_LABELS])
    np.testing.assert_array_equal(splits.test.images[:, 0], tiny[TEST_IMAGES])
    np.testing.assert_array_equal(splits.test.labels, tiny[TEST_LABELS])


def test_another_set_in_the_format_is_read_but_not_comparable(folder: Path) -> None:
    splits = load_mnist(folder)
    assert not splits.comparable
    assert splits.train.name == "fashion train"
    assert splits.note == (f"MNIST-format files, not MNIST itself, from {folder}: 12 training and 6 test images")
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte\.gz is not MNIST's: sha256 [0-9a-f]{64} "):
        load_mnist(folder, genuine=True)


@pytest.mark.usefixtures("tiny_is_mnist")
def test_the_true_set_is_comparable(folder: Path) -> None:
    splits = load_mnist(folder, genuine=True)
    assert splits.comparable
    assert splits.note == f"MNIST from {folder}: 12 training and 6 test images"


@pytest.mark.parametrize("spelling", ["packed", "unpacked", "dotted", "dotted packed"])
@pytest.mark.usefixtures("tiny_is_mnist")
def test_every_spelling_of_the_names(folder: Path, spelling: str) -> None:
    for path in list(folder.iterdir()):
        name = path.name.replace("-idx", ".idx") if "dotted" in spelling else path.name
        data = path.read_bytes()
        path.unlink()
        if "unpacked" in spelling or spelling == "dotted":
            name, data = name.removesuffix(".gz"), gzip.decompress(data)
        (folder / name).write_bytes(data)
    assert load_mnist(folder).comparable


@pytest.mark.parametrize(("largest", "classes"), [(3, 10), (9, 10), (10, 11), (12, 13)])
def test_classes_follow_the_training_labels(folder: Path, largest: int, classes: int) -> None:
    write_idx(folder / TRAIN_LABELS, (largest - np.arange(12)).clip(0).astype(np.uint8))
    splits = load_mnist(folder)
    assert (splits.train.classes, splits.test.classes) == (classes, classes)


@pytest.mark.parametrize("wrong", [12, 200, 255])
def test_a_training_label_far_from_all_others_is_no_class(folder: Path, wrong: int) -> None:
    labels = np.arange(12, dtype=np.uint8) % 10
    labels[7] = wrong
    write_idx(folder / TRAIN_LABELS, labels)
    words = f"train: label 7 is {wrong}, which asks for {wrong + 1} classes, but {wrong - 10} of them occur nowhere"
    with pytest.raises(DataError, match=words):
        load_mnist(folder)


def test_a_test_label_that_is_no_class_of_the_training_data(folder: Path) -> None:
    write_idx(folder / TEST_LABELS, np.full(6, 12, np.uint8))
    with pytest.raises(DataError, match=r"test: label 0 is 12, outside 0\.\.9"):
        load_mnist(folder)


def test_missing_files_are_named(folder: Path) -> None:
    (folder / TRAIN_LABELS).unlink()
    (folder / TEST_IMAGES).unlink()
    message = f"2 of 4 MNIST files are missing: {TRAIN_LABELS}, {TEST_IMAGES} "
    with pytest.raises(DataNotFound, match=message):
        load_mnist(folder)


BAD = {
    "count": (TRAIN_LABELS, np.zeros(11, np.uint8), "has 12 images, .* has 11 labels"),
    "rank": (TRAIN_IMAGES, np.zeros((12, 20), np.uint8), r"\(12, 20\) uint8, expected rank 3 and uint8"),
    "type": (TRAIN_LABELS, np.zeros(12, np.int32), r"\(12,\) int32, expected rank 1 and uint8"),
    "empty": (TEST_LABELS, np.zeros(0, np.uint8), r"no data: \(0,\)"),
    "size": (TEST_IMAGES, np.zeros((6, 5, 5), np.uint8), r"\(1, 5, 4\) .* \(1, 5, 5\) .* must agree"),
}


@pytest.mark.parametrize(("name", "array", "message"), BAD.values(), ids=BAD)
def test_files_that_do_not_fit(folder: Path, name: str, array: np.ndarray, message: str) -> None:
    write_idx(folder / name, array)
    with pytest.raises(DataError, match=message) as caught:
        load_mnist(folder)
    assert "fashion" in str(caught.value)


def test_the_cache_can_be_chosen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GOCUNETS_DATA", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GOCUNETS_DATA", os.path.join("~", "sets"))
    if sys.platform != "win32":
        assert cache_folder() == tmp_path / "sets"


@pytest.mark.skipif(sys.platform == "win32", reason="HOME names no home folder on Windows")
def test_the_cache_of_each_platform(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("GOCUNETS_DATA", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    end = Path("gocunets", "mnist")
    rows = [
        ("linux", {}, tmp_path / ".cache"),
        ("linux", {"XDG_CACHE_HOME": "relative"}, tmp_path / ".cache"),
        ("linux", {"XDG_CACHE_HOME": "/x"}, Path("/x")),
        ("darwin", {}, tmp_path / "Library" / "Caches"),
        ("win32", {}, tmp_path / "AppData" / "Local"),
        ("win32", {"LOCALAPPDATA": "/local"}, Path("/local")),
    ]
    for platform, variables, expected in rows:
        with monkeypatch.context() as patch:
            patch.delenv("XDG_CACHE_HOME", raising=False)
            patch.setattr(mnist.sys, "platform", platform)
            for name, value in variables.items():
                patch.setenv(name, value)
            assert cache_folder() == expected / end, (platform, variables)


def test_no_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("GOCUNETS_DATA", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("LOCALAPPDATA", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(DataNotFound, match=r"Could not determine home .* set GOCUNETS_DATA to one"):
        cache_folder()
    assert "set GOCUNETS_DATA to one" in load("auto").note


def real_folder() -> Path | None:
    if chosen := os.environ.get("GOCUNETS_TEST_MNIST"):
        return Path(chosen)
    try:
        folder = cache_folder()
    except DataNotFound:
        return None
    return folder if mnist.has_mnist(folder) else None


def test_the_real_mnist() -> None:
    folder = real_folder()
    if folder is None:
        pytest.skip("no MNIST here: set GOCUNETS_TEST_MNIST to a folder with its four files")
    splits = load_mnist(folder, genuine=True)
    assert splits.comparable
    assert splits.train.images.shape == (60_000, 1, 28, 28)
    assert splits.test.images.shape == (10_000, 1, 28, 28)
    assert splits.train.pixel_mean() == pytest.approx(0.1306604762738429, rel=1e-14)
    assert np.bincount(splits.test.labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
