"""Arrays joined along an axis, and cut apart again."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from gocudnn_py.xtra import checks
from gocudnn_py.xtra.array import DeviceArray, Operand, operand
from gocudnn_py.xtra.boxes import UNITS, alignment
from gocudnn_py.xtra.launcher import THREADS, launch
from gocudnn_py.xtra.moving import move

if TYPE_CHECKING:
    from gocudnn_py.cuda import Stream

PARTS = 8  # that one launch of kernels/xtra/join.cu takes, at most
EACH = 4  # units that a thread of it takes
SHORT = 1024  # bytes of a part in a row, below which all parts are moved by one launch


def concatenate(stream: Stream, xs: Sequence[Operand], y: Operand, axis: int) -> None:
    """y = the xs one after the other along an axis: 1 joins channels in NCHW, -1 in NHWC.

    Raises ValueError unless the shapes agree along the other axes and add up along this one.
    """
    parts, whole = [operand(f"concatenate: x{i}", x, stream) for i, x in enumerate(xs)], operand("y", y, stream)
    for i, part in enumerate(parts):
        checks.apart("concatenate", ("y", whole), (f"x{i}", part))
    filled, ends = _side_by_side("concatenate", parts, whole, axis)
    if _suit_one_launch(filled, ends):
        _launch(stream, "join_rows", filled, whole, ends)
        return
    for part, start, size, rows in _apart(filled, ends):
        move(stream, part, whole, (rows, size), ((size, 1), (ends[-1], 1)), (0, start))


def split(stream: Stream, x: Operand, ys: Sequence[Operand], axis: int) -> None:
    """The ys = the parts of x along an axis, in turn: what `concatenate` joins, and its gradient.

    Raises ValueError as `concatenate`.
    """
    parts, whole = [operand(f"split: y{i}", y, stream) for i, y in enumerate(ys)], operand("x", x, stream)
    for i, part in enumerate(parts):
        others = ((f"y{j}", other) for j, other in enumerate(parts[:i]))
        checks.apart("split", (f"y{i}", part), ("x", whole), *others)
    filled, ends = _side_by_side("split", parts, whole, axis)
    if _suit_one_launch(filled, ends):
        _launch(stream, "cut_rows", filled, whole, ends)
        return
    for part, start, size, rows in _apart(filled, ends):
        move(stream, whole, part, (rows, size), ((ends[-1], 1), (size, 1)), (start, 0))


def _side_by_side(
    what: str, parts: Sequence[DeviceArray], whole: DeviceArray, axis: int
) -> tuple[list[DeviceArray], list[int]]:
    """The parts that have elements, and where each ends in a row of the whole. Raises ValueError and TypeError."""
    along = checks.axis_of(what, axis, len(whole.shape))
    for part in parts:
        if part.dtype != whole.dtype:
            raise TypeError(f"{what}: {part} and {whole} have different types")
        rest = [shape[:along] + shape[along + 1 :] for shape in (part.shape, whole.shape)]
        if len(part.shape) != len(whole.shape) or rest[0] != rest[1]:
            raise ValueError(f"{what}: {part} is no part of {whole} along axis {along}")
    total = sum(part.shape[along] for part in parts)
    if total != whole.shape[along]:
        raise ValueError(f"{what}: parts of {total} along axis {along}, the whole {whole} has {whole.shape[along]}")
    filled = [part for part in parts if part.size]
    return filled, list(itertools.accumulate(math.prod(part.shape[along:]) for part in filled))


def _apart(parts: Sequence[DeviceArray], ends: Sequence[int]) -> Iterator[tuple[DeviceArray, int, int, int]]:
    """Each part, where it begins in a row, how long it is there, and in how many rows."""
    for part, start, end in zip(parts, [0, *ends], ends, strict=False):
        yield part, start, end - start, part.size // (end - start)


def _suit_one_launch(parts: Sequence[DeviceArray], ends: Sequence[int]) -> bool:
    longest = max((size for _, _, size, _ in _apart(parts, ends)), default=0)
    return 2 <= len(parts) <= PARTS and longest * parts[0].dtype.itemsize < SHORT


def _launch(stream: Stream, kernel: str, parts: Sequence[DeviceArray], whole: DeviceArray, ends: Sequence[int]) -> None:
    itemsize = whole.dtype.itemsize
    unit = min(16, alignment(*(array.address for array in (*parts, whole)), *(end * itemsize for end in ends)))
    missing = PARTS - len(parts)
    places, past = [*parts, *[None] * missing], [end * itemsize // unit for end in ends] + [0] * missing
    count = whole.nbytes // unit
    defines = {"T": UNITS[unit], "PARTS": len(parts), **checks.index_type(count)}
    launch(stream, kernel, -(-count // (THREADS * EACH)), [*places, whole, count, past[len(parts) - 1], *past], defines)
