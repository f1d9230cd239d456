"""Headers to tables: libclang reads every function, enumeration, structure and callback of a section."""

from __future__ import annotations

import importlib
import keyword
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gocudnn_py._abi.pinned import Section

# libclang's wheel has no system headers, and the CUDA toolkit's own drag in half of it: these say as much as
# the declarations need. Their own types are never part of a table.
SYSTEM_HEADERS = {
    "stddef.h": "#pragma once\ntypedef unsigned long size_t;\n#define NULL ((void*)0)\n",
    "stdint.h": "#pragma once\n"
    "typedef signed char int8_t; typedef short int16_t; typedef int int32_t; typedef long int64_t;\n"
    "typedef unsigned char uint8_t; typedef unsigned short uint16_t;\n"
    "typedef unsigned int uint32_t; typedef unsigned long uint64_t;\n",
    "stdio.h": "#pragma once\ntypedef struct FILE_ FILE;\n",
    "stdlib.h": "#pragma once\n#include <stddef.h>\n",
    "driver_types.h": "#pragma once\n#include <stddef.h>\n"
    "typedef struct CUstream_st* cudaStream_t; typedef struct CUgraph_st* cudaGraph_t;\n",
    "cuda_runtime_api.h": '#pragma once\n#include "driver_types.h"\n',
    "cuda_runtime.h": '#pragma once\n#include "driver_types.h"\n#include "library_types.h"\n',
    "cuComplex.h": "#pragma once\n"
    "typedef struct { float x, y; } cuComplex; typedef struct { double x, y; } cuDoubleComplex;\n",
    "cuda_fp16.h": "#pragma once\n",
    "cuda_bf16.h": "#pragma once\n",
}
# 64-bit Linux whatever the machine: on every platform we serve, these widths are the same.
ARGUMENTS = [
    "-x",
    "c",
    "-nostdinc",
    "-target",
    "x86_64-unknown-linux-gnu",
    "-DCUDNN_WARN_DEPRECATED",
    "-DCUBLASAPI=",
]
SCALARS = {
    "SCHAR": ("Int", "c_int8"),
    "UCHAR": ("Int", "c_uint8"),
    "SHORT": ("Int", "c_int16"),
    "USHORT": ("Int", "c_uint16"),
    "INT": ("Int", "c_int"),
    "UINT": ("Int", "c_uint"),
    "ENUM": ("Int", "c_int"),
    "LONG": ("Int64", "c_int64"),
    "LONGLONG": ("Int64", "c_int64"),
    "ULONG": ("Size", "c_size_t"),
    "ULONGLONG": ("Uint64", "c_uint64"),
    "FLOAT": ("Float", "c_float"),
    "DOUBLE": ("Double", "c_double"),
}
POINTERS = ("POINTER", "INCOMPLETEARRAY", "CONSTANTARRAY")
STATUS = re.compile(r"\w*Status(_t)?")  # the enumerations that a function answers with


@dataclass
class Argument:
    """One parameter: `enum` is the Python name of its enumeration, if it has one."""

    name: str
    code: str
    enum: str | None


@dataclass
class Row:
    """One function as it will be written."""

    name: str
    result: str
    arguments: list[Argument]
    deprecated: bool
    header: str


@dataclass
class Tables:
    """All that one generated module holds."""

    section: Section
    enums: dict[str, dict[str, int]] = field(default_factory=dict)
    structs: dict[str, dict[str, str]] = field(default_factory=dict)
    callbacks: dict[str, list[str]] = field(default_factory=dict)
    functions: dict[str, Row] = field(default_factory=dict)
    imports: dict[str, set[str]] = field(default_factory=dict)


def read(section: Section, folders: dict[str, Path], sections: dict[str, Section]) -> Tables:
    """Read one section's headers; `folders` says where each section's are."""
    with tempfile.TemporaryDirectory() as scratch:
        for name, text in SYSTEM_HEADERS.items():
            Path(scratch, name).write_text(text, encoding="utf-8")
        for module in (section.module, *section.needs):
            for header in _present(sections[module], folders[module]):
                shutil.copy(header, scratch)
        main = Path(scratch, "main.c")
        main.write_text("".join(f'#include "{entry}"\n' for entry in section.entry), encoding="utf-8")
        return _Reader(section, sections).read(_parse(main))


def _present(section: Section, folder: Path) -> Iterator[Path]:
    """The section's headers, and in a newer set also those it has gained."""
    stem = os.path.commonprefix(list(section.headers))  # noqa: RUF071 - by character
    names = set(section.headers)
    if len(names) > 1:
        names |= {path.name for path in folder.glob(f"{stem}*.h") if not path.stem.endswith("_v9")}
    return (folder / name for name in sorted(names) if (folder / name).is_file())


def _parse(main: Path) -> Any:
    clang = importlib.import_module("clang.cindex")
    unit = clang.Index.create().parse(str(main), args=[*ARGUMENTS, "-I", str(main.parent)])
    problems = [str(d) for d in unit.diagnostics if d.severity >= clang.Diagnostic.Error]
    if problems:
        raise SystemExit("the headers did not parse:\n" + "\n".join(problems))
    return unit.cursor


class _Reader:
    """Walks the declarations once and keeps those of the section's headers."""

    def __init__(self, section: Section, sections: dict[str, Section]) -> None:
        self.tables = Tables(section)
        self.section = section
        self.owner = {header: s for s in sections.values() for header in s.headers}
        self.typedefs: dict[str, str] = {}

    def read(self, root: Any) -> Tables:
        mine = [c for c in root.get_children() if self._section_of(c) is self.section]
        for cursor in mine:
            if cursor.kind.name == "TYPEDEF_DECL":
                kind = cursor.underlying_typedef_type.get_canonical()
                if kind.kind.name == "RECORD":
                    self.typedefs[kind.spelling] = cursor.spelling
        for cursor in mine:
            visit = getattr(self, f"_{cursor.kind.name.lower()}", None)
            if visit:
                visit(cursor)
        return self.tables

    def _section_of(self, cursor: Any) -> Section | None:
        if cursor.location.file is None:
            return None
        header = Path(cursor.location.file.name).name
        known = self.owner.get(header)
        if known is None and header not in SYSTEM_HEADERS and header.startswith(self.section.entry[0][:-2]):
            return self.section
        return known

    def _enum_decl(self, cursor: Any) -> None:
        members = {c.spelling: c.enum_value for c in cursor.get_children()}
        names = member_names(list(members), self.section, self.section.enums.get(cursor.spelling))
        self.tables.enums[self._class_name(cursor.spelling)] = {names[c]: v for c, v in members.items()}

    def _struct_decl(self, cursor: Any) -> None:
        if cursor.is_definition():
            fields = [c for child in cursor.get_children() for c in _fields(child)]
            name = self._class_name(self.typedefs[cursor.type.get_canonical().spelling])
            self.tables.structs[name] = {c.spelling: self._field(c.type) for c in fields}

    def _typedef_decl(self, cursor: Any) -> None:
        pointee = cursor.underlying_typedef_type.get_canonical().get_pointee()
        if pointee.kind.name == "FUNCTIONPROTO":
            result = self._callback_type(pointee.get_result())
            arguments = [self._callback_type(t) for t in pointee.argument_types()]
            self.tables.callbacks[self._class_name(cursor.spelling)] = [result, *arguments]

    def _function_decl(self, cursor: Any) -> None:
        if cursor.storage_class.name == "STATIC" or not self.section.wants(cursor.spelling):
            return  # inline in the header, or not in the recipe
        arguments = [self._argument(i, c) for i, c in enumerate(cursor.get_arguments())]
        deprecated = cursor.availability.name == "DEPRECATED"
        header = Path(cursor.location.file.name).name
        row = Row(cursor.spelling, self._result(cursor.result_type), arguments, deprecated, header)
        self.tables.functions[cursor.spelling] = row

    def _argument(self, index: int, cursor: Any) -> Argument:
        name = cursor.spelling or f"argument{index}"
        kind = cursor.type.get_canonical()
        return Argument(f"{name}_" if keyword.iskeyword(name) else name, self._code(kind), self._enum_name(kind))

    def _code(self, kind: Any) -> str:
        if kind.kind.name == "RECORD":  # a structure by value
            return self._known(kind.get_declaration())
        return "Ptr" if kind.kind.name in POINTERS else SCALARS[kind.kind.name][0]

    def _enum_name(self, kind: Any) -> str | None:
        return self._known(kind.get_declaration()) if kind.kind.name == "ENUM" else None

    def _known(self, declaration: Any) -> str:
        """The Python name of a declared type, imported if another section owns it."""
        owner = self._section_of(declaration)
        assert owner is not None, declaration.spelling
        spelling = self.typedefs.get(declaration.type.get_canonical().spelling, declaration.spelling)
        name = class_name(spelling, owner)
        if owner is not self.section:
            self.tables.imports.setdefault(owner.module, set()).add(name)
        return name

    def _class_name(self, spelling: str) -> str:
        return class_name(spelling, self.section)

    def _result(self, kind: Any) -> str:
        kind = kind.get_canonical()
        if kind.kind.name == "ENUM" and STATUS.fullmatch(kind.get_declaration().spelling):
            return "Answer"
        if kind.kind.name == "POINTER":
            return "Text" if kind.get_pointee().kind.name.startswith("CHAR") else "Ptr"
        return "None" if kind.kind.name == "VOID" else SCALARS[kind.kind.name][1]

    def _field(self, kind: Any) -> str:
        kind = kind.get_canonical()
        if kind.kind.name == "CONSTANTARRAY":
            return f"{self._field(kind.element_type)} * {kind.element_count}"
        if kind.kind.name == "RECORD":
            return self._known(kind.get_declaration())
        return "c_void_p" if kind.kind.name in POINTERS else SCALARS[kind.kind.name][1]

    def _callback_type(self, kind: Any) -> str:
        kind = kind.get_canonical()
        if kind.kind.name == "VOID":
            return "None"
        pointee = kind.get_pointee()
        if pointee.kind.name == "RECORD" and pointee.get_declaration().is_definition():
            return f"POINTER({self._known(pointee.get_declaration())})"
        return "c_char_p" if pointee.kind.name.startswith("CHAR") else self._field(kind)


def _fields(member: Any) -> list[Any]:
    """The fields that a member of a structure is: of an unnamed union the first, for all lie in one place."""
    if member.kind.name == "UNION_DECL" and member.is_anonymous():
        return [next(c for c in member.get_children() if c.kind.name == "FIELD_DECL")]
    return [member] if member.kind.name == "FIELD_DECL" and member.spelling else []


def class_name(spelling: str, section: Section) -> str:
    """A type's Python name: without the library's prefix and the ending, cudnnDataType_t -> DataType."""
    name = spelling.removeprefix(section.prefix).removesuffix("_t")
    return name[0].upper() + name[1:]


def member_names(members: list[str], section: Section, prefix: str | None = None) -> dict[str, str]:
    """The members' Python names: shared words go, CUDNN_TENSOR_NCHW -> NCHW, unless a digit would lead."""
    prefix = prefix or _shared_prefix(members, section.constants)
    names = {}
    for member in members:
        used = prefix if member.startswith(prefix) else section.constants
        name = member.removeprefix(used)
        if name[0].isdigit():
            name = used.rstrip("_").rsplit("_", 1)[-1] + "_" + name
        names[member] = section.members.get(member, name)
    return names


def _shared_prefix(members: list[str], constants: str) -> str:
    if len(members) > 1:
        shared = os.path.commonprefix(members)  # noqa: RUF071 - by character
        shared = shared[: shared.rfind("_") + 1]
    else:  # one member shares every word with itself: the first after the library's is the enumeration's
        match = re.match(rf"{constants}[^_]+_", members[0])
        shared = match[0] if match else constants
    return shared if shared.startswith(constants) else ""
