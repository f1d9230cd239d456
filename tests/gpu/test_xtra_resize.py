"""gocudnn_py.xtra on the card: resized planes and their gradients, against NumPy."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest

from gocudnn_py import xtra
from tests.gpu.test_xtra import Array, Card, anything, close, every_float, numbers, same
from tests.gpu.test_xtra import card as card

COORDINATES = ("asymmetric", "half_pixel", "align_corners")
SIZES = [
    ((5, 7), (10, 14)),
    ((8, 6), (4, 3)),
    ((7, 5), (3, 11)),
    ((1, 4), (6, 1)),
    ((4, 1), (1, 5)),
    ((6, 6), (6, 6)),
    ((3, 2), (40, 33)),
    ((33, 40), (2, 3)),
    ((20, 8), (40, 16)),
    ((36, 16), (20, 8)),
    ((3, 4), (9, 16)),
    ((5, 6), (4, 48)),
    ((3, 4), (12, 16)),
    ((3, 4), (24, 32)),
]
every_size = pytest.mark.parametrize(("size", "y_size"), SIZES, ids=str)
every_coordinate = pytest.mark.parametrize("coordinates", COORDINATES)
every_layout = pytest.mark.parametrize("layout", ["NCHW", "NHWC"])


def chosen(size: int, y_size: int, coordinates: str) -> Array:
    """Which element of x is nearest to each of y: exactly."""
    o = np.arange(y_size)
    if coordinates == "asymmetric":
        return o * size // y_size
    if coordinates == "half_pixel":
        return (2 * o + 1) * size // (2 * y_size)
    return (2 * o * (size - 1) + y_size - 1) // (2 * max(1, y_size - 1))


def shares(size: int, y_size: int, coordinates: str) -> Array:
    """The matrix (y_size, size) of bilinear resizing; places in float32, as PyTorch has them."""
    o, one = np.arange(y_size, dtype=np.float32), np.float32(1)
    if coordinates == "align_corners":
        place = o * (np.float32(size - 1) / np.float32(y_size - 1) if y_size > 1 else np.float32(0))
    else:
        shift = np.float32(0.5 if coordinates == "half_pixel" else 0)
        place = np.maximum((o + shift) * (np.float32(size) / np.float32(y_size)) - shift, np.float32(0))
    low = np.minimum(place.astype(np.int64), size - 1)
    high, weight = np.minimum(low + 1, size - 1), place - low.astype(np.float32)
    made = np.zeros((y_size, size))
    np.add.at(made, (np.arange(y_size), low), (one - weight).astype(np.float64))
    np.add.at(made, (np.arange(y_size), high), weight.astype(np.float64))
    return made


def turned(x: Array, layout: str) -> Array:
    return x if layout == "NCHW" else np.ascontiguousarray(np.moveaxis(x, 1, -1))


@pytest.mark.parametrize(("dtype", "channels"), [("float32", 3), ("float16", 8), ("uint8", 16), ("float64", 1)])
@every_layout
@every_coordinate
@every_size
def test_nearest(
    size: tuple[int, int], y_size: tuple[int, int], coordinates: Any, layout: Any, dtype: str, channels: int, card: Card
) -> None:
    x = anything((2, channels, *size), dtype)
    rows, columns = (chosen(*pair, coordinates) for pair in zip(size, y_size, strict=True))
    right = turned(x[:, :, rows][:, :, :, columns], layout)
    y = card.empty(right.shape, dtype)
    xtra.resize(card.stream, card.put(turned(x, layout)), y, "nearest", coordinates, layout)
    same(card.get(y), right)


@pytest.mark.parametrize(("dtype", "channels", "shift"), [("float32", 3, 1), ("float16", 8, 0), ("bfloat16", 8, 1)])
@every_layout
@every_coordinate
@every_size
def test_bilinear_and_both_gradients(
    size: tuple[int, int],
    y_size: tuple[int, int],
    coordinates: Any,
    layout: Any,
    dtype: str,
    channels: int,
    shift: int,
    card: Card,
) -> None:
    x, up = numbers((2, channels, *size), dtype), numbers((2, channels, *y_size), dtype, 1)
    on_x, on_dy = card.put(turned(x, layout), shift), card.put(turned(up, layout))
    y, dx = card.empty(on_dy.shape, dtype), card.empty(on_x.shape, dtype, shift)
    rows, columns = (shares(*pair, coordinates) for pair in zip(size, y_size, strict=True))
    wide, dy = x.astype(np.float64), up.astype(np.float64)
    xtra.resize(card.stream, on_x, y, "bilinear", coordinates, layout)
    close(card.get(y), turned(rows @ wide @ columns.T, layout), turned(rows @ np.abs(wide) @ columns.T, layout), 8)
    terms = 8 + 2 * int(np.sqrt(y_size[0] * y_size[1]))
    xtra.resize_backward(card.stream, on_dy, dx, "bilinear", coordinates, layout)
    close(card.get(dx), turned(rows.T @ dy @ columns, layout), turned(rows.T @ np.abs(dy) @ columns, layout), terms)
    rows, columns = (np.eye(pair[0])[chosen(*pair, coordinates)] for pair in zip(size, y_size, strict=True))
    xtra.resize_backward(card.stream, on_dy, dx, "nearest", coordinates, layout)
    close(card.get(dx), turned(rows.T @ dy @ columns, layout), turned(rows.T @ np.abs(dy) @ columns, layout), terms)


@pytest.mark.parametrize(("name", "value"), [("ENOUGH", 0), ("TOGETHER", 1), ("TAPS", 1)])
@every_layout
@pytest.mark.parametrize(("size", "y_size"), [SIZES[6], *SIZES[8:]], ids=str)
def test_threads_that_take_more_or_less(
    size: tuple[int, int],
    y_size: tuple[int, int],
    layout: Any,
    name: str,
    value: int,
    card: Card,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(importlib.import_module("gocudnn_py.xtra.resize"), name, value)
    for dtype, channels, coordinates in [("float32", 3, "half_pixel"), ("float16", 8, "align_corners")]:
        test_nearest(size, y_size, coordinates, layout, dtype, channels, card)
        test_bilinear_and_both_gradients(size, y_size, coordinates, layout, dtype, channels, 0, card)


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
@every_coordinate
@pytest.mark.parametrize(("size", "y_size"), [*SIZES[:3], *SIZES[-4:]], ids=str)
def test_what_is_infinite_reaches_only_what_it_was_made_of(
    size: tuple[int, int], y_size: tuple[int, int], coordinates: Any, mode: Any, card: Card
) -> None:
    up = np.zeros((1, 2, *y_size), np.float32)
    up[0, 0, y_size[0] // 2, y_size[1] // 2] = up[0, 1, -1, -1] = np.inf
    dx = card.empty((1, 2, *size), "float32")
    xtra.resize_backward(card.stream, card.put(up), dx, mode, coordinates)
    if mode == "nearest":
        rows, columns = (np.eye(pair[0])[chosen(*pair, coordinates)] for pair in zip(size, y_size, strict=True))
    else:
        rows, columns = (shares(*pair, coordinates) for pair in zip(size, y_size, strict=True))
    same(np.isinf(card.get(dx)), rows.T @ np.isinf(up) @ columns > 0)


@every_float
def test_many_small_planes(dtype: str, card: Card) -> None:
    x = numbers((300, 7, 4, 4), dtype)
    y = card.empty((300, 7, 2, 2), dtype)
    xtra.resize(card.stream, card.put(x), y)
    same(card.get(y), x[:, :, ::2, ::2])


def test_nothing(card: Card) -> None:
    dx = card.empty((2, 3, 4, 4), "float32")
    xtra.resize_backward(card.stream, card.empty((2, 3, 0, 5), "float32"), dx, "bilinear")
    assert not card.get(dx).any()
    xtra.resize_backward(card.stream, card.empty((2, 3, 5, 0), "float32"), dx)
    assert not card.get(dx).any()
    xtra.resize(card.stream, dx, card.empty((2, 3, 0, 5), "float32"))


def test_what_is_refused(card: Card) -> None:
    x, y, stream = card.put(numbers((2, 3, 4, 4))), card.empty((2, 3, 8, 8), "float32"), card.stream
    wrong: Any
    for error, words, wrong in [
        (ValueError, "mode 'cubic'", lambda: xtra.resize(stream, x, y, "cubic")),  # type: ignore[arg-type]
        (ValueError, "layout 'CHWN'", lambda: xtra.resize(stream, x, y, layout="CHWN")),  # type: ignore[arg-type]
        (ValueError, "differ in samples or channels", lambda: xtra.resize(stream, x, y, layout="NHWC")),
        (TypeError, "different types", lambda: xtra.resize(stream, x, card.empty((2, 3, 8, 8), "float16"))),
        (ValueError, "4 axes", lambda: xtra.resize(stream, x.reshape(6, 4, 4), y)),
        (ValueError, "no elements", lambda: xtra.resize(stream, card.empty((2, 3, 0, 4), "float32"), y)),
        (ValueError, "overlap", lambda: xtra.resize(stream, x, x)),
    ]:
        with pytest.raises(error, match=words):
            wrong()
