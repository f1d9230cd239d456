"""The end of a step: the flag, the updates of all parameters, the counter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

from gocudnn_py.cuda import Scalar

from .... import optim
from ....errors import CompileError
from ....graph import Node
from ....ops.update import AdvanceStep, FlagNonFinite, LossScale, UnlessFlagged, Unscale, Update
from ....passes.memory import align
from ..backend import CudaBackend, Step, Tensor
from ..registry import lowering
from .elementwise import THREADS, blocks, elementwise, pointers, require_float32, sequence

SOURCE = "update.cu"
Constants = Callable[[Any], tuple[float, ...]]
RULES: dict[type[optim.Optimizer], tuple[int, Constants]] = {
    optim.SGD: (0, lambda rule: ()),
    optim.Momentum: (1, lambda rule: (rule.decay,)),
    optim.Adagrad: (2, lambda rule: (rule.epsilon,)),
    optim.Adadelta: (3, lambda rule: (rule.decay, rule.epsilon)),
    optim.Adam: (4, lambda rule: (rule.beta1, rule.beta2, rule.epsilon)),
}
"""Each optimizer's number and constants in kernels/update.cu."""


@lowering(LossScale)
def _(backend: CudaBackend, node: Node, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> Step:
    return backend.launch(SOURCE, "loss_scale", [1], [1], pointers(*inputs, *outputs))


@lowering(Unscale)
def _(backend: CudaBackend, node: Node, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> Step:
    return elementwise(backend, SOURCE, "unscale", pointers(*inputs, *outputs), outputs[0].type.size)


@lowering(FlagNonFinite)
def _(backend: CudaBackend, node: Node, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> Step:
    op = node.op
    assert isinstance(op, FlagNonFinite)
    _, loss, *gradients = inputs
    require_float32(*inputs)
    (spans,) = _rows(gradients, len(gradients)) if gradients else [[]]
    launches = []
    for address, size, scaled in [(loss.pointer, 1, False), *((*span, op.scaled) for span in spans)]:
        arguments = [(Scalar.pointer, address), *pointers(outputs[0]), (Scalar.int32, int(scaled))]
        launches.append(elementwise(backend, SOURCE, "flag_non_finite", arguments, size))
    return sequence(*_carry_over(backend, inputs[0], outputs[0]), *launches)


@lowering(UnlessFlagged)
def _(backend: CudaBackend, node: Node, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> Step:
    count = len(outputs)
    triples = zip(inputs[1 : 1 + count], inputs[1 + count :], outputs, strict=True)
    return sequence(
        *(
            backend.launch(
                SOURCE,
                "unless_flagged",
                [blocks(y.type.size)],
                [THREADS],
                [*pointers(inputs[0], old, new, y), (Scalar.int64, y.type.size)],
            )
            for old, new, y in triples
        )
    )


@lowering(AdvanceStep)
def _(backend: CudaBackend, node: Node, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> Step:
    op = node.op
    assert isinstance(op, AdvanceStep)
    correct = pointers(inputs[2]) if len(inputs) > 2 else [(Scalar.pointer, 0)]
    arguments = [*pointers(outputs[0], inputs[1]), *correct, (Scalar.int32, int(op.scaled))]
    advance = backend.launch(SOURCE, "advance_step", [1], [1], arguments, overlaps=True)
    return sequence(*_carry_over(backend, inputs[0], outputs[0]), advance)


@lowering(Update)
def _(backend: CudaBackend, node: Node, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> Step:
    op = node.op
    assert isinstance(op, Update)
    if type(op.rule) not in RULES:
        raise CompileError(f"the cuda backend has no code for optimizer {op.rule.name}")
    require_float32(*inputs)
    rows = _rows([*inputs[1:], *outputs], op.count)
    steps = [
        _update(backend, op, inputs[0], [start for start, _ in column], column[0][1])
        for column in zip(*rows, strict=True)
    ]
    return sequence(*steps)


def _update(backend: CudaBackend, op: Update, state: Tensor, addresses: Sequence[int], count: int) -> Step:
    """One launch over `count` elements: addresses of w, dw and the moments, then of the new w and moments."""
    number, constants = RULES[type(op.rule)]
    moments = len(op.rule.moments)
    w, dw, *rest = addresses
    old, new_w, new = rest[:moments], rest[moments], rest[moments + 1 :]
    absent = [0] * (2 - moments)
    places = [state, w, dw, *old, *absent, new_w, *new, *absent]
    values = (*constants(op.rule), 0.0, 0.0, 0.0)[:3]
    arguments = [*((Scalar.pointer, place) for place in places), (Scalar.int64, count), (Scalar.int32, op.group)]
    arguments += [(Scalar.float64, value) for value in (op.rule.l1, op.rule.l2, *values)]
    return backend.launch(
        SOURCE, "update", [blocks(count)], [THREADS], arguments, defines={"RULE": number}, overlaps=True
    )


def _rows(tensors: Sequence[Tensor], count: int) -> list[list[tuple[int, int]]]:
    """Address and size of each tensor in rows of `count`, or of each row as one where all rows fill arenas."""
    rows = [tensors[start : start + count] for start in range(0, len(tensors), count)]
    if all(_neighbours(row) for row in rows):
        return [[(row[0].pointer, (row[-1].pointer - row[0].pointer) // 4 + row[-1].type.size)] for row in rows]
    return [[(tensor.pointer, tensor.type.size) for tensor in row] for row in rows]


def _neighbours(row: Sequence[Tensor]) -> bool:
    pairs = pairwise(row)
    return all(b.buffer is a.buffer and b.offset - a.offset == align(max(1, a.type.nbytes)) for a, b in pairs)


def _carry_over(backend: CudaBackend, source: Tensor, target: Tensor) -> list[Step]:
    return [] if source.pointer == target.pointer else [backend.copy(source, target)]
