"""CUDA C++ compiled by NVRTC, with no GPU needed, and kept on disk."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from gocudnn_py import disk
from gocudnn_py.errors import CompilerError, LibraryNotFound

Kind = Literal["cubin", "ptx", "ltoir"]
GETTERS = {"cubin": "nvrtcGetCUBIN", "ptx": "nvrtcGetPTX", "ltoir": "nvrtcGetLTOIR"}
ARCHITECTURE = re.compile(r"sm_\d+[af]?")
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*(?:"([^"\n]+)"|<([^>\n]+)>|(\w+))', re.MULTILINE)
READS_FILES = ("-I", "-include", "--include-path", "--pre-include")
FORMAT = "1"  # of what is kept on disk


@dataclass(frozen=True)
class Code:
    """Compiled code: `lowered` has the name in the code of each name expression, `log` the compiler's warnings."""

    kind: Kind
    architecture: str
    content: bytes
    lowered: Mapping[str, str] = field(default_factory=dict)
    log: str = ""


def with_defines(source: str, defines: Mapping[str, object]) -> str:
    """A source with macros before its first line."""
    return "\n".join([*(f"#define {name} {value}" for name, value in defines.items()), source])


def compile_source(
    source: str,
    architecture: str,
    to: Kind = "cubin",
    *,
    headers: Mapping[str, str] | None = None,
    folders: Sequence[str] = (),
    options: Sequence[str] = (),
    names: Sequence[str] = (),
) -> Code:
    """Compile CUDA C++ for an architecture (sm_90); from the disk when the same was compiled before.

    `headers` are files by the name that `#include` has, as text; `folders` are searched after them. `names` are C++
    expressions of templates and namespaces that are wanted in the code ("scale<float>"). `options` are NVRTC's own;
    code to be linked needs "--relocatable-device-code=true". With options that include files it is compiled each time.
    Raises ValueError, LibraryNotFound, CompilerError (nvrtcCreateProgram, nvrtcAddNameExpression, nvrtcCompileProgram,
    nvrtcGetCUBIN, nvrtcGetPTX, nvrtcGetLTOIR, nvrtcGetLoweredName, nvrtcGetProgramLog, nvrtcDestroyProgram).
    """
    if to not in GETTERS:
        raise ValueError(f"compiled to {to!r}; there are {', '.join(GETTERS)}")
    if not ARCHITECTURE.fullmatch(architecture):
        raise ValueError(f"architecture {architecture!r}, which is written as sm_90")
    texts, wanted = dict(headers or {}), [f"-arch={architecture}", "--std=c++17", *options]
    wanted += [f"--include-path={folder}" for folder in (*folders, *_toolkit_folders())]
    wanted += ["-dlto"] if to == "ltoir" else []
    unknown = any(option.startswith(READS_FILES) for option in options)
    included = None if unknown else included_files([source, *texts.values()], folders)

    def make() -> Code:
        return _compile(source, architecture, to, texts, wanted, names)

    if included is None:
        return make()
    return kept(to, architecture, [compiler_version(), source, texts, wanted, list(names), included], make)


def kept(kind: Kind, architecture: str, made_of: object, make: Callable[[], Code]) -> Code:
    """Code from the disk, or made and kept there under a key of all that it is made of."""
    key = disk.key(FORMAT, kind, architecture, json.dumps(made_of, sort_keys=True))
    path = disk.cache_folder("kernels") / f"{key}.{kind}"
    stored = disk.read(path)
    if stored is not None:
        about, _, content = stored.partition(b"\n")
        return Code(kind, architecture, content, **json.loads(about))
    code = make()
    about = json.dumps({"lowered": dict(code.lowered), "log": code.log}).encode()
    disk.write(path, about + b"\n" + code.content)
    return code


def included_files(texts: Sequence[str], folders: Sequence[str]) -> dict[str, str] | None:
    """The content of every file of the folders that texts may include, by path, or None where that cannot be known.

    Conditions are not looked at, so it may be more than is read. A name that is a macro cannot be known.
    """
    found: dict[str, str] = {}
    pending: list[tuple[str, list[Path]]] = [(text, []) for text in texts]
    while pending:
        text, here = pending.pop()
        for quoted, angled, macro in INCLUDE.findall(text):
            if macro:
                return None
            places = [*(here if quoted else []), *map(Path, folders)]
            path = next((each / (quoted or angled) for each in places if (each / (quoted or angled)).is_file()), None)
            if path is not None and str(path) not in found:
                found[str(path)] = path.read_text(encoding="utf-8", errors="surrogateescape")
                pending.append((found[str(path)], [path.parent]))
    return found


def compiler_version() -> list[int]:
    """Major and minor of the NVRTC that compiles (nvrtcVersion). Raises LibraryNotFound."""
    _, major, minor = _nvrtc().nvrtcVersion()
    return [int(major), int(minor)]


def _nvrtc() -> Any:
    try:
        from cuda.bindings import nvrtc

        nvrtc.nvrtcVersion()
    except (ImportError, RuntimeError) as error:
        raise LibraryNotFound("NVRTC", str(error)) from error
    return nvrtc


def _toolkit_folders() -> list[str]:
    """Folders with cuda_fp16.h and cuda_bf16.h."""
    from cuda.pathfinder import find_nvidia_header_directory

    found = find_nvidia_header_directory("cudart")
    return [found] if found else []


def _compile(
    source: str, architecture: str, to: Kind, headers: Mapping[str, str], options: Sequence[str], names: Sequence[str]
) -> Code:
    nvrtc = _nvrtc()
    texts, files = [text.encode() for text in headers.values()], [name.encode() for name in headers]
    program = _checked("nvrtcCreateProgram", source.encode(), b"source.cu", len(files), texts, files)
    try:
        for name in names:
            _checked("nvrtcAddNameExpression", program, name.encode())
        status = nvrtc.nvrtcCompileProgram(program, len(options), [option.encode() for option in options])[0]
        log = _content("nvrtcGetProgramLog", program).rstrip(b"\0").decode(errors="replace").strip()
        if status:
            raise CompilerError("nvrtcCompileProgram", int(status), status.name, log)
        lowered = {name: _checked("nvrtcGetLoweredName", program, name.encode()).decode() for name in names}
        return Code(to, architecture, _content(GETTERS[to], program), lowered, log)
    finally:
        nvrtc.nvrtcDestroyProgram(program)


def _content(getter: str, program: object) -> bytes:
    size = int(_checked(f"{getter}Size", program))
    if size < 2:  # Python shares the bytes objects of length one, and this one would be written into
        return b""
    content = bytes(size)
    _checked(getter, program, content)
    return content


def _checked(name: str, *arguments: object) -> Any:
    """Call a function of NVRTC and return what it gives beside its status. Raises CompilerError."""
    nvrtc = _nvrtc()
    status, *results = getattr(nvrtc, name)(*arguments)
    if status:
        text = nvrtc.nvrtcGetErrorString(status)[1]
        raise CompilerError(name, int(status), status.name, text.decode() if isinstance(text, bytes) else str(text))
    return results[0] if results else None
