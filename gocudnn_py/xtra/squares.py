"""Boxes of elements turned square by square (kernels/xtra/transpose.cu)."""

from __future__ import annotations

import math
from dataclasses import dataclass

from gocudnn_py.xtra.boxes import INT32_MAX, MAX_RANK, Axes, Axis, alignment, fastest_first
from gocudnn_py.xtra.launcher import THREADS

MOST_SIDE = 8
LEAST_PACK = 8  # bytes
WANTED = 64  # bytes that a thread has on their way at a time
SQUARE = 16  # squares of a tile along both axes, where they have so many
LEAST_USE = 0.25  # of a tile, for which elements are turned so


@dataclass(frozen=True)
class Squares:
    """A launch: matrices of rows, neighbours in the target, and columns, neighbours in the source, along batch axes."""

    rows: Axis
    columns: Axis
    batch: Axes
    width: int
    side: int

    @property
    def down(self) -> int:
        """Threads of a block that lie below one another: as many as beside, more of few columns, fewer of few rows."""
        beside, below = (
            _power(self.columns.extent // self.side),
            _power(-(-self.rows.extent // self.side // self.times)),
        )
        return min(THREADS // min(SQUARE, beside), below)

    @property
    def times(self) -> int:
        """Squares of a thread."""
        return max(1, WANTED // (self.side**2 * self.width))

    @property
    def tile(self) -> tuple[int, int]:
        """Rows and columns of a tile."""
        return self.side * self.times * self.down, self.side * THREADS // self.down

    @property
    def tiles(self) -> tuple[int, int]:
        """How many tiles there are down and across."""
        down, across = self.tile
        return -(-self.rows.extent // down), -(-self.columns.extent // across)

    @property
    def use(self) -> float:
        """How much of the tiles is filled."""
        return self.rows.extent * self.columns.extent / math.prod(self.tile + self.tiles)

    @property
    def blocks(self) -> int:
        """How many tiles there are in all."""
        return math.prod(self.tiles) * math.prod(axis.extent for axis in self.batch)

    @property
    def defines(self) -> dict[str, object]:
        """What the kernel is compiled with, besides the type."""
        return {"SIDE": self.side, "TIMES": self.times, "DOWN": self.down, "BATCH": len(self.batch)}

    @property
    def numbers(self) -> list[int]:
        """What the kernel is told after the two addresses."""
        batch = (*self.batch, *[Axis(1, 0, 0)] * (MAX_RANK - 2 - len(self.batch)))
        steps = self.rows.source, self.columns.target
        sizes = [self.rows.extent, self.columns.extent, *steps, *self.tiles]
        return [*sizes, *(a.extent for a in batch), *(a.source for a in batch), *(a.target for a in batch)]


def squares(axes: Axes, width: int, source_aligned: int, target_aligned: int) -> Squares | None:
    """The launch for a box of units of `width` bytes, None where neighbours stay neighbours or packs do not fit."""
    if len(axes) < 2:
        return None
    down, right = fastest_first(axes, "target")[0], len(axes) - 1
    rows, columns = axes[down], axes[right]
    if down == right or (rows.target, columns.source) != (1, 1):
        return None
    batch = tuple(axis for i, axis in enumerate(axes) if i not in (down, right))
    steps = [step for axis in batch for step in (axis.source, axis.target)]
    common = alignment(rows.extent, columns.extent, rows.source, columns.target, *steps)
    side = min(common, min(source_aligned, target_aligned) // width, 16 // width, MOST_SIDE)
    if side * width < LEAST_PACK:
        return None
    made = Squares(rows, columns, batch, width, side)
    fits = made.blocks <= INT32_MAX and all(axis.extent <= INT32_MAX for axis in batch)
    return made if fits and made.use >= LEAST_USE else None


def _power(count: int) -> int:
    """The least power of two that is not less."""
    return 1 << max(0, count - 1).bit_length()
