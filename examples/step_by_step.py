"""One training step in the thesis's three slices, with gradients checked against convnetgo by hand."""

from __future__ import annotations

import numpy as np

from gocunets import Network, convnetgo, nn, optim

random = np.random.default_rng(0)
x = random.standard_normal((8, 3, 12, 12), np.float32)
labels = random.integers(0, 5, 8)

network = Network(nn.Sequential(conv=nn.Conv(4, 3, stride=2), act=nn.ReLU(), head=nn.Dense(5)), (3, 12, 12))
network.compile(optimizer=optim.SGD(0.1), device="cpu")
before = network.weights

loss = network.forward(x, labels)
gradients = network.backward()
network.update()
after = network.weights

# The same by hand.
y = convnetgo.convolution_forward(x, before["conv.w"], before["conv.b"], stride=2)
a = convnetgo.relu(y)
flat = a.reshape(8, -1)
logits = convnetgo.fully_connected_forward(flat, before["head.w"], before["head.b"])
losses, probabilities = convnetgo.cross_entropy(logits, labels)
dlogits = convnetgo.cross_entropy_backward(probabilities, labels, np.full(8, 1 / 8, np.float32))
da = convnetgo.fully_connected_backward_data(dlogits, before["head.w"]).reshape(a.shape)
dy = convnetgo.relu_backward(a, da)
dw = convnetgo.convolution_backward_filter(x, dy, before["conv.w"].shape, stride=2)

print(f"loss {loss:.6f}, by hand {losses.mean():.6f}")
print(f"largest difference of the filter gradient: {np.abs(gradients['conv.w'] - dw).max():.1e}")
assert np.allclose(gradients["conv.w"], dw, atol=1e-6)
assert np.allclose(after["conv.w"], before["conv.w"] - 0.1 * dw, atol=1e-6)
