"""The host in the card's place, for the tests that come from `tests.gpu`."""

from __future__ import annotations

import pytest

from tests.host.kernels import COMPILER


@pytest.fixture(scope="session")
def backend() -> object:
    if COMPILER is None:
        pytest.skip("no C++ compiler")
    from tests.host.backend import HostBackend

    return HostBackend()
