"""How a box of elements is moved between two layouts: which units, tiles and padding (kernels/xtra/move.cu)."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from gocudnn_py.xtra.array import DeviceArray
from gocudnn_py.xtra.launcher import copy, launch

if TYPE_CHECKING:
    from gocudnn_py.cuda import Stream

UNITS = {1: "unsigned char", 2: "unsigned short", 4: "unsigned int", 8: "unsigned long long", 16: "uint4"}
"""C types of each size, for what is only moved."""
MAX_RANK = 8
INT32_MAX = 2**31 - 1
BLOCKS = 8  # of each multiprocessor; four are there at a time, and each goes through several tiles
BANKS = 32
FEW = 16  # elements of an axis that are read together with those of the next


@dataclass(frozen=True)
class Axis:
    """So many elements, `source` apart where they are read and `target` apart where they are written."""

    extent: int
    source: int
    target: int


Axes = tuple[Axis, ...]


@dataclass(frozen=True)
class Plan:
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
    def tiles(self) -> int:
        """How many tiles there are."""
        return math.prod(-(-axis.extent // tile) for axis, tile in zip(self.axes, self.tile, strict=True))

    @property
    def together(self) -> int:
        """Bytes to copy where all lies together on both sides, else 0."""
        if any((axis.source, axis.target) != (1, 1) for axis in self.axes):
            return 0
        return math.prod(axis.extent for axis in self.axes) * self.width

    @property
    def shared(self) -> int:
        """Bytes of shared memory for a tile."""
        return (self.volume + self.volume // self.run * self.pad) * self.width


def move(
    stream: Stream,
    source: DeviceArray,
    target: DeviceArray,
    extents: Sequence[int],
    strides: tuple[Sequence[int], Sequence[int]],
    at: tuple[int, int] = (0, 0),
) -> None:
    """Copy a box of elements that lie `strides` apart, from element at[0] of the source to at[1] of the target."""
    itemsize = source.dtype.itemsize
    if not math.prod(extents):
        return
    first = source.offset + at[0] * itemsize, target.offset + at[1] * itemsize
    box = [DeviceArray(array.place, (), array.dtype, byte) for array, byte in zip((source, target), first, strict=True)]
    aligned = [min(16, alignment(array.address)) for array in box]
    made = plan(tuple(map(Axis, extents, *strides)), itemsize, aligned[0], aligned[1])
    if made.together:
        row = [DeviceArray(array.place, (made.together,), "uint8", array.offset) for array in box]
        copy(stream, row[0], row[1])
    else:
        _launch(stream, made, box)


def alignment(*addresses: int) -> int:
    """The largest power of two that divides all addresses."""
    joined = functools.reduce(int.__or__, addresses)
    return joined & -joined or 1 << 62


def _launch(stream: Stream, made: Plan, box: Sequence[DeviceArray]) -> None:
    read, write = made.packs
    defines = {
        "T": UNITS[made.width],
        "OFFSET": "long long" if made.wide else "int",
        "RANK": len(made.axes),
        "IN": read,
        "OUT": write,
        "CELLS": cells(made.width, made.wide) * min(read, write),
    }
    missing = MAX_RANK - len(made.axes)
    axes = (*made.axes, *[Axis(1, 0, 0)] * missing)
    numbers = [*(a.extent for a in axes), *(a.source for a in axes), *(a.target for a in axes)]
    order = sum(axis << 4 * i for i, axis in enumerate(made.order))
    arguments = [*box, made.tiles, made.volume, made.run, made.pad, order, *numbers, *made.tile, *[1] * missing]
    blocks = min(made.tiles, BLOCKS * stream.device.multiprocessors)
    launch(stream, "move", blocks, arguments, defines, shared=made.shared)


def cells(width: int, wide: bool) -> int:
    """Packs of units that a tile may have: what its tables take of shared memory grows with them."""
    return 1024 if width > 4 or wide else 2048


@functools.lru_cache(maxsize=1024)
def plan(axes: Axes, itemsize: int, source_aligned: int, target_aligned: int) -> Plan:
    """The launch for a box of elements at addresses of such alignments, in bytes up to 16."""
    axes, width = _widened(merged(axes), itemsize, min(source_aligned, target_aligned))
    packs = (
        _pack(axes, "source", width, source_aligned),
        _pack(axes, "target", width, target_aligned),
    )
    narrow = Plan(axes, _tile(axes, packs, cells(width, False)), width, packs, False, 1, 0)
    if _reach(narrow) > INT32_MAX:
        narrow = replace(narrow, tile=_tile(axes, packs, cells(width, True)), wide=True)
    if narrow.tiles > INT32_MAX:
        raise ValueError(f"{narrow.tiles} tiles are too many for one launch")
    return _padded(narrow)


def merged(axes: Axes) -> Axes:
    """The axes in the order of the source, without those of one element, neighbours that lie as one made one."""
    ordered = sorted((axis for axis in axes if axis.extent > 1), key=lambda axis: (-axis.source, -axis.target))
    found: list[Axis] = []
    for axis in ordered:
        last = found[-1] if found else None
        if last and (last.source, last.target) == (axis.source * axis.extent, axis.target * axis.extent):
            found[-1] = replace(axis, extent=last.extent * axis.extent)
        else:
            found.append(axis)
    return tuple(found)


def _widened(axes: Axes, itemsize: int, aligned: int) -> tuple[Axes, int]:
    """The same in units of up to 16 bytes, where runs of elements stay together; the axes and a unit's bytes."""
    if not axes or (axes[-1].source, axes[-1].target) != (1, 1):
        return axes, itemsize
    *rest, last = axes
    strides = [stride for axis in rest for stride in (axis.source, axis.target)]
    together = min(alignment(last.extent, *strides), aligned // itemsize, 16 // itemsize)
    made = [Axis(a.extent, a.source // together, a.target // together) for a in rest]
    left = [Axis(last.extent // together, 1, 1)] if last.extent > together else []
    return (*made, *left), itemsize * together


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


def fastest_first(axes: Axes, side: str) -> tuple[int, ...]:
    """The axes by how far apart their elements lie on one side."""
    last = len(axes) - 1
    if side == "source":
        return tuple(range(last, -1, -1))
    return tuple(sorted(range(last + 1), key=lambda a: (axes[a].target, -a)))


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


def _reach(made: Plan) -> int:
    """The greatest distance within a tile."""
    pairs = list(zip(made.axes, made.tile, strict=True))
    return max(
        sum((tile - 1) * axis.source for axis, tile in pairs), sum((tile - 1) * axis.target for axis, tile in pairs)
    )


def _padded(made: Plan) -> Plan:
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


def _places(made: Plan) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
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
