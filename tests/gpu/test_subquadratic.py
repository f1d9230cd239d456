"""Causal convolutions on the card against float64, where cuDNN has them (9.22, 9.24 and 9.26)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gocudnn_py._abi.cudnn import CausalConv1dActivation
from gocudnn_py.cudnn.subquadratic import (
    CausalConvolution,
    FftConvolution,
    HyenaConvolution,
    LongFftConvolution,
    gradient_type,
)
from gocudnn_py.dtypes import numpy_dtype
from gocudnn_py.library import load
from tests.convnetgo.bound import factor, unit_roundoff
from tests.gocudnn_py.cudnn_calls import skip_what_is_missing
from tests.gpu.card import Array, Card, numbers
from tests.oracles import subquadratic as oracle

IDENTITY, SILU = CausalConv1dActivation
TYPES = [np.float32, np.float64, np.float16, "bfloat16"]
BATCH, CHANNELS, LENGTH = 2, 3, 40
TERMS = BATCH * LENGTH  # the longest sums, those of the gradients of filters
DIRECT = "cudnnCausalConv1dForward", "cudnnCausalConv1dBackward"
LAST = "cudnnCausalConv1dNwhForward", "cudnnCausalConv1dNwhBackward"
HYENA = "cudnnB2BCausalConv1dForward", "cudnnB2BCausalConv1dBackward"
FFT = "cudnnFFTCausalConv1dForward", "cudnnFFTCausalConv1dBackward"
LONG = (
    "cudnnLongFFTCausalConv1dForward", "cudnnLongFFTCausalConv1dBackward", "cudnnLongFFTCausalConv1dGetBufferSizes",
)  # fmt: skip


@pytest.fixture(autouse=True)
def there(request: pytest.FixtureRequest, card: Card) -> None:
    skip_what_is_missing(request)
    if request.node.callspec.params["dtype"] is np.float64 and load("cudnn").version < (9, 26):
        pytest.skip(f"float64 is not in {load('cudnn')!r}")


def within(found: Array, right: Array, magnitude: Array, dtype: Any) -> None:
    """The error is at most so many roundings of the sum of the terms' absolute values."""
    allowed = factor(TERMS) * unit_roundoff(numpy_dtype(dtype)) * magnitude
    beyond = np.abs(found - right) - allowed
    assert (beyond <= 0).all(), f"{beyond.max()} beyond {allowed.ravel()[beyond.argmax()]}"


def sizes_of_gradients(x: Array, w: Array, b: Array, dy: Array, silu: bool) -> tuple[Array, Array, Array, Array]:
    """The same sums as of y, dx, dw and db over absolute values; silu's slope is below 1.1 and hangs on its place."""
    x, w, b, dy = (np.abs(each) for each in (x, w, b, dy))
    z = oracle.causal(x, w) + b[:, None]
    dz = dy * (1.1 + 0.5 * z) if silu else dy
    return 1.1 * z, *oracle.causal_backward(x, w, dz), dz.sum(axis=(0, 2))


def direct(dtype: Any, taps: int, silu: bool, last: bool, card: Card) -> None:
    """Forward and gradients of a direct convolution, in one of the two layouts."""

    def data(x: Array) -> Array:
        return x.transpose(0, 2, 1) if last else x

    def filters(w: Array) -> Array:
        return w.T if last else w

    x, dy = (numbers(BATCH, CHANNELS, LENGTH, seed=seed, dtype=dtype) for seed in (1, 2))
    w, b = numbers(CHANNELS, taps, seed=3, dtype=dtype), numbers(CHANNELS, seed=4, dtype=dtype)
    made = CausalConvolution(BATCH, CHANNELS, LENGTH, taps, dtype, SILU if silu else IDENTITY, last)
    wide, shape, of_filters = gradient_type(dtype), data(x).shape, filters(w).shape
    inputs = card.row(data(x), dtype), card.row(filters(w), dtype), card.row(b, dtype)
    y, dx = (card.row(np.full(shape, np.nan), dtype) for _ in range(2))
    dw, db = card.row(np.full(of_filters, 0.5), wide), card.row(np.full(b.shape, 0.25), wide)
    made.forward(card.stream, *inputs, y)
    made.backward(card.stream, *inputs, card.row(data(dy), dtype), dx, dw, db)
    given = x, w[:, ::-1], b
    y_size, dx_size, dw_size, db_size = sizes_of_gradients(*given, dy, silu)
    dx_right, dw_right, db_right = oracle.biased_backward(*given, dy, silu)
    within(data(card.read(y, shape, dtype)), oracle.biased(*given, silu), y_size, dtype)
    within(data(card.read(dx, shape, dtype)), dx_right, dx_size, dtype)
    dw_found = filters(card.read(dw, of_filters, wide))[:, ::-1]
    within(dw_found, dw_right + 0.5, dw_size + 0.5, dtype)  # they are added to what was there
    within(card.read(db, b.shape, wide), db_right + 0.25, db_size + 0.25, dtype)


@pytest.mark.covers(*DIRECT)
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("taps", [2, 4, 7, 64])
@pytest.mark.parametrize("silu", [False, True])
def test_direct(dtype: Any, taps: int, silu: bool, card: Card) -> None:
    direct(dtype, taps, silu, False, card)


@pytest.mark.covers(*LAST)
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("taps", [2, 4, 7, 64])
@pytest.mark.parametrize("silu", [False, True])
def test_channels_last(dtype: Any, taps: int, silu: bool, card: Card) -> None:
    direct(dtype, taps, silu, True, card)


@pytest.mark.covers(*HYENA)
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("taps", [(4, 7), (3, 16)])
def test_hyena(dtype: Any, taps: tuple[int, int], card: Card) -> None:
    first, second = taps
    x, dgated = numbers(BATCH, CHANNELS, 3, LENGTH, dtype=dtype), numbers(BATCH, CHANNELS, LENGTH, seed=1, dtype=dtype)
    shapes = (CHANNELS, 3, first), (CHANNELS, second), (CHANNELS,)
    filters = [numbers(*shape, seed=seed, dtype=dtype) for seed, shape in enumerate(shapes, 2)]
    made, wide = HyenaConvolution(BATCH, CHANNELS, LENGTH, first, second, dtype), gradient_type(dtype)
    inputs = [card.row(each, dtype) for each in (x, *filters)]
    y, gated = (card.row(np.full(dgated.shape, np.nan), dtype) for _ in range(2))
    dx, rooms = card.row(np.full(x.shape, np.nan), dtype), [card.row(np.zeros(shape), wide) for shape in shapes]
    made.forward(card.stream, *inputs, y, gated)
    made.backward(card.stream, *inputs, y, card.row(dgated, dtype), dx, *rooms)
    given = x, filters[0][..., ::-1], filters[1][:, ::-1], filters[2]
    absolute = [np.abs(each) for each in given]
    for room, right, size in zip((y, gated), oracle.hyena(*given), oracle.hyena(*absolute), strict=True):
        within(card.read(room, right.shape, dtype), right, size, dtype)
    dx_right, *rights = oracle.hyena_backward(*given, dgated)
    dx_size, *sizes = oracle.hyena_backward(*absolute, np.abs(dgated))
    within(card.read(dx, x.shape, dtype), dx_right, dx_size, dtype)
    for room, right, size in zip(rooms, rights, sizes, strict=True):
        found = card.read(room, right.shape, wide)
        within(found[..., ::-1] if found.ndim > 1 else found, right, size, dtype)


def norm(a: Array) -> Array:
    """Of each channel's numbers over batch and length, to be multiplied with (batch, channels, length)."""
    return np.sqrt(np.square(a).sum(axis=(0, -1) if a.ndim == 3 else -1))[:, None]


def near(found: Array, right: Array, one: Array, other: Array, length: int, dtype: Any) -> None:
    """An FFT's error goes by the norms of what it multiplies, with the logarithm of its length; then it is rounded."""
    exact = np.float64 if dtype is np.float64 else np.float32
    transforms = 8 * np.log2(2 * length) * unit_roundoff(exact) * norm(one) * norm(other)
    allowed = transforms + unit_roundoff(numpy_dtype(dtype)) * np.abs(right).max()
    assert (np.abs(found - right) <= allowed).all(), f"{np.abs(found - right).max()}, {allowed.max()} allowed"


def compare_ffts(x: Array, w: Array, dy: Array, found: dict[str, Array], dtype: Any) -> None:
    """y, dx and dw of a convolution by FFT."""
    length = x.shape[2]
    dx, dw = oracle.causal_backward(x, w, dy)
    near(found["y"], oracle.causal(x, w), x, w, length, dtype)
    near(found["dx"], dx, dy, w, length, dtype)
    near(found["dw"], dw, x, dy, length, dtype)


@pytest.mark.covers(*FFT)
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(("length", "taps"), [(256, 128), (512, 512)])
def test_ffts_of_tiles(dtype: Any, length: int, taps: int, card: Card) -> None:
    x, dy = (numbers(BATCH, CHANNELS, length, seed=seed, dtype=dtype) for seed in (1, 2))
    w = numbers(CHANNELS, taps, seed=3, dtype=dtype)
    made = FftConvolution(BATCH, CHANNELS, length, taps, dtype)
    on_x, on_w = card.row(x, dtype), card.row(w, dtype)
    rooms = {name: card.row(np.full(like.shape, np.nan), dtype) for name, like in (("y", x), ("dx", x), ("dw", w))}
    made.forward(card.stream, on_x, on_w, rooms["y"])
    made.backward(card.stream, on_x, on_w, card.row(dy, dtype), rooms["dx"], rooms["dw"])
    shapes = {"y": x.shape, "dx": x.shape, "dw": w.shape}
    found = {name: card.read(room, shapes[name], dtype) for name, room in rooms.items()}
    compare_ffts(x, w, dy, found, dtype)


@pytest.mark.covers(*LONG)
@pytest.mark.parametrize("dtype", TYPES)
def test_long_ffts(dtype: Any, card: Card) -> None:
    length = 4096
    x, dy = (numbers(BATCH, CHANNELS, length, seed=seed, dtype=dtype) for seed in (1, 2))
    w = numbers(CHANNELS, length, seed=3, dtype=dtype)
    made = LongFftConvolution(BATCH, CHANNELS, length, dtype)
    workspace, reserve = map(card.scratch, made.sizes())
    rooms = {name: card.row(np.full(like.shape, np.nan), dtype) for name, like in (("y", x), ("dx", x), ("dw", w))}
    scratch = {"workspace": workspace, "reserve": reserve}
    made.forward(card.stream, card.row(x, dtype), card.row(w, dtype), rooms["y"], **scratch)
    made.backward(card.stream, card.row(dy, dtype), rooms["dx"], rooms["dw"], **scratch)
    shapes = {"y": x.shape, "dx": x.shape, "dw": w.shape}
    found = {name: card.read(room, shapes[name], dtype) for name, room in rooms.items()}
    compare_ffts(x, w, dy, found, dtype)
