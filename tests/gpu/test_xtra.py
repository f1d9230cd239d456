"""gocudnn_py.xtra: arrays and their checks, elementwise functions; what the other files of its tests share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from gocudnn_py import xtra
from gocudnn_py.dtypes import numpy_dtype
from gocudnn_py.xtra import DeviceArray

if TYPE_CHECKING:
    from gocunets.backends.cudnn import CudaBackend

Array = np.ndarray[Any, Any]
FLOATS = ("float32", "float16", "bfloat16")
UNIT = {"float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}  # half of the last place of 1
SMALLEST = {"float32": 2.0**-150, "float16": 2.0**-25, "bfloat16": 2.0**-134}  # half of the smallest number
GUARD, POISON = 256, 0x7F
every_float = pytest.mark.parametrize("dtype", FLOATS)
SIZES = [0, 1, 7, 4095, 4096, 20_001]


class Card:
    """Arrays on a card between bytes that nobody may write, `shift` elements off an address that suits every pack."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def room(self, nbytes: int) -> Any:
        from gocudnn_py.cuda import DeviceBuffer

        return DeviceBuffer(self.stream, nbytes)

    def put(self, array: Array, shift: int = 0) -> DeviceArray:
        offset = GUARD + shift * array.itemsize
        content = np.full(offset + array.nbytes + GUARD, POISON, np.uint8)
        content[offset : offset + array.nbytes] = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        buffer = self.room(content.nbytes)
        buffer.upload(content)
        return DeviceArray(buffer, array.shape, array.dtype, offset)

    def empty(self, shape: tuple[int, ...], dtype: Any, shift: int = 0) -> DeviceArray:
        """An array whose bits are all set: NaNs."""
        kind = numpy_dtype(dtype)
        nbytes = int(np.prod(shape)) * kind.itemsize
        return self.put(np.full(nbytes, 0xFF, np.uint8).view(kind).reshape(shape), shift)

    def get(self, array: DeviceArray) -> Array:
        content = array.place.download(np.empty(array.place.nbytes, np.uint8))
        before, after = content[: array.offset], content[array.offset + array.nbytes :]
        assert (before == POISON).all(), "something was written before an array"
        assert (after == POISON).all(), "something was written behind an array"
        return content[array.offset : len(content) - len(after)].view(array.dtype).reshape(array.shape)


@pytest.fixture(scope="module")
def card(backend: CudaBackend) -> Card:
    return Card(backend.stream)


def numbers(shape: tuple[int, ...], dtype: Any = "float32", seed: int = 0) -> Array:
    """Normal numbers of a type."""
    return np.random.default_rng(seed).standard_normal(shape).astype(numpy_dtype(dtype))


def anything(shape: tuple[int, ...], dtype: Any, seed: int = 0) -> Array:
    """Numbers of any type, from -8 to 8 or 0 to 8, or truths."""
    kind = numpy_dtype(dtype)
    low = 0 if kind.kind in "ub" else -8
    return np.random.default_rng(seed).integers(low, 8, shape).astype(kind)


def same(found: Array, right: Array) -> None:
    """Bit for bit."""
    assert found.dtype == right.dtype
    assert found.shape == right.shape
    assert found.tobytes() == np.ascontiguousarray(right).tobytes()


def close(found: Array, right: Array, terms: Array | float, steps: int = 4) -> None:
    """Within the rounding of a type, and `steps` roundings of float32 of the terms' size."""
    dtype = found.dtype.name
    bound = UNIT[dtype] * np.abs(right) * (1 + 2.0**-8) + steps * UNIT["float32"] * np.abs(terms) + SMALLEST[dtype]
    error = np.abs(found.astype(np.float64) - right)
    assert (error <= bound).all(), f"{(error / bound).max()} times the bound"


@every_float
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("shift", [0, 1])
def test_fill(size: int, shift: int, dtype: str, card: Card) -> None:
    y = card.empty((size,), dtype, shift)
    xtra.fill(card.stream, y, 1 / 3)
    same(card.get(y), np.full(size, 1 / 3, y.dtype))


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int16", "uint32", "int64", "float64"])
def test_fill_of_other_types(dtype: str, card: Card) -> None:
    y = card.empty((1001,), dtype, 1)
    xtra.fill(card.stream, y, 1)
    same(card.get(y), np.ones(1001, dtype))


CASTS = [(a, b) for a in ("float64", *FLOATS) for b in ("float64", *FLOATS)]
CASTS += [("float32", "int32"), ("uint8", "float16"), ("int64", "bfloat16"), ("bfloat16", "bool"), ("bool", "float32")]
CASTS += [("int32", "int64"), ("float16", "uint8")]


@pytest.mark.parametrize(("source", "target"), CASTS)
@pytest.mark.parametrize(("size", "shifts"), [(0, (0, 0)), (5000, (0, 0)), (5001, (1, 0)), (4097, (1, 3))])
def test_cast(source: str, target: str, size: int, shifts: tuple[int, int], card: Card) -> None:
    kind = numpy_dtype(source)
    x = numbers((size,), source) * kind.type(8) if kind.kind in "fV" else anything((size,), source)
    x = np.abs(x) if target == "uint8" else x
    y = card.empty((size,), target, shifts[1])
    xtra.cast(card.stream, card.put(x, shifts[0]), y)
    same(card.get(y), _nearest(x, target))


def _nearest(x: Array, target: str) -> Array:
    """What rounds once: NumPy's own, but for doubles to bfloat16, which ml_dtypes rounds by way of float32."""
    if (x.dtype.name, target) != ("float64", "bfloat16"):
        return x.astype(numpy_dtype(target))
    near = x.astype(np.float32)
    bits = near.view(np.uint32)
    off = (near != x) & (bits % 2 == 0)
    odd = np.where(off, np.where(np.abs(x) > np.abs(near), bits + 1, bits - 1), bits).astype(np.uint32)
    return odd.view(np.float32).astype(numpy_dtype(target))


@pytest.mark.parametrize("target", ["float16", "bfloat16"])
def test_doubles_are_rounded_once(target: str, card: Card) -> None:
    step = {"float16": 2.0**-10, "bfloat16": 2.0**-7}[target]
    half = 1 + step / 2
    x = np.array([half + 2.0**-40, half - 2.0**-40, -half - 2.0**-40, 1e300, -1e300, 1e-300, np.inf, np.nan, 0.0, half])
    y = card.empty(x.shape, target)
    xtra.cast(card.stream, card.put(x), y)
    right = [1 + step, 1, -1 - step, np.inf, -np.inf, 0, np.inf, np.nan, 0, 1]
    np.testing.assert_array_equal(card.get(y).astype(np.float64), right)


def test_cast_in_place(card: Card) -> None:
    x = card.put(numbers((5000,), "float16"))
    before = card.get(x)
    xtra.cast(card.stream, x, DeviceArray(x.place, x.shape, "bfloat16", x.offset))
    same(card.get(x).view(numpy_dtype("bfloat16")), before.astype(numpy_dtype("bfloat16")))


@every_float
@pytest.mark.parametrize(("size", "shifts"), [(0, (0, 0, 0)), (8192, (0, 0, 0)), (8193, (0, 0, 0)), (9001, (1, 2, 3))])
def test_add_and_scale(size: int, shifts: tuple[int, int, int], dtype: str, card: Card) -> None:
    x, y = numbers((size,), dtype), numbers((size,), dtype, 1)
    on_x, on_y, on_z = card.put(x, shifts[0]), card.put(y, shifts[1]), card.empty((size,), dtype, shifts[2])
    wide, other = x.astype(np.float64), y.astype(np.float64)
    xtra.add(card.stream, on_x, on_y, on_z, 0.7, -1.3)
    alpha, beta = float(np.float32(0.7)), float(np.float32(-1.3))
    close(card.get(on_z), alpha * wide + beta * other, np.abs(wide) + 2 * np.abs(other))
    xtra.add(card.stream, on_x, on_y, on_y)  # in place
    close(card.get(on_y), wide + other, np.abs(wide) + np.abs(other))
    xtra.scale(card.stream, on_x, on_x, 0.7)
    close(card.get(on_x), alpha * wide, wide)


def test_other_libraries_arrays(card: Card) -> None:
    x = card.put(numbers((3, 5)))

    class Foreign:
        __cuda_array_interface__ = x.__cuda_array_interface__ | {"stream": None}

    y = card.empty((5, 3), "float32")
    xtra.transpose(card.stream, Foreign(), y, (1, 0))
    same(card.get(y), card.get(x).T)


def _with(card: Card, **changed: Any) -> Any:
    interface = card.put(numbers((4, 4))).__cuda_array_interface__ | {"stream": None} | changed
    return type("Foreign", (), {"__cuda_array_interface__": interface})()


def test_what_is_refused(card: Card) -> None:
    x, y, stream = card.put(numbers((4, 4))), card.empty((4, 4), "float32"), card.stream
    half = card.empty((4, 4), "float16")
    inner = DeviceArray(x.place, (2, 4), "float32", x.offset + 16)
    for error, words, wrong in [
        (TypeError, "list, no DeviceArray", lambda: xtra.scale(stream, [1], y, 1)),  # type: ignore[arg-type]
        (TypeError, "x float32.*y float16.*one type", lambda: xtra.scale(stream, x, half, 1)),
        (ValueError, "x float32.4, 4.*y float32.2, 4.*one shape", lambda: xtra.scale(stream, x, inner, 1)),
        (ValueError, "overlap", lambda: xtra.scale(stream, x.rows(0, 2), inner, 1)),
        (ValueError, "strides", lambda: xtra.scale(stream, _with(card, strides=(4, 16)), y, 1)),
        (ValueError, "mask", lambda: xtra.scale(stream, _with(card, mask=x), y, 1)),
        (ValueError, "may only be read", lambda: xtra.scale(stream, x, _with(card, data=(y.address, True)), 1)),
        (ValueError, "no multiple of 4", lambda: xtra.fill(stream, DeviceArray(x.place, (2,), "float32", 1), 1)),
        (TypeError, "complex64; there are kernels for", lambda: xtra.cast(stream, card.empty((4, 4), "complex64"), y)),
        (ValueError, "ends at byte", lambda: DeviceArray(x.place, (10_000,))),
        (ValueError, "shape", lambda: DeviceArray(x.place, (-1,))),
        (TypeError, "not in ndarray", lambda: DeviceArray(numbers((4,)), (4,))),
    ]:
        with pytest.raises(error, match=words):
            wrong()


def test_arrays_are_seen_in_parts(card: Card) -> None:
    content = numbers((6, 4))
    x = card.put(content)
    same(x.rows(2, 5).download(), content[2:5])
    same(x.reshape(3, 8).download(), content.reshape(3, 8))
    x.rows(0, 1).upload(np.ones((1, 4)))
    assert (card.get(x)[0] == 1).all()
    with pytest.raises(ValueError, match="rows 3 to 7"):
        x.rows(3, 7)
    with pytest.raises(ValueError, match="24 elements"):
        x.reshape(5, 5)
