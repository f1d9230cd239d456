"""A thread for a GPU: work is handed to it from any thread, and comes back as a future."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeVar

from gocudnn_py.cuda.device import Device
from gocudnn_py.cuda.stream import Stream

if TYPE_CHECKING:
    from gocudnn_py import cublas, cudnn

P = ParamSpec("P")
T = TypeVar("T")


class Worker:
    """One thread with one GPU current, a stream and handles of its own (the thesis's Worker).

    Each call of `submit` has its own future, so callers never see each other's results. Work is done in the order in
    which it was handed over. Raises NoDevice, LibraryNotFound or VersionMismatch, as `Device` does.
    """

    device: Device
    stream: Stream

    def __init__(self, ordinal: int = 0) -> None:
        self._handles: dict[str, Any] = {}  # changed on the thread alone
        self._pool, self._open = ThreadPoolExecutor(1, thread_name_prefix=f"gpu-{ordinal}"), True
        try:
            self._pool.submit(self._begin, ordinal).result()
        except BaseException:
            self._pool.shutdown()
            raise

    def _begin(self, ordinal: int) -> None:
        self._thread = threading.get_ident()
        self.device = Device(ordinal)
        self.stream = self.device.stream()

    def submit(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Have the thread call a function; the future has what it returns or raises.

        From the worker's own thread it is called at once, for waiting there would never end. Raises RuntimeError after
        `close`.
        """
        if threading.get_ident() != self._thread:
            return self._pool.submit(self._call, function, *args, **kwargs)
        future: Future[T] = Future()
        try:
            future.set_result(function(*args, **kwargs))
        except BaseException as error:
            future.set_exception(error)
        return future

    def _call(self, function: Callable[..., T], /, *args: Any, **kwargs: Any) -> T:
        self.device.make_current()  # whatever was done before
        return function(*args, **kwargs)

    def run(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Have the thread call a function, and wait for what it returns or raises."""
        return self.submit(function, *args, **kwargs).result()

    @property
    def cudnn(self) -> cudnn.Handle:
        """cuDNN's handle on the worker's stream, made at the first use, for work on its thread (cudnnCreate)."""
        from gocudnn_py.cudnn import Handle

        made: cudnn.Handle = self._handle("cudnn", Handle, self.device.ordinal, self.stream)
        return made

    @property
    def cublas(self) -> cublas.Handle:
        """cuBLAS's handle on the worker's stream, made at the first use, for work on its thread (cublasCreate_v2)."""
        from gocudnn_py import cublas

        made: cublas.Handle = self._handle("cublas", cublas.Handle, self.stream)
        return made

    def _handle(self, name: str, make: Callable[..., Any], *arguments: object) -> Any:
        def first() -> Any:
            if name not in self._handles:
                self._handles[name] = make(*arguments)
            return self._handles[name]

        return self._handles.get(name) or self.run(first)

    def close(self) -> None:
        """Wait for all that was handed over and for the stream, give the handles back, and end the thread.

        (cuStreamSynchronize)
        """
        if threading.get_ident() == self._thread:
            raise RuntimeError("a worker cannot wait for itself to end")
        if self._open:
            self._open = False
            try:
                self._pool.submit(self._end).result()
            finally:
                self._pool.shutdown()

    def _end(self) -> None:
        self.stream.synchronize()
        for name in ("cudnn", "cublas"):
            handle = self._handles.pop(name, None)
            if handle is not None:
                handle.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Worker({self.device})"
