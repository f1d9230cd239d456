"""Batches: each image once an epoch, in an order that seed and epoch decide."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gocunets.convnetgo import permutation
from gocunets.data import Batches, batch_bounds, epoch_order

BOUNDS = [
    (10, 5, "smaller", [(0, 5), (5, 10)]),
    (10, 5, "drop", [(0, 5), (5, 10)]),
    (10, 5, "pad", [(0, 5), (5, 10)]),
    (11, 4, "smaller", [(0, 4), (4, 8), (8, 11)]),
    (11, 4, "drop", [(0, 4), (4, 8)]),
    (11, 4, "pad", [(0, 4), (4, 8), (8, 12)]),
    (3, 3, "pad", [(0, 3)]),
    (1, 1, "drop", [(0, 1)]),
]


@pytest.mark.parametrize(("size", "batch", "last", "bounds"), BOUNDS)
def test_bounds(size: int, batch: int, last: Any, bounds: list[tuple[int, int]]) -> None:
    assert batch_bounds(size, batch, last) == bounds


BAD = [
    (100, 200, "smaller", "batch 200 is larger than the data: 100 images"),
    (100, 200, "drop", "batch 200 is larger than the data: 100 images"),
    (100, 200, "pad", "batch 200 is larger than the data: 100 images"),
    (0, 1, "smaller", "batch 1 is larger than the data: 0 images"),
    (100, 0, "smaller", "batch is 0, expected at least 1"),
    (100, -3, "drop", "batch is -3, expected at least 1"),
    (100, 10, "keep", "last='keep': expected 'smaller', 'drop' or 'pad'"),
]


@pytest.mark.parametrize(("size", "batch", "last", "message"), BAD)
def test_bad_sizes_are_refused_at_once(size: int, batch: int, last: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        batch_bounds(size, batch, last)
    with pytest.raises(ValueError, match=f"^{message}$"):
        Batches(size, batch, last=last)


def test_the_order_is_the_reference_permutation() -> None:
    order = epoch_order(1000, seed=3, epoch=2)
    assert order.dtype == np.int64
    np.testing.assert_array_equal(order, permutation(1000, seed=3, epoch=2))
    np.testing.assert_array_equal(np.sort(order), np.arange(1000))
    assert not np.array_equal(order, epoch_order(1000, seed=3, epoch=3))


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(st.data())
def test_every_image_once(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 200))
    batch = data.draw(st.integers(1, size))
    last: Any = data.draw(st.sampled_from(["smaller", "drop", "pad"]))
    batches = Batches(size, batch, seed=5, epoch=1, last=last)
    found = list(batches)
    assert len(found) == len(batches)
    assert {len(indices) for indices, _ in found[:-1]} <= {batch}
    own = np.concatenate([indices[:count] for indices, count in found])
    np.testing.assert_array_equal(own, epoch_order(size, 5, 1)[: len(own)])
    assert len(own) == (size // batch * batch if last == "drop" else size)
    if last != "smaller":
        assert len(found[-1][0]) == batch


def test_padding_repeats_the_start_of_the_order() -> None:
    *_, (indices, count) = Batches(11, 4, last="pad")
    order = epoch_order(11, seed=0, epoch=0)
    assert count == 3
    np.testing.assert_array_equal(indices, [*order[8:], order[0]], strict=True)


def test_an_epoch_can_be_iterated_again() -> None:
    batches = Batches(10, 3)
    for (a, m), (b, n) in zip(batches, batches, strict=True):
        assert m == n
        np.testing.assert_array_equal(a, b)
