"""Which images make up which batch of an epoch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Last = Literal["smaller", "drop", "pad"]
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Batches:
    """One epoch over `size` images in a shuffled order: an iterable of (indices, count).

    `indices` is int64, of length `batch` except for the last batch of 'smaller'; its first `count` are the
    epoch's own, the rest ('pad' only) repeat the start of the order and are to be masked. The order depends
    on size, seed and epoch alone. ValueError as batch_bounds.
    """

    size: int
    batch: int
    seed: int = 0
    epoch: int = 0
    last: Last = "smaller"

    def __post_init__(self) -> None:
        self.bounds()

    def bounds(self) -> list[tuple[int, int]]:
        """The (start, stop) of every batch in the epoch's order."""
        return batch_bounds(self.size, self.batch, self.last)

    def __len__(self) -> int:
        return len(self.bounds())

    def __iter__(self) -> Iterator[tuple[Indices, int]]:
        order = epoch_order(self.size, self.seed, self.epoch)
        for start, stop in self.bounds():
            indices = order[start:stop]
            missing = stop - start - len(indices)
            padded = np.concatenate((indices, order[:missing])) if missing else indices
            yield padded, len(indices)


def epoch_order(size: int, seed: int, epoch: int) -> Indices:
    """The epoch's order of 0..size-1, int64 (size,), bit-equal on every backend."""
    from gocunets.convnetgo import permutation

    return permutation(size, seed=seed, epoch=epoch)


def batch_bounds(size: int, batch: int, last: Last = "smaller") -> list[tuple[int, int]]:
    """The (start, stop) of the batches of `size` images.

    What is left over at the end is a batch of its own ('smaller'), left out ('drop'), or a full batch whose
    stop lies beyond `size` ('pad'). ValueError for a batch below 1, above `size`, or another `last`.
    """
    if last not in ("smaller", "drop", "pad"):
        raise ValueError(f"last={last!r}: expected 'smaller', 'drop' or 'pad'")
    if batch < 1:
        raise ValueError(f"batch is {batch}, expected at least 1")
    if batch > size:
        raise ValueError(f"batch {batch} is larger than the data: {size} images")
    whole, left = divmod(size, batch)
    bounds = [(i * batch, (i + 1) * batch) for i in range(whole)]
    if left and last != "drop":
        start = whole * batch
        bounds.append((start, size if last == "smaller" else start + batch))
    return bounds
