"""The page docs/coverage.md: every C function, its Python name, and the test that checks what it computes.

    python -m tests.coverage            write the page
    python -m tests.coverage --check    fail if writing would change it, or a function has neither test nor reason

Python names come from the docstrings, which name the C functions that are called; tests from the marker `covers`.
What only a package's own docstring names has C's name, and the form for numbers beyond 32 bits the name of the other.
"""

from __future__ import annotations

import ast
import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import redirect_stdout
from importlib import import_module
from io import StringIO
from pathlib import Path

import pytest

from gocudnn_py._abi.writing import TITLES

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "coverage.md"
LIBRARIES = {module: title for module, title in TITLES.items() if module != "cuda"}
WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")
C_NAME = re.compile(r"\b(?:cudnn|cublas|curand|nvjpeg|nppi?)[A-Z]\w+")

NOTHING = "returns nothing that can be checked"
REASONS: dict[str, str] = {"cudnnBackendDestroyDescriptor": NOTHING}
"""Functions without a test, each with a reason of the closed list: removed, needs hardware, NOTHING."""


def main(arguments: list[str]) -> int:
    """Write or check the page; 1 when it is not what it should be."""
    tests, names = tested(), dict(named())
    text = page(tests, names)
    open_rows = [function for function in functions() if function not in tests and function not in REASONS]
    nameless = [function for function in functions() if function not in names]
    for what, missing in (("test nor reason", open_rows), ("Python name", nameless)):
        if missing:
            print(f"{len(missing)} functions have no {what}: {', '.join(missing)}", file=sys.stderr)
    if "--check" not in arguments:
        PAGE.write_text(text, encoding="utf-8")
    elif PAGE.read_text(encoding="utf-8") != text:
        print(f"{PAGE.name} is not what `python -m tests.coverage` writes", file=sys.stderr)
        return 1
    return 1 if open_rows or nameless else 0


def functions() -> Iterator[str]:
    """Every function of the libraries on the page."""
    for module in LIBRARIES:
        yield from import_module(f"gocudnn_py._abi.{module}").FUNCTIONS


def page(tests: dict[str, str], names: dict[str, str]) -> str:
    """The whole page."""
    lines = [
        "# Every function, its Python name, and the test that checks it",
        "",
        "Written by `python -m tests.coverage` from the headers, the docstrings and the marks of the tests: a test",
        "that is said to check a function asserts what it computes, and fails if it does not call it. cuBLAS's forms",
        "that end with _64 are called by the same Python name, when it is given numbers beyond 32 bits.",
    ]
    for module, title in LIBRARIES.items():
        rows = import_module(f"gocudnn_py._abi.{module}").FUNCTIONS
        checked = sum(function in tests for function in rows)
        lines += ["", f"## {title}: {len(rows)} functions, {checked} checked by value", ""]
        lines += ["| function | header | Python | test, or why there is none |", "|---|---|---|---|"]
        for function, row in rows.items():
            test = tests.get(function) or REASONS.get(function, "**none**")
            lines.append(f"| {function} | {row.header} | {names.get(function, '')} | {test} |")
    return "\n".join(lines) + "\n"


def tested() -> dict[str, str]:
    """The first test that checks each function, `file::test`."""
    collector = _Collector()
    with redirect_stdout(StringIO()):
        status = pytest.main(["--collect-only", "-q", "-p", "no:cacheprovider", str(ROOT / "tests")], [collector])
    if status != pytest.ExitCode.OK:
        raise SystemExit(f"the tests could not be collected: {status!r}")
    return collector.tests


class _Collector:
    """A plugin of pytest that keeps what the marker `covers` names."""

    def __init__(self) -> None:
        self.tests: dict[str, str] = {}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            for marker in item.iter_markers("covers"):
                test = item.nodeid.partition("[")[0].removeprefix("tests/")
                for function in marker.args:
                    self.tests.setdefault(function, test)


def named() -> Iterator[tuple[str, str]]:
    """Functions with the Python names that call them, public ones first."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in sorted((ROOT / "gocudnn_py").rglob("*.py")):
        place = path.relative_to(ROOT / "gocudnn_py").with_suffix("")
        if place.parts[0] not in ("_abi", "bench"):
            module = ".".join(part for part in place.parts if part != "__init__")
            for name, function in _names(ast.parse(path.read_text(encoding="utf-8"))):
                found[function].append(f"{module}.{name}")
    own = dict(_own_names())
    for function in functions():
        narrow = function.removesuffix("_64")
        if narrow in found:
            yield function, f"`{min(found[narrow], key=lambda place: _strangeness(narrow, place))}`"
        elif narrow in own:
            yield function, f'`library.load("{own[narrow]}").{function}`'


def _strangeness(function: str, place: str) -> tuple[bool, bool, int]:
    """Least for the Python name to look for a function at: a public one, of its library, that shares its words."""
    library, *_ = words = [word.lower() for word in WORD.findall(function)]
    known = [word.lower() for word in WORD.findall(place)]
    return "._" in place, known[0] != library, -sum(word in known for word in words)


def _own_names() -> Iterator[tuple[str, str]]:
    """Functions that the docstring of a library's package names, which are called by C's names, with the library."""
    for module in LIBRARIES:
        text = ast.get_docstring(ast.parse((ROOT / "gocudnn_py" / module / "__init__.py").read_text(encoding="utf-8")))
        for function in C_NAME.findall(text or ""):
            yield function, module


def _names(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Each class, function and method with every C function that its docstring, or a class's kind, names."""
    for outer in tree.body:
        if not isinstance(outer, ast.ClassDef | ast.FunctionDef):
            continue
        inner = [each for each in outer.body if isinstance(each, ast.FunctionDef)]
        for node, name in [(outer, outer.name), *((each, f"{outer.name}.{each.name}") for each in inner)]:
            for function in C_NAME.findall(ast.get_docstring(node) or ""):
                yield name, function
        kind = _kind(outer)
        if kind:
            yield outer.name, f"cudnnCreate{kind}Descriptor"
            yield f"{outer.name}.close", f"cudnnDestroy{kind}Descriptor"


def _kind(node: ast.ClassDef | ast.FunctionDef) -> str | None:
    for each in node.body if isinstance(node, ast.ClassDef) else []:
        if isinstance(each, ast.Assign) and [ast.unparse(target) for target in each.targets] == ["kind"]:
            return str(ast.literal_eval(each.value))
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
