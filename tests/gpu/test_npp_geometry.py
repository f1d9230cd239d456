"""NPP on a card: resizing, turning, mirroring and warping.

Nearest pixels are compared one by one. Interpolations see pixels that rise along x and y: what lies between them is
known, so a coordinate that is off shows. Pixels whose source lies within two of the border are left out: NPP writes
some of them and some not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from gocudnn_py import npp
from gocudnn_py.npp import Axis, Interpolation
from tests.gpu.npp_images import HIGH, WIDE, Array, Card, Variant, on_plane, pixels, plane, variants

if TYPE_CHECKING:
    from gocunets.backends.cudnn import CudaBackend

NN, LINEAR, CUBIC = Interpolation.INTER_NN, Interpolation.INTER_LINEAR, Interpolation.INTER_CUBIC
MARGIN = 2


@pytest.fixture(scope="module")
def card(backend: CudaBackend) -> Card:
    return Card(backend)


def check_plane(found: Array, x: Array, y: Array, shape: tuple[int, ...]) -> None:
    """Compare where the source's coordinates are well inside; whole numbers to one, floats to their coordinates."""
    inside = (x >= MARGIN) & (x <= shape[1] - 1 - MARGIN) & (y >= MARGIN) & (y <= shape[0] - 1 - MARGIN)
    assert inside.sum() > 20
    # Coordinates in float32, a few operations each: some 2**-20 of a pixel at 21, on slopes of 2 and 3.
    within = 1e-3 if found.dtype == np.float32 else 1.01
    assert (np.abs(found.astype(float) - on_plane(x, y, shape))[inside] < within).all()


def grid(height: int = HIGH, width: int = WIDE) -> tuple[Array, Array]:
    y, x = np.mgrid[:height, :width].astype(float)
    return x, y


@pytest.mark.parametrize("variant", variants("Resize"))
def test_resize(variant: Variant, card: Card) -> None:
    array = pixels(variant.shape, variant.dtype)
    double = card.target(variant, 2 * HIGH, 2 * WIDE)
    npp.resize(card.stream, card.source(variant, array), double, NN)
    np.testing.assert_array_equal(card.get(double), array.repeat(2, axis=0).repeat(2, axis=1))
    same = card.target(variant)
    npp.resize(card.stream, card.source(variant, array), same, LINEAR)
    np.testing.assert_array_equal(card.get(same), array)
    x, y = grid(2 * HIGH, 2 * WIDE)
    for mode in (LINEAR, CUBIC):
        double = card.target(variant, 2 * HIGH, 2 * WIDE)
        npp.resize(card.stream, card.source(variant, plane(variant.shape, variant.dtype)), double, mode)
        check_plane(card.get(double), x / 2 - 0.25, y / 2 - 0.25, variant.shape)


@pytest.mark.covers("nppiResize_8u_C3R_Ctx")
def test_reduced_pixels_are_means(card: Card) -> None:
    array = pixels((12, 20, 3), np.uint8)
    target = card.put(np.zeros((6, 10, 3), np.uint8))
    npp.resize(card.stream, card.put(array), target, Interpolation.INTER_SUPER)
    right = array.reshape(6, 2, 10, 2, 3).mean(axis=(1, 3))
    assert (np.abs(card.get(target) - right) < 1.01).all()


@pytest.mark.covers("nppiResize_8u_C1R_Ctx")
def test_regions_are_resized(card: Card) -> None:
    array = pixels((HIGH, WIDE), np.uint8)
    target = card.put(np.full((20, 30), 77, np.uint8))
    npp.resize(card.stream, card.put(array).view(3, 2, 6, 5), target.view(7, 4, 12, 10), NN)
    right = np.full((20, 30), 77)
    right[4:14, 7:19] = array[2:7, 3:9].repeat(2, axis=0).repeat(2, axis=1)
    np.testing.assert_array_equal(card.get(target), right)


@pytest.mark.parametrize("mode", [Interpolation.INTER_LANCZOS, CUBIC, LINEAR, NN])
@pytest.mark.covers("nppiResize_8u_C1R_Ctx")
def test_one_colour_stays(mode: Interpolation, card: Card) -> None:
    target = card.put(np.zeros((31, 40), np.uint8))
    npp.resize(card.stream, card.put(np.full((HIGH, WIDE), 100, np.uint8)), target, mode)
    assert (np.abs(card.get(target).astype(int) - 100) <= 1).all()


@pytest.mark.parametrize("variant", variants("ResizeSqrPixel"))
def test_resize_by(variant: Variant, card: Card) -> None:
    array = pixels(variant.shape, variant.dtype)
    target = card.target(variant, 2 * HIGH, 2 * WIDE)
    npp.resize_by(card.stream, card.put(array), target, (2, 2), interpolation=NN)
    right = array.repeat(2, axis=0).repeat(2, axis=1)
    np.testing.assert_array_equal(card.get(target)[1:-1, 1:-1], right[1:-1, 1:-1])
    x, y = grid(2 * HIGH, 2 * WIDE)
    for mode in (LINEAR, CUBIC):
        target = card.target(variant, 2 * HIGH, 2 * WIDE)
        npp.resize_by(card.stream, card.put(plane(variant.shape, variant.dtype)), target, (1.5, 1.25), (4, 3), mode)
        of_x, of_y = (x + 0.5 - 4) / 1.5 - 0.5, (y + 0.5 - 3) / 1.25 - 0.5
        check_plane(card.get(target), of_x, of_y, variant.shape)


@pytest.mark.parametrize("variant", variants("Remap"))
def test_remap(variant: Variant, card: Card) -> None:
    array = pixels(variant.shape, variant.dtype)
    random = np.random.default_rng(1)
    x, y = random.integers(0, WIDE, (HIGH, WIDE)), random.integers(0, HIGH, (HIGH, WIDE))
    target = card.target(variant)
    maps = [card.put(each.astype(np.float32)) for each in (x, y)]
    npp.remap(card.stream, card.put(array), *maps, target, NN)
    np.testing.assert_array_equal(card.get(target), array[y, x])
    x, y = random.uniform(3, WIDE - 4, (HIGH, WIDE)), random.uniform(3, HIGH - 4, (HIGH, WIDE))
    maps = [card.put(each.astype(np.float32)) for each in (x, y)]
    for mode in (LINEAR, CUBIC, Interpolation.INTER_CUBIC2P_CATMULLROM):
        target = card.target(variant)
        npp.remap(card.stream, card.put(plane(variant.shape, variant.dtype)), *maps, target, mode)
        check_plane(card.get(target), x, y, variant.shape)


@pytest.mark.parametrize("variant", variants("Rotate"))
def test_rotate(variant: Variant, card: Card) -> None:
    array = pixels(variant.shape, variant.dtype)
    target = card.target(variant, WIDE, HIGH)
    npp.rotate(card.stream, card.put(array), target, 90, (0, WIDE - 1), NN)
    np.testing.assert_array_equal(card.get(target)[1:-1, 1:-1], np.rot90(array)[1:-1, 1:-1])
    x, y = grid()
    cos, sin = np.cos(np.radians(20)), np.sin(np.radians(20))
    for mode in (LINEAR, CUBIC):
        target = card.target(variant)
        npp.rotate(card.stream, card.put(plane(variant.shape, variant.dtype)), target, 20, (-1, 5), mode)
        of_x, of_y = cos * (x + 1) - sin * (y - 5), sin * (x + 1) + cos * (y - 5)
        check_plane(card.get(target), of_x, of_y, variant.shape)


@pytest.mark.parametrize("variant", variants("Mirror"))
def test_mirror(variant: Variant, card: Card) -> None:
    array = pixels(variant.shape, variant.dtype)
    rights = [(Axis.HORIZONTAL_AXIS, array[::-1]), (Axis.VERTICAL_AXIS, array[:, ::-1])]
    for axis, right in [*rights, (Axis.BOTH_AXIS, array[::-1, ::-1])]:
        target = card.target(variant)
        npp.mirror(card.stream, card.put(array), target, axis)
        np.testing.assert_array_equal(card.get(target), right)


AFFINE = np.array([[1.1, 0.2, -1.0], [-0.15, 0.95, 2.0]])
PERSPECTIVE = np.array([[1.1, 0.2, -1.0], [-0.15, 0.95, 2.0], [0.004, -0.003, 1.0]])


def sources(coefficients: Array) -> tuple[Array, Array]:
    """Where the target's pixels come from, by the matrix from the target to the source."""
    x, y = grid()
    found = np.stack([x, y, np.ones_like(x)], axis=-1) @ coefficients.T
    return found[..., 0] / found[..., 2], found[..., 1] / found[..., 2]


def both_ways(family: str) -> Any:
    return [
        pytest.param(back, *param.values, marks=param.marks, id=param.id)
        for back in (False, True)
        for param in variants(f"{family}Back" if back else family)
    ]


@pytest.mark.parametrize(("back", "variant"), both_ways("WarpAffine"))
def test_warp_affine(back: bool, variant: Variant, card: Card) -> None:
    check_shift(npp.warp_affine, np.eye(3)[:2], back, variant, card)
    whole = np.vstack([AFFINE, [0, 0, 1]])
    check_warp(npp.warp_affine, AFFINE, whole if back else np.linalg.inv(whole), back, variant, card)


@pytest.mark.parametrize(("back", "variant"), both_ways("WarpPerspective"))
def test_warp_perspective(back: bool, variant: Variant, card: Card) -> None:
    check_shift(npp.warp_perspective, np.eye(3), back, variant, card)
    to_source = PERSPECTIVE if back else np.linalg.inv(PERSPECTIVE)
    check_warp(npp.warp_perspective, PERSPECTIVE, to_source, back, variant, card)


def check_shift(warp: Any, matrix: Array, back: bool, variant: Variant, card: Card) -> None:
    """Whole pixels to the right and down."""
    matrix[:2, 2] = (-3, -2) if back else (3, 2)
    array = pixels(variant.shape, variant.dtype)
    target = card.target(variant)
    warp(card.stream, card.put(array), target, matrix, NN, back=back)
    np.testing.assert_array_equal(card.get(target)[3:-1, 4:-1], array[1:-3, 1:-4])
    assert (card.get(target)[:2] == 77).all()


def check_warp(warp: Any, matrix: Array, to_source: Array, back: bool, variant: Variant, card: Card) -> None:
    for mode in (LINEAR, CUBIC):
        target = card.target(variant)
        warp(card.stream, card.put(plane(variant.shape, variant.dtype)), target, matrix, mode, back=back)
        check_plane(card.get(target), *sources(to_source), variant.shape)
