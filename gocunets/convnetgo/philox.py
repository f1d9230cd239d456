"""Random numbers that depend on nothing but their place: Philox4x32-10, a counter-based generator.

The key is the seed, the counter is (block, step, node): element e of a draw takes word e % 4 of block e // 4,
so a GPU thread makes its own numbers, bit for bit these. Salmon et al. 2011, "Parallel random numbers: as
easy as 1, 2, 3".
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ._arrays import Array, Floats, Integers, Sizes

Words: TypeAlias = NDArray[np.uint32]

_LOW = 0xFFFFFFFF
_PERMUTATION_NODE = 0xFFFFFFFF
_ROUNDS = 8


def philox4x32(counter: Words, key: Words) -> Words:
    """Return the 4 random words of each counter: Philox4x32-10.

    counter is (..., 4), key is (2,), the words are (..., 4); all uint32.
    """
    _check_words("counter", counter, (*counter.shape[:-1], 4))
    _check_words("key", key, (2,))
    c0, c1, c2, c3 = np.moveaxis(counter, -1, 0).astype(np.uint64)
    k0, k1 = int(key[0]), int(key[1])
    for _ in range(10):
        p0, p1 = c0 * 0xD2511F53, c2 * 0xCD9E8D57
        c0, c1, c2, c3 = (p1 >> 32) ^ c1 ^ k0, p1 & _LOW, (p0 >> 32) ^ c3 ^ k1, p0 & _LOW
        k0, k1 = (k0 + 0x9E3779B9) & _LOW, (k1 + 0xBB67AE85) & _LOW
    return np.stack((c0, c1, c2, c3), axis=-1).astype(np.uint32)


def random_bits(size: int, *, seed: int, node: int, step: int = 0) -> Words:
    """Return (size,) random words: element e is word e % 4 of block e // 4.

    Block i is Philox with counter (i low, i high, step mod 2^32, node) and key (seed low, seed high), in
    32-bit halves. ValueError where the seed does not fit 64 bits or the node 32.
    Node 0xFFFFFFFF is the permutation's.
    """
    _check_range("random_bits", "size", size, 63)
    _check_range("random_bits", "seed", seed, 64)
    _check_range("random_bits", "node", node, 32)
    block = np.arange(-(-size // 4), dtype=np.uint64)
    counter = np.empty((block.size, 4), np.uint32)
    counter[:, 0] = block & _LOW
    counter[:, 1] = block >> 32
    counter[:, 2] = int(step) % 2**32
    counter[:, 3] = node
    key = np.array((int(seed) & _LOW, int(seed) >> 32), np.uint32)
    return philox4x32(counter, key).reshape(-1)[:size]


def uniform(shape: Sizes, *, seed: int, node: int, step: int = 0, dtype: DTypeLike = np.float32) -> Floats:
    """Return numbers uniform in [0, 1), element e in row-major order.

    float32 is (word e >> 8) * 2^-24. float64 is ((word 2e << 32 | word 2e+1) >> 11) * 2^-53.
    """
    sizes = _sizes(shape)
    count = math.prod(sizes)
    if _float_type("uniform", dtype) == np.float32:
        bits = random_bits(count, seed=seed, node=node, step=step)
        return ((bits >> 8).astype(np.float32) * 2.0**-24).reshape(sizes)
    words = random_bits(2 * count, seed=seed, node=node, step=step).astype(np.uint64)
    return (((words[0::2] << 32 | words[1::2]) >> 11) * 2.0**-53).reshape(sizes)


def normal(shape: Sizes, *, seed: int, node: int, step: int = 0, dtype: DTypeLike = np.float32) -> Floats:
    """Return standard normal numbers: Box-Muller in float64, then rounded to dtype.

    Block j, as float64 uniforms (u, v), makes elements 2j and 2j+1 in row-major order: sqrt(-2 log(1 - u))
    times cos(2 pi v) and sin(2 pi v). The last bit of a float64 depends on the mathematical library.
    """
    rounded = _float_type("normal", dtype)
    sizes = _sizes(shape)
    count = math.prod(sizes)
    pairs = uniform((-(-count // 2), 2), seed=seed, node=node, step=step, dtype=np.float64)
    radius, angle = np.sqrt(-2 * np.log(1 - pairs[:, 0])), 2 * math.pi * pairs[:, 1]
    both = np.stack((radius * np.cos(angle), radius * np.sin(angle)), axis=-1)
    return both.reshape(-1)[:count].reshape(sizes).astype(rounded)


def permutation(size: int, *, seed: int, epoch: int) -> NDArray[np.int64]:
    """Return the numbers 0..size-1 in the order of that seed and epoch.

    Position i depends only on (i, size, seed, epoch): a GPU thread can compute its own, see permuted_index.
    """
    return permuted_index(np.arange(size), size, seed=seed, epoch=epoch)


def permuted_index(positions: Integers, size: int, *, seed: int, epoch: int) -> NDArray[np.int64]:
    """Return what the permutation holds at those positions, each computed without the others.

    A balanced Feistel network of 8 rounds permutes the numbers of 2k bits, for the smallest k >= 1 with
    2^(2k) >= size; it is applied until the result is below size. Round r replaces (left, right), the high
    and low k bits, by (right, left ^ (hash(right ^ key[r]) mod 2^k)), where hash is murmur3's 32-bit
    finaliser and key[r] is word r % 4 of Philox at counter (r // 4, 0, epoch, 0xFFFFFFFF).
    """
    _check_range("permutation", "size", size, 63)
    if positions.size and (positions.min() < 0 or positions.max() >= size):
        raise ValueError(
            f"permuted_index: positions lie in {positions.min()}..{positions.max()}, expected 0..{size - 1}"
        )
    half_bits = max(1, -(-int(size - 1).bit_length() // 2))
    keys = random_bits(_ROUNDS, seed=seed, node=_PERMUTATION_NODE, step=epoch)
    result = _feistel(positions.astype(np.uint64).ravel(), half_bits, keys)
    walking = np.flatnonzero(result >= size)
    while walking.size:
        result[walking] = _feistel(result[walking], half_bits, keys)
        walking = walking[result[walking] >= size]
    return result.astype(np.int64).reshape(positions.shape)


def _feistel(values: Array, half_bits: int, keys: Words) -> Array:
    mask = 2**half_bits - 1
    left, right = (values >> half_bits).astype(np.uint32), (values & mask).astype(np.uint32)
    for key in keys:
        left, right = right, left ^ (_hash(right ^ key) & mask)
    joined: Array = left.astype(np.uint64) << half_bits | right
    return joined


def _hash(words: Array) -> Array:
    """Return murmur3's 32-bit finaliser of each word."""
    words = (words ^ words >> 16) * 0x85EBCA6B
    words = (words ^ words >> 13) * 0xC2B2AE35
    mixed: Array = words ^ words >> 16
    return mixed


def _sizes(shape: Sizes) -> tuple[int, ...]:
    return (shape,) if isinstance(shape, int | np.integer) else tuple(shape)


def _float_type(operation: str, dtype: DTypeLike) -> np.dtype[Any]:
    if np.dtype(dtype) not in (np.float32, np.float64):
        raise TypeError(f"{operation}: dtype is {np.dtype(dtype)}, expected float32 or float64")
    return np.dtype(dtype)


def _check_words(name: str, words: Words, shape: tuple[int, ...]) -> None:
    if words.dtype != np.uint32:
        raise TypeError(f"philox4x32: {name} is {words.dtype}, expected uint32")
    if words.shape != shape:
        raise ValueError(f"philox4x32: {name} has shape {words.shape}, expected {shape}")


def _check_range(operation: str, name: str, value: int, bits: int) -> None:
    if not 0 <= value < 2**bits:
        raise ValueError(f"{operation}: {name} is {value}, expected 0 to 2^{bits} - 1")
