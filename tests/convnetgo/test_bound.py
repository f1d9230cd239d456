"""The error bound itself: what it allows, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest

from .bound import assert_within, factor, unit_roundoff


def test_unit_roundoff() -> None:
    assert unit_roundoff(np.float32) == 2.0**-24
    assert unit_roundoff(np.float64) == 2.0**-53


def test_factor() -> None:
    assert [factor(terms) for terms in (1, 64, 100, 400)] == [4, 4, 5, 10]


def test_edge_of_the_bound() -> None:
    allowed = np.array([1 + 4 * 2.0**-24], np.float64).astype(np.float32)
    assert_within(allowed, np.ones(1), np.ones(1), 1, np.float32)
    with pytest.raises(AssertionError, match=r"1 of 1 beyond the bound, first at \(0,\)"):
        assert_within(np.nextafter(allowed, np.float32(2)), np.ones(1), np.ones(1), 1, np.float32)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_not_finite_never_passes(value: float) -> None:
    with pytest.raises(AssertionError, match="beyond the bound"):
        assert_within(np.array([value]), np.ones(1), np.ones(1), 1, np.float64)


def test_dtype_and_shape_must_be_right() -> None:
    with pytest.raises(AssertionError):
        assert_within(np.ones(1), np.ones(1), np.ones(1), 1, np.float32)
    with pytest.raises(AssertionError):
        assert_within(np.ones(1), np.ones(2), np.ones(2), 1, np.float64)
