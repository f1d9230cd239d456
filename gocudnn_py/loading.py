"""Loading in the one order that is safe, and the audit of what came of it."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable, Mapping
from enum import IntEnum
from importlib import import_module
from typing import Any

from gocudnn_py._abi.base import Function
from gocudnn_py._abi.cudnn import FUNCTIONS
from gocudnn_py.errors import (
    CublasError,
    CudnnError,
    CurandError,
    LibraryNotFound,
    NppError,
    NppWarning,
    NvjpegError,
    StatusError,
    VersionMismatch,
    cudnn_error,
    install_command,
)
from gocudnn_py.finding import (
    ADOPTED,
    Place,
    check_wheels,
    cuda_major,
    find,
    find_cudnn,
    graph_wheel,
    installed,
    mapped_files,
)
from gocudnn_py.library import Library
from gocudnn_py.parts import NppParts, Parts

FLOOR = (9, 19, 0)
CHECKS = {"graph": "cudnnGraphVersionCheck", "ops": "cudnnOpsVersionCheck", "cnn": "cudnnCnnVersionCheck"}


def open_cudnn() -> Library:
    """Open NVRTC (with its builtins) and cuBLASLt first, then cuDNN and its parts, and audit them."""
    companions = _companions()
    place = find_cudnn()
    directory = os.path.dirname(place.path)
    if sys.platform == "win32":
        os.add_dll_directory(directory)
    check_wheels(directory)
    parts = Parts(directory)
    library = Library("cuDNN", place.path, FUNCTIONS, _cudnn_error, source=place.source, parts=parts)
    parts.start()  # before any call: even cudnnGetVersion has cuDNN search for its graph part, or abort
    number = _number(library, "cudnnGetVersion")
    library.version = (number // 10000, number % 10000 // 100, number % 100)
    _check_floor(library)
    _check_parts(library, parts)
    _check_majors(library, _number(library, "cudnnGetCudartVersion") // 1000, companions)
    return library


def _companions() -> dict[str, Place]:
    """What cuDNN would look for itself; its graph API alone does without cuBLASLt, or one of another CUDA major."""
    found = {"nvrtc": find("nvrtc")}
    try:
        found["cublasLt"] = find("cublasLt")
    except LibraryNotFound:
        if graph_wheel() is None:
            raise
    if graph_wheel() and len({file_major(place.path) for place in found.values()}) > 1:
        del found["cublasLt"]
    return found


def _number(library: Library, function: str) -> int:
    return int(getattr(library, function)())


def _check_floor(library: Library) -> None:
    if library.version >= FLOOR:
        return
    have, need = (".".join(map(str, version)) for version in (library.version, FLOOR))
    whose = " by PyTorch" if "torch" in sys.modules else ""
    cause = (
        f"It was already loaded{whose}: update that, or load gocudnn_py's first"
        if library.source == ADOPTED
        else f"Install a newer one: {install_command(cuda_major())}"
    )
    raise VersionMismatch(f"cuDNN {have} at {library.path} is older than {need}, the oldest supported. {cause}.")


def _check_parts(library: Library, parts: Parts) -> None:
    try:
        for part, check in CHECKS.items():
            if parts.present(part):
                getattr(library, check)()
    except CudnnError as error:
        mapped = "\n  ".join(file for file in mapped_files() if "cudnn" in os.path.basename(file))
        failed = "".join(f"\n{part}: {why}" for part, why in parts.failed.items())
        raise VersionMismatch(
            f"cuDNN's parts do not belong together: {error}\nLoaded from:\n  {mapped}{failed}"
        ) from error


def _check_majors(library: Library, major: int, companions: dict[str, Place]) -> None:
    """Every CUDA library and cuda-bindings must be of the major that the library was built for."""
    found = {f"{name} at {place.path}": file_major(place.path) for name, place in companions.items()}
    bindings = installed("cuda-bindings")
    if bindings:
        found[f"cuda-bindings {bindings}"] = int(bindings.split(".")[0])
    wrong = [f"{what} is for CUDA {other}" for what, other in found.items() if other not in (None, major)]
    if wrong:
        raise VersionMismatch(
            f"CUDA majors are mixed: {library!r} is for CUDA {major}, but {', '.join(wrong)}. "
            f"Install one set in a clean environment: {install_command(major)}"
        )


def file_major(path: str) -> int | None:
    """The CUDA major in a library's file name: libnvrtc.so.12 and nvrtc64_120_0.dll are for CUDA 12."""
    name = os.path.basename(path)
    digits = name.partition(".so.")[2].partition(".")[0] or name.partition("64_")[2][:2]
    return int(digits) if digits.isdigit() else None


def _cudnn_error(library: Library, function: str, status: int) -> CudnnError:
    """In the library's own words (cudnnGetErrorString, cudnnGetLastErrorString)."""
    # Read at once and thereby cleared: a later failure that says nothing would show this text again.
    text = ctypes.create_string_buffer(4096)
    library.cudnnGetLastErrorString(text, len(text))
    name = library.cudnnGetErrorString(status).decode()
    return cudnn_error(function, status, name, text.value.decode(errors="replace"))


def open_cublaslt() -> Library:
    """Open cuBLASLt and audit its CUDA major."""
    return _open_blas("cublaslt", "cuBLASLt", "cublasLt", "cublasLtGetVersion")


def open_cublas() -> Library:
    """Open cuBLAS after the cuBLASLt it calls; both must be of one version."""
    lt = _open_blas("cublaslt", "cuBLASLt", "cublasLt", "cublasLtGetVersion")
    library = _open_blas("cublas", "cuBLAS", "cublas", "cublasGetVersion_v2")
    if library.version != lt.version:
        raise VersionMismatch(f"cuBLAS and cuBLASLt are not of one version: {library!r}, {lt!r}")
    return library


def _open_blas(module: str, title: str, name: str, version: str) -> Library:
    place = find(name)
    functions = import_module(f"gocudnn_py._abi.{module}").FUNCTIONS
    library = Library(title, place.path, functions, _cublas_error(name), source=place.source)
    library.version = _blas_version(library, version)
    _check_majors(library, library.version[0], {})
    return library


def _blas_version(library: Library, function: str) -> tuple[int, ...]:
    """Major, minor and patch (cublasGetVersion_v2, cublasLtGetVersion)."""
    number = ctypes.c_int()
    if function == "cublasLtGetVersion":
        number.value = library.cublasLtGetVersion()
    else:
        library.cublasGetVersion_v2(None, ctypes.byref(number))
    return number.value // 10000, number.value % 10000 // 100, number.value % 100


def _cublas_error(prefix: str) -> Callable[[Library, str, int], StatusError]:
    """In the library's own words.

    (cublasGetStatusName, cublasGetStatusString, cublasLtGetStatusName, cublasLtGetStatusString.)
    """

    def explain(library: Library, function: str, status: int) -> CublasError:
        name: Any = getattr(library, f"{prefix}GetStatusName")(status)
        text: Any = getattr(library, f"{prefix}GetStatusString")(status)
        return CublasError(function, status, name.decode(), text.decode())

    return explain


def open_curand() -> Library:
    """Open cuRAND; its own major is not CUDA's, so its file is all that can be audited."""
    from gocudnn_py._abi import curand

    library = _open("curand", "cuRAND", curand.FUNCTIONS, _named_by(curand.Status, CurandError))
    number = ctypes.c_int()
    library.curandGetVersion(ctypes.byref(number))
    library.version = number.value // 1000, number.value % 1000 // 100, number.value % 100
    return library


def open_nvjpeg() -> Library:
    """Open nvJPEG and audit its CUDA major."""
    from gocudnn_py._abi import nvjpeg
    from gocudnn_py._abi.cuda import LibraryPropertyType

    library = _open("nvjpeg", "nvJPEG", nvjpeg.FUNCTIONS, _named_by(nvjpeg.Status, NvjpegError))
    number, version = ctypes.c_int(), []
    for part in (LibraryPropertyType.MAJOR_VERSION, LibraryPropertyType.MINOR_VERSION, LibraryPropertyType.PATCH_LEVEL):
        library.nvjpegGetProperty(part, ctypes.byref(number))
        version.append(number.value)
    library.version = tuple(version)
    _check_majors(library, library.version[0], {})
    return library


def open_npp() -> Library:
    """Open NPP's core, and audit its CUDA major; the others follow when they are used."""
    from gocudnn_py._abi import npp

    library = _open("nppc", "NPP", npp.FUNCTIONS, _npp_problem, NppParts())
    found = npp.NppLibraryVersion.from_address(library.nppGetLibVersion())
    library.version = found.major, found.minor, found.build
    _check_majors(library, library.version[0], {})
    return library


def _open(
    name: str,
    title: str,
    functions: Mapping[str, Function],
    explain: Callable[[Library, str, int], StatusError | Warning],
    parts: NppParts | None = None,
) -> Library:
    place = find(name)
    return Library(title, place.path, functions, explain, source=place.source, parts=parts)


def _named_by(statuses: type[IntEnum], kind: type[StatusError]) -> Callable[[Library, str, int], StatusError]:
    """Exceptions of a library that has no words for its statuses: the header's name is all there is."""

    def explain(library: Library, function: str, status: int) -> StatusError:
        return kind(function, status, _name_of(statuses, status))

    return explain


NPP_BEFORE_13_2 = {
    -9999: "NOT_SUPPORTED_MODE_ERROR",
    -59: "ZERO_MASK_VALUE_ERROR",
    -23: "RESIZE_FACTOR_ERROR",
    -22: "INTERPOLATION_ERROR",
    -21: "MIRROR_FLIP_ERROR",
    -20: "MOMENT_00_ZERO_ERROR",
    -19: "THRESHOLD_NEGATIVE_LEVEL_ERROR",
    -18: "THRESHOLD_ERROR",
    -17: "CONTEXT_MATCH_ERROR",
    -16: "FFT_FLAG_ERROR",
    -15: "FFT_ORDER_ERROR",
    -14: "STEP_ERROR",
    -13: "SCALE_RANGE_ERROR",
    -12: "DATA_TYPE_ERROR",
}
"""Statuses that had other numbers, by what they meant."""


def _npp_problem(library: Library, function: str, status: int) -> StatusError | Warning:
    from gocudnn_py._abi.npp import NppStatus

    name = _name_of(NppStatus, status)
    if library.version < (13, 2):
        name = NPP_BEFORE_13_2.get(status, name)
    return NppError(function, status, name) if status < 0 else NppWarning(f"{function}: {name} ({status})")


def _name_of(statuses: type[IntEnum], status: int) -> str:
    return {each.value: each.name for each in statuses}.get(status, "unknown status")


OPENERS: dict[str, Callable[[], Library]] = {
    "cudnn": open_cudnn,
    "cublas": open_cublas,
    "cublaslt": open_cublaslt,
    "curand": open_curand,
    "nvjpeg": open_nvjpeg,
    "npp": open_npp,
}
