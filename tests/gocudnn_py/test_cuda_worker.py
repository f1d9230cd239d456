"""The worker's thread, with a device that is none."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from gocudnn_py.cuda import Worker, worker
from gocudnn_py.errors import NoDevice


class Device:
    """What a worker asks of a device, and where it was asked."""

    def __init__(self, ordinal: int) -> None:
        if ordinal > 1:
            raise NoDevice(f"there is no GPU {ordinal}")
        self.ordinal, self.threads = ordinal, [threading.get_ident()]

    def make_current(self) -> None:
        self.threads.append(threading.get_ident())

    def stream(self) -> Any:
        return Stream()


class Stream:
    """Where it was waited for."""

    def __init__(self) -> None:
        self.synchronized: list[int] = []

    def synchronize(self) -> None:
        self.synchronized.append(threading.get_ident())


@pytest.fixture(autouse=True)
def device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "Device", Device)


def test_everything_is_done_on_one_thread() -> None:
    with Worker() as gpu:
        threads = {gpu.run(threading.get_ident) for _ in range(5)}
        assert len(threads) == 1
        assert threads != {threading.get_ident()}
        assert set(gpu.device.threads) == threads  # type: ignore[attr-defined]
        assert gpu.run(lambda: threading.current_thread().name).startswith("gpu-0")
    assert set(gpu.stream.synchronized) == threads  # type: ignore[attr-defined]


def test_each_caller_has_its_own_result() -> None:
    with Worker() as gpu, ThreadPoolExecutor(16) as callers:
        results = callers.map(lambda number: gpu.run(lambda: (time.sleep(0.001), number)[1]), range(200))
        assert list(results) == list(range(200))


def test_exceptions_come_back_and_the_worker_goes_on() -> None:
    with Worker() as gpu:
        future = gpu.submit(int, "x")
        assert isinstance(future.exception(), ValueError)
        assert gpu.run(int, "3", base=8) == 3


def test_work_is_done_in_order() -> None:
    done: list[int] = []
    with Worker() as gpu:
        for number in range(50):
            gpu.submit(done.append, number)
    assert done == list(range(50))


def test_the_worker_may_hand_itself_work() -> None:
    with Worker() as gpu:
        assert gpu.run(lambda: gpu.submit(lambda: 7).result()) == 7
        inner = gpu.run(lambda: gpu.submit(int, "x"))
        assert isinstance(inner.exception(), ValueError)
        with pytest.raises(RuntimeError, match="cannot wait for itself"):
            gpu.run(gpu.close)


def test_close_waits_and_ends_the_thread() -> None:
    before = threading.active_count()
    gpu, done = Worker(), list[int]()
    gpu.submit(lambda: (time.sleep(0.05), done.append(1)))
    gpu.close()
    gpu.close()
    assert done == [1]
    assert threading.active_count() == before
    with pytest.raises(RuntimeError):
        gpu.submit(print)


def test_a_worker_that_cannot_begin_says_why() -> None:
    before = threading.active_count()
    with pytest.raises(NoDevice, match="no GPU 2"):
        Worker(2)
    assert threading.active_count() == before


def test_handles_are_given_back_on_the_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[tuple[str, int]] = []

    class Handle:
        def __init__(self, *arguments: object) -> None:
            events.append(("made", threading.get_ident()))

        def close(self) -> None:
            events.append(("closed", threading.get_ident()))

    monkeypatch.setattr("gocudnn_py.cudnn.Handle", Handle)
    with Worker() as gpu:
        assert gpu.cudnn is gpu.cudnn
        thread = gpu.run(threading.get_ident)
    assert events == [("made", thread), ("closed", thread)]
