"""Ownership: one owner, one finalizer, parents held by the child.

A finalizer may run on any thread, at any moment, also inside a capture, where destroying is forbidden. So
it only queues what is to be released; `drain` destroys it, called when a resource is made or closed and by
whoever allocates or synchronises, and it waits while a capture is under way. A forked child drops what its
parent made. At interpreter exit nothing is destroyed: the end of the process does it.
"""

from __future__ import annotations

import functools
import os
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from gocudnn_py import driver
from gocudnn_py.errors import UnusableResource


class _Process:
    """Stands for this process: a fork replaces it, so an identity test costs a sixth of os.getpid."""

    def __init__(self) -> None:
        self.pid = os.getpid()


_Release = tuple[_Process, str, Callable[[int], object], int, int | None, tuple[object, ...]]
"""What a finalizer leaves behind: of which process and what it is, how to destroy its handle, on which device, and the
parents, which it holds until the child is gone."""

_process = _Process()
_living: dict[int, _Release] = {}  # by the id of what they are of; they hold the parents until it is gone
_queue: deque[_Release] = deque()
_captures = 0
_lock = threading.Lock()


class Resource:
    """Something that a library made for us and wants back exactly once.

    `destroy` is called with the handle, with `device`'s primary context current if one is given; `keep_alive`
    are objects that must outlive this one. Subclasses make the handle and pass it here.
    """

    def __init__(
        self, handle: int, destroy: Callable[[int], object], *keep_alive: object, device: int | None = None
    ) -> None:
        _watch_forks()
        self._handle = handle
        self._owner: _Process | None = _process
        self.device = device
        _living[id(self)] = _process, type(self).__name__, destroy, handle, device, keep_alive
        drain()

    # Cheaper than weakref.finalize, and what it needs is its own: at exit the module may be gone already.
    def _hand_over(self, living: dict[int, _Release] = _living, queue: deque[_Release] = _queue) -> None:
        release = living.pop(id(self), None)
        if release is not None:
            queue.append(release)

    __del__ = _hand_over

    @property
    def handle(self) -> int:
        """The C handle; raises UnusableResource when closed or inherited through a fork."""
        if self._owner is _process:
            return self._handle
        raise UnusableResource(self._complaint())

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._owner is None

    @property
    def usable(self) -> bool:
        """Whether it is neither closed nor inherited through a fork."""
        return self._owner is _process

    def _complaint(self) -> str:
        name = type(self).__name__
        if self._owner is None:
            return f"this {name} is closed"
        return (
            f"this {name} was created before a fork, in process {self._owner.pid}, and is not usable "
            f"in process {_process.pid}; use the multiprocessing start method spawn"
        )

    def close(self) -> None:
        """Give the resource back; the second time does nothing. While a capture is under way it waits."""
        self._owner = None
        self._hand_over()
        drain()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def drain() -> None:
    """Destroy what finalizers queued, children before parents; does nothing while a capture is under way."""
    while _queue and not _captures:
        _destroy_next()


def _destroy_next() -> None:
    # A function, so that nothing holds the parents when it is left, and their finalizers queue them next.
    try:
        process, what, destroy, handle, device, _ = _queue.popleft()
    except IndexError:  # another thread took it
        return
    if process is not _process:
        return
    try:
        if device is None or driver.current(device):
            destroy(handle)
        else:
            with driver.primary_context(device):
                destroy(handle)
    except Exception as error:
        if driver.broken:  # said once, by whoever met it first; nothing can be released any more
            return
        warnings.warn(f"could not release a {what}: {error}", ResourceWarning, stacklevel=4)


def pending() -> int:
    """How many resources wait to be destroyed."""
    return len(_queue)


@contextmanager
def capturing() -> Iterator[None]:
    """Hold back every release of this process while the block captures a CUDA graph; may be nested."""
    process = _process
    _count_captures(1)
    try:
        yield
    finally:
        if process is _process:  # a child forked inside the block has no capture
            _count_captures(-1)


def _count_captures(change: int) -> None:
    global _captures
    with _lock:
        _captures += change


@functools.cache
def _watch_forks() -> None:
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_forked)


def _forked() -> None:
    global _process, _captures, _lock
    _process, _captures, _lock = _Process(), 0, threading.Lock()
    _queue.clear()
