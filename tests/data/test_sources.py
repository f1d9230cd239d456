"""load(): what each word and path gives, how long it takes without a network, what it says."""

from __future__ import annotations

import inspect
import os
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gocunets.data import DataError, DataNotFound, digits, load, load_digits_fallback, load_npz, mnist

Mirror = Callable[[str], str]

tiny_is_mnist = pytest.mark.usefixtures("tiny_is_mnist")


@tiny_is_mnist
@pytest.mark.parametrize("source", ["mnist", "auto"])
def test_the_cache_comes_first(cache: Path, tiny_folder: Path, source: str) -> None:
    shutil.copytree(tiny_folder, cache)
    splits = load(source, mirrors=[])
    assert splits.comparable
    assert splits.note == f"MNIST from {cache}: 12 training and 6 test images"


@tiny_is_mnist
@pytest.mark.parametrize("source", ["mnist", "auto"])
def test_then_the_mirrors(cache: Path, mirror: Mirror, source: str) -> None:
    assert load(source, mirrors=[mirror("missing"), mirror("good")]).comparable
    assert load(source, mirrors=[]).comparable
    assert mnist.has_mnist(cache)


@pytest.mark.parametrize("how", ["hang", "missing"])
def test_auto_falls_back_in_time(cache: Path, mirror: Mirror, how: str) -> None:
    load_digits_fallback()  # the first import of scikit-learn takes seconds
    start = time.monotonic()
    splits = load("auto", timeout=1.0, mirrors=[mirror(how), mirror("hang")])
    assert time.monotonic() - start < 5
    assert not splits.comparable
    assert len(splits.train) == 1437
    what = "no network" if how == "hang" else "no mirror delivered"
    assert splits.note.startswith(f"{digits.DIGITS_NOTE}: no MNIST in {cache} and {what}: {mirror(how)}: ")
    assert "\n" not in splits.note
    assert not cache.exists()


def test_five_seconds_is_the_default() -> None:
    assert inspect.signature(load).parameters["timeout"].default == 5.0


@tiny_is_mnist
def test_auto_falls_back_when_the_mirrors_are_wrong(cache: Path, mirror: Mirror) -> None:
    note = load("auto", mirrors=[mirror("page")]).note
    assert "wrong content: 42 bytes unpacked with sha256" in note
    assert list(cache.iterdir()) == []


def test_mnist_alone_does_not_fall_back(cache: Path, mirror: Mirror) -> None:
    with pytest.raises(DataNotFound, match="no such file") as caught:
        load("mnist", mirrors=[mirror("missing")])
    message = str(caught.value)
    assert message.startswith(f"no MNIST in {cache} and no mirror delivered: {mirror('missing')}: HTTP 404")
    assert message.endswith(
        "Give the path of a folder with its four files, or set GOCUNETS_DATA to one, or take 'digits'"
    )


def test_a_cache_with_another_set_is_told(cache: Path, tiny_folder: Path) -> None:
    shutil.copytree(tiny_folder, cache)
    with pytest.raises(DataError, match=r"is not MNIST's: .* give its folder as a path to use another set"):
        load("mnist", mirrors=[])
    with pytest.raises(DataError, match=r"is not MNIST's"):  # spoiled, not missing: no other set in its place
        load("auto", mirrors=[])
    assert len(load(cache).train) == 12


def test_no_mnist_and_no_digits(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(digits, "import_module", absent)
    with pytest.raises(DataNotFound, match=r"no MNIST in .* no mirrors; .* pip install 'gocunets\[data\]'"):
        load("auto", mirrors=[])


def test_a_folder(tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(load(tiny_folder).test) == len(load(str(tiny_folder)).test) == 6
    monkeypatch.setenv("HOME", str(tiny_folder.parent))
    monkeypatch.setenv("USERPROFILE", str(tiny_folder.parent))
    assert len(load(f"~/{tiny_folder.name}").test) == 6


def test_words_come_before_folders(tmp_path: Path, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(tiny_folder, tmp_path / "digits")
    monkeypatch.chdir(tmp_path)
    assert len(load("digits").train) == 1437
    assert len(load("./digits").train) == 12


def test_sources_that_are_none(tmp_path: Path, tiny_folder: Path) -> None:
    with pytest.raises(DataNotFound, match=r"'mnits' is none of 'auto', 'mnist', 'digits', and no such path"):
        load("mnits")
    with pytest.raises(DataNotFound, match=r"no such path exists or may be read: .*gone"):
        load(tmp_path / "gone")
    with pytest.raises(DataError, match=r"ubyte\.gz is neither a folder .* nor a \.npz file"):
        load(next(tiny_folder.iterdir()))
    with pytest.raises(DataNotFound, match="4 of 4 MNIST files are missing"):
        load(tmp_path)


def test_a_path_that_may_not_be_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    look = os.stat

    def refuse(path: Any, *args: Any, **kwargs: Any) -> os.stat_result:
        if "locked" in str(path):
            raise PermissionError(13, "Permission denied", str(path))
        return look(path, *args, **kwargs)

    monkeypatch.setattr(os, "stat", refuse)
    with pytest.raises(DataNotFound, match=r"no such path exists or may be read: .*locked"):
        load(tmp_path / "locked")
    monkeypatch.setenv("GOCUNETS_DATA", str(tmp_path / "locked"))
    assert "there are no mirrors" in load("auto", mirrors=[]).note


X = np.arange(5 * 4 * 3, dtype=np.uint8).reshape(5, 4, 3)
Y = np.array([0, 1, 2, 1, 0])
ARRAYS = {"x_train": X, "y_train": Y, "x_test": X[:2], "y_test": Y[:2]}


def test_an_npz_file(tmp_path: Path) -> None:
    np.savez(tmp_path / "flat.npz", **ARRAYS)
    splits = load(tmp_path / "flat.npz")
    np.testing.assert_array_equal(splits.train.images, X[:, np.newaxis], strict=True)
    np.testing.assert_array_equal(splits.train.labels, Y, strict=True)
    assert (splits.test.classes, len(splits.test), splits.comparable) == (3, 2, False)
    assert splits.note == f"arrays from {tmp_path / 'flat.npz'}: 5 training and 2 test images"


def test_an_npz_file_of_colours(tmp_path: Path) -> None:
    colours = np.random.RandomState(0).rand(5, 3, 8, 8).astype(np.float32)
    parts = {"x_train": colours, "y_train": Y[:, np.newaxis], "x_test": colours[:2], "y_test": Y[:2]}
    np.savez_compressed(tmp_path / "x.npz", **parts)
    np.testing.assert_array_equal(load(tmp_path / "x.npz").train.images, colours, strict=True)


BAD_ARRAYS = {
    "absent": ({"y_test": None}, r"lacks y_test; it holds x_test, x_train, y_train"),
    "last": ({"x_train": np.zeros((5, 8, 8, 3), np.uint8)}, r"x_train \(5, 8, 8, 3\) has its channels last"),
    "float labels": ({"y_train": Y / 2}, "y_train is float64, expected integers"),
    "negative": ({"y_test": Y[:2] - 1}, r"test: label 0 is -1, outside 0\.\.2"),
    "one hot": ({"y_train": np.eye(5, dtype=int)}, r"labels have rank 2 \(5, 5\)"),
    "lengths": ({"y_train": Y[:4]}, "5 images, 4 labels"),
    "nan": ({"x_test": X[:2] * np.nan}, "test: image 0 holds nan"),
    "empty": ({"x_test": X[:0], "y_test": Y[:0]}, r"no data: images are \(0, 1, 4, 3\)"),
    "objects": ({"x_train": np.array([None] * 5)}, "not a readable .npz file: ValueError: Object arrays"),
}


@pytest.mark.parametrize(("changes", "message"), BAD_ARRAYS.values(), ids=BAD_ARRAYS)
def test_an_npz_file_that_does_not_fit(tmp_path: Path, changes: dict[str, np.ndarray | None], message: str) -> None:
    arrays = {name: array for name, array in (ARRAYS | changes).items() if array is not None}
    np.savez(tmp_path / "bad.npz", **arrays)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=message) as caught:
        load_npz(tmp_path / "bad.npz")
    assert "bad.npz" in str(caught.value)


def test_a_damaged_npz_file_is_refused_or_read(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "x.npz", **ARRAYS)
    whole = (tmp_path / "x.npz").read_bytes()
    random = np.random.RandomState(0)
    for trial in range(150):
        at = int(random.randint(len(whole)))
        damaged = whole[:at] if trial % 3 == 0 else whole[:at] + random.bytes(1) + whole[at + 1 :]
        (tmp_path / "x.npz").write_bytes(damaged)
        with suppress(DataError):
            load_npz(tmp_path / "x.npz")


def test_an_npz_file_that_is_none(tmp_path: Path) -> None:
    np.save(tmp_path / "array.npy", X)
    (tmp_path / "array.npy").rename(tmp_path / "array.npz")
    with pytest.raises(DataError, match=r"array\.npz: not a readable \.npz file"):
        load_npz(tmp_path / "array.npz")
    with pytest.raises(DataNotFound, match=r"gone\.npz does not exist"):
        load_npz(tmp_path / "gone.npz")
