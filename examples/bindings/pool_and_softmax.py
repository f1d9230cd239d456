"""Max pooling and softmax without a framework: two cuDNN calls, arrays in and out."""

import numpy as np

from gocudnn_py.cuda import Device, DeviceBuffer
from gocudnn_py.cudnn import Handle, PoolingDescriptor, PoolingMode, TensorDescriptor, softmax_forward

device = Device()
stream = device.stream()
handle = Handle(device.ordinal, stream)


def empty(shape):
    descriptor = TensorDescriptor().set(np.float32, shape)
    return descriptor.at(DeviceBuffer(stream, descriptor.size_in_bytes))


images = np.random.default_rng(0).standard_normal((2, 3, 6, 6)).astype(np.float32)
x = empty(images.shape)
x.place.upload(images)

pool = PoolingDescriptor().set(PoolingMode.MAX_DETERMINISTIC, window=(2, 2))
y = empty(pool.output_shape(x.descriptor))
pool.forward(handle, x, y)
pooled = y.place.download(np.empty((2, 3, 3, 3), np.float32))
np.testing.assert_array_equal(pooled, images.reshape(2, 3, 3, 2, 3, 2).max(axis=(3, 5)))

probabilities = empty((2, 3, 3, 3))
softmax_forward(handle, y, probabilities)  # over the channels, at each position
found = probabilities.place.download(np.empty((2, 3, 3, 3), np.float32))
np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-5)
print(pool, "and softmax: probabilities at one position", found[0, :, 0, 0])
