"""What attention is told and gives, as one operation or by parts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from gocudnn_py.cudnn.graph.tensor import Tensor

Modify = Callable[[Tensor], Tensor]
"""What is done to the scores (B, H, S_q, S_kv) before the softmax: operations of the same graph."""


@dataclass(frozen=True)
class Recipe:
    """What is done between the products of attention.

    The scores are multiplied by `scale` and passed through `modify`, a mask say; of sequences that are padded,
    `lengths` are those of queries and of keys, (B, 1, 1, 1) in int32; `drop` is the probability of a dropout of the
    weights by `seed` and `offset`, each a tensor of one number in int64.
    """

    scale: float | None = None
    modify: Modify | None = None
    lengths: tuple[Tensor, Tensor] | None = None
    drop: float | None = None
    seed: Tensor | None = None
    offset: Tensor | None = None

    def __post_init__(self) -> None:
        if self.drop is not None and (not 0 < self.drop < 1 or self.seed is None or self.offset is None):
            raise ValueError(f"attention: a dropout of {self.drop} (between 0 and 1) needs a seed and an offset")


class Attended(NamedTuple):
    """Attention's result (B, H, S_q, D_v), and by name what was asked for beside it.

    `statistics` are the logarithms of the sums of the softmax (B, H, S_q, 1), which the gradients need.
    """

    o: Tensor
    beside: Mapping[str, Tensor]

    @property
    def statistics(self) -> Tensor:
        """The statistics. Raises KeyError where they were not asked for."""
        return self.beside["statistics"]


class AttendedBackward(NamedTuple):
    """The gradients of queries, keys and values, and by name what was asked for beside them."""

    dq: Tensor
    dk: Tensor
    dv: Tensor
    beside: Mapping[str, Tensor]
