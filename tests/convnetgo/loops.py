"""The operations as direct loops in float64, straight from the equations: slow, and only for tests."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Sizes = tuple[int, ...]


def output_sizes(x: Sizes, w: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes) -> Sizes:
    """Return how often each window fits, by moving it until it leaves the padded input."""
    counts = []
    for size, taps, s, p, d in zip(x, w, stride, padding, dilation, strict=True):
        starts = range(-p, size + p, s)
        counts.append(sum(start + (taps - 1) * d < size + p for start in starts))
    return tuple(counts)


def cell(out: Sizes, tap: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes) -> Sizes:
    """Thesis, equation 3.7."""
    return tuple(y * s + i * d - p for y, i, s, p, d in zip(out, tap, stride, padding, dilation, strict=True))


def inside(position: Sizes, sizes: Sizes) -> bool:
    """Thesis, equation 3.6: outside the input is zero."""
    return all(0 <= x < size for x, size in zip(position, sizes, strict=True))


def convolution(x: Array, w: Array, b: Array, stride: Sizes, padding: Sizes, dilation: Sizes, groups: int = 1) -> Array:
    """Thesis, equations 3.5 to 3.7, with groups."""
    out = output_sizes(x.shape[2:], w.shape[2:], stride, padding, dilation)
    y = np.zeros((x.shape[0], w.shape[0], *out))
    for n, k, *at in np.ndindex(*y.shape):
        y[n, k, *at] = b[k]
        first = k // (w.shape[0] // groups) * w.shape[1]
        for c, *tap in np.ndindex(*w.shape[1:]):
            position = cell(tuple(at), tuple(tap), stride, padding, dilation)
            if inside(position, x.shape[2:]):
                y[n, k, *at] += w[k, c, *tap] * x[n, first + c, *position]
    return y


def convolution_backward(
    x: Array, w: Array, dy: Array, stride: Sizes, padding: Sizes, dilation: Sizes, groups: int = 1
) -> tuple[Array, Array, Array]:
    """Thesis, algorithm 7 with equations 3.8, 3.9 and 3.10: (dx, dw, db)."""
    dx, dw, db = np.zeros(x.shape), np.zeros(w.shape), np.zeros(w.shape[0])
    for n, k, *at in np.ndindex(*dy.shape):
        error = dy[n, k, *at]
        db[k] += error
        first = k // (w.shape[0] // groups) * w.shape[1]
        for c, *tap in np.ndindex(*w.shape[1:]):
            position = cell(tuple(at), tuple(tap), stride, padding, dilation)
            if inside(position, x.shape[2:]):
                dx[n, first + c, *position] += w[k, c, *tap] * error
                dw[k, c, *tap] += x[n, first + c, *position] * error
    return dx, dw, db


def transposed_convolution(
    x: Array, w: Array, b: Array, out: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes, groups: int = 1
) -> Array:
    """Every x scatters w into y."""
    y = np.zeros((x.shape[0], w.shape[1] * groups, *out)) + b.reshape(-1, *(1,) * len(out))
    for n, k, *at in np.ndindex(*x.shape):
        first = k // (w.shape[0] // groups) * w.shape[1]
        for c, *tap in np.ndindex(*w.shape[1:]):
            position = cell(tuple(at), tuple(tap), stride, padding, dilation)
            if inside(position, out):
                y[n, first + c, *position] += w[k, c, *tap] * x[n, k, *at]
    return y


def fully_connected(x: Array, w: Array, b: Array) -> Array:
    """Thesis, algorithm 1 and equation 3.1."""
    y = np.zeros((x.shape[0], w.shape[1]))
    for n, o in np.ndindex(*y.shape):
        y[n, o] = b[o] + sum(x[n, i] * w[i, o] for i in range(x.shape[1]))
    return y


def fully_connected_backward(x: Array, w: Array, dy: Array) -> tuple[Array, Array, Array]:
    """Thesis, algorithm 2 and equation 3.2: (dx, dw, db)."""
    dx, dw, db = np.zeros(x.shape), np.zeros(w.shape), np.zeros(w.shape[1])
    for n, o in np.ndindex(*dy.shape):
        for i in range(x.shape[1]):
            dx[n, i] += w[i, o] * dy[n, o]
            dw[i, o] += x[n, i] * dy[n, o]
        db[o] += dy[n, o]
    return dx, dw, db


def windows(x: Sizes, window: Sizes, stride: Sizes, padding: Sizes) -> dict[Sizes, list[Sizes]]:
    """Return, for each output position, the cells of x under its window in row-major order."""
    ones = (1,) * len(x)
    cells: dict[Sizes, list[Sizes]] = {}
    for out in np.ndindex(*output_sizes(x, window, stride, padding, ones)):
        positions = [cell(out, tap, stride, padding, ones) for tap in np.ndindex(*window)]
        cells[out] = [position for position in positions if inside(position, x)]
    return cells


def max_pool(x: Array, window: Sizes, stride: Sizes, padding: Sizes) -> tuple[Array, Array]:
    """Return the first largest cell of each window, and its flat position."""
    sizes = x.shape[2:]
    cells = windows(sizes, window, stride, padding)
    out = output_sizes(sizes, window, stride, padding, (1,) * len(sizes))
    y, indices = np.zeros((*x.shape[:2], *out)), np.zeros((*x.shape[:2], *out), np.int64)
    for n, c, *at in np.ndindex(*y.shape):
        best = cells[tuple(at)][0]
        for position in cells[tuple(at)][1:]:
            value, highest = x[n, c, *position], x[n, c, *best]
            if value > highest or (math.isnan(value) and not math.isnan(highest)):
                best = position
        y[n, c, *at] = x[n, c, *best]
        indices[n, c, *at] = np.ravel_multi_index(best, sizes)
    return y, indices


def average_pool(x: Array, window: Sizes, stride: Sizes, padding: Sizes, include_padding: bool) -> Array:
    """Return the mean of each window."""
    sizes = x.shape[2:]
    cells = windows(sizes, window, stride, padding)
    y = np.zeros((*x.shape[:2], *output_sizes(sizes, window, stride, padding, (1,) * len(sizes))))
    for n, c, *at in np.ndindex(*y.shape):
        values = [x[n, c, *position] for position in cells[tuple(at)]]
        y[n, c, *at] = sum(values) / (math.prod(window) if include_padding else len(values))
    return y


def average_pool_backward(
    dy: Array, x: Sizes, window: Sizes, stride: Sizes, padding: Sizes, include_padding: bool
) -> Array:
    """Return each dy shared among the cells of its window."""
    dx = np.zeros(x)
    cells = windows(x[2:], window, stride, padding)
    for n, c, *at in np.ndindex(*dy.shape):
        under = cells[tuple(at)]
        for position in under:
            dx[n, c, *position] += dy[n, c, *at] / (math.prod(window) if include_padding else len(under))
    return dx


def philox4x32(counter: list[int], key: list[int]) -> list[int]:
    """Philox4x32-10 of one counter in Python integers, after Salmon et al. 2011."""
    for _ in range(10):
        p0, p1 = counter[0] * 0xD2511F53, counter[2] * 0xCD9E8D57
        counter = [
            p1 >> 32 ^ counter[1] ^ key[0],
            p1 % 2**32,
            p0 >> 32 ^ counter[3] ^ key[1],
            p0 % 2**32,
        ]
        key = [(key[0] + 0x9E3779B9) % 2**32, (key[1] + 0xBB67AE85) % 2**32]
    return counter


def random_word(element: int, seed: int, node: int, step: int) -> int:
    """Return the random word of one element."""
    block, word = divmod(element, 4)
    counter = [block % 2**32, block >> 32, step % 2**32, node]
    return philox4x32(counter, [seed % 2**32, seed >> 32])[word]


def murmur3_finaliser(h: int) -> int:
    """Return the 32-bit finaliser of MurmurHash3."""
    h ^= h >> 16
    h = h * 0x85EBCA6B % 2**32
    h ^= h >> 13
    h = h * 0xC2B2AE35 % 2**32
    return h ^ h >> 16


def permuted_index(position: int, size: int, seed: int, epoch: int) -> int:
    """Return what a permutation holds at one position, in Python integers."""
    bits = 1
    while 4**bits < size:
        bits += 1
    keys = [random_word(r, seed, 0xFFFFFFFF, epoch) for r in range(8)]
    while True:
        left, right = divmod(position, 2**bits)
        for key in keys:
            left, right = right, left ^ murmur3_finaliser(right ^ key) % 2**bits
        position = left * 2**bits + right
        if position < size:
            return position
