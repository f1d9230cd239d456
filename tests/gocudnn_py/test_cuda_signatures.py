"""The driver's functions and structures as we call them, against cuda.h."""

from __future__ import annotations

import ast
import ctypes
import re
from pathlib import Path
from typing import Any

import pytest

import gocudnn_py.cuda
from gocudnn_py import driver
from gocudnn_py.cuda import copies, launch, nodes, pool

cindex = pytest.importorskip("clang.cindex", reason="libclang is missing: pip install libclang")
ROOT = Path(gocudnn_py.__file__).parent
UNDECLARED = {"cuLaunchKernelEx"}  # a launch is too often made to have its arguments checked
CALLED = re.compile(r"cu[A-Z]\w+")
STANDARD = "typedef unsigned long size_t; typedef unsigned int uint32_t; typedef unsigned long uint64_t;"
STRUCTURES = {
    "CUmemLocation_st": driver.Location,
    "CUipcMemHandle_st": driver.IpcHandle,
    "CUipcEventHandle_st": driver.IpcHandle,
    "CUDA_MEMCPY2D_st": copies._Copy2D,
    "CUDA_MEMCPY3D_st": copies._Copy3D,
    "CUDA_KERNEL_NODE_PARAMS_v2_st": nodes.KernelParameters,
    "CUgraphExecUpdateResultInfo_st": nodes.UpdateResult,
    "CUmemPoolProps_st": pool._Properties,
    "CUmemAccessDesc_st": pool._AccessDescription,
    "CUlaunchConfig_st": launch._LaunchConfig,
    "CUlaunchAttribute_st": launch._LaunchAttribute,
}


@pytest.fixture(scope="module")
def declared(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What cuda.h declares, by name; the internal version too, which older functions are exported by."""
    pathfinder = pytest.importorskip("cuda.pathfinder")
    folder = pathfinder.find_nvidia_header_directory("cudart")
    if not folder or not Path(folder, "cuda.h").is_file():
        pytest.skip("no cuda.h: pip install nvidia-cuda-runtime")
    scratch = tmp_path_factory.mktemp("headers")
    for name in ("stdlib.h", "stdint.h"):
        (scratch / name).write_text(f"#pragma once\n{STANDARD if name == 'stdint.h' else '#include <stdint.h>'}\n")
    options = ["-x", "c", "-nostdinc", "-target", "x86_64-unknown-linux-gnu", f"-I{scratch}"]
    unit = cindex.Index.create().parse(f"{folder}/cuda.h", args=[*options, "-D__CUDA_API_VERSION_INTERNAL"])
    return {cursor.spelling: cursor for cursor in unit.cursor.get_children()}


@pytest.mark.parametrize("kinds", driver.FUNCTIONS)
def test_functions_take_what_the_header_says(kinds: str, declared: dict[str, Any]) -> None:
    for name in driver.FUNCTIONS[kinds].split():
        assert name in declared, f"cuda.h has no {name}"
        types = [argument.type.get_canonical() for argument in declared[name].get_arguments()]
        assert "".join(map(_kind, types)) == kinds, name


def _kind(type: Any) -> str:
    numbers = {"INT": "i", "ENUM": "i", "UINT": "u", "ULONG": "n", "ULONGLONG": "n", "USHORT": "h", "UCHAR": "b"}
    if type.kind.name == "RECORD":
        return {8: "L", 64: "X"}[type.get_size()]
    return "p" if type.kind.name == "POINTER" else numbers[type.kind.name]


@pytest.mark.parametrize("name", STRUCTURES)
def test_structures_are_laid_out_as_in_the_header(name: str, declared: dict[str, Any]) -> None:
    ours: Any = STRUCTURES[name]
    theirs = declared[name].type
    assert ctypes.sizeof(ours) == theirs.get_size()
    offsets = [field.get_field_offsetof() // 8 for field in theirs.get_fields()]
    mine = [getattr(ours, field[0]).offset for field in ours._fields_]
    assert mine == offsets[: len(mine)]


def _called(path: Path) -> dict[str, int]:
    """The driver's functions that a file names in its code, and where; those in texts that explain are not."""
    tree = ast.parse(path.read_text())
    documents = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    texts = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in documents]
    return {text.value: text.lineno for text in texts if isinstance(text.value, str) and CALLED.fullmatch(text.value)}


def test_every_function_that_is_called_is_declared() -> None:
    rows = {name for names in driver.FUNCTIONS.values() for name in names.split()}
    halves = {"cuStreamWaitValue", "cuStreamWriteValue"}  # 32_v2 or 64_v2 is added
    used: set[str] = set()
    for path in [ROOT / "driver.py", *(ROOT / "cuda").glob("*.py")]:
        found = _called(path)
        used |= found.keys()
        for name, line in found.items():
            assert name in rows | UNDECLARED | halves, f"{path.name}:{line}: {name} is not in driver.FUNCTIONS"
    added = {f"{half}{bits}_v2" for half in halves for bits in (32, 64)}
    itself = {"cuInit", "cuGetErrorName", "cuGetErrorString"}  # called on the library that is being loaded
    assert rows - used - added - itself == set(), "declared and not called"
