"""Dropout: the mask from the generator, word by word, and its gradient."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest

from gocunets.convnetgo import dropout_backward, dropout_forward

from . import loops
from .arrays import STRIDES, assert_gradient, randoms, with_strides
from .bound import assert_within

every_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64])
PLACE = {"seed": 2**33 + 1, "node": 6, "step": 2}


@every_dtype
@pytest.mark.parametrize("rate", [0.0, 0.3, 0.5, 0.999])
@pytest.mark.parametrize("shape", [(7,), (2, 3, 4), (1, 2, 3, 5)], ids=str)
def test_forward(shape: tuple[int, ...], rate: float, dtype: Any) -> None:
    x = randoms(*shape)
    y, mask = dropout_forward(x.astype(dtype), rate, **PLACE)
    words = [loops.random_word(e, PLACE["seed"], PLACE["node"], PLACE["step"]) for e in range(x.size)]
    assert mask.dtype == bool
    assert mask.ravel().tolist() == [word >= math.floor(rate * 2**32) for word in words]
    expected = x * mask / (1 - rate)
    assert_within(y, expected, np.abs(expected), 1, dtype)


@every_dtype
def test_gradient(dtype: Any) -> None:
    x, dy = randoms(3, 4), randoms(3, 4, seed=1)
    mask = dropout_forward(x, 0.4, **PLACE)[1]
    dx = dropout_backward(dy.astype(dtype), mask, np.float64(0.4))
    expected = dy * mask / 0.6
    assert_within(dx, expected, np.abs(expected), 1, dtype)
    if dtype == np.float64:
        assert_gradient(lambda moved: dropout_forward(moved, 0.4, **PLACE)[0], x, dy, dx)


@every_dtype
def test_an_input_wrong_by_one_percent_is_noticed(dtype: Any) -> None:
    x = randoms(20)
    y, mask = dropout_forward(x.astype(dtype) * dtype(1.01), 0.5, **PLACE)
    expected = x * mask / 0.5
    with pytest.raises(AssertionError, match="beyond the bound"):
        assert_within(y, expected, np.abs(expected), 1, dtype)


@pytest.mark.parametrize("kind", STRIDES)
def test_the_mask_does_not_depend_on_strides(kind: str) -> None:
    x = randoms(3, 4, 5)
    y, mask = dropout_forward(x, 0.5, **PLACE)
    strided_y, strided_mask = dropout_forward(with_strides(x, kind), 0.5, **PLACE)
    np.testing.assert_array_equal(strided_y, y)
    np.testing.assert_array_equal(strided_mask, mask)


def test_a_word_at_the_threshold_is_kept() -> None:
    word = loops.random_word(0, PLACE["seed"], PLACE["node"], PLACE["step"])
    x = np.ones(1)
    assert dropout_forward(x, word / 2**32, **PLACE)[1].all()
    assert not dropout_forward(x, (word + 1) / 2**32, **PLACE)[1].any()


def test_rate_is_kept_on_average() -> None:
    mask = dropout_forward(np.ones(100_000, np.float32), 0.3, **PLACE)[1]
    assert abs(mask.mean() - 0.7) < 5 * math.sqrt(0.21 / mask.size)


def test_every_step_has_its_mask() -> None:
    x = np.ones(100)
    masks = [dropout_forward(x, 0.5, seed=1, node=2, step=step)[1] for step in (0, 1)]
    assert (masks[0] != masks[1]).any()


@pytest.mark.parametrize("rate", [-0.1, 1.0, math.nan])
def test_rate_errors(rate: float) -> None:
    x = np.ones(3)
    with pytest.raises(ValueError, match=f"dropout: rate is {rate}, expected 0 <= rate < 1"):
        dropout_forward(x, rate, **PLACE)
    with pytest.raises(ValueError, match=f"dropout_backward: rate is {rate}, expected 0 <= rate < 1"):
        dropout_backward(x, x > 0, rate)


def test_operand_errors() -> None:
    with pytest.raises(TypeError, match="dropout: x is float16, expected float32 or float64"):
        dropout_forward(np.ones(3, np.float16), 0.5, **PLACE)
    with pytest.raises(ValueError, match=re.escape("dropout_backward: mask has shape (2,), expected (3,)")):
        dropout_backward(np.ones(3), np.ones(2, bool), 0.5)
