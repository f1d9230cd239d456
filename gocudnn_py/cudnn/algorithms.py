"""Which algorithms a convolution has: proposed by cuDNN's heuristics, or measured by it."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any

from gocudnn_py._abi.cudnn import (
    ConvolutionBwdDataAlgo,
    ConvolutionBwdDataAlgoPerf,
    ConvolutionBwdFilterAlgo,
    ConvolutionBwdFilterAlgoPerf,
    ConvolutionFwdAlgo,
    ConvolutionFwdAlgoPerf,
    Determinism,
    MathType,
)
from gocudnn_py.cudnn.convolution import ConvolutionDescriptor, Direction
from gocudnn_py.cudnn.descriptor import DataDescriptor, Operand, span
from gocudnn_py.cudnn.handle import Handle

KINDS: dict[Direction, tuple[Any, Any]] = {
    Direction.FORWARD: (ConvolutionFwdAlgo, ConvolutionFwdAlgoPerf),
    Direction.BACKWARD_DATA: (ConvolutionBwdDataAlgo, ConvolutionBwdDataAlgoPerf),
    Direction.BACKWARD_FILTER: (ConvolutionBwdFilterAlgo, ConvolutionBwdFilterAlgoPerf),
}


@dataclass(frozen=True)
class Performance:
    """An algorithm, by whose `workspace` bytes; `milliseconds` where it was measured, else cuDNN's guess or -1."""

    algorithm: int
    milliseconds: float
    workspace: int
    deterministic: bool
    math: MathType


def most_algorithms(handle: Handle, direction: Direction) -> int:
    """How many algorithms there are at most.

    cudnnGetConvolutionForwardAlgorithmMaxCount, cudnnGetConvolutionBackwardDataAlgorithmMaxCount,
    cudnnGetConvolutionBackwardFilterAlgorithmMaxCount.
    """
    count = ctypes.c_int()
    query = getattr(handle.lib, f"cudnnGetConvolution{direction.value}AlgorithmMaxCount")
    query(handle.handle, ctypes.byref(count))
    return count.value


def propose(
    handle: Handle,
    convolution: ConvolutionDescriptor,
    direction: Direction,
    first: DataDescriptor,
    second: DataDescriptor,
    result: DataDescriptor,
) -> list[Performance]:
    """The algorithms that do it, the one likeliest to be fastest first; nothing runs.

    x, w, y; w, dy, dx or x, dy, dw. cudnnGetConvolutionForwardAlgorithm_v7,
    cudnnGetConvolutionBackwardDataAlgorithm_v7, cudnnGetConvolutionBackwardFilterAlgorithm_v7.
    """
    query = getattr(handle.lib, f"cudnnGetConvolution{direction.value}Algorithm_v7")
    return _ask(query, handle, direction, [first.handle, second.handle, convolution.handle, result.handle])


def measure(
    handle: Handle,
    convolution: ConvolutionDescriptor,
    direction: Direction,
    first: DataDescriptor,
    second: DataDescriptor,
    result: DataDescriptor,
) -> list[Performance]:
    """The same, measured on memory that cuDNN allocates itself, the fastest first; the device waits meanwhile.

    cudnnFindConvolutionForwardAlgorithm, cudnnFindConvolutionBackwardDataAlgorithm,
    cudnnFindConvolutionBackwardFilterAlgorithm.
    """
    query = getattr(handle.lib, f"cudnnFindConvolution{direction.value}Algorithm")
    return _ask(query, handle, direction, [first.handle, second.handle, convolution.handle, result.handle])


def measure_on(
    handle: Handle,
    convolution: ConvolutionDescriptor,
    direction: Direction,
    first: Operand,
    second: Operand,
    result: Operand,
    workspace: Any = None,
) -> list[Performance]:
    """The same, measured on these operands and this workspace, which it writes to.

    cudnnFindConvolutionForwardAlgorithmEx, cudnnFindConvolutionBackwardDataAlgorithmEx,
    cudnnFindConvolutionBackwardFilterAlgorithmEx.
    """
    query = getattr(handle.lib, f"cudnnFindConvolution{direction.value}AlgorithmEx")
    operands = [*first.pair, *second.pair, convolution.handle, *result.pair]
    return _ask(query, handle, direction, operands, span(workspace))


def _ask(
    query: Any, handle: Handle, direction: Direction, arguments: list[int], after: tuple[int, ...] = ()
) -> list[Performance]:
    algorithms, rows = KINDS[direction]
    most, found = most_algorithms(handle, direction), ctypes.c_int()
    table = (rows * most)()
    query(handle.handle, *arguments, most, ctypes.byref(found), table, *after)
    return [
        Performance(
            algorithms(row.algo), row.time, row.memory, row.determinism == Determinism.DETERMINISTIC,
            MathType(row.mathType),
        )
        for row in table[: found.value]
        if row.status == 0
    ]  # fmt: skip
