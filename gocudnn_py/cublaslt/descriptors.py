"""cuBLASLt's descriptors: objects of named attributes, whose sizes the library is asked for. They need no GPU."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable
from enum import IntEnum
from typing import Any, ClassVar, Self

from gocudnn_py._abi.cublas import ComputeType
from gocudnn_py._abi.cublaslt import (
    EmulationDescAttributes,
    MatmulDescAttributes,
    MatmulPreferenceAttributes,
    MatrixLayoutAttribute,
    MatrixTransformDescAttributes,
    Order,
)
from gocudnn_py._abi.cuda import CudaDataType
from gocudnn_py.library import load
from gocudnn_py.matrix import Matrix
from gocudnn_py.resource import Resource

FLOATS = (MatmulPreferenceAttributes.MAX_WAVES_COUNT,)
UNSIGNED = (MatmulPreferenceAttributes.IMPL_MASK,)


def read(get: Callable[..., None], subject: Any, attribute: IntEnum) -> bytes:
    """An attribute's bytes, by a Get function of the library that is asked for their number first."""
    size = ctypes.c_size_t()
    get(subject, attribute, None, 0, ctypes.byref(size))
    content = ctypes.create_string_buffer(size.value)
    get(subject, attribute, content, size.value, ctypes.byref(size))
    return content.raw[: size.value]


def write(get: Callable[..., None], set: Callable[..., None], subject: Any, attribute: IntEnum, value: float) -> None:
    """Set an attribute, in as many bytes as it has. Raises ValueError for a number that does not fit."""
    size = ctypes.c_size_t()
    get(subject, attribute, None, 0, ctypes.byref(size))
    if attribute in FLOATS:
        content = struct.pack("<f", value)
    else:
        try:
            content = int(value).to_bytes(size.value, "little", signed=value < 0)
        except OverflowError:
            raise ValueError(f"{attribute.name} = {value} does not fit its {size.value} bytes") from None
    set(subject, attribute, content, size.value)


class Descriptor(Resource):
    """An object that cuBLASLt keeps attributes in."""

    kind: ClassVar[str]
    attributes: ClassVar[type[IntEnum]]

    def __init__(self, *arguments: Any) -> None:
        self.lib: Any = load("cublaslt")
        made = ctypes.c_void_p()
        getattr(self.lib, f"cublasLt{self.kind}Create")(ctypes.byref(made), *arguments)
        super().__init__(made.value or 0, getattr(self.lib, f"cublasLt{self.kind}Destroy"))
        self._get = getattr(self.lib, f"cublasLt{self.kind}GetAttribute")
        self._set = getattr(self.lib, f"cublasLt{self.kind}SetAttribute")

    def set(self, attribute: IntEnum, value: float) -> Self:
        """Set an attribute to a number or address. Raises TypeError for one of another descriptor, ValueError."""
        self._check(attribute)
        write(self._get, self._set, self.handle, attribute, value)
        return self

    def get(self, attribute: IntEnum) -> Any:
        """What an attribute is set to. Raises TypeError for another descriptor's."""
        self._check(attribute)
        content = read(self._get, self.handle, attribute)
        if attribute in FLOATS:
            return struct.unpack("<f", content)[0]
        return int.from_bytes(content, "little", signed=attribute not in UNSIGNED)

    def _check(self, attribute: IntEnum) -> None:
        if not isinstance(attribute, self.attributes):
            raise TypeError(f"{type(self).__name__} has {self.attributes.__name__}, not {attribute!r}")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._described() if self.usable else 'unusable'})"

    def _described(self) -> str:
        return ", ".join(f"{each.name}={self.get(each)}" for each in self._shown())

    def _shown(self) -> tuple[IntEnum, ...]:
        return tuple(self.attributes)


class MatmulDescriptor(Descriptor):
    """How a product is computed: type of the sums, transposes, epilogue, scales.

    (cublasLtMatmulDescCreate, cublasLtMatmulDescDestroy, cublasLtMatmulDescSetAttribute,
    cublasLtMatmulDescGetAttribute.)
    """

    kind, attributes = "MatmulDesc", MatmulDescAttributes

    def __init__(self, compute: ComputeType, scale: CudaDataType) -> None:
        super().__init__(compute, scale)

    def _shown(self) -> tuple[IntEnum, ...]:
        shown = MatmulDescAttributes
        return shown.COMPUTE_TYPE, shown.SCALE_TYPE, shown.TRANSA, shown.TRANSB, shown.EPILOGUE


class MatrixLayout(Descriptor):
    """Where a matrix lies, as the library reads it: our rows are its columns; or tiles in an order of their own.

    `batch` of them lie `stride` elements apart (cublasLtMatrixLayoutCreate, cublasLtMatrixLayoutDestroy,
    cublasLtMatrixLayoutSetAttribute, cublasLtMatrixLayoutGetAttribute).
    """

    kind, attributes = "MatrixLayout", MatrixLayoutAttribute

    def __init__(self, matrix: Matrix, *, batch: int = 1, stride: int = 0, order: Order = Order.COL) -> None:
        if batch < 1 or stride < 0:
            raise ValueError(f"a layout of {batch} x {matrix}, {stride} elements apart")
        super().__init__(matrix.code, matrix.columns, matrix.rows, matrix.pitch)
        if order != Order.COL:
            self.set(MatrixLayoutAttribute.ORDER, order)
        if batch > 1:
            self.set(MatrixLayoutAttribute.BATCH_COUNT, batch)
            self.set(MatrixLayoutAttribute.STRIDED_BATCH_OFFSET, stride)

    def _shown(self) -> tuple[IntEnum, ...]:
        shown = MatrixLayoutAttribute
        return shown.TYPE, shown.ORDER, shown.ROWS, shown.COLS, shown.LD, shown.BATCH_COUNT, shown.STRIDED_BATCH_OFFSET


class TransformDescriptor(Descriptor):
    """How a matrix is transformed: type of the factors, transposes.

    (cublasLtMatrixTransformDescCreate, cublasLtMatrixTransformDescDestroy, cublasLtMatrixTransformDescSetAttribute,
    cublasLtMatrixTransformDescGetAttribute.)
    """

    kind, attributes = "MatrixTransformDesc", MatrixTransformDescAttributes

    def __init__(self, scale: CudaDataType) -> None:
        super().__init__(scale)


class Preference(Descriptor):
    """Which algorithms the heuristics may answer with: workspace in bytes, alignment, kinds of implementation.

    (cublasLtMatmulPreferenceCreate, cublasLtMatmulPreferenceDestroy, cublasLtMatmulPreferenceSetAttribute,
    cublasLtMatmulPreferenceGetAttribute.)
    """

    kind, attributes = "MatmulPreference", MatmulPreferenceAttributes

    def __init__(self, workspace: int = 0) -> None:
        super().__init__()
        self.set(MatmulPreferenceAttributes.MAX_WORKSPACE_BYTES, workspace)

    def _shown(self) -> tuple[IntEnum, ...]:
        shown = MatmulPreferenceAttributes
        return shown.MAX_WORKSPACE_BYTES, shown.REDUCTION_SCHEME_MASK, shown.IMPL_MASK


class EmulationDescriptor(Descriptor):
    """How wide types are emulated by narrow ones; its handle is MatmulDescAttributes.EMULATION_DESCRIPTOR.

    (cublasLtEmulationDescCreate, cublasLtEmulationDescDestroy, cublasLtEmulationDescSetAttribute,
    cublasLtEmulationDescGetAttribute.) Raises NotInThisVersion before cuBLAS 13.1.
    """

    kind, attributes = "EmulationDesc", EmulationDescAttributes
