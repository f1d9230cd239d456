"""gocudnn_py.xtra on the card: activations with slopes, against NumPy in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gocudnn_py import xtra
from gocudnn_py.xtra import DeviceArray
from tests.gpu.test_xtra import UNIT, Array, Card, close, every_float, numbers, same
from tests.gpu.test_xtra import card as card

# Shape of x, of the slopes, their axis: rows and planes, few and many, one for all, one an element of a sample.
CASES = [
    ((4, 3, 10, 9), (3,), 1),
    ((40, 5, 3, 2), (5,), 1),
    ((6, 7, 5, 33), (33,), -1),
    ((300, 70), (70,), 1),
    ((5, 4, 6), (4, 6), 1),
    ((3, 2, 4100), (1,), 1),
    ((9, 5), (), 0),
    ((3, 1, 8, 9), (1,), 1),
    ((2, 2100, 1), (2100,), 1),
    ((0, 4, 9), (4,), 1),
    ((3, 4, 0), (4,), 1),
]
every_case = pytest.mark.parametrize(("shape", "slopes", "axis"), CASES, ids=str)


def widened(slopes: Array, shape: tuple[int, ...], axis: int) -> Array:
    """Slopes in the shape in which they meet x."""
    if slopes.shape == shape[1:] and slopes.ndim > 1:
        return slopes.astype(np.float64)
    return slopes.astype(np.float64).reshape([-1 if i == axis % len(shape) else 1 for i in range(len(shape))])


def summed(terms: Array, slopes: tuple[int, ...], axis: int) -> Array:
    """The sum of terms for each slope."""
    if slopes == terms.shape[1:] and len(slopes) > 1:
        return terms.sum(axis=0)
    if np.prod(slopes) == 1:
        return terms.sum().reshape(slopes)
    return terms.sum(axis=tuple(i for i in range(terms.ndim) if i != axis % terms.ndim))


@every_float
@pytest.mark.parametrize(("size", "shifts"), [(0, (0, 0, 0)), (8192, (0, 0, 0)), (5001, (0, 1, 3))])
def test_leaky_relu(size: int, shifts: tuple[int, int, int], dtype: str, card: Card) -> None:
    x, up, before = (numbers((size,), dtype, seed) for seed in range(3))
    places = [card.put(array, shift) for array, shift in zip((x, up, before), shifts, strict=True)]
    wide, dy, old = (array.astype(np.float64) for array in (x, up, before))
    slope = float(np.float32(0.01))
    on_x, on_dy, on_y = places
    xtra.leaky_relu(card.stream, on_x, on_y, alpha=2.0, beta=-0.5)
    y = 2 * np.where(wide > 0, wide, slope * wide) - old / 2
    close(card.get(on_y), y, 2 * np.abs(wide) + np.abs(old))
    xtra.leaky_relu(card.stream, on_x, on_y)
    close(card.get(on_y), np.where(wide > 0, wide, slope * wide), wide)
    was = card.get(on_y).astype(np.float64)
    xtra.leaky_relu_backward(card.stream, on_x, on_dy, on_y, alpha=2.0, beta=-0.5)
    dx = 2 * np.where(wide > 0, dy, slope * dy)
    close(card.get(on_y), dx - was / 2, 2 * np.abs(dy) + np.abs(was))
    xtra.leaky_relu_backward(card.stream, on_x, on_dy, on_dy)  # in place
    close(card.get(on_dy), dx / 2, dy)


def test_leaky_relu_without_beta_reads_no_output(card: Card) -> None:
    y = card.empty((5000,), "float32")
    xtra.leaky_relu(card.stream, card.put(numbers((5000,))), y)
    assert np.isfinite(card.get(y)).all()


@every_float
@every_case
def test_prelu(shape: tuple[int, ...], slopes: tuple[int, ...], axis: int, dtype: str, card: Card) -> None:
    x, up, a = numbers(shape, dtype), numbers(shape, dtype, 1), numbers(slopes, "float32", 2)
    on_x, on_a, on_dy = card.put(x, 1), card.put(a), card.put(up)
    y, dx, da = card.empty(shape, dtype), card.empty(shape, dtype), card.empty(slopes, "float32")
    xtra.prelu(card.stream, on_x, on_a, y, axis)
    xtra.prelu_backward(card.stream, on_x, on_a, on_dy, dx, da, axis)
    wide, dy, by = x.astype(np.float64), up.astype(np.float64), widened(a, shape, axis)
    close(card.get(y), np.where(wide > 0, wide, by * wide), np.where(wide > 0, wide, by * wide))
    close(card.get(dx), np.where(wide > 0, dy, by * dy), np.where(wide > 0, dy, by * dy))
    terms = np.where(wide > 0, 0, wide * dy)
    close(card.get(da), summed(terms, slopes, axis), summed(np.abs(terms), slopes, axis), 16)


@every_case
def test_threshold(shape: tuple[int, ...], slopes: tuple[int, ...], axis: int, card: Card) -> None:
    x, up = numbers(shape, "float16"), numbers(shape, "float16", 1)
    edge, positive, negative = (numbers(slopes, "float16", seed) for seed in (2, 3, 4))
    on_x, on_dy = card.put(x), card.put(up, 1)
    by = [card.put(array) for array in (edge, positive, negative)]
    y, dx = card.empty(shape, "float16"), card.empty(shape, "float16")
    dp, dn = card.empty(slopes, "float16"), card.empty(slopes, "float16")
    xtra.threshold(card.stream, on_x, *by, y, axis)
    room = xtra.slopes_workspace(on_x, slopes, axis)
    workspace = card.empty((room,), "uint8")
    whole = DeviceArray(workspace.place, (1,), "uint8", workspace.offset)
    xtra.threshold_backward(card.stream, on_x, *by, on_dy, dx, dp, dn, axis, workspace=_Place(whole, room))
    card.get(workspace)  # nothing beside it was written
    wide, dy = x.astype(np.float64), up.astype(np.float64)
    t, p, n = (widened(array, shape, axis) for array in (edge, positive, negative))
    close(card.get(y), np.where(wide > t, p * wide, n * wide), wide)
    close(card.get(dx), np.where(wide > t, p * dy, n * dy), dy)
    for found, terms in [(dp, np.where(wide > t, wide * dy, 0)), (dn, np.where(wide > t, 0, wide * dy))]:
        close(card.get(found), summed(terms, slopes, axis), summed(np.abs(terms), slopes, axis), 16)


class _Place:
    """A part of a buffer as a buffer."""

    def __init__(self, array: DeviceArray, nbytes: int) -> None:
        self.pointer, self.nbytes, self.held = array.address, nbytes, array


def test_repeats_agree_bit_for_bit(card: Card) -> None:
    x, dy, a = card.put(numbers((31, 6, 400))), card.put(numbers((31, 6, 400), seed=1)), card.put(numbers((6,)))
    results = []
    for _ in range(3):
        da = card.empty((6,), "float32")
        xtra.prelu_backward(card.stream, x, a, dy, dslopes=da)
        results.append(card.get(da))
    same(results[1], results[0])
    same(results[2], results[0])


def test_gradients_agree_with_differences(card: Card) -> None:
    shape, step = (3, 2, 5), 2.0**-6
    x, a, dy = numbers(shape), numbers((2,), seed=1), numbers(shape, seed=2)

    def loss(slopes: Array) -> float:
        y = card.empty(shape, "float32")
        xtra.prelu(card.stream, card.put(x), card.put(slopes), y)
        return float((card.get(y).astype(np.float64) * dy).sum())

    da = card.empty((2,), "float32")
    xtra.prelu_backward(card.stream, card.put(x), card.put(a), card.put(dy), dslopes=da)
    for i, found in enumerate(card.get(da)):
        nudge = np.where(np.arange(2) == i, np.float32(step), np.float32(0))
        assert abs((loss(a + nudge) - loss(a - nudge)) / (2 * step) - found) < 2e3 * UNIT["float32"]  # y is linear in a


def test_what_is_refused(card: Card) -> None:
    x, a, y, stream = (
        card.put(numbers((2, 3, 4))),
        card.put(numbers((3,))),
        card.empty((2, 3, 4), "float32"),
        card.stream,
    )
    wrong: Any
    for error, words, wrong in [
        (ValueError, r"slopes of shape \(3,\).*1, 4 .axis -1. or \(3, 4\)", lambda: xtra.prelu(stream, x, a, y, -1)),
        (TypeError, "bfloat16 for x float32", lambda: xtra.prelu(stream, x, card.put(numbers((3,), "bfloat16")), y)),
        (ValueError, "no gradient is asked for", lambda: xtra.prelu_backward(stream, x, a, y)),
        (
            ValueError,
            "shape \\(4,\\), expected \\(3,\\)",
            lambda: xtra.prelu_backward(stream, x, a, y, None, card.empty((4,), "float32")),
        ),
        (ValueError, "overlap", lambda: xtra.prelu_backward(stream, x, a, y, None, x.reshape(24).rows(0, 3))),
        (
            ValueError,
            "ends at byte",
            lambda: xtra.prelu_backward(stream, x, a, y, None, card.empty((3,), "float32"), workspace=_Place(a, 8)),
        ),
        (ValueError, "one shape", lambda: xtra.threshold(stream, x, a, a, a.rows(0, 2), y)),
    ]:
        with pytest.raises(error, match=words):
            wrong()


def test_capture_needs_a_workspace(card: Card) -> None:
    x, a = card.put(numbers((2, 3, 400))), card.put(numbers((3,)))

    class Capturing:
        device, handle, capturing = card.stream.device, card.stream.handle, True

    with pytest.raises(ValueError, match="workspace of 24 bytes"):
        xtra.prelu_backward(Capturing(), x, a, x, None, card.empty((3,), "float32"))  # type: ignore[arg-type]
