"""What a long-lived program relies on: nothing leaks, threads agree, lost contexts and full cards are told once."""

from __future__ import annotations

import gc
import os
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from gocudnn_py.cuda import DeviceBuffer, Event, ManagedBuffer, Module, Scalar
from gocudnn_py.errors import OutOfMemory, UnusableResource
from gocunets import Network, OutOfDeviceMemory, nn, optim, zoo
from tests.gpu.test_networks import LABELS, X

if TYPE_CHECKING:
    from gocunets.backends.cudnn import CudaBackend

ROOT = Path(__file__).parents[2]


def _train_one(backend: CudaBackend) -> None:
    network = Network(zoo.thesis_network(), (1, 28, 28)).compile(optimizer=optim.Adam(), device=backend)
    for _ in range(3):
        network.step(X[:20], LABELS[:20])


def _held(backend: CudaBackend) -> tuple[int, int, int]:
    """Bytes in use of the pool, bytes free on the card, open files."""
    gc.collect()
    backend.synchronize()  # gives back what finalizers left behind
    backend.synchronize()  # and waits for that
    pool = backend.device.core.memory_resource
    used = int(pool.attributes.used_mem_current)
    return used, backend.device.memory_info()[0], len(os.listdir("/proc/self/fd"))


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def test_networks_that_are_dropped_leave_nothing(backend: CudaBackend) -> None:
    for _ in range(20):
        _train_one(backend)
    used, free, files = _held(backend)
    sizes = []
    for _ in range(10):
        for _ in range(50):
            _train_one(backend)
        gc.collect()
        sizes.append(_resident_bytes())
    used_after, free_after, files_after = _held(backend)
    assert used_after == used
    if "PYTEST_XDIST_WORKER" not in os.environ:  # the others take and give memory of the card meanwhile
        assert abs(free_after - free) < 32 * 2**20
    assert files_after == files
    slope = np.polyfit(50 * np.arange(10), sizes, 1)[0]
    assert slope < 1024, f"{slope:.0f} bytes of the host for each network: {sizes}"


def test_eight_threads_agree_with_one(backend: CudaBackend) -> None:
    from gocunets.backends.cudnn import CudaBackend

    def train(results: list[dict[str, np.ndarray]]) -> None:
        network = Network(zoo.thesis_network(), (1, 28, 28), seed=2)
        network.compile(optimizer=optim.Adam(), device=CudaBackend())
        network.fit((X, LABELS), epochs=2, batch=30)
        results.append(network.weights)

    alone: list[dict[str, np.ndarray]] = []
    train(alone)
    together: list[dict[str, np.ndarray]] = []
    threads = [threading.Thread(target=train, args=(together,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(together) == 8
    for weights in together:
        assert all((weights[name] == w).all() for name, w in alone[0].items())


def test_a_network_serves_another_thread(backend: CudaBackend) -> None:
    network = Network(zoo.thesis_network(), (1, 28, 28)).compile(optimizer=optim.Adam(), device=backend)
    losses: list[float] = []

    def steps() -> None:
        for _ in range(3):
            losses.append(network.step(X[:20], LABELS[:20]))
        network.fit((X[:100], LABELS[:100]), batch=20)

    thread = threading.Thread(target=steps)
    thread.start()
    thread.join()
    assert len(losses) == 3
    assert losses[2] < losses[0]
    assert network.step(X[:20], LABELS[:20]) < losses[2]


def test_more_memory_than_there_is(backend: CudaBackend) -> None:
    with pytest.raises(OutOfMemory, match=r"bytes of GPU memory were asked for; .* are free"):
        DeviceBuffer(backend.stream, 2**42)
    network = Network(nn.Conv(64, 3, padding=1), (64, 256, 256)).compile(device=backend)
    program = network.compiled.program
    with pytest.raises(OutOfDeviceMemory, match="a batch of about") as caught:
        program("module", 2**22)
    assert 0 < (caught.value.fits or 0) < 2**22
    assert np.isfinite(network.inference(np.ones((2, 64, 256, 256), np.float32))).all()


def test_events_measure_time(backend: CudaBackend) -> None:
    start, stop = (Event(backend.device, timing=True) for _ in range(2))
    start.record(backend.stream)
    buffer = DeviceBuffer(backend.stream, 2**28, zeroed=True)
    stop.record(backend.stream)
    assert 0 < stop.milliseconds_since(start) < 1000
    buffer.close()


def test_managed_memory_is_seen_by_both(backend: CudaBackend) -> None:
    with ManagedBuffer(backend.device, 1024) as buffer:
        buffer.array[:] = 3
        source = 'extern "C" __global__ void twice(unsigned char* x) { x[threadIdx.x] *= 2; }'
        launch = Module(backend.device, source).kernel("twice", [Scalar.pointer]).bind([1], [1024], [buffer.pointer])
        launch(backend.stream)
        backend.synchronize()
        assert (buffer.array == 6).all()


def test_closed_memory_is_refused_by_name(backend: CudaBackend) -> None:
    buffer = DeviceBuffer(backend.stream, 16)
    buffer.close()
    source = 'extern "C" __global__ void nothing(unsigned char* x) {}'
    kernel = Module(backend.device, source).kernel("nothing", [Scalar.pointer])
    with pytest.raises(UnusableResource, match="is closed"):
        kernel.bind([1], [1], [buffer])


def _run(program: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False, timeout=120
    )


def test_the_end_of_the_interpreter_is_silent(backend: CudaBackend) -> None:
    done = _run("""
import numpy as np
from gocunets import Network, zoo
network = Network(zoo.thesis_network(), (1, 28, 28)).compile(device="cuda")
for _ in range(3):
    network.step(np.zeros((4, 1, 28, 28), np.float32), np.zeros(4, np.int64))
from gocudnn_py.cudnn import Handle
handle = Handle()
""")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_lost_context_is_told_once(backend: CudaBackend) -> None:
    done = _run("""
from gocudnn_py.cuda import Device, DeviceBuffer, Module, Scalar
from gocudnn_py.errors import CudaError
device = Device()
stream = device.stream()
buffers = [DeviceBuffer(stream, 1024) for _ in range(10)]
source = 'extern "C" __global__ void bad(int* x) { *x = 1; }'
Module(device, source).kernel("bad", [Scalar.pointer]).bind([1], [1], [16])(stream)
try:
    buffers[0].download(__import__("numpy").empty(1024, "u1"))
except Exception as error:
    print(error)
""")
    assert done.returncode == 0, done.stderr
    assert "ILLEGAL_ADDRESS" in done.stdout.upper()
    assert done.stderr == ""


@pytest.mark.parametrize("tool", ["memcheck", "racecheck"])
def test_a_sanitizer_finds_nothing_in_a_training(tool: str, backend: CudaBackend, tmp_path: Path) -> None:
    sanitizer = shutil.which("compute-sanitizer")
    if sanitizer is None:
        pytest.skip("compute-sanitizer is not on the path")
    # Calls that fail by design are no errors: cuda.core asks for parameters until there is none, and for symbols.
    options = ["--tool", tool, "--report-api-errors", "no", "--error-exitcode", "9"]
    training = ["-m", "gocunets", "train", "--data", "digits", "--device", "cuda", "--epochs", "1", "--batch", "100"]
    done = subprocess.run(
        [sanitizer, *options, sys.executable, *training, "--out", str(tmp_path / "run")],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"ERROR SUMMARY: 0 errors|0 hazards", done.stdout + done.stderr)


def test_what_a_fork_inherits_is_refused(backend: CudaBackend) -> None:
    done = _run("""
import os
from gocudnn_py.cuda import Device, DeviceBuffer
from gocudnn_py.errors import UnusableResource
device = Device()
buffer = DeviceBuffer(device.stream(), 16)
child = os.fork()
if not child:
    try:
        buffer.pointer
    except UnusableResource as error:
        print(error, flush=True)
    os._exit(0)
os.waitpid(child, 0)
""")
    assert "before a fork" in done.stdout
    assert "spawn" in done.stdout
