"""What the tests of NPP on a card share: images, a case for each bound function, and pixels that follow a plane."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest

from gocudnn_py._abi.npp import FUNCTIONS
from gocudnn_py.errors import LibraryNotFound
from gocudnn_py.library import load
from gocudnn_py.npp import Image
from gocudnn_py.npp.image import CODES
from gocudnn_py.parts import NPP

if TYPE_CHECKING:
    from gocunets.backends.cudnn import CudaBackend

Array = np.ndarray[Any, Any]
NAMES = {code: name for name, code in CODES.items()}
HIGH, WIDE = 13, 21  # odd, so that no row is as long as a power of two


class Variant(NamedTuple):
    """One function of a family: the types, channels and planes of its source and its target."""

    name: str
    types: tuple[str, str]
    channels: tuple[int, int]
    planar: tuple[bool, bool]

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(self.types[0])

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of an array for the source, its channels last."""
        return (HIGH, WIDE) if self.channels[0] == 1 else (HIGH, WIDE, self.channels[0])


def variants(
    family: str, ending: str = "R", *more: str, types: str = r"[\dusf]+", layout: str = r"A?(?:[CP]\d)+"
) -> Any:
    """A parameter for each bound function of a family, marked with it.

    `more` are further functions that are called with it; {} in them stands for its types and channels.
    """
    found = [re.fullmatch(rf"nppi{family}_({types})_({layout}){ending}_Ctx", name) for name in FUNCTIONS]
    cases = [_variant(match) for match in found if match]
    assert cases, family
    suffixes = [case.name.removeprefix(f"nppi{family}_") for case in cases]
    marked = [
        pytest.mark.covers(case.name, *(each.format(suffix) for each in more))
        for case, suffix in zip(cases, suffixes, strict=True)
    ]
    ids = [case.name.removeprefix("nppi").removesuffix("_Ctx") for case in cases]
    return [pytest.param(case, marks=mark, id=id) for case, mark, id in zip(cases, marked, ids, strict=True)]


def _variant(match: re.Match[str]) -> Variant:
    codes = re.findall(r"\d+[a-z]", match[1])
    layouts = re.findall(r"[CP]\d", match[2])
    types = NAMES[codes[0]], NAMES[codes[-1]]
    channels = int(layouts[0][1]), int(layouts[-1][1])
    planar = layouts[0][0] == "P", layouts[-1][0] == "P"
    return Variant(match[0], types, channels, planar)


class Card:
    """Images on the card and back. Skips where NPP is not."""

    def __init__(self, backend: CudaBackend) -> None:
        self.stream = backend.stream
        try:
            for header in NPP:
                load("npp").parts.need(header)  # type: ignore[union-attr]
        except LibraryNotFound as error:
            pytest.skip(str(error).splitlines()[0])

    def put(self, array: Array, *, planar: bool = False, pitch: int = 0) -> Image:
        """An array with its channels last, on the card."""
        return Image.from_numpy(self.stream, array, planar=planar, pitch=pitch)

    def like(self, array: Array, *, planar: bool = False, dtype: Any = None) -> Image:
        """An image of the shape of an array, full of pixels that no test expects."""
        return self.put(np.full(array.shape, 77, dtype or array.dtype), planar=planar)

    def source(self, variant: Variant, array: Array) -> Image:
        return self.put(array, planar=variant.planar[0])

    def target(self, variant: Variant, height: int = HIGH, width: int = WIDE) -> Image:
        """An image for the result of a function, full of 77."""
        channels = variant.channels[1]
        shape = (height, width) if channels == 1 else (height, width, channels)
        return self.put(np.full(shape, 77, variant.types[1]), planar=variant.planar[1])

    def get(self, image: Image) -> Array:
        """The pixels, channels last."""
        return image.numpy(self.stream, channels_first=False)


def pixels(shape: tuple[int, ...], dtype: Any, seed: int = 0, most: int | None = None) -> Array:
    """Whole numbers from 0 to 255, or to the most of a 16-bit type, of any type."""
    kind = np.dtype(dtype)
    if most is None:
        most = int(np.iinfo(kind).max) if kind.itemsize == 2 else 255
    return np.random.default_rng(seed).integers(0, most + 1, shape).astype(kind)


def plane(shape: tuple[int, ...], dtype: Any) -> Array:
    """Pixels that rise along x and y, so that between them lies what every interpolation has to find."""
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float64)
    return (
        np.stack([_height(x, y, channel) for channel in range(_channels(shape))], axis=-1).reshape(shape).astype(dtype)
    )


def on_plane(x: Array, y: Array, shape: tuple[int, ...]) -> Array:
    """What `plane` is at coordinates of the source, for all channels."""
    return np.stack([_height(x, y, channel) for channel in range(_channels(shape))], axis=-1).reshape(
        *x.shape, *shape[2:]
    )


def _channels(shape: tuple[int, ...]) -> int:
    return shape[2] if len(shape) == 3 else 1


def _height(x: Array, y: Array, channel: int) -> Array:
    return 20.0 + 4 * channel + 2 * x + 3 * y


def around(array: Array, y: int, x: int) -> Array:
    """The array with `y` more rows and `x` more columns on each side, copies of its edge."""
    return np.pad(array, [(y, y), (x, x), *[(0, 0)] * (array.ndim - 2)], mode="edge")


def windows(array: Array, height: int, width: int) -> Array:
    """The pixels around each, last two axes `height` by `width`; the edge goes on outside."""
    padded = around(array, height // 2, width // 2)
    return np.lib.stride_tricks.sliding_window_view(padded, (height, width), axis=(0, 1))


def off_by_less_than_two(found: Array, right: Array) -> bool:
    """Whether whole numbers agree with exact ones, however they were rounded; NPP's constants have few digits."""
    return bool((np.abs(found.astype(np.float64) - right) < 1.1).all())
