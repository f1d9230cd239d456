"""One thread at a time, without waiting."""

from __future__ import annotations

import threading
from types import TracebackType

from .errors import ConcurrentUse


class Exclusive:
    """A guard that a second thread cannot enter: it raises ConcurrentUse, naming both. The owner may re-enter."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._lock = threading.RLock()
        self._owner = 0

    def __enter__(self) -> None:
        thread = threading.get_ident()
        if not self._lock.acquire(blocking=False):
            raise ConcurrentUse(
                f"thread {thread} uses a {self._what} that thread {self._owner} is using; it serves one at a time"
            )
        self._owner = thread

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()
