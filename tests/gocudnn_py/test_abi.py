"""The generated tables: what they hold, that the headers say so, that every name is in the library."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from enum import IntEnum
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from gocudnn_py._abi import base, cublas, cublaslt, cuda, cudnn, curand, npp, nvjpeg
from gocudnn_py._abi.pinned import recipe
from gocudnn_py._abi.reading import class_name, member_names

ABI = Path(cudnn.__file__).parent
LIBRARIES: dict[str, Any] = {
    "cudnn": cudnn,
    "cublas": cublas,
    "cublaslt": cublaslt,
    "curand": curand,
    "nvjpeg": nvjpeg,
    "npp": npp,
}

# name, functions, enumerations of its own, structures, callback types
COUNTS = [
    ("cuda", 0, 5, 0, 0),
    ("cudnn", 239, 73, 7, 1),
    ("cublas", 517, 11, 0, 1),
    ("cublaslt", 53, 21, 7, 1),
    ("curand", 27, 5, 0, 0),
    ("nvjpeg", 81, 9, 5, 8),
    ("npp", 334, 18, 36, 0),
]

# What older libraries lack of the tables: cuDNN before 9.28, cuBLAS before 13, cuBLASLt before 13.10, and so on.
NEWER = {
    "cudnn": r"cudnn(GetExecutionPlanWorkspaceSize|Subquadratic.*|.*CausalConv1d.*|Gnn.*)",
    "cublas": r"cublas[GS]et(EmulationSpecialValuesSupport|FixedPointEmulation.*)",
    "cublaslt": r"cublasLt(EmulationDesc.*|Grouped.*|MatmulAlgo(GetHeuristic|Check)ForStream)",
    "curand": r"",
    "nvjpeg": r"",
    "npp": r"",
}
COMPLETE = {
    "cudnn": (9, 28),
    "cublas": (13, 1),
    "cublaslt": (13, 10),
    "curand": (10, 4),
    "nvjpeg": (13, 3),
    "npp": (13, 2),
}


def own_types(module: Any, kind: type) -> list[type]:
    found = (v for v in vars(module).values() if isinstance(v, type) and issubclass(v, kind))
    return [found_type for found_type in found if found_type.__module__ == module.__name__]


@pytest.mark.parametrize(("name", "functions", "enums", "structs", "callbacks"), COUNTS)
def test_tables_hold_everything(name: str, functions: int, enums: int, structs: int, callbacks: int) -> None:
    module = import_module(f"gocudnn_py._abi.{name}")
    assert len(getattr(module, "FUNCTIONS", {})) == functions
    assert len(own_types(module, IntEnum)) == enums
    assert len(own_types(module, ctypes.Structure)) == structs
    assert len([v for v in vars(module).values() if isinstance(v, type) and hasattr(v, "_flags_")]) == callbacks


def test_every_cudnn_header_is_read() -> None:
    headers = Counter(row.header for row in cudnn.FUNCTIONS.values())
    assert headers == {
        "cudnn_graph.h": 24,
        "cudnn_ops.h": 100,
        "cudnn_cnn.h": 50,
        "cudnn_adv.h": 47,
        "cudnn_gnn_ops.h": 6,
        "cudnn_subquadratic_ops.h": 12,
    }
    assert sum(row.deprecated for row in cudnn.FUNCTIONS.values()) == 135
    assert sum(len(enum.__members__) for enum in own_types(cudnn, IntEnum)) == 960


def test_a_row_reads_like_its_declaration() -> None:
    row = cudnn.FUNCTIONS["cudnnSetTensor4dDescriptor"]
    assert row.result is base.Answer
    assert row.arguments == (base.Ptr, *[base.Int] * 6)
    assert row.names == ("tensorDesc", "format", "dataType", "n", "c", "h", "w")
    assert (row.deprecated, row.header) == (False, "cudnn_ops.h")
    forward = cudnn.FUNCTIONS["cudnnConvolutionForward"]
    assert forward.arguments[forward.names.index("workSpaceSizeInBytes")] is base.Size
    assert cublas.FUNCTIONS["cublasSgemm_v2_64"].arguments.count(base.Int64) == 6


def test_wide_parameters_are_never_narrow() -> None:
    sizes = re.compile(r"size|bytes|stride.*64", re.IGNORECASE)
    counts = re.compile(r"^(m|n|k|lda|ldb|ldc|incx|incy|stride[A-Za-z]*|batchCount)$")
    for module in LIBRARIES.values():
        for name, row in module.FUNCTIONS.items():
            for argument, kind in zip(row.names, row.arguments, strict=True):
                wide = "SizeInBytes" in argument or (name.endswith("_64") and counts.match(argument))
                if issubclass(kind, ctypes.Structure):
                    continue
                if wide or (sizes.search(argument) and kind is not base.Int and kind is not base.Ptr):
                    assert kind in (base.Size, base.Int64, base.Ptr), (name, argument)


@pytest.mark.parametrize(
    ("structure", "size", "offset"),
    [
        (cudnn.Fraction, 16, ("denominator", 8)),
        (cudnn.ConvolutionFwdAlgoPerf, 48, ("memory", 16)),
        (cudnn.GnnCscGraph, 72, ("cscRevOffsets", 64)),
        (cudnn.Debug, 120, ("handle", 24)),
        (cublaslt.MatmulAlgo, 64, ("data", 0)),
        (cublaslt.MatmulHeuristicResult, 96, ("state", 72)),
        (nvjpeg.Image, 64, ("pitch", 32)),
        (npp.NppStreamContext, 48, ("hWorkspace", 44)),
    ],
)
def test_structures_lie_as_in_c(structure: Any, size: int, offset: tuple[str, int]) -> None:
    assert ctypes.sizeof(structure) == size
    assert getattr(structure, offset[0]).offset == offset[1]


@pytest.mark.parametrize(
    ("member", "value"),
    [
        (cudnn.DataType.BFLOAT16, 9),
        (cudnn.TensorFormat.NHWC, 1),
        (cudnn.MathType.FMA_MATH, 3),
        (cudnn.ConvolutionBwdFilterAlgo.ALGO_0, 0),
        (cudnn.IndicesType.INDICES_8BIT, 3),
        (cudnn.BackendHeurMode.A, 3),
        (cudnn.BackendAttributeName.DEVICEPROP_JSON_REPRESENTATION, 2702),
        (cudnn.BackendOperationGraphMode.AUTO, -1),
        (cublas.ComputeType.COMPUTE_32F, 68),
        (cublas.Operation.T, 1),
        (cublaslt.Epilogue.RELU_BIAS, 6),
        (cuda.CudaDataType.R_16BF, 14),
        (curand.RngType.PSEUDO_PHILOX4_32_10, 161),
        (nvjpeg.OutputFormat.RGBI, 5),
        (npp.NppiInterpolationMode.INTER_LINEAR, 2),
    ],
)
def test_enumerators_have_c_values(member: IntEnum, value: int) -> None:
    assert member == value


@pytest.mark.parametrize(
    ("members", "names"),
    [
        (["CUDNN_TENSOR_NCHW", "CUDNN_TENSOR_NHWC"], ["NCHW", "NHWC"]),
        (["CUDNN_CONVOLUTION", "CUDNN_CROSS_CORRELATION"], ["CONVOLUTION", "CROSS_CORRELATION"]),
        (["CUDNN_X_ALGO_0", "CUDNN_X_ALGO_FFT"], ["ALGO_0", "FFT"]),
        (["CUDNN_SAMPLER_BILINEAR"], ["BILINEAR"]),
        (["MAJOR_VERSION", "MINOR_VERSION"], ["MAJOR_VERSION", "MINOR_VERSION"]),
        (["CUDNN_8BIT_INDICES", "CUDNN_16BIT_INDICES"], ["INDICES_8BIT", "INDICES_16BIT"]),
    ],
)
def test_members_lose_the_c_prefix(members: list[str], names: list[str]) -> None:
    assert list(member_names(members, recipe()["cudnn"]).values()) == names


def test_types_lose_the_c_prefix() -> None:
    sections = recipe()
    assert class_name("cudnnDataType_t", sections["cudnn"]) == "DataType"
    assert class_name("cudaDataType_t", sections["cuda"]) == "CudaDataType"


@pytest.mark.parametrize("name", LIBRARIES)
def test_every_function_resolves(name: str, request: pytest.FixtureRequest) -> None:
    library = request.getfixturevalue(name)
    missing = [function for function in LIBRARIES[name].FUNCTIONS if not hasattr(library, function)]
    if library.version >= COMPLETE[name]:
        assert missing == []
    assert [function for function in missing if not re.fullmatch(NEWER[name], function)] == []
    assert all(callable(getattr(library, f)) for f in LIBRARIES[name].FUNCTIONS if f not in missing)


def test_tables_are_what_the_pinned_headers_make() -> None:
    """Set GOCUDNN_HEADERS to a folder filled by `generate --fetch`; installed pinned wheels serve as well."""
    pytest.importorskip("clang.cindex", reason="libclang is not installed")
    folder = os.environ.get("GOCUDNN_HEADERS")
    command = [sys.executable, "-m", "gocudnn_py._abi.generate", "--check"]
    done = subprocess.run(
        [*command, *(["--headers", folder] if folder else [])],
        capture_output=True,
        text=True,
        cwd=ABI.parents[1],
        check=False,
    )
    if "--fetch FOLDER" in done.stderr:
        pytest.skip(done.stderr.strip())
    assert (done.returncode, done.stderr) == (0, "")


def test_generated_files_hold_no_comment_of_a_header() -> None:
    for path in ABI.glob("*.py*"):
        if path.stem not in {"cuda", *LIBRARIES}:
            continue
        text = path.read_text(encoding="utf-8")
        assert "#" not in text
        assert "NVIDIA" not in text
        assert str(Path.home()) not in text


def test_stubs_complete_and_type_check(tmp_path: Path) -> None:
    if shutil.which("mypy", path=str(Path(sys.executable).parent)) is None:
        pytest.skip("mypy is not installed")
    good, bad = tmp_path / "good.py", tmp_path / "bad.py"
    start = "import ctypes\nfrom gocudnn_py.library import load\nlib = load('cudnn')\nd = ctypes.c_void_p()\n"
    good.write_text(start + "lib.cudnnCreateTensorDescriptor(ctypes.byref(d))\nv: int = lib.cudnnGetVersion()\n")
    bad.write_text(start + "lib.cudnnCreateTensorDescriptor(1.5)\nlib.cudnnSetTensor4dDescriptor(d, 0, 0, 1, 2)\n")
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache")]
    environment = {**os.environ, "MYPYPATH": str(ABI.parents[1])}
    done = [
        subprocess.run([*command, str(p)], capture_output=True, text=True, env=environment, cwd=tmp_path, check=False)
        for p in (good, bad)
    ]
    assert done[0].returncode == 0, done[0].stdout
    assert "cudnnCreateTensorDescriptor" in done[1].stdout
    assert "Too few arguments" in done[1].stdout
