"""MNIST: its four files, where they are kept, how they are fetched and read."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Sequence
from os import PathLike
from pathlib import Path

import numpy as np

from .dataset import Array, Dataset, Splits, count_classes
from .errors import DataError, DataNotFound
from .fetch import RemoteFile, answering_first, check_unpacked, fetch
from .idx import header, read_idx

MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
    "http://yann.lecun.com/exdb/mnist/",
)

# sizes and digests of the unpacked files: mirrors compress them differently
FILES = (
    RemoteFile(
        "train-images-idx3-ubyte.gz",
        47_040_016,
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    ),
    RemoteFile(
        "train-labels-idx1-ubyte.gz",
        60_008,
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    ),
    RemoteFile(
        "t10k-images-idx3-ubyte.gz",
        7_840_016,
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    ),
    RemoteFile(
        "t10k-labels-idx1-ubyte.gz",
        10_008,
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
)


def cache_folder() -> Path:
    """Where MNIST is kept: $GOCUNETS_DATA, or gocunets/mnist in the user's cache folder.

    DataNotFound if there is neither that variable nor a home folder.
    """
    if chosen := os.environ.get("GOCUNETS_DATA"):
        return Path(chosen).expanduser()
    try:
        return _user_cache() / "gocunets" / "mnist"
    except RuntimeError as error:
        raise DataNotFound(f"no folder to keep MNIST in ({error}): set GOCUNETS_DATA to one") from error


def _user_cache() -> Path:
    platform: str = sys.platform
    if platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        return Path(local) if local else Path.home() / "AppData" / "Local"
    if platform == "darwin":
        return Path.home() / "Library" / "Caches"
    chosen = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return chosen if chosen.is_absolute() else Path.home() / ".cache"


def find_file(folder: str | PathLike[str], name: str) -> Path | None:
    """Return the path of a MNIST file in any spelling (with .gz or not, '-idx' or '.idx'), or None."""
    plain = name.removesuffix(".gz")
    dotted = plain.replace("-idx", ".idx")
    paths = [Path(folder) / spelling for spelling in (plain, f"{plain}.gz", dotted, f"{dotted}.gz")]
    return next((path for path in paths if os.path.exists(path)), None)


def has_mnist(folder: str | PathLike[str]) -> bool:
    """Whether all four files are in the folder, in any spelling; their content is not looked at."""
    return all(find_file(folder, remote.name) for remote in FILES)


def load_mnist(folder: str | PathLike[str], *, genuine: bool = False) -> Splits:
    """Read the four files of MNIST, or of any set in its format (Fashion-MNIST), from a folder.

    Images (N, 1, H, W) uint8; as many classes as the training labels ask for, at least 10. `comparable` says
    whether the content is MNIST, byte for byte; with `genuine` anything else is a DataError. DataNotFound
    names the files that are missing, DataError what is wrong with one.
    """
    paths = _find_all(Path(folder))
    arrays = [read_idx(path) for path in paths]
    _check_pair(paths[:2], arrays[:2])
    _check_pair(paths[2:], arrays[2:])
    strange = _first_strange(paths, arrays)
    if strange and genuine:
        raise DataError(strange)
    return _splits(Path(folder), arrays, comparable=strange is None)


def download_mnist(
    folder: str | PathLike[str],
    *,
    mirrors: Sequence[str] = MIRRORS,
    timeout: float = 5.0,
    deadline: float | None = None,
) -> Path:
    """Fetch those of the four files that are not in the folder yet; return the folder.

    A mirror has `timeout` seconds to answer, and again after every pause; the next one is asked when it
    fails. With a `deadline` all mirrors are asked at once, and one must have begun to send within that many
    seconds. No file of the folder is ever replaced: DataError if one has other content. DataNotFound lists
    each mirror's failure. Safe to run in several processes at once.
    """
    folder = Path(folder)
    mirrors = [mirrors] if isinstance(mirrors, str) else mirrors
    missing = [remote for remote in FILES if not _verified(folder, remote)]
    if missing and deadline is not None:
        mirrors = answering_first(mirrors, FILES[-1].name, deadline)
    for remote in missing:
        fetch(remote, mirrors, folder, timeout)
    return folder


def _verified(folder: Path, remote: RemoteFile) -> bool:
    path = find_file(folder, remote.name)
    if path is None:
        return False
    if problem := check_unpacked(path, remote):
        raise DataError(f"{path}: {problem}; {_CURE}")
    return True


_CURE = "delete it to fetch MNIST's again, or give its folder as a path to use another set"


def _find_all(folder: Path) -> list[Path]:
    found = {remote.name: find_file(folder, remote.name) for remote in FILES}
    missing = [name for name, path in found.items() if path is None]
    if missing:
        raise DataNotFound(
            f"{folder}: {len(missing)} of 4 MNIST files are missing: {', '.join(missing)} (or without .gz)"
        )
    return [path for path in found.values() if path]


def _check_pair(paths: list[Path], arrays: list[Array]) -> None:
    for path, array, rank in zip(paths, arrays, (3, 1), strict=True):
        if array.ndim != rank or array.dtype != np.uint8:
            raise DataError(f"{path}: {array.shape} {array.dtype}, expected rank {rank} and uint8")
        if not array.size:
            raise DataError(f"{path}: no data: {array.shape}")
    images, labels = arrays
    if len(images) != len(labels):
        raise DataError(f"{paths[0]} has {len(images):,} images, {paths[1]} has {len(labels):,} labels")


def _first_strange(paths: list[Path], arrays: list[Array]) -> str | None:
    """What is not MNIST: a message, or None if all four are."""
    for path, array, remote in zip(paths, arrays, FILES, strict=True):
        digest = hashlib.sha256(header(array))
        digest.update(array.data)
        if digest.hexdigest() != remote.sha256:
            found = f"sha256 {digest.hexdigest()} unpacked, expected {remote.sha256}"
            return f"{path} is not MNIST's: {found}; {_CURE}"
    return None


def _splits(folder: Path, arrays: list[Array], comparable: bool) -> Splits:
    train, train_labels, test, test_labels = arrays
    name = "MNIST" if comparable else folder.resolve().name
    classes = count_classes(f"{name} train", train_labels, least=10)
    kind = "MNIST" if comparable else "MNIST-format files, not MNIST itself,"
    return Splits(
        Dataset(f"{name} train", train[:, np.newaxis], train_labels, classes),
        Dataset(f"{name} test", test[:, np.newaxis], test_labels, classes),
        f"{kind} from {folder}: {len(train):,} training and {len(test):,} test images",
        comparable,
    )
