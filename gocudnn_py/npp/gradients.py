"""How histograms of gradients are cut: cells, blocks and windows (Dalal and Triggs, CVPR 2005)."""

from __future__ import annotations

from dataclasses import dataclass

from gocudnn_py._abi.npp import NppiHOGConfig, NppiSize
from gocudnn_py.npp.dispatch import within

MOST_CELL, MOST_BINS, MOST_CELLS, MOST_BLOCKS = 16, 16, 256, 256  # NPP_HOG_MAX_...


@dataclass(frozen=True)
class HogSettings:
    """Cells of so many pixels a side, 2 to 16, and blocks of 2 x 2 cells that overlap by one; a histogram of `bins`.

    `window`, (width, height) in pixels, is what one descriptor is of: whole blocks side by side. Raises ValueError.
    """

    cell: int = 8
    bins: int = 9
    window: tuple[int, int] = (64, 128)

    def __post_init__(self) -> None:
        within("HogSettings: cell", self.cell, 2, MOST_CELL)
        within("HogSettings: bins", self.bins, 2, MOST_BINS)
        width, height = self.window
        if min(width, height) < self.block or width % self.block or height % self.block:
            raise ValueError(f"HogSettings: window {self.window} is not made of blocks of {self.block} pixels a side")
        cells, blocks = width * height // self.cell**2, self.blocks[0] * self.blocks[1]
        if cells > MOST_CELLS or blocks > MOST_BLOCKS:
            raise ValueError(
                f"HogSettings: window {self.window} has {cells} cells and {blocks} blocks; "
                f"NPP takes {MOST_CELLS} and {MOST_BLOCKS}"
            )

    @property
    def block(self) -> int:
        """Pixels to a side of a block."""
        return 2 * self.cell

    @property
    def blocks(self) -> tuple[int, int]:
        """How many overlapping blocks there are beside and below one another."""
        width, height = (2 * (pixels // self.block) - 1 for pixels in self.window)
        return width, height

    @property
    def length(self) -> int:
        """Numbers in one descriptor: a histogram for each cell of each block."""
        return self.blocks[0] * self.blocks[1] * 4 * self.bins

    @property
    def config(self) -> NppiHOGConfig:
        """The same, as NPP takes it."""
        return NppiHOGConfig(self.cell, self.block, self.bins, NppiSize(*self.window))
