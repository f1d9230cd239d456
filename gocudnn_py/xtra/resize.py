"""Planes resized by the nearest element or bilinearly, and the gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from gocudnn_py.xtra import checks
from gocudnn_py.xtra.array import DeviceArray, Operand, operands
from gocudnn_py.xtra.launcher import THREADS, launch
from gocudnn_py.xtra.moving import UNITS, alignment
from gocudnn_py.xtra.windows import LAYOUTS, Layout, in_order

if TYPE_CHECKING:
    from gocudnn_py.cuda import Stream

Mode = Literal["nearest", "bilinear"]
Coordinates = Literal["asymmetric", "half_pixel", "align_corners"]
USUAL: dict[str, Coordinates] = {"nearest": "asymmetric", "bilinear": "half_pixel"}
COORDINATES = ("asymmetric", "half_pixel", "align_corners")
Two: TypeAlias = tuple[int, int]
BLOCKS = 16  # of each multiprocessor, among which planes and samples are shared
MOST_ROWS = 65535  # blocks along y


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
    if mode == "nearest":
        _nearest(stream, source, target, planes)
    else:
        _bilinear(stream, "resize_bilinear", source, target, planes)


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
    defines: dict[str, object] = {"T": checks.float_type("resize_backward", dy=up, dx=target), "AT_ONCE": 1}
    if not target.size:
        return
    if mode == "bilinear":
        _bilinear(stream, "resize_bilinear_backward", up, target, planes)
        return
    group, grid = planes.share(stream, target.size)
    arguments = [up, target, *planes.numbers(group), *planes.ratios]
    launch(stream, "resize_nearest_backward", grid, arguments, defines)


@dataclass(frozen=True)
class _Planes:
    """Planes as (samples, height, width, inner), and how they are resized."""

    samples: int
    inner: int
    size: Two
    y_size: Two
    coordinates: Coordinates

    def share(self, stream: Stream, count: int, pack: int = 1) -> tuple[int, list[int]]:
        """Samples that a block takes at a time, and blocks, over `count` elements, `pack` a thread."""
        plane = count // self.samples // pack
        group = max(1, min(self.samples, THREADS // plane))
        across = min(-(-plane * group // THREADS), 2**31 - 1)
        room = BLOCKS * stream.device.multiprocessors
        return group, [across, max(1, min(-(-self.samples // group), -(-room // across), MOST_ROWS))]

    def numbers(self, group: int, together: int = 1) -> list[int]:
        """What every kernel is told, with `together` elements moved as one."""
        return [self.samples, group, self.inner // together, *self.size, *self.y_size]

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


def _nearest(stream: Stream, x: DeviceArray, y: DeviceArray, planes: _Planes) -> None:
    itemsize = x.dtype.itemsize
    unit = min(16, alignment(planes.inner * itemsize, x.address, y.address))
    group, grid = planes.share(stream, y.size, unit // itemsize)
    arguments = [x, y, *planes.numbers(group, unit // itemsize), *planes.ratios]
    launch(stream, "resize_nearest", grid, arguments, {"UNIT": UNITS[unit]})


def _bilinear(stream: Stream, kernel: str, source: DeviceArray, target: DeviceArray, planes: _Planes) -> None:
    itemsize = source.dtype.itemsize
    pack = min(16, alignment(planes.inner * itemsize, source.address, target.address)) // itemsize
    defines = {"T": checks.float_type(kernel, source=source, target=target), "AT_ONCE": pack}
    group, grid = planes.share(stream, target.size, pack)
    launch(stream, kernel, grid, [source, target, *planes.numbers(group), *planes.scales], defines)
