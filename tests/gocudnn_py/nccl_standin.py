"""nccl4py for tests without it, and what it is given."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gocudnn_py.cuda import DeviceBuffer, RecordingStream, Stream
from gocudnn_py.cuda.adopt import AdoptedBuffer
from gocudnn_py.nccl import Communicator, binding
from gocudnn_py.nccl.span import TYPES
from tests.gocudnn_py.cuda_standin import StandIn, make_device, make_stream, standing_in
from tests.gocudnn_py.recorded import FakeMemory

FLOAT32, UINT8, INT32 = TYPES.index("float32"), TYPES.index("uint8"), TYPES.index("int32")
ID = bytes(range(128))
PARAMETERS = {
    "get_unique_id": 0, "comm_init_rank": 3, "comm_init_all": 2, "comm_destroy": 1, "comm_abort": 1,
    "comm_get_async_error": 1, "group_start": 0, "group_end": 0, "all_reduce": 7, "reduce": 8, "broadcast": 7,
    "all_gather": 6, "reduce_scatter": 7, "send": 6, "recv": 6,
}  # fmt: skip
"""How many arguments nccl4py's functions take."""


class Comm:
    """nccl4py's reference to a communicator."""

    def __init__(self, handle: int) -> None:
        self.handle = handle

    def __int__(self) -> int:
        return self.handle


class NCCLError(Exception):
    """nccl4py's exception."""

    def __init__(self, status: int) -> None:
        self.status = status


class FunctionNotFoundError(RuntimeError):
    """nccl4py's, for a function that the library lacks."""


class Nccl:
    """nccl4py's functions: `calls` are what was called with what; `answers` what a function returns or raises."""

    Comm, NCCLError = Comm, NCCLError

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.answers: dict[str, Any] = {"get_unique_id": bytearray(ID), "comm_get_async_error": 0}
        self._numbers = itertools.count(0x7001)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        parameters = PARAMETERS[name]

        def called(*arguments: Any) -> Any:
            assert len(arguments) == parameters, f"{name} takes {parameters} arguments, not {arguments}"
            self.calls.append((name, *(int(each) if isinstance(each, Comm) else each for each in arguments)))
            answer = self.answers.get(name)
            if isinstance(answer, Exception):
                raise answer
            if callable(answer):
                return answer(*arguments)
            if name == "comm_init_all":
                return [Comm(next(self._numbers)) for _ in range(arguments[0])]
            return Comm(next(self._numbers)) if name == "comm_init_rank" else answer

        return called

    def get_error_string(self, status: int) -> str:
        return f"meaning of {status}"

    def get_last_error(self, comm: Comm) -> str:
        return "what went wrong"

    def get_version(self) -> int:
        return 21805

    def get_library_path(self) -> str:
        return "/lib/libnccl.so.2"

    @property
    def names(self) -> list[str]:
        return [call[0] for call in self.calls]


def buffer(stream: Stream, nbytes: int = 24, address: int = 0x10000) -> DeviceBuffer:
    return DeviceBuffer.over(stream, nbytes, FakeMemory(address))  # type: ignore[arg-type]


def adopted(stream: Stream, dtype: Any, count: int = 6, *, readonly: bool = False) -> AdoptedBuffer:
    dtype = np.dtype(dtype)
    made = AdoptedBuffer.over(stream, count * dtype.itemsize, FakeMemory(0x30000))  # type: ignore[arg-type]
    made.shape, made.dtype, made.readonly = (count,), dtype, readonly
    return made


class Foreign:
    """Another library's array."""

    def __init__(self, typestr: str, shape: tuple[int, ...], *, address: int = 0x40000, **more: Any) -> None:
        said = {"version": 3, "typestr": typestr, "shape": shape, "data": (address, False), "strides": None}
        self.__cuda_array_interface__ = said | more


def recording(stream: Stream) -> RecordingStream:
    return RecordingStream(stream, SimpleNamespace(stream=stream.core), [], [])


def elsewhere() -> Stream:
    return make_stream(make_device(1), 0x900)


X, Y, COMM, STREAM = 0x10000, 0x20000, 0x7001, 0x500
CALLS: list[tuple[str, Callable[..., None], tuple[Any, ...]]] = [
    ("sum", lambda c, s, x, y: c.all_reduce(s, x, y, dtype="float32"), ("all_reduce", X, Y, 6, FLOAT32, 0)),
    ("in place", lambda c, s, x, y: c.all_reduce(s, x, dtype="f4", op="avg"), ("all_reduce", X, X, 6, FLOAT32, 4)),
    ("itself", lambda c, s, x, y: c.all_reduce(s, x, x, dtype="i4", op="max"), ("all_reduce", X, X, 6, INT32, 2)),
    ("root", lambda c, s, x, y: c.reduce(s, x, y, root=1, dtype="f4", op="min"), ("reduce", X, Y, 6, FLOAT32, 3, 1)),
    ("no root", lambda c, s, x, y: c.reduce(s, x, root=2, dtype="f4", op="prod"), ("reduce", X, 0, 6, FLOAT32, 1, 2)),
    ("from here", lambda c, s, x, y: c.broadcast(s, x, y, root=1, dtype="f4"), ("broadcast", X, Y, 6, FLOAT32, 1)),
    ("from afar", lambda c, s, x, y: c.broadcast(s, x, y, dtype="f4"), ("broadcast", Y, Y, 6, FLOAT32, 0)),
    ("over it", lambda c, s, x, y: c.broadcast(s, x), ("broadcast", X, X, 24, UINT8, 0)),
    ("gather", lambda c, s, x, y: c.all_gather(s, x.view(0, 8), y, dtype="f4"), ("all_gather", X, Y, 2, FLOAT32)),
    ("its part", lambda c, s, x, y: c.all_gather(s, y.view(8, 8), y), ("all_gather", Y + 8, Y, 8, UINT8)),
    (
        "scatter",
        lambda c, s, x, y: c.reduce_scatter(s, x, y.view(0, 8), dtype="f4"),
        ("reduce_scatter", X, Y, 2, FLOAT32, 0),
    ),
    (
        "onto its part",
        lambda c, s, x, y: c.reduce_scatter(s, x, x.view(8, 8), dtype="u1", op="max"),
        ("reduce_scatter", X, X + 8, 8, UINT8, 2),
    ),
    ("send", lambda c, s, x, y: c.send(s, x, 2, dtype="float32"), ("send", X, 6, FLOAT32, 2)),
    ("receive", lambda c, s, x, y: c.receive(s, y, 0), ("recv", Y, 24, UINT8, 0)),
]


@pytest.fixture
def nccl(monkeypatch: pytest.MonkeyPatch) -> Nccl:
    fake = Nccl()
    monkeypatch.setattr(binding, "bindings", lambda: fake)
    return fake


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, nccl: Nccl) -> Iterator[StandIn]:
    yield from standing_in(monkeypatch)


@pytest.fixture
def stream(fake: StandIn) -> Stream:
    return make_stream(make_device())


@pytest.fixture
def comm(stream: Stream, nccl: Nccl) -> Iterator[Communicator]:
    """Rank 1 of 3."""
    made = Communicator(stream, 3, 1, ID)
    nccl.calls.clear()
    yield made
    nccl.answers.clear()
    made.close()
