"""TensorType: what is known of a tensor before it exists."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from .dtypes import DType
from .errors import GraphError

MAX_RANK = 5


@dataclass(frozen=True, slots=True)
class TensorType:
    """Shape, dtype, and the order of the axes in memory from outermost to innermost.

    Convolutions read the axes as (N, C, *spatial) and filters as (K, C/groups, *kernel) whatever the order.
    """

    shape: tuple[int, ...]
    dtype: DType = DType.float32
    order: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "dtype", DType.of(self.dtype))  # a name will do
        if len(self.shape) > MAX_RANK:
            raise GraphError(f"rank {len(self.shape)} of {self.shape} is above {MAX_RANK}")
        if any(extent < 0 for extent in self.shape):
            raise GraphError(f"negative extent in shape {self.shape}")
        if not self.order:
            object.__setattr__(self, "order", tuple(range(len(self.shape))))
        if sorted(self.order) != list(range(len(self.shape))):
            raise GraphError(f"order {self.order} is no permutation of the axes of {self.shape}")

    @property
    def rank(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return self.size * self.dtype.itemsize

    @property
    def extents(self) -> tuple[int, ...]:
        """The shape with the axes as they lie in memory, from outermost to innermost."""
        return tuple(self.shape[axis] for axis in self.order)

    @property
    def channels_last(self) -> bool:
        """Whether axis 1 lies innermost, behind axes that come after it."""
        return self.rank > 2 and self.order == (0, *range(2, self.rank), 1)

    @property
    def strides(self) -> tuple[int, ...]:
        """Distance in elements between neighbours along each axis."""
        strides, step = [0] * self.rank, 1
        for axis in reversed(self.order):
            strides[axis] = step
            step *= self.shape[axis]
        return tuple(strides)

    def with_order(self, order: Sequence[int]) -> TensorType:
        """The same tensor with its axes in another order in memory."""
        return replace(self, order=tuple(order))

    def same_as(self, other: TensorType) -> bool:
        """Equal shape and dtype; the order is a matter of placement."""
        return self.shape == other.shape and self.dtype == other.dtype

    def __str__(self) -> str:
        order = "" if self.order == tuple(range(self.rank)) else f" order {self.order}"
        return f"{self.dtype}{list(self.shape)}{order}"
