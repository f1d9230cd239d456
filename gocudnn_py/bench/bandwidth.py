"""How much of a copy's bandwidth our kernels reach: `python -m gocudnn_py.bench.bandwidth` prints rows as JSON.

Bytes that a kernel has to read and write, once each, by the time it takes, against a device-to-device copy of as many
bytes as the array has in the same run.
"""

from __future__ import annotations

import argparse
import itertools
import json
import re
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gocudnn_py import xtra
from gocudnn_py.xtra import DeviceArray, TensorList

if TYPE_CHECKING:
    from gocudnn_py.cuda import Stream

DTYPES = ("float32", "float16", "bfloat16")
CHANNELS, PLANE = 64, 128
ROUNDS, LAUNCHES = 7, 5
GOAL = 0.9


@dataclass(frozen=True)
class Work:
    """What is timed: a name, the bytes that have to be read and written, and the launch."""

    name: str
    nbytes: int
    run: Callable[[Stream], None]


class Arrays:
    """Arrays of one type of about `nbytes` each, as a batch of planes."""

    def __init__(self, stream: Stream, dtype: str, nbytes: int) -> None:
        self.stream, self.dtype = stream, dtype
        itemsize = 4 if dtype == "float32" else 2
        samples = max(1, nbytes // (CHANNELS * PLANE * PLANE * itemsize))
        self.shape = (samples, CHANNELS, PLANE, PLANE)
        self.x, self.y, self.z = (self.empty(self.shape) for _ in range(3))
        xtra.normal(stream, self.x, seed=1)
        xtra.normal(stream, self.y, seed=2)
        self.nbytes, self.size = self.x.nbytes, self.x.size

    def empty(self, shape: tuple[int, ...], dtype: str | None = None) -> DeviceArray:
        """Room for an array."""
        return DeviceArray.empty(self.stream, shape, dtype or self.dtype)

    def shifted(self, array: DeviceArray) -> DeviceArray:
        """All but the first element, so that nothing is aligned."""
        return DeviceArray(array.place, (array.size - 1,), array.dtype, array.dtype.itemsize)


def works(arrays: Arrays) -> Iterator[Work]:
    """Every kernel over large arrays of one type."""
    yield from _movement(arrays)
    yield from _elementwise(arrays)
    yield from _activations(arrays)
    yield from _resizing(arrays)
    yield from _losses(arrays)
    yield from _updates(arrays)
    yield from _images(arrays)
    yield from _random(arrays)


def _movement(of: Arrays) -> Iterator[Work]:
    x, z, both = of.x, of.z, 2 * of.nbytes
    n, c, h, w = of.shape
    last, matrix = z.reshape(n, h, w, c), (n * c, h * w)
    yield Work("copy", both, lambda s: xtra.copy(s, x, z))
    yield Work(
        "transpose of a matrix", both, lambda s: xtra.transpose(s, x.reshape(*matrix), z.reshape(*matrix[::-1]), (1, 0))
    )
    yield Work("transpose (2, 0, 3, 1)", both, lambda s: xtra.transpose(s, x, z.reshape(h, n, w, c), (2, 0, 3, 1)))
    yield Work("NCHW to NHWC", both, lambda s: xtra.to_nhwc(s, x, last))
    yield Work("NHWC to NCHW", both, lambda s: xtra.to_nchw(s, x.reshape(n, h, w, c), z))
    halves = [of.empty((n, c // 2, h, w)) for _ in range(2)]
    yield Work("concatenation, NCHW", both, lambda s: xtra.concatenate(s, halves, z, 1))
    lasts = [half.reshape(n, h, w, c // 2) for half in halves]
    yield Work("concatenation, NHWC", both, lambda s: xtra.concatenate(s, lasts, last, -1))
    yield Work("split, NCHW", both, lambda s: xtra.split(s, x, halves, 1))
    windows = z.reshape(n * (h // 8) * (w // 8), c, 8, 8)
    yield Work("space to batch", both, lambda s: xtra.space_to_batch(s, x, windows, (8, 8)))
    yield Work("batch to space", both, lambda s: xtra.batch_to_space(s, windows, x, (8, 8)))
    yield Work("exchange of every other sample", both, lambda s: xtra.swap_every_other(s, x, z))
    index = of.empty((n * c,), "int32")
    index.upload(np.random.default_rng(0).permutation(n * c).astype(np.int32))
    rows = x.reshape(*matrix)
    yield Work("rows taken", both, lambda s: xtra.take_rows(s, rows, index, z.reshape(*matrix)))


def _elementwise(of: Arrays) -> Iterator[Work]:
    x, y, z, size = of.x, of.y, of.z, of.size
    wide, narrow = of.empty((size // 2,), "float32"), of.empty((size // 2,), "float16")
    off, to = of.shifted(x), of.shifted(z)
    yield Work("fill", of.nbytes, lambda s: xtra.fill(s, z, 0.5))
    yield Work("scale", 2 * of.nbytes, lambda s: xtra.scale(s, x, z, 0.5))
    yield Work("scale, nothing aligned", 2 * of.nbytes, lambda s: xtra.scale(s, off, to.rows(0, size - 1), 0.5))
    yield Work("add", 3 * of.nbytes, lambda s: xtra.add(s, x, y, z, 0.5, 2.0))
    yield Work("cast, float16 to float32", 6 * (size // 2), lambda s: xtra.cast(s, narrow, wide))
    yield Work("cast, float32 to float16", 6 * (size // 2), lambda s: xtra.cast(s, wide, narrow))


def _activations(of: Arrays) -> Iterator[Work]:
    x, y, z, last = of.x, of.y, of.z, of.x.reshape(of.shape[0], PLANE, PLANE, CHANNELS)
    slopes, sums = of.empty((CHANNELS,)), of.empty((CHANNELS,))
    xtra.fill(of.stream, slopes, 0.25)
    yield Work("leaky ReLU", 2 * of.nbytes, lambda s: xtra.leaky_relu(s, x, z))
    yield Work("gradient of leaky ReLU", 3 * of.nbytes, lambda s: xtra.leaky_relu_backward(s, x, y, z))
    yield Work("PReLU, NCHW", 2 * of.nbytes, lambda s: xtra.prelu(s, x, slopes, z))
    yield Work("PReLU, NHWC", 2 * of.nbytes, lambda s: xtra.prelu(s, last, slopes, z.reshape(*last.shape), -1))
    yield Work("gradient of PReLU", 3 * of.nbytes, lambda s: xtra.prelu_backward(s, x, slopes, y, z))
    yield Work(
        "gradient of the slopes, NCHW", 2 * of.nbytes, lambda s: xtra.prelu_backward(s, x, slopes, y, dslopes=sums)
    )
    up = y.reshape(*last.shape)
    yield Work(
        "gradient of the slopes, NHWC",
        2 * of.nbytes,
        lambda s: xtra.prelu_backward(s, last, slopes, up, dslopes=sums, axis=-1),
    )


def _resizing(of: Arrays) -> Iterator[Work]:
    n, c, h, w = of.shape
    small, large = of.empty((n, c, h // 2, w // 2)), of.z
    lasts = small.reshape(n, h // 2, w // 2, c), large.reshape(n, h, w, c)
    nbytes = small.nbytes + large.nbytes
    yield Work("nearest to twice, NCHW", nbytes, lambda s: xtra.resize(s, small, large))
    yield Work("nearest to twice, NHWC", nbytes, lambda s: xtra.resize(s, *lasts, layout="NHWC"))
    yield Work("gradient of nearest", nbytes, lambda s: xtra.resize_backward(s, large, small))
    yield Work("bilinear to twice, NCHW", nbytes, lambda s: xtra.resize(s, small, large, "bilinear"))
    yield Work("bilinear to twice, NHWC", nbytes, lambda s: xtra.resize(s, *lasts, "bilinear", layout="NHWC"))
    yield Work("gradient of bilinear", nbytes, lambda s: xtra.resize_backward(s, large, small, "bilinear"))


def _losses(of: Arrays) -> Iterator[Work]:
    x, y, z, one = of.x, of.y, of.z, of.empty((), "float32")
    yield Work("squared error with its gradient", 3 * of.nbytes, lambda s: xtra.squared_error(s, x, y, one, z))
    for classes in (16, 1024):
        rows = of.size // classes
        labels, losses = of.empty((rows,), "int32"), of.empty((rows,), "float32")
        xtra.fill(of.stream, labels, 1)
        logits, dlogits = x.reshape(rows, classes), z.reshape(rows, classes)
        yield Work(
            f"cross-entropy of {classes} classes with its gradient",
            2 * of.nbytes + 8 * rows,
            lambda s, a=logits, b=labels, c=losses, d=dlogits: xtra.softmax_cross_entropy(s, a, b, c, d),  # type: ignore[misc]
        )


def _updates(of: Arrays) -> Iterator[Work]:
    ws, dws = ([whole.reshape(of.size).rows(a, b) for a, b in _uneven(of.size)] for whole in (of.x, of.y))
    tensors, penalties = TensorList(of.stream, ws, dws, moments=2), of.empty((2,), "float32")
    moments = 8 * of.size
    yield Work("SGD", 3 * of.nbytes, lambda s: xtra.sgd(s, tensors, 1e-3))
    yield Work("momentum", 3 * of.nbytes + moments, lambda s: xtra.momentum(s, tensors, 1e-3))
    yield Work("Adam", 3 * of.nbytes + 2 * moments, lambda s: xtra.adam(s, tensors, 1e-3, 7))
    yield Work("penalties", 3 * of.nbytes, lambda s: xtra.regularize(s, tensors, penalties, 1e-5, 1e-4))


def _uneven(size: int) -> list[tuple[int, int]]:
    """Where tensors of very different sizes begin and end, on lines of memory as allocators give them."""
    ends = {max(256, size // part // 128 * 128) for part in (20, 7, 2)}
    return [(0, 1), (128, 228), *itertools.pairwise(sorted({256, size} | ends))]


def _images(of: Arrays) -> Iterator[Work]:
    shape = of.size // (3 * 224 * 224), 224, 224, 3
    images, y = of.empty(shape, "uint8"), of.empty((shape[0], 3, 224, 224))
    xtra.fill(of.stream, images, 100)
    nbytes = images.nbytes + y.nbytes
    yield Work("images, NHWC to NCHW", nbytes, lambda s: xtra.normalize_images(s, images, y, (0.5,), (0.2,)))
    last = y.reshape(*shape)
    yield Work(
        "images, NHWC to NHWC",
        nbytes,
        lambda s: xtra.normalize_images(s, images, last, (0.5,), (0.2,), y_layout="NHWC"),
    )
    labels, hot = of.empty((of.size // 128,), "int32"), of.z.reshape(of.size // 128, 128)
    yield Work("one-hot", labels.nbytes + hot.nbytes, lambda s: xtra.one_hot(s, labels, hot))


def _random(of: Arrays) -> Iterator[Work]:
    yield Work("uniform numbers", of.nbytes, lambda s: xtra.uniform(s, of.z, seed=1))
    yield Work("normal numbers", of.nbytes, lambda s: xtra.normal(s, of.z, seed=1))


def seconds(stream: Stream, run: Callable[[Stream], None]) -> float:
    """The time of a launch on the card: the median of a few rounds, after one to warm up."""
    from gocudnn_py.cuda import Event

    start, end = Event(stream.device, timing=True), Event(stream.device, timing=True)
    times = []
    for _ in range(ROUNDS + 1):
        start.record(stream)
        for _ in range(LAUNCHES):
            run(stream)
        end.record(stream)
        times.append(end.milliseconds_since(start) / 1e3 / LAUNCHES)
    return statistics.median(times[1:])


def measure(stream: Stream, dtype: str, nbytes: int, wanted: str = "") -> Iterator[dict[str, object]]:
    """A row for each kernel whose name is `wanted` (a regular expression): gigabytes a second, part of the copy's."""
    arrays = Arrays(stream, dtype, nbytes)
    copied = 2 * arrays.nbytes / seconds(stream, lambda s: xtra.copy(s, arrays.x, arrays.z))
    for work in works(arrays):
        if not re.search(wanted, work.name):
            continue
        rate = work.nbytes / seconds(stream, work.run)
        found = {
            "kernel": work.name,
            "dtype": dtype,
            "GB/s": round(rate / 1e9, 1),
            "of a copy": round(rate / copied, 3),
        }
        yield found | {"goal reached": rate >= GOAL * copied}


def main() -> None:
    """Print a row for each kernel and type as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--mebibytes", type=int, default=512, help="size of an array")
    parser.add_argument("--dtypes", default=",".join(DTYPES), help="of the arrays, with commas")
    parser.add_argument("--kernels", default="", help="names that are wanted, as a regular expression")
    chosen = parser.parse_args()
    from gocudnn_py.cuda import Device

    stream = Device().stream()
    size, dtypes = chosen.mebibytes * 2**20, chosen.dtypes.split(",")
    rows = [row for dtype in dtypes for row in measure(stream, dtype, size, chosen.kernels)]
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
