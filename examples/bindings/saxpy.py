"""A kernel of your own: compiled for the card at hand, checked, launched with its arguments packed once."""

import numpy as np

from gocudnn_py.cuda import Device, DeviceBuffer, Module, Scalar

SOURCE = """
extern "C" __global__ void saxpy(float a, const float* x, float* y, int n)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] = a * x[i] + y[i];
}
"""

device = Device()
stream = device.stream()
kernel = Module(device, SOURCE).kernel("saxpy", [Scalar.float32, Scalar.pointer, Scalar.pointer, Scalar.int32])

x, y = np.arange(1000, dtype=np.float32), np.ones(1000, np.float32)
on_x, on_y = DeviceBuffer(stream, x.nbytes), DeviceBuffer(stream, y.nbytes)
on_x.upload(x)
on_y.upload(y)

launch = kernel.bind(grid=[4], block=[256], arguments=[2.0, on_x, on_y, x.size])
launch(stream)  # y = 2 x + y
launch.patch(0, -1.0)
launch(stream)  # y = -x + y

found = on_y.download(np.empty_like(y))
np.testing.assert_allclose(found, x + 1)
print(f"{device}: y[:4] = {found[:4]}")
