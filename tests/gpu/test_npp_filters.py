"""NPP on a card: filters, dilating, eroding and labels, against sums over windows in NumPy."""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from gocudnn_py import npp
from gocudnn_py.npp import Border, Image
from tests.gpu.npp_images import HIGH, WIDE, Array, Card, Variant, off_by_less_than_two, pixels, variants, windows

if TYPE_CHECKING:
    from gocunets.backends.cudnn import CudaBackend

U = 2.0**-24
CROSS = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], np.uint8)
DISC = np.array([[0, 1, 1, 1, 0], *[[1] * 5] * 3, [0, 1, 1, 1, 0]], np.uint8)
LAPLACE = {
    3: np.array([[-1, -1, -1], [-1, 8, -1], [-1, -1, -1]]),
    5: np.array([[-1, -3, -4, -3, -1], [-3, 0, 6, 0, -3], [-4, 6, 20, 6, -4], [-3, 0, 6, 0, -3], [-1, -3, -4, -3, -1]]),
}
DOWN = np.array([[-1, -2, -1], [0, 0, 0], [1, 2, 1]])  # positive where rows grow brighter downwards


@pytest.fixture(scope="module")
def card(backend: CudaBackend) -> Card:
    return Card(backend)


def sums(array: Array, mask: Array) -> Array:
    """Each pixel's neighbours times the mask, not turned round."""
    return np.einsum("...yx,yx->...", windows(array.astype(float), *mask.shape), mask)


def cut(exact: Array, dtype: np.dtype[Any]) -> Array:
    return np.clip(exact, 0, 255) if dtype == np.uint8 else exact


@pytest.mark.parametrize("variant", variants("Filter"))
def test_convolve(variant: Variant, card: Card) -> None:
    mask = np.array([[1, 0, -2], [0, 3, 0], [1, -1, 1], [0, 2, 0], [-1, 0, 0]])
    array = pixels((HIGH + 4, WIDE + 2, *variant.shape[2:]), variant.dtype)
    whole = variant.dtype == np.uint8
    kernel = card.put(mask.astype(np.int32 if whole else np.float32))
    right = sums(array, mask[::-1, ::-1])[2:-2, 1:-1]  # whole numbers below 2**24: exact in float32 too
    target = card.target(variant)
    view = card.put(array).view(1, 2, WIDE, HIGH)
    npp.convolve(card.stream, view, target, kernel)
    np.testing.assert_array_equal(card.get(target), cut(right, variant.dtype))
    if whole:
        npp.convolve(card.stream, view, target, kernel, divisor=4)
        assert off_by_less_than_two(card.get(target), cut(right / 4, variant.dtype))


@pytest.mark.parametrize("variant", variants("FilterBoxBorder"))
@pytest.mark.parametrize(("width", "height"), [(5, 3), (3, 7)])
def test_box(width: int, height: int, variant: Variant, card: Card) -> None:
    array = pixels(variant.shape, variant.dtype)
    target = card.target(variant)
    npp.box(card.stream, card.put(array), target, (width, height))
    close(card.get(target), windows(array, height, width).mean(axis=(-2, -1)), terms=width * height)


@pytest.mark.covers("nppiFilterBoxBorder_8u_C1R_Ctx", "nppiFilterBoxBorder_32f_C1R_Ctx")
def test_a_filter_sees_around_its_region(card: Card) -> None:
    for dtype in (np.uint8, np.float32):
        array = pixels((HIGH, WIDE), dtype)
        target = card.like(array[:6, :7])
        npp.box(card.stream, card.put(array).view(5, 4, 7, 6), target, (3, 3))
        close(card.get(target), windows(array, 3, 3).mean(axis=(-2, -1))[4:10, 5:12], terms=9)


def close(found: Array, right: Array, terms: int) -> None:
    """Bytes to whole numbers, floats of up to 255 to the rounding of so many terms."""
    if found.dtype == np.uint8:
        assert off_by_less_than_two(found, right)
    else:
        np.testing.assert_allclose(found, right, rtol=0, atol=2 * terms * 255 * U)


@pytest.mark.parametrize("variant", variants("FilterGaussBorder"))
def test_gauss(variant: Variant, card: Card) -> None:
    array = pixels(variant.shape, variant.dtype)
    target = card.target(variant)
    npp.gauss(card.stream, card.put(array), target, 3)
    bell = np.exp(-0.5 * np.array([1.0, 0.0, 1.0]))  # of sigma 1
    mask = np.outer(bell, bell) / bell.sum() ** 2
    close(card.get(target), sums(array, mask), terms=32)  # NPP's weights are themselves float32


@pytest.mark.covers("nppiFilterGaussBorder_32f_C1R_Ctx")
@pytest.mark.parametrize("size", [5, 7, 9, 11, 13, 15])
def test_larger_bells(size: int, card: Card) -> None:
    """What one bright pixel becomes is a bell: a product of two curves, each falling as exp(-distance**2)."""
    array = np.zeros((31, 31), np.float32)
    array[15, 15] = 1
    target = card.like(array)
    npp.gauss(card.stream, card.put(array), target, size)
    half, found = size // 2, card.get(target).astype(float)
    curve = found[15, 15 - half : 16 + half] / found[15, 15]
    assert abs(found.sum() - 1) < 1e-4
    np.testing.assert_allclose(
        found[15 - half : 16 + half, 15 - half : 16 + half], found[15, 15] * np.outer(curve, curve), rtol=1e-3
    )
    np.testing.assert_allclose(curve, curve[half + 1] ** (np.arange(-half, half + 1.0) ** 2), rtol=1e-3)


@pytest.mark.parametrize(
    ("direction", "mask", "variant"),
    [
        pytest.param(direction, mask, *param.values, marks=param.marks, id=param.id)
        for direction, family, mask in [("horizontal", "Horiz", DOWN), ("vertical", "Vert", DOWN.T)]
        for param in variants(f"FilterSobel{family}Border")
    ],
)
def test_sobel(direction: Any, mask: Array, variant: Variant, card: Card) -> None:
    array = pixels(variant.shape, variant.dtype)
    target = card.target(variant)
    npp.sobel(card.stream, card.put(array), target, direction)
    np.testing.assert_array_equal(card.get(target), cut(sums(array, mask), variant.dtype))


@pytest.mark.parametrize("size", [3, 5])
@pytest.mark.parametrize("variant", variants("FilterLaplaceBorder"))
def test_laplace(variant: Variant, size: int, card: Card) -> None:
    array = pixels(variant.shape, variant.dtype)
    target = card.target(variant)
    npp.laplace(card.stream, card.put(array), target, size)
    np.testing.assert_array_equal(card.get(target), cut(sums(array, LAPLACE[size]), variant.dtype))


@pytest.mark.parametrize("size", [3, 5])
@pytest.mark.parametrize("variant", variants("FilterMedian", "R", "nppiFilterMedianGetBufferSize_{}"))
def test_median(variant: Variant, size: int, card: Card) -> None:
    array = pixels((HIGH + 6, WIDE + 6, *variant.shape[2:]), variant.dtype)
    target = card.target(variant)
    npp.median(card.stream, card.put(array).view(3, 3, WIDE, HIGH), target, (size, size))
    right = np.median(windows(array, size, size), axis=(-2, -1))[3:-3, 3:-3]
    np.testing.assert_array_equal(card.get(target), right)


@pytest.mark.covers("nppiFilterMedianBorder_8u_C1R_Ctx", "nppiFilterMedianBorderGetBufferSize_8u_C1R_Ctx")
@pytest.mark.parametrize("size", [3, 5, 7])
def test_median_with_a_border(size: int, card: Card) -> None:
    array = pixels((HIGH, WIDE), np.uint8)
    target = card.like(array)
    npp.median(card.stream, card.put(array), target, (size, size), border=Border.REPLICATE)
    np.testing.assert_array_equal(card.get(target), np.median(windows(array, size, size), axis=(-2, -1)))


@pytest.mark.parametrize("variant", variants("FilterBilateralGaussBorder"))
def test_bilateral(variant: Variant, card: Card) -> None:
    flat = np.full((HIGH, WIDE), 90, variant.dtype)
    edge = flat.copy()
    edge[:, WIDE // 2 :] = 200
    spot = flat.copy()
    spot[6, 10] = 91
    for array in (flat, edge):  # pixels of the other side count exp(-110**2 / 2), nothing
        target = card.target(variant)
        npp.bilateral(card.stream, card.put(array), target, 2, 1.0, 4.0)
        close(card.get(target), array.astype(float), terms=9)
    if variant.dtype == np.float32:  # a small step is smoothed: its pixel falls, those around it rise
        target = card.target(variant)
        npp.bilateral(card.stream, card.put(spot), target, 2, 1000.0, 4.0)
        found = card.get(target)
        assert 90 < found[6, 11] < found[6, 10] < 90.5
        assert abs(found[6, 11] - found[5, 10]) < 1e-3


@pytest.mark.parametrize(
    ("operation", "extreme", "variant"),
    [
        pytest.param(operation, extreme, *param.values, marks=param.marks, id=param.id)
        for operation, extreme, family in [(npp.dilate, np.max, "Dilate"), (npp.erode, np.min, "Erode")]
        for param in variants(f"{family}3x3Border")
    ],
)
def test_extremes_of_nine(operation: Any, extreme: Any, variant: Variant, card: Card) -> None:
    array = pixels(variant.shape, variant.dtype)
    target = card.target(variant)
    operation(card.stream, card.put(array), target)
    np.testing.assert_array_equal(card.get(target), extreme(windows(array, 3, 3), axis=(-2, -1)))


@pytest.mark.parametrize("mask", [CROSS, DISC])
@pytest.mark.parametrize(
    ("operation", "extreme", "variant"),
    [
        pytest.param(operation, extreme, *param.values, marks=param.marks, id=param.id)
        for operation, extreme, family in [(npp.dilate, np.max, "Dilate"), (npp.erode, np.min, "Erode")]
        for param in variants(f"{family}Border")
    ],
)
def test_extremes_under_a_mask(operation: Any, extreme: Any, variant: Variant, mask: Array, card: Card) -> None:
    array = pixels(variant.shape, variant.dtype)
    target = card.target(variant)
    operation(card.stream, card.put(array), target, card.put(mask))
    chosen = windows(array, *mask.shape)[..., mask.astype(bool)]
    np.testing.assert_array_equal(card.get(target), extreme(chosen, axis=-1))


def regions(array: Array, neighbours: int) -> Array:
    """A number for each connected region, by flooding it from its first pixel."""
    steps = [(0, 1), (1, 0), (0, -1), (-1, 0), *([(1, 1), (1, -1), (-1, 1), (-1, -1)] if neighbours == 8 else [])]
    labels = np.zeros(array.shape, int)
    for start in np.ndindex(array.shape):
        if labels[start]:
            continue
        labels[start] = number = labels.max() + 1
        waiting = deque([start])
        while waiting:
            y, x = waiting.popleft()
            for near in ((y + dy, x + dx) for dy, dx in steps):
                inside = 0 <= near[0] < array.shape[0] and 0 <= near[1] < array.shape[1]
                if inside and not labels[near] and array[near] == array[start]:
                    labels[near] = number
                    waiting.append(near)
    return labels


def mixed_up(found: Array, right: Array) -> list[tuple[int, int]]:
    """The pairs of labels that do not go together one to one."""
    pairs = {(int(a), int(b)) for a, b in zip(found.ravel(), right.ravel(), strict=True)}
    ones, others = (Counter(pair[side] for pair in pairs) for side in (0, 1))
    return sorted(pair for pair in pairs if ones[pair[0]] > 1 or others[pair[1]] > 1)


@pytest.mark.covers(
    "nppiLabelMarkersUF_8u32u_C1R_Ctx",
    "nppiLabelMarkersUFGetBufferSize_32u_C1R",
    "nppiCompressMarkerLabelsUF_32u_C1IR_Ctx",
    "nppiCompressMarkerLabelsGetBufferSize_32u_C1R",
)
@pytest.mark.parametrize("neighbours", [4, 8])
def test_labels(neighbours: Any, card: Card) -> None:
    array = np.zeros((24, 32), np.uint8)
    for y, x in (((2, 10), (3, 20)), ((12, 22), (5, 9)), ((12, 15), (9, 28)), ((15, 18), (28, 31))):
        array[slice(*y), slice(*x)] = 255  # the second and third touch by a side, the last two by a corner
    right = regions(array, neighbours)
    assert right.max() == (4 if neighbours == 8 else 5) - 1
    labels = Image.empty(card.stream, 32, 24, dtype=np.uint32)
    npp.label_markers(card.stream, card.put(array), labels, neighbours)
    assert mixed_up(card.get(labels), right) == []
    count = npp.compress_markers(card.stream, labels)
    found = card.get(labels)
    assert mixed_up(found, right) == []
    assert found.max() - found.min() + 1 == right.max()  # no gaps
    assert abs(count - int(found.max())) <= 1  # NPP's header has it as the largest label, and as the number of labels


@pytest.mark.parametrize("neighbours", [4, 8])
def test_labels_of_noise_join_no_regions(neighbours: Any, card: Card) -> None:
    array = 255 * (np.random.default_rng(0).random((64, 64)) < 0.4).astype(np.uint8)
    labels = Image.empty(card.stream, 64, 64, dtype=np.uint32)
    npp.label_markers(card.stream, card.put(array), labels, neighbours)
    pairs = zip(card.get(labels).ravel(), regions(array, neighbours).ravel(), strict=True)
    inside = Counter(label for label, _ in {(int(label), int(region)) for label, region in pairs})
    assert max(inside.values()) == 1
