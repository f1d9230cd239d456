"""The array types and the checks that all operations share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
Floats: TypeAlias = NDArray[np.floating[Any]]
Integers: TypeAlias = NDArray[np.integer[Any]]
Bools: TypeAlias = NDArray[np.bool_]
Shape: TypeAlias = tuple[int, ...]
Sizes: TypeAlias = int | Sequence[int]

_SUPPORTED = (np.dtype(np.float32), np.dtype(np.float64))


def check_floats(operation: str, **arrays: object) -> None:
    """Raise TypeError unless the arrays given are all float32 or all float64; None is skipped."""
    dtypes: dict[str, np.dtype[Any]] = {}
    for name, array in arrays.items():
        if array is None:
            continue
        if not isinstance(array, np.ndarray):
            raise TypeError(f"{operation}: {name} is a {type(array).__name__}, expected a NumPy array")
        if array.dtype not in _SUPPORTED:
            raise TypeError(f"{operation}: {name} is {array.dtype}, expected float32 or float64")
        dtypes[name] = array.dtype
    if len(set(dtypes.values())) > 1:
        given = ", ".join(f"{name} is {dtype}" for name, dtype in dtypes.items())
        raise TypeError(f"{operation}: {given}; expected one dtype")


def check_shape(operation: str, name: str, actual: Shape, expected: Shape, **context: object) -> None:
    """Raise ValueError unless the two shapes are equal; the message ends with the context."""
    if actual != expected:
        raise ValueError(f"{operation}: {name} has shape {actual}, expected {expected}{listing(**context)}")


def check_same_shape(operation: str, **arrays: Floats) -> None:
    """Raise ValueError unless all the arrays have the shape of the first."""
    if len({array.shape for array in arrays.values()}) > 1:
        shapes = ", ".join(f"{name}={array.shape}" for name, array in arrays.items())
        raise ValueError(f"{operation}: shapes differ ({shapes})")


def listing(**context: object) -> str:
    """Return the context as it ends an error message: `` (x=(2, 3), groups=1)``."""
    return f" ({', '.join(f'{name}={value}' for name, value in context.items())})" if context else ""
