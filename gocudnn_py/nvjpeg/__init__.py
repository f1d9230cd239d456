"""nvJPEG: JPEGs to pictures on a GPU and back, and to files.

    image = nvjpeg.decode("cat.jpg", stream)           # (height, width, 3) of uint8 on the card
    nvjpeg.save(image, "again.jpg", quality=85)

Below these are its own objects: a Handle for each GPU; JpegStream, DecodeParams, Decoder and State for one picture and
its phases; BatchDecoder for many; EncoderParams and EncoderState. Importing loads nothing.
"""

from __future__ import annotations

from gocudnn_py._abi.cuda import LibraryPropertyType
from gocudnn_py._abi.nvjpeg import (
    Backend,
    ChromaSubsampling,
    EncBackend,
    ExifOrientation,
    JpegEncoding,
    OutputFormat,
    ScaleFactor,
)

from .allocator import Allocator, pinned_memory, pool_memory
from .batch import BatchDecoder
from .buffers import BufferDevice, BufferPinned
from .decoder import Decoder, State
from .encoder import EncoderParams, EncoderState
from .formats import WHOLE, Flags, ImageInfo, picture
from .handle import Handle, cuda_property, library_property, version
from .image import Image
from .params import DecodeParams
from .simple import decode, decode_batch, encode, image_info, save
from .stream import JpegStream

__all__ = [
    "WHOLE",
    "Allocator",
    "Backend",
    "BatchDecoder",
    "BufferDevice",
    "BufferPinned",
    "ChromaSubsampling",
    "DecodeParams",
    "Decoder",
    "EncBackend",
    "EncoderParams",
    "EncoderState",
    "ExifOrientation",
    "Flags",
    "Handle",
    "Image",
    "ImageInfo",
    "JpegEncoding",
    "JpegStream",
    "LibraryPropertyType",
    "OutputFormat",
    "ScaleFactor",
    "State",
    "cuda_property",
    "decode",
    "decode_batch",
    "encode",
    "image_info",
    "library_property",
    "picture",
    "pinned_memory",
    "pool_memory",
    "save",
    "version",
]
