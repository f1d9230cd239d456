"""nvJPEG as far as it goes without a GPU: bytes, planes, allocators, versions."""

from __future__ import annotations

import ctypes
import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from gocudnn_py import driver, nvjpeg
from gocudnn_py._abi import nvjpeg as abi
from gocudnn_py.nvjpeg import (
    WHOLE,
    Allocator,
    ChromaSubsampling,
    ExifOrientation,
    Image,
    ImageInfo,
    LibraryPropertyType,
    OutputFormat,
    ScaleFactor,
    handle,
    picture,
)
from gocudnn_py.nvjpeg.content import content, jpeg_bytes
from gocudnn_py.nvjpeg.formats import FORMATS, cut, plane_shapes, scaled, turned
from gocudnn_py.nvjpeg.image import described
from tests.gocudnn_py.recorded import FakeStream, fake_buffer

pytestmark = pytest.mark.usefixtures("nvjpeg")
SIZE = 37, 21
NAMES = {"444": 0, "422": 1, "420": 2}  # Pillow's numbers


def pixels(height: int = SIZE[1], width: int = SIZE[0]) -> Any:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def made(mode: str = "RGB", **options: Any) -> bytes:
    out = io.BytesIO()
    Pillow.fromarray(pixels()).convert(mode).save(out, "JPEG", **options)
    return out.getvalue()


JPEG = made()


# Bytes.


def test_a_jpeg_is_bytes_or_a_file(tmp_path: Path) -> None:
    file = tmp_path / "a.jpg"
    file.write_bytes(JPEG)
    for source in (JPEG, bytearray(JPEG), memoryview(JPEG), np.frombuffer(JPEG, np.uint8), file, str(file)):
        assert jpeg_bytes(source) == JPEG  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="bytes or a path, not int"):
        content(7)  # type: ignore[arg-type]
    with pytest.raises(FileNotFoundError):
        content(tmp_path / "b.jpg")


@pytest.mark.parametrize(
    "data",
    [
        made(progressive=True),
        made("L"),
        made("CMYK"),
        made(comment=b"\xff\xd9\xff\xda"),
        made(optimize=True, restart_marker_rows=1),
        JPEG + b"behind the end",
        JPEG[:2] + b"\xff\xff" + JPEG[2:],
        JPEG[:20] + b"junk" + JPEG[20:],
    ],
    ids=["progressive", "gray", "CMYK", "comment", "restarts", "behind", "fill", "junk"],
)
def test_whole_jpegs_are_taken(data: bytes) -> None:
    assert jpeg_bytes(data) is data


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not a JPEG: 0 bytes that begin with nothing"),
        (b"\x89PNG\r\n\x1a\n", "not a JPEG: 8 bytes that begin with 89504e47, not ffd8"),
        (b"\xff\xd8", "truncated JPEG: 2 bytes, without a scan"),
        (JPEG[:30], "truncated JPEG: 30 bytes, segment ffdb at byte 20 goes to 89"),
        (JPEG[:-2], "without the end marker ffd9 after the scan that begins at byte"),
        (JPEG[: len(JPEG) // 2 + 300], "truncated JPEG"),
        (b"\xff\xd8\xff\xd9", "a JPEG without a picture: it ends at byte 2"),
        (b"\xff\xd8\xff\xda\0\2\xff\xd9", "the scan at byte 2 comes before any frame header"),
        (b"\xff\xd8" + bytes(50), "truncated JPEG: 52 bytes, without a scan"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_others_are_refused(data: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        jpeg_bytes(data)


def test_a_header_may_be_all_there_is() -> None:
    start = JPEG.index(b"\xff\xda")
    header = JPEG[: start + 2 + int.from_bytes(JPEG[start + 2 : start + 4], "big")]
    assert jpeg_bytes(header, whole=False) == header
    with pytest.raises(ValueError, match="truncated"):
        jpeg_bytes(header)
    with pytest.raises(ValueError, match="truncated"):
        jpeg_bytes(header[:-1], whole=False)


def test_every_cut_is_seen() -> None:
    for end in range(len(JPEG)):
        with pytest.raises(ValueError, match="JPEG"):
            jpeg_bytes(JPEG[:end])


# Planes.

COLOURS_420 = picture(37, 21, "420")


@pytest.mark.parametrize(
    ("format", "shapes"),
    [
        ("rgb", [(21, 37, 3)]),
        ("bgr", [(21, 37, 3)]),
        ("rgb_planar", [(21, 37, 1)] * 3),
        ("bgr_planar", [(21, 37, 1)] * 3),
        ("gray", [(21, 37, 1)]),
        ("yuv", [(21, 37, 1), (11, 19, 1), (11, 19, 1)]),
        ("unchanged", [(21, 37, 1), (11, 19, 1), (11, 19, 1)]),
        ("nv12", [(21, 37, 1), (11, 19, 2)]),
        ("unchanged_interleaved", [(21, 37, 3)]),
    ],
)
def test_planes(format: str, shapes: list[tuple[int, int, int]]) -> None:
    assert [tuple(shape) for shape in plane_shapes(FORMATS[format], COLOURS_420)] == shapes
    image = Image.over(FakeStream(), fake_buffer(FakeStream(), 5000), format, COLOURS_420)  # type: ignore[arg-type]
    structure, start = image.structure(), 0x100000
    for number, (height, width, channels) in enumerate(shapes):
        assert (structure.channel[number], structure.pitch[number]) == (start, width * channels)
        start += height * width * channels
    assert (list(structure.channel[len(shapes) :]), image.dtype) == ([None] * (4 - len(shapes)), np.uint8)


def test_yuy2_and_16_bits() -> None:
    assert [tuple(shape) for shape in plane_shapes(OutputFormat.YUY2, picture(37, 21, "422"))] == [(21, 38, 2)]
    gray = picture(37, 21, "gray")
    image = Image.over(FakeStream(), fake_buffer(FakeStream(), 1554), "unchanged_16", gray)  # type: ignore[arg-type]
    assert (image.dtype, image.planes[0].pitch, image.shape) == (np.uint16, 74, (21, 37))


def test_shapes() -> None:
    memory: Any = fake_buffer(FakeStream(), 5000)
    wanted = {"rgb": (21, 37, 3), "rgb_planar": (3, 21, 37), "gray": (21, 37)}
    assert {name: Image.over(FakeStream(), memory, name, COLOURS_420).shape for name in wanted} == wanted  # type: ignore[arg-type]
    image = Image.over(FakeStream(), memory, "yuv", COLOURS_420)  # type: ignore[arg-type]
    with pytest.raises(AttributeError, match="planes of format YUV have different shapes"):
        _ = image.shape
    assert not hasattr(image, "__cuda_array_interface__")
    whole = Image.over(FakeStream(), memory, "rgb", COLOURS_420)  # type: ignore[arg-type]
    interface = whole.__cuda_array_interface__
    assert (interface["shape"], interface["typestr"], interface["data"]) == ((21, 37, 3), "|u1", (0x100000, False))
    memory.readonly = True
    assert (whole.__cuda_array_interface__["data"], memory.__cuda_array_interface__["data"]) == ((0x100000, True),) * 2
    assert repr(whole) == "Image(RGBI, 37 x 21, CSS_420)"


@pytest.mark.parametrize("name", [*NAMES, "gray"])
def test_sizes_of_colours_are_pillows(name: str) -> None:
    info = picture(*SIZE, name)
    options = {} if name == "gray" else {"subsampling": NAMES[name]}
    with Pillow.open(io.BytesIO(made("L" if name == "gray" else "RGB", **options))) as opened:
        layers = opened.layer  # type: ignore[attr-defined]
        most = [max(layer[axis] for layer in layers) for axis in (1, 2)]
        sizes = [tuple(-(-side * layer[1 + axis] // most[axis]) for axis, side in enumerate(SIZE)) for layer in layers]
    assert list(info.sizes) == sizes


FOUR = ImageInfo(ChromaSubsampling.UNKNOWN, ((8, 8),) * 4)
REFUSED: list[tuple[Any, type[Exception], str]] = [
    (lambda: plane_shapes(OutputFormat.YUV, FOUR), ValueError, "format YUV needs 1 or 3 components, .* has 4"),
    (
        lambda: plane_shapes(OutputFormat.NV12, picture(8, 8)),
        ValueError,
        "NV12 needs CSS_420, this picture has CSS_444",
    ),
    (lambda: plane_shapes(OutputFormat.YUY2, COLOURS_420), ValueError, "YUY2 needs CSS_422, .* has CSS_420"),
    (lambda: plane_shapes(OutputFormat.UNCHANGEDI_U16, COLOURS_420), ValueError, "needs 1 or 2 components, .* has 3"),
    (lambda: nvjpeg.formats.output_format("hsv"), ValueError, "no format 'hsv'; there are rgb, bgr, rgb_planar"),
    (lambda: picture(8, 8, "421"), ValueError, "no chroma subsampling '421'; there are 444, 422"),
    (lambda: picture(0, 8), ValueError, "a picture of 0 x 8 pixels"),
    (lambda: picture(8, 8, ChromaSubsampling.CSS_410V), ValueError, "sizes of colour in CSS_410V are not known"),
    (
        lambda: cut(COLOURS_420, (30, 0, 8, 4), OutputFormat.RGBI),
        ValueError,
        "x=30, y=0, 8 x 4 is not inside .* 37 x 21",
    ),
    (lambda: cut(COLOURS_420, (0, 20, 4, 2), OutputFormat.RGBI), ValueError, "is not inside"),
    (lambda: cut(COLOURS_420, (1, 0, 4, 4), OutputFormat.YUV), ValueError, "x=1, y=0 in format YUV: steps are 2 and 2"),
    (
        lambda: described((4, 4, 4), np.dtype(np.uint8), "rgb"),
        ValueError,
        r"shape \(4, 4, 4\) is no picture in format RGBI",
    ),
    (lambda: described((4, 4, 3), np.dtype(np.uint8), "rgb_planar"), ValueError, "is no picture in format RGB"),
    (lambda: described((4, 4, 3), np.dtype(np.uint8), "gray"), ValueError, "is no picture in format Y"),
    (lambda: described((4, 4), np.dtype(np.uint8), "yuv"), ValueError, "no picture in format YUV; use Image.over"),
    (lambda: described((4, 4, 3), np.dtype(np.float32), "rgb"), TypeError, "a picture is of uint8, not float32"),
    (
        lambda: Image.over(FakeStream(), fake_buffer(FakeStream(), 100), "rgb", COLOURS_420),  # type: ignore[arg-type]
        ValueError,
        r"format RGBI with planes \(21, 37, 3\) needs 2331 bytes, not 100",
    ),
    (lambda: nvjpeg.encode(pixels()), TypeError, "encoding ndarray needs a stream"),
]


@pytest.mark.parametrize(("act", "error", "words"), REFUSED, ids=[row[2] for row in REFUSED])
def test_refused(act: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        act()


def test_windows() -> None:
    assert cut(COLOURS_420, WHOLE, OutputFormat.RGBI) == COLOURS_420
    assert cut(COLOURS_420, (4, 2, 9, 5), OutputFormat.YUV).sizes == ((9, 5), (5, 3), (5, 3))
    assert turned(COLOURS_420, ExifOrientation.ROTATE_180) == COLOURS_420
    upright = turned(picture(37, 21, "422"), ExifOrientation.ROTATE_90)
    assert upright == ImageInfo(ChromaSubsampling.CSS_440, ((21, 37), (21, 19), (21, 19)))
    assert turned(picture(37, 21, "411"), ExifOrientation.TRANSPOSE).subsampling is ChromaSubsampling.UNKNOWN
    assert scaled(COLOURS_420, ScaleFactor.SCALE_1_BY_4).sizes == ((10, 6), (5, 3), (5, 3))
    assert cut(picture(5, 4, "411"), (0, 0, 5, 4), OutputFormat.YUV).sizes == ((5, 4), (2, 4), (2, 4))


# Versions and allocators: the library itself.


@pytest.mark.covers("nvjpegGetProperty", "nvjpegGetCudartProperty")
def test_version(nvjpeg: Any) -> None:
    assert handle.version() == nvjpeg.version
    assert handle.version() >= (12, 4)
    assert handle.cuda_property(LibraryPropertyType.MAJOR_VERSION) == nvjpeg.version[0]


def called(function: int, kind: Any, *arguments: Any) -> int:
    result: int = ctypes.cast(function, kind)(*arguments)
    return result


def test_allocators_are_called_through_c() -> None:
    seen: list[Any] = []

    def allocate(nbytes: int, stream: int) -> int:
        seen.append((nbytes, stream))
        return 0xABC000

    out = ctypes.c_void_p()
    place = ctypes.addressof(out)
    plain = Allocator(allocate, lambda address, stream: seen.append((address, stream)))
    assert called(plain.structure.dev_malloc, abi.TDevMalloc, place, 64) == 0
    assert called(plain.structure.dev_free, abi.TDevFree, 0xABC000) == 0
    pinned = Allocator(allocate, lambda address, stream: seen.append((address, stream)), pinned=True)
    assert called(pinned.structure.pinned_malloc, abi.TPinnedMalloc, place, 65, 1) == 0
    ordered = Allocator(allocate, lambda address, stream: seen.append((address, stream)), ordered=True)
    assert called(ordered.structure.dev_malloc, abi.TDevMallocV2, None, place, 66, 99) == 0
    assert called(ordered.structure.dev_malloc, abi.TDevMallocV2, None, place, 67, None) == 0
    assert called(ordered.structure.dev_free, abi.TDevFreeV2, None, 0xABC000, 66, 99) == 0
    both = Allocator(allocate, lambda address, stream: seen.append((address, stream)), pinned=True, ordered=True)
    assert called(both.structure.pinned_free, abi.TPinnedFreeV2, None, 0xDEF000, 68, None) == 0
    assert out.value == 0xABC000
    assert seen == [(64, 0), (0xABC000, 0), (65, 0), (66, 99), (67, 0), (0xABC000, 99), (0xDEF000, 0)]


def test_an_allocator_that_raises_is_a_failure_in_c() -> None:
    def allocate(nbytes: int, stream: int) -> int:
        raise MemoryError(f"no {nbytes} bytes")

    allocator, out = Allocator(allocate, lambda address, stream: None), ctypes.c_void_p()
    assert called(allocator.structure.dev_malloc, abi.TDevMalloc, ctypes.addressof(out), 64) == 1
    assert repr(allocator.failure) == "MemoryError('no 64 bytes')"


def test_nothing_is_raised_through_c() -> None:
    def stop(*arguments: int) -> int:
        raise KeyboardInterrupt

    allocator, out = Allocator(stop, stop), ctypes.c_void_p()
    assert called(allocator.structure.dev_malloc, abi.TDevMalloc, ctypes.addressof(out), 64) == 1
    assert repr(allocator.failure) == "KeyboardInterrupt()"
    allocator.failure = None
    assert called(allocator.structure.dev_free, abi.TDevFree, 0xABC000) == 1
    assert repr(allocator.failure) == "KeyboardInterrupt()"


@pytest.mark.parametrize(
    ("address", "failure"),
    [
        (None, "MemoryError('None is no address of 64 bytes')"),
        (0, "MemoryError('0 is no address of 64 bytes')"),
        (1.5, "TypeError(\"'float' object cannot be interpreted as an integer\")"),
        ("0xABC", "TypeError(\"'str' object cannot be interpreted as an integer\")"),
    ],
)
def test_what_is_no_address_is_a_failure(address: Any, failure: str) -> None:
    allocator, out = Allocator(lambda nbytes, stream: address, lambda address, stream: None), ctypes.c_void_p(7)
    assert called(allocator.structure.dev_malloc, abi.TDevMalloc, ctypes.addressof(out), 64) == 1
    assert (repr(allocator.failure), out.value) == (failure, 7)


def test_addresses_of_nothing_and_of_numpy() -> None:
    allocator, out = Allocator(lambda nbytes, stream: 0, lambda address, stream: None), ctypes.c_void_p(7)
    assert called(allocator.structure.dev_malloc, abi.TDevMalloc, ctypes.addressof(out), 0) == 0
    assert (allocator.failure, out.value) == (None, None)
    allocator = Allocator(lambda nbytes, stream: np.uint64(2**63), lambda address, stream: None)  # type: ignore[arg-type, return-value]
    assert called(allocator.structure.dev_malloc, abi.TDevMalloc, ctypes.addressof(out), 64) == 0
    assert (allocator.failure, out.value) == (None, 2**63)


def test_ready_allocators(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[tuple[Any, ...]] = []

    def call(name: str, *arguments: Any) -> None:
        done.append((name, *arguments))
        for made in arguments:
            if hasattr(made, "_obj"):
                made._obj.value = 0xABC

    monkeypatch.setattr(driver, "call", call)
    monkeypatch.setattr(driver, "current", lambda ordinal: True)
    device: Any = SimpleNamespace(ordinal=0, pool_handle=0x77)
    memory, pinned, out = nvjpeg.pool_memory(device), nvjpeg.pinned_memory(device), ctypes.c_void_p()
    place = ctypes.addressof(out)
    for stream in (99, None):
        called(memory.structure.dev_malloc, abi.TDevMallocV2, None, place, 64, stream)
        called(memory.structure.dev_free, abi.TDevFreeV2, None, 0xABC, 64, stream)
    called(pinned.structure.pinned_malloc, abi.TPinnedMallocV2, None, place, 32, 99)
    called(pinned.structure.pinned_free, abi.TPinnedFreeV2, None, 0xABC, 32, 99)
    assert (memory.failure, pinned.failure) == (None, None)
    assert [tuple(each for each in call if not hasattr(each, "_obj")) for call in done] == [
        ("cuMemAllocFromPoolAsync", 64, 0x77, 99),
        ("cuMemFreeAsync", 0xABC, 99),
        ("cuMemAllocFromPoolAsync", 64, 0x77, 0),
        ("cuStreamSynchronize", 0),
        ("cuStreamSynchronize", 0),
        ("cuMemFreeAsync", 0xABC, 0),
        ("cuMemHostAlloc", 32, 0),
        ("cuStreamSynchronize", 99),
        ("cuMemFreeHost", 0xABC),
    ]
