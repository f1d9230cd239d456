"""What a launch costs the host, ours and others': `python -m gocudnn_py.bench.launch` prints rows as JSON."""

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

SOURCE = 'extern "C" __global__ void nothing(float* x, float a, int n) { if (n < 0) x[0] = a; }'
LAUNCHES, BATCHES = 400, 60  # few enough that the driver's queue never fills, which would be waiting, not launching
LOOP = """
typedef unsigned int U;
typedef int (*Launch)(void*, U, U, U, U, U, U, U, void*, void**, void**);
int loop(Launch launch, void* function, void* stream, void** parameters, int count)
{
    int status = 0;
    for (int i = 0; i < count && !status; ++i)
        status = launch(function, 1, 1, 1, 32, 1, 1, 0, stream, parameters, 0);
    return status;
}
"""
Batch = Callable[[], object]


def batches() -> dict[str, Callable[[Any], Batch]]:
    """Each peer's name, and what makes its batch of launches from the common set-up."""
    return {
        "gocudnn_py, bound": _bound,
        "gocudnn_py, unbound": _unbound,
        "cuda.core": _core,
        "cuda.bindings": _bindings,
        "CuPy": _cupy,
        "C": _c,
    }


class Setup:
    """A card, a stream, a buffer and the kernel."""

    def __init__(self) -> None:
        from gocudnn_py.cuda import Device, DeviceBuffer, Module, Scalar

        self.device = Device()
        self.stream = self.device.stream()
        self.buffer = DeviceBuffer(self.stream, 256, zeroed=True)
        self.kernel = Module(self.device, SOURCE).kernel("nothing", [Scalar.pointer, Scalar.float32, Scalar.int32])


def _repeat(once: Batch) -> Batch:
    def batch() -> None:
        for _ in range(LAUNCHES):
            once()

    return batch


def _bound(setup: Setup) -> Batch:
    launch, stream = setup.kernel.bind([1], [32], [setup.buffer, 1.0, 1]), setup.stream

    def batch() -> None:
        for _ in range(LAUNCHES):
            launch(stream)

    return batch


def _unbound(setup: Setup) -> Batch:
    return _repeat(lambda: setup.kernel.launch(setup.stream, [1], [32], [setup.buffer, 1.0, 1]))


def _core(setup: Setup) -> Batch:
    from cuda.core import LaunchConfig, launch

    config, kernel, stream = LaunchConfig(grid=1, block=32), setup.kernel._core, setup.stream.core
    one, count, buffer = np.float32(1), np.int32(1), setup.buffer.core()
    return _repeat(lambda: launch(stream, config, kernel, buffer, one, count))


def _bindings(setup: Setup) -> Batch:
    from cuda.bindings import driver

    function = driver.CUfunction(setup.kernel.function)
    stream = driver.CUstream(setup.stream.handle)
    values = (setup.buffer.pointer, 1.0, 1), (ctypes.c_void_p, ctypes.c_float, ctypes.c_int)
    return _repeat(lambda: driver.cuLaunchKernel(function, 1, 1, 1, 32, 1, 1, 0, stream, values, 0))


def _cupy(setup: Setup) -> Batch:
    try:
        cupy: Any = import_module("cupy")
    except ImportError:
        raise ImportError("not installed") from None

    kernel, x = cupy.RawKernel(SOURCE, "nothing"), cupy.zeros(64, np.float32)
    one, count = np.float32(1), np.int32(1)

    def batch() -> None:
        with cupy.cuda.ExternalStream(setup.stream.handle):
            for _ in range(LAUNCHES):
                kernel((1,), (32,), (x, one, count))

    return batch


def _c(setup: Setup) -> Batch:
    from gocudnn_py import driver

    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise ImportError("no C compiler")
    folder = Path(tempfile.mkdtemp())
    command = [compiler, "-O2", "-shared", "-fPIC", "-x", "c", "-", "-o", str(folder / "loop.so")]
    subprocess.run(command, input=LOOP, text=True, check=True)
    loop = ctypes.CDLL(str(folder / "loop.so")).loop
    shutil.rmtree(folder, ignore_errors=True)
    launch = setup.kernel.bind([1], [32], [setup.buffer, 1.0, 1])
    address = ctypes.cast(driver.library().cuLaunchKernel, ctypes.c_void_p)
    arguments = address, ctypes.c_void_p(setup.kernel.function), setup.stream.cell, launch._parameters

    def batch() -> None:
        status = loop(*arguments, LAUNCHES)
        if status:
            driver.fail("cuLaunchKernel", status)

    return batch


def measure(made: dict[str, Batch], wait: Batch) -> dict[str, float]:
    """Microseconds a launch, the median of the batches after a few to warm up; the peers take turns."""
    times: dict[str, list[float]] = {peer: [] for peer in made}
    for _ in range(BATCHES):
        for peer, batch in made.items():
            started = time.perf_counter()
            batch()
            times[peer].append(time.perf_counter() - started)
            wait()
    return {peer: 1e6 * statistics.median(found[10:]) / LAUNCHES for peer, found in times.items()}


def main() -> None:
    """Print a row for each peer as JSON."""
    setup, made, absent = Setup(), {}, {}
    for peer, make in batches().items():
        try:
            made[peer] = make(setup)
        except ImportError as error:
            absent[peer] = str(error)
    found = measure(made, setup.stream.synchronize)
    rows = [{"peer": peer, "microseconds": found.get(peer), "note": absent.get(peer, "")} for peer in batches()]
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
