"""The end of a step: the flag, the updates by convnetgo's formulas, the counter."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from ... import convnetgo, optim
from ...errors import CompileError
from ...graph import Node
from ...ops.update import AdvanceStep, FlagNonFinite, LossScale, UnlessFlagged, Unscale, Update
from ...passes.memory import align
from ...state import STEP_STATE
from .registry import RULES, Step, kernel, lowering, update_rule

Array = npt.NDArray[Any]


@update_rule(optim.SGD)
def _(rule: optim.SGD, w: Array, dw: Array, *, rate: float, step: int) -> tuple[Array, ...]:
    return (convnetgo.sgd(w, dw, rate),)


@update_rule(optim.Momentum)
def _(rule: optim.Momentum, w: Array, dw: Array, m: Array, *, rate: float, step: int) -> tuple[Array, ...]:
    return convnetgo.momentum(w, m, dw, rate, rule.decay)


@update_rule(optim.Adagrad)
def _(rule: optim.Adagrad, w: Array, dw: Array, s: Array, *, rate: float, step: int) -> tuple[Array, ...]:
    return convnetgo.adagrad(w, s, dw, rate, rule.epsilon)


@update_rule(optim.Adadelta)
def _(rule: optim.Adadelta, w: Array, dw: Array, s: Array, u: Array, *, rate: float, step: int) -> tuple[Array, ...]:
    return convnetgo.adadelta(w, s, u, dw, rate, rule.decay, rule.epsilon)


@update_rule(optim.Adam)
def _(rule: optim.Adam, w: Array, dw: Array, m: Array, v: Array, *, rate: float, step: int) -> tuple[Array, ...]:
    return convnetgo.adam(w, m, v, dw, rate, step, rule.beta1, rule.beta2, rule.epsilon)


@kernel(LossScale)
def _(op: LossScale, step: Array) -> Array:
    return np.asarray(step.view(STEP_STATE)["loss_scale"][0])


@kernel(Unscale)
def _(op: Unscale, step: Array, dw: Array) -> Array:
    return np.asarray(dw / step.view(STEP_STATE)["loss_scale"][0])


@kernel(FlagNonFinite)
def _(op: FlagNonFinite, step: Array, loss: Array, *gradients: Array) -> Array:
    result = step.copy()
    record = result.view(STEP_STATE)
    bad_gradient = not all(np.isfinite(array).all() for array in gradients)
    forgiven = op.scaled and record["loss_scale"][0] > 1
    if bad_gradient and forgiven:
        record["steady"] = -1
    if not record["nonfinite"][0] and (not np.isfinite(loss).all() or (bad_gradient and not forgiven)):
        record["nonfinite"] = 1
        record["first_bad_step"] = record["step"]
    return result


def _skips(record: Array) -> bool:
    """Whether this step makes no update."""
    return bool(record["nonfinite"][0] or record["steady"][0] < 0)


@lowering(UnlessFlagged)
def _(node: Node, inputs: Sequence[Array], outputs: Sequence[Array]) -> Step:
    op = node.op
    assert isinstance(op, UnlessFlagged)
    record = inputs[0].view(STEP_STATE)
    old, new = inputs[1 : 1 + op.count], inputs[1 + op.count :]

    def step() -> None:
        for target, content in zip(outputs, old if _skips(record) else new, strict=True):
            np.copyto(target, content)

    return step


@kernel(AdvanceStep)
def _(op: AdvanceStep, step: Array, loss: Array, *correct: Array) -> Array:
    result = step.copy()
    record = result.view(STEP_STATE)
    if not record["nonfinite"][0]:
        record["step"] += not _skips(record)
        record["cursor"] += record["batch_size"]
        record["loss_sum"] += record["batch_size"] * np.float64(loss)
        record["correct"] += sum(int(count) for count in correct)
        if op.scaled:
            scale, steady = float(record["loss_scale"][0]), int(record["steady"][0])
            record["loss_scale"], record["steady"] = convnetgo.next_loss_scale(scale, steady, steady < 0)
    return result


@lowering(Update)
def _(node: Node, inputs: Sequence[Array], outputs: Sequence[Array]) -> Step:
    op = node.op
    assert isinstance(op, Update)
    formula = RULES.get(type(op.rule))
    if formula is None:
        raise CompileError(
            f"the cpu backend has no formula for optimizer {op.rule.name}; "
            f"register one with gocunets.backends.numpy.update_rule({type(op.rule).__name__})"
        )
    record = inputs[0].view(STEP_STATE)
    rows = _rows([*inputs[1:], *outputs], op.count)
    sources = 2 + len(op.rule.moments)  # rows that are read: parameters, gradients, moments
    columns = [(column[:sources], column[sources:]) for column in zip(*rows, strict=True)]

    def step() -> None:
        bad, rate, number = _skips(record), record["learning_rate"][0, op.group], record["step"][0]
        for (w, dw, *moments), targets in columns:
            if not bad:
                dw = convnetgo.regularize(w, dw, op.rule.l1, op.rule.l2)
                results = formula(op.rule, w, dw, *moments, rate=float(rate), step=int(number) + 1)
            else:
                results = (w, *moments)
            for target, result in zip(targets, results, strict=True):
                np.copyto(target, result)

    return step


def _rows(arrays: Sequence[Array], count: int) -> list[list[Array]]:
    """Rows of `count` arrays each, or of one flat array each where all rows fill arenas."""
    rows = [list(arrays[start : start + count]) for start in range(0, len(arrays), count)]
    flat = [[array] for array in map(_flat, rows) if array is not None]
    return flat if len(flat) == len(rows) else rows


def _flat(row: Sequence[Array]) -> Array | None:
    """The memory of neighbouring slots as one array, alignment gaps included, or None."""
    first, last, base = row[0], row[-1], row[0].base
    for left, right in pairwise(row):
        if right.base is not base or right.ctypes.data - left.ctypes.data != align(left.nbytes):
            return None
    if base is None or not all(array.flags.c_contiguous for array in row):
        return None
    size = (last.ctypes.data + last.nbytes - first.ctypes.data) // first.itemsize
    return np.ndarray((size,), first.dtype, base, first.ctypes.data - base.ctypes.data)
