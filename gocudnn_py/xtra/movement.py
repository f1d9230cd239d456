"""The same numbers in other places: transposes, layouts, exchange of samples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from gocudnn_py.xtra import checks
from gocudnn_py.xtra.array import DeviceArray, Operand, operand, operands
from gocudnn_py.xtra.boxes import MAX_RANK, UNITS, alignment
from gocudnn_py.xtra.launcher import THREADS, launch
from gocudnn_py.xtra.moving import move

if TYPE_CHECKING:
    from gocudnn_py.cuda import Stream

UNITS_A_THREAD = 4  # kernels/xtra/rows.cu


def strides_of(shape: Sequence[int]) -> list[int]:
    """How many elements lie between neighbours along each axis of a row-major array."""
    return [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]


def copy(stream: Stream, x: Operand, y: Operand) -> None:
    """y = x, of one shape and type (cuMemcpyDtoDAsync_v2)."""
    source, target = operands("copy", stream, x=x, y=y)
    checks.has_shape("copy", "y", target, source.shape)
    transpose(stream, source, target, range(len(source.shape)))


def transpose(stream: Stream, x: Operand, y: Operand, axes: Sequence[int]) -> None:
    """y = x with its axes in another order: axis i of y is axis axes[i] of x; up to 8 axes, any type.

    Raises ValueError for axes that are no permutation, for a y of another shape, and where the two overlap.
    """
    source, target = pair("transpose", x, y, stream)
    rank = len(source.shape)
    order = [checks.axis_of("transpose", axis, rank) for axis in axes]
    if sorted(order) != list(range(rank)):
        raise ValueError(f"transpose: axes {tuple(axes)} are no permutation of the {rank} axes of x {source}")
    if rank > MAX_RANK:
        raise ValueError(f"transpose: x {source} has {rank} axes, there may be {MAX_RANK}")
    checks.has_shape("transpose", "y", target, [source.shape[axis] for axis in order])
    strides = strides_of(source.shape)
    move(stream, source, target, target.shape, ([strides[axis] for axis in order], strides_of(target.shape)))


def to_nhwc(stream: Stream, x: Operand, y: Operand) -> None:
    """y (N, *spatial, C) = x (N, C, *spatial). Raises ValueError as `transpose`."""
    rank = _spatial_rank("to_nhwc", x, stream)
    transpose(stream, x, y, [0, *range(2, rank), 1])


def to_nchw(stream: Stream, x: Operand, y: Operand) -> None:
    """y (N, C, *spatial) = x (N, *spatial, C). Raises ValueError as `transpose`."""
    rank = _spatial_rank("to_nchw", x, stream)
    transpose(stream, x, y, [0, rank - 1, *range(1, rank - 1)])


def swap_every_other(stream: Stream, a: Operand, b: Operand, start: int = 0, step: int = 2) -> None:
    """Samples start, start + step, ... of two batches change places. Raises ValueError unless a and b are alike."""
    first, second = _batches("swap_every_other", a, b, stream)
    if start < 0 or step < 1:
        raise ValueError(f"swap_every_other: samples from {start} in steps of {step}")
    rows = -(-max(0, first.shape[0] - start) // step)
    _exchange(stream, first, second, rows, (start, start, step))


def swap_halves(stream: Stream, a: Operand, b: Operand, a_upper: bool = True, b_upper: bool = True) -> None:
    """The upper (first) or lower half of the samples of a changes places with the upper or lower half of b.

    Of an odd number of samples the last stays. Raises ValueError unless a and b are alike.
    """
    first, second = _batches("swap_halves", a, b, stream)
    half = first.shape[0] // 2
    _exchange(stream, first, second, half, (0 if a_upper else half, 0 if b_upper else half, 1))


def pair(what: str, x: Operand, y: Operand, stream: Stream) -> tuple[DeviceArray, DeviceArray]:
    """Two arrays of one type that do not overlap. Raises TypeError or ValueError."""
    source, target = operands(what, stream, source=x, target=y)
    if source.dtype != target.dtype:
        raise TypeError(f"{what}: {source} and {target} have different types")
    checks.apart(what, ("the target", target), ("the source", source))
    return source, target


def _spatial_rank(what: str, x: Operand, stream: Stream) -> int:
    rank = len(operand(what, x, stream).shape)
    if rank < 2:
        raise ValueError(f"{what}: x has {rank} axes, at least samples and channels are needed")
    return rank


def _batches(what: str, a: Operand, b: Operand, stream: Stream) -> tuple[DeviceArray, DeviceArray]:
    first, second = pair(what, a, b, stream)
    checks.same_shape(what, a=first, b=second)
    checks.writable(what, a=first, b=second)
    if not first.shape:
        raise ValueError(f"{what}: a batch needs an axis of samples")
    return first, second


def _exchange(stream: Stream, a: DeviceArray, b: DeviceArray, rows: int, places: tuple[int, int, int]) -> None:
    nbytes = math.prod(a.shape[1:]) * a.dtype.itemsize
    if not rows * nbytes:
        return
    unit = min(16, alignment(nbytes, a.address, b.address))
    arguments = [a, b, rows, nbytes // unit, *places]
    launch(stream, "exchange_rows", row_blocks(rows * nbytes // unit), arguments, {"UNIT": UNITS[unit]})


def row_blocks(units: int) -> int:
    """Blocks for a kernel of kernels/xtra/rows.cu over so many units."""
    return -(-units // (THREADS * UNITS_A_THREAD))
