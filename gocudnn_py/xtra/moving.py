"""A box of elements moved between two layouts by the kernel that suits it."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from gocudnn_py.xtra import checks
from gocudnn_py.xtra.array import DeviceArray
from gocudnn_py.xtra.boxes import MAX_RANK, UNITS, Axes, Axis, alignment, fastest_first, merged, widened
from gocudnn_py.xtra.launcher import THREADS, copy, launch
from gocudnn_py.xtra.squares import Squares, squares
from gocudnn_py.xtra.tiles import Tiles, cells, tiles

if TYPE_CHECKING:
    from gocudnn_py.cuda import Stream

BLOCKS = 8  # of each multiprocessor, for tiles; each goes through several
EACH = 4  # units that a thread takes at a time, in kernels/xtra/box.cu
SECTOR = 32  # bytes that memory gives and takes at once


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
    axes, width, how = plan(tuple(map(Axis, extents, *strides)), itemsize, aligned[0], aligned[1])
    if how == "together":
        row = [DeviceArray(array.place, (axes[0].extent * width,), "uint8", array.offset) for array in box]
        copy(stream, row[0], row[1])
    elif how == "box":
        _copy_box(stream, axes, width, box)
    elif isinstance(how, Squares):
        defines = {"T": UNITS[width], **how.defines}
        launch(stream, "transpose", how.blocks, [*box, *how.numbers], defines)
    else:
        _through_tiles(stream, how, box)


@functools.lru_cache(maxsize=1024)
def plan(
    axes: Axes, itemsize: int, source_aligned: int, target_aligned: int
) -> tuple[Axes, int, Literal["together", "box"] | Squares | Tiles]:
    """The axes in units, a unit's bytes, and how a box at addresses of such alignments, up to 16 bytes, is moved."""
    axes, width = widened(merged(axes), itemsize, min(source_aligned, target_aligned))
    if not axes or (len(axes) == 1 and (axes[0].source, axes[0].target) == (1, 1)):
        return axes or (Axis(1, 1, 1),), width, "together"
    if _straight(axes, width):
        return axes, width, "box"
    turned = squares(axes, width, source_aligned, target_aligned)
    return axes, width, turned or tiles(axes, width, source_aligned, target_aligned)


def _straight(axes: Axes, width: int) -> bool:
    """Whether what lies together on one side does so on the other, in whole sectors at least."""
    order = fastest_first(axes, "target")
    last = axes[-1]
    if order == fastest_first(axes, "source"):
        return True
    return order[0] == len(axes) - 1 and (last.source, last.target) == (1, 1) and last.extent * width >= SECTOR


def _copy_box(stream: Stream, axes: Axes, width: int, box: Sequence[DeviceArray]) -> None:
    count = math.prod(axis.extent for axis in axes)
    ordered = [axes[i] for i in fastest_first(axes, "target")[::-1]] + [Axis(1, 0, 0)] * (MAX_RANK - len(axes))
    defines = {"T": UNITS[width], "RANK": len(axes), **checks.index_type(count)}
    numbers = [*(a.extent for a in ordered), *(a.source for a in ordered), *(a.target for a in ordered)]
    launch(stream, "copy_box", -(-count // (THREADS * EACH)), [*box, count, *numbers], defines)


def _through_tiles(stream: Stream, made: Tiles, box: Sequence[DeviceArray]) -> None:
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
    arguments = [*box, made.count, made.volume, made.run, made.pad, order, *numbers, *made.tile, *[1] * missing]
    blocks = min(made.count, BLOCKS * stream.device.multiprocessors)
    launch(stream, "move", blocks, arguments, defines, shared=made.shared)
