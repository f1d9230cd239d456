"""Rows taken by their numbers, and numbers as rows."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from gocudnn_py.xtra import checks
from gocudnn_py.xtra.array import Operand, operands
from gocudnn_py.xtra.boxes import UNITS, alignment
from gocudnn_py.xtra.launcher import launch
from gocudnn_py.xtra.movement import row_blocks

if TYPE_CHECKING:
    from gocudnn_py.cuda import Stream


def take_rows(stream: Stream, x: Operand, index: Operand, y: Operand) -> None:
    """y[r] = x[index[r]] along the first axis, for indices of int32, int64 or uint8; negative ones count from the end.

    An index outside x makes a row with all bits set: NaN in floating-point numbers, -1 in integers with a sign.
    """
    what = "take_rows"
    source, numbers, target = operands(what, stream, x=x, index=index, y=y)
    if not source.shape:
        raise ValueError(f"{what}: x needs an axis of rows")
    if source.dtype != target.dtype:
        raise TypeError(f"{what}: x {source} and y {target} have different types")
    kind = checks.c_type(f"{what}: index", numbers.dtype, checks.LABELS)
    checks.has_shape(what, "y", target, (*numbers.shape, *source.shape[1:]))
    checks.apart(what, ("y", target), ("x", source), ("index", numbers))
    nbytes = math.prod(source.shape[1:]) * source.dtype.itemsize
    if target.size:
        unit = min(16, alignment(nbytes, source.address, target.address))
        arguments = [source, numbers, target, source.shape[0], numbers.size, nbytes // unit]
        defines = {"UNIT": UNITS[unit], "INDEX": kind}
        launch(stream, what, row_blocks(numbers.size * nbytes // unit), arguments, defines)


def one_hot(stream: Stream, labels: Operand, y: Operand, axis: int = -1, on: float = 1.0, off: float = 0.0) -> None:
    """y has `on` where its place along `axis` is the label, `off` elsewhere; any type but complex.

    y's shape without that axis is that of the labels (int32, int64, uint8); one that is no class makes `off` alone.
    """
    what = "one_hot"
    numbers, target = operands(what, stream, labels=labels, y=y)
    along = checks.axis_of(what, axis, len(target.shape))
    checks.has_shape(what, "labels", numbers, target.shape[:along] + target.shape[along + 1 :])
    checks.apart(what, ("y", target), ("labels", numbers))
    defines = {
        "T": checks.c_type(f"{what}: y", target.dtype),
        "LABEL": checks.c_type(f"{what}: labels", numbers.dtype, checks.LABELS),
    }
    if target.size:
        inner = math.prod(target.shape[along + 1 :])
        arguments = [numbers, target, on, off, target.shape[along], inner, target.size, checks.packed(target)]
        launch(stream, what, checks.tiles(target), arguments, defines | checks.index_type(target.size))
