"""A call of each of NPP's operations for each function that it reaches, with images that are nowhere."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from gocudnn_py import npp
from gocudnn_py.npp import HogSettings, Image
from gocudnn_py.npp.image import CODES
from tests.gocudnn_py.recorded import FakeStream, fake_buffer

NAMES = {code: name for name, code in CODES.items()}
HIGH, WIDE = 60, 80
SOURCE, TARGET, OTHER = 1 << 40, 2 << 40, 3 << 40
"""Where images are said to be: what is handed over for one must lie there."""
PITCH = {SOURCE: 2048, TARGET: 4096, OTHER: 8192}
SCRATCH = 4 << 40


class Line(FakeStream):
    """A stream that nothing is done on."""

    capturing = False
    cell = ctypes.c_void_p(77)


class Case(NamedTuple):
    """A function's family and what its name says of the images."""

    name: str
    family: str
    types: tuple[str, str]
    layouts: tuple[str, str]

    @property
    def channels(self) -> int:
        return int(self.layouts[0][1])

    def image(
        self, stream: Line, place: int, last: bool, height: int = HIGH, width: int = WIDE, pitch: int = 0
    ) -> Image:
        """An image as the first, or the last, part of the name says."""
        planar, channels = self.layouts[last][0] == "P", int(self.layouts[last][1])
        memory = fake_buffer(stream, 1 << 30, place)
        return Image(memory, width, height, channels, self.types[last], planar, pitch or PITCH[place])


def case_of(name: str) -> Case | None:
    """What a name says; None for functions that take no image."""
    match = re.fullmatch(r"nppi(\w+?)_([\dusf]+)_A?((?:[CP]\d)+)C?I?R(?:Sfs)?_Ctx", name)
    if match is None or "Size" in match[1]:
        return None
    codes, layouts = re.findall(r"\d+[usf]", match[2]), re.findall(r"[CP]\d", match[3])
    return Case(name, match[1], (NAMES[codes[0]], NAMES[codes[-1]]), (layouts[0], layouts[-1]))


class Given:
    """Images for a case: `a` the source, `b` another one like it, `to` the target."""

    def __init__(self, case: Case) -> None:
        self.stream: Any = Line()
        self.case, self.family, self.channels = case, case.family, case.channels
        self.a = case.image(self.stream, SOURCE, False)
        self.b = case.image(self.stream, OTHER, False)
        self.to = case.image(self.stream, TARGET, True)

    def target(self, height: int, width: int, pitch: int = 0) -> Image:
        """A target of another size."""
        return self.case.image(self.stream, TARGET, True, height, width, pitch)

    def other(self, dtype: str, height: int = HIGH, width: int = WIDE, channels: int = 1, pitch: int = 0) -> Image:
        """A map, kernel, mask or the like."""
        return Image(fake_buffer(self.stream, 1 << 30, OTHER), width, height, channels, dtype, pitch=pitch)

    @property
    def numbers(self) -> Any:
        """One constant, or one for each channel."""
        return (1, 2, 3, 4)[: self.channels] if self.channels > 1 else 1

    @property
    def second(self) -> Any:
        """An image or a constant, as the family takes it."""
        return self.numbers if self.family.endswith("C") else self.b

    @property
    def space(self) -> Any:
        """The colour space in the family's name."""
        return self.family.replace("RGBTo", "").replace("ToRGB", "")

    @property
    def kernel(self) -> Image:
        return self.other("int32" if self.case.types[0] == "uint8" else "float32", 3, 5)

    @property
    def mask(self) -> Image | None:
        return None if "3x3" in self.family else self.other("uint8", 3, 5)

    @property
    def inner(self) -> Image:
        """The source with more around it, and of the target's size."""
        return self.case.image(self.stream, SOURCE, False, HIGH + 20, WIDE + 20).view(9, 8, WIDE, HIGH)

    def threshold(self, side: str) -> Any:
        return (5, 6) if side in self.family else None


def both(operation: Any, *more: Any, **named: Any) -> Callable[[Given], Any]:
    """From source to target, with the same further arguments for each case."""
    return lambda g: operation(g.stream, g.a, g.to, *more, **named)


def of_two(operation: Any, *more: Any) -> Callable[[Given], Any]:
    return lambda g: operation(g.stream, g.a, g.second, g.to, *more)


def _pad(g: Given) -> None:
    modes = {"Const": "constant", "Replicate": "replicate", "Wrap": "wrap"}
    mode: Any = next(ours for theirs, ours in modes.items() if theirs in g.family)
    npp.pad(g.stream, g.a, g.target(HIGH + 5, WIDE + 6), 2, 3, mode, g.numbers)


def _swap(g: Given) -> None:
    npp.swap_channels(g.stream, g.a, g.to, (2, 1, 0, 2)[: g.to.channels], 5)


def _labels(g: Given) -> None:
    npp.label_markers(g.stream, g.a, g.target(HIGH, WIDE, 4 * WIDE))


CALLS: dict[Any, Callable[[Given], Any]] = {
    npp.fill: lambda g: npp.fill(g.stream, g.to, g.numbers),
    npp.copy: both(npp.copy),
    npp.pad: _pad,
    npp.convert: both(npp.convert),
    npp.scale: both(npp.scale, -1.0, 2.0),
    npp.transpose: lambda g: npp.transpose(g.stream, g.a, g.target(WIDE, HIGH)),
    npp.add: of_two(npp.add),
    npp.subtract: of_two(npp.subtract),
    npp.multiply: of_two(npp.multiply),
    npp.divide: of_two(npp.divide),
    npp.absolute_difference: of_two(npp.absolute_difference),
    npp.bitwise_and: of_two(npp.bitwise_and),
    npp.bitwise_or: of_two(npp.bitwise_or),
    npp.bitwise_xor: of_two(npp.bitwise_xor),
    npp.bitwise_not: both(npp.bitwise_not),
    npp.absolute: both(npp.absolute),
    npp.square: both(npp.square),
    npp.square_root: both(npp.square_root),
    npp.exponential: both(npp.exponential),
    npp.natural_logarithm: both(npp.natural_logarithm),
    npp.compose: of_two(npp.compose),
    npp.rgb_to_gray: lambda g: npp.rgb_to_gray(g.stream, g.a, g.to, (1, 2, 3) if "Color" in g.family else None),
    npp.from_rgb: lambda g: npp.from_rgb(g.stream, g.space, g.a, g.to),
    npp.to_rgb: lambda g: npp.to_rgb(g.stream, g.space, g.a, g.to),
    npp.nv12_to_rgb: lambda g: npp.nv12_to_rgb(
        g.stream,
        g.other("uint8", pitch=256),
        g.other("uint8", HIGH // 2, WIDE // 2, 2, pitch=256),
        g.to,
        g.family[-3:],  # type: ignore[arg-type]
    ),
    npp.gamma: lambda g: npp.gamma(g.stream, g.a, g.to, inverse="Inv" in g.family),
    npp.color_twist: both(npp.color_twist, np.ones((3, 4))),
    npp.swap_channels: _swap,
    npp.resize: lambda g: npp.resize(g.stream, g.a, g.target(30, 50)),
    npp.resize_by: both(npp.resize_by, (2, 3), (4, 5)),
    npp.remap: lambda g: npp.remap(g.stream, g.a, g.other("float32"), g.other("float32"), g.to),
    npp.rotate: both(npp.rotate, 30, (1, 2)),
    npp.mirror: both(npp.mirror, npp.Axis.BOTH_AXIS),
    npp.warp_affine: lambda g: npp.warp_affine(g.stream, g.a, g.to, np.eye(3)[:2], back="Back" in g.family),
    npp.warp_perspective: lambda g: npp.warp_perspective(g.stream, g.a, g.to, np.eye(3), back="Back" in g.family),
    npp.convolve: lambda g: npp.convolve(g.stream, g.inner, g.to, g.kernel),
    npp.box: both(npp.box, (5, 3)),
    npp.gauss: both(npp.gauss, 7),
    npp.sobel: lambda g: npp.sobel(g.stream, g.a, g.to, "horizontal" if "Horiz" in g.family else "vertical"),
    npp.laplace: both(npp.laplace, 5),
    npp.median: lambda g: npp.median(
        g.stream, g.inner, g.to, (5, 3), border=npp.Border.REPLICATE if "Border" in g.family else None
    ),
    npp.bilateral: both(npp.bilateral, 3, 10.0, 20.0),
    npp.dilate: lambda g: npp.dilate(g.stream, g.a, g.to, g.mask),
    npp.erode: lambda g: npp.erode(g.stream, g.a, g.to, g.mask),
    npp.threshold: lambda g: npp.threshold(g.stream, g.a, g.to, below=g.threshold("LT"), above=g.threshold("GT")),
    npp.compare: lambda g: npp.compare(
        g.stream, g.a, g.second, Image(g.to.place, WIDE, HIGH, pitch=PITCH[TARGET]), npp.Comparison.LESS
    ),
    npp.total: lambda g: npp.total(g.stream, g.a),
    npp.mean: lambda g: npp.mean(g.stream, g.a),
    npp.mean_std: lambda g: npp.mean_std(g.stream, g.a, None if g.channels == 1 else 2),
    npp.min_max: lambda g: npp.min_max(g.stream, g.a),
    npp.histogram: lambda g: npp.histogram(g.stream, g.a, 16, 0, 256),
    npp.integral: lambda g: npp.integral(g.stream, g.a, g.target(HIGH + 1, WIDE + 1)),
    npp.canny: both(npp.canny, 50, 100),
    npp.harris: both(npp.harris),
    npp.hough_lines: lambda g: npp.hough_lines(
        g.stream, g.a, 9, region=((0, 0), (9, 9)) if "Region" in g.family else None
    ),
    npp.histogram_of_gradients: lambda g: npp.histogram_of_gradients(
        g.stream, g.a, HogSettings(window=(32, 32)), [(1, 2), (3, 4)]
    ),
    npp.label_markers: _labels,
    npp.compress_markers: lambda g: npp.compress_markers(
        g.stream, g.case.image(g.stream, TARGET, True, pitch=4 * WIDE)
    ),
}
