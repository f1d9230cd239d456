"""CTC loss: a network that writes symbols at any time learns to spell, by gradient descent on its activations."""

import numpy as np

from gocudnn_py.cuda import Device, DeviceBuffer
from gocudnn_py.cudnn import CtcLossDescriptor, Handle, HostLabels, TensorDescriptor

STEPS, BATCH, ALPHABET = 12, 2, 5  # symbol 0 is the blank
LABELS = [(1, 2, 2, 3), (4, 1)]

device = Device()
stream = device.stream()
handle = Handle(device.ordinal, stream)
ctc = CtcLossDescriptor().set()
described = TensorDescriptor().set("float32", (STEPS, BATCH, ALPHABET))
labels = HostLabels(LABELS, [STEPS] * BATCH)
x, dx = (described.at(DeviceBuffer(stream, described.size_in_bytes)) for _ in range(2))
costs = DeviceBuffer(stream, 4 * BATCH)
workspace = DeviceBuffer(stream, ctc.workspace_size(handle, described, described, labels=labels))

activations = np.random.default_rng(0).standard_normal((STEPS, BATCH, ALPHABET)).astype(np.float32)
for step in range(200):
    x.place.upload(activations)
    ctc.loss(handle, x, labels, costs, dx, workspace=workspace)
    gradient = dx.place.download(np.empty_like(activations))
    if step % 50 == 0:
        print(f"step {step}: costs {costs.download(np.empty(BATCH, np.float32))}")
    activations -= gradient

for sample, label in enumerate(LABELS):
    best = activations[:, sample].argmax(axis=1)
    spelt = [int(s) for s, before in zip(best, [0, *best[:-1]], strict=True) if s and s != before]
    print(f"wanted {list(label)}, spelt {spelt}")
    assert spelt == list(label)
