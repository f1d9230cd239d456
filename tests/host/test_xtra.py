"""gocudnn_py.xtra with the host in the card's place: its functions, its launches, our kernels."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import pytest

pytest.importorskip("cuda.core", reason="cuda-core is missing: pip install 'gocunets[cu13]'")

from gocudnn_py import xtra
from gocudnn_py.bench import bandwidth
from gocudnn_py.xtra import DeviceArray, array, boxes, checks, launcher, moving, tiles
from tests.gpu import test_xtra as on_the_card
from tests.host import kernels
from tests.host.backend import HostBuffer

LARGEST = 48 * 1024  # of shared memory that a block has unasked


class HostStream:
    """A stream that has done everything at once."""

    handle, capturing = 0, False

    class device:  # noqa: N801
        ordinal, multiprocessors = 0, 2

        @staticmethod
        def enter() -> None:
            pass

    @staticmethod
    def uses(*places: Any) -> None:
        pass


class HostKernel:
    """A kernel that the host's compiler made."""

    def __init__(self, name: str, defines: launcher.Defines) -> None:
        source, parameters = launcher.KERNELS[name]
        self._function = kernels.compiled(f"xtra/{source}.cu", name, defines)
        self._scalars = [launcher.LETTERS[letter] for letter in parameters]

    def launch(self, stream: Any, grid: Any, block: Any, arguments: Any, *, shared: int = 0) -> None:
        assert shared <= LARGEST
        assert all(1 <= extent < 2**31 for extent in grid)
        assert all(extent < 2**16 for extent in grid[1:])
        cells = [scalar.cell(value) for scalar, value in zip(self._scalars, arguments, strict=True)]
        kernels.launch(self._function, grid, block, shared, cells)


class Card(on_the_card.Card):
    """Arrays that end where a page does which may not be touched."""

    def room(self, nbytes: int) -> Any:
        return HostBuffer(nbytes)

    def put(self, array: Any, shift: int = 0) -> DeviceArray:
        offset = 16 + shift * array.itemsize  # the array ends with its buffer, up to 15 bytes before the page
        buffer = HostBuffer(offset + array.nbytes)
        buffer.upload(np.full(offset, on_the_card.POISON, np.uint8))
        buffer.upload(array, offset)
        return DeviceArray(buffer, array.shape, array.dtype, offset)


@pytest.fixture(autouse=True)
def host(monkeypatch: pytest.MonkeyPatch) -> None:
    if kernels.COMPILER is None:
        pytest.skip("no C++ compiler")

    def room(stream: Any, nbytes: int, *, zeroed: bool = False) -> Any:
        buffer = HostBuffer(nbytes)
        buffer.upload(np.full(nbytes, 0 if zeroed else 0xFF, np.uint8))
        return buffer

    def copy(stream: Any, source: DeviceArray, target: DeviceArray) -> None:
        ctypes.memmove(target.address, source.address, source.nbytes)

    monkeypatch.setattr(launcher, "kernel_of", lambda device, name, defines: HostKernel(name, defines))
    monkeypatch.setattr(launcher, "room", room)
    monkeypatch.setattr("gocudnn_py.xtra.moving.copy", copy)
    monkeypatch.setattr("gocudnn_py.xtra.tensors.room", room)
    monkeypatch.setattr(array, "pointer_ordinal", lambda address: 0)
    monkeypatch.setattr(array, "DeviceBuffer", room)


@pytest.fixture
def card() -> Card:
    return Card(HostStream())


def take(module: Any) -> dict[str, Any]:
    """The tests of a module that runs on the card."""
    return {name: value for name, value in vars(module).items() if name.startswith("test_")}


globals().update(take(on_the_card))


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_all_that_the_benchmark_measures_runs(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bandwidth, "CHANNELS", 16)
    monkeypatch.setattr(bandwidth, "PLANE", 16)
    arrays = bandwidth.Arrays(HostStream(), dtype, 1)  # type: ignore[arg-type]
    names = []
    for work in bandwidth.works(arrays):
        work.run(arrays.stream)
        names.append(work.name)
        assert work.nbytes >= 0
    assert len(set(names)) == len(names) > 40


@pytest.mark.parametrize("dtype", ["float32", "float16", "uint8"])
@pytest.mark.parametrize(
    ("shape", "axes"), [((65, 33), (1, 0)), ((3, 4, 5), (2, 1, 0)), ((2, 300, 3), (0, 2, 1))], ids=str
)
def test_moves_of_far_apart_elements(
    shape: tuple[int, ...], axes: tuple[int, ...], dtype: str, card: Card, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As those of arrays too large for the host, but for the arrays."""
    moving.plan.cache_clear()
    monkeypatch.setattr(tiles, "_reach", lambda made: boxes.INT32_MAX + 1)
    monkeypatch.setattr(checks, "NARROW", 0)
    x = on_the_card.anything(shape, dtype)
    y = card.empty(x.transpose(axes).shape, dtype)
    xtra.transpose(card.stream, card.put(x), y, axes)
    on_the_card.same(card.get(y), x.transpose(axes))
    moving.plan.cache_clear()


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_numbers_of_64_bits_count_alike(dtype: str, card: Card, monkeypatch: pytest.MonkeyPatch) -> None:
    """As for arrays too large for the host: the same results as by numbers of 32 bits."""
    x, up = (on_the_card.numbers((3, 4, 10, 12), dtype, seed) for seed in (0, 1))
    slopes, labels = on_the_card.numbers((4,), dtype, 2), np.array([5, 2**33 + 1, -1, 0], np.int64)
    images = np.arange(2 * 6 * 8 * 3, dtype=np.uint8).reshape(2, 6, 8, 3)

    def made() -> list[Any]:
        on_x, on_up, on_slopes = map(card.put, (x, up, slopes))
        y, dx, sums, hot = (card.empty(shape, dtype) for shape in (x.shape, x.shape, (4,), (4, 20)))
        small, turned = card.empty((3, 4, 5, 6), dtype), card.empty((2, 3, 6, 8), dtype)
        xtra.prelu(card.stream, on_x, on_slopes, y)
        xtra.prelu_backward(card.stream, on_x, on_slopes, on_up, dx, sums)
        xtra.one_hot(card.stream, card.put(labels), hot)
        xtra.resize(card.stream, on_x, small, "bilinear")
        xtra.normalize_images(card.stream, card.put(images), turned)
        return [card.get(array) for array in (y, dx, sums, hot, small, turned)]

    narrow = made()
    monkeypatch.setattr(checks, "NARROW", 0)
    for one, other in zip(narrow, made(), strict=True):
        on_the_card.same(one, other)
    assert narrow[3].astype(np.float64).sum() == 2  # of labels that are classes
