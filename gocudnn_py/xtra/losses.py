"""Losses with their gradients, in one pass over the data."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from gocudnn_py.xtra import checks
from gocudnn_py.xtra.array import DeviceArray, Operand, operands, optional
from gocudnn_py.xtra.launcher import SPAN, THREADS, launch, scratch

if TYPE_CHECKING:
    from gocudnn_py.cuda import Stream

MOST_BLOCKS = 2048  # that share a sum
WARP = 32
PACK = 16  # bytes
MOST_HELD = 8  # packs of a row that a thread keeps in registers
WORKSPACE = 8 * MOST_BLOCKS
"""Bytes of workspace that are enough for the mean of any loss; losses a sample take 8 more for each sample."""


def squared_error(
    stream: Stream,
    y: Operand,
    target: Operand,
    loss: Operand,
    dy: Operand | None = None,
    factor: float | None = None,
    *,
    workspace: Any = None,
) -> None:
    """loss = factor times the sum of (y - target)^2, dy = 2 factor (y - target); dy may be y or target.

    `loss` is one number of float32 for all, or one for each sample of the first axis. `factor` makes it a mean if none
    is given; 1/2 is GoCudnn's. The sums have one order, which hangs on shapes and alignment alone; see WORKSPACE.
    """
    what = "squared_error"
    given, wanted, sums = operands(what, stream, y=y, target=target, loss=loss)
    (slope,) = optional(what, stream, dy=dy)
    defines = _check_errors(what, given, wanted, sums, slope)
    rows = _rows(what, sums, given)
    if not rows:
        return
    size = given.size // rows
    by = _factor(factor, size)
    parts = max(1, min(-(-size // SPAN), MOST_BLOCKS // rows))
    partial = scratch(stream, 8 * rows * parts, workspace)
    packed = _packed(given, wanted, slope) and (rows == 1 or size * given.dtype.itemsize % PACK == 0)
    numbers = [rows, size, parts, by, int(packed)]
    launch(stream, what, rows * parts, [given, wanted, slope, partial, *numbers], defines)
    _finish(stream, partial, sums, rows, parts, by)


def _check_errors(
    what: str, y: DeviceArray, target: DeviceArray, loss: DeviceArray, dy: DeviceArray | None
) -> dict[str, object]:
    """What the kernel is compiled with. Raises TypeError and ValueError for types and places that do not fit."""
    checks.same_shape(what, y=y, target=target, dy=dy)
    checks.c_type(f"{what}: loss", loss.dtype, ("float32",))
    checks.apart(what, ("loss", loss), ("y", y), ("target", target), ("dy", dy))
    if dy is not None:
        checks.apart(what, ("dy", dy), ("y", y), ("target", target), same=True)
    return {"T": checks.float_type(what, y=y, target=target, dy=dy)}


def softmax_cross_entropy(
    stream: Stream,
    logits: Operand,
    labels: Operand,
    losses: Operand,
    dlogits: Operand | None = None,
    loss: Operand | None = None,
    factor: float | None = None,
    *,
    axis: int = 1,
    workspace: Any = None,
) -> None:
    """losses = -log softmax(logits)[label], dlogits = factor (softmax - one at the label), loss = factor sum(losses).

    Logits have their classes along `axis`; labels (int32, int64, uint8) and losses (float32) are of its shape without
    that axis, `loss` is one number of float32. `factor` is 1 / labels if none is given. dlogits may be logits. A label
    that is no class makes NaNs; logarithms are natural. The sums have one order, which
    hangs on shapes and alignment alone; see WORKSPACE.
    """
    what = "softmax_cross_entropy"
    given, chosen, each = operands(what, stream, logits=logits, labels=labels, losses=losses)
    slope, total = optional(what, stream, dlogits=dlogits, loss=loss)
    defines = _check_classes(what, given, chosen, each, slope, total)
    along = checks.axis_of(what, axis, len(given.shape))
    for name, array in (("labels", chosen), ("losses", each)):
        checks.has_shape(what, name, array, given.shape[:along] + given.shape[along + 1 :])
    classes, inner = given.shape[along], math.prod(given.shape[along + 1 :])
    if not classes:
        raise ValueError(f"{what}: logits {given} have no classes along axis {axis}")
    shared, by = _shared(given, slope, classes, inner), _factor(factor, chosen.size)
    blocks = -(-chosen.size * shared["LANES"] // (THREADS * shared.get("ROWS", 1)))
    partial = None
    if total is not None:
        blocks = min(blocks, MOST_BLOCKS)
        partial = scratch(stream, 8 * max(1, blocks), workspace)
    if blocks:
        numbers = [math.prod(given.shape[:along]), classes, inner, by]
        launch(stream, what, blocks, [given, chosen, each, slope, partial, *numbers], defines | shared)
    if total is not None and partial is not None:
        _finish(stream, partial, total, 1, blocks, by)


def _check_classes(
    what: str,
    logits: DeviceArray,
    labels: DeviceArray,
    losses: DeviceArray,
    dlogits: DeviceArray | None,
    loss: DeviceArray | None,
) -> dict[str, object]:
    """What the kernel is compiled with. Raises TypeError and ValueError for types and places that do not fit."""
    label = checks.c_type(f"{what}: labels", labels.dtype, checks.LABELS)
    for name, array in (("losses", losses), ("loss", loss)):
        if array is not None:
            checks.c_type(f"{what}: {name}", array.dtype, ("float32",))
            checks.apart(what, (name, array), ("logits", logits), ("labels", labels), ("dlogits", dlogits))
    if loss is not None:
        checks.apart(what, ("loss", loss), ("losses", losses))
        checks.has_shape(what, "loss", loss.reshape(loss.size), (1,))
    if dlogits is not None:
        checks.same_shape(what, logits=logits, dlogits=dlogits)
        checks.apart(what, ("dlogits", dlogits), ("logits", logits), same=True)
        checks.apart(what, ("dlogits", dlogits), ("labels", labels))
    return {"T": checks.float_type(what, logits=logits, dlogits=dlogits), "LABEL": label}


def _rows(what: str, loss: DeviceArray, y: DeviceArray) -> int:
    """How many losses are asked for. Raises ValueError unless that is one or one a sample."""
    if y.shape and loss.shape == y.shape[:1]:
        return loss.size
    if loss.size != 1:
        raise ValueError(f"{what}: a loss of shape {loss.shape} for y {y}; it has to be one number or {y.shape[:1]}")
    return 1


def _factor(factor: float | None, count: int) -> float:
    return 1.0 / max(1, count) if factor is None else factor


def _packed(*arrays: DeviceArray | None) -> bool:
    """Whether all arrays that are there begin on multiples of packs."""
    return bool(checks.packed(*(array for array in arrays if array is not None)))


def _shared(logits: DeviceArray, dlogits: DeviceArray | None, classes: int, inner: int) -> dict[str, int]:
    """What the kernel is compiled with: how many LANES share a row, neighbours in memory being those in the warp.

    Where rows are packs that fit in registers, HELD packs of each of ROWS rows are a thread's at a time.
    """
    each = PACK // logits.dtype.itemsize
    packs = classes // each
    if inner == 1 and classes % each == 0 and packs <= WARP * MOST_HELD and _packed(logits, dlogits):
        lanes = min(WARP, 1 << (packs - 1).bit_length())
        held = -(-packs // lanes)
        return {"LANES": lanes, "HELD": held, "ROWS": max(1, 4 // held)}
    return {"LANES": 1 if inner > 1 else min(WARP, 1 << max(0, (classes // 2).bit_length() - 1))}


def _finish(stream: Stream, partial: DeviceArray, sums: DeviceArray, rows: int, parts: int, factor: float) -> None:
    launch(stream, "finish_sums", min(rows, 65535), [partial, sums, rows, parts, factor], {})
