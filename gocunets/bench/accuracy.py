"""How well the thesis's network does on a test set after a few epochs on a GPU, ours and PyTorch's, in one run."""

from __future__ import annotations

import importlib.util
import json
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from .. import data
from ..data import Splits
from .process import measured
from .thesis_worker import L1, L2, RATE, torch_training

PEERS = ("gocunets", "torch")


@dataclass(frozen=True)
class Row:
    """Shares of right answers on the test set at one batch size, one a seed, by peer."""

    batch: int
    accuracies: dict[str, list[float]]

    @property
    def medians(self) -> dict[str, float]:
        """The median of the seeds, by peer."""
        return {peer: statistics.median(found) for peer, found in self.accuracies.items()}


def run(source: str, batches: Sequence[int], *, epochs: int, seeds: int) -> list[Row]:
    """Train each peer that is installed, in a process of its own. Raises GocunetsError with a peer's own words."""
    peers = [peer for peer in PEERS if importlib.util.find_spec(peer)]
    found = {peer: measured(peer, "gocunets.bench.accuracy", peer, source, epochs, seeds, *batches) for peer in peers}
    return [Row(batch, {peer: found[peer][str(batch)] for peer in peers}) for batch in batches]


def ours(splits: Splits, batch: int, epochs: int, seed: int) -> float:
    """Training on the card, evaluated there."""
    from .. import Network, optim, zoo

    network = Network(zoo.thesis_network(splits.train.classes), splits.train.images.shape[1:], seed=seed)
    network.compile(optimizer=optim.Adam(RATE, L1, L2), device="cuda")
    network.fit(splits.train, epochs=epochs, batch=batch)
    return network.evaluate(splits.test).accuracy or 0.0


def torchs(splits: Splits, batch: int, epochs: int, seed: int) -> float:
    """The same in PyTorch, one CUDA graph a step, with its own initial weights."""
    import torch

    torch.manual_seed(seed)
    normalization = splits.train.normalization()
    x, tested = (normalization.apply(part.images, np.dtype(np.float32)) for part in (splits.train, splits.test))
    labels = splits.train.labels.astype(np.int64)
    network, epoch = torch_training(torch, x, labels, batch, captured=True, steps=len(x) // batch)
    for _ in range(epochs):
        epoch()
    with torch.no_grad():
        answers = network(torch.from_numpy(tested).cuda()).argmax(1).cpu().numpy()
    return float((answers == splits.test.labels).mean())


def main(peer: str, source: str, epochs: int, seeds: int, batches: Sequence[int]) -> None:
    """Print the accuracies of each batch size as JSON."""
    train: Callable[..., float] = {"gocunets": ours, "torch": torchs}[peer]
    splits = data.load(source)
    rows = {batch: [train(splits, batch, epochs, seed) for seed in range(seeds)] for batch in batches}
    print(json.dumps(rows))


if __name__ == "__main__":
    epochs, seeds, *sizes = map(int, sys.argv[3:])
    main(sys.argv[1], sys.argv[2], epochs, seeds, sizes)
