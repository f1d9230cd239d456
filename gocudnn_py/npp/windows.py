"""What filters share: masks with an anchor, borders, and the calls that look beyond an image's region.

Where a mask leaves a region, the pixels of the whole image are used; where it leaves that, `border` says what is.
"""

from __future__ import annotations

from typing import Any

from gocudnn_py._abi.npp import NppiBorderType, NppiMaskSize, NppiPoint, NppiSize
from gocudnn_py.cuda import Stream
from gocudnn_py.cuda.stream import Used
from gocudnn_py.npp.dispatch import apart, run, same_size, within
from gocudnn_py.npp.image import Image

REPLICATE = NppiBorderType.REPLICATE
Anchor = tuple[int, int]


class Window:
    """The pixels around one: `width` by `height`, the pixel itself at `anchor`, (x, y), or in the middle."""

    def __init__(self, what: str, width: int, height: int, anchor: Anchor | None = None) -> None:
        self.width, self.height = within(f"{what}: width", width, 1), within(f"{what}: height", height, 1)
        x, y = (self.width // 2, self.height // 2) if anchor is None else anchor
        self.x = within(f"{what}: anchor x", x, 0, self.width - 1)
        self.y = within(f"{what}: anchor y", y, 0, self.height - 1)

    @property
    def size(self) -> NppiSize:
        """Its width and height, as NPP takes them."""
        return NppiSize(self.width, self.height)

    @property
    def anchor(self) -> NppiPoint:
        """Its anchor, as NPP takes it."""
        return NppiPoint(self.x, self.y)

    def check_room(self, what: str, source: Image) -> None:
        """Raise ValueError unless the whole image reaches as far around a region as the window may look.

        To each side by the larger part, for NPP turns some masks round.
        """
        x, y = max(self.x, self.width - 1 - self.x), max(self.y, self.height - 1 - self.y)
        right = source.whole[0] - source.x - source.width
        below = source.whole[1] - source.y - source.height
        if min(source.x, right) < x or min(source.y, below) < y:
            raise ValueError(
                f"{what}: a mask of {self.width} x {self.height} looks {x} pixels to the sides and {y} up and down; "
                f"around {source} there are {source.x}, {right} and {source.y}, {below}: take a view, or pad"
            )


def square(what: str, size: int) -> NppiMaskSize:
    """NPP's word for a mask of so many pixels a side. Raises ValueError."""
    name = f"SIZE_{size}_X_{size}"
    if name not in NppiMaskSize.__members__:
        names = (each.name.split("_") for each in NppiMaskSize)
        known = ", ".join(parts[1] for parts in names if parts[1] == parts[3])
        raise ValueError(f"{what}: a mask of {size} pixels a side; there are {known}")
    return NppiMaskSize[name]


def bordered(
    stream: Stream,
    name: str,
    source: Image,
    target: Image,
    *more: Any,
    images: tuple[Image, ...] = (),
    memory: tuple[Used, ...] = (),
) -> None:
    """Call a function that looks around each pixel; `images` and `memory` are what it uses beside both."""
    same_size(name, source, target)
    apart(name, source, target)
    begin = source.start, source.pitch, source.extent, source.corner
    end = target.start, target.pitch, target.size
    run(stream, name, (source, target, *images), *begin, *end, *more, memory=memory)
