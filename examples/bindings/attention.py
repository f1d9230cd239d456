"""Scaled dot product attention as one operation of cuDNN, against the formula in NumPy."""

import numpy as np

from gocudnn_py.cuda import Device, DeviceBuffer
from gocudnn_py.cudnn import Handle
from gocudnn_py.cudnn.graph import Graph, Recipe, choose_plan

BATCH, HEADS, STEPS, WIDTH = 2, 4, 128, 64
SHAPE = BATCH, HEADS, STEPS, WIDTH
SCALE = WIDTH**-0.5

graph = Graph(compute="float32")
q, k, v = (graph.tensor(name, SHAPE, "float16") for name in "qkv")
o = graph.output(graph.attention(q, k, v, Recipe(scale=SCALE)).o, "o", dtype="float16")
print(graph)

device = Device()
stream = device.stream()
handle = Handle(device.ordinal, stream)
plan = choose_plan(graph, handle)

random = np.random.default_rng(0)
arrays = {tensor: random.standard_normal(SHAPE).astype(np.float16) for tensor in (q, k, v)}
buffers = {tensor: DeviceBuffer(stream, tensor.nbytes) for tensor in graph.real}
for tensor, array in arrays.items():
    buffers[tensor].upload(array)
plan.bind(buffers, DeviceBuffer(stream, plan.workspace))(handle)
found = buffers[o].download(np.empty(SHAPE, np.float16)).astype(np.float64)

queries, keys, values = (array.astype(np.float64) for array in arrays.values())
scores = SCALE * queries @ keys.transpose(0, 1, 3, 2)
weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
right = weights / weights.sum(axis=-1, keepdims=True) @ values
difference = np.abs(found - right).max()
assert difference < 4e-3
print(f"{plan.engine=}, {plan.workspace=:,} bytes; the largest difference from NumPy is {difference:.1e}")
