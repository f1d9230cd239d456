"""NPP without a GPU: which functions its operations reach, images, what is refused, and what is found on the host."""

from __future__ import annotations

import ctypes
import inspect
import re
from collections import Counter
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gocudnn_py import npp as images
from gocudnn_py._abi.npp import FUNCTIONS, NppiSize, NppStreamContext
from gocudnn_py.errors import LibraryNotFound, NppError, UnusableResource
from gocudnn_py.npp import HogSettings, Image, Interpolation, context, dispatch, statistics
from gocudnn_py.parts import NPP
from tests.gocudnn_py import npp_calls
from tests.gocudnn_py.npp_calls import CALLS, HIGH, OTHER, PITCH, SCRATCH, SOURCE, TARGET, WIDE, Given, Line, case_of
from tests.gocudnn_py.recorded import Recorded, fake_buffer

Array = np.ndarray[Any, Any]
OPERATIONS = [each for name in images.__all__ if inspect.isfunction(each := getattr(images, name))]
ON_THE_HOST = re.compile(r"nppiGet\w+|nppiEvenLevelsHost_32s|nppGetLibVersion")


def named(operation: Any) -> set[str]:
    """The C functions in an operation's docstring."""
    return set(re.findall(r"\bnppi?[A-Z]\w+", operation.__doc__))


def test_each_function_is_reached_by_one_operation() -> None:
    counts = Counter(name for operation in OPERATIONS for name in named(operation))
    assert dict(counts) == dict.fromkeys(FUNCTIONS, 1)


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> Recorded:
    """NPP's functions, which only note what they are given."""
    library = Recorded(FUNCTIONS)
    for module in (dispatch, statistics):
        monkeypatch.setattr(module, "load", lambda name: library)
    monkeypatch.setattr(context, "_made", lambda stream: NppStreamContext())
    monkeypatch.setattr(dispatch, "DeviceBuffer", lambda stream, nbytes: fake_buffer(stream, nbytes, SCRATCH))
    monkeypatch.setattr("gocudnn_py.cuda.DeviceBuffer.fill", lambda *where, **how: None)
    return library


@pytest.mark.parametrize("operation", CALLS, ids=lambda operation: operation.__name__)
def test_an_operation_calls_what_it_names(operation: Any, recorded: Recorded) -> None:
    for name in sorted(named(operation)):
        case = case_of(name)
        if case is not None:
            CALLS[operation](Given(case))
            assert recorded.calls[-1][0] == name
            check_places(dict(zip(FUNCTIONS[name].names, recorded.calls[-1][1:], strict=True)))
    assert set(recorded.names) == named(operation)


def test_every_operation_is_called_or_works_on_the_host() -> None:
    rest = {name for operation in OPERATIONS if operation not in CALLS for name in named(operation)}
    assert all(ON_THE_HOST.fullmatch(name) for name in rest)


PLACES = {
    "pSrc": (SOURCE, OTHER, TARGET),
    "aSrc": (SOURCE,),
    "pSrc1": (SOURCE, OTHER),
    "pSrc2": (SOURCE, OTHER),
    "pDst": (TARGET,),
    "aDst": (TARGET,),
    "pSrcDst": (TARGET,),
    "pXMap": (OTHER,),
    "pYMap": (OTHER,),
    "pKernel": (OTHER,),
    "pMask": (OTHER,),
}
STEPS = {"pSrc": "nSrcStep", "pSrc1": "nSrc1Step", "pSrc2": "nSrc2Step", "pDst": "nDstStep"}


def check_places(arguments: dict[str, Any]) -> None:
    """Addresses are those of the image that the parameter is for, and its rows as far apart; scratch is scratch."""
    for name, value in arguments.items():
        first = value[0] if isinstance(value, ctypes.Array) else value
        if name in PLACES:
            base = (first >> 40) << 40
            assert base in PLACES[name], name
            step = arguments.get(STEPS.get(name, ""))
            assert step is None or step in (PITCH[base], 256, 4 * WIDE), name
        elif name in ("pBuffer", "pDeviceBuffer", "pScratchBuffer", "pDeviceLines", "pHist"):
            assert first >> 40 == SCRATCH >> 40, name
        elif name == "oSizeROI":
            assert (value.width, value.height) in ((WIDE, HIGH), (WIDE + 1, HIGH + 1))


def test_nothing_is_subtracted_or_divided_the_wrong_way_round(recorded: Recorded) -> None:
    for operation, name in [(images.subtract, "nppiSub_8u_C1RSfs_Ctx"), (images.divide, "nppiDiv_32f_C3R_Ctx")]:
        given = Given(case_of(name) or pytest.fail(name))
        operation(given.stream, given.a, given.b, given.to)
        arguments = dict(zip(FUNCTIONS[name].names, recorded.last(name), strict=True))
        assert (arguments["pSrc1"], arguments["pSrc2"]) == (given.b.start, given.a.start)


def test_regions_are_handed_over_with_their_whole(recorded: Recorded) -> None:
    stream: Any = Line()
    whole = Image(fake_buffer(stream, 1 << 20, SOURCE), 100, 90, 3, pitch=512)
    target = Image(fake_buffer(stream, 1 << 20, TARGET), 30, 20, 3)
    images.box(stream, whole.view(7, 5, 30, 20), target, (3, 3))
    name = "nppiFilterBoxBorder_8u_C3R_Ctx"
    row = dict(zip(FUNCTIONS[name].names, recorded.last(name), strict=True))
    assert row["pSrc"] == SOURCE + 5 * 512 + 7 * 3
    assert (row["oSrcSize"].width, row["oSrcSize"].height) == (100, 90)
    assert (row["oSrcOffset"].x, row["oSrcOffset"].y) == (7, 5)
    images.rotate(stream, whole.view(7, 5, 30, 20), target, 10)
    name = "nppiRotate_8u_C3R_Ctx"
    row = dict(zip(FUNCTIONS[name].names, recorded.last(name), strict=True))
    assert (row["pSrc"], row["oSrcROI"].x, row["oSrcROI"].height) == (SOURCE, 7, 20)
    assert whole.place in stream.used
    assert target.place in stream.used


def test_where_pixels_are() -> None:
    memory: Any = fake_buffer(Line(), 10_000, SOURCE)  # type: ignore[arg-type]
    image = Image(memory, 20, 10, 3, "uint16")
    assert (image.pitch, image.pixel, image.nbytes, image.layout, image.code) == (120, 6, 1200, "C3", "16u")
    part = image.view(2, 1, 8, 5).view(1, 2, 3, 2)
    assert (part.start, part.origin, part.region, part.whole) == (
        SOURCE + 3 * 120 + 3 * 6,
        SOURCE,
        (3, 3, 3, 2),
        (20, 10),
    )
    assert repr(part) == "Image(3 x 2 uint16 C3 at (3, 3) of 20 x 10)"
    assert (image.packed, part.packed) == (True, False)
    planes = Image(memory, 20, 10, 3, "float32", planar=True, pitch=96)
    assert (planes.plane, planes.nbytes, planes.layout) == (960, 2 * 960 + 9 * 96 + 80, "P3")
    assert list(planes.view(2, 1, 4, 4).start) == [SOURCE + number * 960 + 96 + 8 for number in range(3)]
    assert Image(memory, 20, 10, 1, planar=True).layout == "C1"
    found = planes.view(2, 1, 5, 4).__cuda_array_interface__
    assert (found["shape"], found["strides"], found["typestr"]) == ((3, 4, 5), (960, 96, 4), "<f4")
    assert found["data"] == (SOURCE + 96 + 8, False)


@pytest.mark.parametrize(
    ("interface", "channels_first", "right"),
    [
        ({"shape": (10, 20), "typestr": "|u1"}, False, (20, 10, 1, "uint8", False, 20)),
        ({"shape": (10, 20, 3), "typestr": "<f4", "strides": (512, 12, 4)}, False, (20, 10, 3, "float32", False, 512)),
        ({"shape": (3, 10, 20), "typestr": "<u2", "strides": (640, 64, 2)}, True, (20, 10, 3, "uint16", True, 64)),
    ],
)
def test_arrays_of_others(interface: dict[str, Any], channels_first: bool, right: Any) -> None:
    stream: Any = Line()
    array = SimpleNamespace(__cuda_array_interface__={**interface, "data": (SOURCE, False), "version": 3})
    image = Image.from_cuda(stream, array, channels_first=channels_first)
    assert (image.width, image.height, image.channels, image.dtype, image.planar, image.pitch) == right
    assert image.start == SOURCE if not image.planar else image.start[0] == SOURCE
    assert image.place.owner is array
    assert not image.readonly
    array.__cuda_array_interface__["data"] = SOURCE, True
    image = Image.from_cuda(stream, array, channels_first=channels_first)
    assert (image.readonly, image.__cuda_array_interface__["data"]) == (True, (SOURCE, True))
    with pytest.raises(ValueError, match="cannot be written"):
        image.upload(stream, np.zeros(interface["shape"], interface["typestr"]), channels_first=channels_first)


WRITTEN = {"target", "labels"}
"""Names of the parameters for images that operations write."""


@pytest.mark.parametrize("operation", CALLS, ids=lambda operation: operation.__name__)
def test_what_can_only_be_read_is_read_alone(
    operation: Any, recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    def memory(stream: Any, nbytes: int, place: int) -> Any:
        made: Any = fake_buffer(stream, nbytes, place)
        made.readonly = place in readonly
        return made

    monkeypatch.setattr(npp_calls, "fake_buffer", memory)
    case = case_of(next(name for name in sorted(named(operation)) if case_of(name) is not None))
    assert case is not None
    written = not WRITTEN.isdisjoint(inspect.signature(operation).parameters)
    readonly = {SOURCE, OTHER, TARGET} - ({TARGET} if written else set())
    CALLS[operation](Given(case))
    readonly = {TARGET}
    if written:
        with pytest.raises(ValueError, match=r"Image\(.*\) can only be read"):
            CALLS[operation](Given(case))


def test_results_go_to_memory_that_can_be_written(recorded: Recorded) -> None:
    out: Any = fake_buffer(Line(), 1000)  # type: ignore[arg-type]
    out.readonly = True
    for given in ("out", "scratch"):
        with pytest.raises(ValueError, match="the memory given can only be read"):
            images.total(Line(), image(), **{given: out})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("interface", "words"),
    [
        ({"shape": (10,), "typestr": "|u1"}, r"shape \(10,\) is no image"),
        ({"shape": (10, 20), "typestr": "|u1", "strides": (1, 10)}, "do not lie side by side"),
        ({"shape": (10, 20, 3), "typestr": "|u1", "strides": (60, 1, 20)}, "do not lie side by side"),
    ],
)
def test_arrays_that_are_no_images(interface: dict[str, Any], words: str) -> None:
    array = SimpleNamespace(__cuda_array_interface__={**interface, "data": (SOURCE, False)})
    with pytest.raises(ValueError, match=words):
        Image.from_cuda(Line(), array)  # type: ignore[arg-type]


def image(
    width: int = 20, height: int = 10, channels: int = 1, dtype: Any = "uint8", at: int = SOURCE, **how: Any
) -> Image:
    return Image(fake_buffer(Line(), 1 << 20, at), width, height, channels, dtype, **how)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: image(0), "an image of 0 x 10 pixels"),
        (lambda: image(height=-1), "20 x -1"),
        (lambda: image(channels=5), "5 channels; NPP has 1 to 4"),
        (lambda: image(pitch=19), "rows of 20 bytes cannot lie 19 bytes apart"),
        (lambda: image(dtype="float32", pitch=82), "cannot lie 82 bytes apart"),
        (lambda: image(pitch=2**31), "cannot lie 2147483648 bytes apart"),
        (lambda: image(channels=3, planar=True, plane=199), "planes of 10 rows, 20 bytes each, cannot lie 199"),
        (lambda: image(2000, 600), r"takes 1200000 bytes, its memory has 1048576"),
        (lambda: image().view(15, 0, 6, 5), r"region 6 x 5 at \(15, 0\) is not inside 20 x 10"),
        (lambda: image().view(0, -1, 6, 5), r"at \(0, -1\) is not inside"),
        (lambda: image().view(0, 0, 0, 5), "an image of 0 x 5 pixels"),
        (lambda: image(whole=(10, 10)), "region 20 x 10 at .0, 0. is not inside 10 x 10"),
    ],
)
def test_images_that_cannot_be(make: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()


def test_types_that_no_image_has() -> None:
    for dtype in ("float64", ">f4", "int8"):
        with pytest.raises(TypeError, match="NPP has uint8, uint16, int16"):
            image(dtype=dtype)
    with pytest.raises(TypeError, match="takes no float32"):
        image().upload(Line(), np.zeros((10, 20), np.float32))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"an array of shape \(10, 20\), not \(20, 10\)"):
        image().upload(Line(), np.zeros((20, 10), np.uint8))  # type: ignore[arg-type]


def small(channels: int = 1, dtype: Any = "uint8", at: int = TARGET) -> Image:
    return image(20, 10, channels, dtype, at)


REFUSED: list[Any] = [
    (
        lambda s: images.mirror(s, image(channels=2), small(2), 0),
        r"nppiMirror_8u_C2R_Ctx is not bound.* 8u_C1R, .*uint8",
    ),
    (lambda s: images.mirror(s, image(), small(dtype="uint16"), 0), "nppiMirror_8u16u_C1R_Ctx is not bound"),
    (lambda s: images.convert(s, image(dtype="uint16"), small()), "nppiConvert_16u8u_C1R_Ctx is not bound.*32f8u_C1R"),
    (
        lambda s: images.copy(s, image(21), small()),
        r"Image\(21 x 10 uint8 C1\) and Image\(20 x 10 uint8 C1\) are not of",
    ),
    (lambda s: images.transpose(s, image(), small()), "turned over its diagonal"),
    (lambda s: images.copy(s, image(), small(at=SOURCE)), "Copy does not work in place"),
    (
        lambda s: images.absolute(s, image(dtype="float32").view(0, 0, 9, 9), image(dtype="float32").view(1, 0, 9, 9)),
        "not the same pixels",
    ),
    (lambda s: images.fill(s, image(channels=3), (1, 2)), "2 numbers for the 3 channels"),
    (lambda s: images.fill(s, image(), 256), "256 does not fit uint8"),
    (lambda s: images.fill(s, image(), -1), "-1 does not fit uint8"),
    (lambda s: images.add(s, image(dtype="float32"), 1, small(dtype="float32"), scale=1), "scale is 1, but only whole"),
    (lambda s: images.add(s, image(), image(at=OTHER), small(), scale=32), "scale is 32, outside -31 to 31"),
    (lambda s: images.add(s, image(), image(channels=3, at=OTHER), small()), "are not of one type"),
    (lambda s: images.add(s, image(), image(at=OTHER), small(3)), "nppiAdd_8u_C1C3RSfs_Ctx is not bound"),
    (lambda s: images.compose(s, image(channels=3), image(channels=3, at=OTHER), small(3)), "no opacity"),
    (lambda s: images.compare(s, image(), 3, small(dtype="float32"), 0), "the result is uint8"),
    (lambda s: images.threshold(s, image(), small()), "neither below nor above"),
    (lambda s: images.threshold(s, image(), small(), below=(9, 0), above=(5, 0)), "below 9 is more than above 5"),
    (lambda s: images.pad(s, image(), small(), 1, 0), "pad: top is 1, outside 0 to 0"),
    (lambda s: images.pad(s, image(), small(), 0, 0, "mirror"), "mode 'mirror'; there are constant, replicate, wrap"),
    (lambda s: images.scale(s, image(), small(dtype="float32"), 1, 1), "from 1 to 1 is no range"),
    (lambda s: images.from_rgb(s, "Lab", image(channels=3), small(3)), "'Lab'; there are YUV"),
    (lambda s: images.rgb_to_gray(s, image(channels=3), small(), (1, 2)), r"shape \(3,\) are needed, not \[1.0, 2.0\]"),
    (lambda s: images.nv12_to_rgb(s, image(), image(20, 5, at=OTHER), small(3)), "two channels of half the size"),
    (
        lambda s: images.nv12_to_rgb(s, image(pitch=32), image(10, 5, 2, at=OTHER), small(3)),
        "32 bytes apart and those of the colour 20",
    ),
    (lambda s: images.swap_channels(s, image(channels=3), small(3), (0, 1, 3)), r"order\[2\] is 3, outside 0 to 2"),
    (lambda s: images.swap_channels(s, image(channels=3), small(3), (0, 1)), "2 channels in order"),
    (lambda s: images.resize_by(s, image(), small(), (0, 1)), r"factors \(0, 1\) have to be positive"),
    (lambda s: images.rotate(s, image(), small(), float("nan")), "angle is nan"),
    (lambda s: images.warp_affine(s, image(), small(), np.eye(3)), r"of shape \(2, 3\) are needed"),
    (lambda s: images.warp_perspective(s, image(), small(), np.full((3, 3), np.inf)), "finite numbers"),
    (lambda s: images.remap(s, image(), image(at=OTHER), image(at=OTHER), small()), "is no map; float32"),
    (lambda s: images.box(s, image(), small(), (3, -3)), "height is -3, outside 1"),
    (lambda s: images.box(s, image(), small(), (3, 3), (3, 0)), "anchor x is 3, outside 0 to 2"),
    (lambda s: images.gauss(s, image(), small(), 4), "a mask of 4 pixels a side; there are 3, 5, 7, 9, 11, 13, 15"),
    (lambda s: images.median(s, image(), small(), (5, 3)), "looks 2 pixels to the sides and 1 up and down"),
    (lambda s: images.sobel(s, image(), small(), "both"), "direction 'both'"),
    (lambda s: images.bilateral(s, image(), small(), 33, 1, 1), "radius is 33, outside 1 to 32"),
    (lambda s: images.bilateral(s, image(), small(), 3, 0, 1), "have to be positive"),
    (lambda s: images.convolve(s, image(), small(), image(3, 3, at=OTHER)), "is no kernel: packed, one channel, int32"),
    (lambda s: images.convolve(s, image(), small(), image(3, 3, dtype="int32", at=OTHER), divisor=0), "divisor 0"),
    (lambda s: images.dilate(s, image(), small(), image(3, 3, dtype="int32", at=OTHER)), "is no mask"),
    (lambda s: images.erode(s, image(), small(), anchor=(1, 1)), "without a mask"),
    (lambda s: images.mean_std(s, image(channels=3)), "one has to be named"),
    (lambda s: images.mean_std(s, image(channels=3), 3), "channel is 3, outside 0 to 2"),
    (lambda s: images.histogram(s, image(), 0), "bins is 0"),
    (
        lambda s: images.histogram(s, image(), 4, -(2**31) - 1, 5),
        "histogram: lower is -2147483649, outside -2147483648",
    ),
    (lambda s: images.histogram(s, image(), 4, 0, 2**31), "histogram: upper is 2147483648, outside .* to 2147483647"),
    (lambda s: images.histogram(s, image(), 4, 5, 5), "from 5 to 5 is no range"),
    (lambda s: images.even_levels(4, -(2**31) - 1, 5), "even_levels: lower is -2147483649, outside -2147483648 to"),
    (lambda s: images.even_levels(4, 0, 2**32 + 5), "even_levels: upper is 4294967301, outside .* to 2147483647"),
    (lambda s: images.integral(s, image(), small(dtype="float32")), "one row and one column more"),
    (lambda s: images.total(s, image(dtype="uint16")), "nppiSum_16u_C1R_Ctx is not bound"),
    (lambda s: images.canny(s, image(), small(), 9, 5), "thresholds 9 and 5 have to rise"),
    (lambda s: images.hough_lines(s, image(), 5, delta=(1, 0.1)), r"steps \(1, 0.1\)"),
    (lambda s: images.hough_lines(s, image(), 0), "threshold is 0"),
    (
        lambda s: images.histogram_of_gradients(s, image(64, 64), HogSettings(window=(32, 32)), [(40, 0)]),
        r"at \(40, 0\) is not inside 64 x 64",
    ),
    (lambda s: images.histogram_of_gradients(s, image(64, 64), HogSettings(window=(32, 32)), []), "windows is 0"),
    (
        lambda s: images.histogram_of_gradients(s, image(64, 64), HogSettings(window=(32, 32)), [(0, 0)]),
        "rows 64 bytes apart, expected a multiple of 4, at least 256",
    ),
    (
        lambda s: images.label_markers(s, image(), image(20, 10, dtype="uint32", at=TARGET, pitch=96)),
        "96 bytes a row, has to be a whole",
    ),
    (lambda s: images.label_markers(s, image(), small(dtype="uint32"), 6), "6 neighbours; there are 4 and 8"),
]


@pytest.mark.parametrize(("call", "words"), REFUSED)
def test_what_is_refused(call: Any, words: str, recorded: Recorded) -> None:
    with pytest.raises(ValueError, match=words):
        call(Line())
    assert not recorded.calls


def test_fractions_are_no_bytes(recorded: Recorded) -> None:
    with pytest.raises(TypeError, match="float"):
        images.fill(Line(), image(), 1.5)  # type: ignore[arg-type]


def test_images_of_another_gpu_are_refused(recorded: Recorded) -> None:
    stream: Any = Line(ordinal=1)
    with pytest.raises(ValueError, match=r"lies on GPU 0, but .* is given the work"):
        images.copy(stream, image(), small())


def test_closed_memory_is_refused(recorded: Recorded) -> None:
    source = image()
    with pytest.raises(UnusableResource, match="closed"):
        images.copy(Line(), Image(Closed(), 20, 10), small())  # type: ignore[arg-type]
    assert source.start == SOURCE


class Closed:
    """Memory that was given back."""

    nbytes, ordinal = 1000, 0

    @property
    def pointer(self) -> int:
        raise UnusableResource("this DeviceBuffer is closed")


def test_memory_is_as_large_as_npp_says(monkeypatch: pytest.MonkeyPatch, recorded: Recorded) -> None:
    def answer(*arguments: Any) -> None:
        arguments[1]._obj.value = 5000

    recorded._answers = {"nppiMeanGetBufferHostSize_8u_C3R_Ctx": answer}
    stream: Any = Line()
    found = images.mean(stream, image(channels=3))
    assert [each.nbytes for each in stream.used[1:]] == [5000, 24]
    assert (found.shape, found.dtype) == ((3,), np.dtype(np.float64))
    with pytest.raises(ValueError, match="needs 5000 bytes, 4999 are given"):
        images.mean(stream, image(channels=3), scratch=fake_buffer(stream, 4999))
    stream.capturing = True
    with pytest.raises(ValueError, match="out needs 24 bytes; within a capture"):
        images.mean(stream, image(channels=3))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"cell": 17}, "cell is 17, outside 2 to 16"),
        ({"bins": 1}, "bins is 1, outside 2 to 16"),
        ({"window": (60, 128)}, r"window \(60, 128\) is not made of blocks of 16"),
        ({"cell": 2, "window": (64, 64)}, "has 1024 cells and 961 blocks; NPP takes 256 and 256"),
    ],
)
def test_histograms_that_npp_cannot_make(settings: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        HogSettings(**settings)


@pytest.fixture(scope="module")
def library(npp: Any) -> Any:
    """NPP itself with all its parts, of which the host's functions need no GPU."""
    try:
        for header in NPP:
            npp.parts.need(header)
    except LibraryNotFound as error:
        pytest.skip(str(error).splitlines()[0])
    return npp


def corners(region: tuple[int, int, int, int], less: int = 1) -> Array:
    x, y, width, height = region
    right, below = x + width - less, y + height - less
    return np.array([(x, y, 1), (right, y, 1), (right, below, 1), (x, below, 1)], float)


def sent(matrix: Array, region: tuple[int, int, int, int]) -> Array:
    found = corners(region) @ matrix.T
    return found[:, :2] / found[:, 2:] if matrix.shape[0] == 3 else found


def box(quad: Array) -> Array:
    return np.array([quad.min(axis=0), quad.max(axis=0)])


REGION = (3, 2, 11, 7)
AFFINE = np.array([[1, 0.5, 3], [0.25, 2, 1.0]])
PERSPECTIVE = np.array([[1, 0.5, 3], [0.25, 2, 1.0], [0.01, 0.02, 1]])


@pytest.mark.covers("nppiGetRotateQuad", "nppiGetRotateBound")
@pytest.mark.parametrize("angle", [0, 30, -75, 200])
def test_rotated_corners(angle: float, library: Any) -> None:
    cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    right = sent(np.array([[cos, sin, 2.0], [-sin, cos, 3.0]]), REGION)
    np.testing.assert_allclose(images.rotate_quad(REGION, angle, (2, 3)), right, atol=1e-12)
    np.testing.assert_allclose(images.rotate_bound(REGION, angle, (2, 3)), box(right), atol=1e-12)


@pytest.mark.covers("nppiGetAffineQuad", "nppiGetAffineBound")
def test_affine_corners(library: Any) -> None:
    right = sent(AFFINE, REGION)
    np.testing.assert_allclose(images.affine_quad(REGION, AFFINE), right, atol=1e-12)
    np.testing.assert_allclose(images.affine_bound(REGION, AFFINE), box(right), atol=1e-12)


@pytest.mark.covers("nppiGetPerspectiveQuad", "nppiGetPerspectiveBound")
def test_perspective_corners(library: Any) -> None:
    right = sent(PERSPECTIVE, REGION)
    np.testing.assert_allclose(images.perspective_quad(REGION, PERSPECTIVE), right, atol=1e-12)
    np.testing.assert_allclose(images.perspective_bound(REGION, PERSPECTIVE), box(right), atol=1e-12)


@pytest.mark.covers("nppiGetAffineTransform")
def test_the_transform_to_a_parallelogram(library: Any) -> None:
    quad = np.array([(5.1, 1.3), (16.1, 4.2), (20.7, 18.1), (9.7, 15.2)])
    found = images.affine_transform(REGION, quad)
    np.testing.assert_allclose(corners(REGION, less=0) @ found.T, quad, atol=1e-12)
    with pytest.raises(ValueError, match=r"is no parallelogram: its fourth corner would be \[9\.[67]"):
        images.affine_transform(REGION, [*quad[:3], (12, 18)])


@pytest.mark.covers("nppiGetPerspectiveTransform")
def test_the_transform_to_a_quadrangle(library: Any) -> None:
    quad = np.array([(5.0, 1.0), (16.0, 4.0), (24.0, 18.0), (9.0, 13.0)])
    found = corners(REGION, less=0) @ images.perspective_transform(REGION, quad).T
    np.testing.assert_allclose(found[:, :2] / found[:, 2:], quad, atol=1e-9)


@pytest.mark.covers("nppiGetResizeRect")
@pytest.mark.parametrize(
    ("factor", "shift", "right"),
    [((2, 3), (0, 0), (6, 6, 22, 21)), ((0.5, 0.3), (1, 2), (3, 3, 6, 2)), ((2.5, 2.5), (1.5, 0), (9, 5, 28, 18))],
)
def test_resized_regions(factor: Any, shift: Any, right: Any, library: Any) -> None:
    assert images.resize_region(REGION, factor, shift, Interpolation.INTER_CUBIC) == right


@pytest.mark.covers("nppiEvenLevelsHost_32s")
def test_levels(library: Any) -> None:
    np.testing.assert_array_equal(images.even_levels(17, 0, 256), np.arange(0, 257, 16))
    np.testing.assert_array_equal(np.diff(images.even_levels(11, 3, 200)), [20] * 7 + [19] * 3)


@pytest.mark.covers("nppGetLibVersion")
def test_the_version(library: Any) -> None:
    assert images.library_version() == library.version


def test_regions_and_matrices_that_cannot_be(library: Any) -> None:
    with pytest.raises(ValueError, match=r"region \(0, 0, 0, 5\)"):
        images.rotate_quad((0, 0, 0, 5), 10)
    with pytest.raises(ValueError, match=r"of shape \(4, 2\)"):
        images.affine_transform(REGION, np.zeros((3, 2)))
    with pytest.raises(NppError, match="nppiGetAffineTransform: COEFFICIENT_ERROR"):
        images.affine_transform(REGION, np.zeros((4, 2)))
    with pytest.raises(ValueError, match="no such transform: NPP finds"):
        images.perspective_transform(REGION, np.zeros((4, 2)))


@pytest.mark.covers("nppiHistogramOfGradientsBorderGetDescriptorsSize")
@pytest.mark.parametrize(
    "settings",
    [HogSettings(), HogSettings(4, 9, (64, 48)), HogSettings(2, 16, (16, 32)), HogSettings(16, 2, (32, 32))],
)
def test_descriptors_are_as_long_as_npp_says(settings: HogSettings, library: Any) -> None:
    name = "nppiHistogramOfGradientsBorderGetDescriptorsSize"
    nbytes = dispatch.needed(Line(), name, settings.config, 3, size=2)  # type: ignore[arg-type]
    assert nbytes == 3 * 4 * settings.length


SIZES: list[Any] = [
    ("nppiFilterCannyBorderGetBufferSize", lambda size: (size,), 1),
    ("nppiFilterHarrisCornersBorderGetBufferSize", lambda size: (size,), 1),
    ("nppiLabelMarkersUFGetBufferSize_32u_C1R", lambda size: (size,), 1),
    ("nppiCompressMarkerLabelsGetBufferSize_32u_C1R", lambda size: (size.width * size.height,), 1),
    *(
        (f"nppi{family}GetBufferHostSize_{kind}_Ctx", lambda size: (size, NppStreamContext()), 1)
        for family, kinds in [("Sum", "R"), ("Mean", "R"), ("MinMax", "R"), ("MeanStdDev", "CR")]
        for kind in (f"8u_C3{kinds}", f"32f_C3{kinds}")
    ),
]


@pytest.mark.parametrize(
    ("name", "arguments", "place"), [pytest.param(*row, marks=pytest.mark.covers(row[0])) for row in SIZES]
)
def test_scratch_memory_grows_with_the_image(name: str, arguments: Any, place: int, library: Any) -> None:
    few, many = (
        dispatch.needed(Line(), name, *arguments(NppiSize(side, side)), size=place)  # type: ignore[arg-type]
        for side in (300, 3000)
    )
    assert 0 < few < many < 2**31
