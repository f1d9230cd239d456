"""How the small-channel convolutions are cut into blocks and threads."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .fused import Geometry

MOST_WEIGHTS = 64 * 1024
FULL_CARD = 132  # blocks that keep a large card busy: one a multiprocessor of an H200
HALF_CARD = FULL_CARD // 2  # for what runs beside other kernels


@dataclass(frozen=True)
class Tiling:
    """Channels a block and a thread make, lanes that share one result, threads, shared bytes."""

    block: int
    thread: int
    lanes: int
    threads: int
    shared: int
    filters: int = 0  # filters a block makes, of the filter-gradient kernel


def fits(geometry: Geometry, limit: int) -> bool:
    """Whether our kernels take a convolution: few channels, an image that fits into `limit` bytes of shared memory."""
    if min(geometry.output) < 1 or geometry.filters * geometry.taps > MOST_WEIGHTS or geometry.filters > 64:
        return False
    smallest = _forward_bytes(geometry, 1), _data_bytes(geometry, 1), _filter_bytes(geometry, 1, 1)
    return max(smallest) <= limit


def forward(geometry: Geometry, images: int, limit: int) -> Tiling:
    """Tiles of the forward kernel."""
    pixels = math.prod(geometry.output)
    blocks = [n for n in _divisors(geometry.filters) if _forward_bytes(geometry, n) <= limit]
    block = _chosen(blocks, geometry.filters, images)
    thread = max(t for t in (1, 2, 4) if block % t == 0)
    lanes = _lanes(pixels * (block // thread), geometry.taps)
    threads = _threads(pixels * (block // thread) * lanes)
    return Tiling(block, thread, lanes, threads, _forward_bytes(geometry, block))


def backward_data(geometry: Geometry, images: int, limit: int) -> Tiling:
    """Tiles of the data-gradient kernel; `block` counts input channels."""
    pixels = geometry.height * geometry.width
    blocks = [n for n in _divisors(geometry.channels) if _data_bytes(geometry, n) <= limit]
    block = _chosen(blocks, geometry.channels, images)
    thread = max(t for t in (1, 2, 4) if block % t == 0)
    lanes = _lanes(pixels * (block // thread), geometry.filters)
    threads = _threads(pixels * (block // thread) * lanes)
    return Tiling(block, thread, lanes, threads, _data_bytes(geometry, block))


def backward_filter(geometry: Geometry, parts: int, limit: int) -> Tiling:
    """Tiles of the filter-gradient kernel; `block` counts input channels, `thread` and `filters` filters."""
    blocks = [n for n in _divisors(geometry.channels, 1) if _filter_bytes(geometry, n, 1) <= limit]
    block = _chosen(blocks, geometry.channels, parts, HALF_CARD)
    made = parts * (geometry.channels // block)
    possible = [n for n in _divisors(geometry.filters) if _filter_bytes(geometry, block, n) <= limit] or [1]
    filters = _chosen(possible, geometry.filters, made, HALF_CARD)
    thread = max(t for t in (1, 2, 4) if filters % t == 0)
    items = block * geometry.kernel[0] * geometry.kernel[1] * (filters // thread)
    rows = geometry.output[0]
    lanes = max(n for n in (1, 2, 4, 8) if n == 1 or (n <= rows and items * n <= 512))
    shared = _filter_bytes(geometry, block, filters)
    return Tiling(block, thread, lanes, _threads(items * lanes), shared, filters)


def tile(geometry: Geometry) -> tuple[int, int]:
    """Rows and columns of the padded image that windows reach."""
    axes = zip(geometry.output, geometry.kernel, geometry.stride, geometry.dilation, strict=True)
    h, w = ((y - 1) * s + (k - 1) * d + 1 for y, k, s, d in axes)
    return h, w


def reached(geometry: Geometry) -> tuple[tuple[int, int], tuple[int, int]]:
    """For each spatial axis, the first row of dy that dx takes from and how many there are."""
    extents = geometry.height, geometry.width
    result = []
    for extent, k, s, p, d in zip(
        extents, geometry.kernel, geometry.stride, geometry.padding, geometry.dilation, strict=True
    ):
        low, high = (p - (k - 1) * d) // s, (-(-extent // s) * s - 1 + p) // s
        result.append((low, high - low + 1))
    return result[0], result[1]


def _forward_bytes(geometry: Geometry, block: int) -> int:
    return 4 * (geometry.taps * block + geometry.channels * math.prod(tile(geometry)))


def _data_bytes(geometry: Geometry, block: int) -> int:
    (_, rows), (_, columns) = reached(geometry)
    filters = geometry.filters
    return 4 * (filters * math.prod(geometry.kernel) * block + filters * rows * columns)


def _filter_bytes(geometry: Geometry, block: int, filters: int) -> int:
    return 4 * (filters * math.prod(geometry.output) + block * math.prod(tile(geometry)))


def _divisors(channels: int, step: int = 4) -> list[int]:
    """Into how many channels a block can be made: multiples of `step`, and 1."""
    return [n for n in range(1, channels + 1) if channels % n == 0 and (n % step == 0 or n == 1 or channels % step)]


def _chosen(possible: list[int], channels: int, images: int, wanted: int = FULL_CARD) -> int:
    """The most channels a block, of those above 1 if there are such, that still leave the wanted blocks."""
    several = [n for n in possible if n > 1] or possible
    full = [n for n in several if images * (channels // n) >= wanted]
    return max(full) if full else min(several)


def _lanes(items: int, terms: int) -> int:
    """Lanes a result, where one image has too few results to fill a block."""
    return max(n for n in (1, 2, 4, 8, 16, 32) if n == 1 or (items * n <= 256 and n * 4 <= terms))


def _threads(wanted: int) -> int:
    return min(512, -(-max(wanted, 64) // 32) * 32)
