"""Where the libraries are: what this process has mapped already, CUDNN_PATH, wheels, conda, the system."""

from __future__ import annotations

import logging
import os
import re
import sys
from importlib import import_module, metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from gocudnn_py import driver
from gocudnn_py.errors import GocudnnError, LibraryNotFound, VersionMismatch

logger = logging.getLogger("gocudnn_py")
CUDNN_MAJOR = 9
CUDNN_WHEELS = {12: "nvidia-cudnn-cu12", 13: "nvidia-cudnn-cu13"}
PART = r"_(?:graph|ops|cnn|adv|heuristic|ext|engines_[a-z_]+?)(?:_infer|_train)?"  # the last two: cuDNN 8
CUDNN_FILE = re.compile(rf"(?:lib)?cudnn({PART})?(?:64_(\d+)\.dll|\.so\.(\d+)[.\d]*)")
ADOPTED = "already loaded in this process"


class Place(NamedTuple):
    """A library file and how it was found."""

    path: str
    source: str


def cudnn_file(part: str = "") -> str:
    """The file name of cuDNN or of one of its sub-libraries ('ops', 'graph', ...)."""
    stem = f"cudnn_{part}" if part else "cudnn"
    return f"{stem}64_{CUDNN_MAJOR}.dll" if sys.platform == "win32" else f"lib{stem}.so.{CUDNN_MAJOR}"


def find_cudnn() -> Place:
    """The cuDNN to use: one that is mapped already, whatever the order, then CUDNN_PATH, then pathfinder's.

    A wheel with the graph API alone (nvidia-cudnn-jit-cu12, -cu13) serves where the whole one is not installed. Two
    copies in one process are what ends in SUBLIBRARY_VERSION_MISMATCH, so an adopted one always wins.
    """
    adopted, named = mapped_cudnn(), os.environ.get("CUDNN_PATH")
    if adopted is None:
        if named:
            return _named(Path(named), f"CUDNN_PATH={named}")
        wheel = graph_wheel()
        return find("cudnn") if wheel is None else _named(wheel, "the wheel with the graph API alone")
    if named and not Path(adopted.path).is_relative_to(Path(named).resolve()):
        logger.warning("CUDNN_PATH=%s is not used: cuDNN is already loaded from %s", named, adopted.path)
    logger.info("adopted cuDNN, already loaded from %s", adopted.path)
    return adopted


def mapped_cudnn() -> Place | None:
    """The cuDNN that something else, PyTorch say, has loaded into this process."""
    files = [Path(file) for file in mapped_files() if CUDNN_FILE.fullmatch(Path(file).name)]
    majors = {int(next(filter(None, _match(file).groups()[1:]))) for file in files}
    if majors - {CUDNN_MAJOR}:
        listed = ", ".join(map(str, files))
        raise VersionMismatch(f"cuDNN {CUDNN_MAJOR} is needed, but this process has already loaded {listed}")
    shim = [file for file in files if _match(file)[1] is None]
    for file in shim or [file.with_name(cudnn_file()) for file in files]:
        if file.is_file():
            return Place(str(file), ADOPTED)
    return None


def _match(file: Path) -> re.Match[str]:
    match = CUDNN_FILE.fullmatch(file.name)
    assert match is not None
    return match


def mapped_files() -> list[str]:
    """The files of every shared library in this process."""
    return _windows_modules() if sys.platform == "win32" else _linux_maps()


def _linux_maps() -> list[str]:
    try:
        lines = Path("/proc/self/maps").read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return []
    fields = (line.split(maxsplit=5) for line in lines)
    return sorted({entry[5] for entry in fields if len(entry) == 6 and ".so" in entry[5]})


def _windows_modules() -> list[str]:
    import ctypes

    kernel: Any = getattr(ctypes, "windll").kernel32  # noqa: B009 - not in the stubs of other platforms
    kernel.GetModuleHandleW.restype = ctypes.c_void_p
    found, text = [], ctypes.create_unicode_buffer(32768)
    for part in ("", "graph", "ops", "cnn", "adv", "heuristic"):
        module = kernel.GetModuleHandleW(cudnn_file(part))
        if module and kernel.GetModuleFileNameW(ctypes.c_void_p(module), text, len(text)):
            found.append(text.value)
    return found


def graph_wheel() -> Path | None:
    """The folder of the wheel with cuDNN's graph API alone, where the whole wheel is not installed."""
    nvidia = find_spec("nvidia")
    folders = [Path(path) for path in (nvidia and nvidia.submodule_search_locations) or ()]
    if any((folder / "cudnn").is_dir() for folder in folders):
        return None
    return next((folder / "cudnn_jit" for folder in folders if (folder / "cudnn_jit").is_dir()), None)


def _named(folder: Path, how: str) -> Place:
    looked = [folder / part for part in ("lib", "lib64", "bin", "bin/x64", ".")]
    for candidate in looked:
        if (candidate / cudnn_file()).is_file():
            return Place(str(candidate / cudnn_file()), how)
    listed = ", ".join(str(candidate) for candidate in looked)
    raise LibraryNotFound("cuDNN", f"{cudnn_file()} is in none of {listed} ({how})", cuda_major())


def find(name: str) -> Place:
    """Find and load a library by cuda-pathfinder's name for it."""
    try:
        pathfinder: Any = import_module("cuda.pathfinder")
    except ImportError as error:
        raise LibraryNotFound("cuda-pathfinder", str(error), cuda_major()) from None
    try:
        found = pathfinder.load_nvidia_dynamic_lib(name)
    except pathfinder.DynamicLibNotFoundError as error:
        why = "it is in no wheel, in no conda environment and not on the system"
        raise LibraryNotFound(name, why, cuda_major()) from error
    except RuntimeError as error:
        raise LibraryNotFound(name, str(error).strip().splitlines()[0], cuda_major()) from error
    return Place(found.abs_path, ADOPTED if found.was_already_loaded_from_elsewhere else found.found_via)


def installed(package: str) -> str | None:
    """An installed package's version, without importing it."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def check_driver() -> None:
    """Raise VersionMismatch where the packages are for a newer CUDA than the driver runs."""
    bindings, (major, minor) = installed("cuda-bindings"), driver.version()
    if bindings is not None and int(bindings.split(".")[0]) > major:
        raise VersionMismatch(
            f"the NVIDIA driver runs CUDA up to {major}.{minor}, the installed packages are newer (cuda-bindings "
            f"{bindings}): update the driver, or install the packages for CUDA {major} (the extra [cu{major}])"
        )


def cuda_major() -> int | None:
    """The CUDA major to install for: the packages', else the newest the driver runs; None if neither says."""
    bindings = installed("cuda-bindings")
    if bindings:
        return int(bindings.split(".")[0])
    wheels = [major for major, wheel in CUDNN_WHEELS.items() if installed(wheel)]
    if len(wheels) == 1:
        return wheels[0]
    try:
        return min(driver.version()[0], max(CUDNN_WHEELS))
    except GocudnnError:
        return None


def check_wheels(directory: str) -> None:
    """Raise if both CUDA majors' cuDNN wheels are installed and each wrote a part of the same folder.

    They install the same file names, so pip's last one wins file by file.
    """
    if not all(map(installed, CUDNN_WHEELS.values())):
        return
    folder = Path(directory).resolve()
    sizes = {wheel: _recorded(wheel, folder) for wheel in CUDNN_WHEELS.values()}
    if not all(sizes.values()):
        return
    whole = set(sizes)  # the wheels that could have written every file as it is
    for file in folder.glob("*cudnn*"):
        whole &= {wheel for wheel, files in sizes.items() if files.get(file.name) == file.stat().st_size}
    if whole:
        logger.warning("both cuDNN wheels are installed; %s wrote %s last", " or ".join(whole), folder)
        return
    raise VersionMismatch(
        f"{' and '.join(sizes)} are both installed and have overwritten each other's files in {folder}; "
        f"uninstall both, then install one again"
    )


def _recorded(wheel: str, folder: Path) -> dict[str, int]:
    """The sizes of the files that a wheel put into the folder, by its own record."""
    files = metadata.distribution(wheel).files or []
    mine = (file for file in files if Path(str(file.locate())).parent.resolve() == folder)
    return {file.name: file.size or 0 for file in mine}
