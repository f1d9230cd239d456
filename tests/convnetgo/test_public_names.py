"""The package: its public names, their docstrings, what it imports, and how long its parts are."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import pytest

from gocunets import convnetgo

SOURCES = sorted(Path(convnetgo.__file__).parent.glob("*.py"))
ALLOWED = {"__future__", "collections.abc", "math", "numpy", "numpy.typing", "typing"}


def test_all_is_exactly_the_public_functions() -> None:
    functions = {name for name, value in vars(convnetgo).items() if inspect.isfunction(value)}
    assert set(convnetgo.__all__) == functions
    assert list(convnetgo.__all__) == sorted(convnetgo.__all__)


@pytest.mark.parametrize("name", convnetgo.__all__)
def test_every_public_function_has_a_docstring(name: str) -> None:
    assert inspect.getdoc(getattr(convnetgo, name))


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
def test_imports_numpy_and_nothing_else(source: Path) -> None:
    imported: set[str] = set()
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            assert node.level < 2, f"{source.name} imports from outside the package"
            imported |= {node.module or ""} if node.level == 0 else set()
    assert imported <= ALLOWED
