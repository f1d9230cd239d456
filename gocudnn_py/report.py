"""What is on this machine: `python -m gocudnn_py.report`.

Driver, GPUs, each library with version, file and how it was found, and for what is missing the command that
installs it. Exit status 0 when cuDNN, cuBLAS and a GPU are usable, else 1. Works with nothing installed.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator
from typing import NamedTuple

from gocudnn_py import driver
from gocudnn_py.errors import GocudnnError, install_command
from gocudnn_py.finding import check_driver, cuda_major, find, installed
from gocudnn_py.library import Library, load

PACKAGES = ("cuda-python", "cuda-bindings", "cuda-core", "cuda-pathfinder", "ml-dtypes", "numpy", "nccl4py")
UNNEEDED = ("cuda-python", "nccl4py")  # the first only brings others; a network on one GPU needs no second


class Line(NamedTuple):
    """One finding: what it is about, the text, and whether all is well."""

    subject: str
    text: str
    good: bool = True


def findings() -> Iterator[Line]:
    """Everything the report says, in its order."""
    yield Line("Python", f"{platform.python_version()} on {platform.platform()}")
    yield from _driver()
    yield from _packages()
    yield from _file("NVRTC", "nvrtc")
    for name in ("cudnn", "cublas", "cublaslt"):
        yield from _library(name)
    for name in ("curand", "nvjpeg", "npp"):  # a network needs none of them
        yield from (line._replace(good=True) for line in _library(name))
    yield from (line._replace(good=True) for line in _file("NCCL", "nccl"))


def _driver() -> Iterator[Line]:
    try:
        major, minor = driver.version()
        gpus = driver.gpus()
    except GocudnnError as error:
        yield Line("driver", str(error), good=False)
        return
    yield Line("driver", f"runs CUDA up to {major}.{minor}")
    try:
        check_driver()
    except GocudnnError as error:
        yield Line("  packages", str(error), good=False)
    for gpu in gpus:
        sm, memory = "".join(map(str, gpu.capability)), gpu.memory / 2**30
        yield Line(f"GPU {gpu.number}", f"{gpu.name}, sm_{sm}, {memory:.1f} GiB")
    if not gpus:
        yield Line("GPU", "none visible to this process", good=False)


def _packages() -> Iterator[Line]:
    for package in PACKAGES:
        version = installed(package)
        absent = f"not installed: {install_command(cuda_major(), package)}" if package == "nccl4py" else "not installed"
        yield Line(package, version or absent, good=version is not None or package in UNNEEDED)


def _file(title: str, name: str) -> Iterator[Line]:
    """A library that is only looked for."""
    try:
        place = find(name)
    except GocudnnError as error:
        yield Line(title, str(error), good=False)
    else:
        yield Line(title, f"{place.path} ({place.source})")


def _library(name: str) -> Iterator[Line]:
    try:
        library: Library = load(name)  # type: ignore[call-overload]
    except (GocudnnError, OSError) as error:
        yield Line(name, str(error), good=False)
        return
    number = ".".join(map(str, library.version))
    yield Line(library.name, f"{number}  {library.path} ({library.source})")
    if library.parts is not None and library.parts.loaded:
        yield Line("  loaded", ", ".join(library.parts.loaded))
        for part, why in library.parts.failed.items():
            yield Line(f"  {part}", f"not loaded: {why}")


def main() -> int:
    """Print the findings; 0 if all is well."""
    bad = []
    for line in findings():
        mark = " " if line.good else "!"
        print(f"{mark} {line.subject:24} {line.text}".replace("\n", "\n" + " " * 27))
        bad += [] if line.good else [line.subject]
    if not bad:
        print("\nUsable: everything is there.")
        return 0
    print(f"\nNot usable yet: {', '.join(bad)}.")
    if bad != ["driver"]:
        print(f"To install the libraries: {install_command(cuda_major())}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
