"""cuBLASLt: a matrix product prepared once, with bias and ReLU in its epilogue. Importing loads nothing."""

from __future__ import annotations

import ctypes
from typing import Any

from gocudnn_py import driver
from gocudnn_py._abi.cublaslt import (
    Epilogue,
    MatmulDescAttributes,
    MatmulHeuristicResult,
    MatmulPreferenceAttributes,
)
from gocudnn_py._abi.cuda import CudaDataType
from gocudnn_py.cuda import Device
from gocudnn_py.errors import CublasError
from gocudnn_py.library import load
from gocudnn_py.matrix import Matrix, compute_type, product_sizes
from gocudnn_py.resource import Resource

NOT_SUPPORTED = 15


class Handle(Resource):
    """cuBLASLt on a device; it knows no stream, each run names its own."""

    def __init__(self, device: Device) -> None:
        self.lib, made = load("cublaslt"), ctypes.c_void_p()
        with driver.primary_context(device.ordinal):
            self.lib.cublasLtCreate(ctypes.byref(made))
        super().__init__(made.value or 0, self.lib.cublasLtDestroy, device=device.ordinal)


class MatmulDescriptor(Resource):
    """How a product is computed: type of the sums, transposes, epilogue. Needs no GPU."""

    def __init__(self, compute: int, scale: CudaDataType) -> None:
        self.lib, made = load("cublaslt"), ctypes.c_void_p()
        self.lib.cublasLtMatmulDescCreate(ctypes.byref(made), compute, scale)
        super().__init__(made.value or 0, self.lib.cublasLtMatmulDescDestroy)

    def set(self, attribute: MatmulDescAttributes, cell: Any) -> None:
        """Set an attribute to the content of a ctypes object (cublasLtMatmulDescSetAttribute)."""
        self.lib.cublasLtMatmulDescSetAttribute(self.handle, attribute, ctypes.byref(cell), ctypes.sizeof(cell))

    def get(self, attribute: MatmulDescAttributes, cell: Any) -> Any:
        """Read an attribute into a ctypes object and return its value (cublasLtMatmulDescGetAttribute)."""
        written = ctypes.c_size_t()
        where = ctypes.byref(cell), ctypes.sizeof(cell), ctypes.byref(written)
        self.lib.cublasLtMatmulDescGetAttribute(self.handle, attribute, *where)
        return cell.value


class MatrixLayout(Resource):
    """Where a matrix lies, as the library reads it: our rows are its columns. Needs no GPU."""

    def __init__(self, matrix: Matrix) -> None:
        self.lib, made = load("cublaslt"), ctypes.c_void_p()
        extents = matrix.columns, matrix.rows, matrix.pitch
        self.lib.cublasLtMatrixLayoutCreate(ctypes.byref(made), matrix.code, *extents)
        super().__init__(made.value or 0, self.lib.cublasLtMatrixLayoutDestroy)


class Matmul:
    """c = relu(a b + bias), bias one number a column of c; made ready once, run on any stream.

    `bias` is a buffer or address of c's type, `relu` and `bias` are left out unless given; `workspace` a buffer, whose
    size limits the algorithms. Raises CublasError when the library has none.
    """

    def __init__(
        self,
        handle: Handle,
        a: Matrix,
        b: Matrix,
        c: Matrix,
        *,
        bias: Any = None,
        relu: bool = False,
        math: str = "fma",
        workspace: Any = None,
    ) -> None:
        product_sizes("matmul", a, b, c)
        self._handle, self._held = handle, (a, b, c, bias, workspace)
        double = c.code is CudaDataType.R_64F
        number: Any = ctypes.c_double if double else ctypes.c_float
        self._one, self._zero = number(1), number(0)
        self.descriptor = MatmulDescriptor(
            compute_type(a.code, math), CudaDataType.R_64F if double else CudaDataType.R_32F
        )
        # The library reads our rows as columns: it is asked for the transposed product, b' a'.
        self.descriptor.set(MatmulDescAttributes.TRANSA, ctypes.c_int32(b.operation))
        self.descriptor.set(MatmulDescAttributes.TRANSB, ctypes.c_int32(a.operation))
        self._set_epilogue(bias, relu)
        self._layouts = tuple(MatrixLayout(matrix) for matrix in (b, a, c))
        self._addresses = tuple(matrix.address for matrix in (b, a, c))
        self._workspace = (int(getattr(workspace, "pointer", 0)), int(getattr(workspace, "nbytes", 0)))
        self._found = self._choose()

    @property
    def workspace_used(self) -> int:
        """Bytes of workspace that the chosen algorithm takes."""
        return int(self._found.workspaceSize)

    def __call__(self, stream: Any) -> None:
        """Run on a stream (cublasLtMatmul)."""
        (b_layout, a_layout, c_layout), (b, a, c) = self._layouts, self._addresses
        self._handle.lib.cublasLtMatmul(
            self._handle.handle, self.descriptor.handle, ctypes.byref(self._one), b, b_layout.handle,
            a, a_layout.handle, ctypes.byref(self._zero), c, c_layout.handle, c, c_layout.handle,
            ctypes.byref(self._found.algo), *self._workspace, stream.handle,
        )  # fmt: skip

    def _set_epilogue(self, bias: Any, relu: bool) -> None:
        names = {
            (False, False): Epilogue.DEFAULT,
            (True, False): Epilogue.BIAS,
            (False, True): Epilogue.RELU,
            (True, True): Epilogue.RELU_BIAS,
        }
        self.descriptor.set(MatmulDescAttributes.EPILOGUE, ctypes.c_int32(names[bias is not None, relu]))
        if bias is not None:
            address = ctypes.c_void_p(int(getattr(bias, "pointer", bias)))
            self.descriptor.set(MatmulDescAttributes.BIAS_POINTER, address)

    def _choose(self) -> MatmulHeuristicResult:
        """The library's first choice among the algorithms that fit into the workspace."""
        lib, preference = self._handle.lib, ctypes.c_void_p()
        lib.cublasLtMatmulPreferenceCreate(ctypes.byref(preference))
        try:
            limit = ctypes.c_uint64(self._workspace[1])
            attribute = MatmulPreferenceAttributes.MAX_WORKSPACE_BYTES
            lib.cublasLtMatmulPreferenceSetAttribute(preference, attribute, ctypes.byref(limit), ctypes.sizeof(limit))
            found, count = MatmulHeuristicResult(), ctypes.c_int()
            b_layout, a_layout, c_layout = (layout.handle for layout in self._layouts)
            lib.cublasLtMatmulAlgoGetHeuristic(
                self._handle.handle, self.descriptor.handle, b_layout, a_layout, c_layout, c_layout,
                preference, 1, ctypes.byref(found), ctypes.byref(count),
            )  # fmt: skip
        finally:
            lib.cublasLtMatmulPreferenceDestroy(preference)
        if not count.value:
            raise CublasError(
                "cublasLtMatmulAlgoGetHeuristic", NOT_SUPPORTED, "CUBLAS_STATUS_NOT_SUPPORTED", "no algorithm"
            )
        return found
