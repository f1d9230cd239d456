"""RNN data descriptors: a batch of sequences of vectors, of different lengths, padded or packed."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from gocudnn_py._abi.cudnn import DataType, RNNDataLayout
from gocudnn_py.cudnn.descriptor import DataDescriptor, int32, int32s, int_array
from gocudnn_py.dtypes import DType, cudnn_dtype, numpy_dtype

WIDEST = 8  # bytes of the widest element


@dataclass(frozen=True, slots=True)
class RnnDataSpec:
    """What an RNN data descriptor holds; `fill` is what padding of an output is set to."""

    dtype: DataType
    vector_size: int
    lengths: tuple[int, ...]
    max_length: int
    layout: RNNDataLayout
    fill: float

    @property
    def shape(self) -> tuple[int, ...]:
        """Steps, batch and vector; batch, steps and vector; or, packed, all steps of all sequences and vector."""
        if self.layout is RNNDataLayout.SEQ_MAJOR_PACKED:
            return sum(self.lengths), self.vector_size
        outer = self.max_length, len(self.lengths)
        return (*(outer[::-1] if self.layout is RNNDataLayout.BATCH_MAJOR_UNPACKED else outer), self.vector_size)


class RnnDataDescriptor(DataDescriptor):
    """A batch of sequences of vectors.

    SEQ_MAJOR_UNPACKED lies as (steps, batch, vector), BATCH_MAJOR_UNPACKED as (batch, steps, vector), both padded to
    the longest sequence; SEQ_MAJOR_PACKED is the first without its padding. `vector_size`, `lengths`, `max_length`,
    `layout` and `size_in_bytes` say what was set. cudnnCreateRNNDataDescriptor, cudnnDestroyRNNDataDescriptor.
    """

    kind = "RNNData"

    def __init__(self) -> None:
        self.vector_size = self.size_in_bytes = self.max_length = 0
        self.lengths: tuple[int, ...] = ()
        self.layout = RNNDataLayout.SEQ_MAJOR_UNPACKED
        super().__init__()

    def set(
        self,
        dtype: DType,
        vector_size: int,
        lengths: Sequence[int],
        *,
        max_length: int | None = None,
        layout: RNNDataLayout = RNNDataLayout.SEQ_MAJOR_UNPACKED,
        fill: float | None = 0.0,
    ) -> Self:
        """Describe sequences by their numbers of steps (cudnnSetRNNDataDescriptor, cudnnGetRNNDataDescriptor).

        `max_length` is that of the longest unless given. Padding of an output becomes `fill`, anything when None.
        Packed sequences come in order of length, the longest first. Raises ValueError with the numbers.
        """
        vector_size, lengths = int32("vector_size", vector_size, least=1), int32s("lengths", lengths)
        longest = max(lengths, default=0)
        steps = int32("max_length", longest if max_length is None else max_length, least=1)
        _check_lengths(lengths, longest, steps, layout)
        code = cudnn_dtype(dtype)
        symbol = None if fill is None else np.array(fill, numpy_dtype(code)).tobytes()
        sizes = steps, len(lengths), vector_size
        self.lib.cudnnSetRNNDataDescriptor(self.handle, code, layout, *sizes, int_array(lengths), symbol)
        self.dtype, self.vector_size, self.lengths = code, vector_size, lengths
        self.max_length, self.layout = steps, RNNDataLayout(layout)
        self.size_in_bytes = math.prod(self.get().shape) * numpy_dtype(code).itemsize
        return self

    def get(self) -> RnnDataSpec:
        """Read everything back (cudnnGetRNNDataDescriptor); `fill` is 0 where None was set."""
        code, layout, steps, batch, vector_size = (ctypes.c_int() for _ in range(5))
        lengths, symbol = int_array([0] * len(self.lengths)), ctypes.create_string_buffer(WIDEST)
        kinds = ctypes.byref(code), ctypes.byref(layout)
        sizes = ctypes.byref(steps), ctypes.byref(batch), ctypes.byref(vector_size)
        self.lib.cudnnGetRNNDataDescriptor(self.handle, *kinds, *sizes, len(lengths), lengths, symbol)
        dtype = DataType(code.value)
        fill = float(np.frombuffer(symbol.raw, numpy_dtype(dtype), 1)[0])
        found = tuple(lengths[: batch.value])
        return RnnDataSpec(dtype, vector_size.value, found, steps.value, RNNDataLayout(layout.value), fill)

    @property
    def batch(self) -> int:
        """How many sequences there are."""
        return len(self.lengths)

    def lies_as(self, other: Self) -> bool:
        """Whether data of the other lie as data of this: all is the same but what padding is filled with."""
        if other is self:
            return True
        mine, others = (
            (each.dtype, each.vector_size, each.lengths, each.max_length, each.layout) for each in (self, other)
        )
        return mine == others

    def _describe(self) -> str:
        if not self.lengths:
            return "not set"
        s = self.get()
        what = f"{s.dtype.name}, vector_size={s.vector_size}, lengths={s.lengths}, max_length={s.max_length}"
        return f"{what}, {s.layout.name}, fill={s.fill:g}"


def _check_lengths(lengths: tuple[int, ...], longest: int, steps: int, layout: RNNDataLayout) -> None:
    if longest > steps:
        raise ValueError(f"rnn data: a sequence of {longest} steps is longer than max_length={steps}")
    if layout != RNNDataLayout.SEQ_MAJOR_PACKED:
        return
    if longest != steps:
        raise ValueError(f"rnn data: packed, max_length={steps} must be the longest's {longest} (lengths={lengths})")
    if list(lengths) != sorted(lengths, reverse=True):
        raise ValueError(f"rnn data: packed sequences come longest first, lengths={lengths} do not")
