"""Windows of planes as samples of a batch, and back (GoCudnn's ShapetoBatch)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from gocudnn_py.xtra import checks
from gocudnn_py.xtra.array import DeviceArray, Operand
from gocudnn_py.xtra.elementwise import fill
from gocudnn_py.xtra.launcher import THREADS, launch
from gocudnn_py.xtra.movement import pair, strides_of
from gocudnn_py.xtra.moving import move

if TYPE_CHECKING:
    from gocudnn_py.cuda import Stream

Layout = Literal["NCHW", "NHWC"]
LAYOUTS = ("NCHW", "NHWC")
Two: TypeAlias = tuple[int, int]


@dataclass(frozen=True)
class Windows:
    """Windows over planes of `size` in (N, C, H, W), `counts` of them down and across; the last may go beyond."""

    samples: int
    channels: int
    size: Two
    window: Two
    stride: Two
    layout: Layout

    @property
    def counts(self) -> Two:
        """Windows down and across: as many as cover the plane."""
        triples = zip(self.size, self.window, self.stride, strict=True)
        down, across = (-(-max(0, size - window) // stride) + 1 for size, window, stride in triples)
        return down, across

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the windows as a batch."""
        return laid_out((self.samples * math.prod(self.counts), self.channels, *self.window), self.layout)

    @property
    def overlap(self) -> bool:
        """Whether windows have elements in common."""
        triples = zip(self.window, self.stride, self.counts, strict=True)
        return any(window > stride and count > 1 for window, stride, count in triples)

    @property
    def cover(self) -> bool:
        """Whether every element of a plane lies in a window."""
        triples = zip(self.window, self.stride, self.counts, strict=True)
        return all(window >= stride or count == 1 for window, stride, count in triples)

    def spans(self, axis: int) -> list[tuple[int, int, int]]:
        """First window along an axis, how many, and their extent within the plane: whole ones, then the last if cut."""
        count, window = self.counts[axis], self.window[axis]
        last = self.size[axis] - (count - 1) * self.stride[axis]
        whole = [(0, count, window)] if last >= window else [(0, count - 1, window), (count - 1, 1, last)]
        return [span for span in whole if span[1]]

    @property
    def cut(self) -> bool:
        """Whether the last windows go beyond the plane."""
        return any(self.spans(axis)[-1][2] < self.window[axis] for axis in (0, 1))

    def boxes(self) -> list[tuple[list[int], tuple[list[int], list[int]], Two]]:
        """What is moved: extents, strides in the planes and in the windows, first elements."""
        plane = laid_out((self.samples, self.channels, *self.size), self.layout)
        n, c, h, w = in_order(strides_of(plane), self.layout)
        sample, channel, a, b = in_order(strides_of(self.shape), self.layout)
        down, across = self.counts
        of_plane = [n, self.stride[0] * h, self.stride[1] * w, c, h, w]
        of_windows = [down * across * sample, across * sample, sample, channel, a, b]
        made = []
        for (i, rows, height), (j, columns, width) in itertools.product(self.spans(0), self.spans(1)):
            extents = [self.samples, rows, columns, self.channels, height, width]
            first = i * of_plane[1] + j * of_plane[2], i * of_windows[1] + j * of_windows[2]
            made.append((extents, (of_plane, of_windows), first))
        return made


def windows_shape(shape: Sequence[int], window: Two, stride: Two, layout: Layout = "NCHW") -> tuple[int, ...]:
    """The shape that `space_to_batch` makes of x's: as many windows as cover the plane, each a sample of its own."""
    return _windows("windows_shape", shape, window, stride, layout).shape


def space_to_batch(stream: Stream, x: Operand, y: Operand, stride: Two, layout: Layout = "NCHW") -> None:
    """Each window of x's planes becomes a sample of y: sample (n rows + i) columns + j begins at (i, j) strides.

    The window is what y's shape says, see `windows_shape`; zeros stand where the last ones go beyond the plane.
    """
    source, target = pair("space_to_batch", x, y, stream)
    windows = _between("space_to_batch", source, target, stride, layout)
    if windows.cut:
        fill(stream, target, 0)
    for extents, strides, first in windows.boxes():
        move(stream, source, target, extents, strides, first)


def batch_to_space(stream: Stream, y: Operand, x: Operand, stride: Two, layout: Layout = "NCHW") -> None:
    """Each sample of y is put back, or where windows overlap added, where `space_to_batch` took it: its gradient.

    Zeros stand where no window lies. Overlapping windows are summed in float32; they need floating-point numbers.
    """
    source, target = pair("batch_to_space", y, x, stream)
    windows = _between("batch_to_space", target, source, stride, layout)
    if windows.overlap:
        _sum(stream, source, target, windows)
        return
    if not windows.cover:
        fill(stream, target, 0)
    for extents, strides, first in windows.boxes():
        move(stream, source, target, extents, strides[::-1], first[::-1])


def _sum(stream: Stream, y: DeviceArray, x: DeviceArray, windows: Windows) -> None:
    defines = {"T": checks.float_type("batch_to_space", y=y, x=x), "LAST": int(windows.layout == "NHWC")}
    numbers = [windows.channels, *windows.size, *windows.counts, *windows.window, *windows.stride]
    if x.size:
        launch(stream, "sum_windows", min(-(-x.size // THREADS), 65535), [y, x, x.size, *numbers], defines)


def _between(what: str, x: DeviceArray, y: DeviceArray, stride: Two, layout: Layout) -> Windows:
    if len(y.shape) != 4:
        raise ValueError(f"{what}: the windows {y} have to have 4 axes")
    _, _, *window = in_order(y.shape, layout)
    windows = _windows(what, x.shape, (window[0], window[1]), stride, layout)
    checks.has_shape(what, "the batch of windows", y, windows.shape)
    return windows


def _windows(what: str, shape: Sequence[int], window: Two, stride: Two, layout: Layout) -> Windows:
    if len(shape) != 4 or layout not in LAYOUTS:
        raise ValueError(f"{what}: shape {tuple(shape)} in layout {layout!r}: 4 axes in one of {', '.join(LAYOUTS)}")
    if min(*window, *stride) < 1:
        raise ValueError(f"{what}: windows of {window} with stride {stride}")
    n, c, height, width = in_order(shape, layout)
    return Windows(n, c, (height, width), window, stride, layout)


def laid_out(numbers: Sequence[int], layout: Layout) -> tuple[int, ...]:
    """Numbers of N, C and the spatial axes in the order of a layout."""
    n, c, *rest = numbers
    return (n, c, *rest) if layout == "NCHW" else (n, *rest, c)


def in_order(numbers: Sequence[int], layout: Layout) -> list[int]:
    """Numbers in the order of a layout as N, C and the spatial axes."""
    return list(numbers) if layout == "NCHW" else [numbers[0], numbers[-1], *numbers[1:-1]]
