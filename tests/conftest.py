"""What all tests share: the backends that every op case runs on, and the check of the marker `covers`."""

from __future__ import annotations

from collections.abc import Callable, Generator

import pytest

from gocunets.backends import Backend
from tests.running import BACKENDS


@pytest.fixture(params=BACKENDS, ids=lambda backend: backend.name)
def backend(request: pytest.FixtureRequest) -> Backend:
    """A device to run on."""
    return request.param


CALLED = pytest.StashKey[set[str]]()
"""The functions, of those that a test is said to check, which have been called."""


@pytest.fixture
def called_elsewhere(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """A function that notes a C function which the test's own process did not call, but one that it started did."""
    return lambda name: request.node.stash[CALLED].add(name)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """Fail a test that claims to check a C function which it never calls."""
    functions = tuple(name for marker in item.iter_markers("covers") for name in marker.args)
    if not functions:
        yield
        return
    from tests.covers import called

    with called(functions) as done:
        item.stash[CALLED] = done
        yield
    missing = [name for name in functions if name not in done]
    if missing:
        pytest.fail(f"{item.name} is said to check {', '.join(missing)}, and does not call it")
