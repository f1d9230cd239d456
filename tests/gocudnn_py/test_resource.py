"""Ownership: once, in order, never while capturing, never after a fork, silent at exit."""

from __future__ import annotations

import ctypes
import gc
import threading
import warnings
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from gocudnn_py import driver
from gocudnn_py.errors import UnusableResource
from gocudnn_py.resource import Resource, capturing, drain, pending


@pytest.fixture
def released() -> list[int]:
    drain()
    return []


def test_close_releases_once(released: list[int]) -> None:
    thing = Resource(7, released.append)
    assert (thing.handle, thing.closed, thing.usable) == (7, False, True)
    thing.close()
    thing.close()
    assert released == [7]
    assert (thing.closed, thing.usable) == (True, False)
    with pytest.raises(UnusableResource, match="this Resource is closed"):
        _ = thing.handle


def test_with_closes(released: list[int]) -> None:
    with Resource(7, released.append) as thing:
        assert thing.handle == 7
    assert released == [7]


def test_a_finalizer_only_queues(released: list[int]) -> None:
    Resource(7, released.append)
    gc.collect()
    assert released == []
    assert pending() == 1
    drain()
    assert released == [7]


def test_the_next_resource_drains(released: list[int]) -> None:
    Resource(7, released.append)
    keep = Resource(8, released.append)
    assert released == [7]
    keep.close()


def test_a_child_goes_before_its_parents(released: list[int]) -> None:
    parent = Resource(1, released.append)
    child = Resource(2, released.append, parent)
    grandchild = Resource(3, released.append, child)
    del parent, child
    gc.collect()
    drain()
    assert released == []
    del grandchild
    gc.collect()
    drain()
    assert released == [3, 2, 1]


def test_a_cycle_is_released(released: list[int]) -> None:
    thing: Any = Resource(7, released.append)
    thing.myself = thing
    del thing
    gc.collect()
    drain()
    assert released == [7]


def test_nothing_is_released_while_capturing(released: list[int]) -> None:
    thing = Resource(1, released.append)
    with capturing():
        with capturing():
            thing.close()
            Resource(2, released.append)
            gc.collect()
            drain()
        drain()
        assert released == []
    assert pending() == 2
    drain()
    assert released == [1, 2]


def test_a_failing_release_warns_and_the_rest_goes_on(released: list[int]) -> None:
    def fail(handle: int) -> None:
        raise OSError(f"no {handle}")

    with capturing():
        Resource(1, fail).close()
        Resource(2, released.append).close()
    with pytest.warns(ResourceWarning, match="could not release a Resource: no 1"):
        drain()
    assert released == [2]


def test_a_failing_release_does_not_raise_from_close() -> None:
    def fail(handle: int) -> None:
        raise OSError("no")

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        Resource(1, fail).close()


def test_the_device_is_entered_for_the_release(monkeypatch: pytest.MonkeyPatch, released: list[int]) -> None:
    from contextlib import contextmanager

    @contextmanager
    def entered(device: int) -> Any:
        released.append(100 + device)
        yield
        released.append(200 + device)

    monkeypatch.setattr(driver, "current", lambda ordinal: False)
    monkeypatch.setattr(driver, "primary_context", entered)
    Resource(7, released.append, device=3).close()
    assert released == [103, 7, 203]


def test_many_threads_release_everything_once(released: list[int]) -> None:
    def work(base: int) -> None:
        for number in range(200):
            Resource(base + number, released.append)

    threads = [threading.Thread(target=work, args=(1000 * i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    gc.collect()
    drain()
    assert sorted(released) == [1000 * i + n for i in range(8) for n in range(200)]


FORK = """
    import os, gc, sys
    from gocudnn_py.errors import UnusableResource
    from gocudnn_py.resource import Resource, capturing, drain, pending
    released = []
    inherited, queued = Resource(1, released.append), Resource(2, released.append)
    with capturing():
        queued.close()
        child = os.fork()
    if child == 0:
        try:
            inherited.handle
        except UnusableResource as error:
            print(error, flush=True)
        inherited.close(); drain(); gc.collect(); drain()
        mine = Resource(3, released.append); mine.close()
        print("child", released, pending(), flush=True)
        os._exit(0)
    os.waitpid(child, 0)
    inherited.close()
    print("parent", released)
"""


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="no fork on this platform")
def test_a_forked_child_drops_what_it_inherited(run_python: Callable[..., Any]) -> None:
    lines = run_python(FORK).stdout.splitlines()
    assert "was created before a fork" in lines[0]
    assert "start method spawn" in lines[0]
    assert lines[1] == "child [3] 0"
    assert lines[2] == "parent [2, 1]"


EXIT = """
    import threading, time
    from gocudnn_py.resource import Resource
    def destroy(handle): print("destroyed", handle)
    alive, cycle = Resource(1, destroy), Resource(2, destroy)
    cycle.myself = cycle
    Resource(3, destroy)
    threading.Thread(target=time.sleep, args=(5,), daemon=True).start()
"""


def test_interpreter_exit_is_silent(run_python: Callable[..., Any]) -> None:
    done = run_python(EXIT)
    assert (done.stdout, done.stderr) == ("", "")


def test_interpreter_exit_with_real_descriptors_is_silent(run_python: Callable[..., Any], cudnn: Any) -> None:
    done = run_python("""
        from gocudnn_py.cudnn import ConvolutionDescriptor, TensorDescriptor
        alive = [TensorDescriptor().set("float32", (1, 2, 3, 4)), ConvolutionDescriptor().set((1, 1))]
        alive.append(alive)
    """)
    assert (done.stdout, done.stderr) == ("", "")


class StandIn:
    """A driver that notes what it is called for and answers that all is well."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Callable[..., int]:
        def call(*arguments: Any) -> int:
            self.calls.append(name)
            if name in ("cuMemAllocFromPoolAsync", "cuEventCreate"):
                arguments[0]._obj.value = len(self.calls)
            return 0

        return call


def test_much_memory_that_other_streams_used_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    from gocudnn_py.cuda import DeviceBuffer

    stand_in = StandIn()
    monkeypatch.setattr(driver, "library", lambda: stand_in)
    monkeypatch.setattr(driver, "current", lambda ordinal: True)
    device = SimpleNamespace(ordinal=0, pool_handle=7)
    own, other = (SimpleNamespace(device=device, handle=n, cell=ctypes.c_void_p(n), capturing=False) for n in (1, 2))
    buffers: list[Any] = [DeviceBuffer(own, 16) for _ in range(500)]  # type: ignore[arg-type]
    for buffer in buffers:
        buffer.used_on(other)
        buffer.used_on(own)
    with capturing():
        del buffers, buffer
    drain()
    counts = {name: stand_in.calls.count(name) for name in ("cuMemFreeAsync", "cuStreamWaitEvent", "cuEventDestroy_v2")}
    assert set(counts.values()) == {500}
