"""What the tests of the bindings share: the real libraries, a C compiler, fresh processes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gocudnn_py import driver
from gocudnn_py.errors import LibraryNotFound, NoDevice
from gocudnn_py.library import load
from tests.gocudnn_py.without_gpu import STUB

ROOT = Path(__file__).parents[2]
Run = Callable[..., "subprocess.CompletedProcess[str]"]
PRELUDE = f"""
import ctypes, json, os, sys
from pathlib import Path
sys.path.insert(0, {str(ROOT)!r})
ctypes.CDLL(os.environ["STUB"])
from gocudnn_py.cudnn.graph import *
from gocudnn_py.errors import GraphRefused
from tests.gocudnn_py.without_gpu import GPUS
gpus = {{name: DeviceProperties(text.encode()) for name, text in GPUS.items()}}
"""
"""What a program without a GPU begins with."""


def _loaded(name: str) -> Any:
    try:
        return load(name)  # type: ignore[call-overload]
    except LibraryNotFound as error:
        pytest.skip(str(error).splitlines()[0])


@pytest.fixture(scope="module")
def cudnn() -> Any:
    return _loaded("cudnn")


@pytest.fixture(scope="module")
def cublas() -> Any:
    return _loaded("cublas")


@pytest.fixture(scope="module")
def cublaslt() -> Any:
    return _loaded("cublaslt")


@pytest.fixture(scope="module")
def curand() -> Any:
    return _loaded("curand")


@pytest.fixture(scope="module")
def nvjpeg() -> Any:
    return _loaded("nvjpeg")


@pytest.fixture(scope="module")
def npp() -> Any:
    return _loaded("npp")


@pytest.fixture(scope="module")
def gpu() -> driver.Gpu:
    try:
        gpus = driver.gpus()
    except NoDevice as error:
        pytest.skip(str(error))
    return gpus[0]


@pytest.fixture(scope="module")
def no_gpu() -> None:
    """Skip where a GPU would make the failure under test not happen."""
    try:
        driver.library()
    except NoDevice:
        return
    pytest.skip("this machine has a GPU")


@pytest.fixture(scope="module")
def compile_c() -> Callable[..., Path]:
    """A function that makes a shared library of C source."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler")

    def compile_c(source: str, path: Path) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        command = [
            compiler,
            "-shared",
            "-fPIC",
            "-w",
            "-x",
            "c",
            "-",
            f"-Wl,-soname,{path.name}",
            "-o",
            str(path),
        ]
        subprocess.run(command, input=source, text=True, check=True)
        return path

    return compile_c


@pytest.fixture(scope="module")
def run_python() -> Run:
    """A function that runs a program in a fresh interpreter with warnings as errors."""

    def run_python(program: str, *, ok: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
        kept = {name: value for name, value in os.environ.items() if name != "CUDNN_PATH"}
        kept |= {"PYTHONPATH": str(ROOT), **environment}
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", textwrap.dedent(program)],
            capture_output=True,
            text=True,
            env=kept,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0 or not ok, done.stderr
        return done

    return run_python


@pytest.fixture(scope="module")
def deviceless(
    cudnn: Any, no_gpu: None, compile_c: Callable[..., Path], run_python: Run, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Any]:
    """A function that runs a program with the stand-in for libcuda and returns what it printed, as JSON."""
    stub = compile_c(STUB, tmp_path_factory.mktemp("stub") / "libcuda.so.1")

    def deviceless(program: str) -> Any:
        done = run_python(PRELUDE + program, STUB=str(stub))
        return json.loads(done.stdout.splitlines()[-1])

    return deviceless
