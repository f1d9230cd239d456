"""Images of bytes as the floating-point numbers that a network takes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from gocudnn_py.xtra import checks
from gocudnn_py.xtra.array import DeviceArray, Operand, operands
from gocudnn_py.xtra.boxes import alignment
from gocudnn_py.xtra.launcher import THREADS, launch
from gocudnn_py.xtra.windows import LAYOUTS, Layout, in_order

if TYPE_CHECKING:
    from gocudnn_py.cuda import Stream

MOST_CHANNELS = 4
PIXELS, RUNS = 4, 2  # that lie together in what a thread takes, and of how many such runs, in kernels/xtra/images.cu


def normalize_images(
    stream: Stream,
    images: Operand,
    y: Operand,
    mean: Sequence[float] = (0.0,),
    std: Sequence[float] = (1.0,),
    scale: float = 1 / 255,
    layout: Layout = "NHWC",
    y_layout: Layout = "NCHW",
) -> None:
    """y = (scale images - mean) / std for uint8 images of 1 to 4 channels, from one layout to the same or the other.

    One mean and std for all channels, or one for each. They become a factor and an offset of float32 beforehand.
    """
    what = "normalize_images"
    source, target = operands(what, stream, images=images, y=y)
    defines = _check(what, source, target, layout, y_layout)
    n, channels, *size = in_order(source.shape, layout)
    plane, numbers = math.prod(size), _numbers(what, channels, mean, std, scale)
    if not source.size:
        return
    defines |= {"CHANNELS": channels, **checks.index_type(source.size)}
    if layout == y_layout:
        along = [plane if layout == "NCHW" else 1, source.size, checks.packed(source, target)]
        launch(stream, what, checks.tiles(target), [source, target, *along, *numbers], defines)
        return
    packed = alignment(plane, source.address, target.address // target.dtype.itemsize) % PIXELS == 0
    defines |= {"X_LAST": int(layout == "NHWC"), "Y_LAST": int(y_layout == "NHWC"), "PACKED": int(packed)}
    blocks = -(-n * plane // (THREADS * PIXELS * RUNS))
    launch(stream, "turn_images", blocks, [source, target, n * plane, plane, *numbers], defines)


def _check(what: str, images: DeviceArray, y: DeviceArray, layout: Layout, y_layout: Layout) -> dict[str, object]:
    """What the kernels are compiled with. Raises TypeError or ValueError for arrays that do not fit."""
    checks.c_type(f"{what}: images", images.dtype, ("uint8",))
    kind = checks.float_type(what, y=y)
    if len(images.shape) != 4 or len(y.shape) != 4 or {layout, y_layout} - set(LAYOUTS):
        raise ValueError(f"{what}: {images} in {layout!r} to {y} in {y_layout!r}; 4 axes in {' or '.join(LAYOUTS)}")
    if in_order(images.shape, layout) != in_order(y.shape, y_layout):
        raise ValueError(f"{what}: {images} in {layout} does not fit {y} in {y_layout}")
    checks.apart(what, ("y", y), ("images", images))
    return {"T": kind}


def _numbers(what: str, channels: int, mean: Sequence[float], std: Sequence[float], scale: float) -> list[float]:
    """The factors and offsets of four channels. Raises ValueError for numbers that are not there for each."""
    if not 1 <= channels <= MOST_CHANNELS:
        raise ValueError(f"{what}: images of {channels} channels; there may be 1 to {MOST_CHANNELS}")
    if {len(mean), len(std)} - {1, channels}:
        raise ValueError(f"{what}: {len(mean)} means and {len(std)} deviations for {channels} channels")
    if not all(std):
        raise ValueError(f"{what}: a deviation of 0 in {tuple(std)}")
    means, deviations = (list(values) * channels if len(values) == 1 else list(values) for values in (mean, std))
    factors = [scale / deviation for deviation in deviations]
    offsets = [-centre / deviation for centre, deviation in zip(means, deviations, strict=True)]
    missing = [0.0] * (MOST_CHANNELS - channels)
    return [*factors, *missing, *offsets, *missing]
