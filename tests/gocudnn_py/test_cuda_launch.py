"""Kernels' parameters and launches without a GPU."""

from __future__ import annotations

import ctypes
import gc
import struct
import weakref
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gocudnn_py.cuda import DeviceBuffer, Kernel, Parameter, RecordingStream, Scalar, Shape, Stream
from gocudnn_py.cuda.parameters import Parameters
from gocudnn_py.errors import CudaError
from tests.gocudnn_py.cuda_standin import StandIn, address_of, make_device, make_stream, standing_in

SIGNATURE = (Scalar.float32, Scalar.pointer, Scalar.pointer, Scalar.int32)
PAIR = np.dtype([("flag", "i1"), ("value", "f8"), ("count", "i4")], align=True)


class Pair(ctypes.Structure):
    """As C lays it out."""

    _fields_ = (("flag", ctypes.c_int8), ("value", ctypes.c_double), ("count", ctypes.c_int32))


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    yield from standing_in(monkeypatch)


@pytest.fixture
def stream(fake: StandIn) -> Stream:
    return make_stream(make_device())


def _kernel(stream: Stream, signature: tuple[Parameter, ...] = SIGNATURE, *, resident: int = 2) -> Kernel:
    infos = [SimpleNamespace(size=size) for size in Parameters("k", stream.device, signature).sizes]
    occupancy = SimpleNamespace(max_active_blocks_per_multiprocessor=lambda block, shared: resident)
    core = SimpleNamespace(arguments_info=infos, handle=0x99, occupancy=occupancy)
    return Kernel(stream.device, core, "saxpy", signature)


def _written(parameters: Parameters, arguments: list[Any]) -> list[Any]:
    memory = ctypes.create_string_buffer(parameters.size)
    parameters.write(memory, arguments)
    places = zip(parameters.formats, parameters.offsets, strict=True)
    return [each.unpack_from(memory, offset)[0] for each, offset in places]


def test_every_type_is_written_as_c_has_it() -> None:
    parameters = Parameters("k", make_device(), list(Scalar))
    values = [2**48, -(2**31), 2**32 - 1, -(2**63), 2**64 - 1, 1.5, -0.1]
    assert _written(parameters, values) == values
    cells = [scalar.cell for scalar in Scalar]
    assert parameters.sizes == [ctypes.sizeof(cell) for cell in cells]
    offsets = type("All", (ctypes.Structure,), {"_fields_": [(f"x{i}", cell) for i, cell in enumerate(cells)]})
    assert parameters.offsets == [getattr(offsets, f"x{i}").offset for i in range(len(cells))]


def test_numpy_numbers_are_taken() -> None:
    parameters = Parameters("k", make_device(), [Scalar.int32, Scalar.float32, Scalar.pointer, Scalar.float64])
    assert _written(parameters, [np.int64(-3), np.float64(0.5), np.uint64(2**40), np.int8(2)]) == [-3, 0.5, 2**40, 2.0]


def test_what_float32_cannot_hold_is_infinite() -> None:
    assert _written(Parameters("k", make_device(), [Scalar.float32]), [1e300]) == [float("inf")]


def test_a_structure_goes_by_value() -> None:
    parameters = Parameters("k", make_device(), [Scalar.float32, PAIR, np.dtype("i1")])
    value = np.zeros((), PAIR)
    value["flag"], value["value"], value["count"] = 1, 2.5, -7
    memory = ctypes.create_string_buffer(parameters.size)
    parameters.write(memory, [1.0, value, np.int8(-2)])
    pair = Pair.from_buffer(memory, parameters.offsets[1])
    assert (pair.flag, pair.value, pair.count) == (1, 2.5, -7)
    assert parameters.sizes == [4, ctypes.sizeof(Pair), 1]
    assert memory.raw[parameters.offsets[2]] == 254
    for wrong, words in (
        (np.zeros(2, PAIR), r"an array of shape \(2,\), not one"),
        (np.float32(1), "argument 1 is float32, declared"),
        (3, "argument 1 is int, declared"),
    ):
        with pytest.raises(TypeError, match=words):
            parameters.write(memory, [1.0, wrong, np.int8(0)])


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ([2.0, 0, 0], TypeError, "takes 4 arguments, 3 given"),
        ([2.0, 0, 0, 2**31], ValueError, "argument 3 = 2147483648 does not fit int32"),
        ([2.0, 0, 0, -(2**31) - 1], ValueError, "does not fit int32"),
        ([2.0, 0, 0, 1.5], TypeError, "argument 3 is float, declared int32"),
        ([2.0, "x", 0, 1], TypeError, "argument 1 is str, declared pointer"),
        ([2.0, -1, 0, 1], ValueError, "argument 1 = -1 does not fit pointer"),
        ([2.0, 0, 2**64, 1], ValueError, "does not fit pointer"),
        (["1.5", 0, 0, 1], TypeError, "argument 0 is str, declared float32"),
        ([None, 0, 0, 1], TypeError, "argument 0 is NoneType, declared float32"),
    ],
)
def test_wrong_arguments_are_refused(
    arguments: list[object], error: type[Exception], words: str, stream: Stream
) -> None:
    kernel = _kernel(stream)
    with pytest.raises(error, match=words):
        kernel.bind([1], [1], arguments)
    with pytest.raises(error, match=words):
        kernel.launch(stream, [1], [1], arguments)


def test_memory_of_another_gpu_is_refused(stream: Stream) -> None:
    buffer = DeviceBuffer(make_stream(make_device(1)), 16)
    with pytest.raises(ValueError, match="argument 1 lies on"):
        _kernel(stream).bind([1], [1], [1.0, buffer, 0, 1])
    with pytest.raises(ValueError, match="is launched on"):
        _kernel(stream).bind([1], [1], [1.0, 0, 0, 1])(make_stream(make_device(1)))


def _launched(fake: StandIn) -> dict[str, Any]:
    """What the last launch asked for."""
    settings, function, pointers, _ = fake.last("cuLaunchKernelEx")
    found = settings._obj
    letters = "fQQi"
    values = [struct.unpack_from(letter, ctypes.string_at(pointers[i], 8))[0] for i, letter in enumerate(letters)]
    size = 72
    attributes = ctypes.string_at(found.attributes, size * found.count) if found.count else b""
    return {
        "grid": (found.grid_x, found.grid_y, found.grid_z),
        "block": (found.block_x, found.block_y, found.block_z),
        "shared": found.shared,
        "stream": found.stream,
        "function": address_of(function),
        "values": values,
        "attributes": [struct.unpack_from("i4x3I", attributes, size * i) for i in range(found.count)],
    }


def test_a_launch_names_what_it_was_given(fake: StandIn, stream: Stream) -> None:
    x, y = DeviceBuffer(stream, 16), DeviceBuffer(stream, 16)
    ways = {"overlaps": True, "cooperative": True, "cluster": [2]}
    launch = _kernel(stream).bind([4, 2], [64], [2.0, x, y, 7], shared=100, **ways)
    launch(stream)
    assert _launched(fake) == {
        "grid": (4, 2, 1),
        "block": (64, 1, 1),
        "shared": 100,
        "stream": stream.handle,
        "function": 0x99,
        "values": [2.0, x.pointer, y.pointer, 7],
        "attributes": [(6, 1, 0, 0), (2, 1, 0, 0), (4, 2, 1, 1)],
    }


def test_a_bound_launch_is_patched_and_turned(fake: StandIn, stream: Stream) -> None:
    other = make_stream(stream.device, 0x600)
    x, y = DeviceBuffer(stream, 16), DeviceBuffer(stream, 16)
    launch = _kernel(stream).bind([1], [1], [2.0, 0, x, 7])
    launch.patch(0, 3.0)
    launch(stream)
    assert _launched(fake)["values"] == [3.0, 0, x.pointer, 7]
    launch(other)
    launch.patch(1, y)
    assert _launched(fake)["stream"] == 0x600
    assert (x.memory.users, y.memory.users) == ({0x600: other}, {0x600: other})
    launch.refill([1.0, 0, 0, 1])
    launch(other)
    assert _launched(fake)["values"] == [1.0, 0, 0, 1]
    for index in (-1, 4):
        with pytest.raises(IndexError, match=f"has no argument {index}, it takes 4"):
            launch.patch(index, 0)


def test_launches_that_are_not_bound_hold_nothing(fake: StandIn, stream: Stream) -> None:
    other = make_stream(stream.device, 0x600)
    kernel, x, y = _kernel(stream), DeviceBuffer(stream, 16), DeviceBuffer(stream, 16)
    kernel.launch(stream, [1], [32], [1.0, x, y, 1])
    kernel.launch(other, [1], [32], [5.0, x, y.view(4), 2])
    assert _launched(fake)["values"] == [5.0, x.pointer, y.pointer + 4, 2]
    assert _launched(fake)["stream"] == 0x600
    assert x.memory.users == y.memory.users == {0x600: other}
    kernel.launch(other, [2], [32], [5.0, x, y, 2])
    assert _launched(fake)["grid"] == (2, 1, 1)
    gone = weakref.ref(x)
    del x
    gc.collect()
    assert gone() is None


def test_a_thread_without_the_gpu_launches_all_the_same(fake: StandIn, stream: Stream) -> None:
    current: list[int] = []
    stream.device.make_current = lambda: current.append(1)  # type: ignore[method-assign]
    fake.answers["cuLaunchKernelEx"] = lambda *arguments: 0 if current else 201
    _kernel(stream).bind([1], [1], [1.0, 0, 0, 1])(stream)
    _kernel(stream).launch(stream, [1], [1], [1.0, 0, 0, 1])
    assert current == [1]


def test_a_launch_that_fails_is_told(fake: StandIn, stream: Stream) -> None:
    launch = _kernel(stream).bind([1], [1], [1.0, 0, 0, 1])
    fake.answers["cuLaunchKernelEx"] = 1
    with pytest.raises(CudaError, match="cuLaunchKernelEx"):
        launch(stream)


def test_much_shared_memory_is_asked_for(fake: StandIn, stream: Stream) -> None:
    kernel = _kernel(stream)
    kernel.bind([1], [1], [1.0, 0, 0, 1], shared=48 * 1024)
    assert "cuKernelSetAttribute" not in fake.names()
    kernel.bind([1], [1], [1.0, 0, 0, 1], shared=48 * 1024 + 1)
    assert fake.last("cuKernelSetAttribute") == (8, 48 * 1024 + 1, 0x99, 0)


def test_allowed_shared_memory_is_never_lowered(fake: StandIn, stream: Stream) -> None:
    allowed = [48 * 1024]

    def get(cell: Any, *arguments: Any) -> int:
        cell._obj.value = allowed[-1]
        return 0

    def put(which: int, nbytes: int, *arguments: Any) -> int:
        allowed.append(nbytes)
        return 0

    fake.answers |= {"cuKernelGetAttribute": get, "cuKernelSetAttribute": put}
    kernel = _kernel(stream)
    for shared in (100_000, 60_000, 100_001):
        kernel.bind([1], [1], [1.0, 0, 0, 1], shared=shared)
    assert allowed[1:] == [100_000, 100_001]


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ({"grid": [0], "block": [1]}, r"a grid of \(0,\)"),
        ({"grid": [1], "block": [1, 1, 1, 1]}, r"a block of \(1, 1, 1, 1\): one to three"),
        ({"grid": [1], "block": []}, r"a block of \(\)"),
        ({"grid": [1], "block": [1], "shared": -1}, "-1 bytes of shared memory"),
        (
            {"grid": [3], "block": [1], "cluster": [2]},
            r"\(3, 1, 1\) blocks is no whole number of clusters of \(2, 1, 1\)",
        ),
    ],
)
def test_shapes_that_are_refused(shape: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Shape.of(**shape)


def test_blocks_that_wait_for_one_another_have_to_fit(stream: Stream) -> None:
    kernel = _kernel(stream, resident=2)
    kernel.bind([8], [64], [1.0, 0, 0, 1], cooperative=True)
    with pytest.raises(ValueError, match="9 blocks launched together, 8 fit on"):
        kernel.bind([9], [64], [1.0, 0, 0, 1], cooperative=True)
    stream.device.capability = (8, 0)
    with pytest.raises(ValueError, match="has no clusters"):
        kernel.bind([8], [64], [1.0, 0, 0, 1], cluster=[2])


def test_a_signature_that_is_not_the_kernels_is_refused(stream: Stream) -> None:
    core = SimpleNamespace(arguments_info=[SimpleNamespace(size=4)], handle=1)
    with pytest.raises(ValueError, match=r"takes parameters of \[4\] bytes, declared are \[8\]"):
        Kernel(stream.device, core, "k", (Scalar.pointer,))


def test_a_recording_holds_kernels_that_are_launched_once(fake: StandIn, stream: Stream) -> None:
    kernel, x = _kernel(stream), DeviceBuffer(stream, 64)
    recorded = RecordingStream(stream, SimpleNamespace(stream=stream.core), [], [])
    kernel.launch(recorded, [1], [32], [1.0, x, x, 4])
    gone = weakref.ref(kernel)
    del kernel
    gc.collect()
    assert gone() is not None
    assert x in recorded.held
