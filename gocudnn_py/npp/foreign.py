"""Memory and arrays of other libraries, as images can lie in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from gocudnn_py.cuda import Stream


@dataclass(frozen=True)
class Address:
    """Device memory of someone else; `owner` is kept alive."""

    pointer: int
    nbytes: int
    owner: object = None
    ordinal: int | None = None
    readonly: bool = False

    def used_on(self, stream: Stream) -> None:
        """Nothing to note: its owner waits for no stream of ours, so synchronise before giving it back."""


class Interface(NamedTuple):
    """What `__cuda_array_interface__` says of an image; `sizes` are width, height, channels, `stream` its handle."""

    pointer: int
    sizes: tuple[int, int, int]
    dtype: np.dtype[Any]
    planar: bool
    pitch: int
    plane: int
    stream: int | None
    readonly: bool


def read_interface(array: Any, channels_first: bool) -> Interface:
    """An image as another library describes it: (H, W), (H, W, C) or (C, H, W). Raises ValueError."""
    found = array.__cuda_array_interface__
    shape, dtype = tuple(found["shape"]), np.dtype(found["typestr"])
    if len(shape) not in (2, 3):
        raise ValueError(f"an array of shape {shape} is no image: (H, W), (H, W, C) or (C, H, W)")
    strides = tuple(found.get("strides") or _contiguous(shape, dtype.itemsize))
    planar = channels_first and len(shape) == 3
    height, width = shape[1:] if planar else shape[:2]
    channels = 1 if len(shape) == 2 else shape[0 if planar else 2]
    pitch, pixel = strides[1:] if planar else strides[:2]
    if pixel != dtype.itemsize * (1 if planar else channels) or strides[-1] != dtype.itemsize:
        raise ValueError(f"the pixels of an array of shape {shape} with strides {strides} do not lie side by side")
    plane = strides[0] if planar else 0
    sizes, (pointer, readonly) = (width, height, channels), found["data"]
    return Interface(pointer, sizes, dtype, planar, pitch, plane, found.get("stream"), bool(readonly))


def _contiguous(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    strides = [itemsize]
    for length in reversed(shape[1:]):
        strides.insert(0, strides[0] * length)
    return tuple(strides)
