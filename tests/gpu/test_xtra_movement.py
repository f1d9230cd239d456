"""gocudnn_py.xtra on the card: the same numbers in other places, bit for bit."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from gocudnn_py import xtra
from gocudnn_py.dtypes import numpy_dtype
from gocudnn_py.xtra import DeviceArray
from tests.gpu.test_xtra import Array, Card, anything, numbers, same
from tests.gpu.test_xtra import card as card

NCHW, NHWC = "NCHW", "NHWC"


def distinct(shape: tuple[int, ...], dtype: Any = "float32") -> Array:
    """Bits of which those of two places seldom agree."""
    kind = numpy_dtype(dtype)
    words = np.random.default_rng(0).bytes(int(np.prod(shape)) * kind.itemsize)
    return np.frombuffer(words, kind).reshape(shape)


TRANSPOSES = [
    ((5, 7), (1, 0)),
    ((64, 96), (1, 0)),  # whole tiles
    ((65, 33), (1, 0)),
    ((1, 129), (1, 0)),
    ((2, 300, 3), (0, 2, 1)),
    ((2, 3, 300), (0, 2, 1)),
    ((3, 4, 5), (2, 1, 0)),
    ((2, 3, 40, 41), (0, 2, 3, 1)),
    ((2, 40, 41, 3), (0, 3, 1, 2)),
    ((6, 5, 4, 8), (1, 0, 2, 3)),  # rows stay together
    ((6, 5, 7), (1, 0, 2)),
    ((7, 6, 5, 4, 3), (3, 1, 4, 0, 2)),
    ((2, 3, 2, 3, 2, 3, 2, 3), (7, 5, 3, 1, 6, 4, 2, 0)),
    ((2, 2, 2, 2, 2, 2, 2, 17), (0, 7, 1, 6, 2, 5, 3, 4)),
    ((4, 1, 6, 1), (3, 2, 1, 0)),
    ((700, 300), (1, 0)),  # many tiles a block
    ((2, 1028, 3), (0, 2, 1)),  # channels read with their neighbours, in whole tiles and a part
    ((2, 1028, 6), (0, 2, 1)),
    ((3, 130, 70, 9), (0, 3, 1, 2)),
    ((4, 6), (0, 1)),  # nothing moves
    ((3, 0, 4), (2, 1, 0)),
    ((), ()),
]


@pytest.mark.parametrize("dtype", ["float32", "float16", "uint8", "float64"])
@pytest.mark.parametrize(("shape", "axes"), TRANSPOSES, ids=str)
def test_transpose(shape: tuple[int, ...], axes: tuple[int, ...], dtype: str, card: Card) -> None:
    x = distinct(shape, dtype)
    right = x.transpose(axes)
    for shifts in itertools.product((0, 1), repeat=2) if x.ndim < 4 and x.size < 10_000 else ((0, 0),):
        y = card.empty(right.shape, dtype, shifts[1])
        xtra.transpose(card.stream, card.put(x, shifts[0]), y, axes)
        same(card.get(y), right)


@pytest.mark.parametrize("dtype", ["bool", "int16", "bfloat16", "int64", "complex128"])
def test_transpose_of_other_types(dtype: str, card: Card) -> None:
    x = anything((37, 70), dtype)
    y = card.empty((70, 37), dtype)
    xtra.transpose(card.stream, card.put(x), y, (1, 0))
    same(card.get(y), x.T)


@pytest.mark.parametrize("shape", [(2, 3, 5, 7), (2, 16, 9, 8), (1, 20, 4, 4), (3, 5), (2, 3, 4, 5, 6)])
def test_layouts(shape: tuple[int, ...], card: Card) -> None:
    x = distinct(shape, "float16")
    last = np.moveaxis(x, 1, -1)
    y, back = card.empty(last.shape, "float16"), card.empty(x.shape, "float16")
    xtra.to_nhwc(card.stream, card.put(x), y)
    same(card.get(y), last)
    xtra.to_nchw(card.stream, y, back)
    same(card.get(back), x)


def test_copy(card: Card) -> None:
    x = distinct((3, 1001))
    y = card.empty(x.shape, "float32", 1)
    xtra.copy(card.stream, card.put(x, 2), y)
    same(card.get(y), x)


PARTS = [
    ((2, 3, 5, 4), 1, (3, 1, 4)),
    ((2, 5, 4, 6), -1, (6, 20)),
    ((2, 5, 4, 8), 3, (8, 8, 16)),
    ((4, 3), 0, (4, 0, 1)),
    ((5, 6), 1, (1, 2, 3, 4, 5, 6, 7, 8)),
    ((5, 6), 1, (1, 2, 3, 4, 5, 6, 7, 8, 9)),  # more than one launch takes
    ((3, 700), 1, (700, 1024)),  # too long for that
]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "uint8"])
@pytest.mark.parametrize(("shape", "axis", "sizes"), PARTS, ids=str)
@pytest.mark.parametrize("shift", [0, 1])
def test_concatenate_and_split(
    shape: tuple[int, ...], axis: int, sizes: tuple[int, ...], shift: int, dtype: str, card: Card
) -> None:
    shapes = [tuple(size if i == axis % len(shape) else n for i, n in enumerate(shape)) for size in sizes]
    xs = [anything(each, dtype, seed) for seed, each in enumerate(shapes)]
    whole = np.concatenate(xs, axis)
    y = card.empty(whole.shape, dtype, shift)
    xtra.concatenate(card.stream, [card.put(x, 2 * shift) for x in xs], y, axis)
    same(card.get(y), whole)
    parts = [card.empty(each, dtype) for each in shapes]
    xtra.split(card.stream, y, parts, axis)
    for part, x in zip(parts, xs, strict=True):
        same(card.get(part), x)


WINDOWS = [
    ((8, 12), (4, 4), (4, 4)),  # each element in one window
    ((8, 12), (4, 6), (2, 3)),  # overlap
    ((9, 11), (4, 4), (4, 4)),  # the last go beyond
    ((9, 11), (4, 3), (3, 2)),
    ((9, 11), (2, 3), (3, 5)),  # gaps
    ((3, 3), (5, 2), (1, 1)),  # larger than the plane
]


def _windows(x: Array, window: tuple[int, int], stride: tuple[int, int]) -> Array:
    """Windows of (N, C, H, W), one after the other."""
    n, c, *size = x.shape
    counts = [-(-max(0, s - w) // t) + 1 for s, w, t in zip(size, window, stride, strict=True)]
    made = np.zeros((n, *counts, c, *window), x.dtype)
    for i, j in itertools.product(*map(range, counts)):
        part = x[:, :, i * stride[0] :, j * stride[1] :][:, :, : window[0], : window[1]]
        made[:, i, j, :, : part.shape[2], : part.shape[3]] = part
    return made.reshape(-1, c, *window)


def _put_back(y: Array, size: tuple[int, int], samples: int, stride: tuple[int, int]) -> Array:
    """The gradient of `_windows`, in float64."""
    _, c, *window = y.shape
    counts = [-(-max(0, s - w) // t) + 1 for s, w, t in zip(size, window, stride, strict=True)]
    parts = y.astype(np.float64).reshape(samples, *counts, c, *window)
    reach = [max((n - 1) * t + w, s) for n, t, w, s in zip(counts, stride, window, size, strict=True)]
    x = np.zeros((samples, c, *reach))
    for i, j in itertools.product(*map(range, counts)):
        top, left = i * stride[0], j * stride[1]
        x[:, :, top : top + window[0], left : left + window[1]] += parts[:, i, j]
    return x[:, :, : size[0], : size[1]]


@pytest.mark.parametrize("layout", [NCHW, NHWC])
@pytest.mark.parametrize(("size", "window", "stride"), WINDOWS, ids=str)
def test_windows(
    size: tuple[int, int], window: tuple[int, int], stride: tuple[int, int], layout: Any, card: Card
) -> None:
    x = anything((2, 3, *size), "float16")
    right = _windows(x, window, stride)
    turn = (lambda a: a) if layout == NCHW else (lambda a: np.ascontiguousarray(np.moveaxis(a, 1, -1)))
    y = card.empty(turn(right).shape, "float16")
    assert xtra.windows_shape(turn(x).shape, window, stride, layout) == y.shape
    xtra.space_to_batch(card.stream, card.put(turn(x)), y, stride, layout)
    same(card.get(y), turn(right))
    back = card.empty(turn(x).shape, "float16")
    xtra.batch_to_space(card.stream, y, back, stride, layout)
    same(card.get(back), turn(_put_back(right, size, 2, stride).astype(np.float16)))  # whole numbers: exact


@pytest.mark.parametrize("dtype", ["float32", "float16", "uint8"])
@pytest.mark.parametrize(("start", "step"), [(0, 2), (1, 2), (2, 3), (9, 2)])
@pytest.mark.parametrize("width", [1, 7, 64, 2000])
def test_swap_every_other(width: int, start: int, step: int, dtype: str, card: Card) -> None:
    a, b = anything((7, width), dtype), anything((7, width), dtype, 1)
    on_a, on_b = card.put(a, 1), card.put(b)
    xtra.swap_every_other(card.stream, on_a, on_b, start, step)
    a[start::step], b[start::step] = b[start::step].copy(), a[start::step].copy()
    same(card.get(on_a), a)
    same(card.get(on_b), b)


@pytest.mark.parametrize("samples", [6, 7])
@pytest.mark.parametrize("halves", list(itertools.product((True, False), repeat=2)))
def test_swap_halves(halves: tuple[bool, bool], samples: int, card: Card) -> None:
    a, b = numbers((samples, 3, 5)), numbers((samples, 3, 5), seed=1)
    on_a, on_b, half = card.put(a), card.put(b), samples // 2
    xtra.swap_halves(card.stream, on_a, on_b, *halves)
    of_a, of_b = (slice(0, half) if upper else slice(half, 2 * half) for upper in halves)
    a[of_a], b[of_b] = b[of_b].copy(), a[of_a].copy()
    same(card.get(on_a), a)
    same(card.get(on_b), b)


@pytest.mark.parametrize("dtype", ["float32", "float16", "uint8"])
@pytest.mark.parametrize("width", [1, 3, 8, 1000])
@pytest.mark.parametrize("kind", ["int32", "int64"])
def test_take_rows(kind: str, width: int, dtype: str, card: Card) -> None:
    x = anything((11, width), dtype)
    index = np.array([[0, 10, 3], [-1, -11, 3]], kind)
    y = card.empty((2, 3, width), dtype, 1)
    xtra.take_rows(card.stream, card.put(x), card.put(index), y)
    same(card.get(y), x[index])


def test_take_rows_that_are_not_there(card: Card) -> None:
    x, y = card.put(numbers((4, 5))), card.empty((3, 5), "float32")
    xtra.take_rows(card.stream, x, card.put(np.array([4, -5, 2])), y)
    assert np.isnan(card.get(y)[:2]).all()
    same(card.get(y)[2], card.get(x)[2])


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8", "float64"])
@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("shape", [(5, 6), (3, 700)])
@pytest.mark.parametrize("classes", [5, 18, 48])
def test_one_hot(classes: int, shape: tuple[int, int], axis: int, dtype: str, card: Card) -> None:
    labels = np.random.default_rng(0).integers(-1, classes + 1, shape)  # -1 and `classes` are no classes
    right = np.moveaxis(np.where(labels[..., None] == np.arange(classes), 3, -2), -1, axis)
    y = card.empty(right.shape, dtype, 1)
    xtra.one_hot(card.stream, card.put(labels), y, axis, 3.0, -2.0)
    same(card.get(y), right.astype(y.dtype))


def test_what_is_refused(card: Card) -> None:
    x, y, stream = card.put(numbers((2, 3, 4, 5))), card.empty((2, 4, 5, 3), "float32"), card.stream
    flat = card.put(numbers((6, 4)))
    for error, words, wrong in [
        (ValueError, "no permutation", lambda: xtra.transpose(stream, x, y, (0, 2, 3, 2))),
        (ValueError, r"axis 4 of 4", lambda: xtra.transpose(stream, x, y, (0, 2, 3, 4))),
        (
            ValueError,
            r"shape \(2, 4, 5, 3\), expected \(2, 5, 4, 3\)",
            lambda: xtra.transpose(stream, x, y, (0, 3, 2, 1)),
        ),
        (ValueError, "overlap", lambda: xtra.transpose(stream, x, x.reshape(2, 4, 5, 3), (0, 2, 3, 1))),
        (
            TypeError,
            "different types",
            lambda: xtra.transpose(stream, x, card.empty((2, 4, 5, 3), "int32"), (0, 2, 3, 1)),
        ),
        (ValueError, "9 axes", lambda: xtra.copy(stream, card.put(numbers((1,) * 9)), card.empty((1,) * 9, "float32"))),
        (ValueError, "at least samples", lambda: xtra.to_nhwc(stream, flat.reshape(24), flat)),
        (ValueError, "no part of", lambda: xtra.concatenate(stream, [flat], x, 1)),
        (ValueError, "parts of 3.*has 6", lambda: xtra.split(stream, flat, [card.empty((3, 4), "float32")], 0)),
        (ValueError, "overlap", lambda: xtra.split(stream, flat, [flat.rows(0, 6)], 0)),
        (
            ValueError,
            r"expected \(8, 3, 2, 3\)",
            lambda: xtra.space_to_batch(stream, x, card.empty((4, 3, 2, 3), "float32"), (2, 2)),
        ),
        (ValueError, "4 axes", lambda: xtra.windows_shape((4, 4), (2, 2), (2, 2))),
        (ValueError, r"stride \(0, 1\)", lambda: xtra.windows_shape((1, 1, 4, 4), (2, 2), (0, 1))),
        (ValueError, "one shape", lambda: xtra.swap_halves(stream, flat, card.put(numbers((3, 4))))),
        (ValueError, "steps of 0", lambda: xtra.swap_every_other(stream, flat, card.put(numbers((6, 4))), 0, 0)),
        (TypeError, "float32; there are kernels for int32", lambda: xtra.take_rows(stream, flat, flat, x)),
        (ValueError, "labels has shape", lambda: xtra.one_hot(stream, card.put(np.arange(3)), y)),
    ]:
        with pytest.raises(error, match=words):
            wrong()


def test_windows_that_overlap_are_summed_as_floats(card: Card) -> None:
    y = card.empty((4, 1, 2, 2), "int32")
    with pytest.raises(TypeError, match="int32; there are kernels for float32"):
        xtra.batch_to_space(card.stream, y, card.empty((1, 1, 3, 3), "int32"), (1, 1))


def test_parts_of_one_array(card: Card) -> None:
    x = distinct((4, 6))
    on_x = card.put(x)
    y = card.empty((6, 2), "float32")
    xtra.transpose(card.stream, DeviceArray(on_x.place, (2, 6), "float32", on_x.offset + 48), y, (1, 0))
    same(card.get(y), x[2:].T)
