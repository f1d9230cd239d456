"""Workers on a card: a thread each, with its GPU, stream and handles."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import pytest

from gocudnn_py.cuda import DeviceBuffer, Module, Scalar, Worker
from gocudnn_py.errors import NoDevice, OutOfMemory
from tests.gpu.test_cuda_device import CYCLES, SLOW

if TYPE_CHECKING:
    from gocunets.backends.cudnn import CudaBackend


def test_callers_have_their_own_results(backend: CudaBackend) -> None:
    with Worker(backend.device.ordinal) as worker, ThreadPoolExecutor(8) as callers:

        def filled(byte: int) -> int:
            with DeviceBuffer(worker.stream, 1000) as buffer:
                buffer.fill(byte)
                return int(buffer.download(np.empty(1000, np.uint8)).sum())

        results = callers.map(lambda byte: worker.run(filled, byte), range(200))
        assert list(results) == [1000 * byte for byte in range(200)]


def test_exceptions_are_carried(backend: CudaBackend) -> None:
    with Worker(backend.device.ordinal) as worker:
        future = worker.submit(DeviceBuffer, worker.stream, 2**45)
        assert isinstance(future.exception(), OutOfMemory)
        assert worker.run(lambda: worker.device.name) == backend.device.name
    with pytest.raises(NoDevice, match="there is no GPU 99"):
        Worker(99)


def test_close_waits_for_the_stream(backend: CudaBackend) -> None:
    buffer = DeviceBuffer.plain(backend.stream, 4, zeroed=True)
    backend.synchronize()
    worker = Worker(backend.device.ordinal)

    def work() -> None:
        kernel = Module(worker.device, SLOW).kernel("slow", [Scalar.pointer, Scalar.int64, Scalar.int32])
        kernel.launch(worker.stream, [1], [1], [buffer, CYCLES, 5])

    before = threading.active_count()
    worker.submit(work)
    worker.close()
    assert worker.stream.done
    assert threading.active_count() == before - 1
    assert buffer.download(np.zeros(1, np.int32)) == 5


def test_handles_of_its_own(backend: CudaBackend) -> None:
    with Worker(backend.device.ordinal) as worker:
        assert worker.cudnn.stream == worker.stream.handle
        assert worker.cublas is worker.cublas
        handles = worker.cudnn, worker.cublas
    assert all(handle.closed for handle in handles)
