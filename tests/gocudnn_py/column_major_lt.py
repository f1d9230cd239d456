"""A stand-in for what cuBLASLt runs: column-major products, read back from the real library's descriptors.

Descriptors need no GPU and are the library's own, so what they are set to is what it would be told; only the
product, the transform and the choice of an algorithm are done here.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from gocudnn_py._abi.cublaslt import (
    Epilogue,
    MatmulDescAttributes,
    MatmulMatrixScale,
    MatrixLayoutAttribute,
    MatrixTransformDescAttributes,
    Order,
    PointerMode,
)
from gocudnn_py._abi.cuda import CudaDataType
from gocudnn_py.cublaslt.descriptors import read
from gocudnn_py.dtypes import numpy_dtype
from gocudnn_py.library import load
from tests.gocudnn_py.column_major import Array, matrix, turned, view, wide

RATE = np.sqrt(2 / np.pi)
CUBE = 0.044715


def gelu(x: Array) -> Array:
    out: Array = 0.5 * x * (1 + np.tanh(RATE * (x + CUBE * x**3)))
    return out


def gelu_gradient(x: Array) -> Array:
    t = np.tanh(RATE * (x + CUBE * x**3))
    out: Array = 0.5 * (1 + t) + 0.5 * x * (1 - t**2) * RATE * (1 + 3 * CUBE * x**2)
    return out


class Told:
    """Attributes of a descriptor, by name in small letters."""

    def __init__(self, kind: str, names: Any, handle: int) -> None:
        self._get, self._names, self._handle = getattr(load("cublaslt"), f"cublasLt{kind}GetAttribute"), names, handle

    def __getattr__(self, name: str) -> int:
        return int.from_bytes(read(self._get, self._handle, self._names[name.upper()]), "little", signed=True)


class Laid:
    """Matrices by their layout and place, one for each of a batch; tiles are read by the library's rule for COL32."""

    def __init__(self, handle: int, place: int) -> None:
        self.told, self.place = Told("MatrixLayout", MatrixLayoutAttribute, handle), place
        self.dtype = numpy_dtype(CudaDataType(self.told.type))

    def __getitem__(self, index: int) -> Array:
        place = self.place + index * self.told.strided_batch_offset * self.dtype.itemsize
        if self.told.order == Order.COL32:
            groups = -(-self.told.cols // 32)
            tiles = view(place, self.dtype, (groups, self.told.rows, 32), (self.told.ld, 32, 1))
            return tiles.transpose(1, 0, 2).reshape(self.told.rows, groups * 32)[:, : self.told.cols]
        return matrix(place, self.dtype, self.told.rows, self.told.cols, self.told.ld)

    def write(self, index: int, value: Array) -> None:
        if self.dtype.kind == "i":
            limits = np.iinfo(self.dtype)
            value = np.clip(np.rint(value.real), limits.min, limits.max)
        rounded = (value if self.dtype.kind == "c" else value.real).astype(self.dtype)
        if self.told.order == Order.COL32:
            for column in range(self.told.cols):
                start = self.place + ((column // 32) * self.told.ld + column % 32) * self.dtype.itemsize
                view(start, self.dtype, (self.told.rows,), (32,))[...] = rounded[:, column]
        else:
            self[index][...] = rounded


class LtLibrary:
    """What is called with a handle."""

    def __init__(self) -> None:
        self.called: list[str] = []

    def cublasLtMatmulAlgoGetHeuristic(self, *arguments: Any) -> None:  # noqa: N802 - C's name
        self.called.append("cublasLtMatmulAlgoGetHeuristic")
        found, count = arguments[-2], arguments[-1]._obj
        found[0].state, found[0].workspaceSize, count.value = 0, 0, 1

    def cublasLtMatmul(self, *arguments: Any) -> None:  # noqa: N802 - C's name
        self.called.append("cublasLtMatmul")
        _, how, alpha, a, a_layout, b, b_layout, beta, c, c_layout, d, d_layout, _, _, _, _ = arguments
        told = Told("MatmulDesc", MatmulDescAttributes, how)
        operands = [Laid(*pair) for pair in ((a_layout, a), (b_layout, b), (c_layout, c), (d_layout, d))]
        for index in range(operands[3].told.batch_count):
            multiply(told, operands, index, alpha, beta)

    def cublasLtMatrixTransform(self, *arguments: Any) -> None:  # noqa: N802 - C's name
        self.called.append("cublasLtMatrixTransform")
        _, how, alpha, a, a_layout, beta, b, b_layout, c, c_layout, _ = arguments
        told = Told("MatrixTransformDesc", MatrixTransformDescAttributes, how)
        scale = numpy_dtype(CudaDataType(told.scale_type))
        one, two = (wide(np.frombuffer(number, scale))[0] for number in (alpha, beta))
        found = one * turned(Laid(a_layout, a)[0], told.transa)
        if b_layout:
            found = found + two * turned(Laid(b_layout, b)[0], told.transb)
        Laid(c_layout, c).write(0, found)


def number(told: Told, pointer: Any) -> Any:
    dtype = numpy_dtype(CudaDataType(told.scale_type))
    if told.pointer_mode == PointerMode.HOST:
        assert len(pointer) == dtype.itemsize
        return wide(np.frombuffer(pointer, dtype))[0]
    return wide(view(pointer, dtype, (1,), (1,)))[0]


def factor(told: Told, name: str, axis: int, length: int) -> Any:
    """What a matrix is multiplied by when it is read or written."""
    pointer = getattr(told, f"{name}_scale_pointer")
    if not pointer:
        return 1.0
    if getattr(told, f"{name}_scale_mode") == MatmulMatrixScale.OUTER_VEC_32F:
        scales = wide(view(pointer, np.float32, (length,), (1,)))
        return scales[:, None] if axis == 0 else scales
    return wide(view(pointer, np.float32, (1,), (1,)))[0]


def multiply(told: Told, operands: list[Laid], index: int, alpha: Any, beta: Any) -> None:
    a, b, c, d = operands
    first = turned(a[index], told.transa)
    second = turned(b[index], told.transb)
    first = first * factor(told, "a", 0, first.shape[0])
    second = second * factor(told, "b", 1, second.shape[1])
    weight = number(told, beta)
    found = number(told, alpha) * (first @ second)
    if weight:
        found = found + weight * wide(c[index]) * factor(told, "c", 0, 1)
    found = epilogue(told, found, first, second, d.dtype, index)
    if told.amax_d_pointer:
        view(told.amax_d_pointer, np.float32, (1,), (1,))[0] = np.abs(found).max()
    d.write(index, found * factor(told, "d", 0, 1))


def epilogue(told: Told, found: Array, first: Array, second: Array, dtype: Any, index: int) -> Array:
    code, rows = told.epilogue, found.shape[0]
    kind = dtype if told.bias_data_type == -1 else numpy_dtype(CudaDataType(told.bias_data_type))
    place = told.bias_pointer + index * told.bias_batch_stride * kind.itemsize
    if code in (Epilogue.BGRADA, Epilogue.BGRADB):
        sums = first.sum(1) if code == Epilogue.BGRADA else second.sum(0)
        view(place, kind, sums.shape, (1,))[...] = sums.astype(kind)
        return found
    if code & 4:
        found = found + wide(view(place, kind, (rows,), (1,)))[:, None]
    keeps = SimpleNamespace(place=told.epilogue_aux_pointer, pitch=told.epilogue_aux_ld, shape=found.shape, dtype=dtype)
    if code & (8 | 64):
        slopes = relu_bits(keeps) if code & 8 else gelu_gradient(wide(aux_numbers(keeps)))
        found = found * slopes
        if code & 16:
            view(place, kind, (rows,), (1,))[...] = found.sum(1).astype(kind)
        return found
    if code & 128:
        keep(keeps, found, bool(code & 2))
    if code & 2:
        return np.maximum(found, 0)
    return gelu(found) if code & 32 else found


def aux_numbers(keeps: SimpleNamespace) -> Array:
    return matrix(keeps.place, keeps.dtype, *keeps.shape, keeps.pitch)


def aux_bytes(keeps: SimpleNamespace) -> Array:
    return view(keeps.place, np.uint8, (keeps.shape[1], keeps.pitch // 8), (keeps.pitch // 8, 1))


def relu_bits(keeps: SimpleNamespace) -> Array:
    bits = np.unpackbits(aux_bytes(keeps), axis=1, bitorder="little")
    return bits[:, : keeps.shape[0]].T.astype(np.float64)


def keep(keeps: SimpleNamespace, found: Array, relu: bool) -> None:
    if not relu:
        aux_numbers(keeps)[...] = found.astype(keeps.dtype)
        return
    bits = np.zeros((keeps.shape[1], keeps.pitch), np.uint8)
    bits[:, : keeps.shape[0]] = found.T > 0
    aux_bytes(keeps)[...] = np.packbits(bits, axis=1, bitorder="little")


def emulated_handle(capability: tuple[int, int] = (9, 0)) -> Any:
    """A handle whose library is the stand-in."""
    gpu = SimpleNamespace(capability=capability, ordinal=0, enter=lambda: None)
    return SimpleNamespace(lib=LtLibrary(), gpu=gpu, device=0, enter=lambda: 1)
