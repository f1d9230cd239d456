"""Encoding pictures."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any, Self

import numpy as np

from gocudnn_py import driver
from gocudnn_py._abi.nvjpeg import ChromaSubsampling, EncBackend, InputFormat, JpegEncoding, OutputFormat
from gocudnn_py.cuda import DeviceBuffer, Stream
from gocudnn_py.nvjpeg.formats import Chroma, chroma_subsampling
from gocudnn_py.nvjpeg.handle import Handle, Part
from gocudnn_py.nvjpeg.image import Image
from gocudnn_py.nvjpeg.stream import JpegStream

LEGACY = 0  # the default stream, as nvJPEG takes it
COLOURS = (OutputFormat.RGB, OutputFormat.BGR, OutputFormat.RGBI, OutputFormat.BGRI)
LUMINANCE = (OutputFormat.YUV, OutputFormat.Y)
ENCODINGS = (JpegEncoding.BASELINE_DCT, JpegEncoding.PROGRESSIVE_DCT_HUFFMAN)
MAX_SIDE = 65_535  # a JPEG's sizes have 16 bits


class EncoderParams(Part):
    """How to encode: quality 70, colours in full, baseline, unless set.

    (nvjpegEncoderParamsCreate, nvjpegEncoderParamsDestroy)
    """

    quality = 70
    subsampling = ChromaSubsampling.CSS_444
    optimized = False
    encoding = JpegEncoding.BASELINE_DCT
    restart_interval = 0

    def __init__(self, owner: Handle, stream: Stream) -> None:
        self.stream, lib = stream, owner.lib
        cuda = owner.enter(stream)
        super().__init__(owner, lib.nvjpegEncoderParamsCreate, lib.nvjpegEncoderParamsDestroy, stream, after=[cuda])

    def set(
        self,
        *,
        quality: int | None = None,
        subsampling: Chroma | None = None,
        optimized: bool | None = None,
        encoding: JpegEncoding | None = None,
        restart_interval: int | None = None,
    ) -> Self:
        """Change what is named: quality 1 to 100; chroma subsampling; Huffman codes made for the picture, which take
        longer and are shorter; baseline or progressive; blocks between restart markers, which hardware alone writes.

        (nvjpegEncoderParamsSetQuality, nvjpegEncoderParamsSetSamplingFactors, nvjpegEncoderParamsSetOptimizedHuffman,
        nvjpegEncoderParamsSetEncoding, nvjpegEncoderParamsSetRestartInterval)
        """
        lib = self.lib
        if quality is not None:
            self._apply("quality", _within("quality", quality, 1, 100), lib.nvjpegEncoderParamsSetQuality)
        if subsampling is not None:
            chroma = chroma_subsampling(subsampling)
            self._apply("subsampling", chroma, lib.nvjpegEncoderParamsSetSamplingFactors)
        if optimized is not None:
            self._apply("optimized", bool(optimized), lib.nvjpegEncoderParamsSetOptimizedHuffman)
        if encoding is not None:
            self._apply("encoding", _encoding(encoding), lib.nvjpegEncoderParamsSetEncoding)
        if restart_interval is not None:
            blocks = _within("restart_interval", restart_interval, 0, MAX_SIDE)
            self._apply("restart_interval", blocks, lib.nvjpegEncoderParamsSetRestartInterval)
        return self

    def _apply(self, name: str, value: Any, function: Callable[[int, Any, int], None]) -> None:
        function(self.handle, int(value), self.owner.enter(self.stream))
        setattr(self, name, value)

    def copy_quantization_tables(self, jpeg: JpegStream) -> None:
        """Quantise as a parsed JPEG does, whatever the quality (nvjpegEncoderParamsCopyQuantizationTables)."""
        self.lib.nvjpegEncoderParamsCopyQuantizationTables(self.handle, jpeg.handle, self.owner.enter(self.stream))

    def copy_metadata(self, state: EncoderState, jpeg: JpegStream) -> None:
        """Take over the application segments of a JPEG parsed with `metadata`, EXIF for one; comments are left out.

        (nvjpegEncoderParamsCopyMetadata)
        """
        cuda = self.owner.enter(self.stream)
        self.lib.nvjpegEncoderParamsCopyMetadata(state.handle, self.handle, jpeg.handle, cuda)

    def max_size(self, width: int, height: int) -> int:
        """The bytes that a JPEG of so many pixels has at most (nvjpegEncodeGetBufferSize)."""
        _check_size(width, height)
        size = ctypes.c_size_t()
        self.lib.nvjpegEncodeGetBufferSize(self.owner.handle, self.handle, width, height, ctypes.byref(size))
        return size.value

    def __repr__(self) -> str:
        if not self.usable:
            return "EncoderParams(unusable)"
        codes = ", optimized" if self.optimized else ""
        return f"EncoderParams(quality {self.quality}, {self.subsampling.name}{codes}, {self.encoding.name})"


class EncoderState(Part):
    """What encoding keeps, and the JPEG that came of it last; one thread at a time may use it.

    `backend` is hardware where it can be, unless given (nvjpegEncoderStateCreate, nvjpegEncoderStateCreateWithBackend,
    nvjpegEncoderStateDestroy).
    """

    held: tuple[object, ...] = ()
    _jpeg: bytes | None = None  # nvJPEG hands out each JPEG once: what is asked for again is taken from here

    def __init__(self, owner: Handle, stream: Stream, backend: EncBackend | None = None) -> None:
        self.stream, lib = stream, owner.lib
        create: Callable[..., None] = lib.nvjpegEncoderStateCreate
        after = [owner.enter(stream)]
        if backend is not None:
            create = lib.nvjpegEncoderStateCreateWithBackend
            after.insert(0, EncBackend(backend))
        super().__init__(owner, create, lib.nvjpegEncoderStateDestroy, stream, after=after)

    def use(self, stream: Stream) -> None:
        """Work on another stream of the same GPU from now on."""
        self.owner.enter(stream)
        self.stream = stream

    def encode_image(self, image: Image, params: EncoderParams) -> None:
        """Encode a picture of colours, in stream order (nvjpegEncodeImage)."""
        _check_format("encode_image", image, COLOURS)
        self._encode(self.lib.nvjpegEncodeImage, image, params, InputFormat(image.format))

    def encode_yuv(self, image: Image, params: EncoderParams) -> None:
        """Encode a gray picture, or one of luminance and colour differences, in stream order (nvjpegEncodeYUV)."""
        _check_format("encode_yuv", image, LUMINANCE)
        self._encode(self.lib.nvjpegEncodeYUV, image, params, _subsampling(image, params))

    def encode(self, image: Image, params: EncoderParams) -> None:
        """Encode a picture in any of those formats, or "nv12", in stream order (nvjpegEncode)."""
        _check_format("encode", image, (*COLOURS, *LUMINANCE, OutputFormat.NV12))
        form = InputFormat.YUV if image.format is OutputFormat.Y else InputFormat(image.format)
        self._encode(self.lib.nvjpegEncode, image, params, _subsampling(image, params), form)

    def _encode(self, function: Callable[..., None], image: Image, params: EncoderParams, *how: int) -> None:
        _check_size(image.width, image.height)
        cuda, source = self.owner.enter(self.stream), image.structure()
        handles = self.owner.handle, self.handle, params.handle
        if image.stream is not self.stream:
            self.stream.wait_for(image.stream)
        self.stream.uses(image.memory)
        self.held, self._jpeg = (image, params), None
        function(*handles, ctypes.byref(source), *how, image.width, image.height, cuda)

    @property
    def length(self) -> int:
        """The bytes of the JPEG, once it is there (nvjpegEncodeRetrieveBitstream)."""
        return self._retrieve(self.lib.nvjpegEncodeRetrieveBitstream, None, 0)

    def bitstream(self) -> bytes:
        """The JPEG, once it is there, as often as it is asked for (nvjpegEncodeRetrieveBitstream)."""
        if self._jpeg is None:
            content = ctypes.create_string_buffer(max(1, self.length))
            length = self._retrieve(self.lib.nvjpegEncodeRetrieveBitstream, content, len(content))
            self._jpeg = content.raw[:length]
        return self._jpeg

    def bitstream_device(self) -> DeviceBuffer:
        """The JPEG in new memory of the GPU, once it is there, as often as it is asked for.

        (nvjpegEncodeRetrieveBitstreamDevice, cuMemcpyDtoHAsync_v2, cuMemcpyHtoDAsync_v2)
        """
        content = DeviceBuffer(self.stream, self.length if self._jpeg is None else len(self._jpeg))
        if self._jpeg is None:
            # nvJPEG copies the header on the default stream, whichever it is given; so all of it is copied there.
            retrieve = self.lib.nvjpegEncodeRetrieveBitstreamDevice
            self._retrieve(retrieve, content.pointer, content.nbytes, on=LEGACY)
            driver.call("cuStreamSynchronize", LEGACY)
            self._jpeg = content.download(np.empty(content.nbytes, np.uint8)).tobytes()
        else:
            content.upload(np.frombuffer(self._jpeg, np.uint8))
        return content

    def _retrieve(self, function: Callable[..., None], place: Any, room: int, on: int | None = None) -> int:
        length, cuda = ctypes.c_size_t(room), self.owner.enter(self.stream)
        self.stream.synchronize()
        function(self.owner.handle, self.handle, place, ctypes.byref(length), cuda if on is None else on)
        self.stream.synchronize()
        self.held = ()
        return length.value


def _check_format(what: str, image: Image, formats: tuple[OutputFormat, ...]) -> None:
    if image.format not in formats:
        raise ValueError(f"{what} takes {', '.join(each.name for each in formats)}, not {image.format.name}")


def _check_size(width: int, height: int) -> None:
    _within("width", width, 1, MAX_SIDE)
    _within("height", height, 1, MAX_SIDE)


def _subsampling(image: Image, params: EncoderParams) -> ChromaSubsampling:
    """The subsampling of a picture as it is. Raises ValueError when it cannot be encoded as the params say."""
    chroma, wanted = image.subsampling, params.subsampling
    if image.format in COLOURS:
        return wanted
    if image.format is OutputFormat.Y or chroma is ChromaSubsampling.GRAY:
        if wanted is not ChromaSubsampling.GRAY:
            raise ValueError(f"a gray picture is encoded with subsampling 'gray', not {wanted.name}")
        return ChromaSubsampling.GRAY
    if image.format is OutputFormat.NV12 and wanted is not ChromaSubsampling.CSS_420:
        raise ValueError(f"a picture in NV12 is encoded with subsampling '420', not {wanted.name}")
    return chroma


def _encoding(encoding: JpegEncoding) -> JpegEncoding:
    if encoding not in ENCODINGS:
        names = " or ".join(each.name for each in ENCODINGS)
        raise ValueError(f"JPEGs are written {names}, not {JpegEncoding(encoding).name}")
    return JpegEncoding(encoding)


def _within(what: str, value: int, least: int, most: int) -> int:
    if not least <= value <= most:
        raise ValueError(f"{what} {value}; there is {least} to {most}")
    return value
