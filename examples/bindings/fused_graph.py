"""Convolution, bias and ReLU as one graph of cuDNN: one kernel in half precision, channels last."""

import numpy as np

from gocudnn_py.cuda import Device, DeviceBuffer
from gocudnn_py.cudnn import Handle
from gocudnn_py.cudnn.graph import Graph, channels_last, choose_plan
from gocudnn_py.cudnn.graph.timing import Stopwatch

graph = Graph(compute="float32")
x = graph.tensor("x", (32, 64, 56, 56), "float16", order=channels_last(4))
w = graph.tensor("w", (64, 64, 3, 3), "float16", order=channels_last(4))
b = graph.tensor("b", (1, 64, 1, 1), "float16")
y = graph.output(graph.relu(graph.add(graph.convolution(x, w, padding=1), b)), "y", dtype="float16")
print(graph)

device = Device()
stream = device.stream()
handle = Handle(device.ordinal, stream)
plan = choose_plan(graph, handle, measure=Stopwatch(handle, stream))  # kept on the disk for the next start

random = np.random.default_rng(0)
buffers = {tensor: DeviceBuffer(stream, tensor.nbytes) for tensor in graph.real}
for tensor in (x, w, b):
    buffers[tensor].upload((0.1 * random.standard_normal(tensor.size)).astype(np.float16))
run = plan.bind(buffers, DeviceBuffer(stream, plan.workspace))
run(handle)

found = buffers[y].download(np.empty(y.size, np.float16))
assert found.min() == 0
print(f"{plan.engine=}, {plan.workspace=:,} bytes; the mean of y is {found.astype(np.float32).mean():.4f}")
