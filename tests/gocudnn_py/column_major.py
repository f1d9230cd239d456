"""A stand-in for cuBLAS: what its functions do to column-major memory, by their C arguments, in NumPy on the host.

It knows nothing of rows: that a call of ours gives the right result here shows that it was worded rightly. Arguments
are taken by the names that the generated tables give them, so their order is checked too.
"""

from __future__ import annotations

import ast
import ctypes
import re
from collections.abc import Callable, Collection
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from gocudnn_py import resource
from gocudnn_py._abi.base import Answer, Int
from gocudnn_py._abi.cublas import FUNCTIONS, DiagType, FillMode, Operation, PointerMode
from gocudnn_py.cublas.handle import Handle
from gocudnn_py.dtypes import numpy_dtype

Array = np.ndarray[Any, Any]
LETTERS = ("Sc", "Dz", "Cs", "Zd", *"SDCZsdcz")
DTYPES = {"S": np.float32, "D": np.float64, "C": np.complex64, "Z": np.complex128}
TYPE_NAMES = ("xType", "abType", "d1Type")


def view(address: int, dtype: Any, shape: tuple[int, ...], steps: tuple[int, ...]) -> Array:
    """Memory of the host as an array; steps are in elements, and may be negative from the address on."""
    size = np.dtype(dtype).itemsize
    extent = sum((length - 1) * step for length, step in zip(shape, steps, strict=True)) + 1
    buffer = (ctypes.c_char * (extent * size)).from_address(address)
    return np.ndarray(shape, dtype, buffer, strides=[step * size for step in steps])


def vector(address: int, dtype: Any, size: int, step: int) -> Array:
    """BLAS's rule: with a negative step the vector begins at the far end."""
    array = view(address, dtype, (size,), (abs(step),))
    return array if step > 0 else array[::-1]


def matrix(address: int, dtype: Any, rows: int, columns: int, pitch: int) -> Array:
    assert pitch >= rows, f"a leading dimension of {pitch} for {rows} rows"
    return view(address, dtype, (rows, columns), (1, pitch))


def wide(array: Any) -> Array:
    array = np.asarray(array)
    return array.astype(np.complex128 if array.dtype.kind == "c" else np.float64)


def turned(array: Array, operation: int) -> Array:
    wanted = wide(array)
    return {Operation.N: wanted, Operation.T: wanted.T, Operation.C: wanted.conj().T}[Operation(operation)]


def triangle(array: Array, uplo: int) -> Array:
    return np.tril(array) if uplo == FillMode.LOWER else np.triu(array)


def inside(size: int, uplo: int) -> Array:
    return triangle(np.ones((size, size)), uplo) > 0


def stored_triangle(c: SimpleNamespace, storage: str) -> Array:
    """The triangle that is stored, in a square array that is zero elsewhere."""
    n, found = c.n, np.zeros((c.n, c.n), np.complex128)
    if storage == "p":
        flat = view(c.AP, c.dtype, (n * (n + 1) // 2,), (1,))
        columns, rows = np.nonzero(inside(n, c.uplo).T)  # packed by columns
        found[rows, columns] = wide(flat)
    elif storage == "b":
        band = matrix(c.A, c.dtype, c.k + 1, n, c.lda)
        for i, j in np.argwhere(inside(n, c.uplo)):
            if abs(i - j) <= c.k:
                found[i, j] = wide(band[i - j if c.uplo == FillMode.LOWER else c.k + i - j, j])
    else:
        found = triangle(wide(matrix(c.A, c.dtype, n, n, c.lda)), c.uplo)
    return found


def full(half: Array, kind: str) -> Array:
    """The whole of a symmetric or Hermitian matrix."""
    diagonal = np.diag(np.diag(half))
    if kind == "h":
        return half + half.conj().T - diagonal.conj()
    return half + half.T - diagonal


def triangular(c: SimpleNamespace, storage: str) -> Array:
    found = stored_triangle(c, storage)
    if c.diag == DiagType.UNIT:
        np.fill_diagonal(found, 1)
    return turned(found, c.trans)


Function = Callable[["ColumnMajor", SimpleNamespace], None]
TABLE: dict[str, Function] = {}


def does(*stems: str) -> Callable[[Function], Function]:
    """Note under which stems a function is known; it is told the stem as `c.stem`."""

    def note(function: Function) -> Function:
        TABLE.update(dict.fromkeys(stems, function))
        return function

    return note


class ColumnMajor:
    """The functions by name, and `called`, the names in order."""

    def __init__(self) -> None:
        self.called: list[str] = []
        self.mode = PointerMode.HOST

    def __getattr__(self, name: str) -> Any:
        row = FUNCTIONS[name]
        assert row.result is Answer

        def call(*arguments: Any) -> None:
            assert len(arguments) == len(row.names), (name, row.names, arguments)
            for kind, value in zip(row.arguments, arguments, strict=True):
                if kind is Int:
                    assert abs(Int.from_param(value)) < 2**31
                else:
                    kind.from_param(value)
            if name.startswith("cublasSet") and len(row.names) == 2:
                return self.set(name, arguments[1])
            self.called.append(name)
            return self.run(name, SimpleNamespace(**dict(zip(row.names, arguments, strict=True))))

        return call

    def set(self, name: str, value: Any) -> None:
        if name == "cublasSetPointerMode_v2":
            self.mode = PointerMode(value)

    def run(self, name: str, c: SimpleNamespace) -> None:
        from tests.gocudnn_py import column_major_factors, column_major_matrices, column_major_vectors

        assert all((column_major_factors, column_major_matrices, column_major_vectors))  # they fill the table
        letter, stem = split(name, TABLE)
        if letter:
            c.dtype = DTYPES[{"Sc": "C", "Dz": "Z"}.get(letter, letter[0].upper())]
        else:
            codes = [getattr(c, each) for each in TYPE_NAMES if hasattr(c, each)]
            c.dtype = numpy_dtype(codes[0]) if codes else np.dtype(np.uint8)
        c.index = np.int64 if name.endswith("_64") else np.int32
        c.real = np.zeros(0, c.dtype).real.dtype
        c.factor = c.real if letter in ("Cs", "Zd") else c.dtype
        c.stem = stem
        TABLE[stem](self, c)

    def scalar(self, pointer: Any, dtype: Any) -> Any:
        """An alpha or beta, from where the pointer mode says it is."""
        assert isinstance(pointer, bytes) == (self.mode is PointerMode.HOST), (pointer, self.mode)
        if isinstance(pointer, bytes):
            assert len(pointer) == np.dtype(dtype).itemsize, (pointer, dtype)
            return wide(np.frombuffer(pointer, dtype))[0]
        return wide(view(pointer, dtype, (1,), (1,)))[0]


def members(c: SimpleNamespace, index: int, *names: str) -> list[int]:
    """Addresses of a member of a batch, by strides or by arrays of pointers."""
    found = []
    for name in names:
        if hasattr(c, f"stride{name}"):
            size = np.dtype(c.types["ABC".find(name)] if hasattr(c, "types") else c.dtype).itemsize
            found.append(getattr(c, name) + index * getattr(c, f"stride{name}") * size)
        else:
            pointers = getattr(c, f"{name}array", None) or getattr(c, name)
            found.append(int(view(pointers, np.uint64, (index + 1,), (1,))[index]))
    return found


def split(name: str, known: Collection[str]) -> tuple[str, str]:
    """The letters of the type in a function's name, none if it has no type, and the rest of it."""
    rest = name.removeprefix("cublas").removesuffix("_64").removesuffix("_v2")
    rest = rest.removeprefix("I") if rest not in known else rest
    for letter in ("", *LETTERS):
        if rest.startswith(letter) and rest.removeprefix(letter) in known:
            return letter, rest.removeprefix(letter)
    raise LookupError(f"the stand-in does not know {name}")


def put(target: Array, value: Any) -> None:
    """Round to the target's type."""
    value = np.asarray(value)
    target[...] = (value if target.dtype.kind == "c" else value.real).astype(target.dtype)


class Recording:
    """A library that only notes what it was asked for."""

    def __init__(self) -> None:
        self.called: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments: self.called.append(name)


class EmulatedHandle(Handle):
    """A handle whose library is the stand-in."""

    def __init__(self, library: Any = None, *, capturing: bool = False) -> None:
        self.lib = library or ColumnMajor()
        self.gpu: Any = SimpleNamespace(ordinal=0, enter=lambda: None)
        self.used: list[Any] = []
        self.stream = SimpleNamespace(
            device=self.gpu, handle=0, capturing=capturing, synchronize=lambda: None, uses=self.note
        )
        self._mode, self.device = PointerMode.HOST, 0
        self._handle, self._owner = 1, resource._process

    def note(self, *buffers: Any) -> None:
        self.used.extend(buffers)


class HostPlace:
    """Memory of the host where device memory is expected."""

    def __init__(self, stream: Any, nbytes: int) -> None:
        self.memory = np.zeros(nbytes, np.uint8)
        self.pointer, self.nbytes = self.memory.ctypes.data, nbytes
        self.device = SimpleNamespace(ordinal=0)

    def upload(self, array: Array) -> None:
        self.memory[: array.nbytes] = array.view(np.uint8).ravel()


class HostArena:
    """Where operands lie in these tests."""

    light: Any = None

    def __init__(self) -> None:
        self.handle, self.scratch = EmulatedHandle(), None
        self.stream: Any = SimpleNamespace(handle=0, capturing=False)

    def put(self, array: Array) -> HostPlace:
        place = HostPlace(None, array.nbytes)
        place.upload(array)
        return place

    def get(self, place: HostPlace, array: Array) -> Array:
        found: Array = place.memory.view(array.dtype)
        return found


def documented(package: Any, pattern: str) -> set[str]:
    """The C functions that docstrings of a package's modules, classes, functions and methods name."""
    found: set[str] = set()
    for path in Path(package.__path__[0]).glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                found.update(re.findall(pattern, ast.get_docstring(node) or ""))
    return found
