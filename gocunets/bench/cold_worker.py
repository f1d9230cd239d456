"""One cold start: `python -m gocunets.bench.cold_worker PEER STARTED`, STARTED being time.time() of the parent."""

import sys
import time

BEGAN = time.time()


class Clock:
    """Seconds since it was last asked, by phase."""

    def __init__(self, started: float) -> None:
        self.last = BEGAN
        self.seconds = {"start": BEGAN - started}

    def mark(self, phase: str) -> None:
        """The end of a phase."""
        now = time.time()
        self.seconds[phase], self.last = now - self.last, now


def ours(clock: Clock) -> None:
    """The thesis's network at batch 50."""
    from gocunets import Network, optim, zoo
    from gocunets.backends.cudnn import CudaBackend

    clock.mark("import")
    backend = CudaBackend()
    clock.mark("context")
    x, target = _batch()
    network = Network(zoo.thesis_network(), (1, 28, 28)).compile(optimizer=optim.Adam(), device=backend)
    network.compiled.program("training", len(x))
    clock.mark("build")
    network.step(x, target)
    clock.mark("first step")


def torchs(clock: Clock) -> None:
    """The same network in eager PyTorch."""
    import torch
    from torch import nn

    clock.mark("import")
    torch.zeros(1, device="cuda")
    torch.cuda.synchronize()
    clock.mark("context")
    layers = []
    for channels, padding in ((1, 6), (20, 4), (20, 4)):
        layers += [nn.Conv2d(channels, 20, 4, stride=2, padding=padding, dilation=3), nn.LeakyReLU(0.01)]
    network = nn.Sequential(*layers, nn.Conv2d(20, 10, 4), nn.Flatten()).cuda()
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    x, target = (torch.from_numpy(array).cuda() for array in _batch())
    clock.mark("build")
    loss = nn.functional.cross_entropy(network(x), target)
    loss.backward()
    optimizer.step()
    loss.item()
    torch.cuda.synchronize()
    clock.mark("first step")


def _batch() -> tuple:  # type: ignore[type-arg]
    import numpy as np

    random = np.random.default_rng(0)
    return random.standard_normal((50, 1, 28, 28), np.float32), random.integers(0, 10, 50)


def main(peer: str, started: float) -> None:
    """Print the seconds of each phase as JSON."""
    import json

    clock = Clock(started)
    {"gocunets": ours, "torch": torchs}[peer](clock)
    print(json.dumps(clock.seconds))


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
