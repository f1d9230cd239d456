"""The random generator: known answers, its arithmetic in Python integers, and its statistics."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest

from gocunets.convnetgo import normal, permutation, permuted_index, philox4x32, random_bits, uniform

from . import loops

# Random123's kat_vectors, philox4x32 10 rounds.
KNOWN_ANSWERS = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]
SEEDS = [0, 1, 2**32 + 5, 2**64 - 1]


def words(text: str) -> Any:
    """Return the words of a known answer."""
    return np.array([int(word, 16) for word in text.split()], np.uint32)


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN_ANSWERS)
def test_known_answers(counter: str, key: str, answer: str) -> None:
    np.testing.assert_array_equal(philox4x32(words(counter), words(key)), words(answer))


def test_counters_of_any_shape_and_strides() -> None:
    counter, key = words(KNOWN_ANSWERS[2][0]), words(KNOWN_ANSWERS[2][1])
    stacked = np.broadcast_to(counter, (2, 3, 4))
    np.testing.assert_array_equal(philox4x32(stacked, key), np.broadcast_to(words(KNOWN_ANSWERS[2][2]), (2, 3, 4)))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("node", "step"), [(0, 0), (7, 3), (2**32 - 1, 2**32 + 2)])
@pytest.mark.parametrize("size", [0, 1, 4, 11])
def test_random_bits(seed: int, node: int, step: int, size: int) -> None:
    bits = random_bits(size, seed=seed, node=node, step=step)
    assert bits.dtype == np.uint32
    assert bits.tolist() == [loops.random_word(e, seed, node, step) for e in range(size)]


def test_random_bits_do_not_depend_on_the_size() -> None:
    np.testing.assert_array_equal(random_bits(1001, seed=3, node=4)[:10], random_bits(10, seed=3, node=4))


def test_uniform_float32() -> None:
    numbers = uniform((3, 5), seed=9, node=2, step=1)
    bits = random_bits(15, seed=9, node=2, step=1)
    assert numbers.dtype == np.float32
    assert numbers.ravel().tolist() == [(int(word) >> 8) / 2**24 for word in bits]


def test_uniform_float64() -> None:
    numbers = uniform(5, seed=9, node=2, step=1, dtype=np.float64)
    bits = [int(word) for word in random_bits(10, seed=9, node=2, step=1)]
    assert numbers.dtype == np.float64
    assert numbers.tolist() == [((bits[2 * e] << 32 | bits[2 * e + 1]) >> 11) / 2**53 for e in range(5)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [1, 2, 7])
def test_normal(dtype: Any, size: int) -> None:
    numbers = normal((size,), seed=9, node=2, step=1, dtype=dtype)
    uniforms = uniform(8, seed=9, node=2, step=1, dtype=np.float64)
    expected = []
    for u, v in uniforms.reshape(-1, 2):
        radius, angle = math.sqrt(-2 * math.log(1 - u)), 2 * math.pi * v
        expected += [radius * math.cos(angle), radius * math.sin(angle)]
    assert numbers.dtype == dtype
    np.testing.assert_allclose(numbers, expected[:size], rtol=4 * np.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_statistics(dtype: Any) -> None:
    count = 100_000
    flat = uniform(count, seed=1, node=2, dtype=dtype).astype(np.float64)
    assert flat.min() >= 0
    assert flat.max() < 1
    assert abs(flat.mean() - 0.5) < 5 * math.sqrt(1 / 12 / count)
    assert abs(flat.var() - 1 / 12) < 5 * math.sqrt(1 / 180 / count)
    bell = normal((10, count // 10), seed=1, node=2, dtype=dtype).astype(np.float64)
    assert bell.shape == (10, count // 10)
    assert abs(bell.mean()) < 5 / math.sqrt(count)
    assert abs(bell.var() - 1) < 5 * math.sqrt(2 / count)
    assert abs(np.mean(np.abs(bell) < 1) - math.erf(math.sqrt(0.5))) < 5 * math.sqrt(0.22 / count)


def test_numpy_integers_as_arguments() -> None:
    place = {"seed": np.int32(3), "node": np.uint32(4), "step": np.int32(5)}
    np.testing.assert_array_equal(
        uniform(np.int64(9), **place),  # type: ignore[arg-type]
        uniform(9, seed=3, node=4, step=5),
    )
    ours = permutation(np.int64(10), seed=np.uint64(2**64 - 1), epoch=np.int32(1))  # type: ignore[arg-type]
    np.testing.assert_array_equal(ours, permutation(10, seed=2**64 - 1, epoch=1))


def test_seed_node_and_step_all_matter() -> None:
    draws = [
        random_bits(4, seed=seed, node=node, step=step).tolist()
        for seed, node, step in [(0, 0, 0), (1, 0, 0), (2**32, 0, 0), (0, 1, 0), (0, 0, 1)]
    ]
    assert len({tuple(draw) for draw in draws}) == len(draws)


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 5, 15, 16, 17, 64, 65, 1000, 1025, 60_000])
def test_permutation_is_a_bijection(size: int) -> None:
    order = permutation(size, seed=5, epoch=2)
    assert order.dtype == np.int64
    np.testing.assert_array_equal(np.sort(order), np.arange(size))


@pytest.mark.parametrize(("size", "seed", "epoch"), [(1, 0, 0), (10, 1, 0), (33, 2**40, 7), (70_000, 3, 2**32 - 1)])
def test_permutation_in_python_integers(size: int, seed: int, epoch: int) -> None:
    order = permutation(size, seed=seed, epoch=epoch)
    for position in range(0, size, max(1, size // 20)):
        assert order[position] == loops.permuted_index(position, size, seed, epoch)


def test_permuted_index_needs_no_other_position() -> None:
    order = permutation(1000, seed=5, epoch=2)
    positions = np.array([[999, 0], [3, 500]])
    np.testing.assert_array_equal(permuted_index(positions, 1000, seed=5, epoch=2), order[positions])
    assert permuted_index(np.array(7), 1000, seed=5, epoch=2) == order[7]


def test_permutation_beyond_32_bits() -> None:
    size = 2**33 + 11
    positions = np.array([0, 1, 2**32 + 3, size - 1])
    result = permuted_index(positions, size, seed=5, epoch=2)
    assert result.tolist() == [loops.permuted_index(int(p), size, 5, 2) for p in positions]


def test_permutations_differ_by_seed_and_epoch_and_mix() -> None:
    orders = [permutation(10_000, seed=seed, epoch=epoch) for seed, epoch in [(0, 0), (0, 1), (1, 0)]]
    for one, other in [(0, 1), (0, 2), (1, 2)]:
        assert np.count_nonzero(orders[one] == orders[other]) < 20
    for order in orders:
        assert abs(np.corrcoef(order, np.arange(10_000))[0, 1]) < 5 / math.sqrt(10_000)
        assert np.count_nonzero(np.diff(order) == 1) < 20


def test_every_small_permutation_appears() -> None:
    seen = {tuple(permutation(3, seed=0, epoch=epoch).tolist()) for epoch in range(200)}
    assert len(seen) == 6


def test_errors() -> None:
    calls = [
        (lambda: random_bits(4, seed=-1, node=0), "random_bits: seed is -1, expected 0 to 2^64 - 1"),
        (
            lambda: random_bits(4, seed=2**64, node=0),
            "random_bits: seed is 18446744073709551616, expected 0 to 2^64 - 1",
        ),
        (lambda: random_bits(4, seed=0, node=2**32), "random_bits: node is 4294967296, expected 0 to 2^32 - 1"),
        (lambda: random_bits(-4, seed=0, node=0), "random_bits: size is -4, expected 0 to 2^63 - 1"),
        (lambda: permutation(-1, seed=0, epoch=0), "permutation: size is -1, expected 0 to 2^63 - 1"),
        (
            lambda: permuted_index(np.array([3, 10]), 10, seed=0, epoch=0),
            "permuted_index: positions lie in 3..10, expected 0..9",
        ),
        (
            lambda: philox4x32(np.zeros(3, np.uint32), np.zeros(2, np.uint32)),
            "philox4x32: counter has shape (3,), expected (4,)",
        ),
        (
            lambda: philox4x32(np.zeros(4, np.uint32), np.zeros(4, np.uint32)),
            "philox4x32: key has shape (4,), expected (2,)",
        ),
    ]
    for call, message in calls:
        with pytest.raises(ValueError, match=re.escape(message)):
            call()
    with pytest.raises(TypeError, match="philox4x32: counter is int64, expected uint32"):
        philox4x32(np.zeros(4, np.int64), np.zeros(2, np.uint32))
    with pytest.raises(TypeError, match="uniform: dtype is float16, expected float32 or float64"):
        uniform(4, seed=0, node=0, dtype=np.float16)
    with pytest.raises(TypeError, match="normal: dtype is int32, expected float32 or float64"):
        normal(4, seed=0, node=0, dtype=np.int32)
