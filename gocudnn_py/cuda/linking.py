"""Several compiled codes joined to one by nvJitLink, with no GPU needed, and kept on disk."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from gocudnn_py.cuda.program import ARCHITECTURE, Code, kept
from gocudnn_py.errors import CompilerError, LibraryNotFound

INPUTS = {"cubin": "CUBIN", "ptx": "PTX", "ltoir": "LTOIR"}


def link(
    codes: Sequence[Code],
    architecture: str,
    to: Literal["cubin", "ptx"] = "cubin",
    *,
    libraries: Sequence[str] = (),
    options: Sequence[str] = (),
) -> Code:
    """Join relocatable cubins and PTX, or LTO code, which is optimised across them, to one that can be loaded.

    `libraries` are paths of static device libraries, libcudadevrt.a say; PTX comes out of LTO code only. Raises
    ValueError, LibraryNotFound when nvJitLink is not installed, CompilerError with the linker's log (nvJitLinkCreate,
    nvJitLinkAddData, nvJitLinkAddFile, nvJitLinkComplete, nvJitLinkGetLinkedCubin, nvJitLinkGetLinkedPtx,
    nvJitLinkGetErrorLog, nvJitLinkGetInfoLog, nvJitLinkDestroy).
    """
    if not codes:
        raise ValueError("nothing to link")
    if not ARCHITECTURE.fullmatch(architecture):
        raise ValueError(f"architecture {architecture!r}, which is written as sm_90")
    lto = any(code.kind == "ltoir" for code in codes)
    if to not in ("cubin", "ptx") or (to == "ptx" and not lto):
        raise ValueError(f"linked to {to!r}: to 'cubin', or of LTO code to 'ptx'")
    wanted = [f"-arch={architecture}", *(["-lto"] if lto else []), *(["-ptx"] if to == "ptx" else []), *options]
    digests = [[code.kind, hashlib.sha256(code.content).hexdigest()] for code in codes]
    files = [hashlib.sha256(Path(path).read_bytes()).hexdigest() for path in libraries]
    made_of = [linker_version(), wanted, digests, files]
    lowered = {name: symbol for code in codes for name, symbol in code.lowered.items()}

    def make() -> Code:
        content, log = _link(codes, to, libraries, wanted)
        return Code(to, architecture, content, lowered, log)

    return kept(to, architecture, [*made_of, lowered], make)


def linker_version() -> list[int]:
    """Major and minor of the nvJitLink that links (nvJitLinkVersion). Raises LibraryNotFound."""
    return list(map(int, _nvjitlink().version()))


def _nvjitlink() -> Any:
    try:
        from cuda.bindings import nvjitlink

        nvjitlink.version()
    except (ImportError, RuntimeError) as error:
        raise LibraryNotFound("nvJitLink", f"{error} (pip install nvidia-nvjitlink)") from error
    return nvjitlink


def _link(codes: Sequence[Code], to: str, libraries: Sequence[str], options: Sequence[str]) -> tuple[bytes, str]:
    nvjitlink = _nvjitlink()
    try:
        handle = nvjitlink.create(len(options), list(options))
    except nvjitlink.nvJitLinkError as error:
        raise CompilerError("nvJitLinkCreate", int(error.status), str(error).split()[0], " ".join(options)) from error
    try:
        for number, code in enumerate(codes):
            kind = getattr(nvjitlink.InputType, INPUTS[code.kind])
            nvjitlink.add_data(handle, kind, code.content, len(code.content), f"code {number}")
        for path in libraries:
            nvjitlink.add_file(handle, nvjitlink.InputType.LIBRARY, path)
        nvjitlink.complete(handle)
        return _text(handle, f"linked_{to}"), _text(handle, "info_log").rstrip(b"\0").decode(errors="replace").strip()
    except nvjitlink.nvJitLinkError as error:
        log = _text(handle, "error_log").rstrip(b"\0").decode(errors="replace").strip()
        raise CompilerError("nvJitLinkComplete", int(error.status), str(error).split()[0], log) from error
    finally:
        nvjitlink.destroy(handle)


def _text(handle: int, what: str) -> bytes:
    nvjitlink = _nvjitlink()
    size = int(getattr(nvjitlink, f"get_{what}_size")(handle))
    content = bytearray(size)
    if size:
        getattr(nvjitlink, f"get_{what}")(handle, content)
    return bytes(content)
