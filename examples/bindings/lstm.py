"""An LSTM of cuDNN: sequences of different lengths, weights by gate, training and its gradients."""

import numpy as np

from gocudnn_py.cuda import Device, DeviceBuffer
from gocudnn_py.cudnn import Handle, RnnDataDescriptor, RnnDescriptor, RNNMode

INPUTS, HIDDEN, STEPS, LENGTHS = 16, 32, 10, (10, 7, 3)

device = Device()
stream = device.stream()
handle = Handle(device.ordinal, stream)
lstm = RnnDescriptor().set(RNNMode.LSTM, INPUTS, HIDDEN)
sequences = RnnDataDescriptor().set("float32", INPUTS, LENGTHS, max_length=STEPS)
states = RnnDataDescriptor().set("float32", HIDDEN, LENGTHS, max_length=STEPS)


def room(nbytes):
    return DeviceBuffer(stream, nbytes, zeroed=True)


def on_card(array):
    buffer = DeviceBuffer(stream, array.nbytes)
    buffer.upload(np.ascontiguousarray(array, np.float32))
    return buffer


random = np.random.default_rng(0)
weights = on_card(0.1 * random.standard_normal(lstm.weight_size(handle) // 4).astype(np.float32))
forget = lstm.weight(handle, "input", "forget")
weights.upload(np.ones(forget.bias.shape, np.float32), forget.bias.offset)  # remember at first
print(lstm)
for name, region in lstm.weights(handle).items():
    print(f"  {name:32} {region.shape} at byte {region.offset:,}")

shape = sequences.get().shape
x, dy = on_card(random.standard_normal(shape).astype(np.float32)), on_card(np.ones(states.get().shape, np.float32))
y, dx, dw = (room(size) for size in (dy.nbytes, x.nbytes, weights.nbytes))
sizes = lstm.temp_sizes(handle, sequences)
workspace, reserve = room(sizes.workspace), room(sizes.reserve)
spaces = {"workspace": workspace, "reserve": reserve}

lstm.forward(handle, sequences.at(x), states.at(y), weights, **spaces)
lstm.backward_data(handle, states.at(y), states.at(dy), sequences.at(dx), weights, **spaces)
lstm.backward_weights(handle, sequences.at(x), states.at(y), dw, **spaces)

found = y.download(np.empty(states.get().shape, np.float32))
gradient = dw.download(np.empty(weights.nbytes // 4, np.float32))
assert np.abs(found).max() < 1
print(f"y {found.shape}; the weights' gradient is {np.linalg.norm(gradient):.3f} long")
