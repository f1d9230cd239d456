"""Groups: calls that NCCL begins together."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from gocudnn_py.errors import NcclError
from gocudnn_py.nccl.binding import call
from gocudnn_py.resource import drain


class _Open(threading.local):
    """Each thread's groups that have not ended: how many, and what their calls work on."""

    def __init__(self) -> None:
        self.depth = 0
        self.held: list[object] = []


_open = _Open()


@contextmanager
def group() -> Iterator[None]:
    """Begin this thread's calls of the block together at its end, and hold what they work on until then.

    Needed where one thread serves several GPUs, and for messages both ways. May be nested; the outermost counts. After
    an exception the calls before it are begun all the same, and that is what is raised (ncclGroupStart, ncclGroupEnd).
    """
    call("group_start")
    _open.depth += 1
    try:
        yield
    except BaseException:
        with suppress(NcclError):
            call("group_end")
        raise
    else:
        call("group_end")
    finally:
        _open.depth -= 1
        if not _open.depth:
            _open.held.clear()
            drain()


def grouping() -> bool:
    """Whether a group of this thread has not ended."""
    return _open.depth > 0


def hold(*things: object) -> None:
    """Hold what a call works on until its group ends; outside of groups it has begun."""
    if _open.depth:
        _open.held.extend(things)
