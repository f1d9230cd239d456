"""Constants, casts, sums: each number by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gocudnn_py.xtra import checks
from gocudnn_py.xtra.array import Operand, operand, operands
from gocudnn_py.xtra.boxes import UNITS
from gocudnn_py.xtra.launcher import launch

if TYPE_CHECKING:
    from gocudnn_py.cuda import Stream


def fill(stream: Stream, y: Operand, value: float) -> None:
    """Every element of y is `value`, made of its type as NumPy's astype does; any type."""
    array = operand("fill: y", y, stream)
    checks.writable("fill", y=array)
    bits = int.from_bytes(np.asarray(value).astype(array.dtype).tobytes(), "little")
    if array.size:
        arguments = [array, bits, array.size, checks.packed(array)]
        launch(stream, "fill", checks.tiles(array), arguments, {"FILLED": UNITS[array.dtype.itemsize]})


def cast(stream: Stream, x: Operand, y: Operand) -> None:
    """y = x in y's type, to the nearest even; between all types, y may be x where they have one size.

    To an integer the fraction is dropped; what it cannot hold is not defined, as in C.
    """
    source, target = operands("cast", stream, x=x, y=y)
    checks.same_shape("cast", x=source, y=target)
    checks.apart("cast", ("y", target), ("x", source), same=True)
    defines = {"FROM": checks.c_type("cast: x", source.dtype), "TO": checks.c_type("cast: y", target.dtype)}
    if source.size:
        arguments = [source, target, source.size, checks.packed(source, target)]
        launch(stream, "cast", checks.tiles(source, target), arguments, defines)


def scale(stream: Stream, x: Operand, y: Operand, alpha: float) -> None:
    """y = alpha x; y may be x."""
    source, target = operands("scale", stream, x=x, y=y)
    checks.same_shape("scale", x=source, y=target)
    checks.apart("scale", ("y", target), ("x", source), same=True)
    defines = {"T": checks.float_type("scale", x=source, y=target)}
    if source.size:
        arguments = [source, target, alpha, source.size, checks.packed(source, target)]
        launch(stream, "scale", checks.tiles(source), arguments, defines)


def add(stream: Stream, x: Operand, y: Operand, z: Operand, alpha: float = 1.0, beta: float = 1.0) -> None:
    """z = alpha x + beta y, computed in float32; z may be x or y."""
    one, other, target = operands("add", stream, x=x, y=y, z=z)
    checks.same_shape("add", x=one, y=other, z=target)
    checks.apart("add", ("z", target), ("x", one), ("y", other), same=True)
    defines = {"T": checks.float_type("add", x=one, y=other, z=target)}
    if target.size:
        arguments = [one, other, target, alpha, beta, target.size, checks.packed(one, other, target)]
        launch(stream, "add", checks.tiles(target), arguments, defines)
