"""NPP on a card: filling, copying, padding, converting and turning; views, pitches and other libraries' memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from gocudnn_py import npp
from gocudnn_py.cuda import DeviceBuffer, capture
from gocudnn_py.errors import UnusableResource
from gocudnn_py.library import load
from gocudnn_py.npp import Image, RoundMode
from tests.gpu.npp_images import HIGH, WIDE, Card, Variant, pixels, variants

if TYPE_CHECKING:
    from gocunets.backends.cudnn import CudaBackend


@pytest.fixture(scope="module")
def card(backend: CudaBackend) -> Card:
    return Card(backend)


@pytest.mark.covers("nppGetLibVersion")
def test_the_version_is_that_of_the_library(card: Card) -> None:
    assert npp.library_version() == load("npp").version


@pytest.mark.parametrize("variant", variants("Set"))
def test_fill(variant: Variant, card: Card) -> None:
    value: Any = (5, 200, 31, 7)[: variant.channels[0]]
    target = card.target(variant)
    npp.fill(card.stream, target, value if variant.channels[0] > 1 else value[0])
    right = np.empty(variant.shape, variant.dtype)
    right[:] = value if variant.channels[0] > 1 else value[0]
    np.testing.assert_array_equal(card.get(target), right)


@pytest.mark.parametrize("variant", variants("Copy"))
def test_copy(variant: Variant, card: Card) -> None:
    array = pixels(variant.shape, variant.dtype)
    target = card.target(variant)
    npp.copy(card.stream, card.source(variant, array), target)
    np.testing.assert_array_equal(card.get(target), array)


@pytest.mark.parametrize(
    ("mode", "variant"),
    [
        pytest.param(mode, *param.values, marks=param.marks, id=param.id)
        for mode, family in [("constant", "Const"), ("edge", "Replicate"), ("wrap", "Wrap")]
        for param in variants(f"Copy{family}Border")
    ],
)
def test_pad(mode: Any, variant: Variant, card: Card) -> None:
    array = pixels(variant.shape, variant.dtype)
    target = card.target(variant, HIGH + 5, WIDE + 7)
    ours = {"edge": "replicate"}.get(mode, mode)
    value = (9, 8, 7) if array.ndim == 3 else 9
    npp.pad(card.stream, card.source(variant, array), target, 2, 3, ours, value)
    if mode == "constant":
        right = np.empty((HIGH + 5, WIDE + 7, *array.shape[2:]), variant.dtype)
        right[:] = value
        right[2 : 2 + HIGH, 3 : 3 + WIDE] = array
    else:
        right = np.pad(array, [(2, 3), (3, 4), (0, 0)][: array.ndim], mode=mode)
    np.testing.assert_array_equal(card.get(target), right)


@pytest.mark.parametrize("variant", variants("Convert", types="8u(?:16u|32f)"))
def test_to_wider_types(variant: Variant, card: Card) -> None:
    array = pixels(variant.shape, variant.dtype)
    target = card.target(variant)
    npp.convert(card.stream, card.source(variant, array), target)
    np.testing.assert_array_equal(card.get(target), array.astype(variant.types[1]))


@pytest.mark.parametrize("variant", variants("Convert", types="32f8u"))
@pytest.mark.parametrize(
    ("mode", "rounded"),
    [
        (RoundMode.ROUND_NEAREST_TIES_TO_EVEN, np.rint),
        (RoundMode.ROUND_NEAREST_TIES_AWAY_FROM_ZERO, lambda x: np.floor(x + 0.5)),
        (RoundMode.ROUND_TOWARD_ZERO, np.trunc),
    ],
)
def test_to_a_narrower_type(mode: RoundMode, rounded: Any, variant: Variant, card: Card) -> None:
    array = (np.arange(np.prod(variant.shape)).reshape(variant.shape) / 2 - 20).astype(np.float32)
    target = card.target(variant)
    npp.convert(card.stream, card.source(variant, array), target, mode)
    np.testing.assert_array_equal(card.get(target), np.clip(rounded(array), 0, 255))


@pytest.mark.parametrize("variant", variants("Scale", types="8u32f"))
def test_scale_up(variant: Variant, card: Card) -> None:
    array = pixels(variant.shape, variant.dtype)
    target = card.target(variant)
    npp.scale(card.stream, card.source(variant, array), target, -2.0, 3.0)
    np.testing.assert_allclose(card.get(target), array / 255.0 * 5.0 - 2.0, rtol=0, atol=8 * 5 * 2.0**-24)


@pytest.mark.parametrize("variant", variants("Scale", types="32f8u"))
def test_scale_down(variant: Variant, card: Card) -> None:
    whole = pixels(variant.shape, np.uint8).astype(np.float64)
    array = ((whole + 0.3) / 255 * 5 - 2).astype(np.float32)  # 0.3: rounded or cut off, it is the same
    array.flat[:2], whole.flat[:2] = (-5, 9), (0, 255)
    target = card.target(variant)
    npp.scale(card.stream, card.source(variant, array), target, -2.0, 3.0)
    np.testing.assert_array_equal(card.get(target), np.minimum(whole, 255))


@pytest.mark.parametrize("variant", variants("Transpose"))
def test_transpose(variant: Variant, card: Card) -> None:
    array = pixels(variant.shape, variant.dtype)
    target = card.target(variant, WIDE, HIGH)
    npp.transpose(card.stream, card.source(variant, array), target)
    np.testing.assert_array_equal(card.get(target), array.swapaxes(0, 1))


@pytest.mark.parametrize(("planar", "pitch"), [(False, 0), (False, 80), (True, 0), (True, 32)])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_images_come_back_as_they_went(dtype: str, planar: bool, pitch: int, card: Card) -> None:
    array = pixels((HIGH, WIDE, 3), dtype)
    image = card.put(array, planar=planar, pitch=pitch * np.dtype(dtype).itemsize)
    np.testing.assert_array_equal(card.get(image), array)
    np.testing.assert_array_equal(image.numpy(card.stream, channels_first=True), np.moveaxis(array, -1, 0))
    view = image.view(4, 3, 10, 6)
    np.testing.assert_array_equal(card.get(view), array[3:9, 4:14])
    view.upload(card.stream, np.zeros((6, 10, 3), dtype), channels_first=False)
    array[3:9, 4:14] = 0
    np.testing.assert_array_equal(card.get(image), array)


@pytest.mark.covers("nppiCopy_8u_C3R_Ctx", "nppiCopy_8u_C3P3R_Ctx")
def test_only_the_region_is_written(card: Card) -> None:
    array = pixels((HIGH, WIDE, 3), np.uint8)
    for planar in (False, True):
        target = card.like(array, planar=planar)
        npp.copy(card.stream, card.put(array).view(2, 1, 5, 4), target.view(7, 3, 5, 4))
        right = np.full_like(array, 77)
        right[3:7, 7:12] = array[1:5, 2:7]
        np.testing.assert_array_equal(card.get(target), right)


@pytest.mark.covers("nppiCopy_32f_C3R_Ctx")
def test_other_libraries_memory(card: Card) -> None:
    array = pixels((HIGH, WIDE, 3), np.float32)
    mine = card.put(array, pitch=320)
    theirs = Image.from_cuda(card.stream, mine.view(1, 2, 8, 9))
    assert (theirs.pitch, theirs.width, theirs.height, theirs.layout) == (320, 8, 9, "C3")
    target = Image.empty(card.stream, 8, 9, 3, np.float32)
    npp.copy(card.stream, theirs, target)
    np.testing.assert_array_equal(card.get(target), array[2:11, 1:9])
    planes = Image.from_cuda(card.stream, card.put(array, planar=True), channels_first=True)
    np.testing.assert_array_equal(card.get(planes), array)


@pytest.mark.covers("nppiMirror_8u_C1R_Ctx", "nppiMean_8u_C1R_Ctx", "nppiMeanGetBufferHostSize_8u_C1R_Ctx")
def test_work_is_recorded_into_graphs(card: Card) -> None:
    array = pixels((HIGH, WIDE), np.uint8)
    source, target = card.put(array), card.like(array)
    scratch, out = DeviceBuffer(card.stream, 2**20), DeviceBuffer(card.stream, 8)
    npp.mirror(card.stream, source, target, npp.Axis.BOTH_AXIS)  # loads the library and the kernels
    npp.mean(card.stream, target, scratch=scratch, out=out)

    def work(stream: Any) -> None:
        npp.mirror(stream, source, target, npp.Axis.BOTH_AXIS)
        npp.mean(stream, target, scratch=scratch, out=out)
        with pytest.raises(ValueError, match=r"nppiMean_8u_C1R_Ctx.* needs \d+ bytes; within a capture"):
            npp.mean(stream, target)

    graph = capture(card.stream, work, [source.place, target.place, scratch, out])
    source.upload(card.stream, array // 2)
    graph.launch(card.stream)
    np.testing.assert_array_equal(card.get(target), array[::-1, ::-1] // 2)
    assert abs(out.download(np.empty(1))[0] - (array // 2).mean()) < 1e-4


def test_closed_memory_is_refused(card: Card) -> None:
    array = pixels((HIGH, WIDE), np.uint8)
    source, target = card.put(array), card.like(array)
    source.place.close()
    with pytest.raises(UnusableResource, match="closed"):
        npp.copy(card.stream, source, target)
