"""The same memory in three libraries: PyTorch and CuPy work on a buffer of ours, we on theirs; nothing is copied."""

import importlib.util

import numpy as np

from gocudnn_py.cuda import Device, DeviceBuffer, Module, Scalar

SOURCE = 'extern "C" __global__ void twice(float* x, int n) { int i = threadIdx.x; if (i < n) x[i] *= 2; }'

device = Device()
stream = device.stream()
kernel = Module(device, SOURCE).kernel("twice", [Scalar.pointer, Scalar.int32])
buffer = DeviceBuffer(stream, 8 * 4)
buffer.upload(np.arange(8, dtype=np.float32))

if importlib.util.find_spec("torch"):
    import torch

    view = torch.from_dlpack(buffer).view(torch.float32)
    view += 1  # on PyTorch's stream
    torch.cuda.synchronize()
    tensor = torch.ones(8, device="cuda")
    torch.cuda.synchronize()
    kernel.launch(stream, [1], [32], [tensor.data_ptr(), 8])  # an address is an argument like a buffer
    stream.synchronize()
    print("PyTorch added 1 to our buffer:", buffer.download(np.empty(8, np.float32)), "- we doubled", tensor.tolist())

if importlib.util.find_spec("cupy"):
    import cupy

    with cupy.cuda.Stream.from_external(stream):
        array = cupy.asarray(buffer).view(cupy.float32)
        array *= 10  # in our stream's order
    kernel.launch(stream, [1], [32], [array.data.ptr, 8])
    print("CuPy multiplied it by 10, and we by 2:", buffer.download(np.empty(8, np.float32)))
