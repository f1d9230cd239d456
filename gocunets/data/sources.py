"""One call for data: by word, by path, or whatever this machine has."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path

from .archive import load_npz
from .dataset import Splits
from .digits import load_digits_fallback
from .errors import DataError, DataNotFound
from .mnist import MIRRORS, cache_folder, download_mnist, has_mnist, load_mnist

SOURCES = ("auto", "mnist", "digits")

_ADVICE = "Give the path of a folder with its four files, or set GOCUNETS_DATA to one, or take 'digits'"


def load(source: str | PathLike[str] = "auto", *, timeout: float = 5.0, mirrors: Sequence[str] = MIRRORS) -> Splits:
    """Return the training and test set that `source` names; `note` says what it is and why.

    'mnist' reads the cache or downloads into it. 'digits' is scikit-learn's small set. 'auto' is MNIST, or
    the digits where there is none and no mirror begins to send within `timeout` seconds. Anything else is a
    path: a folder of MNIST-format files or a .npz file (write ./mnist for a folder called mnist).
    DataNotFound says what was tried and how to give a path; DataError what is wrong with files found.
    """
    if source == "digits":
        return load_digits_fallback()
    if source == "mnist":
        try:
            return _mnist(timeout, mirrors)
        except DataNotFound as error:
            raise DataNotFound(f"{error}. {_ADVICE}") from error
    if source == "auto":
        return _auto(timeout, mirrors)
    return _from_path(source)


def _mnist(timeout: float, mirrors: Sequence[str]) -> Splits:
    folder = cache_folder()
    if not has_mnist(folder):
        try:
            download_mnist(folder, mirrors=mirrors, timeout=timeout, deadline=timeout)
        except DataNotFound as error:
            raise DataNotFound(f"no MNIST in {folder} and {error}") from error
    return load_mnist(folder, genuine=True)


def _auto(timeout: float, mirrors: Sequence[str]) -> Splits:
    try:
        return _mnist(timeout, mirrors)
    except DataNotFound as error:  # not for files that are there and spoiled: that is for the user to hear
        reason = error
    try:
        digits = load_digits_fallback()
    except DataNotFound as error:
        raise DataNotFound(f"{reason}; {error}") from reason
    return replace(digits, note=f"{digits.note}: {reason}")


def _from_path(source: str | PathLike[str]) -> Splits:
    path = Path(source).expanduser()
    if os.path.isdir(path):
        return load_mnist(path)
    if os.path.isfile(path) and path.suffix.lower() == ".npz":
        return load_npz(path)
    if os.path.exists(path):
        raise DataError(f"{path} is neither a folder with MNIST-format files nor a .npz file")
    words = ", ".join(repr(word) for word in SOURCES)
    raise DataNotFound(f"{str(source)!r} is none of {words}, and no such path exists or may be read: {path.absolute()}")
