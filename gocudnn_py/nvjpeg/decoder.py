"""Decoding one picture: at once, or in its phases on the host, in between, and on the GPU."""

from __future__ import annotations

import ctypes

from gocudnn_py._abi.nvjpeg import Backend, OutputFormat
from gocudnn_py.cuda import Stream
from gocudnn_py.nvjpeg.buffers import BufferDevice, BufferPinned
from gocudnn_py.nvjpeg.content import Source, jpeg_bytes
from gocudnn_py.nvjpeg.formats import ImageInfo
from gocudnn_py.nvjpeg.handle import Handle, Part
from gocudnn_py.nvjpeg.image import Image, tight
from gocudnn_py.nvjpeg.params import DecodeParams
from gocudnn_py.nvjpeg.stream import JpegStream


class State(Part):
    """What decoding keeps between its phases, for one picture or batch at a time, on one thread at a time.

    With a `decoder` it is for that one's methods; without, for `decode` and for batches. What it works on it holds
    until it is used again or `forget`s (nvjpegJpegStateCreate, nvjpegDecoderStateCreate, nvjpegJpegStateDestroy).
    """

    pinned: BufferPinned | None = None
    expected: tuple[OutputFormat, ImageInfo] | None = None
    held: tuple[object, ...] = ()

    def __init__(self, owner: Handle, decoder: Decoder | None = None) -> None:
        lib, self.decoder = owner.lib, decoder
        self._attached = list[object]()  # has to stay until the state is gone
        if decoder is None:
            super().__init__(owner, lib.nvjpegJpegStateCreate, lib.nvjpegJpegStateDestroy, self._attached)
        else:
            create, keep_alive = lib.nvjpegDecoderStateCreate, (decoder, self._attached)
            super().__init__(owner, create, lib.nvjpegJpegStateDestroy, *keep_alive, before=[decoder.handle])

    def attach(self, *, pinned: BufferPinned | None = None, device: BufferDevice | None = None) -> None:
        """Work in these buffers, which other states may use too, after each other.

        (nvjpegStateAttachPinnedBuffer, nvjpegStateAttachDeviceBuffer)
        """
        if pinned is not None:
            self.lib.nvjpegStateAttachPinnedBuffer(self.handle, pinned.handle)
            self.pinned = pinned
        if device is not None:
            self.lib.nvjpegStateAttachDeviceBuffer(self.handle, device.handle)
        self._attached.extend(each for each in (pinned, device) if each not in (None, *self._attached))

    def decode(self, source: Source, image: Image, stream: Stream) -> None:
        """Decode a JPEG into an image, in stream order, by whatever backend nvJPEG finds best, not by the handle's.

        The hardware engine where there is one that can, which takes its own memory and calls no allocator; else
        GPU_HYBRID from 100,000 samples, HYBRID below. Raises ValueError when the image has not the format's planes,
        NvjpegError when nvJPEG cannot (nvjpegDecode, nvjpegGetImageInfo).
        """
        if self.decoder is not None:
            raise ValueError("this state is a decoder's, whose methods use it")
        data = jpeg_bytes(source)
        check_planes(image, image.format, self.owner.info(data))
        cuda, target = self.owner.enter(stream), image.structure()
        arguments = data, len(data), image.format, ctypes.byref(target), cuda
        self.hold(stream, image, data)
        self.lib.nvjpegDecode(self.owner.handle, self.handle, *arguments)

    def hold(self, stream: Stream, image: Image, *others: object) -> None:
        """Keep an image that is about to be written on a stream, and others, until the next."""
        if getattr(image.memory, "readonly", False):
            raise ValueError(f"{image} can only be read")
        if image.stream is not stream:
            stream.wait_for(image.stream)
        self.held = image, *others
        stream.uses(image.memory)
        image.stream = stream

    def forget(self) -> None:
        """Let go what it worked on; the stream has to be done with it."""
        self.held = ()


class Decoder(Part):
    """A way to decode one picture: DEFAULT, HYBRID with the Huffman codes on the CPU, GPU_HYBRID, HARDWARE.

    States are made for one decoder, and need a device buffer attached. Several threads may use one
    (nvjpegDecoderCreate, nvjpegDecoderDestroy).
    """

    def __init__(self, owner: Handle, backend: Backend = Backend.DEFAULT) -> None:
        self.backend = Backend(backend)
        super().__init__(owner, owner.lib.nvjpegDecoderCreate, owner.lib.nvjpegDecoderDestroy, before=[self.backend])

    def supports(self, jpeg: JpegStream, params: DecodeParams) -> bool:
        """Whether it decodes that JPEG so (nvjpegDecoderJpegSupported)."""
        answer = ctypes.c_int(-1)
        self.owner.gpu.enter()
        self.lib.nvjpegDecoderJpegSupported(self.handle, jpeg.handle, params.handle, ctypes.byref(answer))
        return answer.value == 0

    def decode(self, state: State, jpeg: JpegStream, params: DecodeParams, image: Image, stream: Stream) -> None:
        """Decode a parsed JPEG into an image, all phases in stream order (nvjpegDecodeJpeg).

        Raises ValueError when the region is not inside, or the image has not the planes of what comes out.
        """
        check_planes(image, params.format, params.output(jpeg.info))
        cuda, target = self.owner.enter(stream), image.structure()
        _ready(state)
        state.hold(stream, image, jpeg, params)
        arguments = jpeg.handle, ctypes.byref(target), params.handle, cuda
        self.lib.nvjpegDecodeJpeg(self.owner.handle, self.handle, state.handle, *arguments)
        _read(state, stream)

    def decode_host(self, state: State, jpeg: JpegStream, params: DecodeParams) -> None:
        """The first phase, on the host alone (nvjpegDecodeJpegHost)."""
        output = params.output(jpeg.info)
        tight(params.format, output)
        _ready(state)
        state.held = jpeg, params
        self.owner.gpu.enter()  # pinned memory may be allocated
        self.lib.nvjpegDecodeJpegHost(self.owner.handle, self.handle, state.handle, params.handle, jpeg.handle)
        state.expected = params.format, output

    def transfer(self, state: State, jpeg: JpegStream, stream: Stream) -> None:
        """The second phase, to the GPU in stream order (nvjpegDecodeJpegTransferToDevice)."""
        cuda = self.owner.enter(stream)
        arguments = self.owner.handle, self.handle, state.handle, jpeg.handle, cuda
        self.lib.nvjpegDecodeJpegTransferToDevice(*arguments)
        _read(state, stream)

    def decode_device(self, state: State, image: Image, stream: Stream) -> None:
        """The last phase, on the GPU in stream order (nvjpegDecodeJpegDevice).

        Raises ValueError when the image has not the planes of what comes out.
        """
        if state.expected is None:
            raise ValueError("decode_device comes after decode_host and transfer")
        check_planes(image, *state.expected)
        cuda, target = self.owner.enter(stream), image.structure()
        state.hold(stream, image, *state.held)
        self.lib.nvjpegDecodeJpegDevice(self.owner.handle, self.handle, state.handle, ctypes.byref(target), cuda)
        state.expected = None


def _ready(state: State) -> None:
    """The host phase writes the pinned buffer: what was copied from it before has to be on the GPU."""
    if state.pinned is not None:
        state.pinned.wait()


def _read(state: State, stream: Stream) -> None:
    if state.pinned is not None:
        state.pinned.read_on(stream)


def check_planes(image: Image, format: OutputFormat, info: ImageInfo) -> None:
    """Raise ValueError unless an image has the planes that decoding writes."""
    wanted = tuple(tuple(plane.shape) for plane in tight(format, info))
    have = tuple(tuple(plane.shape) for plane in image.planes)
    if image.format != format or have != wanted:
        raise ValueError(f"{format.name} with planes {wanted} comes out, the image is {image.format.name} with {have}")
