"""gocudnn_py.xtra on the card: losses, penalties and their gradients, against NumPy in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gocudnn_py import xtra
from gocudnn_py.xtra import DeviceArray
from tests.gpu.test_xtra import Array, Card, close, every_float, numbers, same
from tests.gpu.test_xtra import card as card


def sums(shape: tuple[int, ...]) -> float:
    """Roundings that the sum of an array is allowed: a thread adds a few, doubles the rest."""
    return 8 + np.sqrt(np.prod(shape))


@every_float
@pytest.mark.parametrize("factor", [None, 0.5])
@pytest.mark.parametrize("shift", [0, 1])
@pytest.mark.parametrize(
    ("shape", "by_sample"),
    [
        ((7, 3), True), ((3, 1025), True), ((2, 3, 4, 5), True), ((2, 8200), True), ((40_001,), False),
        ((7, 3), False), ((1,), False),
    ],
    ids=str,
)  # fmt: skip
def test_squared_error(
    shape: tuple[int, ...], by_sample: bool, shift: int, factor: float | None, dtype: str, card: Card
) -> None:
    y, target = numbers(shape, dtype), numbers(shape, dtype, 1)
    loss, dy = card.empty(shape[:1] if by_sample else (), "float32"), card.empty(shape, dtype)
    xtra.squared_error(card.stream, card.put(y, shift), card.put(target), loss, dy, factor)
    difference = y.astype(np.float64) - target.astype(np.float64)
    squares = difference.reshape(shape[0] if by_sample else 1, -1) ** 2
    by = factor or 1 / squares.shape[1]
    right = by * squares.sum(axis=1).reshape(loss.shape)
    close(card.get(loss), right, right, sums(squares.shape[1:]))  # type: ignore[arg-type]
    close(
        card.get(dy), 2 * by * difference, 2 * by * (np.abs(y.astype(np.float64)) + np.abs(target.astype(np.float64)))
    )


def test_squared_error_in_place_and_alone(card: Card) -> None:
    y, target = card.put(numbers((50, 3))), card.put(numbers((50, 3), seed=1))
    loss, other = card.empty((), "float32"), card.empty((1,), "float32")
    difference = card.get(y) - card.get(target)
    xtra.squared_error(card.stream, y, target, loss)
    xtra.squared_error(card.stream, y, target, other, y, factor=0.5)
    same(card.get(y), difference)
    assert abs(card.get(other)[0] / card.get(loss) - 75) < 1e-3


def test_squared_error_of_nothing(card: Card) -> None:
    nothing, loss = card.empty((0, 3), "float32"), card.empty((), "float32")
    xtra.squared_error(card.stream, nothing, nothing.reshape(0, 3), loss)
    assert card.get(loss) == 0


def cross_entropy(logits: Array, labels: Array, axis: int) -> tuple[Array, Array]:
    """The losses and the gradient of their sum."""
    wide = logits.astype(np.float64)
    shifted = wide - wide.max(axis=axis, keepdims=True)
    p = np.exp(shifted) / np.exp(shifted).sum(axis=axis, keepdims=True)
    chosen = np.expand_dims(labels, axis)
    losses = np.log(np.exp(shifted).sum(axis=axis)) - np.take_along_axis(shifted, chosen, axis).squeeze(axis)
    dlogits = p.copy()
    np.put_along_axis(dlogits, chosen, np.take_along_axis(p, chosen, axis) - 1, axis)
    return losses, dlogits


def check_cross_entropy(card: Card, shape: tuple[int, ...], axis: int, kind: str, dtype: str, shift: int) -> None:
    logits = numbers(shape, dtype) * np.array(3, dtype if dtype != "bfloat16" else "float32")
    logits = logits.astype(numbers((1,), dtype).dtype)
    rest = tuple(n for i, n in enumerate(shape) if i != axis % len(shape))
    labels = np.random.default_rng(2).integers(0, min(250, shape[axis]), rest).astype(kind)
    losses, loss = card.empty(rest, "float32"), card.empty((1,), "float32")
    on_logits, dlogits = card.put(logits, shift), card.empty(shape, dtype)
    xtra.softmax_cross_entropy(card.stream, on_logits, card.put(labels), losses, dlogits, loss, axis=axis)
    each, gradient = cross_entropy(logits, labels.astype(np.int64), axis)
    span = np.abs(logits.astype(np.float64)).max()
    close(card.get(losses), each, 1 + span, 8 + shape[axis] ** 0.5)
    close(card.get(loss), np.array([each.mean()]), 1 + span, 8 + shape[axis] ** 0.5)
    close(card.get(dlogits), gradient / labels.size, (1 + span) / labels.size, 8 + shape[axis] ** 0.5)
    found = card.get(dlogits)
    xtra.softmax_cross_entropy(card.stream, on_logits, card.put(labels), losses, on_logits, axis=axis)  # in place
    same(card.get(on_logits), found)


@every_float
@pytest.mark.parametrize("kind", ["int32", "int64", "uint8"])
@pytest.mark.parametrize(
    ("shape", "axis"),
    [((9, 10), 1), ((200, 3), 1), ((3, 1000), -1), ((5, 1), 1), ((2, 5, 6, 7), 1), ((2, 6, 7, 5), 3), ((4, 3), 0)],
    ids=str,
)
def test_softmax_cross_entropy(shape: tuple[int, ...], axis: int, kind: str, dtype: str, card: Card) -> None:
    check_cross_entropy(card, shape, axis, kind, dtype, 1)


@every_float
@pytest.mark.parametrize(
    ("shape", "kind"),
    [
        ((1025, 8), "int32"), ((70, 16), "int64"), ((2, 35, 24), "uint8"), ((9, 80), "int32"), ((3, 1000), "int64"),
        ((5, 1024), "uint8"), ((2, 2048), "int32"),
    ],
    ids=str,
)  # fmt: skip
def test_softmax_cross_entropy_of_rows_of_packs(shape: tuple[int, ...], kind: str, dtype: str, card: Card) -> None:
    check_cross_entropy(card, shape, -1, kind, dtype, 0)


@every_float
def test_rows_of_packs_out_of_the_ordinary(dtype: str, card: Card) -> None:
    """As rows that are not aligned."""
    logits, labels = numbers((12, 40), dtype), np.full(12, 20)
    logits[1:3, 20], logits[3:5, 7], logits[5, 20] = -np.inf, np.inf, np.inf
    logits[2], logits[6], logits[7, 3] = -np.inf, np.inf, np.nan
    logits[8, 20], logits[9, 20] = 1e4, -1e4
    labels[4], labels[10:] = 7, [-1, 40]
    losses, dlogits = [card.empty((12,), "float32") for _ in "ab"], [card.empty((12, 40), dtype) for _ in "ab"]
    for shift in (0, 1):
        given = card.put(logits, shift), card.put(labels), losses[shift], dlogits[shift]
        xtra.softmax_cross_entropy(card.stream, *given, factor=1.0)
    np.testing.assert_allclose(card.get(losses[0]), card.get(losses[1]), rtol=1e-5, atol=1e-6)
    packed, plain = (card.get(each).astype(np.float64) for each in dlogits)
    np.testing.assert_allclose(packed, plain, rtol=1e-2, atol=1e-6)


def test_labels_and_logits_out_of_the_ordinary(card: Card) -> None:
    logits = np.array([[1, 2, 3], [-np.inf, 0, 0], [0, -np.inf, 0], [1e4, -1e4, 0], [0, 0, 0]], np.float32)
    labels = np.array([3, 1, 1, 0, -1])
    losses, dlogits = card.empty((5,), "float32"), card.empty((5, 3), "float32")
    xtra.softmax_cross_entropy(card.stream, card.put(logits), card.put(labels), losses, dlogits, factor=1.0)
    right = [np.nan, np.log(2), np.inf, 0, np.nan]
    np.testing.assert_allclose(card.get(losses), right, rtol=1e-6)
    rows = [[np.nan] * 3, [0, -0.5, 0.5], [0.5, -1, 0.5], [0, 0, 0], [np.nan] * 3]
    np.testing.assert_allclose(card.get(dlogits), rows, rtol=1e-6, atol=1e-7)


def test_no_labels(card: Card) -> None:
    losses, loss = card.empty((0,), "float32"), card.empty((), "float32")
    labels = card.put(np.zeros(0, np.int64))
    xtra.softmax_cross_entropy(card.stream, card.empty((0, 3), "float32"), labels, losses, loss=loss)
    assert card.get(loss) == 0


def test_what_is_refused(card: Card) -> None:
    y, stream, one = card.put(numbers((4, 3))), card.stream, card.empty((), "float32")
    labels, losses = card.put(np.zeros(4, np.int64)), card.empty((4,), "float32")
    wrong: Any
    for error, words, wrong in [
        (
            ValueError,
            r"a loss of shape \(2,\).*\(4,\)",
            lambda: xtra.squared_error(stream, y, y, card.empty((2,), "float32")),
        ),
        (
            TypeError,
            "float16; there are kernels for float32",
            lambda: xtra.squared_error(stream, y, y, card.empty((), "float16")),
        ),
        (ValueError, "overlap", lambda: xtra.squared_error(stream, y, y, y.reshape(12).rows(0, 1))),
        (
            ValueError,
            r"labels has shape \(4,\), expected \(3,\)",
            lambda: xtra.softmax_cross_entropy(stream, y, labels, losses, axis=0),
        ),
        (TypeError, "labels is float32", lambda: xtra.softmax_cross_entropy(stream, y, losses, losses)),
        (
            ValueError,
            "no classes",
            lambda: xtra.softmax_cross_entropy(stream, card.empty((4, 0), "float32"), labels, losses),
        ),
        (
            ValueError,
            "loss has shape",
            lambda: xtra.softmax_cross_entropy(stream, y, labels, losses, loss=card.empty((2,), "float32")),
        ),
        (ValueError, "ends at byte", lambda: xtra.squared_error(stream, y, y, one, workspace=card.room(4))),
    ]:
        with pytest.raises(error, match=words):
            wrong()


@every_float
@pytest.mark.parametrize("shift", [0, 1])
@pytest.mark.parametrize("shapes", [[(3,)], [(5, 7), (1,), (0, 4), (5000,), (4097,)]], ids=str)
def test_penalties(shapes: list[tuple[int, ...]], shift: int, dtype: str, card: Card) -> None:
    ws = [numbers(shape, dtype, seed) for seed, shape in enumerate(shapes)]
    dws = [numbers(shape, dtype, 10 + seed) for seed, shape in enumerate(shapes)]
    ws[0].reshape(-1)[0] = 0  # has no sign
    on_w, on_dw = [card.put(w, shift) for w in ws], [card.put(dw) for dw in dws]
    tensors, penalties = xtra.TensorList(card.stream, on_w, on_dw), card.empty((2,), "float32")
    xtra.regularize(card.stream, tensors, penalties, l1=0.01, l2=0.02, scale=0.25)
    wide = [w.astype(np.float64) for w in ws]
    right = [0.01 * sum(np.abs(w).sum() for w in wide), 0.01 * sum((w * w).sum() for w in wide)]
    close(card.get(penalties), np.array(right), np.array(right), 8)
    for found, w, dw in zip(on_dw, wide, dws, strict=True):
        gradient = 0.25 * dw.astype(np.float64) + 0.01 * np.sign(w) + 0.02 * w
        close(
            card.get(found), gradient, np.abs(gradient) + 0.25 * np.abs(dw.astype(np.float64)) + 0.02 * np.abs(w) + 0.01
        )


def test_penalties_of_nothing(card: Card) -> None:
    nothing = DeviceArray(card.room(1), (0,), "float32")
    tensors, penalties = xtra.TensorList(card.stream, [nothing], [nothing]), card.empty((2,), "float32")
    xtra.regularize(card.stream, tensors, penalties, 1.0, 1.0)
    assert not card.get(penalties).any()
