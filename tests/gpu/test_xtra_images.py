"""gocudnn_py.xtra on the card: images of bytes and random numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gocudnn_py import xtra
from gocudnn_py.dtypes import numpy_dtype
from gocunets import convnetgo
from tests.gpu.test_xtra import Array, Card, close, every_float, same
from tests.gpu.test_xtra import card as card

MEAN, STD = (0.485, 0.456, 0.406, 0.5), (0.229, 0.224, 0.225, 0.25)
LAYOUTS = ("NCHW", "NHWC")


def turned(x: Array, layout: str) -> Array:
    return x if layout == "NCHW" else np.ascontiguousarray(np.moveaxis(x, 1, -1))


@every_float
@pytest.mark.parametrize("layouts", [(a, b) for a in LAYOUTS for b in LAYOUTS], ids=str)
@pytest.mark.parametrize(
    ("shape", "shift"), [((2, 3, 40, 33), 0), ((3, 1, 7, 9), 1), ((1, 4, 5, 64), 1), ((2, 2, 0, 3), 0)]
)
def test_images(shape: tuple[int, ...], shift: int, layouts: tuple[Any, Any], dtype: str, card: Card) -> None:
    x = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    y = card.empty(turned(x, layouts[1]).shape, dtype, shift)
    c = shape[1]
    on_x = card.put(turned(x, layouts[0]), shift)
    xtra.normalize_images(card.stream, on_x, y, MEAN[:c], STD[:c], layout=layouts[0], y_layout=layouts[1])
    mean, std = (np.array(values[:c]).reshape(-1, 1, 1) for values in (MEAN, STD))
    right = (x / 255 - mean) / std
    close(card.get(y), turned(right, layouts[1]), turned((x / 255 + mean) / std, layouts[1]))


def test_images_as_they_are(card: Card) -> None:
    x = np.arange(2 * 3 * 4 * 5, dtype=np.uint8).reshape(2, 3, 4, 5)
    y = card.empty(x.shape, "float32")
    xtra.normalize_images(card.stream, card.put(x), y, scale=1.0, layout="NCHW")
    same(card.get(y), x.astype(np.float32))


@pytest.mark.parametrize("size", [0, 1, 5, 1024, 4099])
@pytest.mark.parametrize("shift", [0, 1])
def test_words_are_those_of_the_cpu(size: int, shift: int, card: Card) -> None:
    y = card.empty((size,), "uint32", shift)
    xtra.random_bits(card.stream, y, seed=2**40 + 5, node=7, step=3)
    same(card.get(y), convnetgo.random_bits(size, seed=2**40 + 5, node=7, step=3))


@pytest.mark.parametrize("size", [0, 1, 6, 1024, 4099])
@pytest.mark.parametrize("shift", [0, 1])
def test_floats_are_those_of_the_cpu(size: int, shift: int, card: Card) -> None:
    y = card.empty((size,), "float32", shift)
    xtra.uniform(card.stream, y, seed=9, node=2)
    same(card.get(y), convnetgo.uniform((size,), seed=9, node=2))
    xtra.normal(card.stream, y, seed=9, node=2, step=1)
    right = convnetgo.normal((size,), seed=9, node=2, step=1)
    different = card.get(y) != right  # the mathematical libraries differ in the last place of some doubles
    assert different.mean() <= 1e-3 if size else True
    np.testing.assert_allclose(card.get(y), right, rtol=2.0**-23)


@pytest.mark.parametrize(("dtype", "bits"), [("float16", 11), ("bfloat16", 8)])
def test_halves_have_the_leading_bits(dtype: str, bits: int, card: Card) -> None:
    y = card.empty((5001,), dtype, 1)
    xtra.uniform(card.stream, y, seed=3)
    words = convnetgo.random_bits(5001, seed=3, node=0)
    same(card.get(y), ((words >> (32 - bits)) * 2.0**-bits).astype(numpy_dtype(dtype)))
    assert card.get(y).astype(np.float32).max() < 1


@every_float
def test_ranges(dtype: str, card: Card) -> None:
    y = card.empty((20_000,), dtype)
    xtra.uniform(card.stream, y, -2.0, 3.0, seed=1)
    u = card.get(y).astype(np.float64)
    assert (u >= -2).all()
    assert (u <= 3).all()
    assert abs(u.mean() - 0.5) < 0.05
    xtra.normal(card.stream, y, 4.0, 0.5, seed=1)
    z = card.get(y).astype(np.float64)
    assert abs(z.mean() - 4) < 0.02
    assert abs(z.std() - 0.5) < 0.02


def test_what_is_refused(card: Card) -> None:
    x, stream = card.put(np.zeros((2, 3, 4, 5), np.uint8)), card.stream
    y, words = card.empty((2, 3, 4, 5), "float32"), card.empty((4,), "uint32")
    wrong: Any
    for error, message, wrong in [
        (TypeError, "images is float32", lambda: xtra.normalize_images(stream, y, y)),
        (ValueError, "does not fit", lambda: xtra.normalize_images(stream, x, y)),
        (
            ValueError,
            "2 means and 1 deviations for 3",
            lambda: xtra.normalize_images(stream, x, y, (0, 0), layout="NCHW"),
        ),
        (ValueError, "a deviation of 0", lambda: xtra.normalize_images(stream, x, y, std=(0,), layout="NCHW")),
        (ValueError, "5 channels", lambda: xtra.normalize_images(stream, x, y.reshape(2, 5, 3, 4))),
        (ValueError, "4 axes", lambda: xtra.normalize_images(stream, x.reshape(6, 4, 5), y)),
        (TypeError, "y is float32; there are kernels for uint32", lambda: xtra.random_bits(stream, y, seed=0)),
        (ValueError, r"seed is -1, expected 0 to 2\^64 - 1", lambda: xtra.random_bits(stream, words, seed=-1)),
        (ValueError, "node is", lambda: xtra.random_bits(stream, words, seed=0, node=2**32)),
        (TypeError, "uint32", lambda: xtra.uniform(stream, words, seed=0)),
    ]:
        with pytest.raises(error, match=message):
            wrong()
