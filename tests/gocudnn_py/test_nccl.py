"""NCCL without a GPU: what nccl4py is asked for, what is refused before, what is held, and what it ends by."""

from __future__ import annotations

import gc
import sys
import weakref
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gocudnn_py.cuda import DeviceBuffer, ManagedBuffer, PinnedBuffer, Stream
from gocudnn_py.errors import NcclError, NotInThisVersion
from gocudnn_py.nccl import Communicator, group
from gocudnn_py.nccl.communicator import OPS
from gocudnn_py.nccl.span import TYPES
from gocudnn_py.xtra import DeviceArray
from tests.gocudnn_py.cuda_standin import StandIn, make_stream
from tests.gocudnn_py.nccl_standin import (
    CALLS,
    COMM,
    FLOAT32,
    ID,
    INT32,
    PARAMETERS,
    STREAM,
    Foreign,
    FunctionNotFoundError,
    Nccl,
    NCCLError,
    X,
    Y,
    adopted,
    buffer,
    elsewhere,
    recording,
)
from tests.gocudnn_py.nccl_standin import comm as comm
from tests.gocudnn_py.nccl_standin import fake as fake
from tests.gocudnn_py.nccl_standin import nccl as nccl
from tests.gocudnn_py.nccl_standin import stream as stream


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
    nccl.answers["reduce_scatter"] = FunctionNotFoundError("function ncclReduceScatter is not found")
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
    with pytest.warns(ResourceWarning, match="could not release a Rank: ncclCommDestroy"), group():
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
