"""The thesis's table 4.2 on a GPU: seconds an epoch at each batch size, ours and PyTorch's, in one run."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass

from ..data import Splits
from ..graph import Math
from .process import measured
from .thesis_worker import L1, L2, RATE

CRITERION = 0.023
BATCHES = (10, 20, 40, 50, 100, 200)
PEERS = ("gocunets", "torch-captured", "torch-eager", "jax")


@dataclass(frozen=True)
class Row:
    """Seconds an epoch of 60,000 images at one batch size, by peer: the median of the epochs measured."""

    batch: int
    seconds: dict[str, float]

    @property
    def ratio(self) -> float | None:
        """The best peer's time over ours: above 1 we are faster."""
        others = [time for peer, time in self.seconds.items() if peer != "gocunets"]
        return min(others) / self.seconds["gocunets"] if others and "gocunets" in self.seconds else None


def run(batches: Sequence[int], peers: Sequence[str] = PEERS, *, epochs: int = 3, math: Math = "fma") -> list[Row]:
    """Measure each peer in a process of its own; those that are not installed are left out.

    Raises GocunetsError with a peer's own words when its process fails.
    """
    needs = {"gocunets": "gocunets"} | {peer: peer.partition("-")[0] for peer in peers}
    peers = [peer for peer in peers if importlib.util.find_spec(needs[peer]) is not None]
    results = {peer: _measure(peer, batches, epochs, math) for peer in peers}
    return [Row(batch, {peer: results[peer][batch] for peer in peers}) for batch in batches]


@dataclass(frozen=True)
class Convergence:
    """How long training took at one batch size until its criterion was met, or gave up."""

    batch: int
    epochs: int
    seconds: float
    reached: bool
    training_loss: float
    test_loss: float
    test_accuracy: float


def converge(
    splits: Splits, batches: Sequence[int], *, most: int = 100, criterion: float = CRITERION
) -> list[Convergence]:
    """Train the thesis's network on a GPU until an epoch's mean training loss is below `criterion` nats.

    The thesis says a test loss below 0.01, but its code took the training batches' loss in base 10: 0.01 of that is
    0.023 nats. True test loss and accuracy stand beside it.
    """
    return [_converge(splits, batch, most, criterion) for batch in batches]


def _converge(splits: Splits, batch: int, most: int, criterion: float) -> Convergence:
    from .. import Network, StopBelow, optim, zoo

    network = Network(zoo.thesis_network(), splits.train.images.shape[1:])
    network.compile(optimizer=optim.Adam(RATE, L1, L2), device="cuda")
    stop = StopBelow(criterion, "loss")
    records = network.fit(splits.train, epochs=most, batch=batch, callbacks=[stop])
    tested, last = network.evaluate(splits.test), records[-1]
    seconds = sum(record.seconds for record in records)
    return Convergence(
        batch, len(records), seconds, last.loss < criterion, last.loss, tested.loss, tested.accuracy or 0.0
    )


def _measure(peer: str, batches: Sequence[int], epochs: int, math: Math) -> dict[int, float]:
    found = measured(peer, "gocunets.bench.thesis_worker", peer, math, epochs, *batches)
    return {int(batch): seconds for batch, seconds in found.items()}
