"""Communicators: one rank of several, on its GPU, and what ranks do together."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from gocudnn_py import driver
from gocudnn_py.cuda import Device, Stream
from gocudnn_py.errors import UnusableResource
from gocudnn_py.matrix import used_on
from gocudnn_py.nccl.binding import ID_BYTES, call, failure
from gocudnn_py.nccl.group import grouping, hold
from gocudnn_py.nccl.span import Operand, Place, Span, apart, place, spans
from gocudnn_py.resource import Resource, drain

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

OPS = ("sum", "prod", "max", "min", "avg")
"""What numbers are reduced by, in the order of ncclRedOp_t."""


class Rank(Resource):
    """NCCL's communicator, which graphs that `recorded` it hold as well: ending it would wait for them."""

    recorded = False

    def __init__(self, comm: Any, ordinal: int, by: str = "comm_destroy") -> None:
        self.comm, self._ends = comm, [by]
        super().__init__(int(comm), partial(_end, comm, self._ends, ordinal), device=ordinal)

    def used_on(self, stream: Stream) -> None:
        """Nothing to note: NCCL waits for what it was given."""

    def end(self, name: str) -> None:
        """End it by a function, now, whoever else holds it; one that a graph has when nobody does."""
        self._ends[:] = [name]
        if not self.recorded:
            self.close()


def _end(comm: Any, ends: Sequence[str], ordinal: int, _: int) -> None:
    if grouping():  # it would belong to the group, and might wait for it
        hold(Rank(comm, ordinal, ends[0]))
    else:
        call(ends[0], comm)


class Communicator:
    """Rank `rank` of `ranks`, on a GPU given as a Device or one of its Streams; all ranks have the same `unique_id()`.

    Making it waits for all ranks: a thread that makes several does so within a `group`, or by `all`. It serves one
    thread at a time, and a thread that serves several calls all of them within a `group`. Every rank makes the same
    calls in the same order, with as many numbers of the same type.

    Operands are a DeviceBuffer or ManagedBuffer with a `dtype`, or arrays that have theirs: adopted ones, `xtra`'s,
    and contiguous ones with `__cuda_array_interface__` or `__dlpack__`, which must live until the stream has come past
    the call. Calls return at once, let the stream wait for the one that a buffer was made on, and are recorded into
    CUDA graphs, which a thread for each GPU launches. What does not fit is a ValueError or TypeError, what NCCL answers
    a NcclError (ncclCommInitRank, ncclCommDestroy).
    """

    def __init__(self, on: Device | Stream, ranks: int, rank: int, id: bytes) -> None:
        if not 0 <= operator.index(rank) < operator.index(ranks):
            raise ValueError(f"rank {rank} of {ranks} ranks")
        if len(id) != ID_BYTES:
            raise ValueError(f"an id of {len(id)} bytes; unique_id() makes {ID_BYTES}")
        device = _device(on)
        with driver.primary_context(device.ordinal):
            self._take(device, ranks, rank, call("comm_init_rank", ranks, bytearray(id), rank))

    def _take(self, device: Device, ranks: int, rank: int, comm: Any) -> None:
        self.device, self.ranks, self.rank = device, ranks, rank
        self._held: Rank | None = Rank(comm, device.ordinal)

    @classmethod
    def all(cls, on: Sequence[Device | Stream]) -> list[Self]:
        """One for each of several GPUs of this process, ranks in their order (ncclCommInitAll)."""
        devices = [_device(each) for each in on]
        ordinals = [device.ordinal for device in devices]
        if not devices or len(set(ordinals)) < len(ordinals):
            raise ValueError(f"communicators for GPUs {ordinals}: each once, and at least one")
        with driver.primary_context(ordinals[0]):
            comms = call("comm_init_all", len(ordinals), ordinals)
        made = [cls.__new__(cls) for _ in devices]
        for rank, (each, device, comm) in enumerate(zip(made, devices, comms, strict=True)):
            each._take(device, len(devices), rank, comm)
        return made

    def all_reduce(
        self,
        stream: Stream,
        source: Operand,
        target: Operand | None = None,
        *,
        dtype: DTypeLike | None = None,
        op: str = "sum",
    ) -> None:
        """Reduce the sources of all ranks into the target of each, in place without one.

        `op` is "sum", "prod", "max", "min" or "avg" (ncclAllReduce).
        """
        code = _op("all_reduce", op)
        x, y = self._both("all_reduce", stream, source, target, dtype, reduces=True)
        _same("all_reduce", x, y)
        self._run("all_reduce", stream, x.address, y.address, x.count, x.code, code, on=(x, y))

    def reduce(
        self,
        stream: Stream,
        source: Operand,
        target: Operand | None = None,
        *,
        root: int = 0,
        dtype: DTypeLike | None = None,
        op: str = "sum",
    ) -> None:
        """Reduce the sources of all ranks into the target of rank `root`, in place without one; others' are left alone.

        `op` as in `all_reduce` (ncclReduce).
        """
        code = _op("reduce", op)
        if self._peer("reduce", root) != self.rank:
            (x,) = spans("reduce", dtype, self._place("reduce", stream, source=source), reduces=True)
            self._run("reduce", stream, x.address, 0, x.count, x.code, code, root, on=(x,))
            return
        x, y = self._both("reduce", stream, source, target, dtype, reduces=True)
        _same("reduce", x, y)
        self._run("reduce", stream, x.address, y.address, x.count, x.code, code, root, on=(x, y))

    def broadcast(
        self,
        stream: Stream,
        source: Operand,
        target: Operand | None = None,
        *,
        root: int = 0,
        dtype: DTypeLike | None = None,
    ) -> None:
        """Copy the source of rank `root` to the target of each, in place without one; others' sources are not read.

        (ncclBroadcast)
        """
        if self._peer("broadcast", root) == self.rank:
            x, y = self._both("broadcast", stream, source, target, dtype)
            _same("broadcast", x, y)
        else:
            written = self._place("broadcast", stream, target=source if target is None else target)
            x, y = spans("broadcast", dtype, written, written)
        self._run("broadcast", stream, x.address, y.address, y.count, y.code, root, on=(x, y))

    def all_gather(self, stream: Stream, source: Operand, target: Operand, *, dtype: DTypeLike | None = None) -> None:
        """Put the sources of all ranks one after another into the target of each, `ranks` times as large.

        In place when the source is the rank's part of the target (ncclAllGather).
        """
        x, y = self._both("all_gather", stream, source, target, dtype)
        if y.count != self.ranks * x.count:
            raise ValueError(f"all_gather: sources of {x.count} from {self.ranks} ranks into a target of {y.count}")
        apart("all_gather", x, y, self.rank * x.nbytes)
        self._run("all_gather", stream, x.address, y.address, x.count, x.code, on=(x, y))

    def reduce_scatter(
        self, stream: Stream, source: Operand, target: Operand, *, dtype: DTypeLike | None = None, op: str = "sum"
    ) -> None:
        """Reduce the sources of all ranks, and put each rank's part into its target; the source is `ranks` as large.

        In place when the target is the rank's part of the source; `op` as in `all_reduce` (ncclReduceScatter).
        """
        code = _op("reduce_scatter", op)
        x, y = self._both("reduce_scatter", stream, source, target, dtype, reduces=True)
        if x.count != self.ranks * y.count:
            raise ValueError(f"reduce_scatter: a source of {x.count} into targets of {y.count} of {self.ranks} ranks")
        apart("reduce_scatter", x, y, -self.rank * y.nbytes)
        self._run("reduce_scatter", stream, x.address, y.address, y.count, y.code, code, on=(x, y))

    def send(self, stream: Stream, source: Operand, peer: int, *, dtype: DTypeLike | None = None) -> None:
        """Send to a rank, which has to `receive` as many; to several, or both ways, within a `group` (ncclSend)."""
        (x,) = spans("send", dtype, self._place("send", stream, source=source))
        self._run("send", stream, x.address, x.count, x.code, self._peer("send", peer), on=(x,))

    def receive(self, stream: Stream, target: Operand, peer: int, *, dtype: DTypeLike | None = None) -> None:
        """Receive what a rank sends; as `send` (ncclRecv)."""
        (y,) = spans("receive", dtype, self._place("receive", stream, target=target))
        self._run("recv", stream, y.address, y.count, y.code, self._peer("receive", peer), on=(y,))

    def _both(
        self, what: str, stream: Stream, source: Any, target: Any, dtype: DTypeLike | None, *, reduces: bool = False
    ) -> list[Span]:
        """Source and target; in place, what is given as the source is both."""
        if target is None:
            both = self._place(what, stream, target=source)
            return spans(what, dtype, both, both, reduces=reduces)
        places = self._place(what, stream, source=source), self._place(what, stream, target=target)
        return spans(what, dtype, *places, reduces=reduces)

    def _place(self, what: str, stream: Stream, **operand: Any) -> Place:
        """Where the one operand lies; a `target` is one that is written."""
        if stream.device.ordinal != self.device.ordinal:
            raise ValueError(f"{what}: {stream} is not of GPU {self.device.ordinal}, which the communicator is on")
        ((name, value),) = operand.items()
        found = place(f"{what}: {name}", value, stream)
        if name == "target" and found.readonly:
            raise ValueError(f"{found.name} can only be read")
        return found

    def _peer(self, what: str, rank: int) -> int:
        if not 0 <= operator.index(rank) < self.ranks:
            raise ValueError(f"{what}: rank {rank} of {self.ranks} ranks")
        return rank

    def _run(self, name: str, stream: Stream, *arguments: int, on: Sequence[Span]) -> None:
        held = self._rank
        stream.device.enter()
        call(name, *arguments, held.comm, stream.handle)
        held.recorded = held.recorded or stream.capturing
        things = held, *(span.memory for span in on)
        used_on(stream, things)
        hold(*things)

    @property
    def _rank(self) -> Rank:
        held = self._held
        if held is None:
            raise UnusableResource("this Communicator is closed")
        _ = held.handle  # UnusableResource after a fork
        return held

    def check(self) -> None:
        """Raise NcclError for what went wrong since a call returned, at another rank say; only `abort` is left then.

        (ncclCommGetAsyncError)
        """
        status = int(call("comm_get_async_error", self._rank.comm))
        if status:
            raise failure("comm_get_async_error", status)

    def close(self) -> None:
        """Give it back, which waits for what it was given; all ranks of a machine have to. Twice is as once.

        Within a group it waits for the group's end, and a graph that recorded it keeps it until it is gone itself
        (ncclCommDestroy).
        """
        self._end("comm_destroy")

    def abort(self) -> None:
        """Give it back, and break off what it was given; any thread may, when another rank is lost.

        One that a graph recorded is broken off when the graph is closed: NCCL would wait for that (ncclCommAbort).
        """
        self._end("comm_abort")

    def _end(self, name: str) -> None:
        held, self._held = self._held, None
        if held is not None:
            held.end(name)
        del held  # or a graph that is gone would not be the last to have had it
        drain()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        """Close it, or abort it after an exception: the other ranks may wait for calls that never come."""
        if kind is None:
            self.close()
        else:
            self.abort()

    def __repr__(self) -> str:
        closed = ", closed" if self._held is None else ""
        return f"Communicator(rank {self.rank} of {self.ranks} on GPU {self.device.ordinal}{closed})"


def _device(on: Device | Stream) -> Device:
    return on.device if isinstance(on, Stream) else on


def _op(what: str, op: str) -> int:
    if op not in OPS:
        raise ValueError(f"{what}: op {op!r}; there are {', '.join(OPS)}")
    return OPS.index(op)


def _same(what: str, source: Span, target: Span) -> None:
    """Raise ValueError unless both have as many numbers, and are apart or the same."""
    if source.count != target.count:
        raise ValueError(f"{what}: a source of {source.count} numbers into a target of {target.count}")
    apart(what, source, target)
