"""Memory and events shared with another process, which a program here stands for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from gocudnn_py.cuda import DeviceBuffer, Event, Pool, share
from gocudnn_py.errors import CudaError

if TYPE_CHECKING:
    from gocunets.backends.cudnn import CudaBackend

ROOT = Path(__file__).parents[2]
NOT_PERMITTED, NOT_SUPPORTED = 800, 801  # CUDA_ERROR_: some containers do not let processes share
BEGIN = """
import sys
import numpy as np
from gocudnn_py.cuda import *
device = Device({ordinal})
stream = device.stream()
"""
OPEN = """
shared = SharedMemory(bytes.fromhex(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
event = Event.open(device, bytes.fromhex(sys.argv[4]))
event.hold(stream)
with open_shared(stream, shared) as buffer:
    values = buffer.download(np.empty(buffer.nbytes // 4, np.float32))
    buffer.upload(values[::-1].copy())
print(values.sum())
"""
OPEN_POOL = """
pool = Pool.open(device, int(sys.argv[1]))
buffer = pool.adopt(stream, bytes.fromhex(sys.argv[2]), int(sys.argv[3]))
values = buffer.download(np.empty(buffer.nbytes // 4, np.float32))
buffer.upload(values[::-1].copy())
buffer.close()
stream.synchronize()
pool.close()
print(values.sum())
"""


def _run(backend: CudaBackend, program: str, *arguments: object, descriptors: tuple[int, ...] = ()) -> str:
    begin = BEGIN.format(ordinal=backend.device.ordinal)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", begin + program, *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        pass_fds=descriptors,
    )
    if any(f"({status})" in done.stderr for status in (NOT_PERMITTED, NOT_SUPPORTED)):
        pytest.skip(f"the other process may not: {done.stderr.splitlines()[-1]}")
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


def _or_skip(error: CudaError) -> None:
    if error.status in (NOT_PERMITTED, NOT_SUPPORTED):
        pytest.skip(str(error))
    raise error


def test_another_process_opens_plain_memory(backend: CudaBackend) -> None:
    values = np.arange(1000, dtype=np.float32)
    buffer = DeviceBuffer.plain(backend.stream, 64 + values.nbytes)
    part, event = buffer.view(64), Event(backend.device, shared=True)
    part.upload(values)
    event.record(backend.stream)
    try:
        shared, handle = share(part), event.ipc_handle()
    except CudaError as error:
        _or_skip(error)
    assert (shared.offset, shared.nbytes) == (64, values.nbytes)
    told = _run(backend, OPEN, shared.handle.hex(), shared.offset, shared.nbytes, handle.hex())
    assert float(told) == values.sum()
    assert (part.download(np.empty_like(values)) == values[::-1]).all()


def test_memory_that_this_process_shares_is_not_opened_here(backend: CudaBackend) -> None:
    from gocudnn_py.cuda import open_shared

    buffer = DeviceBuffer.plain(backend.stream, 64)
    try:
        shared = share(buffer)
    except CudaError as error:
        _or_skip(error)
    with pytest.raises(CudaError, match="cuIpcOpenMemHandle"):
        open_shared(backend.stream, shared)


def test_another_process_opens_a_pool(backend: CudaBackend) -> None:
    if not backend.device.attribute("MEMPOOL_SUPPORTED_HANDLE_TYPES") & 1:
        pytest.skip(f"{backend.device} has no pools that can be shared")
    values = np.arange(1000, dtype=np.float32)
    try:
        pool = Pool(backend.device, shared=True)
        descriptor = pool.export()
    except CudaError as error:
        _or_skip(error)
    buffer = DeviceBuffer(backend.stream, values.nbytes, pool=pool)
    buffer.upload(values)
    try:
        exported = pool.share(buffer)
        told = _run(backend, OPEN_POOL, descriptor, exported.hex(), values.nbytes, descriptors=(descriptor,))
    finally:
        os.close(descriptor)
    assert float(told) == values.sum()
    assert (buffer.download(np.empty_like(values)) == values[::-1]).all()
    buffer.close()
    pool.close()
