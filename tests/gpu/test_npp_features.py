"""NPP on a card: edges, lines, corners and gradients, found where they were drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from gocudnn_py import npp
from gocudnn_py.npp import HogSettings, Norm
from tests.gpu.npp_images import Array, Card, Variant, variants

if TYPE_CHECKING:
    from gocunets.backends.cudnn import CudaBackend


@pytest.fixture(scope="module")
def card(backend: CudaBackend) -> Card:
    return Card(backend)


@pytest.mark.covers("nppiFilterCannyBorder_8u_C1R_Ctx", "nppiFilterCannyBorderGetBufferSize")
@pytest.mark.parametrize("norm", [Norm.nppiNormL1, Norm.nppiNormL2])
def test_canny_finds_an_edge(norm: Norm, card: Card) -> None:
    array = np.full((40, 48), 20, np.uint8)
    array[:, 20] = 120
    array[:, 21:] = 220  # steepest at column 20
    for turned in (False, True):
        image = np.ascontiguousarray(array.T) if turned else array
        target = card.like(image)
        npp.canny(card.stream, card.put(image), target, 100, 300, norm=norm)
        found = card.get(target).T if turned else card.get(target)
        assert set(np.unique(found)) == {0, 255}
        assert (found[2:-2, 20] == 255).all()
        assert not found[:, :19].any()
        assert not found[:, 22:].any()


@pytest.mark.covers("nppiFilterCannyBorder_8u_C1R_Ctx", "nppiFilterCannyBorderGetBufferSize")
def test_canny_leaves_out_weak_edges(card: Card) -> None:
    array = np.full((40, 48), 100, np.uint8)
    array[:, 21:] = 105
    target = card.like(array)
    npp.canny(card.stream, card.put(array), target, 100, 300)
    assert not card.get(target).any()


@pytest.mark.covers("nppiFilterHarrisCornersBorder_8u32f_C1R_Ctx", "nppiFilterHarrisCornersBorderGetBufferSize")
def test_harris_finds_corners(card: Card) -> None:
    array = np.zeros((48, 64), np.uint8)
    array[12:36, 16:48] = 200
    target = card.put(np.zeros((48, 64), np.float32))
    npp.harris(card.stream, card.put(array), target)
    found = card.get(target)
    for y, x in [(12, 16), (12, 47), (35, 16), (35, 47)]:
        part = found[y - 6 : y + 7, x - 6 : x + 7]
        top = np.unravel_index(part.argmax(), part.shape)
        assert max(abs(int(top[0]) - 6), abs(int(top[1]) - 6)) <= 2
        assert part.max() > 0.5 * found.max() > 0
    assert found[24, 16] < 0  # an edge
    assert found[12, 32] < 0
    assert (found[20:28, 28:36] == 0).all()  # nothing there


def drawn() -> Array:
    """A column and a row of 255 in an image of 64 by 48 pixels."""
    array = np.zeros((48, 64), np.uint8)
    array[:, 40] = 255
    array[10, :] = 255
    return array


def near(lines: Array, rho: float, theta: float) -> bool:
    return bool((np.abs(lines - (rho, theta)) < 1.51).all(axis=1).any())


@pytest.mark.covers("nppiFilterHoughLine_8u32f_C1R_Ctx", "nppiFilterHoughLineGetBufferSize")
def test_hough_finds_lines(card: Card) -> None:
    lines = npp.hough_lines(card.stream, card.put(drawn()), 40)
    found = lines.numpy() - (lines.centre, 0)
    assert near(found, 40 - 32, 0)  # x = rho, counted from the middle
    assert near(found, 10 - 24, 90)  # y = rho
    for rho, theta in found:  # and there is nothing else
        assert (
            (theta < 3 and abs(rho - 8) < 3)
            or (theta > 177 and abs(rho + 8) < 3)
            or (abs(theta - 90) < 3 and abs(rho + 14) < 3)
        )


@pytest.mark.covers("nppiFilterHoughLineRegion_8u32f_C1R_Ctx", "nppiFilterHoughLineGetBufferSize")
def test_hough_looks_in_a_region(card: Card) -> None:
    lines = npp.hough_lines(card.stream, card.put(drawn()), 40, region=((0, 80), (200, 100)))
    found = lines.numpy() - (lines.centre, 0)
    assert near(found, 10 - 24, 90)
    assert (np.abs(found[:, 1] - 90) <= 10).all()


@pytest.mark.parametrize(
    "variant",
    variants(
        "HistogramOfGradientsBorder",
        "R",
        "nppiHistogramOfGradientsBorderGetBufferSize",
        "nppiHistogramOfGradientsBorderGetDescriptorsSize",
    ),
)
def test_gradients_of_one_direction(variant: Variant, card: Card) -> None:
    settings = HogSettings(cell=4, bins=9, window=(32, 24))
    blocks = settings.blocks[0] * settings.blocks[1]
    x, y = np.meshgrid(np.arange(40.0), np.arange(36.0))
    found = [_descriptors(3 * way, variant, settings, card) for way in (x, y)]
    np.testing.assert_allclose(_descriptors(6 * x, variant, settings, card), found[0], atol=1e-2)
    for each in found:
        assert each.shape == (2, 36 * blocks)
        assert each.min() >= 0
        np.testing.assert_allclose(each.max(axis=1), 1, rtol=1e-2)
        # One direction is in one histogram's bin, or in two that are beside it.
        assert ((each > 1e-3).sum(axis=1) <= 2 * 4 * blocks).all()
        np.testing.assert_allclose(each[0], each[1], atol=1e-3)  # it is the same everywhere
    assert abs((found[0] * found[1]).sum()) < 1e-2  # along x and along y share none


def _descriptors(array: Array, variant: Variant, settings: HogSettings, card: Card) -> Any:
    image = array.astype(variant.dtype)
    if variant.channels[0] == 3:  # the channel that changes most counts
        image = np.stack([image, image // 2, image // 3], axis=-1)
    source = card.put(image, pitch=4 * image[0].size)
    return npp.histogram_of_gradients(card.stream, source, settings, [(2, 3), (6, 8)]).numpy()
