"""How pictures lie in memory: formats by name, the planes that each has, and what is left of them by a window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntFlag
from typing import NamedTuple, TypeAlias

from gocudnn_py._abi.nvjpeg import ChromaSubsampling, ExifOrientation, OutputFormat, ScaleFactor

Format: TypeAlias = OutputFormat | str
Chroma: TypeAlias = ChromaSubsampling | str
Roi: TypeAlias = tuple[int, int, int, int]  # x, y, width, height

WHOLE: Roi = (0, 0, -1, -1)
FORMATS = {
    "rgb": OutputFormat.RGBI,
    "bgr": OutputFormat.BGRI,
    "rgb_planar": OutputFormat.RGB,
    "bgr_planar": OutputFormat.BGR,
    "gray": OutputFormat.Y,
    "yuv": OutputFormat.YUV,
    "nv12": OutputFormat.NV12,
    "yuy2": OutputFormat.YUY2,
    "unchanged": OutputFormat.UNCHANGED,
    "unchanged_interleaved": OutputFormat.UNCHANGEDI,
    "unchanged_16": OutputFormat.UNCHANGEDI_U16,
}
SUBSAMPLINGS = {
    "444": ChromaSubsampling.CSS_444,
    "422": ChromaSubsampling.CSS_422,
    "420": ChromaSubsampling.CSS_420,
    "440": ChromaSubsampling.CSS_440,
    "411": ChromaSubsampling.CSS_411,
    "410": ChromaSubsampling.CSS_410,
    "gray": ChromaSubsampling.GRAY,
}
FACTORS = {"444": (1, 1), "422": (2, 1), "420": (2, 2), "440": (1, 2), "411": (4, 1), "410": (4, 2), "gray": (1, 1)}
ALL_ALIKE = (OutputFormat.RGB, OutputFormat.BGR)
PACKED = (OutputFormat.RGBI, OutputFormat.BGRI)
NATIVE = (OutputFormat.YUV, OutputFormat.UNCHANGED)
UNCONVERTED = (OutputFormat.UNCHANGED, OutputFormat.UNCHANGEDI, OutputFormat.UNCHANGEDI_U16)
TURNED = (
    ExifOrientation.TRANSPOSE,
    ExifOrientation.ROTATE_90,
    ExifOrientation.TRANSVERSE,
    ExifOrientation.ROTATE_270,
)
TRANSPOSED = {
    ChromaSubsampling.CSS_422: ChromaSubsampling.CSS_440,
    ChromaSubsampling.CSS_440: ChromaSubsampling.CSS_422,
}
SQUARE = (ChromaSubsampling.CSS_444, ChromaSubsampling.CSS_420, ChromaSubsampling.GRAY)


class Flags(IntFlag):
    """What a library handle does otherwise: NVJPEG_FLAGS_."""

    DEFAULT = 0
    HW_DECODE_NO_PIPELINE = 1
    ENABLE_MEMORY_POOLS = 2
    BITSTREAM_STRICT = 4
    REDUCED_MEMORY_DECODE = 8
    REDUCED_MEMORY_DECODE_ZERO_COPY = 16
    UPSAMPLING_WITH_INTERPOLATION = 32


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """What a JPEG says of its picture; `sizes` are (width, height) of each component."""

    subsampling: ChromaSubsampling
    sizes: tuple[tuple[int, int], ...]

    @property
    def components(self) -> int:
        """How many there are: 1 gray, 3 colours, 4 CMYK."""
        return len(self.sizes)

    @property
    def width(self) -> int:
        """Of the picture, in pixels."""
        return self.sizes[0][0]

    @property
    def height(self) -> int:
        """Of the picture, in pixels."""
        return self.sizes[0][1]


class PlaneShape(NamedTuple):
    """Rows, pixels a row and numbers a pixel of a plane."""

    height: int
    width: int
    channels: int


def output_format(format: Format) -> OutputFormat:
    """The format of a name. Raises ValueError with all names."""
    if isinstance(format, OutputFormat):
        return format
    if format not in FORMATS:
        raise ValueError(f"no format {format!r}; there are {', '.join(FORMATS)}")
    return FORMATS[format]


def chroma_subsampling(subsampling: Chroma) -> ChromaSubsampling:
    """The chroma subsampling of a name. Raises ValueError with all names."""
    if isinstance(subsampling, ChromaSubsampling):
        return subsampling
    if subsampling not in SUBSAMPLINGS:
        raise ValueError(f"no chroma subsampling {subsampling!r}; there are {', '.join(SUBSAMPLINGS)}")
    return SUBSAMPLINGS[subsampling]


def picture(width: int, height: int, subsampling: Chroma = "444") -> ImageInfo:
    """The components of a picture of one's own, those of colour rounded up."""
    if min(width, height) < 1:
        raise ValueError(f"a picture of {width} x {height} pixels")
    chroma = chroma_subsampling(subsampling)
    name = next((name for name, each in SUBSAMPLINGS.items() if each is chroma), None)
    if name is None:
        raise ValueError(f"the sizes of colour in {chroma.name} are not known; there are {', '.join(SUBSAMPLINGS)}")
    if chroma is ChromaSubsampling.GRAY:
        return ImageInfo(chroma, ((width, height),))
    across, down = FACTORS[name]
    colour = -(-width // across), -(-height // down)
    return ImageInfo(chroma, ((width, height), colour, colour))


def plane_shapes(format: OutputFormat, info: ImageInfo) -> tuple[PlaneShape, ...]:
    """The planes of a picture in a format. Raises ValueError when it cannot be had in that."""
    width, height, count = info.width, info.height, info.components
    _check_format(format, info)
    if format in PACKED:
        return (PlaneShape(height, width, 3),)
    if format in ALL_ALIKE:
        return (PlaneShape(height, width, 1),) * 3
    if format is OutputFormat.Y:
        return (PlaneShape(height, width, 1),)
    if format is OutputFormat.NV12:
        return PlaneShape(height, width, 1), PlaneShape(info.sizes[1][1], info.sizes[1][0], 2)
    if format is OutputFormat.YUY2:
        return (PlaneShape(height, 2 * info.sizes[1][0], 2),)
    if format in NATIVE:
        return tuple(PlaneShape(tall, wide, 1) for wide, tall in info.sizes)
    return (PlaneShape(height, width, count),)


NEEDS: dict[OutputFormat, tuple[tuple[int, ...], ChromaSubsampling | None]] = {
    OutputFormat.YUV: ((1, 3), None),
    OutputFormat.NV12: ((3,), ChromaSubsampling.CSS_420),
    OutputFormat.YUY2: ((3,), ChromaSubsampling.CSS_422),
    OutputFormat.UNCHANGEDI_U16: ((1, 2), None),
    OutputFormat.UNCHANGEDI: ((1, 2, 3, 4), None),
    OutputFormat.UNCHANGED: ((1, 2, 3, 4), None),
}


def _check_format(format: OutputFormat, info: ImageInfo) -> None:
    counts, subsampling = NEEDS.get(format, ((1, 3, 4), None))
    if info.components not in counts:
        allowed = " or ".join(map(str, counts))
        raise ValueError(f"format {format.name} needs {allowed} components, this picture has {info.components}")
    if subsampling not in (None, info.subsampling):
        raise ValueError(f"format {format.name} needs {subsampling.name}, this picture has {info.subsampling.name}")


def turned(info: ImageInfo, orientation: ExifOrientation) -> ImageInfo:
    """The picture set upright: rows for columns where the orientation turns it by a quarter."""
    if orientation not in TURNED:
        return info
    chroma = info.subsampling
    across = TRANSPOSED.get(chroma, chroma if chroma in SQUARE else ChromaSubsampling.UNKNOWN)
    return ImageInfo(across, tuple((tall, wide) for wide, tall in info.sizes))


def cut(info: ImageInfo, roi: Roi, format: OutputFormat) -> ImageInfo:
    """What a region of interest leaves of a picture. Raises ValueError when it is not inside, or parts a colour."""
    if roi == WHOLE:
        return info
    x, y, width, height = roi
    right, bottom = x + width, y + height
    if min(x, y) < 0 or min(width, height) < 1 or right > info.width or bottom > info.height:
        raise ValueError(
            f"region x={x}, y={y}, {width} x {height} is not inside the picture of {info.width} x {info.height}"
        )
    factors = _factors(info)
    _check_corner(roi, factors, format)
    return replace(info, sizes=tuple((-(-width // across), -(-height // down)) for across, down in factors))


def _factors(info: ImageInfo) -> list[tuple[int, int]]:
    """How many pixels, across and down, each component has one number for."""
    name = next((name for name, each in SUBSAMPLINGS.items() if each is info.subsampling), None)
    if name is None:
        return [(round(info.width / wide), round(info.height / tall)) for wide, tall in info.sizes]
    return [(1, 1), FACTORS[name], FACTORS[name]][: info.components]


def _check_corner(roi: Roi, factors: Sequence[tuple[int, int]], format: OutputFormat) -> None:
    across, down = (max(each) for each in zip(*factors, strict=True))
    if format in NATIVE and (roi[0] % across or roi[1] % down):
        raise ValueError(f"region at x={roi[0]}, y={roi[1]} in format {format.name}: steps are {across} and {down}")


def scaled(info: ImageInfo, scale: ScaleFactor) -> ImageInfo:
    """A picture made smaller, sizes rounded up."""
    step = 1 << scale
    return replace(info, sizes=tuple((-(-wide // step), -(-tall // step)) for wide, tall in info.sizes))
