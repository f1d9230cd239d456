"""What all tests share: the backends that every op case runs on, and the check of the marker `covers`."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from gocunets.backends import Backend
from tests.running import BACKENDS


@pytest.fixture(params=BACKENDS, ids=lambda backend: backend.name)
def backend(request: pytest.FixtureRequest) -> Backend:
    """A device to run on."""
    return request.param


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """Fail a test that claims to check a C function which it never calls."""
    functions = tuple(name for marker in item.iter_markers("covers") for name in marker.args)
    if not functions:
        yield
        return
    from tests.covers import called

    with called(functions) as done:
        yield
    missing = [name for name in functions if name not in done]
    if missing:
        pytest.fail(f"{item.name} is said to check {', '.join(missing)}, and does not call it")
