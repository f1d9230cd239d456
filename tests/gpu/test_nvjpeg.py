"""nvJPEG decoding on the card, against Pillow's decoding of the same bytes."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image as Pillow
from PIL import ImageOps

from gocudnn_py import driver, nvjpeg
from gocudnn_py.cuda import DeviceBuffer, Stream
from gocudnn_py.cuda.pointers import pointer_info
from gocudnn_py.errors import LibraryNotFound, NvjpegError, UnusableResource
from gocudnn_py.library import load
from gocudnn_py.nvjpeg import (
    Allocator,
    Backend,
    BatchDecoder,
    BufferDevice,
    BufferPinned,
    ChromaSubsampling,
    DecodeParams,
    Decoder,
    ExifOrientation,
    Flags,
    Handle,
    Image,
    JpegEncoding,
    JpegStream,
    ScaleFactor,
    State,
    picture,
)
from tests.gpu.pictures import BOUNDS, NAMES, SIZE, difference, halved, made, opened, photo, read

if TYPE_CHECKING:
    from gocunets.backends.cudnn import CudaBackend

PHOTO = photo()
JPEG = made(PHOTO, subsampling=0)
every_subsampling = pytest.mark.parametrize("name", list(NAMES))


@pytest.fixture(scope="module", autouse=True)
def library(backend: CudaBackend) -> Any:
    try:
        return load("nvjpeg")
    except LibraryNotFound as error:
        pytest.skip(str(error).splitlines()[0])


@pytest.fixture(scope="module")
def stream(backend: CudaBackend) -> Stream:
    return backend.stream


@pytest.fixture(scope="module")
def owner(backend: CudaBackend) -> Handle:
    return Handle(backend.device)


def hardware(backend: CudaBackend, which: Backend = Backend.HARDWARE) -> Handle:
    """A handle on the engines that decode JPEG, if this machine lets them be used."""
    try:
        return Handle(backend.device, which)
    except NvjpegError as error:
        pytest.skip(f"no {which.name} decoder here: {error}")


# One call.


@every_subsampling
@pytest.mark.parametrize("progressive", [False, True], ids=["baseline", "progressive"])
@pytest.mark.covers("nvjpegJpegStreamParse", "nvjpegDecodeParamsSetOutputFormat", "nvjpegDecodeJpeg")
def test_colours(name: str, progressive: bool, stream: Stream) -> None:
    data = made(PHOTO, subsampling=NAMES[name], progressive=progressive)
    right = read(data)
    for format, wanted in {
        "rgb": right,
        "bgr": right[..., ::-1],
        "rgb_planar": right.transpose(2, 0, 1),
        "bgr_planar": right[..., ::-1].transpose(2, 0, 1),
    }.items():
        image = nvjpeg.decode(data, stream, format=format)
        assert image.shape == wanted.shape
        assert difference(image.download(), wanted) < BOUNDS[name], format


@every_subsampling
def test_luminance(name: str, stream: Stream) -> None:
    data = made(PHOTO, subsampling=NAMES[name])
    assert difference(nvjpeg.decode(data, stream, format="gray").download(), read(data, "L")) < 0.5


def test_a_gray_jpeg(stream: Stream) -> None:
    data = made(PHOTO, "L")
    for format in ("gray", "yuv", "unchanged"):
        assert difference(nvjpeg.decode(data, stream, format=format).download(), read(data)) < 0.5
    right = np.stack([read(data)] * 3, axis=-1)
    assert difference(nvjpeg.decode(data, stream, format="rgb").download(), right) < 0.5


@every_subsampling
@pytest.mark.parametrize("format", ["yuv", "unchanged"])
def test_stored_components(name: str, format: str, stream: Stream) -> None:
    data = made(PHOTO, subsampling=NAMES[name])
    right = read(data, "YCbCr")
    luminance, *colours = nvjpeg.decode(data, stream, format=format).arrays()
    assert difference(luminance[..., 0], right[..., 0]) < 0.5
    factors = {"444": (1, 1), "422": (2, 1), "420": (2, 2)}[name]
    for number, colour in enumerate(colours, start=1):
        assert difference(colour[..., 0], halved(right[..., number], *factors)) < BOUNDS[name]


def test_nv12(stream: Stream) -> None:
    data = made(PHOTO, subsampling=2)
    luminance, colours = nvjpeg.decode(data, stream, format="nv12").arrays()
    y, u, v = nvjpeg.decode(data, stream, format="yuv").arrays()
    assert difference(luminance, y) < 0.5
    assert difference(colours, np.concatenate([u, v], axis=-1)) < 0.5


def test_yuy2(stream: Stream) -> None:
    data = made(photo(64, 48), subsampling=1)
    (packed,) = nvjpeg.decode(data, stream, format="yuy2").arrays()
    y, u, v = nvjpeg.decode(data, stream, format="yuv").arrays()
    assert difference(packed[..., 0], y[..., 0]) < 0.5
    assert difference(packed[:, 0::2, 1], u[..., 0]) < 0.5
    assert difference(packed[:, 1::2, 1], v[..., 0]) < 0.5


@pytest.mark.covers("nvjpegDecodeParamsSetAllowCMYK")
def test_cmyk(stream: Stream) -> None:
    data = made(PHOTO, "CMYK")
    converted = nvjpeg.decode(data, stream).download()
    assert difference(converted, np.asarray(opened(data).convert("RGB"))) < 2.0
    inks = nvjpeg.decode(data, stream, format="unchanged").download()
    assert difference(255 - inks, read(data).transpose(2, 0, 1)) < 0.6  # stored the wrong way round, as Adobe does
    with pytest.raises(ValueError, match="format YUV needs 1 or 3 components, this picture has 4"):
        nvjpeg.decode(data, stream, format="yuv")


@every_subsampling
@pytest.mark.parametrize("roi", [(16, 8, 50, 40), (16, 9, 107, 68), (0, 0, 1, 1), (0, 0, *SIZE)], ids=str)
@pytest.mark.covers("nvjpegDecodeParamsSetROI")
def test_regions(name: str, roi: tuple[int, int, int, int], stream: Stream) -> None:
    data = made(PHOTO, subsampling=NAMES[name])
    x, y, width, height = roi
    image = nvjpeg.decode(data, stream, roi=roi)
    whole = nvjpeg.decode(data, stream).download()[y : y + height, x : x + width]
    assert image.shape == (height, width, 3)
    assert difference(image.download(), whole) < BOUNDS[name]


@pytest.mark.parametrize("orientation", list(ExifOrientation)[1:], ids=lambda each: each.name)
@pytest.mark.covers("nvjpegJpegStreamGetExifOrientation", "nvjpegDecodeParamsSetExifOrientation")
def test_upright(orientation: ExifOrientation, stream: Stream) -> None:
    tags = Pillow.Exif()
    tags[0x0112] = int(orientation)
    data = made(PHOTO, subsampling=0, exif=tags)
    right = np.asarray(ImageOps.exif_transpose(opened(data)))
    image = nvjpeg.decode(data, stream, upright=True)
    assert image.shape == right.shape
    assert difference(image.download(), right) < BOUNDS["444"]
    assert difference(nvjpeg.decode(data, stream).download(), read(data)) < BOUNDS["444"]


def test_into_memory_that_is_there(backend: CudaBackend, stream: Stream) -> None:
    memory = DeviceBuffer(stream, PHOTO.nbytes + 64)
    memory.fill(7)
    image = nvjpeg.decode(JPEG, stream, out=Image.over(stream, memory, "rgb", picture(*SIZE)))
    raw = memory.download(np.empty(memory.nbytes, np.uint8))
    assert difference(raw[: PHOTO.nbytes].reshape(PHOTO.shape), read(JPEG)) < BOUNDS["444"]
    assert (raw[PHOTO.nbytes :] == 7).all()
    other = backend.device.stream()
    assert nvjpeg.decode(JPEG, other, out=image) is image
    assert difference(image.download(), read(JPEG)) < BOUNDS["444"]
    image.close()
    with pytest.raises(UnusableResource):
        nvjpeg.decode(JPEG, stream, out=image)


@pytest.mark.covers("nvjpegGetImageInfo")
def test_info(backend: CudaBackend) -> None:
    for name, number in NAMES.items():
        info = nvjpeg.image_info(made(PHOTO, subsampling=number), backend.device)
        assert info == picture(*SIZE, name)
    assert nvjpeg.image_info(made(PHOTO, "L"), backend.device) == picture(*SIZE, "gray")
    assert nvjpeg.image_info(made(PHOTO, "CMYK"), backend.device).sizes == (SIZE,) * 4


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"GIF89a", ValueError),
        (JPEG[:-700], ValueError),
        (JPEG.replace(b"\xff\xc0", b"\xff\xc9", 1), NvjpegError),  # arithmetic codes
    ],
    ids=["GIF", "truncated", "arithmetic"],
)
def test_what_cannot_be_read(data: bytes, error: type[Exception], stream: Stream) -> None:
    with pytest.raises(error):
        nvjpeg.decode(data, stream)
    assert difference(nvjpeg.decode(JPEG, stream).download(), read(JPEG)) < BOUNDS["444"]


# The objects below.


@pytest.mark.covers("nvjpegJpegStreamGetJpegEncoding", "nvjpegJpegStreamGetFrameDimensions")
@pytest.mark.covers("nvjpegJpegStreamGetComponentsNum", "nvjpegJpegStreamGetComponentDimensions")
@pytest.mark.covers("nvjpegJpegStreamGetSamplePrecision", "nvjpegJpegStreamGetChromaSubsampling")
@pytest.mark.covers("nvjpegJpegStreamParseHeader", "nvjpegJpegStreamGetExifOrientation")
def test_a_parsed_jpeg(owner: Handle) -> None:
    parsed = JpegStream(owner).parse(made(PHOTO, subsampling=2, progressive=True))
    assert (parsed.encoding, parsed.size) == (JpegEncoding.PROGRESSIVE_DCT_HUFFMAN, SIZE)
    assert (parsed.components, parsed.component_size(1), parsed.precision) == (3, (62, 39), 8)
    assert (parsed.subsampling, parsed.orientation) == (ChromaSubsampling.CSS_420, ExifOrientation.UNKNOWN)
    parsed.parse_header(JPEG)
    assert (parsed.encoding, parsed.info) == (JpegEncoding.BASELINE_DCT, picture(*SIZE))
    parsed.parse(made(PHOTO, "CMYK"), copy=True)
    assert (parsed.components, parsed.subsampling) == (4, ChromaSubsampling.CSS_444)


@every_subsampling
@pytest.mark.covers("nvjpegDecode")
def test_a_state_decodes(name: str, owner: Handle, stream: Stream) -> None:
    data, state = made(PHOTO, subsampling=NAMES[name]), State(owner)
    image = Image.empty(stream, "rgb", owner.info(data))
    for _ in range(2):
        state.decode(data, image, stream)
    assert difference(image.download(), read(data)) < BOUNDS[name]


@pytest.mark.parametrize("which", [Backend.DEFAULT, Backend.HYBRID, Backend.GPU_HYBRID], ids=lambda each: each.name)
@every_subsampling
@pytest.mark.covers("nvjpegDecoderCreate", "nvjpegDecoderJpegSupported", "nvjpegDecodeJpeg", "nvjpegDecodeJpegHost")
@pytest.mark.covers("nvjpegDecodeJpegTransferToDevice", "nvjpegDecodeJpegDevice", "nvjpegDecoderStateCreate")
def test_phases(name: str, which: Backend, owner: Handle, stream: Stream) -> None:
    data = made(PHOTO, subsampling=NAMES[name])
    decoder, parsed, params = (
        Decoder(owner, which),
        JpegStream(owner).parse(data),
        DecodeParams(owner).set(format="rgb"),
    )
    assert decoder.supports(parsed, params)
    state, pinned = State(owner, decoder), BufferPinned(owner)
    state.attach(pinned=pinned, device=BufferDevice(owner))
    first, second = (Image.empty(stream, "rgb", parsed.info) for _ in range(2))
    decoder.decode(state, parsed, params, first, stream)
    decoder.decode_host(state, parsed, params)
    decoder.transfer(state, parsed, stream)
    decoder.decode_device(state, second, stream)
    np.testing.assert_array_equal(first.download(), second.download())
    assert difference(first.download(), read(data)) < BOUNDS[name]


def test_phases_of_many_share_a_device_buffer(owner: Handle, stream: Stream) -> None:
    decoder, params, device = Decoder(owner), DecodeParams(owner).set(format="rgb"), BufferDevice(owner)
    datas = [made(photo(60 + 8 * n, 50, seed=n), subsampling=0) for n in range(4)]
    parsed = [JpegStream(owner).parse(data) for data in datas]
    states = [State(owner, decoder) for _ in datas]
    for state, each in zip(states, parsed, strict=True):
        state.attach(pinned=BufferPinned(owner), device=device)
        decoder.decode_host(state, each, params)
    images = []
    for state, each in zip(states, parsed, strict=True):
        images.append(Image.empty(stream, "rgb", each.info))
        decoder.transfer(state, each, stream)
        decoder.decode_device(state, images[-1], stream)
    for data, image in zip(datas, images, strict=True):
        assert difference(image.download(), read(data)) < BOUNDS["444"]


@pytest.mark.covers("nvjpegBufferPinnedCreate", "nvjpegBufferPinnedResize", "nvjpegBufferPinnedRetrieve")
@pytest.mark.covers("nvjpegBufferDeviceCreate", "nvjpegBufferDeviceResize", "nvjpegBufferDeviceRetrieve")
@pytest.mark.covers("nvjpegStateAttachPinnedBuffer", "nvjpegStateAttachDeviceBuffer")
def test_buffers(owner: Handle, stream: Stream) -> None:
    pinned, device = BufferPinned(owner), BufferDevice(owner)
    pinned.resize(4_000_000, stream)
    device.resize(8_000_000, stream)
    before = pinned.memory(), device.memory()
    assert pointer_info(before[0][0]).kind == "pinned"
    assert pointer_info(before[1][0]).kind == "device"
    assert (before[0][1] >= 4_000_000, before[1][1] >= 8_000_000) == (True, True)
    decoder, parsed, params = Decoder(owner), JpegStream(owner).parse(JPEG), DecodeParams(owner).set(format="rgb")
    state, image = State(owner, decoder), Image.empty(stream, "rgb", parsed.info)
    state.attach(pinned=pinned, device=device)
    decoder.decode(state, parsed, params, image, stream)
    assert difference(image.download(), read(JPEG)) < BOUNDS["444"]
    assert (pinned.memory(), device.memory()) == before  # large enough, so used as they are


@pytest.mark.covers("nvjpegSetDeviceMemoryPadding", "nvjpegGetDeviceMemoryPadding")
@pytest.mark.covers("nvjpegSetPinnedMemoryPadding", "nvjpegGetPinnedMemoryPadding")
def test_padding(backend: CudaBackend) -> None:
    owner = Handle(backend.device)
    owner.device_padding, owner.pinned_padding = 1 << 20, 1 << 16
    assert (owner.device_padding, owner.pinned_padding) == (1 << 20, 1 << 16)


@pytest.mark.covers("nvjpegCreateEx")
def test_interpolated_colours_come_closer(backend: CudaBackend, stream: Stream) -> None:
    data, found = made(PHOTO, subsampling=2), {}
    for flags in (Flags.DEFAULT, Flags.UPSAMPLING_WITH_INTERPOLATION):
        owner = Handle(backend.device, flags=flags)
        image = Image.empty(stream, "rgb", owner.info(data))
        decoder, parsed, params = Decoder(owner), JpegStream(owner).parse(data), DecodeParams(owner).set(format="rgb")
        state = State(owner, decoder)
        state.attach(pinned=BufferPinned(owner), device=BufferDevice(owner))
        decoder.decode(state, parsed, params, image, stream)
        found[flags] = difference(image.download(), read(data))
    assert found[Flags.UPSAMPLING_WITH_INTERPOLATION] < found[Flags.DEFAULT] < BOUNDS["420"]


class Counted:
    """Memory of the driver's, counted."""

    def __init__(self, allocate: str, release: str, *more: int) -> None:
        self.live: dict[int, int] = {}
        self.most, self._allocate, self._release, self._more = 0, allocate, release, more

    def allocate(self, nbytes: int, stream: int) -> int:
        made = ctypes.c_uint64()
        driver.call(self._allocate, ctypes.byref(made), nbytes, *self._more)
        self.live[made.value] = nbytes
        self.most = max(self.most, len(self.live))
        return made.value

    def release(self, address: int, stream: int) -> None:
        if address:
            del self.live[address]
            driver.call(self._release, address)


@pytest.mark.covers("nvjpegCreate", "nvjpegCreateEx")
def test_allocators(backend: CudaBackend, stream: Stream) -> None:
    data = made(PHOTO, subsampling=0, progressive=True)  # not for the hardware engine, which calls no allocator
    for both in (False, True):
        device, host = Counted("cuMemAlloc_v2", "cuMemFree_v2"), Counted("cuMemHostAlloc", "cuMemFreeHost", 0)
        memory = Allocator(device.allocate, device.release)
        pinned = Allocator(host.allocate, host.release, pinned=True)
        owner = Handle(backend.device, device_memory=memory, pinned_memory=pinned if both else None)
        state, image = State(owner), Image.empty(stream, "rgb", owner.info(data))
        state.decode(data, image, stream)
        assert difference(image.download(), read(data)) < BOUNDS["444"]
        assert (device.most > 0, host.most > 0) == (True, both)
        state.close()
        owner.close()
        assert (device.live, host.live, memory.failure, pinned.failure) == ({}, {}, None, None)


@pytest.mark.covers("nvjpegCreateExV2", "nvjpegBufferPinnedCreateV2", "nvjpegBufferDeviceCreateV2")
def test_allocators_in_stream_order(backend: CudaBackend, stream: Stream) -> None:
    memory, pinned = nvjpeg.pool_memory(backend.device), nvjpeg.pinned_memory(backend.device)
    owner = Handle(backend.device, device_memory=memory, pinned_memory=pinned)
    decoder, parsed, params = Decoder(owner), JpegStream(owner).parse(JPEG), DecodeParams(owner).set(format="rgb")
    state, buffers = State(owner, decoder), (BufferPinned(owner, pinned), BufferDevice(owner, memory))
    state.attach(pinned=buffers[0], device=buffers[1])
    image = Image.empty(stream, "rgb", parsed.info)
    decoder.decode(state, parsed, params, image, stream)
    assert difference(image.download(), read(JPEG)) < BOUNDS["444"]
    assert pointer_info(buffers[1].memory()[0]).pool == int(backend.device.core.memory_resource.handle)
    assert (memory.failure, pinned.failure) == (None, None)


def test_an_allocator_that_raises(backend: CudaBackend, stream: Stream) -> None:
    def none(nbytes: int, stream: int) -> int:
        raise MemoryError("nothing left")

    memory = Allocator(none, lambda address, stream: None)
    data = made(PHOTO, subsampling=0, progressive=True)  # not for the hardware engine, which calls no allocator

    def decode() -> None:
        owner = Handle(backend.device, device_memory=memory)
        State(owner).decode(data, Image.empty(stream, "rgb", owner.info(data)), stream)

    with pytest.raises(NvjpegError):
        decode()
    assert str(memory.failure) == "nothing left"


def parted(data: bytes) -> tuple[bytes, bytes]:
    """A JPEG as TIFF files hold it: its tables alone, and the picture without them."""
    tables, rest, place = b"", b"", 2
    while data[place + 1] != 0xDA:
        end = place + 2 + int.from_bytes(data[place + 2 : place + 4], "big")
        if data[place + 1] in (0xDB, 0xC4):
            tables += data[place:end]
        else:
            rest += data[place:end]
        place = end
    return b"\xff\xd8" + tables + b"\xff\xd9", b"\xff\xd8" + rest + data[place:]


@pytest.mark.covers("nvjpegJpegStreamParseTables", "nvjpegDecodeBatchedParseJpegTables")
def test_tables_apart(owner: Handle, stream: Stream) -> None:
    tables, rest = parted(JPEG)
    decoder, params = Decoder(owner), DecodeParams(owner).set(format="rgb")
    parsed = JpegStream(owner).parse_tables(tables).parse(rest)
    state = State(owner, decoder)
    state.attach(pinned=BufferPinned(owner), device=BufferDevice(owner))
    image = Image.empty(stream, "rgb", parsed.info)
    decoder.decode(state, parsed, params, image, stream)
    assert difference(image.download(), read(JPEG)) < BOUNDS["444"]
    batch, images = BatchDecoder(owner, 2), [Image.empty(stream, "rgb", parsed.info) for _ in range(2)]
    batch.parse_tables(tables)
    batch.decode([rest, rest], images, stream)
    assert difference(images[1].download(), read(JPEG)) < BOUNDS["444"]


# Batches.


def many() -> list[tuple[bytes, str]]:
    """16 JPEGs of different sizes, subsamplings and encodings, and the bound for each."""
    names = list(NAMES)
    colours = [(photo(40 + 9 * n, 90 - 4 * n, seed=n), names[n % 3], n % 4 == 3) for n in range(14)]
    jpegs = [(made(each, subsampling=NAMES[name], progressive=late), name) for each, name, late in colours]
    return [*jpegs, (made(photo(33, 65), "L"), "444"), (made(photo(300, 200), subsampling=2), "420")]


def rgb(data: bytes) -> Any:
    return np.asarray(opened(data).convert("RGB"))


@pytest.mark.covers("nvjpegDecodeBatchedInitialize", "nvjpegDecodeBatched", "nvjpegJpegStateCreate")
def test_a_batch_by_one_call(stream: Stream) -> None:
    jpegs = many()
    images = nvjpeg.decode_batch([data for data, _ in jpegs], stream)
    for image, (data, name) in zip(images, jpegs, strict=True):
        assert difference(image.download(), rgb(data)) < BOUNDS[name]


@pytest.mark.parametrize("which", [Backend.DEFAULT, Backend.HYBRID, Backend.GPU_HYBRID], ids=lambda each: each.name)
@pytest.mark.covers("nvjpegDecodeBatched", "nvjpegDecodeBatchedSupported", "nvjpegDecodeBatchedPreAllocate")
def test_batches_of_a_decoder(which: Backend, backend: CudaBackend, stream: Stream) -> None:
    owner = Handle(backend.device, which)
    jpegs, batch = many(), BatchDecoder(owner, 16, "rgb_planar", threads=4)
    batch.preallocate(320, 240)
    assert batch.supports(JpegStream(owner).parse_header(JPEG))
    for turn in (jpegs, jpegs[::-1]):
        images = [Image.empty(stream, "rgb_planar", owner.info(data)) for data, _ in turn]
        batch.decode([data for data, _ in turn], images, stream)
        for image, (data, name) in zip(images, turn, strict=True):
            assert difference(image.download(), rgb(data).transpose(2, 0, 1)) < BOUNDS[name]


@pytest.mark.covers("nvjpegDecodeBatched")
def test_jpegs_on_the_card(backend: CudaBackend, stream: Stream) -> None:
    owner, datas, memories = Handle(backend.device, Backend.GPU_HYBRID_DEVICE), [], []
    for number in range(4):
        datas.append(made(photo(64 + 16 * number, 48, seed=number), subsampling=0))
        memories.append(DeviceBuffer(stream, len(datas[-1])))
        memories[-1].upload(np.frombuffer(datas[-1], np.uint8))
    images = [Image.empty(stream, "rgb", owner.info(data)) for data in datas]
    BatchDecoder(owner, 4).decode(memories, images, stream)
    for image, data in zip(images, datas, strict=True):
        assert difference(image.download(), read(data)) < BOUNDS["444"]


@pytest.mark.covers("nvjpegDecodeBatched", "nvjpegDecodeBatchedSupported", "nvjpegGetHardwareDecoderInfo")
def test_hardware(backend: CudaBackend, stream: Stream) -> None:
    owner = hardware(backend)
    engines, cores = owner.hardware_decoder
    assert min(engines, cores) >= 1
    parsed, batch = JpegStream(owner), BatchDecoder(owner, 2)
    assert batch.supports(parsed.parse_header(JPEG))
    assert not batch.supports(parsed.parse_header(made(PHOTO, progressive=True)))
    batch.preallocate(*SIZE)
    images = [Image.empty(stream, "rgb", owner.info(JPEG)) for _ in range(2)]
    batch.decode([JPEG, JPEG], images, stream)
    assert difference(images[1].download(), read(JPEG)) < BOUNDS["444"]


@pytest.mark.covers("nvjpegDecodeBatchedEx", "nvjpegDecodeBatchedSupportedEx")
def test_hardware_makes_regions(backend: CudaBackend, stream: Stream) -> None:
    owner = hardware(backend)
    parsed, batch = JpegStream(owner).parse_header(JPEG), BatchDecoder(owner, 1)
    region = DecodeParams(owner).set(roi=(16, 8, 50, 40))
    small = DecodeParams(owner).set(scale=ScaleFactor.SCALE_1_BY_2)
    assert batch.supports(parsed, region)
    image = Image.empty(stream, "rgb", region.output(parsed.info))
    batch.decode([JPEG], [image], stream, [region])
    assert difference(image.download(), read(JPEG)[8:48, 16:66]) < BOUNDS["444"]
    with pytest.raises(ValueError, match="a batch cannot be scaled by SCALE_1_BY_2; a Decoder of backend HARDWARE can"):
        batch.decode([JPEG], [Image.empty(stream, "rgb", small.output(parsed.info))], stream, [small])


@pytest.mark.covers("nvjpegDecodeParamsSetScaleFactor", "nvjpegDecodeJpeg")
def test_hardware_makes_smaller(backend: CudaBackend, stream: Stream) -> None:
    owner = hardware(backend)
    parsed, decoder = JpegStream(owner).parse(JPEG), Decoder(owner, Backend.HARDWARE)
    params = DecodeParams(owner).set(scale=ScaleFactor.SCALE_1_BY_2, format="rgb")
    state = State(owner, decoder)
    state.attach(pinned=BufferPinned(owner), device=BufferDevice(owner))
    assert decoder.supports(parsed, params)
    image = Image.empty(stream, "rgb", params.output(parsed.info))
    assert image.shape == (39, 62, 3)
    decoder.decode(state, parsed, params, image, stream)
    means = np.stack([halved(read(JPEG)[..., colour], 2, 2) for colour in range(3)], axis=-1)
    assert difference(image.download(), means) < 3.0
