"""Images on a card: where the pixels lie, how far apart, and regions of them."""

from __future__ import annotations

import ctypes
import operator
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from gocudnn_py import driver
from gocudnn_py._abi.npp import NppiPoint, NppiRect, NppiSize
from gocudnn_py.cuda import DeviceBuffer, Stream
from gocudnn_py.cuda.copies import Box, copy_box
from gocudnn_py.npp.foreign import Address, read_interface

Array = npt.NDArray[Any]
Region = tuple[int, int, int, int]
INT32_MAX = 2**31 - 1
MOST_CHANNELS = 4
CODES = {"uint8": "8u", "uint16": "16u", "int16": "16s", "int32": "32s", "uint32": "32u", "float32": "32f"}
"""NPP's words for the types of pixels, as they stand in the names of its functions."""


@dataclass(frozen=True, eq=False)
class Image:
    """Pixels on a card; one with `x`, `y` and `whole`, its width and height, is a region of a larger image.

    `place` is a DeviceBuffer, other memory with a `pointer`, or an address. Rows are `pitch` bytes apart, the planes
    of a planar image `plane` bytes; 0 leaves no gap. Raises ValueError or TypeError, UnusableResource when the memory
    is closed.
    """

    place: Any
    width: int
    height: int
    channels: int = 1
    dtype: Any = np.uint8
    planar: bool = False
    pitch: int = 0
    plane: int = 0
    x: int = 0
    y: int = 0
    whole: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        for name in ("width", "height", "channels", "pitch", "plane", "x", "y"):
            self._set(name, operator.index(getattr(self, name)))
        self._set("dtype", np.dtype(self.dtype))
        if self.dtype.name not in CODES or not self.dtype.isnative:
            raise TypeError(f"an image of {self.dtype}; NPP has {', '.join(CODES)}")
        self._check_sizes()
        self._set("planar", self.planar and self.channels > 1)
        self._set("whole", self.whole if any(self.whole) else (self.x + self.width, self.y + self.height))
        self._set("pitch", self.pitch or self.whole[0] * self.pixel)
        self._set("plane", self.plane or self.whole[1] * self.pitch)
        self._check_rows()
        if isinstance(self.place, int):
            self._set("place", Address(self.place, self.nbytes))
        if self.place.nbytes < self.nbytes:
            raise ValueError(f"{self} takes {self.nbytes} bytes, its memory has {self.place.nbytes}")

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    def _check_sizes(self) -> None:
        if not (1 <= self.width <= INT32_MAX and 1 <= self.height <= INT32_MAX):
            raise ValueError(f"an image of {self.width} x {self.height} pixels")
        if not 1 <= self.channels <= MOST_CHANNELS:
            raise ValueError(f"an image of {self.channels} channels; NPP has 1 to {MOST_CHANNELS}")

    def _check_rows(self) -> None:
        wide, high = self.whole
        if min(self.x, self.y) < 0 or self.x + self.width > wide or self.y + self.height > high:
            raise ValueError(
                f"region {self.width} x {self.height} at ({self.x}, {self.y}) is not inside {wide} x {high} pixels"
            )
        if not wide * self.pixel <= self.pitch <= INT32_MAX or self.pitch % self.dtype.itemsize:
            raise ValueError(
                f"rows of {wide * self.pixel} bytes cannot lie {self.pitch} bytes apart (pixels of {self.pixel} bytes)"
            )
        if self.plane < (high - 1) * self.pitch + wide * self.pixel or self.plane % self.pitch:
            raise ValueError(
                f"planes of {high} rows, {self.pitch} bytes each, cannot lie {self.plane} bytes apart; "
                "whole rows have to lie between them"
            )

    @classmethod
    def empty(
        cls,
        stream: Stream,
        width: int,
        height: int,
        channels: int = 1,
        dtype: npt.DTypeLike = np.uint8,
        *,
        planar: bool = False,
        pitch: int = 0,
    ) -> Self:
        """An image in new memory, its pixels not set (cuMemAllocFromPoolAsync)."""
        shape = cls(0, width, height, channels, dtype, planar, pitch)
        return replace(shape, place=DeviceBuffer(stream, shape.nbytes))

    @classmethod
    def from_numpy(
        cls, stream: Stream, array: Array, *, channels_first: bool = False, planar: bool | None = None, pitch: int = 0
    ) -> Self:
        """A copy of an array (height, width), (height, width, channels) or, `channels_first`, channels before both.

        Channels lie on the card as in the array, unless `planar` says otherwise (cuMemcpy2DAsync_v2).
        """
        sizes = array.shape if array.ndim == 3 else (1, *array.shape) if channels_first else (*array.shape, 1)
        if len(sizes) != 3:
            raise ValueError(f"an array of shape {array.shape} is no image: (H, W), (H, W, C) or (C, H, W)")
        channels, height, width = sizes if channels_first else (sizes[2], sizes[0], sizes[1])
        planar = channels_first if planar is None else planar
        image = cls.empty(stream, width, height, channels, array.dtype, planar=planar, pitch=pitch)
        image.upload(stream, array, channels_first=channels_first)
        return image

    @classmethod
    def from_cuda(cls, stream: Stream, array: Any, *, channels_first: bool = False) -> Self:
        """The memory of an array of another library, which is held; waits for its stream (cuStreamSynchronize).

        Anything with `__cuda_array_interface__`, of the shapes that `from_numpy` takes; rows may lie apart.
        """
        found = read_interface(array, channels_first)
        if found.stream not in (None, stream.handle):
            stream.device.enter()
            driver.call("cuStreamSynchronize", ctypes.c_void_p(found.stream))
        image = cls(0, *found.sizes, found.dtype, found.planar, found.pitch, found.plane)
        return replace(image, place=Address(found.pointer, image.nbytes, array, readonly=found.readonly))

    def view(self, x: int, y: int, width: int, height: int) -> Self:
        """A region of it, in the same memory: what NPP calls a region of interest."""
        if min(x, y) < 0 or x + width > self.width or y + height > self.height:
            raise ValueError(f"region {width} x {height} at ({x}, {y}) is not inside {self.width} x {self.height}")
        return replace(self, x=self.x + x, y=self.y + y, width=width, height=height)

    @property
    def pixel(self) -> int:
        """Bytes from one pixel of a row to the next."""
        return int(self.dtype.itemsize) * (1 if self.planar else self.channels)

    @property
    def planes(self) -> int:
        """How many planes it has: one, unless it is planar."""
        return self.channels if self.planar else 1

    @property
    def nbytes(self) -> int:
        """Bytes from the first to the last pixel of the whole image."""
        rows = (self.whole[1] - 1) * self.pitch + self.whole[0] * self.pixel
        return (self.planes - 1) * self.plane + rows

    @property
    def code(self) -> str:
        """NPP's word for its type, "8u" say."""
        return CODES[self.dtype.name]

    @property
    def layout(self) -> str:
        """NPP's word for its channels: "C3" when they lie side by side, "P3" in planes."""
        return f"{'P' if self.planar else 'C'}{self.channels}"

    @property
    def packed(self) -> bool:
        """Whether it is a whole image without gaps between the rows."""
        return self.pitch == self.width * self.pixel and self.whole == (self.width, self.height)

    @property
    def ordinal(self) -> int | None:
        """The number of its GPU; None when any reaches it, or it is not known."""
        number: int | None = getattr(self.place, "ordinal", None)
        return number

    @property
    def readonly(self) -> bool:
        """Whether its memory is another library's, which forbids writing it."""
        return bool(getattr(self.place, "readonly", False))

    @property
    def region(self) -> Region:
        """(x, y, width, height) within the whole image."""
        return self.x, self.y, self.width, self.height

    @property
    def size(self) -> NppiSize:
        """Its width and height, as NPP takes them."""
        return NppiSize(self.width, self.height)

    @property
    def extent(self) -> NppiSize:
        """The width and height of the whole image."""
        return NppiSize(*self.whole)

    @property
    def corner(self) -> NppiPoint:
        """Where it begins in the whole image."""
        return NppiPoint(self.x, self.y)

    @property
    def rectangle(self) -> NppiRect:
        """`region`, as NPP takes it."""
        return NppiRect(*self.region)

    @property
    def start(self) -> Any:
        """The address of its first pixel; of a planar image an array with that of each plane."""
        return self._addresses(self.y * self.pitch + self.x * self.pixel)

    @property
    def origin(self) -> Any:
        """The same of the whole image that it is a region of."""
        return self._addresses(0)

    def _addresses(self, offset: int) -> Any:
        first = self.place.pointer + offset
        if not self.planar:
            return first
        return (ctypes.c_void_p * self.planes)(*(first + number * self.plane for number in range(self.planes)))

    def shape(self, channels_first: bool) -> tuple[int, ...]:
        """The shape of its array on the host: (height, width) when it has one channel."""
        if self.channels == 1:
            return self.height, self.width
        sizes = self.height, self.width
        return (self.channels, *sizes) if channels_first else (*sizes, self.channels)

    def upload(self, stream: Stream, array: Array, *, channels_first: bool | None = None) -> None:
        """Copy an array into it; returns when the array may change (cuMemcpy2DAsync_v2, cuStreamSynchronize).

        Channels come first for a planar image, last for others, unless said. Raises ValueError, TypeError.
        """
        first = self.planar if channels_first is None else channels_first
        if array.dtype != self.dtype:
            raise TypeError(f"{self} takes no {array.dtype}")
        if array.shape != self.shape(first):
            raise ValueError(f"{self} takes an array of shape {self.shape(first)}, not {array.shape}")
        rows = np.ascontiguousarray(_moved(array, first, self.planar)).view(np.uint8)
        for number, plane in enumerate(rows.reshape(self.planes, self.height, -1)):
            copy_box(stream, self._box(number), Box.of(plane), plane.shape[::-1])

    def numpy(self, stream: Stream, *, channels_first: bool | None = None) -> Array:
        """Its pixels, after what the stream has to do (cuMemcpy2DAsync_v2, cuStreamSynchronize)."""
        first = self.planar if channels_first is None else channels_first
        rows = np.empty((self.planes, self.height, self.width * self.pixel), np.uint8)
        for number, plane in enumerate(rows):
            copy_box(stream, Box.of(plane), self._box(number), plane.shape[::-1])
        return _moved(rows.view(self.dtype).reshape(self.shape(self.planar)), self.planar, first)

    def _box(self, number: int) -> Box:
        y = number * (self.plane // self.pitch) + self.y
        return Box(self.place, self.pitch, x=self.x * self.pixel, y=y)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        strides: tuple[int, ...] = (self.pitch, self.pixel)
        if self.channels > 1:
            strides = (self.plane, *strides) if self.planar else (*strides, self.dtype.itemsize)
        first = self._addresses(self.y * self.pitch + self.x * self.pixel)
        stream = getattr(self.place, "stream", None)
        return {
            "version": 3,
            "shape": self.shape(self.planar),
            "typestr": self.dtype.str,
            "data": (first[0] if self.planar else first, self.readonly),
            "strides": strides,
            "stream": getattr(stream, "handle", None),
        }

    def __repr__(self) -> str:
        sizes = f"{self.width} x {self.height} {self.dtype} {self.layout}"
        if self.whole in ((0, 0), (self.width, self.height)):
            return f"Image({sizes})"
        return f"Image({sizes} at ({self.x}, {self.y}) of {self.whole[0]} x {self.whole[1]})"


def _moved(array: Array, first: bool, wanted: bool) -> Array:
    """The array with its channels first, or last, as wanted."""
    if array.ndim == 2 or first == wanted:
        return array
    return np.moveaxis(array, -1, 0) if wanted else np.moveaxis(array, 0, -1)
