"""What an attention descriptor holds, which keys a query sees, its buffers, and where its weights lie."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from gocudnn_py._abi.cudnn import DataType, MathType
from gocudnn_py.cudnn.descriptor import INT32_MAX, int32s, int_array
from gocudnn_py.cudnn.dropout import DropoutDescriptor
from gocudnn_py.cudnn.place import sized
from gocudnn_py.cudnn.tensor import TensorSpec
from gocudnn_py.dtypes import numpy_dtype

Array = npt.NDArray[Any]
BIASES = 2  # CUDNN_ATTN_ENABLE_PROJ_BIASES, beside the query map in the descriptor's mode


class QueryMap(IntEnum):
    """Whether the queries of all beams see one set of keys and values, or those of each beam its own.

    cuDNN 9 takes ONE_TO_ONE with one beam alone.
    """

    ALL_TO_ONE = 0
    ONE_TO_ONE = 1


@dataclass(frozen=True, slots=True)
class AttentionSpec:
    """What an attention descriptor holds; see `AttentionDescriptor.set`."""

    heads: int
    vectors: tuple[int, ...]
    projections: tuple[int, ...]
    longest: tuple[int, ...]
    batch: int
    beam: int
    scale: float
    dtype: DataType
    compute: DataType
    math: MathType
    query_map: QueryMap
    biases: bool
    attention_dropout: DropoutDescriptor | None
    output_dropout: DropoutDescriptor | None

    @property
    def output_vector(self) -> int:
        """The length of an output vector: as projected, or what the heads give, one after the other."""
        return self.projections[3] or self.heads * (self.projections[2] or self.vectors[2])


class AttentionWindow:
    """Which keys each step of the queries sees: from `first[step]` up to and without `end[step]`.

    It holds C arrays that calls read: make it once, and keep it as long as a recording that used it.
    """

    def __init__(self, first: Sequence[int], end: Sequence[int]) -> None:
        self.first, self.end = int32s("first", first), int32s("end", end)
        pairs = zip(self.first, self.end, strict=False)
        if len(self.first) != len(self.end) or any(a > b for a, b in pairs):
            raise ValueError(f"a window ends where it begins or later, in every step, not {self!r}")
        self.arrays = int_array(self.first), int_array(self.end)

    @classmethod
    def causal(cls, steps: int) -> Self:
        """Query number n sees keys 0 to n."""
        return cls([0] * steps, range(1, steps + 1))

    def __repr__(self) -> str:
        return f"AttentionWindow(first={self.first}, end={self.end})"


@functools.lru_cache(maxsize=64)
def whole_window(steps: int) -> AttentionWindow:
    """Every query sees every key."""
    return AttentionWindow([0] * steps, [INT32_MAX] * steps)


class AttentionSizes(NamedTuple):
    """Bytes of the three buffers of an attention; an inference has no reserve."""

    weights: int
    workspace: int
    reserve: int


class AttentionSpace(NamedTuple):
    """The three buffers: weights, None when there are none, workspace, and what a training's forward saves."""

    weights: Any
    workspace: Any
    reserve: Any = None

    @property
    def scratch(self) -> tuple[int, int, int, int]:
        """Workspace and reserve, the size of each before its address."""
        return *sized(self.workspace), *sized(self.reserve)

    def trained(self) -> Self:
        """Itself; raises ValueError without a reserve, which gradients need."""
        if self.reserve is None:
            raise ValueError("the gradients of an attention need the reserve that forward filled")
        return self


class WeightSlot(NamedTuple):
    """Where one kind of weights lies in the weight space: `offset` in bytes, then type, dimensions and strides."""

    offset: int
    spec: TensorSpec

    def view(self, space: Array) -> Array:
        """The weights, by their dimensions, in a contiguous array that holds a weight space; writing goes there."""
        dims, strides, dtype = self.spec.dims, self.spec.strides, numpy_dtype(self.spec.dtype)
        extent = 1 + sum((n - 1) * stride for n, stride in zip(dims, strides, strict=True))
        end = self.offset + extent * dtype.itemsize
        if not space.flags.c_contiguous or space.nbytes < end:
            raise ValueError(f"weights up to byte {end} need a contiguous array of that size, not of {space.nbytes}")
        values = space.reshape(-1).view(np.uint8)[self.offset : end].view(dtype)
        return np.lib.stride_tricks.as_strided(values, dims, [stride * dtype.itemsize for stride in strides])
