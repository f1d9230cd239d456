"""A kernel of ours as a function of the host: compiled once for its defines, called with a grid and a block."""

from __future__ import annotations

import atexit
import ctypes
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from gocudnn_py import kernels

HERE = Path(__file__).parent
COMPILER = shutil.which("c++") or shutil.which("g++")
FLAGS = ["-std=c++17", "-O1", "-w", "-fPIC", "-ffp-contract=off"]
Defines = tuple[tuple[str, object], ...]


@cache
def folder() -> Path:
    """Where this process keeps what it compiles; the header is compiled beforehand, which saves two thirds."""
    path = Path(tempfile.mkdtemp(prefix="kernels-"))
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    shutil.copy(HERE / "cuda.hpp", path)
    command = [str(COMPILER), *FLAGS, "-x", "c++-header", "cuda.hpp", "-o", "cuda.hpp.gch"]
    subprocess.run(command, cwd=path, check=True)
    return path


@cache
def compiled(source: str, kernel: str, defines: Defines) -> Any:
    """A C function: six extents, bytes of shared memory, and the kernel's own parameters."""
    text = kernels.read_source(source)
    parameters = _parameters(text, kernel)
    names = ", ".join(parameter.split()[-1].lstrip("*") for parameter in parameters)
    meets = "__syncthreads" in text or "__shfl" in text
    text = re.sub(r"extern __shared__ (\w+) (\w+)\[\];", r"\1* \2 = static_cast<\1*>(host::shared_memory());", text)
    lines = [*(f"#define {name} {value}" for name, value in defines), text]
    lines += [
        f'extern "C" void host_launch(const unsigned int* dims, unsigned int shared_bytes, {", ".join(parameters)})',
        f"{{ host::run(dims, shared_bytes, {int(meets)}, [=] {{ {kernel}({names}); }}); }}",
    ]
    path = folder() / f"kernel{len(list(folder().iterdir()))}.so"
    command = [str(COMPILER), *FLAGS, "-shared", "-include", "cuda.hpp", "-x", "c++", "-", "-o", path.name]
    done = subprocess.run(command, cwd=folder(), input="\n".join(lines), capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{source} with {dict(defines)}:\n{done.stderr[:4000]}"
    return ctypes.CDLL(str(path)).host_launch


def launch(function: Any, grid: Sequence[int], block: Sequence[int], shared: int, arguments: Sequence[Any]) -> None:
    """Run every block of a grid."""
    dims = (ctypes.c_uint * 6)(*(*grid, 1, 1, 1)[:3], *(*block, 1, 1, 1)[:3])
    function(dims, ctypes.c_uint(shared), *arguments)


def _parameters(text: str, kernel: str) -> list[str]:
    plain = re.sub(r"//.*", "", text)
    pattern = rf'extern "C" __global__ void\s+(?:__launch_bounds__\(.*?\)\s+)?{kernel}\(([^)]*)\)'
    found = re.search(pattern, plain, re.DOTALL)
    assert found, f"no kernel {kernel}"
    return [" ".join(parameter.split()) for parameter in found[1].split(",")]
