"""The fastest algorithm of a product, by measurement, kept on disk for other processes."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

from gocudnn_py import disk, driver
from gocudnn_py.cublaslt.algorithm import Algorithm
from gocudnn_py.cublaslt.matmul import Matmul
from gocudnn_py.cuda import DeviceBuffer, Event, Stream
from gocudnn_py.errors import CublasError
from gocudnn_py.matrix import nbytes

FORMAT = "1"
ROUNDS, REPEATS = 5, 4


def tune(matmul: Matmul, stream: Stream, *, most: int = 16, folder: Path | None = None) -> Algorithm:
    """Have a product run by the fastest of up to `most` algorithms, or by the kept choice, and keep the choice.

    Measuring (cublasLtMatmul) reads a and b and writes scratch memory in place of c, but writes aux, bias_gradient
    and amax where they are. `folder` holds the choices, the user's cache unless given. An algorithm that fails to run
    is passed over. Raises CublasError when none runs, ValueError within a capture.
    """
    if getattr(stream, "capturing", False):
        raise ValueError("tune: nothing runs within a capture, so nothing can be measured")
    path = (folder or disk.cache_folder("matmuls")) / f"{key(matmul)}.algorithm"
    chosen = _restore(matmul, path)
    if chosen is None:
        chosen = _fastest(matmul, stream, most)
        disk.write(path, json.dumps({"algorithm": bytes(chosen).hex()}).encode())
    matmul.use(chosen)
    return matmul.algorithm


def key(matmul: Matmul) -> str:
    """What a kept choice is good for: this product, cuBLASLt, and kind of GPU."""
    gpu, version = matmul.handle.gpu, matmul.handle.lib.version
    workspace = matmul.workspace.pair[1]
    return disk.key(FORMAT, matmul.problem.key(), workspace, version, gpu.name, gpu.capability, driver.version())


def _restore(matmul: Matmul, path: Path) -> Algorithm | None:
    """The algorithm that a file holds; None when there is none, or it is corrupt or cannot run here."""
    content = disk.read(path)
    if content is None:
        return None
    try:
        return matmul.check(Algorithm.from_bytes(bytes.fromhex(json.loads(content)["algorithm"])))
    except (CublasError, ValueError, KeyError, TypeError):
        return None


def _fastest(matmul: Matmul, stream: Stream, most: int) -> Algorithm:
    timed: list[tuple[float, int, Algorithm]] = []
    failures: list[CublasError] = []
    with _Scratch(matmul, stream) as scratch:
        for number, algorithm in enumerate(matmul.candidates(most)):
            try:
                timed.append((scratch.milliseconds(algorithm), number, algorithm))
            except CublasError as error:
                failures.append(error)
    if not timed:
        raise failures[0]
    return min(timed)[2]


class _Scratch:
    """Memory in place of a product's result, and the time of a run into it."""

    def __init__(self, matmul: Matmul, stream: Stream) -> None:
        problem = matmul.problem
        elements = problem.c.rows * problem.c.pitch + (problem.batch - 1) * problem.strides[2]
        self._matmul, self._stream = matmul, stream
        self._c = DeviceBuffer(stream, nbytes(problem.c.code, elements), zeroed=True)
        own = problem.addend.address == problem.c.address
        self._addend = self._c.pointer if own else problem.addend.address

    def milliseconds(self, algorithm: Algorithm) -> float:
        """A run's time, the median after a warm-up. Raises CublasError when it does not run."""
        self._run(algorithm)
        times = [self._time(algorithm) for _ in range(ROUNDS)]
        return statistics.median(times)

    def _time(self, algorithm: Algorithm) -> float:
        start, stop = (Event(self._stream.device, timing=True) for _ in range(2))
        start.record(self._stream)
        for _ in range(REPEATS):
            self._run(algorithm)
        stop.record(self._stream)
        return stop.milliseconds_since(start) / REPEATS

    def _run(self, algorithm: Algorithm) -> None:
        self._matmul.launch(self._stream, algorithm, self._addend, self._c.pointer)

    def __enter__(self) -> _Scratch:
        return self

    def __exit__(self, *_: Any) -> None:
        self._stream.synchronize()
        self._c.close()
