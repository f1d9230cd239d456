"""The backends that every op case runs on."""

from __future__ import annotations

import pytest

from gocunets.backends import Backend
from tests.running import BACKENDS


@pytest.fixture(params=BACKENDS, ids=lambda backend: backend.name)
def backend(request: pytest.FixtureRequest) -> Backend:
    """A device to run on."""
    return request.param
