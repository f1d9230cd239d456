"""Convolution descriptors: padding, stride, dilation, groups and how the sums are computed."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from math import prod
from typing import Any, Self

import numpy as np

from gocudnn_py._abi.cudnn import (
    ConvolutionBwdDataAlgo,
    ConvolutionBwdFilterAlgo,
    ConvolutionFwdAlgo,
    ConvolutionMode,
    DataType,
    MathType,
    ReorderType,
)
from gocudnn_py.cudnn.activation import ActivationDescriptor
from gocudnn_py.cudnn.descriptor import (
    DataDescriptor,
    Descriptor,
    Operand,
    check_rank,
    factors,
    int32,
    int32s,
    int_array,
    ints,
    same_rank,
    size_of,
    span,
)
from gocudnn_py.cudnn.filter import FilterDescriptor
from gocudnn_py.cudnn.handle import Handle
from gocudnn_py.cudnn.place import within
from gocudnn_py.cudnn.tensor import TensorDescriptor
from gocudnn_py.dtypes import DType, cudnn_dtype, numpy_dtype

MAX_SPATIAL = 6
VECTORS = DataType.INT8x4, DataType.UINT8x4, DataType.INT8x32  # of bytes, which dimensions count


class Direction(Enum):
    """The three convolutions, by their word in cuDNN's names."""

    FORWARD = "Forward"
    BACKWARD_DATA = "BackwardData"
    BACKWARD_FILTER = "BackwardFilter"


@dataclass(frozen=True, slots=True)
class ConvolutionSpec:
    """What a convolution descriptor holds."""

    padding: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int
    compute: DataType
    math: MathType
    mode: ConvolutionMode
    reorder: ReorderType


class ConvolutionDescriptor(Descriptor):
    """A convolution over 1 to 6 spatial dimensions."""

    kind = "Convolution"

    def set(
        self,
        padding: Sequence[int],
        stride: Sequence[int] | None = None,
        dilation: Sequence[int] | None = None,
        *,
        groups: int = 1,
        compute: DType = np.float32,
        math: MathType = MathType.FMA_MATH,
        mode: ConvolutionMode = ConvolutionMode.CROSS_CORRELATION,
        reorder: ReorderType = ReorderType.DEFAULT_REORDER,
    ) -> Self:
        """Describe a convolution; stride and dilation are 1 unless given.

        cudnnSetConvolution2dDescriptor, for other ranks cudnnSetConvolutionNdDescriptor;
        cudnnSetConvolutionGroupCount, cudnnSetConvolutionMathType, cudnnSetConvolutionReorderType.

        `math` is FMA unless asked otherwise: cuDNN's own default computes float32 in TF32 (a relative error
        of 1e-5 becomes 2e-4). Half-precision data needs TENSOR_OP_MATH to reach the tensor cores.
        """
        padding = int32s("padding", padding)
        check_rank("a convolution's padding", len(padding), 1, MAX_SPATIAL)
        stride = int32s("stride", stride if stride is not None else (1,) * len(padding), least=1)
        dilation = int32s("dilation", dilation if dilation is not None else (1,) * len(padding), least=1)
        same_rank("convolution", padding=padding, stride=stride, dilation=dilation)
        groups = int32("groups", groups, least=1)
        code = cudnn_dtype(compute)
        if len(padding) == 2:
            (p, q), (u, v), (d, e) = padding, stride, dilation
            self.lib.cudnnSetConvolution2dDescriptor(self.handle, p, q, u, v, d, e, mode, code)
        else:
            arrays = int_array(padding), int_array(stride), int_array(dilation)
            self.lib.cudnnSetConvolutionNdDescriptor(self.handle, len(padding), *arrays, mode, code)
        self.lib.cudnnSetConvolutionGroupCount(self.handle, groups)
        self.lib.cudnnSetConvolutionMathType(self.handle, math)
        self.lib.cudnnSetConvolutionReorderType(self.handle, reorder)
        return self

    def get(self) -> ConvolutionSpec:
        """Read everything back.

        cudnnGetConvolutionNdDescriptor, cudnnGetConvolutionGroupCount, cudnnGetConvolutionMathType,
        cudnnGetConvolutionReorderType.
        """
        rank, mode, compute = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
        padding, stride, dilation = (int_array([0] * MAX_SPATIAL) for _ in range(3))
        lengths, types = (MAX_SPATIAL, ctypes.byref(rank)), (ctypes.byref(mode), ctypes.byref(compute))
        self.lib.cudnnGetConvolutionNdDescriptor(self.handle, *lengths, padding, stride, dilation, *types)
        window = tuple(padding[: rank.value]), tuple(stride[: rank.value]), tuple(dilation[: rank.value])
        return self._spec(*window, compute.value, mode.value)

    def get_2d(self) -> ConvolutionSpec:
        """The same of a convolution over two dimensions (cudnnGetConvolution2dDescriptor)."""
        p, q, u, v, d, e, mode, compute = ints(8, self.lib.cudnnGetConvolution2dDescriptor, self.handle)
        return self._spec((p, q), (u, v), (d, e), compute, mode)

    def _spec(
        self, padding: tuple[int, ...], stride: tuple[int, ...], dilation: tuple[int, ...], compute: int, mode: int
    ) -> ConvolutionSpec:
        (groups,) = ints(1, self.lib.cudnnGetConvolutionGroupCount, self.handle)
        (math,) = ints(1, self.lib.cudnnGetConvolutionMathType, self.handle)
        (reorder,) = ints(1, self.lib.cudnnGetConvolutionReorderType, self.handle)
        how = DataType(compute), MathType(math), ConvolutionMode(mode), ReorderType(reorder)
        return ConvolutionSpec(padding, stride, dilation, groups, *how)

    def forward(
        self,
        handle: Handle,
        x: Operand,
        w: Operand,
        y: Operand,
        *,
        algorithm: ConvolutionFwdAlgo = ConvolutionFwdAlgo.IMPLICIT_GEMM,
        workspace: Any = None,
        alpha: float = 1.0,
        beta: float = 0.0,
    ) -> None:
        """y = alpha (w * x) + beta y (cudnnConvolutionForward); the default algorithm needs no workspace."""
        self._run(Direction.FORWARD, handle, (x, w, y), algorithm, workspace, (alpha, beta))

    def backward_data(
        self,
        handle: Handle,
        w: Operand,
        dy: Operand,
        dx: Operand,
        *,
        algorithm: ConvolutionBwdDataAlgo = ConvolutionBwdDataAlgo.ALGO_1,
        workspace: Any = None,
        alpha: float = 1.0,
        beta: float = 0.0,
    ) -> None:
        """dx from w and dy (cudnnConvolutionBackwardData); ALGO_1 is deterministic, ALGO_0 is not."""
        self._run(Direction.BACKWARD_DATA, handle, (w, dy, dx), algorithm, workspace, (alpha, beta))

    def backward_filter(
        self,
        handle: Handle,
        x: Operand,
        dy: Operand,
        dw: Operand,
        *,
        algorithm: ConvolutionBwdFilterAlgo = ConvolutionBwdFilterAlgo.ALGO_1,
        workspace: Any = None,
        alpha: float = 1.0,
        beta: float = 0.0,
    ) -> None:
        """dw from x and dy (cudnnConvolutionBackwardFilter); ALGO_1 is deterministic, ALGO_0 and ALGO_3 are not."""
        self._run(Direction.BACKWARD_FILTER, handle, (x, dy, dw), algorithm, workspace, (alpha, beta))

    def backward_bias(self, handle: Handle, dy: Operand, db: Operand, *, alpha: float = 1.0, beta: float = 0.0) -> None:
        """db (1, K, 1, ...): dy summed over all but the channels (cudnnConvolutionBackwardBias)."""
        one, two = factors(db, alpha, beta)
        self.lib.cudnnConvolutionBackwardBias(handle.handle, one, *dy.pair, two, *db.pair)

    def bias_activation_forward(
        self,
        handle: Handle,
        x: Operand,
        w: Operand,
        bias: Operand,
        y: Operand,
        activation: ActivationDescriptor,
        *,
        z: Operand | None = None,
        algorithm: ConvolutionFwdAlgo = ConvolutionFwdAlgo.IMPLICIT_PRECOMP_GEMM,
        workspace: Any = None,
        alpha: float = 1.0,
        z_alpha: float = 0.0,
    ) -> None:
        """y = activation(alpha (w * x) + z_alpha z + bias) (cudnnConvolutionBiasActivationForward).

        `bias` is (1, K, 1, ...), z like y, which serves for it unless given. RELU runs with the default algorithm
        alone, IDENTITY with any.
        """
        one, two = factors(y, alpha, 0.0)[0], factors(y, z_alpha, 0.0)[0]
        how = self.handle, algorithm, *span(workspace)
        ends = *(z or y).pair, *bias.pair, activation.handle, *y.pair
        self.lib.cudnnConvolutionBiasActivationForward(handle.handle, one, *x.pair, *w.pair, *how, two, *ends)

    def im2col(self, handle: Handle, x: Operand, w: FilterDescriptor, columns: Any) -> None:
        """Write x's windows as the rows of a matrix, (N * outputs) x (C * taps), to a buffer (cudnnIm2Col)."""
        nbytes = self._columns_size(x, w)
        self.lib.cudnnIm2Col(handle.handle, *x.pair, w.handle, self.handle, within("columns", columns, nbytes))

    def _columns_size(self, x: Operand, w: FilterDescriptor) -> int:
        assert isinstance(x.descriptor, TensorDescriptor)
        batch, _, *outputs = self.output_shape(x.descriptor, w)
        elements = batch * prod(outputs) * x.descriptor.get().dims[1] * prod(w.get().dims[2:])
        return elements * (1 if x.descriptor.dtype in VECTORS else numpy_dtype(x.descriptor.dtype).itemsize)

    def workspace_size(
        self,
        handle: Handle,
        direction: Direction,
        first: DataDescriptor,
        second: DataDescriptor,
        result: DataDescriptor,
        algorithm: int,
    ) -> int:
        """Bytes of workspace for FORWARD (x, w, y), BACKWARD_DATA (w, dy, dx) or BACKWARD_FILTER (x, dy, dw).

        cudnnGetConvolutionForwardWorkspaceSize, cudnnGetConvolutionBackwardDataWorkspaceSize,
        cudnnGetConvolutionBackwardFilterWorkspaceSize. Raises NotSupported where the algorithm does not do it.
        """
        query = getattr(self.lib, f"cudnnGetConvolution{direction.value}WorkspaceSize")
        descriptors = first.handle, second.handle, self.handle, result.handle
        return size_of(query, handle.handle, *descriptors, algorithm)

    def _run(
        self,
        direction: Direction,
        handle: Handle,
        operands: tuple[Operand, Operand, Operand],
        algorithm: int,
        workspace: Any,
        blend: tuple[float, float],
    ) -> None:
        first, second, result = operands
        one, two = factors(result, *blend)
        function = getattr(self.lib, f"cudnnConvolution{direction.value}")
        how = self.handle, algorithm, *span(workspace)
        function(handle.handle, one, *first.pair, *second.pair, *how, two, *result.pair)

    def output_shape(self, x: TensorDescriptor, w: FilterDescriptor) -> tuple[int, ...]:
        """The dimensions of y, (N, K, *spatial), by cuDNN.

        cudnnGetConvolution2dForwardOutputDim, for other ranks cudnnGetConvolutionNdForwardOutputDim.
        """
        self._check_channels(x, w)
        rank = len(x.get().dims)
        if rank == 4:
            return ints(4, self.lib.cudnnGetConvolution2dForwardOutputDim, self.handle, x.handle, w.handle)
        dims = int_array([0] * rank)
        self.lib.cudnnGetConvolutionNdForwardOutputDim(self.handle, x.handle, w.handle, rank, dims)
        return tuple(dims)

    def _check_channels(self, x: TensorDescriptor, w: FilterDescriptor) -> None:
        spec, x_dims, w_dims = self.get(), x.get().dims, w.get().dims
        numbers = f"(x={x_dims}, w={w_dims}, groups={spec.groups})"
        if not len(x_dims) == len(w_dims) == len(spec.padding) + 2:
            raise ValueError(f"conv: x, w and padding={spec.padding} do not have matching ranks {numbers}")
        expected = w_dims[1] * spec.groups
        if x_dims[1] != expected:
            raise ValueError(f"conv: x has {x_dims[1]} channels, w expects {expected} {numbers}")
        if w_dims[0] % spec.groups:
            raise ValueError(f"conv: {w_dims[0]} filters do not divide into {spec.groups} groups {numbers}")

    def _describe(self) -> str:
        s = self.get()
        if not s.padding:
            return "not set"
        shape = f"padding={s.padding}, stride={s.stride}, dilation={s.dilation}, groups={s.groups}"
        return f"{shape}, compute={s.compute.name}, math={s.math.name}, {s.mode.name}, {s.reorder.name}"
