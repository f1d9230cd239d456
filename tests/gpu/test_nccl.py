"""NCCL: a rank on each of one or two GPUs, by groups and by threads. Skipped where there are fewer, or without NCCL."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from gocudnn_py import driver
from gocudnn_py.cuda import Device, DeviceBuffer, ManagedBuffer, Module, Scalar, Stream, Worker, adopt, capture
from gocudnn_py.dtypes import numpy_dtype
from gocudnn_py.errors import LibraryNotFound, UnusableResource
from gocudnn_py.nccl import Communicator, binding, group, unique_id
from gocudnn_py.nccl.span import TYPES
from gocudnn_py.xtra import DeviceArray
from tests.gpu.test_cuda_device import CYCLES, SLOW

if TYPE_CHECKING:
    from gocunets.backends.cudnn import CudaBackend

Array = np.ndarray[Any, Any]
SIZE = 12
UNTOUCHED = -1.0


@pytest.fixture(params=[1, 2])
def ranks(request: pytest.FixtureRequest, backend: CudaBackend) -> Iterator[int]:
    count: int = request.param
    try:
        binding.bindings()
    except LibraryNotFound as error:
        pytest.skip(str(error).splitlines()[0])
    if len(driver.gpus()) < count:
        pytest.skip(f"{count} GPUs are needed, there is {len(driver.gpus())}")
    yield count
    backend.device.make_current()


@pytest.fixture
def joined(ranks: int) -> Iterator[list[tuple[Communicator, Stream]]]:
    """A communicator and a stream for each of the GPUs, all of this thread."""
    streams = [Device(ordinal).stream() for ordinal in range(ranks)]
    with ExitStack() as stack:
        comms = [stack.enter_context(comm) for comm in Communicator.all(streams)]
        yield list(zip(comms, streams, strict=True))


def sources(ranks: int, dtype: Any = "float32") -> Array:
    """A row of small whole numbers for each rank, whose sums every type holds."""
    return np.random.default_rng(3).integers(0, 3, (ranks, SIZE)).astype(numpy_dtype(dtype))


def put(stream: Stream, array: Array) -> DeviceBuffer:
    buffer = DeviceBuffer(stream, array.nbytes)
    buffer.upload(array)
    return buffer


def run(joined: list[tuple[Communicator, Stream]], act: Callable[..., None], given: Array) -> list[Array]:
    """What is in each rank's target, as long as its source, when `act` has been called for all in a group."""
    places = [
        (put(stream, given[comm.rank]), put(stream, np.full(SIZE, UNTOUCHED).astype(given.dtype)))
        for comm, stream in joined
    ]
    with group():
        for (comm, stream), (x, y) in zip(joined, places, strict=True):
            act(comm, stream, x, y)
    return [y.download(np.empty(SIZE, given.dtype)) for _, y in places]


def part(comm: Communicator, memory: DeviceBuffer) -> DeviceBuffer:
    """The first of as many parts as there are ranks."""
    return memory.view(0, memory.nbytes // comm.ranks)


def padded(part: Array) -> Array:
    return np.append(part, np.full(SIZE - len(part), UNTOUCHED, np.float32))


def over(comm: Communicator, stream: Stream, x: DeviceBuffer, y: DeviceBuffer) -> None:
    y.copy_from(x, x.nbytes)
    comm.all_reduce(stream, y, dtype="float32")


def around(comm: Communicator, stream: Stream, x: DeviceBuffer, y: DeviceBuffer) -> None:
    comm.send(stream, x, (comm.rank + 1) % comm.ranks)
    comm.receive(stream, y, (comm.rank - 1) % comm.ranks)


F = "float32"
ROWS: dict[str, tuple[Callable[..., None], Callable[[Array, int], Array]]] = {
    "sum": (lambda c, s, x, y: c.all_reduce(s, x, y, dtype=F), lambda given, rank: given.sum(0)),
    "prod": (lambda c, s, x, y: c.all_reduce(s, x, y, dtype=F, op="prod"), lambda given, rank: given.prod(0)),
    "max": (lambda c, s, x, y: c.all_reduce(s, x, y, dtype=F, op="max"), lambda given, rank: given.max(0)),
    "min": (lambda c, s, x, y: c.all_reduce(s, x, y, dtype=F, op="min"), lambda given, rank: given.min(0)),
    "avg": (lambda c, s, x, y: c.all_reduce(s, x, y, dtype=F, op="avg"), lambda given, rank: given.mean(0)),
    "in place": (over, lambda given, rank: given.sum(0)),
    "reduce": (
        lambda c, s, x, y: c.reduce(s, x, y, root=c.ranks - 1, dtype=F),
        lambda given, rank: given.sum(0) if rank == len(given) - 1 else np.full(SIZE, UNTOUCHED),
    ),
    "broadcast": (lambda c, s, x, y: c.broadcast(s, x, y, root=c.ranks - 1), lambda given, rank: given[-1]),
    "gather": (
        lambda c, s, x, y: c.all_gather(s, part(c, x), y),
        lambda given, rank: given[:, : SIZE // len(given)].ravel(),
    ),
    "scatter": (
        lambda c, s, x, y: c.reduce_scatter(s, x, part(c, y), dtype=F),
        lambda given, rank: padded(np.split(given.sum(0), len(given))[rank]),
    ),
    "send": (around, lambda given, rank: given[rank - 1]),
}


@pytest.mark.parametrize("name", ROWS)
def test_values(name: str, joined: list[tuple[Communicator, Stream]]) -> None:
    (act, right), given = ROWS[name], sources(len(joined))
    for rank, found in enumerate(run(joined, act, given)):
        np.testing.assert_array_equal(found, right(given, rank))


@pytest.mark.parametrize("dtype", TYPES)
def test_types(dtype: str, joined: list[tuple[Communicator, Stream]]) -> None:
    if dtype.startswith("float8") and joined[0][0].device.capability < (9, 0):
        pytest.skip("float8 is reduced from sm_90 on")
    given = sources(len(joined), dtype)
    right = given.astype(np.float64).sum(0)
    for found in run(joined, lambda c, s, x, y: c.all_reduce(s, x, y, dtype=dtype), given):
        np.testing.assert_array_equal(found.astype(np.float64), right)


class Foreign:
    """Somebody's array on the card."""

    def __init__(self, memory: DeviceBuffer) -> None:
        self.memory = memory
        self.__cuda_array_interface__ = {**memory.__cuda_array_interface__, "typestr": "<f4", "shape": (SIZE,)}


class Exported:
    """The same by DLPack, as bytes."""

    def __init__(self, memory: DeviceBuffer) -> None:
        self.__dlpack__, self.__dlpack_device__ = memory.__dlpack__, memory.__dlpack_device__


@pytest.mark.parametrize(
    "wrap",
    [
        Foreign,
        lambda memory: adopt(memory.stream, Foreign(memory)),
        lambda memory: DeviceArray(memory, (3, SIZE // 3)),
    ],
    ids=["interface", "adopted", "xtra"],
)
def test_arrays(wrap: Callable[[DeviceBuffer], Any], joined: list[tuple[Communicator, Stream]]) -> None:
    given = sources(len(joined))
    for found in run(joined, lambda c, s, x, y: c.all_reduce(s, wrap(x), wrap(y)), given):
        np.testing.assert_array_equal(found, given.sum(0))


def test_dlpack(joined: list[tuple[Communicator, Stream]]) -> None:
    given = sources(len(joined))
    for found in run(joined, lambda c, s, x, y: c.broadcast(s, Exported(x), Exported(y)), given):
        np.testing.assert_array_equal(found, given[0])


def test_managed_memory(joined: list[tuple[Communicator, Stream]]) -> None:
    given = sources(len(joined))
    places = [ManagedBuffer(stream.device, given[0].nbytes) for _, stream in joined]
    for place, row in zip(places, given, strict=True):
        place.array.view(np.float32)[:] = row
    with group():
        for (comm, stream), place in zip(joined, places, strict=True):
            comm.all_reduce(stream, place, dtype="float32")
    for _, stream in joined:
        stream.synchronize()
    for place in places:
        np.testing.assert_array_equal(place.array.view(np.float32), given.sum(0))


def test_the_buffers_own_stream_is_waited_for(joined: list[tuple[Communicator, Stream]]) -> None:
    places = [DeviceBuffer(stream.device.stream(), 4, zeroed=True) for _, stream in joined]
    for place in places:
        slow = Module(place.device, SLOW).kernel("slow", [Scalar.pointer, Scalar.int64, Scalar.int32])
        slow.launch(place.stream, [1], [1], [place, CYCLES, 7])
    with group():
        for (comm, stream), place in zip(joined, places, strict=True):
            comm.all_reduce(stream, place, dtype="int32")
    for (_, stream), place in zip(joined, places, strict=True):
        stream.synchronize()
        assert place.download(np.empty(1, np.int32)) == 7 * len(joined)


def test_a_thread_for_each_rank_and_a_recorded_graph(ranks: int) -> None:
    first, second, id = sources(ranks), sources(ranks)[:, ::-1].copy(), unique_id()

    def work(worker: Worker, rank: int) -> list[Array]:
        stream, found = worker.stream, []
        x, y = put(stream, first[rank]), DeviceBuffer(stream, first[rank].nbytes)
        comm = Communicator(stream, ranks, rank, id)
        comm.all_reduce(stream, x, y, dtype="float32")
        found.append(y.download(np.empty(SIZE, np.float32)))
        with capture(stream, lambda recorded: comm.all_reduce(recorded, x, y, dtype="float32")) as graph:
            comm.close()  # the graph keeps it
            for values in (first, second):
                x.upload(values[rank])
                y.fill(0)
                graph.launch(stream)
                found.append(y.download(np.empty(SIZE, np.float32)))
        with pytest.raises(UnusableResource, match="this Communicator is closed"):
            comm.all_reduce(stream, x, y, dtype="float32")
        return found

    with ExitStack() as stack:
        workers = [stack.enter_context(Worker(ordinal)) for ordinal in range(ranks)]
        futures = [worker.submit(work, worker, rank) for rank, worker in enumerate(workers)]
        for future in futures:
            for found, values in zip(future.result(timeout=120), (first, first, second), strict=True):
                np.testing.assert_array_equal(found, values.sum(0))


def test_ranks_that_join_within_a_group(ranks: int) -> None:
    streams, id = [Device(ordinal).stream() for ordinal in range(ranks)], unique_id()
    with ExitStack() as stack:
        with group():
            comms = [stack.enter_context(Communicator(stream, ranks, rank, id)) for rank, stream in enumerate(streams)]
        joined, given = list(zip(comms, streams, strict=True)), sources(ranks)
        for found in run(joined, lambda c, s, x, y: c.all_reduce(s, x, y, dtype="float32"), given):
            np.testing.assert_array_equal(found, given.sum(0))
        for comm in comms:
            comm.check()
