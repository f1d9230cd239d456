"""How the small-channel convolutions are cut into blocks and threads."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .fused import Geometry

MOST_WEIGHTS = 64 * 1024
MOST_FILTERS = 64
MOST_PAIRS, SMALL_IMAGE = 2048, 64  # channels times filters, pixels
WIDEST = 32  # a row of an image lies in a thread's registers
MOST_SUMS = 32  # that a thread holds
MOST_THREADS = 512
FEW_THREADS = 256  # of a block, where the blocks do not fill the card: they end sooner
FULL_CARD = 132  # blocks that keep a large card busy: one a multiprocessor of an H200
HALF_CARD = FULL_CARD // 2  # for what runs beside other blocks


@dataclass(frozen=True)
class Tiling:
    """Channels that a block and a thread make, threads that share the terms of a result, threads and shared bytes.

    `filters` and `channels` are what a block of the filter gradient makes; its threads make `thread` filters.
    """

    block: int
    thread: int
    splits: int
    threads: int
    shared: int
    filters: int = 0
    channels: int = 0


def fits(geometry: Geometry, limit: int) -> bool:
    """Whether our kernels take a convolution: few channels, narrow images that fit into `limit` bytes of memory."""
    (rows, columns), g = geometry.output, geometry
    if min(rows, columns) < 1 or g.filters * g.taps > MOST_WEIGHTS or g.filters > MOST_FILTERS:
        return False
    if g.whole:
        return True
    if max(columns, g.width) > WIDEST or max(rows, g.height + g.stride[0]) > MOST_THREADS or g.kernel[1] > MOST_SUMS:
        return False
    return max(_forward_bytes(g, 1, 1), _data_bytes(g, 1, 1), _filter_bytes(g, 1, 1, 1)) <= limit


def leads(geometry: Geometry) -> bool:
    """Whether our kernels are the faster ones where cuDNN's engines could be had: measured in float32 on an H100."""
    return geometry.channels * geometry.filters <= MOST_PAIRS or geometry.height * geometry.width <= SMALL_IMAGE


def forward(geometry: Geometry, images: int, limit: int) -> Tiling:
    """Tiles of the forward kernel; `block` and `thread` count filters."""
    g, (rows, columns) = geometry, geometry.output

    def items(block: int) -> int:
        return rows * block // _thread(block, columns)

    blocks = [n for n in _divisors(g.filters) if items(n) <= MOST_THREADS and _forward_bytes(g, n, 1) <= limit]
    block = _chosen(blocks, g.filters, images, FULL_CARD)
    splits = _splits(items(block), images, g.channels * g.kernel[0], lambda n: _forward_bytes(g, block, n), limit)
    shared = _forward_bytes(g, block, splits)
    return Tiling(block, _thread(block, columns), splits, _threads(items(block) * splits), shared)


def backward_data(geometry: Geometry, images: int, limit: int) -> Tiling:
    """Tiles of the data gradient; `block` and `thread` count input channels."""
    g = geometry
    rows = -(-g.height // g.stride[0]) * g.stride[0]

    def items(block: int) -> int:
        return rows * block // _thread(block, g.width)

    blocks = [n for n in _divisors(g.channels) if items(n) <= MOST_THREADS and _data_bytes(g, n, 1) <= limit]
    block = _chosen(blocks, g.channels, images, FULL_CARD)
    splits = _splits(items(block), images, g.filters, lambda n: _data_bytes(g, block, n), limit)
    shared = _data_bytes(g, block, splits)
    return Tiling(block, _thread(block, g.width), splits, _threads(items(block) * splits), shared)


def backward_filter(geometry: Geometry, parts: int, limit: int) -> Tiling:
    """Tiles of the filter gradient."""
    g, taps = geometry, geometry.kernel[1]

    def items(channels: int, filters: int) -> int:
        return channels * g.kernel[0] * filters // _thread(filters, taps)

    def possible(channels: int, filters: int) -> bool:
        return items(channels, filters) <= MOST_THREADS and _filter_bytes(g, channels, filters, 1) <= limit

    least = min(_divisors(g.filters), key=lambda n: items(1, n))
    channels = _chosen([n for n in _divisors(g.channels) if possible(n, least)] or [1], g.channels, parts, HALF_CARD)
    made = parts * (g.channels // channels)
    filters = _chosen([n for n in _divisors(g.filters) if possible(channels, n)] or [1], g.filters, made, HALF_CARD)
    count = items(channels, filters)
    splits = _splits(count, parts, g.output[0], lambda n: _filter_bytes(g, channels, filters, n), limit)
    shared = _filter_bytes(g, channels, filters, splits)
    return Tiling(0, _thread(filters, taps), splits, _threads(count * splits), shared, filters, channels)


def _thread(block: int, width: int) -> int:
    """Channels that a thread makes rows of `width` sums of."""
    return max(n for n in (1, 2, 4) if block % n == 0 and (n == 1 or n * width <= MOST_SUMS))


def _splits(items: int, images: int, terms: int, nbytes: Callable[[int], int], limit: int) -> int:
    """Threads that share a result's terms: as many as a block has room for, while two blocks share the memory."""
    room, most = max(limit // 2, nbytes(1)), MOST_THREADS if images >= FULL_CARD else FEW_THREADS
    possible = [n for n in range(1, terms + 1) if terms % n == 0 and items * n <= most and nbytes(n) <= room]
    return max(possible, default=1)


def _divisors(channels: int) -> list[int]:
    """Into how many channels a block can be made: multiples of 4, or any where there are none, and 1."""
    return [n for n in range(1, channels + 1) if channels % n == 0 and (n % 4 == 0 or n == 1 or channels % 4)]


def _chosen(possible: Sequence[int], channels: int, images: int, wanted: int) -> int:
    """The most channels a block, of those above 1 if there are such, that still leave the wanted blocks."""
    several = [n for n in possible if n > 1] or possible
    full = [n for n in several if images * (channels // n) >= wanted]
    return max(full) if full else min(several)


def _threads(wanted: int) -> int:
    return max(64, -(-wanted // 32) * 32)


def _rounded(count: int) -> int:
    return -(-count // 4) * 4


def _pitch(width: int, step: int) -> int:
    """Floats from one row in shared memory to the next, as in the kernels."""
    whole = _rounded(width)
    return whole + 4 if whole * step % 32 == 0 else whole


def _forward_bytes(g: Geometry, block: int, splits: int) -> int:
    tiles = _rounded(g.taps * block) + g.channels * g.height * _pitch(g.width, g.stride[0])
    return 4 * max(tiles, splits * block * math.prod(g.output))


def _data_bytes(g: Geometry, block: int, splits: int) -> int:
    weights = g.filters * g.kernel[0] * g.kernel[1] * block
    tiles = _rounded(weights) + g.filters * g.output[0] * _pitch(g.output[1], 1)
    return 4 * max(tiles, splits * block * g.height * g.width)


def _filter_bytes(g: Geometry, channels: int, filters: int, splits: int) -> int:
    tiles = filters * g.output[0] * _pitch(g.output[1], 1) + channels * g.height * _pitch(g.width, g.stride[0])
    return 4 * max(tiles, splits * filters * channels * g.kernel[0] * g.kernel[1])
