"""What is made of a JPEG when it is decoded."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Self

from gocudnn_py._abi.nvjpeg import ExifOrientation, OutputFormat, ScaleFactor
from gocudnn_py.nvjpeg.formats import WHOLE, Format, ImageInfo, Roi, cut, output_format, scaled, turned
from gocudnn_py.nvjpeg.handle import Handle, Part


class DecodeParams(Part):
    """How to decode: as it is stored, and all of it, unless set.

    (nvjpegDecodeParamsCreate, nvjpegDecodeParamsDestroy)
    """

    format = OutputFormat.UNCHANGED
    roi: Roi = WHOLE
    allow_cmyk = False
    orientation = ExifOrientation.UNKNOWN
    scale = ScaleFactor.NONE

    def __init__(self, owner: Handle) -> None:
        super().__init__(owner, owner.lib.nvjpegDecodeParamsCreate, owner.lib.nvjpegDecodeParamsDestroy)

    def set(
        self,
        *,
        format: Format | None = None,
        roi: Roi | None = None,
        allow_cmyk: bool | None = None,
        orientation: ExifOrientation | None = None,
        scale: ScaleFactor | None = None,
    ) -> Self:
        """Change what is named: the format; the region x, y, width, height, WHOLE for all; whether four components are
        CMYK, to be converted; how to set it upright; and how small, which a `Decoder` of backend HARDWARE alone does.

        A region counts in the picture set upright. (nvjpegDecodeParamsSetOutputFormat, nvjpegDecodeParamsSetROI,
        nvjpegDecodeParamsSetAllowCMYK, nvjpegDecodeParamsSetExifOrientation, nvjpegDecodeParamsSetScaleFactor)
        """
        if format is not None:
            wanted = output_format(format)
            self.lib.nvjpegDecodeParamsSetOutputFormat(self.handle, wanted)
            self.format = wanted
        if roi is not None:
            region = checked_roi(roi)
            self.lib.nvjpegDecodeParamsSetROI(self.handle, *region)
            self.roi = region
        if allow_cmyk is not None:
            self.lib.nvjpegDecodeParamsSetAllowCMYK(self.handle, int(allow_cmyk))
            self.allow_cmyk = allow_cmyk
        if orientation is not None:
            self.lib.nvjpegDecodeParamsSetExifOrientation(self.handle, ExifOrientation(orientation))
            self.orientation = ExifOrientation(orientation)
        if scale is not None:
            self.lib.nvjpegDecodeParamsSetScaleFactor(self.handle, ScaleFactor(scale))
            self.scale = ScaleFactor(scale)
        return self

    def output(self, info: ImageInfo) -> ImageInfo:
        """The sizes that a picture comes out in. Raises ValueError when the region is not inside."""
        return scaled(cut(turned(info, self.orientation), self.roi, self.format), self.scale)

    def __repr__(self) -> str:
        if not self.usable:
            return "DecodeParams(unusable)"
        region = "" if self.roi == WHOLE else f", roi={self.roi}"
        cmyk = ", allow_cmyk" if self.allow_cmyk else ""
        return f"DecodeParams({self.format.name}{region}{cmyk}, {self.orientation.name}, scale {self.scale.name})"


def checked_roi(roi: Sequence[int]) -> Roi:
    """A region. Raises ValueError when it is one of no picture."""
    numbers = tuple(map(operator.index, roi))
    wrong = len(numbers) != 4 or min(numbers[:2]) < 0 or min(numbers[2:]) < 1 or max(numbers) > 65_535
    if wrong and numbers != WHOLE:
        raise ValueError(f"a region is x, y, width, height in pixels, or WHOLE, not {numbers}")
    x, y, width, height = numbers
    return x, y, width, height
