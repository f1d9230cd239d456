"""Two streams: a copy and a kernel run side by side, an event orders what depends on both."""

import numpy as np

from gocudnn_py.cuda import Device, DeviceBuffer, Event, Module, Scalar

SOURCE = """
extern "C" __global__ void add(const float* a, const float* b, float* sum, int n)
{
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) sum[i] = a[i] + b[i];
}
"""

device = Device()
main, side = device.stream(), device.stream()
n = 1 << 20
a, b = np.arange(n, dtype=np.float32), np.full(n, 2, np.float32)
on_a, on_b, total = (DeviceBuffer(stream, a.nbytes) for stream in (main, side, main))

uploaded = Event(device)
on_b.upload(b)  # in the order of `side`, on which it was allocated
uploaded.record(side)
on_a.upload(a)  # in the order of `main`, at the same time
uploaded.hold(main)  # what main does from here on waits for the upload of b, the host does not

kernel = Module(device, SOURCE).kernel("add", [Scalar.pointer, Scalar.pointer, Scalar.pointer, Scalar.int32])
kernel.bind([256], [256], [on_a, on_b, total, n])(main)
on_b.close()  # given back after main has read it: the launch told the buffer who uses it

found = total.download(np.empty_like(a))
np.testing.assert_array_equal(found, a + b)
print(f"{n:,} sums on two streams, the last {found[-1]:,.0f}")
