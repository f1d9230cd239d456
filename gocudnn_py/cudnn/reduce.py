"""Reduction descriptors: what is computed over the dimensions that the output has as 1."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from gocudnn_py._abi.cudnn import DataType, IndicesType, NanPropagation, ReduceTensorIndices, ReduceTensorOp
from gocudnn_py.cudnn.descriptor import DataDescriptor, Descriptor, Operand, factors, size_of, span
from gocudnn_py.cudnn.handle import Handle
from gocudnn_py.dtypes import DType, cudnn_dtype


@dataclass(frozen=True, slots=True)
class ReduceSpec:
    """What a reduction descriptor holds."""

    op: ReduceTensorOp
    compute: DataType
    nan: NanPropagation
    indices: ReduceTensorIndices
    index_type: IndicesType


class ReduceDescriptor(Descriptor):
    """A reduction; MIN, MAX and AMAX can say where the value was found."""

    kind = "ReduceTensor"

    def __init__(self) -> None:
        super().__init__()
        self.set(ReduceTensorOp.ADD)  # cuDNN leaves a new one uninitialised

    def set(
        self,
        op: ReduceTensorOp,
        compute: DType = np.float32,
        *,
        nan: NanPropagation = NanPropagation.NOT_PROPAGATE_NAN,
        indices: ReduceTensorIndices = ReduceTensorIndices.NO_INDICES,
        index_type: IndicesType = IndicesType.INDICES_32BIT,
    ) -> Self:
        """Describe the reduction (cudnnSetReduceTensorDescriptor)."""
        code = cudnn_dtype(compute)
        self.lib.cudnnSetReduceTensorDescriptor(self.handle, op, code, nan, indices, index_type)
        return self

    def get(self) -> ReduceSpec:
        """Read everything back (cudnnGetReduceTensorDescriptor)."""
        values = [ctypes.c_int() for _ in range(5)]
        op, compute, nan, indices, width = values
        self.lib.cudnnGetReduceTensorDescriptor(self.handle, *(ctypes.byref(value) for value in values))
        return ReduceSpec(
            ReduceTensorOp(op.value),
            DataType(compute.value),
            NanPropagation(nan.value),
            ReduceTensorIndices(indices.value),
            IndicesType(width.value),
        )

    def workspace_size(self, handle: Handle, a: DataDescriptor, c: DataDescriptor) -> int:
        """Bytes of workspace that `run` needs (cudnnGetReductionWorkspaceSize)."""
        query = self.lib.cudnnGetReductionWorkspaceSize
        return size_of(query, handle.handle, self.handle, a.handle, c.handle)

    def indices_size(self, handle: Handle, a: DataDescriptor, c: DataDescriptor) -> int:
        """Bytes of indices that `run` writes, when the descriptor asks for them (cudnnGetReductionIndicesSize)."""
        query = self.lib.cudnnGetReductionIndicesSize
        return size_of(query, handle.handle, self.handle, a.handle, c.handle)

    def run(
        self,
        handle: Handle,
        a: Operand,
        c: Operand,
        *,
        workspace: Any = None,
        indices: Any = None,
        alpha: float = 1.0,
        beta: float = 0.0,
    ) -> None:
        """c = alpha times a reduced to c's dimensions, + beta c (cudnnReduceTensor)."""
        one, two = factors(c, alpha, beta)
        scratch = *span(indices), *span(workspace)
        self.lib.cudnnReduceTensor(handle.handle, self.handle, *scratch, one, *a.pair, two, *c.pair)

    def _describe(self) -> str:
        s = self.get()
        where = f", {s.indices.name} {s.index_type.name}" if s.indices else ""
        return f"{s.op.name}, compute={s.compute.name}, {s.nan.name}{where}"
