"""Descriptors of elementwise operations on two tensors: C = op(alpha1 * A, alpha2 * B) + beta * C."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Self

import numpy as np

from gocudnn_py._abi.cudnn import DataType, NanPropagation, OpTensorOp
from gocudnn_py.cudnn.descriptor import Descriptor, Operand, factors
from gocudnn_py.cudnn.handle import Handle
from gocudnn_py.dtypes import DType, cudnn_dtype


@dataclass(frozen=True, slots=True)
class OpTensorSpec:
    """What an elementwise operation's descriptor holds."""

    op: OpTensorOp
    compute: DataType
    nan: NanPropagation


class OpTensorDescriptor(Descriptor):
    """An elementwise operation; SQRT and NOT look at A alone."""

    kind = "OpTensor"

    def __init__(self) -> None:
        super().__init__()
        self.set(OpTensorOp.ADD)  # cuDNN leaves a new one uninitialised

    def set(
        self,
        op: OpTensorOp,
        compute: DType = np.float32,
        *,
        nan: NanPropagation = NanPropagation.NOT_PROPAGATE_NAN,
    ) -> Self:
        """Describe the operation and the type it computes in (cudnnSetOpTensorDescriptor)."""
        self.lib.cudnnSetOpTensorDescriptor(self.handle, op, cudnn_dtype(compute), nan)
        return self

    def get(self) -> OpTensorSpec:
        """Read everything back (cudnnGetOpTensorDescriptor)."""
        op, compute, nan = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
        out = ctypes.byref(op), ctypes.byref(compute), ctypes.byref(nan)
        self.lib.cudnnGetOpTensorDescriptor(self.handle, *out)
        return OpTensorSpec(OpTensorOp(op.value), DataType(compute.value), NanPropagation(nan.value))

    def run(
        self,
        handle: Handle,
        a: Operand,
        b: Operand,
        c: Operand,
        *,
        alpha: tuple[float, float] = (1.0, 1.0),
        beta: float = 0.0,
    ) -> None:
        """c = op(alpha[0] a, alpha[1] b) + beta c; b may have extents of 1 (cudnnOpTensor)."""
        first, two = factors(c, alpha[0], beta)
        second, _ = factors(c, alpha[1], beta)
        self.lib.cudnnOpTensor(handle.handle, self.handle, first, *a.pair, second, *b.pair, two, *c.pair)

    def _describe(self) -> str:
        s = self.get()
        return f"{s.op.name}, compute={s.compute.name}, {s.nan.name}"
