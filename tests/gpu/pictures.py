"""Pictures, and Pillow, which makes JPEGs of them and reads them again."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image as Pillow

Array = np.ndarray[Any, Any]
SIZE = 123, 77
NAMES = {"444": 0, "422": 1, "420": 2}  # Pillow's numbers of chroma subsampling
# Mean differences of decoded pixels. In full colour two decoders differ by rounding, of the inverse transform and of
# the colours: less than 0.6. Pillow smooths colours of lower resolution, nvJPEG repeats them: on these pictures that
# makes 1.1, and with the rounding less than 2.
BOUNDS = {"444": 0.6, "422": 2.0, "420": 2.0}


def photo(width: int = SIZE[0], height: int = SIZE[1], seed: int = 0) -> Array:
    """A picture of smooth colours and some noise, as cameras make it: (height, width, 3) of uint8."""
    y, x = np.mgrid[:height, :width].astype(np.float64) + 3 * seed
    waves = 90 * np.sin(x / 19 + y / 31), 80 * np.cos(y / 23 - x / 41), 70 * np.sin((x + y) / 29)
    noise = np.random.default_rng(seed).normal(0, 3, (height, width, 1))
    return np.clip(127 + np.stack(waves, axis=-1) + noise, 0, 255).round().astype(np.uint8)


def made(picture: Array, mode: str = "RGB", **options: Any) -> bytes:
    """A JPEG that Pillow makes, of quality 90 unless said."""
    out = io.BytesIO()
    options = {"quality": 90} | options
    Pillow.fromarray(picture).convert(mode).save(out, "JPEG", **options)
    return out.getvalue()


def opened(data: bytes) -> Any:
    """A JPEG as Pillow opens it."""
    return Pillow.open(io.BytesIO(data))


def read(data: bytes, mode: str | None = None) -> Array:
    """A JPEG as Pillow decodes it; `mode` "L" or "YCbCr" are the components as they are stored."""
    picture = opened(data)
    if mode is not None:
        picture.draft(mode, picture.size)
        assert picture.mode == mode
    return np.asarray(picture)


def difference(one: Array, other: Array) -> float:
    """The mean absolute difference of two pictures of one shape."""
    assert one.shape == other.shape
    return float(np.abs(one.astype(np.float64) - other.astype(np.float64)).mean())


def decibels(one: Array, other: Array) -> float:
    """The peak signal to noise ratio of two pictures of one shape."""
    assert one.shape == other.shape
    return float(10 * np.log10(255**2 / np.square(one.astype(np.float64) - other.astype(np.float64)).mean()))


def halved(plane: Array, across: int, down: int) -> Array:
    """A plane at the resolution of stored colours, by means; edges are repeated."""
    plane = np.pad(plane, ((0, -plane.shape[0] % down), (0, -plane.shape[1] % across)), mode="edge")
    height, width = plane.shape[0] // down, plane.shape[1] // across
    means: Array = plane.reshape(height, down, width, across).astype(np.float64).mean(axis=(1, 3))
    return means
