"""NPP on a card: arithmetic, logic, thresholds, comparisons and composing, against NumPy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from gocudnn_py import npp
from gocudnn_py.npp import AlphaOp, Comparison
from tests.gpu.npp_images import Array, Card, Variant, pixels, variants

if TYPE_CHECKING:
    from gocunets.backends.cudnn import CudaBackend

OPERATIONS: dict[str, Any] = {
    "Add": (npp.add, np.add, (0, 1)),
    "Sub": (npp.subtract, np.subtract, (0, 2, -1)),
    "Mul": (npp.multiply, np.multiply, (0, 7)),
    "Div": (npp.divide, np.divide, (0, -3)),
}
U = 2.0**-24


@pytest.fixture(scope="module")
def card(backend: CudaBackend) -> Card:
    return Card(backend)


def each(ending: str, constant: str = "") -> Any:
    """The operations with a case for each of their functions."""
    return [
        pytest.param(family, *param.values, marks=param.marks, id=param.id)
        for family in OPERATIONS
        for param in variants(family + constant, ending)
    ]


def scaled(exact: Array, scale: int) -> Array:
    """A result over 2**scale as uint8: the nearest, of two the even one, within 0 to 255."""
    return np.clip(np.rint(exact * 2.0**-scale), 0, 255).astype(np.uint8)


def two(variant: Variant) -> tuple[Array, Array]:
    """Two images; none of the second's pixels is 0."""
    return pixels(variant.shape, variant.dtype), np.maximum(pixels(variant.shape, variant.dtype, seed=1), 1)


@pytest.mark.parametrize(("family", "variant"), each("RSfs"))
def test_two_images_of_bytes(family: str, variant: Variant, card: Card) -> None:
    operation, right, scales = OPERATIONS[family]
    a, b = two(variant)
    for scale in scales:
        target = card.target(variant)
        operation(card.stream, card.put(a), card.put(b), target, scale=scale)
        np.testing.assert_array_equal(card.get(target), scaled(right(a.astype(float), b), scale))


@pytest.mark.parametrize(("family", "variant"), each("RSfs", "C"))
def test_bytes_and_a_constant(family: str, variant: Variant, card: Card) -> None:
    operation, right, scales = OPERATIONS[family]
    a, b = two(variant)[0], (3, 90, 200)[: variant.channels[0]]
    for scale in scales:
        target = card.target(variant)
        operation(card.stream, card.put(a), b if len(b) > 1 else b[0], target, scale=scale)
        np.testing.assert_array_equal(card.get(target), scaled(right(a.astype(float), b), scale))


@pytest.mark.parametrize(("family", "variant"), each("R"))
def test_two_images_of_floats(family: str, variant: Variant, card: Card) -> None:
    operation, right, _ = OPERATIONS[family]
    a, b = (array / np.float32(7) for array in two(variant))
    target = card.target(variant)
    operation(card.stream, card.put(a), card.put(b), target)
    np.testing.assert_allclose(card.get(target), right(a.astype(float), b), rtol=2 * U)  # each is rounded once


@pytest.mark.parametrize(("family", "variant"), each("R", "C"))
def test_floats_and_a_constant(family: str, variant: Variant, card: Card) -> None:
    operation, right, _ = OPERATIONS[family]
    a, b = two(variant)[0] / np.float32(7), (0.75, 2.5, -3.0)[: variant.channels[0]]  # b is exact in binary
    target = card.target(variant)
    operation(card.stream, card.put(a), b if len(b) > 1 else b[0], target)
    # Dividing by a constant may be multiplying by its rounded inverse: one rounding more.
    np.testing.assert_allclose(card.get(target), right(a.astype(float), b), rtol=4 * U)


@pytest.mark.covers("nppiAddC_8u_C1RSfs_Ctx", "nppiAdd_8u_C1RSfs_Ctx")
def test_the_result_may_replace_an_image(card: Card) -> None:
    a, b = pixels((13, 21), np.uint8), pixels((13, 21), np.uint8, seed=1)
    on_a, on_b = card.put(a), card.put(b)
    npp.add(card.stream, on_a, 9, on_a)
    npp.add(card.stream, on_a, on_b, on_b)
    right = scaled(scaled(a.astype(float) + 9, 0).astype(float) + b, 0)
    np.testing.assert_array_equal(card.get(on_b), right)


@pytest.mark.parametrize("variant", variants("AbsDiff"))
def test_absolute_difference(variant: Variant, card: Card) -> None:
    a, b = two(variant)
    target = card.target(variant)
    npp.absolute_difference(card.stream, card.put(a), card.put(b), target)
    np.testing.assert_array_equal(card.get(target), np.abs(a.astype(float) - b))


@pytest.mark.parametrize(
    ("operation", "right"),
    [
        pytest.param(npp.bitwise_and, np.bitwise_and, marks=pytest.mark.covers("nppiAnd_8u_C1R_Ctx")),
        pytest.param(npp.bitwise_or, np.bitwise_or, marks=pytest.mark.covers("nppiOr_8u_C1R_Ctx")),
        pytest.param(npp.bitwise_xor, np.bitwise_xor, marks=pytest.mark.covers("nppiXor_8u_C1R_Ctx")),
    ],
)
def test_bits_of_two(operation: Any, right: Any, card: Card) -> None:
    a, b = pixels((13, 21), np.uint8), pixels((13, 21), np.uint8, seed=1)
    target = card.like(a)
    operation(card.stream, card.put(a), card.put(b), target)
    np.testing.assert_array_equal(card.get(target), right(a, b))


@pytest.mark.covers("nppiNot_8u_C1R_Ctx")
def test_bits_of_one(card: Card) -> None:
    array = pixels((13, 21), np.uint8)
    target = card.like(array)
    npp.bitwise_not(card.stream, card.put(array), target)
    np.testing.assert_array_equal(card.get(target), ~array)


@pytest.mark.parametrize(
    ("operation", "right", "roundings"),
    [
        pytest.param(npp.absolute, np.abs, 0, marks=pytest.mark.covers("nppiAbs_32f_C1R_Ctx")),
        pytest.param(npp.square, np.square, 1, marks=pytest.mark.covers("nppiSqr_32f_C1R_Ctx")),
        pytest.param(
            npp.square_root, lambda x: np.sqrt(np.abs(x)), 2, marks=pytest.mark.covers("nppiSqrt_32f_C1R_Ctx")
        ),
        # exp and log of CUDA's library are right to 2 units in the last place, their fast forms to a few more.
        pytest.param(npp.exponential, np.exp, 16, marks=pytest.mark.covers("nppiExp_32f_C1R_Ctx")),
        pytest.param(
            npp.natural_logarithm, lambda x: np.log(np.abs(x)), 16, marks=pytest.mark.covers("nppiLn_32f_C1R_Ctx")
        ),
    ],
)
def test_of_one_float(operation: Any, right: Any, roundings: int, card: Card) -> None:
    array = (np.random.default_rng(0).uniform(-4, 4, (13, 21))).astype(np.float32)
    if operation in (npp.square_root, npp.natural_logarithm):
        array = np.abs(array)
    target = card.like(array)
    operation(card.stream, card.put(array), target)
    exact = right(array.astype(float))
    np.testing.assert_allclose(card.get(target), exact, rtol=2 * roundings * U, atol=2 * roundings * U)


THRESHOLDS: list[Any] = [("LTVal", (90, 10), None), ("GTVal", None, (180, 250)), ("LTValGTVal", (90, 10), (180, 250))]


@pytest.mark.parametrize(
    ("below", "above", "variant"),
    [
        pytest.param(below, above, *param.values, marks=param.marks, id=param.id)
        for name, below, above in THRESHOLDS
        for param in variants(f"Threshold_{name}")
    ],
)
def test_threshold(below: Any, above: Any, variant: Variant, card: Card) -> None:
    array = pixels(variant.shape, variant.dtype)
    target = card.target(variant)
    npp.threshold(card.stream, card.put(array), target, below=below, above=above)
    right = array.copy()
    if below:
        right[array < below[0]] = below[1]
    if above:
        right[array > above[0]] = above[1]
    np.testing.assert_array_equal(card.get(target), right)


COMPARISONS: list[Any] = [
    (Comparison.LESS, np.less),
    (Comparison.LESS_EQ, np.less_equal),
    (Comparison.EQ, np.equal),
    (Comparison.GREATER_EQ, np.greater_equal),
    (Comparison.GREATER, np.greater),
]


@pytest.mark.parametrize(
    ("constant", "variant"),
    [
        pytest.param(constant, *param.values, marks=param.marks, id=param.id)
        for constant in (False, True)
        for param in variants("CompareC" if constant else "Compare")
    ],
)
def test_compare(constant: bool, variant: Variant, card: Card) -> None:
    a, b = (pixels(variant.shape, variant.dtype, seed, most=4) for seed in (0, 1))
    for operation, right in COMPARISONS:
        target = card.like(a, dtype=np.uint8)
        npp.compare(card.stream, card.put(a), 2 if constant else card.put(b), target, operation)
        np.testing.assert_array_equal(card.get(target), 255 * right(a, 2 if constant else b))


@pytest.mark.covers("nppiAlphaComp_8u_AC4R_Ctx")
def test_compose(card: Card) -> None:
    a, b = pixels((13, 21, 4), np.uint8), pixels((13, 21, 4), np.uint8, seed=1)
    b[..., 3] = 255
    target = card.like(a)
    npp.compose(card.stream, card.put(a), card.put(b), target, AlphaOp.OVER)
    opacity = a[..., 3:] / 255.0
    right = a[..., :3] * opacity + b[..., :3] * (1 - opacity)
    # Two products and their sum, each cut to a whole number: off by less than three. NPP may write a wrong opacity.
    assert (np.abs(card.get(target)[..., :3] - right) < 3.01).all()
