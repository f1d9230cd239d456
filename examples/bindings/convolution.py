"""A convolution by cuDNN's descriptors: forward and both gradients, with the algorithm that measures fastest."""

import numpy as np

from gocudnn_py.cuda import Device, DeviceBuffer
from gocudnn_py.cudnn import ConvolutionDescriptor, Direction, FilterDescriptor, Handle, TensorDescriptor, measure_on

device = Device()
stream = device.stream()
handle = Handle(device.ordinal, stream)
random = np.random.default_rng(0)


def put(descriptor, shape):
    """Random numbers on the card, with their descriptor."""
    array = random.standard_normal(shape).astype(np.float32)
    buffer = DeviceBuffer(stream, array.nbytes)
    buffer.upload(array)
    return descriptor.set(np.float32, shape).at(buffer)


conv = ConvolutionDescriptor().set(padding=(1, 1), stride=(2, 2))
x, w = put(TensorDescriptor(), (8, 3, 32, 32)), put(FilterDescriptor(), (16, 3, 3, 3))
shape = conv.output_shape(x.descriptor, w.descriptor)
y, dy = put(TensorDescriptor(), shape), put(TensorDescriptor(), shape)
dx, dw = put(TensorDescriptor(), (8, 3, 32, 32)), put(FilterDescriptor(), (16, 3, 3, 3))

workspace = DeviceBuffer(stream, 32 * 2**20)
for direction, run, operands in (
    (Direction.FORWARD, conv.forward, (x, w, y)),
    (Direction.BACKWARD_DATA, conv.backward_data, (w, dy, dx)),
    (Direction.BACKWARD_FILTER, conv.backward_filter, (x, dy, dw)),
):
    best = measure_on(handle, conv, direction, *operands, workspace=workspace)[0]
    run(handle, *operands, algorithm=best.algorithm, workspace=workspace)
    print(f"{direction.value}: {best.algorithm.name}, {1000 * best.milliseconds:.1f} us, {best.workspace:,} bytes")

print(conv, "->", shape)
