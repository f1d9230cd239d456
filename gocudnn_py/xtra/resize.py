"""Planes resized by the nearest element or bilinearly, and the gradients."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from gocudnn_py.xtra import checks
from gocudnn_py.xtra.array import DeviceArray, Operand, operands
from gocudnn_py.xtra.boxes import UNITS, alignment
from gocudnn_py.xtra.elementwise import fill
from gocudnn_py.xtra.launcher import THREADS, launch
from gocudnn_py.xtra.windows import LAYOUTS, Layout, in_order

if TYPE_CHECKING:
    from gocudnn_py.cuda import Stream

Mode = Literal["nearest", "bilinear"]
Coordinates = Literal["asymmetric", "half_pixel", "align_corners"]
USUAL: dict[str, Coordinates] = {"nearest": "asymmetric", "bilinear": "half_pixel"}
COORDINATES = ("asymmetric", "half_pixel", "align_corners")
Two: TypeAlias = tuple[int, int]
ENOUGH = 4096  # threads for each multiprocessor; where there are more, each takes more rows
MOST_ROWS = 8  # for gradients, and for halves by bilinear, which have much in common between rows,
FEW_ROWS = 4  # for what else is resized,
MOST_LARGER = 2  # and of the smaller planes where the others are larger by one of FACTORS: so writes lie together
TAPS = 16  # columns of dy of which a thread keeps its shares at most
TOGETHER = 16  # elements of a gradient that a thread works out at a time, of several samples, at most,
AHEAD = 64  # so that it reads about so many bytes at a time, half as many where it reads by packs
PACKED = {2: 32, 4: 16}  # bytes that it then reads as one, by those of an element
FACTORS = (2, 4, 8)  # by which planes are made larger in whole packs, with weights that are constants
EXACT = 2**22  # elements of an axis to which places halfway between two are exact in float32


def resize(
    stream: Stream,
    x: Operand,
    y: Operand,
    mode: Mode = "nearest",
    coordinates: Coordinates | None = None,
    layout: Layout = "NCHW",
) -> None:
    """y = x with planes of another size; nearest moves any type, bilinear computes in float32.

    Element o of `out` lies at o in / out ("asymmetric"), (o + 1/2) in / out - 1/2 ("half_pixel") or
    o (in - 1) / (out - 1) ("align_corners"); without a choice as in PyTorch, the first for nearest, the second for
    bilinear. Nearest takes the element below the first, the one nearest to the others, of two as near the greater; in
    whole numbers, so without rounding.
    """
    source, target = operands("resize", stream, x=x, y=y)
    checks.apart("resize", ("y", target), ("x", source))
    planes = _planes("resize", source, target, mode, coordinates, layout)
    if not target.size:
        return
    pack = planes.pack(source, target)
    run = planes.run(target, pack)
    defines: dict[str, object] = {"RUN": run}
    if mode == "nearest":
        defines["UNIT"] = UNITS[pack * target.dtype.itemsize]
    else:
        defines |= {"T": checks.float_type("resize", x=source, y=target), "PACK": pack}
        factor = planes.factor(mode)
        own = run // factor  # neighbours of x that a thread reads as one
        if factor > 1 and own and source.address % (own * source.dtype.itemsize) == 0:
            defines["FACTOR"] = factor
    _launch(stream, f"resize_{mode}", (source, target), planes, defines, pack, pack * run)


def resize_backward(
    stream: Stream,
    dy: Operand,
    dx: Operand,
    mode: Mode = "nearest",
    coordinates: Coordinates | None = None,
    layout: Layout = "NCHW",
) -> None:
    """dx = the gradient of x in `resize`: sums in float32, in an order that is always the same."""
    up, target = operands("resize_backward", stream, dy=dy, dx=dx)
    checks.apart("resize_backward", ("dx", target), ("dy", up))
    planes = _planes("resize_backward", target, up, mode, coordinates, layout)
    c_type = checks.float_type("resize_backward", dy=up, dx=target)
    if not target.size:
        return
    if not up.size:
        fill(stream, target, 0)
        return
    pack = planes.pack(up, target)
    factor = planes.factor(mode)
    most = PACKED[up.dtype.itemsize]
    run = planes.run(up, pack, most) // factor  # neighbours of dx whose own columns of dy a thread reads as one
    if factor > 1 and run and target.address % (run * target.dtype.itemsize) == 0:
        defines: dict[str, object] = {"PACK": pack, "RUN": run, "FACTOR": factor}
        read, ahead = run * factor, AHEAD // 2
    else:
        taps = planes.taps(mode)
        defines, run, read, ahead = {"PACK": pack, "TAPS": taps}, pack, pack * taps, AHEAD
    most = max(1, min(TOGETHER // run, ahead // (read * target.dtype.itemsize)))
    together = next(samples for samples in range(most, 0, -1) if planes.samples % samples == 0)
    defines |= {"T": c_type, "TOGETHER": together}
    _launch(stream, f"resize_{mode}_backward", (up, target), planes, defines, pack, run * together)


@dataclass(frozen=True)
class _Planes:
    """Planes as (samples, height, width, inner), and how they are resized."""

    samples: int
    inner: int
    size: Two
    y_size: Two
    coordinates: Coordinates

    @property
    def most(self) -> int:
        """The greatest place, or number that nearest divides."""
        most = [self.samples * self.inner * math.prod(size) for size in (self.size, self.y_size)]
        most += [(size + 1) * (2 * y_size + 1) for size, y_size in zip(self.size, self.y_size, strict=True)]
        return max(most)

    def pack(self, *arrays: DeviceArray) -> int:
        """Elements of `inner` that move as one: up to 16 bytes."""
        itemsize = arrays[0].dtype.itemsize
        return min(16, alignment(self.inner * itemsize, *(array.address for array in arrays))) // itemsize

    def run(self, y: DeviceArray, pack: int, most: int = 16) -> int:
        """Neighbours of `pack` elements in a row of y that are moved as one: up to `most` bytes."""
        itemsize = y.dtype.itemsize
        return min(most, alignment(self.y_size[1] * self.inner * itemsize, y.address)) // (pack * itemsize)

    def factor(self, mode: str) -> int:
        """How many rows and columns of y each of x has to itself, where that is a power of two, or 1.

        Only of one channel, and for bilinear only where places are exact in float32.
        """
        (height, width), (y_height, y_width) = self.size, self.y_size
        factor = y_width // width
        if self.inner > 1 or factor not in FACTORS or (y_height, y_width) != (factor * height, factor * width):
            return 1
        even = self.coordinates == "half_pixel" or (mode == "nearest" and self.coordinates == "asymmetric")
        return factor if even and (mode == "nearest" or max(self.y_size) <= EXACT) else 1

    def taps(self, mode: str) -> int:
        """How many columns of y mostly take from one of x, up to TAPS."""
        *_, num, _, den = self.ratios
        return min(TAPS, self.y_size[1], -(-den * (1 if mode == "nearest" else 2) // num) if num else TAPS)

    @property
    def ratios(self) -> list[int]:
        """num, add and den of both axes: element o of y is element (o num + add) // den of x."""
        pairs = zip(self.size, self.y_size, strict=True)
        return [number for pair in pairs for number in _ratio(*pair, self.coordinates)]

    @property
    def scales(self) -> list[float]:
        """Elements of x to an element of y along both axes, and what lies before the first."""
        pairs = zip(self.size, self.y_size, strict=True)
        shift = 0.5 if self.coordinates == "half_pixel" else 0.0
        return [*(_scale(*pair, self.coordinates) for pair in pairs), shift]


def _planes(
    what: str, x: DeviceArray, y: DeviceArray, mode: str, coordinates: Coordinates | None, layout: Layout
) -> _Planes:
    """The planes of two arrays of 4 axes that differ in height and width only. Raises ValueError or TypeError."""
    chosen = coordinates or USUAL.get(mode)
    if mode not in USUAL or chosen not in COORDINATES or layout not in LAYOUTS:
        raise ValueError(f"{what}: mode {mode!r}, coordinates {coordinates!r}, layout {layout!r}")
    if x.dtype != y.dtype:
        raise TypeError(f"{what}: {x} and {y} have different types")
    if len(x.shape) != 4 or len(y.shape) != 4:
        raise ValueError(f"{what}: {x} and {y} have to have 4 axes")
    (n, c, *size), (y_n, y_c, *y_size) = in_order(x.shape, layout), in_order(y.shape, layout)
    if (n, c) != (y_n, y_c):
        raise ValueError(f"{what}: {x} and {y} differ in samples or channels")
    if y.size and not x.size:
        raise ValueError(f"{what}: {x} has no elements, {y} has")
    samples, inner = (n * c, 1) if layout == "NCHW" else (n, c)
    return _Planes(samples, inner, (size[0], size[1]), (y_size[0], y_size[1]), chosen)


def _ratio(size: int, y_size: int, coordinates: Coordinates) -> tuple[int, int, int]:
    if coordinates == "asymmetric":
        return size, 0, max(1, y_size)
    if coordinates == "half_pixel":
        return 2 * size, size, max(1, 2 * y_size)
    return (2 * (size - 1), y_size - 1, 2 * (y_size - 1)) if y_size > 1 else (0, 0, 1)


def _scale(size: int, y_size: int, coordinates: Coordinates) -> float:
    """Elements of x to an element of y, divided in float32 as PyTorch does."""
    if coordinates == "align_corners":
        return float(np.float32(size - 1) / np.float32(y_size - 1)) if y_size > 1 else 0.0
    return float(np.float32(size) / np.float32(max(1, y_size)))


def _launch(
    stream: Stream,
    kernel: str,
    arrays: tuple[DeviceArray, DeviceArray],
    planes: _Planes,
    defines: dict[str, object],
    pack: int,
    each: int,
) -> None:
    """Launch a kernel that moves `pack` elements as one; a thread writes `each` at a time into the second array."""
    backward, larger = kernel.endswith("backward"), "FACTOR" in defines
    columns = arrays[1].size // (planes.size if backward else planes.y_size)[0] // each
    height = (planes.size if backward or larger else planes.y_size)[0]
    shared = backward or (kernel == "resize_bilinear" and arrays[1].dtype.itemsize == 2)
    rows = MOST_LARGER if larger else MOST_ROWS if shared else FEW_ROWS
    while rows > 1 and columns * -(-height // rows) < ENOUGH * stream.device.multiprocessors:
        rows //= 2
    blocks = -(-columns * -(-height // rows) // THREADS)
    inner = planes.inner // pack
    numbers = [planes.samples, rows, inner, *planes.size, *planes.y_size]
    placed = planes.ratios if "nearest" in kernel else planes.scales
    chosen = {**checks.index_type(planes.most), "CHANNELS": 1 if inner == 1 else "inner", **defines}
    launch(stream, kernel, blocks, [*arrays, *numbers, *placed], chosen)
