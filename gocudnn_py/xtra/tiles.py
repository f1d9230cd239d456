"""Boxes of elements through shared memory: units, tiles and padding (kernels/xtra/move.cu)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from gocudnn_py.xtra.boxes import INT32_MAX, Axes, alignment, fastest_first

BANKS = 32
FEW = 16  # elements of an axis that are read together with those of the next


@dataclass(frozen=True)
class Tiles:
    """A launch: `axes` in the order of the source, their tiles, units of `width` bytes, read and written in packs."""

    axes: Axes
    tile: tuple[int, ...]
    width: int
    packs: tuple[int, int]
    wide: bool
    run: int
    pad: int

    @property
    def order(self) -> tuple[int, ...]:
        """Axes in the order of the target, the fastest first."""
        return fastest_first(self.axes, "target")

    @property
    def volume(self) -> int:
        """Units in a tile."""
        return math.prod(self.tile)

    @property
    def count(self) -> int:
        """How many tiles there are."""
        return math.prod(-(-axis.extent // tile) for axis, tile in zip(self.axes, self.tile, strict=True))

    @property
    def shared(self) -> int:
        """Bytes of shared memory for a tile."""
        return (self.volume + self.volume // self.run * self.pad) * self.width


def cells(width: int, wide: bool) -> int:
    """Packs of units that a tile may have: what its tables take of shared memory grows with them."""
    return 1024 if width > 4 or wide else 2048


def tiles(axes: Axes, width: int, source_aligned: int, target_aligned: int) -> Tiles:
    """The launch for a box of units of `width` bytes at addresses of such alignments, in bytes up to 16."""
    packs = (
        _pack(axes, "source", width, source_aligned),
        _pack(axes, "target", width, target_aligned),
    )
    narrow = Tiles(axes, _tile(axes, packs, cells(width, False)), width, packs, False, 1, 0)
    if _reach(narrow) > INT32_MAX:
        narrow = replace(narrow, tile=_tile(axes, packs, cells(width, True)), wide=True)
    if narrow.count > INT32_MAX:
        raise ValueError(f"{narrow.count} tiles are too many for one launch")
    return _padded(narrow)


def _pack(axes: Axes, side: str, width: int, aligned: int) -> int:
    """How many units are read, or written, at a time: up to 4 bytes of the axis that is fastest there."""
    if not axes or width >= 4:
        return 1
    order = fastest_first(axes, side)
    run, rest = axes[order[0]].extent, order[1:]
    if getattr(axes[order[0]], side) != 1:
        return 1
    if side == "source" and run <= FEW and rest and axes[rest[0]].source == run:
        run, rest = run * axes[rest[0]].extent, rest[1:]  # channels that lie innermost, say: read with their neighbours
    return min(alignment(run, *(getattr(axes[a], side) for a in rest)), aligned // width, 4 // width)


def _tile(axes: Axes, packs: tuple[int, int], room: int) -> tuple[int, ...]:
    """A tile's extents: it grows along the fastest axes of either side in turn, so that both have long runs."""
    orders = [fastest_first(axes, side) for side in ("source", "target")]
    tile, most = [1] * len(axes), room * min(packs)
    for order, pack in zip(orders, packs, strict=True):
        for axis in order[:2]:  # that a pack is of
            common = math.gcd(axes[axis].extent, pack)
            tile[axis] = max(tile[axis], pack if common == pack else axes[axis].extent if pack > 1 else 1)
            pack //= common

    def run(order: tuple[int, ...]) -> int:
        length = 1
        for axis in order:
            length *= tile[axis]
            if tile[axis] < axes[axis].extent:
                break
        return length

    def grown(order: tuple[int, ...]) -> bool:
        axis = next((axis for axis in order if tile[axis] < axes[axis].extent), None)
        if axis is None:
            return False
        wanted = min(axes[axis].extent, 2 * tile[axis])
        if math.prod(tile) // tile[axis] * wanted > most:
            return False
        tile[axis] = wanted
        return True

    while any(grown(order) for order in sorted(orders, key=run)):
        pass
    return tuple(tile)


def _reach(made: Tiles) -> int:
    """The greatest distance within a tile."""
    pairs = list(zip(made.axes, made.tile, strict=True))
    return max(
        sum((tile - 1) * axis.source for axis, tile in pairs), sum((tile - 1) * axis.target for axis, tile in pairs)
    )


def _padded(made: Tiles) -> Tiles:
    """The plan with the padding that lets a warp write from the most banks at a time."""
    places = _places(made)
    read = made.packs[0]
    best, fewest = (made.volume or 1, 0), _conflicts(places, made.width)
    for run in {math.prod(made.tile[a:]) for a in range(len(made.tile))} - {made.volume, 1}:
        if run % read:
            continue
        for pad in range(read, min(run // 2, 2 * BANKS) + 1, read):
            found = _conflicts(places + places // run * pad, made.width)
            if found < fewest:
                best, fewest = (run, pad), found
    return replace(made, run=best[0], pad=best[1])


def _places(made: Tiles) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Where in a tile a warp's units lie that are written at a time, the first of each pack."""
    rest = np.arange(min(BANKS, made.volume // made.packs[1])) * made.packs[1]
    places = np.zeros_like(rest)
    for axis in made.order:
        places += rest % made.tile[axis] * math.prod(made.tile[axis + 1 :])
        rest //= made.tile[axis]
    return places


def _conflicts(places: np.ndarray[tuple[int], np.dtype[np.int64]], width: int) -> int:
    """How many different words the busiest bank has to give."""
    lanes = BANKS * 4 // max(4, width)
    words = np.unique(places[:lanes] * width // 4)
    return int(np.bincount(words % BANKS).max(initial=0))
