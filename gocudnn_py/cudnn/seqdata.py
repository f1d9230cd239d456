"""Sequence data descriptors: time, batch, beam and vector of what attention reads and writes."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from gocudnn_py._abi.cudnn import DataType, SeqDataAxis
from gocudnn_py.cudnn.descriptor import DataDescriptor, int32s, int_array
from gocudnn_py.dtypes import DType, cudnn_dtype, numpy_dtype

RANK = len(SeqDataAxis)
AXES = tuple(SeqDataAxis)
TYPES = (DataType.FLOAT, DataType.DOUBLE, DataType.HALF)


@dataclass(frozen=True, slots=True)
class SeqDataSpec:
    """What a sequence data descriptor holds.

    `dims` are (time, batch, beam, vector) whatever the layout, `axes` the layout from the outermost axis inward,
    `lengths` those of the sequences, by batch and then by beam; cuDNN reads an unset `padding_fill` back as 0.
    """

    dtype: DataType
    dims: tuple[int, ...]
    axes: tuple[SeqDataAxis, ...]
    lengths: tuple[int, ...]
    padding_fill: float


class SeqDataDescriptor(DataDescriptor):
    """Sequences of vectors, packed in memory, each with its own length."""

    kind = "SeqData"
    dims: tuple[int, ...] = ()
    axes: tuple[SeqDataAxis, ...] = AXES

    def set(
        self,
        dtype: DType,
        dims: Sequence[int],
        axes: Sequence[SeqDataAxis] = AXES,
        *,
        lengths: Sequence[int] | None = None,
        padding_fill: float | None = None,
    ) -> Self:
        """Describe (time, batch, beam, vector) in float32, float64 or float16 (cudnnSetSeqDataDescriptor).

        `axes` is the order in memory, vectors innermost; `lengths`, all of `time` unless given, go by batch and then
        by beam. What works on the data takes them on the GPU too, as int32, for kernels read those.
        """
        dims, axes = _checked(dims, axes)
        steps, sequences = dims[0], dims[1] * dims[2]
        lengths = _lengths(lengths if lengths is not None else (steps,) * sequences, steps, sequences)
        code = cudnn_dtype(dtype)
        if code not in TYPES:
            raise ValueError(f"sequence data is {', '.join(t.name for t in TYPES)}, not {code.name}")
        fill = None if padding_fill is None else np.array([padding_fill], numpy_dtype(code)).tobytes()
        arrays = int_array(dims), int_array(axes), len(lengths), int_array(lengths)
        self.lib.cudnnSetSeqDataDescriptor(self.handle, code, RANK, *arrays, fill)
        self.dtype, self.dims, self.axes = code, dims, axes
        return self

    def get(self) -> SeqDataSpec:
        """Read everything back (cudnnGetSeqDataDescriptor)."""
        code, rank, count = ctypes.c_int(), ctypes.c_int(), ctypes.c_size_t()
        out = ctypes.byref(code), ctypes.byref(rank)
        dims, axes, fill = int_array([0] * RANK), int_array([0] * RANK), (ctypes.c_double * 1)()
        place = ctypes.byref(count)
        self.lib.cudnnGetSeqDataDescriptor(self.handle, *out, RANK, dims, axes, place, 0, None, fill)
        lengths = int_array([0] * count.value)
        self.lib.cudnnGetSeqDataDescriptor(self.handle, *out, RANK, dims, axes, place, count.value, lengths, fill)
        dtype = DataType(code.value)
        filled = float(np.frombuffer(bytes(fill), numpy_dtype(dtype), count=1)[0])
        return SeqDataSpec(dtype, tuple(dims), tuple(map(SeqDataAxis, axes)), tuple(lengths), filled)

    @property
    def shape(self) -> tuple[int, ...]:
        """The dimensions in the order of memory: an array `a` of (time, batch, beam, vector) is `a.transpose(axes)`."""
        return tuple(self.dims[axis] for axis in self.axes) if self.dims else ()

    @property
    def size_in_bytes(self) -> int:
        """The bytes of the data, which is packed."""
        return math.prod(self.dims) * numpy_dtype(self.dtype).itemsize if self.dims else 0

    def _describe(self) -> str:
        s = self.get()
        if not any(s.dims):
            return "not set"
        axes = " ".join(axis.name.removesuffix("_DIM") for axis in s.axes)
        return f"{s.dtype.name}, {s.dims}, axes={axes}, lengths={min(s.lengths)} to {max(s.lengths)}"


def _checked(dims: Sequence[int], axes: Sequence[SeqDataAxis]) -> tuple[tuple[int, ...], tuple[SeqDataAxis, ...]]:
    dims, axes = int32s("dims", dims, least=1), tuple(map(SeqDataAxis, axes))
    if len(dims) != RANK:
        raise ValueError(f"sequence data is (time, batch, beam, vector), not dims={dims}")
    if sorted(axes) != list(AXES) or axes[-1] is not SeqDataAxis.VECT_DIM:
        names = ", ".join(axis.name for axis in axes)
        raise ValueError(f"axes are each of TIME_DIM, BATCH_DIM and BEAM_DIM once, then VECT_DIM, not {names}")
    return dims, axes


def _lengths(lengths: Sequence[int], steps: int, sequences: int) -> tuple[int, ...]:
    lengths = int32s("lengths", lengths, least=1)
    if len(lengths) != sequences or max(lengths) > steps:
        raise ValueError(f"{sequences} sequences of at most {steps} steps cannot have lengths={lengths}")
    return lengths
