"""One measurement in a process of its own: `python -m gocunets.bench.cpu_worker PEER BATCH SECONDS THREADS`."""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np

Step = Callable[[], object]
WARM_UP = 5
L1, L2, RATE = 1e-5, 1e-4, 1e-3


def our_step(batch: int) -> Step:
    """A whole step of ours, the loss read back."""
    from gocunets import Network, optim, zoo

    x, target = _batch(batch)
    network = Network(zoo.thesis_network(), (1, 28, 28))
    network.compile(optimizer=optim.Adam(RATE, L1, L2), device="cpu")
    return lambda: network.step(x, target)


def torch_step(batch: int, threads: int) -> Step:
    """The same network, losses and penalties in PyTorch, eager, the loss read back."""
    import torch
    from torch import nn

    torch.set_num_threads(threads)
    layers: list[nn.Module] = []
    for channels, padding in ((1, 6), (20, 4), (20, 4)):
        layers += [nn.Conv2d(channels, 20, 4, stride=2, padding=padding, dilation=3), nn.LeakyReLU(0.01)]
    network = nn.Sequential(*layers, nn.Conv2d(20, 10, 4), nn.Flatten())
    parameters = list(network.parameters())
    optimizer = torch.optim.Adam(parameters, RATE, weight_decay=L2)
    images, labels = _batch(batch)
    x, target = torch.from_numpy(images), torch.from_numpy(labels)

    def step() -> float:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(network(x), target)
        loss.backward()
        for parameter in parameters:
            parameter.grad.add_(parameter.detach().sign(), alpha=L1)
        optimizer.step()
        return float(loss.item())

    return step


def median_milliseconds(step: Step, seconds: float) -> float:
    """The median of the steps that fit into some seconds, after a warm-up."""
    for _ in range(WARM_UP):
        step()
    times: list[float] = []
    stop = time.perf_counter() + seconds
    while time.perf_counter() < stop or len(times) < 10:
        started = time.perf_counter()
        step()
        times.append(time.perf_counter() - started)
    return 1000 * statistics.median(times)


def _batch(size: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    return random.standard_normal((size, 1, 28, 28), np.float32), random.integers(0, 10, size)


def main(peer: str, batch: int, seconds: float, threads: int) -> None:
    """Print the median as JSON."""
    steps: dict[str, Callable[[], Step]] = {
        "gocunets": lambda: our_step(batch),
        "torch": lambda: torch_step(batch, threads),
    }
    step = steps[peer]()
    print(json.dumps({"milliseconds": median_milliseconds(step, seconds)}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]))
