"""nvJPEG encoding on the card, read again by Pillow."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image as Pillow

from gocudnn_py import nvjpeg
from gocudnn_py.cuda import DeviceBuffer, Stream
from gocudnn_py.errors import LibraryNotFound, NvjpegError, UnusableResource
from gocudnn_py.library import load
from gocudnn_py.nvjpeg import (
    EncBackend,
    EncoderParams,
    EncoderState,
    Handle,
    Image,
    JpegEncoding,
    JpegStream,
)
from tests.gpu.pictures import BOUNDS, NAMES, SIZE, decibels, difference, made, opened, photo, read

if TYPE_CHECKING:
    from gocunets.backends.cudnn import CudaBackend

PHOTO = photo()
ARTIST = 0x013B  # of EXIF
# What Pillow reaches is the measure: the same quality stands for the same rounding of coefficients, and where colours
# are halved by another filter, 1 dB of difference is left.
LESS = 1.0


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


@pytest.mark.parametrize("quality", [50, 75, 90, 95])
@pytest.mark.parametrize("name", list(NAMES))
@pytest.mark.covers("nvjpegEncodeImage", "nvjpegEncodeRetrieveBitstream", "nvjpegEncoderParamsSetQuality")
@pytest.mark.covers("nvjpegEncoderParamsSetSamplingFactors")
def test_qualities(name: str, quality: int, stream: Stream) -> None:
    data = nvjpeg.encode(PHOTO, stream, quality=quality, subsampling=name)
    found = opened(data)
    assert (found.mode, found.size) == ("RGB", SIZE)
    assert [layer[1:3] for layer in found.layer] == [
        layer[1:3] for layer in opened(made(PHOTO, subsampling=NAMES[name])).layer
    ]
    right = decibels(read(made(PHOTO, quality=quality, subsampling=NAMES[name])), PHOTO)
    assert decibels(read(data), PHOTO) > right - LESS


def test_better_is_longer(stream: Stream) -> None:
    lengths = [len(nvjpeg.encode(PHOTO, stream, quality=quality)) for quality in (10, 50, 75, 90, 100)]
    assert all(one < other for one, other in itertools.pairwise(lengths))


@pytest.mark.parametrize("format", ["rgb", "bgr", "rgb_planar", "bgr_planar"])
def test_formats(format: str, stream: Stream) -> None:
    pixels = PHOTO[..., ::-1] if format.startswith("bgr") else PHOTO
    pixels = pixels.transpose(2, 0, 1) if format.endswith("planar") else pixels
    data = nvjpeg.encode(pixels, stream, format=format, subsampling="444")
    assert data == nvjpeg.encode(PHOTO, stream, subsampling="444")
    assert decibels(read(data), PHOTO) > 38


@pytest.mark.covers("nvjpegEncodeYUV")
def test_gray(stream: Stream) -> None:
    gray = read(made(PHOTO, "L", quality=100))
    found = opened(nvjpeg.encode(gray, stream, format="gray"))
    assert (found.mode, found.size) == ("L", SIZE)
    assert decibels(np.asarray(found), gray) > decibels(read(made(gray, "L")), gray) - LESS


@pytest.mark.parametrize("name", list(NAMES))
@pytest.mark.covers("nvjpegEncodeYUV")
def test_stored_components(name: str, stream: Stream) -> None:
    data = made(PHOTO, quality=98, subsampling=NAMES[name])
    again = nvjpeg.encode(nvjpeg.decode(data, stream, format="yuv"), quality=98)
    assert [layer[1:3] for layer in opened(again).layer] == [layer[1:3] for layer in opened(data).layer]
    assert decibels(read(again), read(data)) > 40


@pytest.mark.covers("nvjpegEncode")
def test_nv12(stream: Stream) -> None:
    data = made(photo(96, 64), quality=98, subsampling=2)
    again = nvjpeg.encode(nvjpeg.decode(data, stream, format="nv12"), quality=98)
    assert decibels(read(again), read(data)) > 40


@pytest.mark.covers("nvjpegEncoderParamsSetOptimizedHuffman")
def test_codes_made_for_the_picture_are_shorter(stream: Stream) -> None:
    plain, optimized = (nvjpeg.encode(PHOTO, stream, optimized=each) for each in (False, True))
    assert len(optimized) < len(plain)
    np.testing.assert_array_equal(read(optimized), read(plain))


@pytest.mark.covers("nvjpegEncoderParamsSetEncoding")
def test_progressive(stream: Stream) -> None:
    data = nvjpeg.encode(PHOTO, stream, progressive=True)
    assert opened(data).info.get("progressive") == 1
    np.testing.assert_array_equal(read(data), read(nvjpeg.encode(PHOTO, stream)))


class Foreign:
    """Somebody's array on the card."""

    def __init__(self, image: Image) -> None:
        self.image, self.__cuda_array_interface__ = image, image.__cuda_array_interface__


def test_pictures_of_others(backend: CudaBackend, stream: Stream) -> None:
    image = Image.upload(stream, PHOTO)
    right = nvjpeg.encode(image)
    assert nvjpeg.encode(Foreign(image), stream) == right
    assert nvjpeg.encode(image, backend.device.stream()) == right
    with pytest.raises(ValueError, match=r"shape \(77, 123, 3\) is no picture in format Y"):
        nvjpeg.encode(Foreign(image), stream, format="gray")
    image.close()
    with pytest.raises(UnusableResource):
        nvjpeg.encode(image)


def test_files(tmp_path: Path, stream: Stream) -> None:
    path = tmp_path / "photo.jpg"
    assert nvjpeg.save(PHOTO, path, stream, quality=95, subsampling="444") == path.stat().st_size
    assert difference(nvjpeg.decode(path, stream).download(), read(path.read_bytes())) < BOUNDS["444"]


def on_host(memory: DeviceBuffer) -> bytes:
    return memory.download(np.empty(memory.nbytes, np.uint8)).tobytes()


@pytest.mark.covers("nvjpegEncode", "nvjpegEncodeImage", "nvjpegEncodeYUV", "nvjpegEncodeRetrieveBitstreamDevice")
@pytest.mark.covers("nvjpegEncodeGetBufferSize", "nvjpegEncoderStateCreate", "nvjpegEncoderParamsCreate")
def test_the_objects(owner: Handle, stream: Stream) -> None:
    state, params = EncoderState(owner, stream), EncoderParams(owner, stream).set(quality=85, subsampling="420")
    image = Image.upload(stream, PHOTO)
    state.encode_image(image, params)
    data = state.bitstream()
    assert (state.length, len(data) <= params.max_size(*SIZE)) == (len(data), True)
    assert state.bitstream() == data
    assert on_host(state.bitstream_device()) == data
    assert decibels(read(data), PHOTO) > 37
    state.encode(image, params)
    assert [on_host(state.bitstream_device()) for _ in range(2)] == [data] * 2
    assert [state.bitstream() for _ in range(2)] == [data] * 2
    yuv = nvjpeg.decode(data, stream, format="yuv")
    state.encode_yuv(yuv, params)
    first = state.bitstream()
    state.encode(yuv, params)
    assert state.bitstream() == first
    state.close()
    with pytest.raises(UnusableResource, match="this EncoderState is closed"):
        state.encode_image(image, params)


@pytest.mark.covers("nvjpegEncoderStateCreateWithBackend", "nvjpegGetHardwareEncoderInfo")
def test_backends(owner: Handle, stream: Stream) -> None:
    image, params = Image.upload(stream, PHOTO), EncoderParams(owner, stream).set(quality=85, subsampling="420")
    found = []
    for which in (None, EncBackend.GPU):
        state = EncoderState(owner, stream, which)
        state.encode_image(image, params)
        found.append(state.bitstream())
    if owner.hardware_encoder == 0:
        assert found[0] == found[1]
        with pytest.raises(NvjpegError):
            EncoderState(owner, stream, EncBackend.HARDWARE)


@pytest.mark.covers("nvjpegEncoderParamsSetRestartInterval")
def test_restart_markers_are_for_hardware(owner: Handle, stream: Stream) -> None:
    image, state = Image.upload(stream, PHOTO), EncoderState(owner, stream)
    params = EncoderParams(owner, stream).set(subsampling="420", restart_interval=4)
    state.encode_image(image, params)
    data = state.bitstream()
    assert (b"\xff\xdd" in data) == (owner.hardware_encoder > 0)
    assert decibels(read(data), PHOTO) > 35


@pytest.mark.covers("nvjpegEncoderParamsCopyQuantizationTables")
def test_quantisation_of_another(owner: Handle, stream: Stream) -> None:
    tables = [[min(255, 1 + n // 2) for n in range(64)], [min(255, 3 + n) for n in range(64)]]
    data = made(PHOTO, qtables=tables, subsampling=0)
    parsed, params = JpegStream(owner).parse(data), EncoderParams(owner, stream).set(subsampling="444")
    params.copy_quantization_tables(parsed)
    state = EncoderState(owner, stream)
    state.encode_yuv(nvjpeg.decode(data, stream, format="yuv"), params)
    again = state.bitstream()
    assert opened(again).quantization == opened(data).quantization
    assert difference(read(again), read(data)) < 1.0


@pytest.mark.covers("nvjpegEncoderParamsCopyMetadata")
def test_metadata_of_another(owner: Handle, stream: Stream) -> None:
    exif = Pillow.Exif()
    exif[ARTIST] = "a hand"
    data = made(PHOTO, subsampling=0, comment=b"made by hand", exif=exif)
    parsed, params = JpegStream(owner).parse(data, metadata=True), EncoderParams(owner, stream)
    params.set(quality=90, subsampling="444", encoding=parsed.encoding)
    state = EncoderState(owner, stream)
    params.copy_metadata(state, parsed)
    state.encode_image(Image.upload(stream, PHOTO), params)
    again = state.bitstream()
    assert params.encoding is JpegEncoding.BASELINE_DCT
    assert opened(again).getexif()[ARTIST] == "a hand"
    assert "comment" not in opened(again).info  # nvJPEG takes over none
    assert decibels(read(again), PHOTO) > 38
