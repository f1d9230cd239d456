"""Makes the tables beside this file from the pinned C headers, checks them, or says what others would change.

    python -m gocudnn_py._abi.generate                  write the tables
    python -m gocudnn_py._abi.generate --check          fail if writing would change one
    python -m gocudnn_py._abi.generate --report         what the installed headers, of any version, change
    python -m gocudnn_py._abi.generate --fetch FOLDER   download the pinned headers that are not installed

With `--headers FOLDER` they are read from there if it has them, else from installed wheels of the pinned
versions. It needs libclang.
"""

from __future__ import annotations

import argparse
import ctypes
import sys
from collections.abc import Iterator, Mapping
from enum import EnumType
from importlib import import_module
from pathlib import Path

from gocudnn_py._abi import base
from gocudnn_py._abi.pinned import HeadersMissing, Section, fetch, locate, recipe
from gocudnn_py._abi.reading import Tables, read
from gocudnn_py._abi.writing import module_text, stub_text

HERE = Path(__file__).parent


def main(arguments: list[str] | None = None) -> int:
    """Run one of the modes; the exit status is 1 when a check fails or headers are missing."""
    options = _parser().parse_args(arguments)
    sections = recipe()
    if options.fetch:
        fetch(list(sections.values()), options.fetch)
        return 0
    try:
        tables = read_all(sections, options.headers, any_version=options.report)
    except HeadersMissing as error:
        print(error, file=sys.stderr)
        return 1
    if options.report:
        return _report(tables)
    return _check(tables) if options.check else _write(tables)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m gocudnn_py._abi.generate", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--check", action="store_true", help="compare, write nothing")
    mode.add_argument("--report", action="store_true", help="list what the headers found would change")
    mode.add_argument("--fetch", type=Path, metavar="FOLDER", help="download the pinned headers there")
    parser.add_argument("--headers", type=Path, metavar="FOLDER", help="read headers from this folder")
    return parser


def read_all(sections: dict[str, Section], folder: Path | None, *, any_version: bool = False) -> dict[str, Tables]:
    """Every section's tables, by module name."""
    folders = {name: locate(s, folder, any_version=any_version) for name, s in sections.items()}
    return {name: read(section, folders, sections) for name, section in sections.items()}


def files(tables: dict[str, Tables]) -> Iterator[tuple[Path, str]]:
    """Every generated file and its text."""
    for name, table in tables.items():
        yield HERE / f"{name}.py", module_text(table)
        yield HERE / f"{name}.pyi", stub_text(table)


def _write(tables: dict[str, Tables]) -> int:
    for path, text in files(tables):
        path.write_text(text, encoding="utf-8")
    for name, table in tables.items():
        sizes = f"{len(table.functions)} functions, {len(table.enums)} enumerations"
        print(f"{name}: {sizes}, {len(table.structs)} structures, {len(table.callbacks)} callbacks")
    return 0


def _check(tables: dict[str, Tables]) -> int:
    changed = [
        path.name for path, text in files(tables) if not path.is_file() or path.read_text(encoding="utf-8") != text
    ]
    for name in changed:
        print(f"{name} is not what generate.py makes of the pinned headers", file=sys.stderr)
    return 1 if changed else 0


def _report(tables: dict[str, Tables]) -> int:
    for name, table in tables.items():
        lines = list(differences(name, table))
        print(f"{name}: {len(lines)} differences from the tables here")
        print("".join(f"  {line}\n" for line in lines), end="")
    return 0


def differences(name: str, table: Tables) -> Iterator[str]:
    """What the headers read have more, less or otherwise than the module in this folder."""
    module = import_module(f"gocudnn_py._abi.{name}")
    here = {f: (row.result, row.arguments) for f, row in getattr(module, "FUNCTIONS", {}).items()}
    there = {f: (_type(r.result), tuple(_type(a.code) for a in r.arguments)) for f, r in table.functions.items()}
    yield from _compare("function", here, there)
    for enum, members in table.enums.items():
        known = getattr(module, enum, None)
        if known is None:
            yield f"new enumeration {enum} ({len(members)} members)"
        else:
            yield from _compare(enum, {m: int(v) for m, v in known.__members__.items()}, members)
    ours = {n for n, kind in vars(module).items() if isinstance(kind, EnumType) and kind.__module__ == module.__name__}
    yield from (f"gone: enumeration {enum}" for enum in sorted(ours - set(table.enums)))


def _type(code: str) -> object:
    return None if code == "None" else getattr(base, code, None) or getattr(ctypes, code)


def _compare(what: str, here: Mapping[str, object], there: Mapping[str, object]) -> Iterator[str]:
    yield from (f"new {what} {name}" for name in there if name not in here)
    yield from (f"gone: {what} {name}" for name in here if name not in there)
    for name in there:
        if name in here and here[name] != there[name]:
            yield f"changed: {what} {name} from {here[name]} to {there[name]}"


if __name__ == "__main__":
    sys.exit(main())
