"""The tiles of the small-channel kernels: they divide the work evenly and stay within a card's shared memory."""

from __future__ import annotations

import pytest

from gocunets.backends.cudnn import tiling
from gocunets.backends.cudnn.fused import Geometry

LIMITS = {"sm_75": 64 * 1024, "sm_86": 99 * 1024, "sm_80": 163 * 1024, "sm_90": 227 * 1024}
GEOMETRIES = [
    Geometry(1, 28, 28, 20, (4, 4), (2, 2), (6, 6), (3, 3)),
    Geometry(20, 16, 16, 20, (4, 4), (2, 2), (4, 4), (3, 3)),
    Geometry(20, 8, 8, 20, (4, 4), (2, 2), (4, 4), (3, 3)),
    Geometry(20, 4, 4, 10, (4, 4), (1, 1), (0, 0), (1, 1)),
    Geometry(3, 32, 32, 7, (3, 3), (1, 1), (1, 1), (1, 1)),
    Geometry(16, 32, 32, 32, (3, 3), (1, 1), (1, 1), (1, 1)),
]


@pytest.mark.parametrize("images", [1, 10, 50, 200, 1000])
@pytest.mark.parametrize("limit", LIMITS.values(), ids=LIMITS)
@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_tiles_fit_the_card(geometry: Geometry, limit: int, images: int) -> None:
    if not tiling.fits(geometry, limit):
        assert geometry.channels * geometry.height * geometry.width > 5000
        return
    if geometry.whole:  # has kernels without tiles
        return
    forward = tiling.forward(geometry, images, limit)
    data = tiling.backward_data(geometry, images, limit)
    filters = tiling.backward_filter(geometry, min(images, 200), limit)
    assert geometry.filters % forward.block == forward.block % forward.thread == 0
    assert geometry.channels % data.block == data.block % data.thread == 0
    assert geometry.channels % filters.channels == geometry.filters % filters.filters == 0
    assert filters.filters % filters.thread == 0
    rows, columns = geometry.output
    phases = -(-geometry.height // geometry.stride[0]) * geometry.stride[0]
    lines = filters.channels * geometry.kernel[0]
    for tiles, items, terms, width in (
        (forward, rows * forward.block // forward.thread, geometry.channels * geometry.kernel[0], columns),
        (data, phases * data.block // data.thread, geometry.filters, geometry.width),
        (filters, lines * filters.filters // filters.thread, rows, geometry.kernel[1]),
    ):
        assert items * tiles.splits <= tiles.threads <= tiling.MOST_THREADS
        assert terms % tiles.splits == 0
        assert tiles.thread * width <= tiling.MOST_SUMS
        assert tiles.shared <= limit
        assert tiles.threads % 32 == 0


def test_what_does_not_lie_in_registers_or_memory_does_not_fit() -> None:
    plain = {"kernel": (3, 3), "stride": (1, 1), "padding": (1, 1), "dilation": (1, 1)}
    assert tiling.fits(Geometry(3, 32, 32, 8, **plain), 99 * 1024)
    assert not tiling.fits(Geometry(3, 32, 33, 8, **plain), 99 * 1024)
    assert not tiling.fits(Geometry(64, 32, 32, 8, **plain), 99 * 1024)
    assert not tiling.fits(Geometry(3, 32, 32, 65, **plain), 99 * 1024)
    assert not tiling.fits(Geometry(3, 2, 2, 8, **plain | {"kernel": (5, 5)}), 99 * 1024)


def test_the_thesis_network_fits_every_card() -> None:
    assert all(tiling.fits(geometry, min(LIMITS.values())) for geometry in GEOMETRIES[:4])
