"""A CUDA graph of a cuDNN sequence: pooling, activation and softmax recorded once, replayed with one launch."""

import time

import numpy as np

from gocudnn_py.cuda import Device, DeviceBuffer, capture
from gocudnn_py.cudnn import (
    ActivationDescriptor,
    ActivationMode,
    Handle,
    PoolingDescriptor,
    PoolingMode,
    TensorDescriptor,
    softmax_forward,
)

device = Device()
stream = device.stream()
handle = Handle(device.ordinal, stream)
pool = PoolingDescriptor().set(PoolingMode.MAX_DETERMINISTIC, window=(2, 2))
relu = ActivationDescriptor().set(ActivationMode.RELU)
big, small = (TensorDescriptor().set(np.float32, (4, 8, size, size)) for size in (16, 8))
x, y, z = (kind.at(DeviceBuffer(stream, kind.size_in_bytes, zeroed=True)) for kind in (big, small, small))


def sequence():
    pool.forward(handle, x, y)
    relu.forward(handle, y, y)
    softmax_forward(handle, y, z)


def record(captured):
    handle.use(captured)
    sequence()


def microseconds(work, times=200):
    stream.synchronize()
    started = time.perf_counter()
    for _ in range(times):
        work()
    stream.synchronize()
    return 1e6 * (time.perf_counter() - started) / times


sequence()  # libraries load and choose at the first call, which a capture forbids
recorded = capture(stream, record, [handle, pool, relu, x.place, y.place, z.place])
handle.use(stream)

x.place.upload(np.random.default_rng(0).standard_normal((4, 8, 16, 16)).astype(np.float32))
sequence()
right = z.place.download(np.empty((4, 8, 8, 8), np.float32))
z.place.fill(0)
recorded.launch(stream)
np.testing.assert_array_equal(z.place.download(np.empty_like(right)), right)
called, replayed = microseconds(sequence), microseconds(lambda: recorded.launch(stream))
print(f"{recorded.nodes} nodes: {called:.1f} us called, {replayed:.1f} us replayed")
