"""NCCL without a GPU: what nccl4py is asked for, what is refused before, what is held, and what it ends by."""

from __future__ import annotations

import gc
import itertools
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gocudnn_py import resource
from gocudnn_py.cuda import DeviceBuffer, ManagedBuffer, PinnedBuffer, RecordingStream, Stream
from gocudnn_py.cuda.adopt import AdoptedBuffer
from gocudnn_py.errors import LibraryNotFound, NcclError, NotInThisVersion, UnusableResource, VersionMismatch
from gocudnn_py.nccl import Communicator, binding, group, unique_id
from gocudnn_py.nccl.communicator import OPS
from gocudnn_py.nccl.span import TYPES
from gocudnn_py.resource import capturing
from gocudnn_py.xtra import DeviceArray
from tests.gocudnn_py.cuda_standin import StandIn, make_device, make_stream, standing_in
from tests.gocudnn_py.recorded import FakeMemory

ID = bytes(range(128))
FLOAT32, UINT8, INT32 = TYPES.index("float32"), TYPES.index("uint8"), TYPES.index("int32")
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


@pytest.mark.parametrize(("act", "asked"), [row[1:] for row in CALLS], ids=[row[0] for row in CALLS])
def test_calls(
    act: Callable[..., None], asked: tuple[Any, ...], comm: Communicator, stream: Stream, nccl: Nccl
) -> None:
    act(comm, stream, buffer(stream, address=X), buffer(stream, address=Y))
    assert nccl.calls == [(*asked, COMM, STREAM)]


@pytest.mark.parametrize("code", range(len(TYPES)), ids=TYPES)
def test_types(code: int, comm: Communicator, stream: Stream, nccl: Nccl) -> None:
    if TYPES[code].startswith(("bfloat", "float8")):
        pytest.importorskip("ml_dtypes")
    comm.all_reduce(stream, buffer(stream), dtype=TYPES[code])
    _, _, _, count, kind, *_ = nccl.calls[0]
    assert (count * binding_size(TYPES[code]), kind) == (24, code)


def binding_size(name: str) -> int:
    return int("".join(filter(str.isdigit, name.partition("_")[0]))) // 8


def test_names_are_nccls() -> None:
    real = pytest.importorskip("nccl.bindings.nccl", reason="nccl4py is missing")
    types = [
        name.replace("float8e4m3", "float8_e4m3fn").replace("float8e5m2", "float8_e5m2") for name in low(real.DataType)
    ]
    assert types[:-1] == list(TYPES)
    assert low(real.RedOp)[: len(OPS)] == list(OPS)
    assert all(callable(getattr(real, name)) for name in PARAMETERS)


def low(enum: Any) -> list[str]:
    return [each.name.lower() for each in sorted(enum)]


def test_arrays_have_their_type(comm: Communicator, stream: Stream, nccl: Nccl, fake: StandIn) -> None:
    array = DeviceArray(buffer(stream, 64), (2, 3), "int32", 16)
    comm.all_reduce(stream, array)
    comm.all_reduce(stream, adopted(stream, "float64"))
    comm.all_reduce(stream, Foreign("<f2", (3, 4)))
    comm.broadcast(stream, buffer(stream), adopted(stream, "float32"), root=1)  # bytes are numbers of the other's type
    comm.all_reduce(stream, ManagedBuffer(stream.device, 16), dtype="float32")
    comm.send(stream, DeviceArray(0x50000, (5,), "uint64"), 0)
    assert [call[1:5] for call in nccl.calls[:4]] == [
        (0x10010, 0x10010, 6, INT32),
        (0x30000, 0x30000, 6, TYPES.index("float64")),
        (0x40000, 0x40000, 12, TYPES.index("float16")),
        (0x10000, 0x30000, 6, FLOAT32),
    ]
    assert nccl.calls[4][3:5] == (4, FLOAT32)
    assert nccl.calls[5][1:4] == (0x50000, 5, TYPES.index("uint64"))


class Exports:
    """An array with DLPack alone."""

    def __init__(self, kind: int = 2) -> None:
        self.kind = kind

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.kind, 0

    def __dlpack__(self, **_: Any) -> Any:
        raise AssertionError("cuda.core is not there to ask for it")


@pytest.fixture
def viewed(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The strides that DLPack's arrays of 2 x 3 float32 have, and after them the streams that views were asked for."""
    asked: list[Any] = [None]

    def from_dlpack(array: Any, stream_ptr: int) -> Any:
        asked.append(stream_ptr)
        return SimpleNamespace(ptr=0x60000, shape=(2, 3), strides=asked[0], dtype=np.dtype("float32"), readonly=False)

    utils = SimpleNamespace(StridedMemoryView=SimpleNamespace(from_dlpack=from_dlpack))
    monkeypatch.setitem(sys.modules, "cuda.core.utils", utils)
    return asked


def test_dlpack(comm: Communicator, stream: Stream, nccl: Nccl, viewed: list[Any]) -> None:
    comm.all_reduce(stream, Exports())
    comm.all_reduce(recording(stream), Exports())
    assert [call[1:5] for call in nccl.calls] == [(0x60000, 0x60000, 6, FLOAT32)] * 2
    assert viewed[1:] == [STREAM, -1]
    viewed[0] = (1, 2)
    with pytest.raises(ValueError, match=r"source of shape \(2, 3\) has strides \(1, 2\) elements|target of shape"):
        comm.all_reduce(stream, Exports())
    with pytest.raises(TypeError, match="Exports of DLPack device type 10, which no GPU reaches"):
        comm.all_reduce(stream, Exports(10))


REFUSED: list[tuple[type[Exception], str, Callable[[Communicator, Stream], object]]] = [
    (TypeError, "all_reduce: bytes are reduced as numbers", lambda c, s: c.all_reduce(s, buffer(s))),
    (TypeError, "reduce: bytes are reduced", lambda c, s: c.reduce(s, buffer(s))),
    (TypeError, "reduce_scatter: bytes", lambda c, s: c.reduce_scatter(s, buffer(s), buffer(s, 8, Y))),
    (TypeError, "float16 and float32 are not one", lambda c, s: c.all_reduce(s, adopted(s, "f4"), dtype="float16")),
    (
        TypeError,
        "int32 and float32 are not",
        lambda c, s: c.broadcast(s, adopted(s, "i4"), Foreign("<f4", (6,)), root=1),
    ),
    (TypeError, "NCCL has no complex64; it has int8, ", lambda c, s: c.send(s, buffer(s), 0, dtype="complex64")),
    (TypeError, "NCCL has no int16", lambda c, s: c.all_reduce(s, Foreign("<i2", (6,)))),
    (TypeError, "NCCL has no >f4", lambda c, s: c.all_reduce(s, Foreign(">f4", (6,)))),
    (TypeError, "'float31' is no data type|ml_dtypes", lambda c, s: c.all_reduce(s, buffer(s), dtype="float31")),
    (TypeError, "send: source is a ndarray of DLPack device type 1", lambda c, s: c.send(s, np.zeros(3), 0)),  # type: ignore[arg-type]
    (TypeError, "send: source is list", lambda c, s: c.send(s, [1.0], 0)),  # type: ignore[arg-type]
    (TypeError, "send: source is PinnedBuffer", lambda c, s: c.send(s, PinnedBuffer.__new__(PinnedBuffer), 0)),  # type: ignore[arg-type]
    (ValueError, "op 'mean'; there are sum, prod, max, min, avg", lambda c, s: c.all_reduce(s, buffer(s), op="mean")),
    (ValueError, "source of 26 bytes holds no whole", lambda c, s: c.send(s, buffer(s, 26), 0, dtype="f4")),
    (
        ValueError,
        "target is at 0x10002, .* of 4 bytes",
        lambda c, s: c.receive(s, buffer(s, 8, 0x10002), 0, dtype="f4"),
    ),
    (
        ValueError,
        "source of 6 numbers into a target of 5",
        lambda c, s: c.all_reduce(s, buffer(s), buffer(s, 20, Y), dtype="f4"),
    ),
    (
        ValueError,
        "broadcast: a source of 24 .* of 20",
        lambda c, s: c.broadcast(s, buffer(s), buffer(s, 20, Y), root=1),
    ),
    (
        ValueError,
        "reduce: a source of 6 .* of 7",
        lambda c, s: c.reduce(s, buffer(s), buffer(s, 28, Y), root=1, dtype="f4"),
    ),
    (
        ValueError,
        "sources of 6 from 3 ranks into a target of 6",
        lambda c, s: c.all_gather(s, buffer(s), buffer(s, 24, Y), dtype="f4"),
    ),
    (
        ValueError,
        "a source of 6 into targets of 3 of 3 ranks",
        lambda c, s: c.reduce_scatter(s, buffer(s), buffer(s, 12, Y), dtype="f4"),
    ),
    (ValueError, "all_reduce: .* overlap", lambda c, s: c.all_reduce(s, buffer(s), buffer(s, 24, X + 4), dtype="f4")),
    (ValueError, "all_reduce: .* overlap", lambda c, s: c.all_reduce(s, buffer(s), buffer(s, 24, X - 20), dtype="f4")),
    (ValueError, "all_gather: .* overlap", lambda c, s: c.all_gather(s, buffer(s, 8), buffer(s, 24))),
    (ValueError, "reduce_scatter: .* overlap", lambda c, s: c.reduce_scatter(s, buffer(s), buffer(s, 8), dtype="u1")),
    (ValueError, "send: rank 3 of 3 ranks", lambda c, s: c.send(s, buffer(s), 3)),
    (ValueError, "receive: rank -1 of 3", lambda c, s: c.receive(s, buffer(s), -1)),
    (ValueError, "broadcast: rank 4 of 3", lambda c, s: c.broadcast(s, buffer(s), root=4)),
    (ValueError, "reduce: rank 3 of 3", lambda c, s: c.reduce(s, buffer(s), root=3, dtype="f4")),
    (ValueError, "target can only be read", lambda c, s: c.all_reduce(s, adopted(s, "f4", readonly=True))),
    (ValueError, "target can only be read", lambda c, s: c.receive(s, Foreign("<f4", (6,), data=(Y, True)), 0)),
    (
        ValueError,
        "target can only be read",
        lambda c, s: c.receive(s, DeviceArray(adopted(s, "f4", readonly=True), (6,)), 0),
    ),
    (ValueError, "has to be row-major", lambda c, s: c.all_reduce(s, Foreign("<f4", (3, 2), strides=(4, 12)))),
    (ValueError, "source lies on GPU 1, the stream is of GPU 0", lambda c, s: c.send(s, buffer(elsewhere()), 0)),
    (ValueError, r"Stream\(0x900 .*is not of GPU 0", lambda c, s: c.send(elsewhere(), buffer(elsewhere()), 0)),
]


def elsewhere() -> Stream:
    return make_stream(make_device(1), 0x900)


@pytest.mark.parametrize(("error", "words", "act"), REFUSED, ids=[f"{n} {row[1]}" for n, row in enumerate(REFUSED)])
def test_refused(
    error: type[Exception], words: str, act: Callable[..., object], comm: Communicator, stream: Stream, nccl: Nccl
) -> None:
    with pytest.raises(error, match=words):
        act(comm, stream)
    assert nccl.calls == []


def test_what_may_only_be_read_is_sent(comm: Communicator, stream: Stream, nccl: Nccl) -> None:
    comm.send(stream, adopted(stream, "f4", readonly=True), 0)
    comm.reduce(stream, adopted(stream, "f4", readonly=True), root=0)
    assert nccl.names == ["send", "reduce"]


def test_another_gpus_array_is_refused(comm: Communicator, stream: Stream, fake: StandIn, nccl: Nccl) -> None:
    def ordinal(cell: Any, *_: Any) -> int:
        cell._obj.value = 1
        return 0

    fake.answers["cuPointerGetAttribute"] = ordinal
    with pytest.raises(ValueError, match=r"source float32\[6\] lies on GPU 1, the stream is of GPU 0"):
        comm.send(stream, Foreign("<f4", (6,)), 0)
    assert nccl.calls == []


def test_the_stream_waits_for_the_buffers_own(comm: Communicator, stream: Stream, fake: StandIn) -> None:
    other = make_stream(stream.device, 0x600)
    mine, theirs = buffer(stream), buffer(other, address=Y)
    comm.all_reduce(stream, mine, dtype="f4")
    assert "cuStreamWaitEvent" not in fake.names()
    assert mine.memory.users == {}
    comm.all_reduce(stream, mine, DeviceArray(theirs, (6,)))
    assert fake.last("cuEventRecord")[1] is other.cell
    assert fake.last("cuStreamWaitEvent")[0] is stream.cell
    assert theirs.memory.users == {STREAM: stream}


def test_a_recording_waits_for_nothing_and_holds_all(comm: Communicator, stream: Stream, fake: StandIn) -> None:
    recorded, array = recording(stream), Foreign("<f4", (6,))
    theirs = buffer(make_stream(stream.device, 0x600), address=Y)
    comm.all_reduce(recorded, array, theirs)
    assert "cuStreamWaitEvent" not in fake.names()
    assert theirs in recorded.held
    assert array in [getattr(each, "owner", None) for each in recorded.held]


def test_nothing_is_said_to_be_used_when_nccl_refuses(comm: Communicator, stream: Stream, nccl: Nccl) -> None:
    nccl.answers["all_reduce"] = NCCLError(4)
    other = make_stream(stream.device, 0x600)
    memory = buffer(stream)
    with pytest.raises(NcclError, match=r"^ncclAllReduce: meaning of 4 \(4\): what went wrong$") as caught:
        comm.all_reduce(other, memory, dtype="f4")
    assert (caught.value.function, caught.value.status) == ("ncclAllReduce", 4)
    assert (caught.value.name, caught.value.library_message) == ("meaning of 4", "what went wrong")
    assert memory.memory.users == {}


def test_a_function_that_this_nccl_lacks(comm: Communicator, stream: Stream, nccl: Nccl) -> None:
    nccl.answers["reduce_scatter"] = RuntimeError("function ncclReduceScatter is not found")
    with pytest.raises(NotInThisVersion, match=r"ncclReduceScatter is not in NCCL 2\.18\.5, loaded from /lib/libnccl"):
        comm.reduce_scatter(stream, buffer(stream), buffer(stream, 8, Y), dtype="f4")


def test_errors_that_come_later(comm: Communicator, nccl: Nccl) -> None:
    comm.check()
    nccl.answers["comm_get_async_error"] = 6
    with pytest.raises(NcclError, match=r"ncclCommGetAsyncError: meaning of 6 \(6\)"):
        comm.check()
    assert nccl.calls == [("comm_get_async_error", COMM)] * 2


# --- groups ------------------------------------------------------------------------------------------------------


def test_a_group_holds_what_its_calls_work_on(comm: Communicator, stream: Stream, nccl: Nccl) -> None:
    array = Foreign("<f4", (6,))
    gone = weakref.ref(array)
    with group():
        comm.send(stream, array, 0)
        with group():
            comm.receive(stream, buffer(stream), 0)
        del array
        gc.collect()
        assert gone() is not None
    gc.collect()
    assert gone() is None
    assert nccl.names == ["group_start", "send", "group_start", "recv", "group_end", "group_end"]


def test_a_communicator_does_not_end_within_a_group(comm: Communicator, stream: Stream, nccl: Nccl) -> None:
    dropped = Communicator(stream, 3, 2, ID)
    nccl.calls.clear()
    with group():
        comm.send(stream, buffer(stream), 0)
        del dropped
        DeviceBuffer(stream, 4)  # which gives back what nobody holds
        comm.close()
    assert nccl.names == ["group_start", "send", "group_end", "comm_destroy", "comm_destroy"]
    nccl.answers["comm_destroy"] = NCCLError(2)
    with pytest.warns(ResourceWarning, match="could not release a communicator: ncclCommDestroy"), group():
        Communicator(stream, 3, 1, ID).close()


def test_outside_of_groups_nothing_is_held(comm: Communicator, stream: Stream) -> None:
    array = Foreign("<f4", (6,))
    gone = weakref.ref(array)
    comm.send(stream, array, 0)
    del array
    gc.collect()
    assert gone() is None


def test_a_group_that_fails(comm: Communicator, stream: Stream, nccl: Nccl) -> None:
    nccl.answers["group_end"] = NCCLError(5)
    with pytest.raises(ValueError, match="rank 9"), group():
        comm.send(stream, buffer(stream), 9)
    assert nccl.names == ["group_start", "group_end"]
    with pytest.raises(NcclError, match="ncclGroupEnd: meaning of 5"), group():
        pass
    nccl.answers["group_start"] = NCCLError(3)
    with pytest.raises(NcclError, match="ncclGroupStart"), group():
        raise AssertionError("the block is not entered")
    del nccl.answers["group_start"], nccl.answers["group_end"]
    test_outside_of_groups_nothing_is_held(comm, stream)


# --- how communicators begin and end -----------------------------------------------------------------------------


def test_ids(nccl: Nccl) -> None:
    assert unique_id() == ID
    assert isinstance(unique_id(), bytes)


def test_a_rank_joins(stream: Stream, nccl: Nccl, fake: StandIn) -> None:
    for on in (elsewhere(), make_device(1)):
        made = Communicator(on, 2, 1, ID)
        assert (made.rank, made.ranks, made.device.ordinal) == (1, 2, 1)
        assert nccl.calls[-1] == ("comm_init_rank", 2, bytearray(ID), 1)
        assert [args for name, args in fake.calls if name == "cuCtxPushCurrent_v2"][-1] == (0xC001,)
    assert repr(made) == "Communicator(rank 1 of 2 on GPU 1)"
    fake.calls.clear()
    made.close()
    assert fake.last("cuCtxPushCurrent_v2") == (0xC001,)


@pytest.mark.parametrize(
    ("ranks", "rank", "id", "words"),
    [
        (2, 2, ID, "rank 2 of 2 ranks"),
        (2, -1, ID, "rank -1 of 2 ranks"),
        (0, 0, ID, "rank 0 of 0 ranks"),
        (2, 0, b"short", "an id of 5 bytes; unique_id"),
    ],
)
def test_ranks_that_are_refused(ranks: int, rank: int, id: bytes, words: str, stream: Stream, nccl: Nccl) -> None:
    with pytest.raises(ValueError, match=words):
        Communicator(stream, ranks, rank, id)
    assert nccl.calls == []


def test_all_gpus_of_a_process(stream: Stream, nccl: Nccl, fake: StandIn) -> None:
    made = Communicator.all([elsewhere(), stream])
    assert nccl.calls == [("comm_init_all", 2, [1, 0])]
    assert [(each.rank, each.ranks, each.device.ordinal) for each in made] == [(0, 2, 1), (1, 2, 0)]
    made[1].send(stream, buffer(stream), 0)
    assert nccl.calls[-1][-2:] == (0x7002, STREAM)
    for on in ([], [stream, make_stream(stream.device, 0x600)]):
        with pytest.raises(ValueError, match=r"communicators for GPUs \[(0, 0)?\]: each once"):
            Communicator.all(on)


def test_closing(comm: Communicator, stream: Stream, nccl: Nccl) -> None:
    with comm:
        pass
    comm.close()
    comm.abort()
    assert nccl.calls == [("comm_destroy", COMM)]
    assert repr(comm) == "Communicator(rank 1 of 3 on GPU 0, closed)"
    for act in (lambda: comm.send(stream, buffer(stream), 0), comm.check):
        with pytest.raises(UnusableResource, match="this Communicator is closed"):
            act()


def test_aborting(comm: Communicator, nccl: Nccl) -> None:
    with pytest.raises(ZeroDivisionError), comm:
        raise ZeroDivisionError
    comm.abort()
    assert nccl.calls == [("comm_abort", COMM)]


def test_a_call_that_fails_is_aborted_at_once(comm: Communicator, stream: Stream, nccl: Nccl) -> None:
    nccl.answers["all_reduce"] = NCCLError(6)
    with pytest.raises(NcclError) as caught, comm:
        comm.all_reduce(stream, buffer(stream), dtype="float32")
    assert (nccl.names, caught.value.function) == (["all_reduce", "comm_abort"], "ncclAllReduce")


def test_another_thread_aborts_a_call_that_waits(comm: Communicator, stream: Stream, nccl: Nccl) -> None:
    inside, aborted = threading.Event(), threading.Event()

    def wait(*arguments: Any) -> int:
        inside.set()
        assert aborted.wait(60)
        return 0

    nccl.answers |= {"all_reduce": wait, "comm_abort": lambda *arguments: aborted.set()}
    reducing = threading.Thread(target=lambda: comm.all_reduce(stream, buffer(stream), dtype="float32"))
    reducing.start()
    assert inside.wait(60)
    comm.abort()
    reducing.join(60)
    assert not reducing.is_alive()
    assert nccl.names == ["all_reduce", "comm_abort"]


def test_what_nobody_holds_is_given_back(stream: Stream, nccl: Nccl) -> None:
    with capturing():
        Communicator(stream, 1, 0, ID)
        Communicator(stream, 1, 0, ID)
        gc.collect()
        assert nccl.names == ["comm_init_rank"] * 2
    Communicator(stream, 1, 0, ID).close()
    assert nccl.names.count("comm_destroy") == 3


def test_calls_enter_the_device(comm: Communicator, stream: Stream, nccl: Nccl) -> None:
    before: list[list[str]] = []
    stream.device.enter = lambda: before.append(nccl.names)  # type: ignore[method-assign]
    comm.send(stream, buffer(stream), 0)
    assert before == [[]]


def test_a_communicator_from_before_a_fork(
    comm: Communicator, stream: Stream, nccl: Nccl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "_process", resource._Process())
    with pytest.raises(UnusableResource, match="this Rank was created before a fork"):
        comm.send(stream, buffer(stream), 0)
    assert nccl.calls == []


@pytest.mark.parametrize("end", ["destroy", "abort"])
def test_a_recorded_graph_keeps_a_closed_communicator(end: str, comm: Communicator, stream: Stream, nccl: Nccl) -> None:
    recorded = recording(stream)
    comm.all_reduce(recorded, buffer(stream), dtype="f4")
    (comm.close if end == "destroy" else comm.abort)()
    assert nccl.names == ["all_reduce"]
    recorded.held.clear()
    comm.close()
    assert nccl.names == ["all_reduce", f"comm_{end}"]


def test_an_end_that_fails_is_a_warning(comm: Communicator, nccl: Nccl) -> None:
    nccl.answers["comm_destroy"] = NCCLError(2)
    with pytest.warns(ResourceWarning, match="could not release a Rank: ncclCommDestroy: meaning of 2"):
        comm.close()


# --- nccl4py itself ----------------------------------------------------------------------------------------------


def test_importing_needs_no_nccl4py(run_python: Callable[..., Any]) -> None:
    program = (
        "import sys, gocudnn_py.nccl; print(*[name for name in sys.modules if name.startswith(('nccl', 'cuda.'))])"
    )
    assert run_python(program).stdout.strip() == ""


def test_without_nccl4py(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nccl.bindings.nccl", None)
    monkeypatch.setattr(binding, "cuda_major", lambda: 13)
    binding.bindings.cache_clear()
    with pytest.raises(LibraryNotFound, match=r"nccl4py was not found(.|\n)*pip install 'gocunets\[cu13-nccl\]'"):
        unique_id()


def test_without_nccl(monkeypatch: pytest.MonkeyPatch) -> None:
    def find(name: str) -> None:
        raise LibraryNotFound(name, "it is in no wheel", 12)

    monkeypatch.setitem(sys.modules, "nccl.bindings.nccl", SimpleNamespace(Comm=Comm))  # type: ignore[arg-type]
    monkeypatch.setattr(binding, "find", find)
    binding.bindings.cache_clear()
    with pytest.raises(LibraryNotFound, match=r"nccl was not found(.|\n)*pip install 'gocunets\[cu12-nccl\]'"), group():
        pass


def test_an_old_nccl4py(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nccl.bindings.nccl", SimpleNamespace())  # type: ignore[arg-type]
    monkeypatch.setattr(binding, "installed", lambda package: "0.3.1")
    binding.bindings.cache_clear()
    with pytest.raises(VersionMismatch, match=r"nccl4py 0\.3\.1 is older than 0\.5"):
        unique_id()


LIBRARY = r"""
#include <stddef.h>
#include <stdio.h>
typedef struct { unsigned char bytes[128]; } Id;
#define SAY(...) return printf(__VA_ARGS__), fflush(stdout), 0
int ncclGetUniqueId(Id *id) { for (int i = 0; i < 128; i++) id->bytes[i] = i; return 0; }
int ncclGetVersion(int *version) { *version = 23203; return 0; }
const char *ncclGetErrorString(int status) { return "invalid argument"; }
const char *ncclGetLastError(void *comm) { return "count is odd"; }
int ncclCommInitRank(void **comm, int ranks, Id id, int rank) {
    *comm = (void *)0x7001; SAY("init %d of %d, %d to %d\n", rank, ranks, id.bytes[1], id.bytes[127]); }
int ncclCommInitAll(void **comms, int ranks, const int *devices) {
    for (int i = 0; i < ranks; i++) comms[i] = (void *)(size_t)(0x8000 + devices[i]); return 0; }
int ncclCommGetAsyncError(void *comm, int *status) { *status = 0; return 0; }
int ncclCommDestroy(void *comm) { SAY("destroy %p\n", comm); }
int ncclCommAbort(void *comm) { SAY("abort %p\n", comm); }
int ncclGroupStart(void) { SAY("start\n"); }
int ncclGroupEnd(void) { SAY("end\n"); }
int ncclAllReduce(void *x, void *y, size_t n, int t, int op, void *comm, void *stream) {
    if (n % 2) return 4; SAY("all_reduce %p %p %zu %d %d %p %p\n", x, y, n, t, op, comm, stream); }
int ncclReduce(void *x, void *y, size_t n, int t, int op, int root, void *comm, void *stream) {
    SAY("reduce %p %p %zu %d %d %d %p %p\n", x, y, n, t, op, root, comm, stream); }
int ncclBroadcast(void *x, void *y, size_t n, int t, int root, void *comm, void *stream) {
    SAY("broadcast %p %p %zu %d %d %p %p\n", x, y, n, t, root, comm, stream); }
int ncclAllGather(void *x, void *y, size_t n, int t, void *comm, void *stream) {
    SAY("all_gather %p %p %zu %d %p %p\n", x, y, n, t, comm, stream); }
int ncclReduceScatter(void *x, void *y, size_t n, int t, int op, void *comm, void *stream) {
    SAY("reduce_scatter %p %p %zu %d %d %p %p\n", x, y, n, t, op, comm, stream); }
int ncclSend(void *x, size_t n, int t, int peer, void *comm, void *stream) {
    SAY("send %p %zu %d %d %p %p\n", x, n, t, peer, comm, stream); }
int ncclRecv(void *y, size_t n, int t, int peer, void *comm, void *stream) {
    SAY("recv %p %zu %d %d %p %p\n", y, n, t, peer, comm, stream); }
"""
"""NCCL as far as it is called: it prints what it was given."""
PROGRAM = """
import ctypes, os
ctypes.CDLL(os.environ["STUB"])
from gocudnn_py import driver
from gocudnn_py.errors import NcclError
from gocudnn_py.nccl import Communicator, group, unique_id
from tests.gocudnn_py.cuda_standin import StandIn, make_device, make_stream
from tests.gocudnn_py.test_nccl import CALLS, X, Y, buffer
stand_in = StandIn()
driver.library, driver.context = lambda: stand_in, lambda index: 0xC000 + index
stream = make_stream(make_device())
comm = Communicator(stream, 3, 1, unique_id())
for _, act, _ in CALLS:
    act(comm, stream, buffer(stream, address=X), buffer(stream, address=Y))
comm.check()
with group():
    comm.send(stream, buffer(stream, address=2**47), 0)
try:
    comm.all_reduce(stream, buffer(stream, 20), dtype="float32")
except NcclError as error:
    print(error, flush=True)
comm.close()
Communicator.all([stream, make_device(1)])[1].abort()
"""


def test_nccl4py_passes_on_what_it_is_given(compile_c: Any, run_python: Callable[..., Any], tmp_path: Path) -> None:
    pytest.importorskip("nccl.bindings.nccl", reason="nccl4py is missing")
    done = run_python(PROGRAM, STUB=str(compile_c(LIBRARY, tmp_path / "libnccl.so.2")))
    asked = [" ".join(map(str, (name, *arguments, COMM, STREAM))) for _, _, (name, *arguments) in CALLS]
    assert [decimal(line) for line in done.stdout.splitlines()] == [
        "init 1 of 3, 1 to 127",
        *asked,
        "start",
        f"send {2**47} 24 1 0 {COMM} {STREAM}",
        "end",
        "ncclAllReduce: invalid argument (4): count is odd",
        f"destroy {COMM}",
        f"destroy {0x8000}",
        f"abort {0x8001}",
    ]


def decimal(line: str) -> str:
    """A line with its addresses as Python writes numbers."""
    words = line.replace("(nil)", "0x0").split(" ")
    return " ".join(str(int(word, 16)) if word.startswith("0x") else word for word in words)
