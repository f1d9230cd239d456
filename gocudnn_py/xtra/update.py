"""Updates of many tensors by one launch: SGD, momentum, Adagrad, Adadelta, Adam, AdamW; penalties of the weights."""

from __future__ import annotations

from dataclasses import astuple, replace
from typing import TYPE_CHECKING, Any

from gocudnn_py.xtra import checks
from gocudnn_py.xtra.array import DeviceArray, Operand, operand
from gocudnn_py.xtra.launcher import launch, scratch
from gocudnn_py.xtra.tensors import DEFAULT, Options, TensorList

if TYPE_CHECKING:
    from gocudnn_py.cuda import Stream

RULES = {"sgd": 0, "momentum": 1, "adagrad": 2, "adadelta": 3, "adam": 4, "nesterov": 5}
"""The numbers of kernels/update_rule.cuh."""
MOMENTS = {"sgd": 0, "momentum": 1, "adagrad": 1, "adadelta": 2, "adam": 2, "nesterov": 1}
BLOCKS = 64  # of each multiprocessor: many more than it has at once, for all to end together
MOST_BLOCKS = 2048  # that share the sums of the penalties
WORKSPACE = 16 * MOST_BLOCKS
"""Bytes of workspace for `regularize`."""


def sgd(stream: Stream, tensors: TensorList, rate: float | Operand, options: Options = DEFAULT) -> None:
    """W = w - rate g, with the gradient g that `options` make.

    `rate` may be a float32 on the GPU, which a recorded graph reads anew. Thesis, equation 3.11.
    """
    _update(stream, "sgd", tensors, rate, (), options)


def momentum(
    stream: Stream,
    tensors: TensorList,
    rate: float | Operand,
    momentum: float = 0.9,
    *,
    nesterov: bool = False,
    options: Options = DEFAULT,
) -> None:
    """m = momentum m + rate g, W = w - m, or by Nesterov w - (momentum m + rate g); one moment.

    PyTorch's m is this one divided by a rate that never changes. Thesis, equations 3.12 and 3.13; see `sgd`.
    """
    _update(stream, "nesterov" if nesterov else "momentum", tensors, rate, (momentum,), options)


def adagrad(
    stream: Stream, tensors: TensorList, rate: float | Operand, epsilon: float = 1e-8, options: Options = DEFAULT
) -> None:
    """s = s + g^2, W = w - rate g / (sqrt(s) + epsilon); one moment. Thesis, equations 3.14 and 3.15; see `sgd`."""
    _update(stream, "adagrad", tensors, rate, (epsilon,), options)


def adadelta(
    stream: Stream,
    tensors: TensorList,
    rate: float | Operand = 1.0,
    rho: float = 0.95,
    epsilon: float = 1e-6,
    options: Options = DEFAULT,
) -> None:
    """W = w - rate d, d = sqrt((u + epsilon) / (s + epsilon)) g; s and u are running means of g^2 and d^2: two moments.

    Zeiler 2012, algorithm 1; see `sgd`.
    """
    _update(stream, "adadelta", tensors, rate, (rho, epsilon), options)


def adam(
    stream: Stream,
    tensors: TensorList,
    rate: float | Operand = 1e-3,
    step: int | Operand = 1,
    beta1: float = 0.9,
    beta2: float = 0.999,
    epsilon: float = 1e-8,
    options: Options = DEFAULT,
) -> None:
    """W = w - rate / (1 - beta1^t) m / (sqrt(v / (1 - beta2^t)) + epsilon); m and v are running means of g and g^2.

    Two moments; t is the step, from 1 on, or an int64 on the GPU that a recorded graph reads: a number would stay what
    it was when recorded, so there it is refused. Kingma and Ba 2015, algorithm 1; see `sgd`.
    """
    _update(stream, "adam", tensors, rate, (beta1, beta2, epsilon), options, step)


def adamw(
    stream: Stream,
    tensors: TensorList,
    rate: float | Operand = 1e-3,
    step: int | Operand = 1,
    beta1: float = 0.9,
    beta2: float = 0.999,
    epsilon: float = 1e-8,
    decay: float = 0.01,
    options: Options = DEFAULT,
) -> None:
    """`adam` after w = (1 - rate decay) w. Loshchilov and Hutter 2019, algorithm 2."""
    adam(stream, tensors, rate, step, beta1, beta2, epsilon, replace(options, decay=decay))


def regularize(
    stream: Stream,
    tensors: TensorList,
    penalties: Operand,
    l1: float = 0.0,
    l2: float = 0.0,
    scale: float = 1.0,
    *,
    workspace: Any = None,
) -> None:
    """dw = scale dw + l1 sign(w) + l2 w; penalties (two of float32) = l1 sum |w| and l2 / 2 sum w^2 over all tensors.

    They are summed in an order that hangs on shapes and alignment alone, in float64 beyond a thread's few.
    """
    found = operand("regularize: penalties", penalties, stream)
    checks.c_type("regularize: penalties", found.dtype, ("float32",))
    checks.has_shape("regularize", "penalties", found, (2,))
    checks.writable("regularize", penalties=found)
    blocks = min(tensors.chunks, MOST_BLOCKS)
    partial = scratch(stream, 16 * max(1, blocks), workspace)
    if blocks:
        arguments = [tensors.table, tensors.count, tensors.chunks, partial, scale, l1, l2]
        launch(stream, "regularize_all", blocks, arguments, tensors.defines)
        tensors.hold(stream)
    launch(stream, "finish_penalties", 1, [partial, found, blocks, l1, l2], tensors.defines)


def _update(
    stream: Stream,
    rule: str,
    tensors: TensorList,
    rate: float | Operand,
    constants: tuple[float, ...],
    options: Options,
    step: int | Operand = 1,
) -> None:
    if stream.device.ordinal != tensors.stream.device.ordinal:
        raise ValueError(f"{rule}: the tensors are for {tensors.stream.device}, the stream is of {stream.device}")
    if len(tensors.moments) < MOMENTS[rule]:
        raise ValueError(f"{rule} needs {MOMENTS[rule]} moments, the tensors have {len(tensors.moments)}")
    rate_at, by = _number(rule, "rate", rate, "float32", stream)
    step_at, number = _number(rule, "step", step, "int64", stream)
    if step_at is None and number < 1:
        raise ValueError(f"{rule}: step is {number}, steps count from 1")
    if rule == "adam" and step_at is None and stream.capturing:
        raise ValueError(
            f"{rule}: within a capture the step has to be on the GPU, or every replay would be step {number}"
        )
    if not tensors.chunks:
        return
    arguments = [tensors.table, tensors.count, tensors.chunks, step_at, rate_at, int(number), by]
    arguments += [*astuple(options), *(*constants, 0.0, 0.0, 0.0)[:3]]
    blocks = min(tensors.chunks, BLOCKS * stream.device.multiprocessors)
    launch(stream, "update_all", blocks, arguments, tensors.defines | {"RULE": RULES[rule]})
    tensors.hold(stream)


def _number(
    rule: str, name: str, value: float | Operand, dtype: str, stream: Stream
) -> tuple[DeviceArray | None, float]:
    """A number of the host, or where it lies on the GPU. Raises TypeError or ValueError."""
    if isinstance(value, int | float):
        return None, value
    found = operand(f"{rule}: {name}", value, stream)
    checks.c_type(f"{rule}: {name}", found.dtype, (dtype,))
    if found.size != 1:
        raise ValueError(f"{rule}: {name} {found} has to be one number")
    return found, 1
