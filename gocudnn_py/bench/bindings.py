"""What a call costs the host by class of call, ours and others': `python -m gocudnn_py.bench.bindings` prints JSON.

Each class is the same call on the same memory by every peer, in one process, in turn; the card has little to do.
"""

from __future__ import annotations

import ctypes
import json
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

CALLS, BATCHES, WARM_UP = 200, 40, 8
SIDE = 64  # of the matrices
LOOPS = """
typedef int (*Execute)(void*, void*, void*);
int execute(Execute call, void* handle, void* plan, void* pack, int count)
{
    int status = 0;
    for (int i = 0; i < count && !status; ++i) status = call(handle, plan, pack);
    return status;
}
typedef int (*Gemm)(
    void*, int, int, int, int, int, void*, void*, int, int, void*, int, int, void*, void*, int, int, int, int);
int gemm(Gemm call, void* handle, int side, void* one, void* zero, void* a, void* b, void* c, int compute, int count)
{
    int status = 0;
    for (int i = 0; i < count && !status; ++i)
        status = call(handle, 0, 0, side, side, side, one, b, 0, side, a, 0, side, zero, c, 0, side, compute, -1);
    return status;
}
typedef int (*Pool)(void*, void*, void*, void*, void*, void*, void*, void*);
int pool(Pool call, void* handle, void* how, void* one, void* x, void* px, void* zero, void* y, void* py, int count)
{
    int status = 0;
    for (int i = 0; i < count && !status; ++i) status = call(handle, how, one, x, px, zero, y, py);
    return status;
}
typedef int (*Copy)(unsigned long long, unsigned long long, unsigned long, void*);
int copy(Copy call, unsigned long long to, unsigned long long from, unsigned long size, void* stream, int count)
{
    int status = 0;
    for (int i = 0; i < count && !status; ++i) status = call(to, from, size, stream);
    return status;
}
"""
Batch = Callable[[], object]


class Setup:
    """A card, a stream, three buffers, cuDNN's and cuBLAS's handles, and the loops in C."""

    def __init__(self) -> None:
        from gocudnn_py import cublas
        from gocudnn_py.cuda import Device, DeviceBuffer
        from gocudnn_py.cudnn import Handle

        self.device = Device()
        self.stream = self.device.stream()
        self.buffers = [DeviceBuffer(self.stream, 4 * SIDE * SIDE, zeroed=True) for _ in range(3)]
        self.handle = Handle(self.device.ordinal, self.stream)
        self.blas = cublas.Handle(self.stream)
        self.loops = _compiled()

    def loop(self, name: str, *arguments: Any) -> Batch:
        """A batch of a call made in C. Raises ImportError where there is no C compiler."""
        if self.loops is None:
            raise ImportError("no C compiler")
        function = getattr(self.loops, name)

        def batch() -> None:
            status = function(*arguments, CALLS)
            if status:
                raise RuntimeError(f"{name} in C: status {status}")

        return batch


def _compiled() -> ctypes.CDLL | None:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        return None
    folder = Path(tempfile.mkdtemp())
    command = [compiler, "-O2", "-shared", "-fPIC", "-x", "c", "-", "-o", str(folder / "loops.so")]
    subprocess.run(command, input=LOOPS, text=True, check=True)
    loops = ctypes.CDLL(str(folder / "loops.so"))
    shutil.rmtree(folder, ignore_errors=True)
    return loops


def _module(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError:
        raise ImportError("not installed") from None


def _address(function: Any) -> ctypes.c_void_p:
    return ctypes.cast(function, ctypes.c_void_p)


def _pointers(*values: int) -> list[ctypes.c_void_p]:
    return [ctypes.c_void_p(value) for value in values]


# --- a graph of cuDNN's ---------------------------------------------------------------------------------------------


def _execution(setup: Setup) -> Any:
    from gocudnn_py.cuda import DeviceBuffer
    from gocudnn_py.cudnn.graph import Graph, choose_plan

    graph = Graph()
    a, b = (graph.tensor(name, (1, SIDE, SIDE), "float32") for name in "ab")
    c = graph.output(graph.matmul(a, b), "c", dtype="float32")
    plan = choose_plan(graph, setup.handle)
    workspace = DeviceBuffer(setup.stream, plan.workspace)
    return plan.bind(dict(zip((a, b, c), setup.buffers, strict=True)), workspace)


def graph_ours(setup: Setup) -> Batch:
    """`Execution.__call__`."""
    run, handle = _execution(setup), setup.handle
    return _repeat(lambda: run(handle))


def graph_frontend(setup: Setup) -> Batch:
    """`pygraph.execute` of nvidia-cudnn-frontend."""
    from gocudnn_py.cuda import DeviceBuffer

    frontend = _module("cudnn")
    handle = frontend.create_handle()
    frontend.set_stream(handle=handle, stream=setup.stream.handle)
    kind = frontend.data_type.FLOAT
    graph = frontend.pygraph(handle=handle, io_data_type=kind, intermediate_data_type=kind, compute_data_type=kind)
    shape, steps = [1, SIDE, SIDE], [SIDE * SIDE, SIDE, 1]
    a, b = (graph.tensor(name=name, dim=shape, stride=steps, data_type=kind) for name in "ab")
    c = graph.matmul(name="c", A=a, B=b)
    c.set_output(True).set_data_type(kind)
    graph.build([frontend.heur_mode.A, frontend.heur_mode.FALLBACK])
    pack = dict(zip((a, b, c), (buffer.pointer for buffer in setup.buffers), strict=True))
    workspace = DeviceBuffer(setup.stream, graph.get_workspace_size())
    place = workspace.pointer
    return _repeat(lambda: (graph.execute(pack, place, handle=handle), workspace))


def graph_c(setup: Setup) -> Batch:
    """`cudnnBackendExecute` in C."""
    run = _execution(setup)
    call = _address(setup.handle.lib.cudnnBackendExecute)
    pointers = _pointers(setup.handle.handle, run.plan.descriptor.handle, run.pack.handle)
    batch = setup.loop("execute", call, *pointers)
    return lambda: (batch(), run)


# --- a matrix product -----------------------------------------------------------------------------------------------


def gemm_ours(setup: Setup) -> Batch:
    """`cublas.gemm`."""
    from gocudnn_py import cublas
    from gocudnn_py.matrix import Matrix

    a, b, c = (Matrix(buffer, SIDE, SIDE) for buffer in setup.buffers)
    blas = setup.blas
    return _repeat(lambda: cublas.gemm(blas, a, b, c))


def gemm_bound(setup: Setup) -> Batch:
    """`cublas.BoundCall` of it."""
    from gocudnn_py import cublas
    from gocudnn_py.matrix import Matrix

    return _repeat(cublas.BoundCall(setup.blas, cublas.gemm, *(Matrix(buffer, SIDE, SIDE) for buffer in setup.buffers)))


def gemm_nvmath(setup: Setup) -> Batch:
    """`gemm_ex` of nvmath-python."""
    library = _module("nvmath.bindings.cublas")
    return _gemm_ex(setup, library.gemm_ex)


def gemm_cupy(setup: Setup) -> Batch:
    """`gemmEx` of CuPy."""
    library = _module("cupy_backends.cuda.libs.cublas")
    return _gemm_ex(setup, library.gemmEx)


def _gemm_ex(setup: Setup, call: Any) -> Batch:
    one, zero = np.ones(1, np.float32), np.zeros(1, np.float32)
    first, last = one.ctypes.data, zero.ctypes.data
    a, b, c = (buffer.pointer for buffer in setup.buffers)
    handle, compute = setup.blas.handle, 68  # CUBLAS_COMPUTE_32F
    side, kind, algorithm = SIDE, 0, -1
    return _repeat(
        lambda: (
            call(
                handle, 0, 0, side, side, side, first, b, kind, side, a, kind, side, last, c, kind, side, compute,
                algorithm,
            ),
            one,
            zero,
        )
    )  # fmt: skip


def gemm_c(setup: Setup) -> Batch:
    """`cublasGemmEx` in C."""
    one, zero = ctypes.c_float(1), ctypes.c_float(0)
    call = _address(setup.blas.lib.cublasGemmEx)
    a, b, c = _pointers(*(buffer.pointer for buffer in setup.buffers))
    scales = ctypes.byref(one), ctypes.byref(zero)
    return setup.loop("gemm", call, *_pointers(setup.blas.handle), SIDE, *scales, a, b, c, 68)


# --- pooling by descriptors -----------------------------------------------------------------------------------------


def _pooling(setup: Setup) -> Any:
    from gocudnn_py.cudnn import PoolingDescriptor, PoolingMode, TensorDescriptor

    pool = PoolingDescriptor().set(PoolingMode.MAX, (2, 2))
    x = TensorDescriptor().set("float32", (1, 4, 8, 8))
    y = TensorDescriptor().set("float32", pool.output_shape(x))
    return pool, x.at(setup.buffers[0]), y.at(setup.buffers[1])


def pooling_ours(setup: Setup) -> Batch:
    """`PoolingDescriptor.forward`."""
    pool, x, y = _pooling(setup)
    handle = setup.handle
    return _repeat(lambda: pool.forward(handle, x, y))


def pooling_c(setup: Setup) -> Batch:
    """`cudnnPoolingForward` in C."""
    pool, x, y = _pooling(setup)
    one, zero = ctypes.c_float(1), ctypes.c_float(0)
    call = _address(setup.handle.lib.cudnnPoolingForward)
    handles = _pointers(setup.handle.handle, pool.handle)
    operands = ctypes.byref(one), *_pointers(*x.pair), ctypes.byref(zero), *_pointers(*y.pair)
    batch = setup.loop("pool", call, *handles, *operands)
    return lambda: (batch(), pool, x, y)


# --- memory ---------------------------------------------------------------------------------------------------------


def copy_ours(setup: Setup) -> Batch:
    """`DeviceBuffer.copy_from`."""
    to, source, _ = setup.buffers
    return _repeat(lambda: to.copy_from(source, 256))


def copy_core(setup: Setup) -> Batch:
    """`Buffer.copy_to` of cuda.core."""
    from cuda.core import Buffer

    source, to = (Buffer.from_handle(buffer.pointer, 256, owner=buffer) for buffer in setup.buffers[:2])
    stream = setup.stream.core
    return _repeat(lambda: source.copy_to(to, stream=stream))


def copy_bindings(setup: Setup) -> Batch:
    """`cuMemcpyDtoDAsync` of cuda.bindings."""
    from cuda.bindings import driver

    to, source = (driver.CUdeviceptr(buffer.pointer) for buffer in setup.buffers[:2])
    stream = driver.CUstream(setup.stream.handle)
    return _repeat(lambda: driver.cuMemcpyDtoDAsync(to, source, 256, stream))


def copy_cupy(setup: Setup) -> Batch:
    """`memcpyAsync` of CuPy."""
    runtime = _module("cupy_backends.cuda.api.runtime")
    to, source = (buffer.pointer for buffer in setup.buffers[:2])
    stream = setup.stream.handle
    return _repeat(lambda: runtime.memcpyAsync(to, source, 256, 3, stream))


def copy_c(setup: Setup) -> Batch:
    """`cuMemcpyDtoDAsync` in C."""
    from gocudnn_py import driver

    to, source = (ctypes.c_ulonglong(buffer.pointer) for buffer in setup.buffers[:2])
    call = _address(driver.library().cuMemcpyDtoDAsync_v2)
    return setup.loop("copy", call, to, source, ctypes.c_ulong(256), setup.stream.cell)


def allocation_ours(setup: Setup) -> Batch:
    """`DeviceBuffer(...)` and `close()`."""
    from gocudnn_py.cuda import DeviceBuffer

    stream = setup.stream
    return _repeat(lambda: DeviceBuffer(stream, 1024).close())


def allocation_core(setup: Setup) -> Batch:
    """`Device.allocate` of cuda.core, and `close()`."""
    device, stream = setup.device.core, setup.stream.core
    return _repeat(lambda: device.allocate(1024, stream=stream).close(stream))


def event_ours(setup: Setup) -> Batch:
    """`Event.record`."""
    from gocudnn_py.cuda import Event

    event, stream = Event(setup.device), setup.stream
    return _repeat(lambda: event.record(stream))


def event_core(setup: Setup) -> Batch:
    """`Stream.record` of cuda.core."""
    stream = setup.stream.core
    event = stream.record()
    return _repeat(lambda: stream.record(event))


def event_bindings(setup: Setup) -> Batch:
    """`cuEventRecord` of cuda.bindings."""
    from cuda.bindings import driver

    _, event = driver.cuEventCreate(2)
    stream = driver.CUstream(setup.stream.handle)
    return _repeat(lambda: driver.cuEventRecord(event, stream))


CLASSES: dict[str, dict[str, Callable[[Setup], Batch]]] = {
    "cuDNN graph": {"gocudnn_py": graph_ours, "cudnn-frontend": graph_frontend, "C": graph_c},
    "cuBLAS gemm": {
        "gocudnn_py, bound": gemm_bound,
        "gocudnn_py": gemm_ours,
        "nvmath-python": gemm_nvmath,
        "CuPy": gemm_cupy,
        "C": gemm_c,
    },
    "cuDNN pooling": {"gocudnn_py": pooling_ours, "C": pooling_c},
    "copy on the card": {
        "gocudnn_py": copy_ours,
        "cuda.core": copy_core,
        "cuda.bindings": copy_bindings,
        "CuPy": copy_cupy,
        "C": copy_c,
    },
    "allocate and free": {"gocudnn_py": allocation_ours, "cuda.core": allocation_core},
    "record an event": {"gocudnn_py": event_ours, "cuda.core": event_core, "cuda.bindings": event_bindings},
}
"""Each class of call, and what makes a batch of it by each peer."""


def _repeat(once: Callable[[], object]) -> Batch:
    def batch() -> None:
        for _ in range(CALLS):
            once()

    return batch


def measure(made: dict[str, Batch], wait: Batch) -> dict[str, float]:
    """Microseconds a call, the median of the batches after a few to warm up; the peers take turns."""
    times: dict[str, list[float]] = {peer: [] for peer in made}
    for _ in range(BATCHES):
        for peer, batch in made.items():
            started = time.perf_counter()
            batch()
            times[peer].append(time.perf_counter() - started)
            wait()
    return {peer: 1e6 * statistics.median(found[WARM_UP:]) / CALLS for peer, found in times.items()}


def main() -> None:
    """Print a row for each class and peer as JSON."""
    setup, rows = Setup(), []
    for kind, peers in CLASSES.items():
        made, absent = {}, {}
        for peer, make in peers.items():
            try:
                made[peer] = make(setup)
            except ImportError as error:
                absent[peer] = str(error)
        found = measure(made, setup.stream.synchronize)
        for peer in peers:
            rows.append({"kind": kind, "peer": peer, "microseconds": found.get(peer), "note": absent.get(peer, "")})
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
