"""Pictures on a GPU, as nvJPEG writes and reads them."""

from __future__ import annotations

from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from gocudnn_py._abi.nvjpeg import ChromaSubsampling, OutputFormat
from gocudnn_py._abi.nvjpeg import Image as Structure
from gocudnn_py.cuda import DeviceBuffer, Stream
from gocudnn_py.cuda.adopt import adopt
from gocudnn_py.nvjpeg.formats import (
    ALL_ALIKE,
    PACKED,
    Format,
    ImageInfo,
    PlaneShape,
    output_format,
    picture,
    plane_shapes,
)

Array = npt.NDArray[Any]


class Plane(NamedTuple):
    """Where a plane begins in the memory, its shape, and the bytes from row to row."""

    offset: int
    shape: PlaneShape
    pitch: int


class Image:
    """A picture in one piece of device memory, written and read in the order of `stream`.

    Numbers are uint8, in format "unchanged_16" uint16. `info` are the components that it was made of, or is of.
    """

    def __init__(self, memory: DeviceBuffer, stream: Stream, format: OutputFormat, info: ImageInfo) -> None:
        self.memory, self.stream, self.format, self.info = memory, stream, format, info
        self.planes = tight(format, info)
        needed = size(self.planes)
        if memory.nbytes < needed:
            shapes = ", ".join(str(tuple(plane.shape)) for plane in self.planes)
            raise ValueError(f"format {format.name} with planes {shapes} needs {needed} bytes, not {memory.nbytes}")

    @classmethod
    def empty(cls, stream: Stream, format: Format, info: ImageInfo) -> Self:
        """Memory for a picture."""
        form = output_format(format)
        return cls(DeviceBuffer(stream, size(tight(form, info))), stream, form, info)

    @classmethod
    def over(cls, stream: Stream, memory: Any, format: Format, info: ImageInfo) -> Self:
        """A picture in memory that is there: a DeviceBuffer, or what `adopt` takes; its planes follow one another.

        Raises ValueError when it is too small.
        """
        buffer = memory if isinstance(memory, DeviceBuffer) else adopt(stream, memory)
        return cls(buffer, stream, output_format(format), info)

    @classmethod
    def of(cls, stream: Stream, array: Any, format: Format = "rgb") -> Self:
        """A picture in an array of uint8 on the GPU, as what `adopt` takes is.

        (height, width, 3) for "rgb" and "bgr", (3, height, width) for "rgb_planar" and "bgr_planar", (height, width)
        for "gray"; for others there is `over`. Raises ValueError or TypeError for another shape or type.
        """
        memory = adopt(stream, array)
        info = described(memory.shape, memory.dtype, format)
        return cls(memory, stream, output_format(format), info)

    @classmethod
    def upload(cls, stream: Stream, array: Array, format: Format = "rgb") -> Self:
        """A copy on the GPU of an array of uint8, whose shape goes by the format as in `of` (cuMemcpyHtoDAsync_v2)."""
        array = np.ascontiguousarray(array)
        image = cls.empty(stream, format, described(array.shape, array.dtype, format))
        image.memory.upload(array)
        return image

    @property
    def width(self) -> int:
        """In pixels."""
        return self.info.width

    @property
    def height(self) -> int:
        """In pixels."""
        return self.info.height

    @property
    def subsampling(self) -> ChromaSubsampling:
        """Of the components that it was made of, or is of."""
        return self.info.subsampling

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of its numbers."""
        return np.dtype(np.uint16 if self.format is OutputFormat.UNCHANGEDI_U16 else np.uint8)

    @property
    def shape(self) -> tuple[int, ...]:
        """(height, width, channels) of a plane, (height, width) with one channel, (planes, height, width) of several.

        Raises AttributeError when planes have different shapes: see `planes`.
        """
        first, *others = (plane.shape for plane in self.planes)
        if any(other != first for other in others):
            raise AttributeError(f"the planes of format {self.format.name} have different shapes")
        height, width, channels = first
        if others:
            return len(self.planes), height, width
        return (height, width) if channels == 1 else (height, width, channels)

    def structure(self) -> Structure:
        """nvjpegImage_t, with the address and the pitch of every plane."""
        made, start = Structure(), self.memory.pointer
        for number, plane in enumerate(self.planes):
            made.channel[number], made.pitch[number] = start + plane.offset, plane.pitch
        return made

    def arrays(self) -> tuple[Array, ...]:
        """Its planes on the host, after what the stream has to do: (height, width, channels) each.

        (cuStreamSynchronize, cuMemcpyDtoHAsync_v2)
        """
        self.stream.synchronize()
        raw = self.memory.download(np.empty(size(self.planes), np.uint8))
        return tuple(
            raw[plane.offset : plane.offset + plane.pitch * plane.shape.height].view(self.dtype).reshape(plane.shape)
            for plane in self.planes
        )

    def download(self) -> Array:
        """The picture on the host, in its `shape` (cuStreamSynchronize, cuMemcpyDtoHAsync_v2)."""
        shape = self.shape
        return np.stack(self.arrays()).reshape(shape)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {
            "version": 3,
            "shape": self.shape,
            "typestr": self.dtype.str,
            "data": (self.memory.pointer, self.memory.readonly),
            "strides": None,
            "stream": self.stream.handle,
        }

    def close(self) -> None:
        """Give its memory back; the second time does nothing."""
        self.memory.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Image({self.format.name}, {self.width} x {self.height}, {self.subsampling.name})"


def tight(format: OutputFormat, info: ImageInfo) -> tuple[Plane, ...]:
    """The planes of a picture, each after the other without a gap."""
    item = 2 if format is OutputFormat.UNCHANGEDI_U16 else 1
    planes: list[Plane] = []
    for shape in plane_shapes(format, info):
        pitch = shape.width * shape.channels * item
        planes.append(Plane(size(planes), shape, pitch))
    return tuple(planes)


def size(planes: list[Plane] | tuple[Plane, ...]) -> int:
    """The bytes of planes that follow one another."""
    return sum(plane.pitch * plane.shape.height for plane in planes)


def described(shape: tuple[int, ...], dtype: np.dtype[Any], format: Format) -> ImageInfo:
    """The components of an array of pixels. Raises ValueError or TypeError when it is none of the format."""
    form = output_format(format)
    if dtype != np.uint8:
        raise TypeError(f"a picture is of uint8, not {dtype.name}")
    if form in PACKED:
        fits, sides = shape[2:] == (3,), shape[:2]
    elif form in ALL_ALIKE:
        fits, sides = len(shape) == 3 and shape[0] == 3, shape[1:]
    elif form is OutputFormat.Y:
        fits, sides = len(shape) == 2, shape
    else:
        raise ValueError(f"an array is no picture in format {form.name}; use Image.over")
    if not fits:
        raise ValueError(f"shape {shape} is no picture in format {form.name}")
    return picture(sides[1], sides[0], "gray" if form is OutputFormat.Y else "444")
