"""Data for training: MNIST and sets in its format, a fallback that needs no network, pictures, batches."""

from __future__ import annotations

from .archive import load_npz
from .batches import Batches, Last, batch_bounds, epoch_order
from .dataset import Dataset, Normalization, Splits
from .digits import DIGITS_NOTE, bilinear, load_digits_fallback
from .errors import DataError, DataNotFound
from .idx import read_idx, write_idx
from .images import read_image
from .mnist import MIRRORS, cache_folder, download_mnist, load_mnist
from .sources import SOURCES, load

__all__ = [
    "DIGITS_NOTE",
    "MIRRORS",
    "SOURCES",
    "Batches",
    "DataError",
    "DataNotFound",
    "Dataset",
    "Last",
    "Normalization",
    "Splits",
    "batch_bounds",
    "bilinear",
    "cache_folder",
    "download_mnist",
    "epoch_order",
    "load",
    "load_digits_fallback",
    "load_mnist",
    "load_npz",
    "read_idx",
    "read_image",
    "write_idx",
]
