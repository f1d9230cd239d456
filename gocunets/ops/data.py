"""A batch taken from a data set on the device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from ..dtypes import DType
from ..types import TensorType
from .base import Op, Precision


@dataclass(frozen=True)
class GatherBatch(Op):
    """The next `batch` samples of the epoch's order: images * scale - mean in `dtype`, and their targets.

    Inputs: step state (seed, epoch, cursor), images (N, ...), targets (N, ...). Sample i is that at
    position (cursor + i) mod N of convnetgo.permutation(N, seed, epoch).
    """

    name: ClassVar[str] = "gather_batch"
    precision: ClassVar[Precision] = "follow"
    batch: int
    scale: float
    mean: float
    dtype: DType

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        _, images, targets = inputs
        if images.shape[:1] != targets.shape[:1] or not images.size:
            raise ValueError(f"images have shape {images.shape}, targets {targets.shape}")
        return (
            TensorType((self.batch, *images.shape[1:]), DType.of(self.dtype)),
            TensorType((self.batch, *targets.shape[1:]), targets.dtype),
        )
