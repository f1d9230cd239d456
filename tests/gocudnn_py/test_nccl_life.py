"""NCCL without a GPU: how communicators begin and end, and nccl4py itself."""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gocudnn_py import resource
from gocudnn_py.cuda import Stream
from gocudnn_py.errors import LibraryNotFound, NcclError, UnusableResource, VersionMismatch
from gocudnn_py.nccl import Communicator, binding, group, unique_id
from gocudnn_py.resource import capturing
from tests.gocudnn_py.cuda_standin import StandIn, make_device, make_stream
from tests.gocudnn_py.nccl_standin import CALLS, COMM, ID, STREAM, Comm, Nccl, NCCLError, buffer, elsewhere, recording
from tests.gocudnn_py.nccl_standin import comm as comm
from tests.gocudnn_py.nccl_standin import fake as fake
from tests.gocudnn_py.nccl_standin import nccl as nccl
from tests.gocudnn_py.nccl_standin import stream as stream

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
from tests.gocudnn_py.nccl_standin import CALLS, X, Y, buffer
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
