"""Operations of cuBLAS as cases: run on the host by the stand-in of column-major memory, and on the card.

A case puts operands into memory with gaps between them, calls one operation, and compares what memory holds after it
with the formula in double precision: within 8 roundings of the formula's absolute values (Fortran's BLAS stays within
6), and the gaps untouched. What solves a system is put back into it, for which a system of n rows has n roundings.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Protocol

import numpy as np
import pytest

from gocudnn_py.cublas import Band, Batch, Handle, Matrix, Packed, Vector, batched, level1
from gocudnn_py.cublas.names import wide
from gocudnn_py.dtypes import numpy_dtype

Array = np.ndarray[Any, Any]
LETTERS = {"float32": "S", "float64": "D", "complex64": "C", "complex128": "Z"}
REAL, COMPLEX, HALF = ("float32", "float64"), ("complex64", "complex128"), ("float16", "bfloat16")
FOUR = REAL + COMPLEX
PART = {"complex64": "float32", "complex128": "float64"}
UNIT = {"float64": 2.0**-53, "float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8, "int8": 0.0}
UNIT |= {"int32": 0.0, "int64": 0.0}
UNIT |= {"float8_e4m3fn": 2.0**-4, "float8_e5m2": 2.0**-3}
UNIT |= {name: UNIT[part] for name, part in PART.items()}
ROUNDINGS = 8
GAP = 64  # exact in every type
TURNS = ("", "T", "H", "conjugate")


class Arena(Protocol):
    """Where operands lie."""

    handle: Handle
    light: Any
    stream: Any
    scratch: Any

    def put(self, array: Array) -> Any: ...
    def get(self, place: Any, array: Array) -> Array: ...


class Item(NamedTuple):
    """An operand, its value in double precision, and where each element of it lies, -1 for one that is not stored."""

    at: Any
    value: Array
    spots: Array
    memory: int

    @property
    def size(self) -> Array:
        return np.abs(self.value)


@dataclass
class Desk:
    """Makes operands of one type, and checks results; `index` is the type of an index that is written."""

    arena: Arena
    dtype: str
    index: str = "int32"
    random: Any = field(default_factory=lambda: np.random.default_rng(0))

    @property
    def handle(self) -> Handle:
        return self.arena.handle

    @property
    def real(self) -> str:
        return PART.get(self.dtype, self.dtype)

    def numbers(self, *shape: int, dtype: str | None = None) -> Array:
        """Normal numbers as the type holds them, in double precision; small whole ones for integers."""
        kind = numpy_dtype(dtype or self.dtype)
        found = self.random.standard_normal(shape)
        if kind.kind == "i":
            return np.rint(4 * found)
        if kind.kind == "c":
            found = found + 1j * self.random.standard_normal(shape)
        return widened(found.astype(kind))

    def put(self, operand: Any, value: Array | None = None, lower: bool | None = None, unit: bool = False) -> Item:
        """Put an operand that lies at 0 so far into memory; only the triangle if `lower` says which."""
        return self.place(operand, spots_of(operand, lower), value, unit)

    def series(self, operand: Any, count: int, stride: int) -> Item:
        """Several operands alike, `stride` elements apart; the value has one more axis, the first."""
        spots, memory = spots_of(operand, None)
        return self.place(
            operand, (spots + stride * np.arange(count).reshape(-1, *[1] * spots.ndim), memory + (count - 1) * stride)
        )

    def place(self, operand: Any, layout: tuple[Array, int], value: Array | None = None, unit: bool = False) -> Item:
        """Put an operand into memory that is laid out: where each element lies, and how many there are."""
        spots, memory = layout
        value = self.numbers(*spots.shape, dtype=numpy_dtype(operand.code).name) if value is None else value
        array = np.full(memory, GAP).astype(numpy_dtype(operand.code))
        stored = spots >= 0
        if unit:
            stored &= ~np.eye(len(spots), dtype=bool)
        lying = value.conj() if getattr(operand, "conjugated", False) else value
        array[spots[stored]] = lying[stored].astype(array.dtype)
        return Item(replace(operand, place=self.arena.put(array)), value, spots, memory)

    def vector(self, size: int, stride: int = 1, value: Array | None = None, dtype: str | None = None) -> Item:
        return self.put(Vector(0, size, dtype or self.dtype, stride), value)

    def matrix(
        self,
        rows: int,
        columns: int,
        turn: str = "",
        value: Array | None = None,
        dtype: str | None = None,
        gap: int = 3,
    ) -> Item:
        """A matrix that is rows x columns as it is used."""
        if "T" in turn or "H" in turn:
            rows, columns = columns, rows
        return self.put(turned(Matrix(0, rows, columns, dtype or self.dtype, columns + gap), turn), value)

    def half(
        self, size: int, kind: str, lower: bool, turn: str = "", storage: str = "whole", unit: bool = False
    ) -> Item:
        """A symmetric, Hermitian or triangular (sy, he, tr) matrix of which one triangle is stored."""
        value = self.triangle(size, kind, lower, unit)
        if storage == "band":
            value = np.where(np.abs(np.subtract.outer(range(size), range(size))) <= 4, value, 0)
        turns = "T" in turn or "H" in turn
        below, above = (4, 0) if lower != turns else (0, 4)
        made: Any = {
            "whole": lambda: Matrix(0, size, size, self.dtype, size + 3),
            "band": lambda: Band(0, size, size, below, above, self.dtype, 7),
            "packed": lambda: Packed(0, size, self.dtype),
        }[storage]()
        return self.put(turned(made, turn), value, lower, unit)

    def triangle(self, size: int, kind: str, lower: bool, unit: bool = False) -> Array:
        value = self.numbers(size, size)
        value = np.tril(value) if lower else np.triu(value)
        if kind == "tr":  # near the identity, so that systems are well conditioned
            diagonal = np.ones(size) if unit else 1 + np.arange(size) / size
            return widened(
                ((value - np.diag(np.diag(value))) / size + np.diag(diagonal)).astype(numpy_dtype(self.dtype))
            )
        mirrored = value.conj().T if kind == "he" else value.T
        diagonal = np.diag(value).real if kind == "he" else np.diag(value)
        return value + mirrored - np.diag(np.diag(value)) - np.diag(np.diag(mirrored)) + np.diag(diagonal)

    def scalar(self, value: complex, where: str, dtype: str | None = None) -> Any:
        """A factor, as a number or on the device."""
        return value if where == "host" else self.vector(1, 1, np.array([value]), dtype).at

    def out(self, where: str, dtype: str | None = None) -> Item | None:
        """Where a result may go, or None when it is given back."""
        return None if where == "host" else self.vector(1, 1, np.zeros(1), dtype)

    def read(self, item: Item) -> Array:
        """What an operand holds, in double precision, GAP where nothing is stored. Fails when a gap was written."""
        memory = self.arena.get(item.at.place, np.empty(item.memory, numpy_dtype(item.at.code)))
        found = np.full(item.spots.shape, GAP, np.complex128)
        stored = item.spots >= 0
        found[stored] = widened(memory[item.spots[stored]])
        between = np.ones(item.memory, bool)
        between[item.spots[stored]] = False
        assert (widened(memory[between]) == GAP).all(), "a gap was written"
        return found.conj() if getattr(item.at, "conjugated", False) else found

    def check(self, item: Item, right: Any, size: Any) -> None:
        """Compare a result with what is right, as far as it is stored."""
        stored = item.spots >= 0
        unit = UNIT[numpy_dtype(item.at.code).name]
        near(np.where(stored, self.read(item), 0), np.where(stored, right, 0), np.where(stored, size, 0), unit)

    def check_number(self, given: Any, out: Item | None, right: Any, size: Any) -> None:
        """The same for one number, which was given back or written."""
        if out is None:
            near(np.array(given), np.array(right), np.array(size), UNIT[self.dtype])
        else:
            assert given is None
            self.check(out, np.array([right]), np.array([size]))

    def batch(self, items: list[Item]) -> Batch[Any]:
        return Batch(self.arena.stream, [item.at for item in items])


def widened(array: Array) -> Array:
    return array.astype(np.complex128 if array.dtype.kind == "c" else np.float64)


def near(found: Array, right: Array, size: Array, unit: float, factor: float = ROUNDINGS) -> None:
    """Fail unless found is right within `factor` roundings of size; double, for what is right is rounded too then."""
    allowed = (2 if unit == UNIT["float64"] else 1) * factor * unit
    worst = np.abs(found - right) - allowed * size
    assert (worst <= 0).all(), f"off by {np.abs(found - right).max()}, sizes to {size.max()}"


def turned(operand: Any, turn: str) -> Any:
    """An operand used as its transpose (T), conjugate transpose (H) or conjugate."""
    return {"": lambda: operand, "T": lambda: operand.T, "H": lambda: operand.H, "conjugate": lambda: operand.T.H}[
        turn
    ]()


def spots_of(operand: Any, lower: bool | None) -> tuple[Array, int]:
    """Where each element of an operand lies from its place on, -1 for none, and how many elements memory has."""
    if isinstance(operand, Vector):
        step = abs(operand.stride)
        spots = np.arange(operand.size)[:: 1 if operand.stride > 0 else -1] * step
        return spots, int(spots.max()) + 1
    i, j = np.indices((operand.rows, operand.columns))
    if isinstance(operand, Packed):
        within = (j <= i) if lower != operand.transposed else (j >= i)
        spots = np.where(within, within.ravel().cumsum().reshape(within.shape) - 1, -1)
        memory = int(spots.max()) + 1
    elif isinstance(operand, Band):
        spots = i * operand.pitch + operand.below + j - i
        spots[(i - j > operand.below) | (j - i > operand.above)] = -1
        memory = (operand.rows - 1) * operand.pitch + operand.below + 1 + operand.above
    else:
        spots, memory = i * operand.pitch + j, (operand.rows - 1) * operand.pitch + operand.columns
    spots = spots.T if operand.transposed else spots
    if lower is not None:
        i, j = np.indices(spots.shape)
        spots = np.where((j <= i) if lower else (j >= i), spots, -1)
    return spots, memory


@dataclass
class Case:
    """An operation for some types and some ways to call it; `functions` are C's for a type and a way."""

    name: str
    run: Callable[..., None]
    dtypes: tuple[str, ...]
    ways: list[dict[str, Any]]
    functions: Callable[..., Iterable[str]]
    skip: Callable[..., bool]


CASES: list[Case] = []


def letter(stem: str) -> Callable[..., tuple[str, ...]]:
    """C's name for each type, `{}` in it for the type's letter."""
    return lambda dtype, **_: (f"cublas{stem.format(LETTERS[dtype])}",)


def case(
    functions: str | Callable[..., Iterable[str]],
    dtypes: tuple[str, ...] = FOUR,
    *,
    skip: Callable[..., bool] = lambda dtype, **_: False,
    cases: list[Case] = CASES,
    **ways: Iterable[Any],
) -> Callable[[Callable[..., None]], None]:
    """Note a case, to be called in every combination of `ways` but those that `skip` names."""

    def note(run: Callable[..., None]) -> None:
        grid = [dict(zip(ways, values, strict=True)) for values in itertools.product(*ways.values())]
        names = letter(functions) if isinstance(functions, str) else functions
        cases.append(Case(run.__name__.strip("_"), run, dtypes, grid, names, skip))

    return note


def rows(*, covering: bool, form: Callable[[str], str | None] = str) -> list[Any]:
    """Every case of cuBLAS, type and way, as pytest takes them; `covering` says which C functions each calls.

    Of a `form` of functions, `wide` say, those cases whose functions all have it.
    """
    from tests.gocudnn_py import blas_batched, blas_level1, blas_level2, blas_level3, blas_names  # they fill the list

    assert all((blas_batched, blas_level1, blas_level2, blas_level3, blas_names))
    return rows_of(CASES, covering, form)


def rows_of(cases: list[Case], covering: bool, form: Callable[[str], str | None] = str) -> list[Any]:
    return [
        _row(each, dtype, way, functions, covering)
        for each in cases
        for dtype, way in itertools.product(each.dtypes, each.ways)
        if not each.skip(dtype, **way) and all(functions := tuple(map(form, each.functions(dtype, **way))))
    ]


def take_wide_forms(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every function that has a 64-bit form be called in it, as it is for numbers beyond 32 bits."""
    call = Handle.call
    monkeypatch.setattr(Handle, "call", lambda self, name, *arguments: call(self, wide(name) or name, *arguments))
    for module in (batched, level1):  # they give the library more than numbers: arrays of them, or a place for one
        monkeypatch.setattr(module, "INT32_MAX", 0)


def _row(each: Case, dtype: str, way: dict[str, Any], functions: tuple[str | None, ...], covering: bool) -> Any:
    label = "-".join([each.name, dtype, *(f"{name}={value}" for name, value in way.items())])
    marks = [pytest.mark.covers(*functions)] if covering else []
    return pytest.param(each, dtype, way, functions, id=label, marks=marks)
