"""JPEGs to pictures on a GPU and back, by one call each; what it takes is kept for each thread and GPU."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gocudnn_py._abi.nvjpeg import ChromaSubsampling, ExifOrientation, JpegEncoding, OutputFormat
from gocudnn_py.cuda import Device, Stream
from gocudnn_py.nvjpeg.batch import BatchDecoder
from gocudnn_py.nvjpeg.buffers import BufferDevice, BufferPinned
from gocudnn_py.nvjpeg.content import Source, jpeg_bytes
from gocudnn_py.nvjpeg.decoder import Decoder, State
from gocudnn_py.nvjpeg.encoder import EncoderParams, EncoderState
from gocudnn_py.nvjpeg.formats import UNCONVERTED, WHOLE, Chroma, Format, ImageInfo, Roi, output_format
from gocudnn_py.nvjpeg.handle import Handle
from gocudnn_py.nvjpeg.image import Image
from gocudnn_py.nvjpeg.params import DecodeParams
from gocudnn_py.nvjpeg.stream import JpegStream

_mine = threading.local()


class _Tools:
    """What decoding and encoding need, made once."""

    encoder: tuple[EncoderState, EncoderParams] | None = None

    def __init__(self, device: Device) -> None:
        self.handle = Handle(device)
        self.jpeg, self.decoder, self.params = JpegStream(self.handle), Decoder(self.handle), DecodeParams(self.handle)
        self.state = State(self.handle, self.decoder)
        self.state.attach(pinned=BufferPinned(self.handle), device=BufferDevice(self.handle))

    def encoder_on(self, stream: Stream) -> tuple[EncoderState, EncoderParams]:
        """The encoder, which works on that stream now."""
        if self.encoder is None:
            self.encoder = EncoderState(self.handle, stream), EncoderParams(self.handle, stream)
        state, params = self.encoder
        state.use(stream)
        params.stream = stream
        return state, params


def _tools(device: Device) -> _Tools:
    every: dict[int, _Tools] = _mine.__dict__.setdefault("tools", {})
    if device.ordinal not in every or not every[device.ordinal].handle.usable:
        every[device.ordinal] = _Tools(device)
    return every[device.ordinal]


def image_info(source: Source, device: Device) -> ImageInfo:
    """Components, chroma subsampling and sizes of a JPEG, without decoding it (nvjpegGetImageInfo)."""
    return _tools(device).handle.info(source)


def decode(
    source: Source,
    stream: Stream,
    *,
    format: Format = "rgb",
    roi: Roi | None = None,
    upright: bool = False,
    out: Image | None = None,
) -> Image:
    """A JPEG, bytes or a path, as a picture on the GPU; it is there when this returns.

    Format "rgb" and "bgr" are (height, width, 3), "rgb_planar" and "bgr_planar" (3, height, width), "gray" (height,
    width); "yuv", "nv12", "yuy2" and "unchanged" are what is stored. `roi` is a region x, y, width, height; `upright`
    turns the picture as its EXIF orientation says, and the region counts after that. CMYK is converted. `out` is
    written instead of a new picture. Raises ValueError for what is no JPEG, is cut off, has no such region or format,
    or does not fit `out`; NvjpegError for kinds of JPEG that nvJPEG cannot read (nvjpegJpegStreamParse,
    nvjpegDecodeParamsSetOutputFormat, nvjpegDecodeParamsSetROI, nvjpegDecodeParamsSetAllowCMYK,
    nvjpegDecodeParamsSetExifOrientation, nvjpegDecodeJpeg).
    """
    wanted, tools = output_format(format), _tools(stream.device)
    parsed = tools.jpeg.parse(source, metadata=upright)
    params = tools.params.set(
        format=wanted,
        roi=WHOLE if roi is None else roi,
        allow_cmyk=wanted not in UNCONVERTED,
        orientation=parsed.orientation if upright else ExifOrientation.NORMAL,
    )
    image = Image.empty(stream, wanted, params.output(parsed.info)) if out is None else out
    tools.decoder.decode(tools.state, parsed, params, image, stream)
    stream.synchronize()
    tools.state.forget()
    return image


def decode_batch(sources: Sequence[Source], stream: Stream, *, format: Format = "rgb") -> list[Image]:
    """JPEGs as pictures on the GPU, in one batch; they are there when this returns.

    Raises as `decode` does, and for four components (nvjpegGetImageInfo, nvjpegJpegStateCreate,
    nvjpegDecodeBatchedInitialize, nvjpegDecodeBatched, nvjpegJpegStateDestroy).
    """
    if not sources:
        return []
    handle = _tools(stream.device).handle
    contents = [jpeg_bytes(source) for source in sources]
    images = [Image.empty(stream, format, handle.info(data)) for data in contents]
    batch = BatchDecoder(handle, len(contents), format)
    batch.decode(contents, images, stream)
    stream.synchronize()
    batch.close()
    return images


def encode(
    image: Any,
    stream: Stream | None = None,
    *,
    format: Format = "rgb",
    quality: int = 90,
    subsampling: Chroma | None = None,
    optimized: bool = False,
    progressive: bool = False,
) -> bytes:
    """A picture as a JPEG: an `Image`, or an array of uint8 on the GPU or the host, in `format`, which needs `stream`.

    Quality is 1 to 100; subsampling is "420" unless given, and what the picture has when that is gray, "yuv" or "nv12".
    `optimized` makes Huffman codes for the picture, and so does `progressive`. Raises ValueError or TypeError for what
    is no such picture (nvjpegEncoderParamsSetQuality, nvjpegEncoderParamsSetSamplingFactors,
    nvjpegEncoderParamsSetOptimizedHuffman, nvjpegEncoderParamsSetEncoding, nvjpegEncodeImage, nvjpegEncodeYUV,
    nvjpegEncode, nvjpegEncodeRetrieveBitstream).
    """
    picture = _picture(image, stream, format)
    work = picture.stream if stream is None else stream
    state, params = _tools(work.device).encoder_on(work)
    params.set(
        quality=quality,
        subsampling=_own_subsampling(picture) if subsampling is None else subsampling,
        optimized=optimized or progressive,
        encoding=JpegEncoding.PROGRESSIVE_DCT_HUFFMAN if progressive else JpegEncoding.BASELINE_DCT,
    )
    if picture.format in (OutputFormat.YUV, OutputFormat.Y):
        state.encode_yuv(picture, params)
    elif picture.format is OutputFormat.NV12:
        state.encode(picture, params)
    else:
        state.encode_image(picture, params)
    return state.bitstream()


def save(image: Any, path: str | os.PathLike[str], stream: Stream | None = None, **options: Any) -> int:
    """Write a picture to a file, as `encode` with its options makes it; returns the bytes written."""
    return Path(path).write_bytes(encode(image, stream, **options))


def _picture(image: Any, stream: Stream | None, format: Format) -> Image:
    if isinstance(image, Image):
        return image
    if stream is None:
        raise TypeError(f"encoding {type(image).__name__} needs a stream")
    if isinstance(image, np.ndarray):
        return Image.upload(stream, image, format)
    return Image.of(stream, image, format)


def _own_subsampling(picture: Image) -> Chroma:
    if picture.format is OutputFormat.Y:
        return ChromaSubsampling.GRAY
    return picture.subsampling if picture.format is OutputFormat.YUV else ChromaSubsampling.CSS_420
