"""Kernels on a card: templates, structures, variables, linking, occupancy, clusters, cooperation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from gocudnn_py import driver
from gocudnn_py.cuda import DeviceBuffer, Module, Scalar, compile_source, link
from gocudnn_py.cuda.linking import linker_version
from gocudnn_py.cuda.program import compiler_version
from gocudnn_py.errors import CudaError, LibraryNotFound
from tests.gpu.test_cuda import SAXPY, SIGNATURE, _floats

if TYPE_CHECKING:
    from gocunets.backends.cudnn import CudaBackend

SOURCE = """
#include "factor.h"
namespace place { __constant__ float table[4]; }
__device__ int counter = 5;
struct Pair { signed char flag; double value; int count; };
template <class T> __global__ void scale(T* x, int n)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) x[i] *= T(FACTOR) * T(place::table[2]);
}
extern "C" __global__ void spread(Pair pair, double* out)
{
    out[0] = pair.flag;
    out[1] = pair.value;
    out[2] = pair.count;
}
extern "C" __global__ void more() { atomicAdd(&counter, 1); }
"""
TOGETHER = """
extern "C" __global__ void together(volatile int* arrived, int* seen)
{
    if (threadIdx.x == 0) {
        atomicAdd((int*)arrived, 1);
        while (*arrived < (int)gridDim.x) {}
        seen[blockIdx.x] = *arrived;
    }
}
"""
CLUSTER = """
extern "C" __global__ void rank(unsigned* ranks, unsigned* sizes)
{
    unsigned rank, size;
    asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
    asm("mov.u32 %0, %%cluster_nctarank;" : "=r"(size));
    ranks[blockIdx.x] = rank;
    sizes[blockIdx.x] = size;
}
"""
SHARED = """
extern "C" __global__ void reverse(int* x, int n)
{
    extern __shared__ int kept[];
    for (int i = threadIdx.x; i < n; i += blockDim.x) kept[i] = x[i];
    __syncthreads();
    for (int i = threadIdx.x; i < n; i += blockDim.x) x[i] = kept[n - 1 - i];
}
"""
PAIR = np.dtype([("flag", "i1"), ("value", "f8"), ("count", "i4")], align=True)
NAMES = ["scale<float>", "scale<double>", "&place::table"]


@pytest.fixture(scope="module")
def module(backend: CudaBackend) -> Module:
    return Module(backend.device, SOURCE, headers={"factor.h": "#define FACTOR 3\n"}, names=NAMES)


@pytest.mark.parametrize("name", ["float", "double"])
def test_templates_and_constant_memory(name: str, backend: CudaBackend, module: Module) -> None:
    dtype = {"float": np.float32, "double": np.float64}[name]
    table = module.variable("&place::table", backend.stream)
    assert table.nbytes == 16
    table.upload(np.array([0, 0, 2, 0], np.float32))
    values = np.arange(100, dtype=dtype)
    buffer = DeviceBuffer(backend.stream, values.nbytes)
    buffer.upload(values)
    module.kernel(f"scale<{name}>", [Scalar.pointer, Scalar.int32]).launch(backend.stream, [1], [128], [buffer, 100])
    assert (buffer.download(np.empty_like(values)) == 6 * values).all()


def test_global_variables(backend: CudaBackend, module: Module) -> None:
    counter = module.variable("counter", backend.stream)
    value = np.zeros(1, np.int32)
    counter.upload(np.array([5], np.int32))
    module.kernel("more", []).launch(backend.stream, [3], [32], [])
    assert counter.download(value) == 5 + 96
    with pytest.raises(CudaError, match="cuLibraryGetGlobal"):
        module.variable("nothing", backend.stream)


def test_structures_by_value(backend: CudaBackend, module: Module) -> None:
    value, out = np.zeros((), PAIR), DeviceBuffer(backend.stream, 24)
    value["flag"], value["value"], value["count"] = -3, 2.5, 70000
    kernel = module.kernel("spread", [PAIR, Scalar.pointer])
    launch = kernel.bind([1], [1], [value, out])
    launch(backend.stream)
    assert (out.download(np.empty(3)) == [-3, 2.5, 70000]).all()
    value["count"] = 9
    launch.patch(0, value)
    launch(backend.stream)
    assert (out.download(np.empty(3)) == [-3, 2.5, 9]).all()
    with pytest.raises(ValueError, match=r"takes parameters of \[24, 8\] bytes, declared are \[21, 8\]"):
        module.kernel("spread", [np.dtype([("bytes", "u1", 21)]), Scalar.pointer])


def test_what_a_kernel_takes(backend: CudaBackend) -> None:
    kernel = Module(backend.device, SAXPY).kernel("saxpy", SIGNATURE)
    found = kernel.attributes
    assert 0 < found.registers <= 255
    assert (found.local, found.shared) == (0, 0)
    assert 32 <= found.max_threads <= backend.device.attribute("MAX_THREADS_PER_BLOCK")
    block, grid = kernel.suggested_block()
    assert block % 32 == 0
    assert grid >= backend.device.multiprocessors
    assert kernel.suggested_block(limit=64)[0] <= 64
    threads = backend.device.attribute("MAX_THREADS_PER_MULTIPROCESSOR")
    assert 1 <= kernel.blocks_per_multiprocessor(256) <= threads // 256
    assert kernel.blocks_per_multiprocessor(256, backend.device.shared_memory // 2) <= 4
    assert 0 < kernel.free_shared(2, 256) <= backend.device.attribute("MAX_SHARED_MEMORY_PER_MULTIPROCESSOR")
    kernel.prefer_cache("PREFER_L1")


def test_more_shared_memory_than_usual(backend: CudaBackend) -> None:
    count = backend.device.shared_memory // 4
    values = np.arange(count, dtype=np.int32)
    buffer = DeviceBuffer(backend.stream, values.nbytes)
    buffer.upload(values)
    kernel = Module(backend.device, SHARED).kernel("reverse", [Scalar.pointer, Scalar.int32])
    kernel.launch(backend.stream, [1], [512], [buffer, count], shared=4 * count)
    assert (buffer.download(np.empty_like(values)) == values[::-1]).all()
    assert kernel.attributes.max_dynamic_shared == 4 * count


def test_blocks_that_wait_for_one_another(backend: CudaBackend) -> None:
    kernel = Module(backend.device, TOGETHER).kernel("together", [Scalar.pointer, Scalar.pointer])
    blocks = kernel.blocks_per_multiprocessor(64) * backend.device.multiprocessors
    arrived, seen = (DeviceBuffer(backend.stream, 4 * n, zeroed=True) for n in (1, blocks))
    kernel.bind([blocks], [64], [arrived, seen], cooperative=True)(backend.stream)
    assert (seen.download(np.zeros(blocks, np.int32)) == blocks).all()
    with pytest.raises(ValueError, match=f"{blocks + 1} blocks launched together, {blocks} fit"):
        kernel.bind([blocks + 1], [64], [arrived, seen], cooperative=True)


def test_clusters_of_blocks(backend: CudaBackend) -> None:
    if backend.device.capability < (9, 0):
        pytest.skip(f"{backend.device} has no clusters")
    kernel = Module(backend.device, CLUSTER).kernel("rank", [Scalar.pointer, Scalar.pointer])
    ranks, sizes = (DeviceBuffer(backend.stream, 32, zeroed=True) for _ in range(2))
    kernel.bind([8], [32], [ranks, sizes], cluster=[4])(backend.stream)
    assert (ranks.download(np.zeros(8, np.uint32)) == [0, 1, 2, 3, 0, 1, 2, 3]).all()
    assert (sizes.download(np.zeros(8, np.uint32)) == 4).all()


@pytest.mark.parametrize("kind", ["cubin", "ltoir"])
def test_linked_code_runs(kind: str, backend: CudaBackend) -> None:
    try:
        linker = linker_version()
    except LibraryNotFound as error:
        pytest.skip(str(error).splitlines()[0])
    if linker < compiler_version():
        pytest.skip("this nvJitLink is older than the compiler, whose code it cannot read")
    caller = """
    extern __device__ float f(float);
    extern "C" __global__ void g(float* x) { x[threadIdx.x] = f(x[threadIdx.x]); }
    """
    sources = caller, "__device__ float f(float x) { return 2 * x + 1; }"
    architecture, options = backend.device.architecture, ["--relocatable-device-code=true"]
    codes = [compile_source(source, architecture, kind, options=options) for source in sources]  # type: ignore[arg-type]
    kernel = Module.of(backend.device, link(codes, architecture)).kernel("g", [Scalar.pointer])
    values = np.arange(64, dtype=np.float32)
    x = _floats(backend, values)
    kernel.launch(backend.stream, [1], [64], [x])
    assert (x.download(np.empty_like(values)) == 2 * values + 1).all()


def test_ptx_is_compiled_by_the_driver(backend: CudaBackend) -> None:
    if tuple(compiler_version()) > driver.version():
        pytest.skip(f"the driver for CUDA {driver.version()} reads no PTX of NVRTC {compiler_version()}")
    code = compile_source(SAXPY, backend.device.architecture, "ptx")
    values = np.arange(100, dtype=np.float32)
    x, y = _floats(backend, values), _floats(backend, values)
    kernel = Module.of(backend.device, code).kernel("saxpy", SIGNATURE)
    kernel.launch(backend.stream, [1], [128], [2.0, x, y, 100])
    assert (y.download(np.empty_like(values)) == 3 * values).all()


def test_launches_on_a_thread_without_a_context(backend: CudaBackend) -> None:
    import threading

    values = np.arange(100, dtype=np.float32)
    x, y = _floats(backend, values), _floats(backend, values)
    module = Module(backend.device, SAXPY)
    results: list[np.ndarray] = []

    launch = module.kernel("saxpy", SIGNATURE).bind([1], [128], [1.0, x, y, 100])
    launch(backend.stream)

    def work() -> None:
        launch(backend.stream)
        kernel = module.kernel("saxpy", SIGNATURE)
        kernel.launch(backend.stream, [1], [128], [1.0, x, y, 100])
        results.append(y.download(np.empty_like(values)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert (results[0] == 4 * values).all()
