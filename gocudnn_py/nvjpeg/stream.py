"""What a JPEG says of itself, parsed on the host."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any, Self

from gocudnn_py._abi.nvjpeg import ChromaSubsampling, ExifOrientation, JpegEncoding
from gocudnn_py.nvjpeg.content import Source, check_start, content, jpeg_bytes
from gocudnn_py.nvjpeg.formats import ImageInfo
from gocudnn_py.nvjpeg.handle import Handle, Part


class JpegStream(Part):
    """A parsed JPEG, which decoders take; one thread at a time may use it.

    It holds the bytes that it was given (nvjpegJpegStreamCreate, nvjpegJpegStreamDestroy).
    """

    data: bytes = b""
    tables: bytes = b""

    def __init__(self, owner: Handle) -> None:
        super().__init__(owner, owner.lib.nvjpegJpegStreamCreate, owner.lib.nvjpegJpegStreamDestroy)

    def parse(self, source: Source, *, metadata: bool = False, copy: bool = False) -> Self:
        """Parse a whole JPEG, bytes or a path; with `copy` nvJPEG keeps bytes of its own (nvjpegJpegStreamParse).

        Raises ValueError when it is none or is cut off, NvjpegError when nvJPEG cannot read it.
        """
        data = jpeg_bytes(source)
        self.lib.nvjpegJpegStreamParse(self.owner.handle, data, len(data), int(metadata), int(copy), self.handle)
        self.data = data
        return self

    def parse_header(self, source: Source) -> Self:
        """Parse what comes before the pixels, which may be missing (nvjpegJpegStreamParseHeader)."""
        data = jpeg_bytes(source, whole=False)
        self.lib.nvjpegJpegStreamParseHeader(self.owner.handle, data, len(data), self.handle)
        self.data = data
        return self

    def parse_tables(self, source: Source | None) -> Self:
        """Take tables from a JPEG of tables alone, as TIFF files hold them; None forgets them.

        (nvjpegJpegStreamParseTables)
        """
        data = tables(source)
        self.lib.nvjpegJpegStreamParseTables(self.owner.handle, data or None, len(data), self.handle)
        self.tables = data
        return self

    @property
    def encoding(self) -> JpegEncoding:
        """Baseline, progressive, ... (nvjpegJpegStreamGetJpegEncoding)."""
        return JpegEncoding(self._number(self.lib.nvjpegJpegStreamGetJpegEncoding, ctypes.c_int()))

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels, as encoded (nvjpegJpegStreamGetFrameDimensions)."""
        width, height = ctypes.c_uint(), ctypes.c_uint()
        self.lib.nvjpegJpegStreamGetFrameDimensions(self.handle, ctypes.byref(width), ctypes.byref(height))
        return width.value, height.value

    @property
    def components(self) -> int:
        """How many there are (nvjpegJpegStreamGetComponentsNum)."""
        return self._number(self.lib.nvjpegJpegStreamGetComponentsNum, ctypes.c_uint())

    def component_size(self, component: int) -> tuple[int, int]:
        """Width and height of a component (nvjpegJpegStreamGetComponentDimensions)."""
        count = self.components
        if not 0 <= component < count:
            raise ValueError(f"component {component} of {count}")
        width, height = ctypes.c_uint(), ctypes.c_uint()
        out = ctypes.byref(width), ctypes.byref(height)
        self.lib.nvjpegJpegStreamGetComponentDimensions(self.handle, component, *out)
        return width.value, height.value

    @property
    def orientation(self) -> ExifOrientation:
        """How the camera was held, UNKNOWN when it is not said (nvjpegJpegStreamGetExifOrientation)."""
        return ExifOrientation(self._number(self.lib.nvjpegJpegStreamGetExifOrientation, ctypes.c_int()))

    @property
    def precision(self) -> int:
        """Bits of a sample (nvjpegJpegStreamGetSamplePrecision)."""
        return self._number(self.lib.nvjpegJpegStreamGetSamplePrecision, ctypes.c_uint())

    @property
    def subsampling(self) -> ChromaSubsampling:
        """Of the colours, UNKNOWN with 2 or 4 components (nvjpegJpegStreamGetChromaSubsampling)."""
        return ChromaSubsampling(self._number(self.lib.nvjpegJpegStreamGetChromaSubsampling, ctypes.c_int()))

    @property
    def info(self) -> ImageInfo:
        """Subsampling and sizes.

        (nvjpegJpegStreamGetChromaSubsampling, nvjpegJpegStreamGetComponentsNum, nvjpegJpegStreamGetComponentDimensions)
        """
        return ImageInfo(self.subsampling, tuple(map(self.component_size, range(self.components))))

    def _number(self, function: Callable[[int, Any], None], cell: Any) -> int:
        function(self.handle, ctypes.byref(cell))
        return int(cell.value)


def tables(source: Source | None) -> bytes:
    """The bytes of a JPEG of tables, none for None. Raises ValueError when it is no JPEG."""
    if source is None:
        return b""
    data = content(source)
    check_start(data)
    return data
