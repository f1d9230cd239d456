"""A product as the library is told of it: descriptor, layouts, types, and the checks before."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from numbers import Number
from typing import Any

import numpy as np

from gocudnn_py._abi.cublas import ComputeType
from gocudnn_py._abi.cublaslt import MatmulDescAttributes, MatmulPreferenceAttributes, PointerMode
from gocudnn_py._abi.cuda import CudaDataType
from gocudnn_py.cublaslt import types
from gocudnn_py.cublaslt.descriptors import MatmulDescriptor, MatrixLayout, Preference
from gocudnn_py.cublaslt.epilogue import After
from gocudnn_py.cublaslt.scales import Scales
from gocudnn_py.matrix import (
    Matrix,
    Vector,
    compute_type,
    host_scalar,
    lies_plain,
    nbytes,
    product_sizes,
    scale_type,
)

MOST_ALIGNMENT = 256
ALIGNMENTS = (
    MatmulPreferenceAttributes.MIN_ALIGNMENT_A_BYTES,
    MatmulPreferenceAttributes.MIN_ALIGNMENT_B_BYTES,
    MatmulPreferenceAttributes.MIN_ALIGNMENT_C_BYTES,
    MatmulPreferenceAttributes.MIN_ALIGNMENT_D_BYTES,
)


@dataclass
class Problem:
    """c = after(alpha a b + beta addend) for a batch, on a GPU of a compute capability.

    The library reads our rows as columns, so it is asked for the transposed product, b' a': its A is our b.
    Raises TypeError and ValueError for what does not go together.
    """

    a: Matrix
    b: Matrix
    c: Matrix
    capability: tuple[int, int]
    after: After = field(default_factory=After)
    given_addend: Matrix | None = None
    alpha: Any = 1.0
    beta: Any = 0.0
    math: str = "fma"
    scales: Scales = field(default_factory=Scales)
    fast_sums: bool = False
    batch: int = 1
    strides: tuple[int, int, int] = (0, 0, 0)

    def __post_init__(self) -> None:
        product_sizes("matmul", self.a, self.b, self.c)
        types.check("matmul", self.a, self.b, self.c, self.capability)
        self.addend = self._addend()
        self._check_batch()
        self.compute = compute_type(self.a.code, self.math, self.c.code)
        self.scale = scale_type(self.compute, self.c.code)
        self.scalars, mode = self._scalars()
        self.descriptor = MatmulDescriptor(self.compute, self.scale)
        self._fill(mode)
        self.layouts = tuple(
            MatrixLayout(each, batch=self.batch, stride=stride)
            for each, stride in zip(self.in_order, self._strides_in_order, strict=True)
        )

    @property
    def in_order(self) -> tuple[Matrix, Matrix, Matrix, Matrix]:
        """The matrices in the library's order: A, B, C, D."""
        return self.b, self.a, self.addend, self.c

    @property
    def handles(self) -> tuple[int, ...]:
        """What the heuristics and checks are told: the descriptor and the layouts."""
        return self.descriptor.handle, *(layout.handle for layout in self.layouts)

    @property
    def places(self) -> tuple[Any, ...]:
        """Every buffer or address that the product reads or writes."""
        matrices = (place for each in self.in_order for place in each.places)
        scalars = (each for each in (self.alpha, self.beta) if not isinstance(each, Number))
        held = tuple(getattr(each, "place", each) for each in scalars)
        return *matrices, *self.after.places, *self.scales.places, *held

    @property
    def types(self) -> tuple[ComputeType | CudaDataType, ...]:
        """Of the sums, the factors, and the matrices."""
        return self.compute, self.scale, *(each.code for each in self.in_order)

    @property
    def alignments(self) -> tuple[int, ...]:
        """The powers of two that addresses are multiples of, also those of the members of a batch."""
        return tuple(
            _alignment(each.address | (nbytes(each.code, stride) if self.batch > 1 else 0))
            for each, stride in zip(self.in_order, self._strides_in_order, strict=True)
        )

    def preference(self, workspace: int) -> Preference:
        """What the heuristics may answer with."""
        made = Preference(workspace)
        for attribute, alignment in zip(ALIGNMENTS, self.alignments, strict=True):
            made.set(attribute, alignment)
        return made

    def key(self) -> str:
        """What the choice of an algorithm depends on, but for the GPU, the library and the workspace."""
        matrices = (f"{each}/{each.pitch}/{each.operation.name}" for each in self.in_order)
        where = self.addend.address == 0, self.addend.address == self.c.address, isinstance(self.scalars[0], bytes)
        rest = self.after.code.name, self.fast_sums, self.batch, self.strides, self.alignments
        return repr((*matrices, self.compute.name, self.scale.name, *self.scales.modes, *where, *rest))

    def __str__(self) -> str:
        return f"{self.a} times {self.b} into {self.c} by {self.compute.name}, {self.after.code.name}"

    @property
    def _strides_in_order(self) -> tuple[int, int, int, int]:
        a, b, c = self.strides
        return b, a, c, c

    def _addend(self) -> Matrix:
        bias = self.after.bias.code if isinstance(self.after.bias, Vector) else None
        code = types.addend_type(self.c, bias)
        unused = isinstance(self.beta, Number) and not self.beta
        if self.given_addend is None:
            if code is self.c.code:
                return self.c
            if unused:
                return Matrix(0, self.c.rows, self.c.columns, code)
            raise ValueError(f"matmul: {self.c} cannot be its own addend; give one of {code.name}")
        lies_plain("matmul", addend=self.given_addend)
        if self.given_addend.shape != self.c.shape or self.given_addend.code is not code:
            raise ValueError(
                f"matmul: the addend {self.given_addend} for {self.c} must have its shape, and {code.name}"
            )
        return self.given_addend

    def _check_batch(self) -> None:
        extent = (self.c.rows - 1) * self.c.pitch + self.c.columns
        if self.batch < 1 or min(self.strides) < 0 or (self.batch > 1 and self.strides[2] < extent):
            raise ValueError(f"matmul: a batch of {self.batch} with strides {self.strides} for {self.c}")
        for each, stride in zip(self.in_order, self._strides_in_order, strict=True):
            replace(each, offset=each.offset + (self.batch - 1) * stride)  # checked against its buffer as it is made

    def _scalars(self) -> tuple[tuple[Any, Any], PointerMode]:
        numbers = [isinstance(each, Number) for each in (self.alpha, self.beta)]
        if all(numbers):
            plain = (each.item() if isinstance(each, np.generic) else each for each in (self.alpha, self.beta))
            one, two = (host_scalar(each, self.scale) for each in plain)
            return (one, two), PointerMode.HOST
        if any(numbers):
            raise TypeError("matmul: alpha and beta must both be numbers or both lie on the device")
        first, second = (
            each if isinstance(each, Vector) else Vector(each, 1, self.scale) for each in (self.alpha, self.beta)
        )
        if first.code is not self.scale or second.code is not self.scale:
            raise TypeError(f"matmul: alpha {first} and beta {second} must be {self.scale.name}")
        return (first.address, second.address), PointerMode.DEVICE

    def _fill(self, mode: PointerMode) -> None:
        names = MatmulDescAttributes
        self.descriptor.set(names.TRANSA, self.b.operation)
        self.descriptor.set(names.TRANSB, self.a.operation)
        self.descriptor.set(names.POINTER_MODE, mode)
        if self.fast_sums:
            self.descriptor.set(names.FAST_ACCUM, 1)
        self.after.apply(self.descriptor, self.c, self.batch, types.bias_type(self.a, self.c))
        self.scales.apply(self.descriptor)


def _alignment(address: int) -> int:
    return min(MOST_ALIGNMENT, address & -address) if address else MOST_ALIGNMENT
