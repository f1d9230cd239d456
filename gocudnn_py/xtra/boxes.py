"""Boxes of elements that lie in one layout and are wanted in another."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace

UNITS = {1: "unsigned char", 2: "unsigned short", 4: "unsigned int", 8: "unsigned long long", 16: "uint4"}
"""C types of each size, for what is only moved."""
MAX_RANK = 8
INT32_MAX = 2**31 - 1


@dataclass(frozen=True)
class Axis:
    """So many elements, `source` apart where they are read and `target` apart where they are written."""

    extent: int
    source: int
    target: int


Axes = tuple[Axis, ...]


def alignment(*addresses: int) -> int:
    """The largest power of two that divides all addresses."""
    joined = functools.reduce(int.__or__, addresses)
    return joined & -joined or 1 << 62


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


def widened(axes: Axes, itemsize: int, aligned: int) -> tuple[Axes, int]:
    """The same in units of up to 16 bytes, where runs of elements stay together; the axes and a unit's bytes."""
    if not axes or (axes[-1].source, axes[-1].target) != (1, 1):
        return axes, itemsize
    *rest, last = axes
    strides = [stride for axis in rest for stride in (axis.source, axis.target)]
    together = min(alignment(last.extent, *strides), aligned // itemsize, 16 // itemsize)
    made = [Axis(a.extent, a.source // together, a.target // together) for a in rest]
    left = [Axis(last.extent // together, 1, 1)] if last.extent > together else []
    return (*made, *left), itemsize * together


def fastest_first(axes: Axes, side: str) -> tuple[int, ...]:
    """The axes by how far apart their elements lie on one side."""
    last = len(axes) - 1
    if side == "source":
        return tuple(range(last, -1, -1))
    return tuple(sorted(range(last + 1), key=lambda a: (axes[a].target, -a)))
