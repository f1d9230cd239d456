"""Decoding many pictures by one call."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

from gocudnn_py._abi.nvjpeg import Backend, ScaleFactor
from gocudnn_py._abi.nvjpeg import Image as Structure
from gocudnn_py.cuda import DeviceBuffer, Stream
from gocudnn_py.errors import NvjpegError
from gocudnn_py.nvjpeg.content import Source, jpeg_bytes
from gocudnn_py.nvjpeg.decoder import State, check_planes
from gocudnn_py.nvjpeg.formats import Chroma, Format, chroma_subsampling, output_format
from gocudnn_py.nvjpeg.handle import Handle
from gocudnn_py.nvjpeg.image import Image
from gocudnn_py.nvjpeg.params import DecodeParams
from gocudnn_py.nvjpeg.stream import JpegStream, tables

FROM_DEVICE = (Backend.GPU_HYBRID_DEVICE, Backend.HARDWARE_DEVICE)
WITH_PARAMS = (Backend.HARDWARE, Backend.LOSSLESS_JPEG)


class BatchDecoder:
    """Batches of `size` pictures, all decoded to one format by the backend of the handle, on one thread at a time.

    `threads` are those of the CPU, which newer versions do not look at. Backends GPU_HYBRID_DEVICE and HARDWARE_DEVICE
    take JPEGs in device memory (nvjpegDecodeBatchedInitialize, nvjpegJpegStateCreate).
    """

    def __init__(self, owner: Handle, size: int, format: Format = "rgb", *, threads: int = 1) -> None:
        if min(size, threads) < 1:
            raise ValueError(f"a batch of {size} pictures by {threads} threads")
        self.owner, self.size, self.threads, self.format = owner, size, threads, output_format(format)
        self.state = State(owner)
        self._initialized = False

    def parse_tables(self, source: Source | None) -> None:
        """Take tables for all JPEGs of the batches, as TIFF files hold them; None forgets them.

        (nvjpegDecodeBatchedParseJpegTables)
        """
        data = tables(source)
        arguments = self.owner.handle, self.state.handle, data or None, len(data)
        self.owner.gpu.enter()
        self.owner.lib.nvjpegDecodeBatchedParseJpegTables(*arguments)
        self._tables = data

    def preallocate(self, width: int, height: int, subsampling: Chroma = "444") -> None:
        """Take memory now for pictures up to this size, which the hardware backend alone does.

        (nvjpegDecodeBatchedPreAllocate)
        """
        if min(width, height) < 1:
            raise ValueError(f"pictures of {width} x {height}")
        shape = self.size, width, height, chroma_subsampling(subsampling), self.format
        self.owner.gpu.enter()
        self.owner.lib.nvjpegDecodeBatchedPreAllocate(self.owner.handle, self.state.handle, *shape)

    def supports(self, jpeg: JpegStream, params: DecodeParams | None = None) -> bool:
        """Whether batches may hold that JPEG (nvjpegDecodeBatchedSupported, nvjpegDecodeBatchedSupportedEx)."""
        answer, handles = ctypes.c_int(-1), (self.owner.handle, jpeg.handle)
        self.owner.gpu.enter()
        if params is None:
            self.owner.lib.nvjpegDecodeBatchedSupported(*handles, ctypes.byref(answer))
        else:
            self.owner.lib.nvjpegDecodeBatchedSupportedEx(*handles, params.handle, ctypes.byref(answer))
        return answer.value == 0

    def decode(
        self,
        sources: Sequence[Source | DeviceBuffer],
        images: Sequence[Image],
        stream: Stream,
        params: Sequence[DecodeParams] | None = None,
    ) -> None:
        """Decode one JPEG into each image, in stream order; with `params`, by backends that take them.

        Raises ValueError when an image has not the planes of its JPEG, or one is to be scaled
        (nvjpegDecodeBatched, nvjpegDecodeBatchedEx, nvjpegDecodeBatchedInitialize, nvjpegGetImageInfo).
        """
        self._check(sources, images, params)
        contents = [self._content(source) for source in sources]
        if not isinstance(contents[0], DeviceBuffer):
            self._check_planes(contents, images, params)
        cuda = self.owner.enter(stream)
        self._initialize()
        arrays = self._arrays(contents, images)
        for content in contents:
            _read(content, stream)
        for image in images:
            self.state.hold(stream, image)
        self.state.held = *contents, *images, *(params or ()), *arrays
        try:
            self._run(arrays, params, cuda)
        except NvjpegError:
            self._initialized = False  # a batch that failed leaves the state to be initialised again
            raise

    def _run(self, arrays: tuple[Any, Any, Any], params: Sequence[DecodeParams] | None, cuda: int) -> None:
        lib, handles = self.owner.lib, (self.owner.handle, self.state.handle)
        if params is None:
            lib.nvjpegDecodeBatched(*handles, *arrays, cuda)
        else:
            every = (ctypes.c_void_p * self.size)(*(each.handle for each in params))
            lib.nvjpegDecodeBatchedEx(*handles, *arrays, every, cuda)

    def _initialize(self) -> None:
        if not self._initialized:
            arguments = self.owner.handle, self.state.handle, self.size, self.threads, self.format
            self.owner.lib.nvjpegDecodeBatchedInitialize(*arguments)
            self._initialized = True

    def _arrays(self, contents: Sequence[Any], images: Sequence[Image]) -> tuple[Any, Any, Any]:
        size = self.size
        addresses = (ctypes.c_void_p * size)(*map(_address, contents))
        lengths = (ctypes.c_size_t * size)(*map(_length, contents))
        return addresses, lengths, (Structure * size)(*(image.structure() for image in images))

    def _check(self, sources: Sequence[Any], images: Sequence[Image], params: Sequence[Any] | None) -> None:
        counts = {"JPEGs": sources, "images": images} | ({} if params is None else {"params": params})
        for what, things in counts.items():
            if len(things) != self.size:
                raise ValueError(f"{len(things)} {what} for batches of {self.size}")
        on_device = sum(isinstance(source, DeviceBuffer) for source in sources)
        if on_device not in (0, self.size):
            raise ValueError(f"{on_device} of {self.size} JPEGs are on the GPU; all or none have to be")
        if on_device and self.owner.backend not in FROM_DEVICE:
            raise ValueError(f"backend {self.owner.backend.name} takes no JPEGs on the GPU; {_names(FROM_DEVICE)} do")
        if params is not None and self.owner.backend not in WITH_PARAMS:
            raise ValueError(f"backend {self.owner.backend.name} takes no params; {_names(WITH_PARAMS)} do")
        for each in params or ():
            if each.scale is not ScaleFactor.NONE:  # nvJPEG would write the whole picture, beyond the image
                raise ValueError(f"a batch cannot be scaled by {each.scale.name}; a Decoder of backend HARDWARE can")

    def _content(self, source: Any) -> Any:
        return source if isinstance(source, DeviceBuffer) else jpeg_bytes(source)

    def _check_planes(self, contents: Any, images: Sequence[Image], params: Sequence[DecodeParams] | None) -> None:
        for number, (data, image) in enumerate(zip(contents, images, strict=True)):
            info = self.owner.info(data)
            if info.components == 4 and self.owner.backend in (Backend.DEFAULT, Backend.HYBRID):
                raise ValueError(f"JPEG {number} has 4 components, which batches of backend DEFAULT cannot decode")
            check_planes(image, self.format, params[number].output(info) if params else info)

    def close(self) -> None:
        """Give its state back (nvjpegJpegStateDestroy)."""
        self.state.close()


def _names(backends: Sequence[Backend]) -> str:
    return " and ".join(backend.name for backend in backends)


def _read(data: Any, stream: Stream) -> None:
    """Say that a stream is given work that reads a JPEG, on the GPU when it is there."""
    if not isinstance(data, DeviceBuffer):
        return
    if data.stream is not stream:
        stream.wait_for(data.stream)
    stream.uses(data)


def _length(data: Any) -> int:
    return data.nbytes if isinstance(data, DeviceBuffer) else len(data)


def _address(data: Any) -> int | None:
    if isinstance(data, DeviceBuffer):
        return data.pointer
    return ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value
