"""cuBLAS: its handle and matrix products, for row-major matrices. Importing loads nothing."""

from __future__ import annotations

import ctypes
from typing import Any

from gocudnn_py import driver
from gocudnn_py._abi.cublas import GemmAlgo, Math
from gocudnn_py._abi.cuda import CudaDataType
from gocudnn_py.cuda import DeviceBuffer, Stream
from gocudnn_py.library import load
from gocudnn_py.matrix import Matrix, compute_type, product_sizes
from gocudnn_py.resource import Resource

WORKSPACE = 32 * 2**20  # what NVIDIA recommends for sm_90; smaller cards need less


class Handle(Resource):
    """cuBLAS on a stream and its device, with a workspace of its own, so that nothing is allocated in a capture."""

    def __init__(self, stream: Stream, workspace: int = WORKSPACE) -> None:
        lib, made = load("cublas"), ctypes.c_void_p()
        self.stream = stream
        self.workspace = DeviceBuffer(stream, workspace)
        with driver.primary_context(stream.device.ordinal):
            lib.cublasCreate_v2(ctypes.byref(made))
            destroy = lib.cublasDestroy_v2
            super().__init__(made.value or 0, destroy, stream, self.workspace, device=stream.device.ordinal)
            self.lib = lib
            self.use(stream)
            lib.cublasSetMathMode(self.handle, Math.DEFAULT_MATH | Math.MATH_DISALLOW_REDUCED_PRECISION_REDUCTION)

    def use(self, stream: Any) -> None:
        """Work on another stream from now on, one of a capture say; the workspace stays ours."""
        self.lib.cublasSetStream_v2(self.handle, stream.handle)
        self.lib.cublasSetWorkspace_v2(self.handle, self.workspace.pointer, self.workspace.nbytes)


def gemm(
    handle: Handle, a: Matrix, b: Matrix, c: Matrix, *, alpha: float = 1.0, beta: float = 0.0, math: str = "fma"
) -> None:
    """c = alpha a b + beta c (cublasGemmEx), on the handle's stream; `math` "tf32" rounds float32 factors."""
    rows, inner, columns = product_sizes("gemm", a, b, c)
    scale = _scalars(c.code)
    # The library reads our rows as columns: it is asked for the transposed product, b' a'.
    handle.lib.cublasGemmEx(
        handle.handle, b.operation, a.operation, columns, rows, inner, scale(alpha),
        b.address, b.code, b.pitch, a.address, a.code, a.pitch, scale(beta), c.address, c.code, c.pitch,
        compute_type(a.code, math), GemmAlgo.DEFAULT,
    )  # fmt: skip


def gemm_strided_batched(
    handle: Handle,
    a: Matrix,
    b: Matrix,
    c: Matrix,
    batch: int,
    strides: tuple[int, int, int],
    *,
    alpha: float = 1.0,
    beta: float = 0.0,
    math: str = "fma",
) -> None:
    """The same for `batch` matrices each, `strides` elements apart in a, b and c; 0 uses one for all."""
    rows, inner, columns = product_sizes("gemm_strided_batched", a, b, c)
    if batch < 1 or min(strides) < 0 or (batch > 1 and strides[2] < rows * c.pitch):
        raise ValueError(f"gemm_strided_batched: a batch of {batch} with strides {strides} for {c}")
    scale = _scalars(c.code)
    handle.lib.cublasGemmStridedBatchedEx(
        handle.handle, b.operation, a.operation, columns, rows, inner, scale(alpha),
        b.address, b.code, b.pitch, strides[1], a.address, a.code, a.pitch, strides[0],
        scale(beta), c.address, c.code, c.pitch, strides[2], batch, compute_type(a.code, math), GemmAlgo.DEFAULT,
    )  # fmt: skip


def _scalars(dtype: CudaDataType) -> Any:
    kind = ctypes.c_double if dtype is CudaDataType.R_64F else ctypes.c_float
    return lambda value: ctypes.byref(kind(value))
