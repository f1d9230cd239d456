"""nvJPEG's calls, to a library that is not there: their arguments against C's declarations, and what is refused."""

from __future__ import annotations

import ctypes
import gc
import io
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from gocudnn_py import driver, nvjpeg
from gocudnn_py._abi import nvjpeg as abi
from gocudnn_py.errors import NvjpegError, UnusableResource
from gocudnn_py.nvjpeg import (
    WHOLE,
    Allocator,
    Backend,
    BatchDecoder,
    BufferDevice,
    BufferPinned,
    ChromaSubsampling,
    DecodeParams,
    Decoder,
    EncBackend,
    EncoderParams,
    EncoderState,
    ExifOrientation,
    Flags,
    Handle,
    Image,
    JpegEncoding,
    JpegStream,
    OutputFormat,
    ScaleFactor,
    State,
    buffers,
    handle,
    picture,
    simple,
)
from gocudnn_py.resource import drain
from tests.gocudnn_py.recorded import FakeMemory, FakeStream, Recorded, fake_buffer, without_driver

SIZE = 37, 21
COLOURS_420 = picture(*SIZE, "420")


def made() -> bytes:
    out = io.BytesIO()
    Pillow.new("RGB", SIZE, (9, 99, 199)).save(out, "JPEG")
    return out.getvalue()


JPEG = made()


def _filled(**values: int) -> Any:
    """An answer that writes numbers where the arguments of those names point."""

    def answer(name: str) -> Any:
        names = abi.FUNCTIONS[name].names

        def write(*arguments: Any) -> None:
            for argument, value in values.items():
                arguments[names.index(argument)]._obj.value = value

        return write

    return answer


def _info(*arguments: Any) -> None:
    arguments[3]._obj.value, arguments[4]._obj.value = 3, ChromaSubsampling.CSS_420
    arguments[5][:3], arguments[6][:3] = (37, 19, 19), (21, 11, 11)


def _component(stream: Any, component: int, width: Any, height: Any) -> None:
    width._obj.value, height._obj.value = ((37, 21), (19, 11), (19, 11))[component]


class Coded:
    """What encoding leaves, which is handed out once: afterwards nvJPEG says its length, and writes nothing."""

    content, taken = b"jpeg!", True

    def encode(self, *arguments: Any) -> None:
        self.taken = False

    def retrieve(self, handle: Any, state: Any, data: Any, length: Any, stream: Any) -> None:
        length._obj.value = len(self.content)
        if data is not None and not self.taken:
            ctypes.memmove(data, self.content, len(self.content))
            self.taken = True


ANSWERS = {
    "nvjpegGetHardwareDecoderInfo": _filled(num_engines=1, num_cores_per_engine=5),
    "nvjpegGetHardwareEncoderInfo": _filled(num_engines=2),
    "nvjpegGetDeviceMemoryPadding": _filled(padding=256),
    "nvjpegGetPinnedMemoryPadding": _filled(padding=512),
    "nvjpegJpegStreamGetJpegEncoding": _filled(jpeg_encoding=JpegEncoding.PROGRESSIVE_DCT_HUFFMAN),
    "nvjpegJpegStreamGetFrameDimensions": _filled(width=37, height=21),
    "nvjpegJpegStreamGetComponentsNum": _filled(components_num=3),
    "nvjpegJpegStreamGetExifOrientation": _filled(orientation_flag=ExifOrientation.ROTATE_90),
    "nvjpegJpegStreamGetSamplePrecision": _filled(precision=8),
    "nvjpegJpegStreamGetChromaSubsampling": _filled(chroma_subsampling=ChromaSubsampling.CSS_420),
    "nvjpegDecoderJpegSupported": _filled(is_supported=0),
    "nvjpegDecodeBatchedSupported": _filled(is_supported=1),
    "nvjpegDecodeBatchedSupportedEx": _filled(is_supported=0),
    "nvjpegBufferPinnedRetrieve": _filled(size=64, ptr=0xAA00),
    "nvjpegBufferDeviceRetrieve": _filled(size=65, ptr=0xBB00),
    "nvjpegEncodeGetBufferSize": _filled(max_stream_length=4096),
}


class Marks:
    """A fake event, which counts."""

    waited = recorded = 0

    def __init__(self, device: Any) -> None:
        pass

    def record(self, stream: Any) -> None:
        Marks.recorded += 1

    def synchronize(self) -> None:
        Marks.waited += 1


@pytest.fixture
def coded() -> Coded:
    return Coded()


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, coded: Coded) -> Iterator[Recorded]:
    answers = {name: answer(name) for name, answer in ANSWERS.items()}
    answers |= {"nvjpegGetImageInfo": _info, "nvjpegJpegStreamGetComponentDimensions": _component}
    answers |= dict.fromkeys(("nvjpegEncodeRetrieveBitstream", "nvjpegEncodeRetrieveBitstreamDevice"), coded.retrieve)
    answers |= dict.fromkeys(("nvjpegEncode", "nvjpegEncodeImage", "nvjpegEncodeYUV"), coded.encode)
    library = Recorded(abi.FUNCTIONS, answers)
    without_driver(monkeypatch, library, [handle])
    monkeypatch.setattr(driver, "call", lambda *call: library.calls.append(call))
    monkeypatch.setattr(buffers, "Event", Marks)
    monkeypatch.setattr(simple, "_mine", type("Mine", (), {})())
    for module in (nvjpeg.image, nvjpeg.encoder):
        monkeypatch.setattr(module, "DeviceBuffer", _Buffer)
    Marks.waited = Marks.recorded = 0
    yield library
    simple._mine.__dict__.clear()
    gc.collect()
    drain()  # while there is still no driver to be asked


class _Buffer(nvjpeg.image.DeviceBuffer):
    """A device buffer that no GPU has, but the host."""

    def __init__(self, stream: Any, nbytes: int) -> None:
        self.content = ctypes.create_string_buffer(nbytes)
        self._take(stream, nbytes, FakeMemory(ctypes.addressof(self.content)))  # type: ignore[arg-type]

    def upload(self, array: Any, offset: int = 0) -> None:
        ctypes.memmove(self.pointer + offset, array.ctypes.data, array.nbytes)

    def download(self, array: Any, offset: int = 0) -> Any:
        ctypes.memmove(array.ctypes.data, self.pointer + offset, array.nbytes)
        return array


class Line(FakeStream):
    """A stream that notes what it waits for."""

    def __init__(self, handle: int = 77) -> None:
        super().__init__(handle)
        self.waits: list[Any] = []

    def wait_for(self, other: Any) -> None:
        self.waits.append(other)


@pytest.fixture
def stream() -> Any:
    return Line()


@pytest.fixture
def owner(fake: Recorded, stream: Any) -> Handle:
    return Handle(stream.device)


def test_handles(fake: Recorded, stream: Any) -> None:
    device = stream.device
    plain = Allocator(lambda nbytes, stream: 1, lambda address, stream: None)
    pinned = Allocator(lambda nbytes, stream: 1, lambda address, stream: None, pinned=True)
    ordered = Allocator(lambda nbytes, stream: 1, lambda address, stream: None, ordered=True)
    both = Allocator(lambda nbytes, stream: 1, lambda address, stream: None, pinned=True, ordered=True)
    Handle(device).close()
    Handle(device, Backend.HYBRID, device_memory=plain).close()
    Handle(device, Backend.HARDWARE, flags=Flags.BITSTREAM_STRICT, pinned_memory=pinned).close()
    Handle(device, device_memory=ordered, pinned_memory=both).close()
    assert fake.names == [
        *("nvjpegCreateSimple", "nvjpegDestroy", "nvjpegCreate", "nvjpegDestroy"),
        *("nvjpegCreateEx", "nvjpegDestroy", "nvjpegCreateExV2", "nvjpegDestroy"),
    ]
    assert fake.last("nvjpegCreate")[1]._obj is plain.structure
    backend, nothing, memory, flags, _ = fake.last("nvjpegCreateEx")
    assert (backend, nothing, memory._obj, flags) == (Backend.HARDWARE, None, pinned.structure, 4)
    with pytest.raises(ValueError, match="an ordered allocator needs another"):
        Handle(device, device_memory=ordered)
    with pytest.raises(ValueError, match="an ordered allocator needs another"):
        Handle(device, device_memory=ordered, pinned_memory=pinned)
    with pytest.raises(TypeError, match="an allocator of pinned memory where one of device memory is needed"):
        Handle(device, device_memory=pinned)
    with pytest.raises(TypeError, match="an allocator of device memory where one of pinned memory is needed"):
        BufferPinned(Handle(device), ordered)


def test_states_hold_the_allocators_of_a_closed_handle(fake: Recorded, stream: Any) -> None:
    memory = Allocator(lambda nbytes, stream: 1, lambda address, stream: None)
    pinned = Allocator(lambda nbytes, stream: 1, lambda address, stream: None, pinned=True)
    owner = Handle(stream.device, device_memory=memory, pinned_memory=pinned)
    state, living = State(owner), [weakref.ref(memory), weakref.ref(pinned)]
    owner.close()
    del owner, memory, pinned
    gc.collect()
    assert None not in [each() for each in living]
    state.close()
    del state
    gc.collect()
    assert [each() for each in living] == [None, None]


def test_a_handle_tells(fake: Recorded, owner: Handle) -> None:
    assert owner.info(JPEG) == COLOURS_420
    assert (owner.hardware_decoder, owner.hardware_encoder) == ((1, 5), 2)
    assert (owner.device_padding, owner.pinned_padding) == (256, 512)
    owner.device_padding, owner.pinned_padding = 1024, 2048
    h = owner.handle
    assert (fake.last("nvjpegSetDeviceMemoryPadding"), fake.last("nvjpegSetPinnedMemoryPadding")) == (
        (1024, h),
        (2048, h),
    )
    with pytest.raises(ValueError, match="padding of -1 bytes"):
        owner.device_padding = -1
    with pytest.raises(ValueError, match="not a JPEG"):
        owner.info(b"GIF89a")
    assert repr(owner) == "Handle(DEFAULT on GPU 0)"
    owner.close()
    with pytest.raises(UnusableResource, match="this Handle is closed"):
        owner.info(JPEG)
    with pytest.raises(UnusableResource, match="this Handle is closed"):
        JpegStream(owner)


def test_a_parsed_jpeg(fake: Recorded, owner: Handle) -> None:
    parsed = JpegStream(owner).parse(JPEG, metadata=True)
    assert fake.last("nvjpegJpegStreamParse") == (owner.handle, JPEG, len(JPEG), 1, 0, parsed.handle)
    assert (parsed.encoding, parsed.size, parsed.components) == (JpegEncoding.PROGRESSIVE_DCT_HUFFMAN, SIZE, 3)
    assert (parsed.orientation, parsed.precision) == (ExifOrientation.ROTATE_90, 8)
    assert (parsed.info, parsed.component_size(2)) == (COLOURS_420, (19, 11))
    with pytest.raises(ValueError, match="component 3 of 3"):
        parsed.component_size(3)
    parsed.parse_header(JPEG)
    parsed.parse_tables(JPEG)
    assert fake.last("nvjpegJpegStreamParseTables") == (owner.handle, JPEG, len(JPEG), parsed.handle)
    parsed.parse_tables(None)
    assert fake.last("nvjpegJpegStreamParseTables") == (owner.handle, None, 0, parsed.handle)
    with pytest.raises(ValueError, match="not a JPEG"):
        parsed.parse_tables(b"tables")


def test_decode_params(fake: Recorded, owner: Handle) -> None:
    params = DecodeParams(owner)
    assert params.set() is params
    assert fake.names[-1] == "nvjpegDecodeParamsCreate"
    params.set(format="yuv", roi=(2, 4, 6, 8), allow_cmyk=True, orientation=ExifOrientation.ROTATE_90)
    params.set(scale=ScaleFactor.SCALE_1_BY_2)
    h = params.handle
    assert [call[1:] for call in fake.calls if "ParamsSet" in call[0]] == [
        (h, 1),
        (h, 2, 4, 6, 8),
        (h, 1),
        (h, 6),
        (h, 1),
    ]
    assert params.output(COLOURS_420).sizes == ((3, 4), (2, 2), (2, 2))
    assert repr(params) == "DecodeParams(YUV, roi=(2, 4, 6, 8), allow_cmyk, ROTATE_90, scale SCALE_1_BY_2)"
    for wrong in ((1, 2, 3), (-1, 0, 4, 4), (0, 0, 0, 4), (0, 0, -1, 4), (0, 0, 70_000, 4)):
        with pytest.raises(ValueError, match="a region is x, y, width, height in pixels, or WHOLE"):
            params.set(roi=wrong)  # type: ignore[arg-type]
    params.set(roi=WHOLE, scale=ScaleFactor.NONE, orientation=ExifOrientation.NORMAL)
    assert params.output(COLOURS_420) == COLOURS_420


def test_decoding_at_once(fake: Recorded, owner: Handle, stream: Any) -> None:
    decoder, parsed, params = Decoder(owner, Backend.HYBRID), JpegStream(owner).parse(JPEG), DecodeParams(owner)
    state, pinned, device = State(owner, decoder), BufferPinned(owner), BufferDevice(owner)
    assert fake.last("nvjpegDecoderCreate")[:2] == (owner.handle, Backend.HYBRID)
    assert fake.last("nvjpegDecoderStateCreate")[:2] == (owner.handle, decoder.handle)
    state.attach(pinned=pinned, device=device)
    assert fake.last("nvjpegStateAttachPinnedBuffer") == (state.handle, pinned.handle)
    params.set(format="rgb", roi=(0, 0, 10, 8))
    assert decoder.supports(parsed, params)
    image = Image.empty(stream, "rgb", picture(10, 8))
    decoder.decode(state, parsed, params, image, stream)
    handles = owner.handle, decoder.handle, state.handle, parsed.handle
    *first, target, how, cuda = fake.last("nvjpegDecodeJpeg")
    assert (tuple(first), how, cuda) == (handles, params.handle, 77)
    assert (target._obj.channel[0], target._obj.pitch[0]) == (image.memory.pointer, 30)
    assert (Marks.waited, Marks.recorded, stream.used) == (0, 1, [image.memory])
    decoder.decode(state, parsed, params, image, stream)
    assert (Marks.waited, Marks.recorded) == (1, 2)
    with pytest.raises(
        ValueError, match=r"RGBI with planes \(\(8, 10, 3\),\) comes out, the image is Y with \(\(8, 10, 1\),\)"
    ):
        decoder.decode(state, parsed, params, Image.empty(stream, "gray", picture(10, 8)), stream)
    with pytest.raises(ValueError, match="this state is a decoder's"):
        state.decode(JPEG, image, stream)
    params.set(roi=(30, 0, 10, 8))
    with pytest.raises(ValueError, match="is not inside the picture of 37 x 21"):
        decoder.decode(state, parsed, params, image, stream)
    other: Any = FakeStream(5, ordinal=1)
    params.set(roi=(0, 0, 10, 8))
    with pytest.raises(ValueError, match=r"FakeStream\(5\) is not of GPU 0"):
        decoder.decode(state, parsed, params, image, other)
    state.close()
    with pytest.raises(UnusableResource, match="this State is closed"):
        decoder.decode(state, parsed, params, image, stream)


def test_decoding_in_phases(fake: Recorded, owner: Handle, stream: Any) -> None:
    decoder, parsed, params = Decoder(owner), JpegStream(owner).parse(JPEG), DecodeParams(owner).set(format="yuv")
    state = State(owner, decoder)
    image = Image.empty(stream, "yuv", COLOURS_420)
    with pytest.raises(ValueError, match="decode_device comes after decode_host and transfer"):
        decoder.decode_device(state, image, stream)
    state.attach(pinned=BufferPinned(owner), device=BufferDevice(owner))
    decoder.decode_host(state, parsed, params)
    decoder.transfer(state, parsed, stream)
    decoder.decode_device(state, image, stream)
    h, d, s, j = owner.handle, decoder.handle, state.handle, parsed.handle
    assert fake.last("nvjpegDecodeJpegHost") == (h, d, s, params.handle, j)
    assert fake.last("nvjpegDecodeJpegTransferToDevice") == (h, d, s, j, 77)
    *first, target, cuda = fake.last("nvjpegDecodeJpegDevice")
    assert (first, cuda) == ([h, d, s], 77)
    assert list(target._obj.pitch) == [37, 19, 19, 0]
    assert (Marks.waited, Marks.recorded) == (0, 1)
    decoder.decode_host(state, parsed, params)
    assert Marks.waited == 1
    with pytest.raises(ValueError, match="YUV with planes"):
        decoder.decode_device(state, Image.empty(stream, "rgb", COLOURS_420), stream)


def test_simple_decoding(fake: Recorded, owner: Handle, stream: Any) -> None:
    state, image = State(owner), Image.empty(stream, "nv12", COLOURS_420)
    state.decode(JPEG, image, stream)
    *first, target, cuda = fake.last("nvjpegDecode")
    assert (first, cuda) == ([owner.handle, state.handle, JPEG, len(JPEG), OutputFormat.NV12], 77)
    assert list(target._obj.pitch) == [37, 38, 0, 0]
    with pytest.raises(ValueError, match="RGBI with planes"):
        state.decode(JPEG, Image.empty(stream, "rgb", picture(5, 5)), stream)
    image.memory.readonly = True  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="can only be read"):
        state.decode(JPEG, image, stream)


def test_batches(fake: Recorded, owner: Handle, stream: Any) -> None:
    batch = BatchDecoder(owner, 2, "gray", threads=3)
    batch.parse_tables(JPEG)
    batch.parse_tables(None)
    batch.preallocate(640, 480, "420")
    h, s = owner.handle, batch.state.handle
    assert fake.last("nvjpegDecodeBatchedParseJpegTables") == (h, s, None, 0)
    assert fake.last("nvjpegDecodeBatchedPreAllocate") == (h, s, 2, 640, 480, ChromaSubsampling.CSS_420, OutputFormat.Y)
    parsed, params = JpegStream(owner).parse_header(JPEG), DecodeParams(owner)
    assert (batch.supports(parsed), batch.supports(parsed, params)) == (False, True)
    images = [Image.empty(stream, "gray", COLOURS_420) for _ in range(2)]
    batch.decode([JPEG, bytearray(JPEG)], images, stream)
    batch.decode([JPEG, JPEG], images, stream)
    assert fake.last("nvjpegDecodeBatchedInitialize") == (h, s, 2, 3, OutputFormat.Y)
    assert fake.names.count("nvjpegDecodeBatchedInitialize") == 1
    *handles, data, lengths, targets, cuda = fake.last("nvjpegDecodeBatched")
    assert (handles, list(lengths), cuda) == ([h, s], [len(JPEG)] * 2, 77)
    assert [ctypes.string_at(place, 4) for place in data] == [JPEG[:4]] * 2
    assert [target.channel[0] for target in targets] == [image.memory.pointer for image in images]
    refused: list[tuple[Any, Any, Any, str]] = [
        ([JPEG], images, None, "1 JPEGs for batches of 2"),
        ([JPEG, JPEG], images[:1], None, "1 images for batches of 2"),
        ([JPEG, JPEG], images, [params], "1 params for batches of 2"),
        ([JPEG, JPEG], images, [params, params], "backend DEFAULT takes no params; HARDWARE and LOSSLESS_JPEG do"),
        ([JPEG, images[0].memory], images, None, "1 of 2 JPEGs are on the GPU"),
        (
            [images[0].memory] * 2,
            images,
            None,
            "DEFAULT takes no JPEGs on the GPU; GPU_HYBRID_DEVICE and HARDWARE_DEVICE",
        ),
        ([JPEG, JPEG[:-2]], images, None, "truncated JPEG"),
        ([JPEG, JPEG], [images[0], Image.empty(stream, "rgb", COLOURS_420)], None, "the image is RGBI"),
    ]
    for sources, targets, params_, words in refused:
        with pytest.raises(ValueError, match=words):
            batch.decode(sources, targets, stream, params_)
    with pytest.raises(ValueError, match="a batch of 0 pictures by 1 threads"):
        BatchDecoder(owner, 0)
    batch.close()
    assert fake.last("nvjpegJpegStateDestroy") == (s,)


def test_a_batch_that_failed(fake: Recorded, owner: Handle, stream: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: Any) -> None:
        raise NvjpegError("nvjpegDecodeBatched", 3, "BAD_JPEG")

    batch, image = BatchDecoder(owner, 1), Image.empty(stream, "rgb", COLOURS_420)
    with monkeypatch.context() as patched:
        patched.setattr(fake, "nvjpegDecodeBatched", fail, raising=False)
        with pytest.raises(NvjpegError, match="BAD_JPEG"):
            batch.decode([JPEG], [image], stream)
    batch.decode([JPEG], [image], stream)
    assert fake.names.count("nvjpegDecodeBatchedInitialize") == 2


def test_batches_of_other_backends(fake: Recorded, stream: Any) -> None:
    hardware = Handle(stream.device, Backend.HARDWARE)
    params, image = DecodeParams(hardware).set(roi=(0, 0, 8, 8)), Image.empty(stream, "rgb", picture(8, 8))
    BatchDecoder(hardware, 1).decode([JPEG], [image], stream, [params])
    *_, every, cuda = fake.last("nvjpegDecodeBatchedEx")
    assert (list(every), cuda) == ([params.handle], 77)
    params.set(scale=ScaleFactor.SCALE_1_BY_2)
    with pytest.raises(ValueError, match="a batch cannot be scaled by SCALE_1_BY_2"):
        BatchDecoder(hardware, 1).decode([JPEG], [image], stream, [params])
    on_gpu: Any = fake_buffer(stream, 999, 0x700000)
    BatchDecoder(Handle(stream.device, Backend.GPU_HYBRID_DEVICE), 1).decode([on_gpu], [image], stream)
    _, _, data, lengths, _, _ = fake.last("nvjpegDecodeBatched")
    assert (list(data), list(lengths)) == ([0x700000], [999])
    assert (stream.waits, stream.used) == ([], [image.memory, on_gpu, image.memory])


def test_a_batch_waits_for_its_jpegs_on_the_gpu(fake: Recorded, stream: Any) -> None:
    owner, other, image = (
        Handle(stream.device, Backend.GPU_HYBRID_DEVICE),
        Line(88),
        Image.empty(stream, "rgb", COLOURS_420),
    )
    there, here = fake_buffer(other, 999, 0x700000), fake_buffer(stream, 999, 0x800000)
    BatchDecoder(owner, 2).decode([there, here], [image, image], stream)
    assert (stream.waits, stream.used[:2]) == ([other], [there, here])


def test_buffers(fake: Recorded, owner: Handle, stream: Any) -> None:
    plain = Allocator(lambda nbytes, stream: 1, lambda address, stream: None)
    both = Allocator(lambda nbytes, stream: 1, lambda address, stream: None, pinned=True, ordered=True)
    ordered = Allocator(lambda nbytes, stream: 1, lambda address, stream: None, ordered=True)
    pinned, device = BufferPinned(owner, both), BufferDevice(owner, plain)
    assert fake.last("nvjpegBufferPinnedCreateV2")[1]._obj is both.structure
    assert fake.last("nvjpegBufferDeviceCreate")[1]._obj is plain.structure
    BufferDevice(owner, ordered).close()
    BufferPinned(owner).close()
    pinned.resize(100, stream)
    device.resize(200, stream)
    assert fake.last("nvjpegBufferPinnedResize") == (pinned.handle, 100, 77)
    assert fake.last("nvjpegBufferDeviceResize") == (device.handle, 200, 77)
    assert (pinned.memory(), device.memory()) == ((0xAA00, 64), (0xBB00, 65))
    with pytest.raises(ValueError, match="a buffer of -1 bytes"):
        pinned.resize(-1, stream)


def test_encoder_params(fake: Recorded, owner: Handle, stream: Any) -> None:
    params = EncoderParams(owner, stream)
    params.set(quality=85, subsampling="422", optimized=True, restart_interval=4)
    params.set(encoding=JpegEncoding.PROGRESSIVE_DCT_HUFFMAN)
    h = params.handle
    assert fake.last("nvjpegEncoderParamsCreate")[2] == 77
    assert [call[1:] for call in fake.calls if "ParamsSet" in call[0]] == [
        *((h, 85, 77), (h, ChromaSubsampling.CSS_422, 77), (h, 1, 77), (h, 4, 77), (h, 0xC2, 77)),
    ]
    assert repr(params) == "EncoderParams(quality 85, CSS_422, optimized, PROGRESSIVE_DCT_HUFFMAN)"
    assert params.max_size(37, 21) == 4096
    for change, words in (
        ({"quality": 0}, "quality 0; there is 1 to 100"),
        ({"quality": 101}, "quality 101"),
        ({"subsampling": "4:2:0"}, "no chroma subsampling '4:2:0'"),
        ({"encoding": JpegEncoding.LOSSLESS_HUFFMAN}, "JPEGs are written BASELINE_DCT or PROG.*, not LOSSLESS_HUFFMAN"),
        ({"restart_interval": -1}, "restart_interval -1"),
    ):
        with pytest.raises(ValueError, match=words):
            params.set(**change)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="width 65536; there is 1 to 65535"):
        params.max_size(65_536, 4)
    parsed, state = JpegStream(owner).parse(JPEG, metadata=True), EncoderState(owner, stream)
    params.copy_quantization_tables(parsed)
    params.copy_metadata(state, parsed)
    assert fake.last("nvjpegEncoderParamsCopyQuantizationTables") == (h, parsed.handle, 77)
    assert fake.last("nvjpegEncoderParamsCopyMetadata") == (state.handle, h, parsed.handle, 77)


def test_encoder_state(fake: Recorded, owner: Handle, stream: Any) -> None:
    state, params = EncoderState(owner, stream, EncBackend.GPU), EncoderParams(owner, stream)
    assert fake.last("nvjpegEncoderStateCreateWithBackend")[2:] == (EncBackend.GPU, 77)
    rgb, yuv, gray, nv12 = (Image.empty(stream, name, COLOURS_420) for name in ("rgb", "yuv", "gray", "nv12"))
    state.encode_image(rgb, params)
    handles = owner.handle, state.handle, params.handle
    first, (source, *how) = fake.last("nvjpegEncodeImage")[:3], fake.last("nvjpegEncodeImage")[3:]
    assert (first, how, source._obj.pitch[0]) == (handles, [OutputFormat.RGBI, 37, 21, 77], 111)
    state.encode_yuv(yuv, params)
    assert fake.last("nvjpegEncodeYUV")[4:] == (ChromaSubsampling.CSS_420, 37, 21, 77)
    with pytest.raises(ValueError, match="a picture in NV12 is encoded with subsampling '420', not CSS_444"):
        state.encode(nv12, params)
    params.set(subsampling="420")
    state.encode(nv12, params)
    assert fake.last("nvjpegEncode")[4:] == (ChromaSubsampling.CSS_420, OutputFormat.NV12, 37, 21, 77)
    with pytest.raises(ValueError, match="a gray picture is encoded with subsampling 'gray', not CSS_420"):
        state.encode_yuv(gray, params)
    params.set(subsampling="gray")
    state.encode(gray, params)
    assert fake.last("nvjpegEncode")[4:] == (ChromaSubsampling.GRAY, 1, 37, 21, 77)
    with pytest.raises(ValueError, match="encode_image takes RGB, BGR, RGBI, BGRI, not YUV"):
        state.encode_image(yuv, params)
    with pytest.raises(ValueError, match="encode_yuv takes YUV, Y, not RGBI"):
        state.encode_yuv(rgb, params)
    assert (state.length, state.bitstream()) == (5, b"jpeg!")
    assert stream.used == [rgb.memory, yuv.memory, nv12.memory, gray.memory]
    params.close()
    with pytest.raises(UnusableResource, match="this EncoderParams is closed"):
        state.encode_image(rgb, params)


def on_host(memory: Any) -> bytes:
    content: bytes = memory.download(np.empty(memory.nbytes, np.uint8)).tobytes()
    return content


@pytest.mark.parametrize("first", ["bitstream", "bitstream_device"])
def test_a_jpeg_is_there_as_often_as_it_is_asked_for(
    first: str, fake: Recorded, owner: Handle, stream: Any, coded: Coded
) -> None:
    state, params = EncoderState(owner, stream), EncoderParams(owner, stream)
    image = Image.empty(stream, "rgb", COLOURS_420)
    for content in (b"jpeg!", b"another"):
        coded.content = content
        state.encode_image(image, params)
        assert state.length == len(content)
        getattr(state, first)()
        on_gpu = state.bitstream_device()
        ctypes.memmove(on_gpu.pointer, b"?", 1)
        assert [state.bitstream() for _ in range(2)] == [content] * 2
        assert (on_host(state.bitstream_device()), state.length) == (content, len(content))


def test_a_jpeg_goes_to_the_gpu_on_the_default_stream(fake: Recorded, owner: Handle, stream: Any) -> None:
    state, params = EncoderState(owner, stream), EncoderParams(owner, stream)
    state.encode_image(Image.empty(stream, "rgb", COLOURS_420), params)
    on_gpu, waited = state.bitstream_device(), stream.waited
    assert (on_host(on_gpu), waited) == (b"jpeg!", 4)
    *handles, place, _, cuda = fake.last("nvjpegEncodeRetrieveBitstreamDevice")
    assert (handles, place, cuda) == ([owner.handle, state.handle], on_gpu.pointer, 0)
    assert fake.calls[-1] == ("cuStreamSynchronize", 0)
    assert on_host(state.bitstream_device()) == state.bitstream() == b"jpeg!"
    assert fake.names.count("nvjpegEncodeRetrieveBitstreamDevice") == 1


def test_encoding_waits_for_the_picture(fake: Recorded, owner: Handle, stream: Any) -> None:
    other: Any = Line(88)
    state, params = EncoderState(owner, stream), EncoderParams(owner, stream)
    state.encode_image(Image.empty(stream, "rgb", COLOURS_420), params)
    assert stream.waits == []
    state.encode_image(Image.empty(other, "rgb", COLOURS_420), params)
    assert stream.waits == [other]
    nvjpeg.encode(Image.empty(other, "rgb", COLOURS_420), stream)
    assert (stream.waits, other.waits) == ([other, other], [])


def test_what_is_given_counts_also_when_it_is_nought(fake: Recorded, stream: Any) -> None:
    image = Image.empty(stream, "rgb", COLOURS_420)
    for subsampling in ("444", ChromaSubsampling.CSS_444):
        nvjpeg.encode(image, subsampling=subsampling)
        assert fake.last("nvjpegEncoderParamsSetSamplingFactors")[1] == ChromaSubsampling.CSS_444
        nvjpeg.encode(image)
        assert fake.last("nvjpegEncoderParamsSetSamplingFactors")[1] == ChromaSubsampling.CSS_420
    with pytest.raises(ValueError, match="a region is x, y, width, height in pixels, or WHOLE"):
        nvjpeg.decode(JPEG, stream, roi=())  # type: ignore[arg-type]
    with pytest.raises(AttributeError, match="'int' object"):
        nvjpeg.decode(JPEG, stream, out=0)  # type: ignore[arg-type]


def test_one_call(fake: Recorded, stream: Any, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(JPEG)
    image = nvjpeg.decode(tmp_path / "a.jpg", stream, format="yuv", upright=True)
    assert (image.width, image.height, stream.waited) == (21, 37, 1)
    assert nvjpeg.decode(JPEG, stream, roi=(1, 1, 5, 4), out=Image.empty(stream, "rgb", picture(5, 4))).shape == (
        4,
        5,
        3,
    )
    assert fake.names.count("nvjpegCreateSimple") == 1
    assert [each.shape for each in nvjpeg.decode_batch([JPEG, JPEG], stream)] == [(21, 37, 3)] * 2
    assert nvjpeg.decode_batch([], stream) == []
    assert nvjpeg.image_info(JPEG, stream.device) == COLOURS_420
    assert nvjpeg.encode(image, quality=60) == b"jpeg!"
    assert fake.last("nvjpegEncoderParamsSetQuality")[1] == 60
    assert fake.last("nvjpegEncoderParamsSetSamplingFactors")[1] == ChromaSubsampling.CSS_420
    assert nvjpeg.save(Image.empty(stream, "rgb", picture(5, 4)), tmp_path / "b.jpg", progressive=True) == 5
    assert (tmp_path / "b.jpg").read_bytes() == b"jpeg!"
    assert fake.last("nvjpegEncoderParamsSetOptimizedHuffman")[1] == 1
    assert fake.last("nvjpegEncoderParamsSetEncoding")[1] == JpegEncoding.PROGRESSIVE_DCT_HUFFMAN
    nvjpeg.encode(Image.empty(stream, "gray", picture(5, 4)))
    assert fake.last("nvjpegEncodeYUV")[4] == ChromaSubsampling.GRAY
    nvjpeg.encode(Image.empty(stream, "nv12", picture(6, 4, "420")))
    assert fake.names[-3] == "nvjpegEncode"
    with pytest.raises(ValueError, match="BGRI, not UNCHANGED"):
        nvjpeg.encode(Image.empty(stream, "unchanged", picture(5, 4)))
    with pytest.raises(ValueError, match="not inside the picture of 37 x 21"):
        nvjpeg.decode(JPEG, stream, roi=(0, 0, 38, 4))
    with pytest.raises(ValueError, match="RGBI with planes"):
        nvjpeg.decode(JPEG, stream, out=Image.empty(stream, "rgb", picture(5, 4)))


def test_every_function_is_named() -> None:
    text = "\n".join(path.read_text() for path in Path(nvjpeg.__file__).parent.glob("*.py"))
    assert [name for name in abi.FUNCTIONS if name not in text] == []
