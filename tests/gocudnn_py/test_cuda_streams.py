"""Streams, events and host functions without a GPU."""

from __future__ import annotations

import gc
import logging
import weakref
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from gocudnn_py import driver, resource
from gocudnn_py.cuda import DeviceBuffer, Event, Stream, callbacks, device
from gocudnn_py.cuda.names import members, value_of
from gocudnn_py.errors import CudaError, NotInThisVersion, UnusableResource
from tests.gocudnn_py.cuda_standin import StandIn, make_device, make_stream, standing_in


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    yield from standing_in(monkeypatch)


@pytest.fixture
def stream(fake: StandIn) -> Stream:
    return make_stream(make_device())


def test_a_device_is_entered_unless_its_context_is_current(monkeypatch: pytest.MonkeyPatch, fake: StandIn) -> None:
    current, made = [0xC001], []

    def get(cell: Any) -> int:
        cell._obj.value = current[-1]
        return 0

    def set_current() -> None:
        made.append(1)
        current.append(0xC001)

    fake.answers["cuCtxGetCurrent"] = get
    gpu = SimpleNamespace(name="GPU", capability=(9, 0), memory=80)
    monkeypatch.setattr(device, "check_driver", lambda: None)
    monkeypatch.setattr(driver, "gpus", lambda: [gpu, gpu])
    monkeypatch.setattr(device, "_core_device", lambda ordinal: SimpleNamespace(set_current=set_current))
    second = device.Device(1)
    second.enter()
    assert made == [1]
    current.append(0xC000)  # another library's doing
    second.enter()
    second.enter()
    assert made == [1, 1]


def test_an_event_from_before_a_fork(monkeypatch: pytest.MonkeyPatch, fake: StandIn, stream: Stream) -> None:
    event = Event(stream.device)
    monkeypatch.setattr(resource, "_process", resource._Process())
    stream.device.enter = lambda: pytest.fail("a child cannot call the driver")  # type: ignore[method-assign]
    for act in (event.record, event.hold):
        with pytest.raises(UnusableResource, match="created before a fork"):
            act(stream)


def test_waiting_for_values(fake: StandIn, stream: Stream) -> None:
    buffer = DeviceBuffer(stream, 64)
    stream.wait_value(buffer, 5, "nor", at=8, flush=True)
    assert fake.last("cuStreamWaitValue32_v2") == (stream.cell, buffer.pointer + 8, 5, 3 | 1 << 30)
    stream.write_value(buffer, 2**40, at=56, bits=64)
    assert fake.last("cuStreamWriteValue64_v2") == (stream.cell, buffer.pointer + 56, 2**40, 0)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"value": 2**32}, "does not fit 32 bits"),
        ({"value": -1}, "does not fit 32 bits"),
        ({"value": 1, "at": 2}, "in steps of its size"),
        ({"value": 1, "at": 64}, "at byte 64 of 64"),
        ({"value": 1, "at": 60, "bits": 64}, "of 8 bytes at byte 60"),
        ({"value": 1, "bits": 16}, "a value of 16 bits"),
        ({"value": 1, "compare": "less"}, "compare 'less'; there are at_least"),
    ],
)
def test_values_that_are_refused(arguments: dict[str, Any], words: str, stream: Stream) -> None:
    with pytest.raises(ValueError, match=words):
        stream.wait_value(DeviceBuffer(stream, 64), **arguments)


def test_priorities_are_checked(fake: StandIn) -> None:
    pytest.importorskip("cuda.core")
    with pytest.raises(ValueError, match=r"a stream of priority 1; .* has -5 \(first\) to 0 \(last\)"):
        Stream(make_device(), priority=1)


class Foreign:
    """Another library's stream."""

    def __init__(self, version: int, handle: int) -> None:
        self._answer = version, handle

    def __cuda_stream__(self) -> tuple[int, int]:
        return self._answer


def _of_context(fake: StandIn, context: int) -> None:
    def answer(stream: Any, found: Any) -> int:
        found._obj.value = context
        return 0

    fake.answers["cuStreamGetCtx"] = answer


def test_foreign_streams_are_of_the_primary_context(fake: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    core = pytest.importorskip("cuda.core")
    made = SimpleNamespace(from_handle=lambda handle: SimpleNamespace(handle=handle))
    monkeypatch.setattr(core, "Stream", made)
    _of_context(fake, 0xC000)
    foreign = Foreign(0, 0x900)
    stream, gone = Stream.adopt(make_device(), foreign), weakref.ref(foreign)
    assert stream.handle == 0x900
    del foreign
    gc.collect()
    assert gone() is not None  # it is kept alive
    assert Stream.adopt(make_device(), 0).handle == 1  # the default stream, by its other name
    _of_context(fake, 0xBAD)
    with pytest.raises(ValueError, match="0x900 is not one of the primary context"):
        Stream.adopt(make_device(), 0x900)
    with pytest.raises(TypeError, match="is of version 1, known is 0"):
        Stream.adopt(make_device(), Foreign(1, 0x900))
    with pytest.raises(TypeError, match="str is neither"):
        Stream.adopt(make_device(), "stream")


def test_events(fake: StandIn, stream: Stream) -> None:
    with pytest.raises(ValueError, match="has no timing"):
        Event(stream.device, timing=True, shared=True)
    with Event(stream.device, blocking=True, shared=True) as event:
        assert fake.last("cuEventCreate")[1] == 1 | 2 | 4
        assert len(event.ipc_handle()) == 64
        event.record(stream)
        assert event.done
        fake.answers["cuEventQuery"] = 600
        assert not event.done
        fake.answers["cuEventQuery"] = 1
        with pytest.raises(CudaError, match="cuEventQuery"):
            _ = event.done
    assert fake.names()[-1] == "cuEventDestroy_v2"
    with Event.open(stream.device, bytes(64)) as opened:
        opened.hold(stream)
    with pytest.raises(ValueError, match="64 bytes, this one has 2"):
        Event.open(stream.device, b"ab")


def _running(fake: StandIn) -> list[tuple[Any, Any]]:
    """Note host functions, to be run later."""
    given: list[tuple[Any, Any]] = []

    def launch(stream: Any, function: Any, number: Any) -> int:
        given.append((function, number))
        return 0

    fake.answers["cuLaunchHostFunc"] = launch
    return given


def test_a_host_function_is_held_until_it_ran(fake: StandIn, stream: Stream) -> None:
    class Function:
        def __call__(self, x: int) -> int:
            return x + 1

    given, function = _running(fake), Function()
    gone = weakref.ref(function)
    future = stream.call_host(function, 4)
    del function
    gc.collect()
    assert gone() is not None
    assert not future.done()
    entry, number = given.pop()
    entry(number)
    assert future.result(0) == 5
    gc.collect()
    assert gone() is None
    assert not callbacks._waiting


def test_what_a_host_function_raises_is_told(fake: StandIn, stream: Stream, caplog: pytest.LogCaptureFixture) -> None:
    given = _running(fake)
    future = stream.call_host(lambda: 1 // 0)
    entry, number = given.pop()
    with caplog.at_level(logging.ERROR, "gocudnn_py.cuda"):
        entry(number)
    assert isinstance(future.exception(0), ZeroDivisionError)
    assert "a host function of a stream failed" in caplog.text


def test_a_host_function_that_the_driver_refuses_is_let_go(fake: StandIn, stream: Stream) -> None:
    fake.answers["cuLaunchHostFunc"] = 1
    with pytest.raises(CudaError, match="cuLaunchHostFunc"):
        stream.call_host(print)
    assert not callbacks._waiting
    with pytest.raises(TypeError, match="int cannot be"):
        stream.call_host(3)  # type: ignore[arg-type]


def test_a_cancelled_host_function_is_not_called(fake: StandIn, stream: Stream) -> None:
    given, calls = _running(fake), list[int]()
    future = stream.call_host(calls.append, 1)
    assert future.cancel()
    entry, number = given.pop()
    entry(number)
    assert calls == []


def test_a_recorded_host_function_is_called_each_time() -> None:
    calls: list[int] = []

    def count() -> int:
        calls.append(1)
        return len(calls)

    run, future = callbacks.guarded(count, ())
    run()
    run()
    assert (len(calls), future.result(0)) == (2, 1)


def test_names_of_enumerations() -> None:
    pytest.importorskip("cuda.bindings")
    assert (
        value_of("CUlimit", "CU_LIMIT_", "stack_size") == value_of("CUlimit", "CU_LIMIT_", "CU_LIMIT_STACK_SIZE") == 0
    )
    assert "MAX" not in members("CUdevice_attribute", "CU_DEVICE_ATTRIBUTE_")
    with pytest.raises(ValueError, match="CUfunc_cache has no 'x'; there are PREFER_NONE"):
        value_of("CUfunc_cache", "CU_FUNC_CACHE_", "x")


def test_a_function_that_the_driver_does_not_have(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "library", lambda: SimpleNamespace(cuDriverGetVersion=lambda cell: 0))
    with pytest.raises(NotInThisVersion, match=r"cuGraphGetEdges_v2 is not in the CUDA driver for CUDA 0\.0"):
        driver.call("cuGraphGetEdges_v2")
