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
    forward = tiling.forward(geometry, images, limit)
    data = tiling.backward_data(geometry, images, limit)
    filters = tiling.backward_filter(geometry, min(images, 200), limit)
    assert geometry.filters % forward.block == forward.block % forward.thread == 0
    assert geometry.channels % data.block == data.block % data.thread == 0
    assert geometry.channels % filters.block == geometry.filters % filters.filters == 0
    for tiles in (forward, data, filters):
        assert tiles.shared <= limit
        assert tiles.threads % 32 == 0
        assert 64 <= tiles.threads <= 512
        assert tiles.lanes <= 32


def test_the_thesis_network_fits_every_card() -> None:
    assert all(tiling.fits(geometry, min(LIMITS.values())) for geometry in GEOMETRIES[:4])
