"""Sixteen threads at once on what they share: libraries, files that are kept, descriptors, plans; no GPU."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest

from gocudnn_py import disk
from gocudnn_py.cudnn import ConvolutionDescriptor, FilterDescriptor, TensorDescriptor
from gocudnn_py.errors import LibraryNotFound
from gocudnn_py.resource import drain, pending

THREADS = 16
Result = TypeVar("Result")

LOADING = """
from concurrent.futures import ThreadPoolExecutor
import threading
from gocudnn_py.library import load

gate = threading.Barrier(16)

def loaded(number):
    gate.wait()
    library = load("cudnn")
    return id(library), library.cudnnGetVersion()

with ThreadPoolExecutor(16) as pool:
    print(len(set(pool.map(loaded, range(16)))))
"""
CHOOSING = """
from concurrent.futures import ThreadPoolExecutor
import threading

def convolved(channels):
    graph = Graph()
    x = graph.tensor("x", (8, channels, 14, 14), "float32")
    graph.output(graph.convolution(x, graph.tensor("w", (32, channels, 3, 3), "float32"), padding=1), "y")
    return graph

gate = threading.Barrier(16)

def choose(number):
    gate.wait()
    folder, target = Path(os.environ["FOLDER"]), gpus["sm_90"]
    return [choose_plan(convolved(channels), target, folder=folder).engine for channels in (8, 16, 24) * 3]

with ThreadPoolExecutor(16) as pool:
    engines = list(pool.map(choose, range(16)))
print(json.dumps([engines, sorted(path.suffix for path in Path(os.environ["FOLDER"]).iterdir())]))
"""


def at_once(work: Callable[[int], Result]) -> list[Result]:
    """What the threads, which begin together, return."""
    gate = threading.Barrier(THREADS)

    def begun(number: int) -> Result:
        gate.wait()
        return work(number)

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(begun, range(THREADS)))


def test_kept_files_are_whole(tmp_path: Path) -> None:
    contents = [bytes([number]) * (1000 * number + 1) for number in range(THREADS)]

    def work(number: int) -> bool:
        for _ in range(100):
            disk.write(tmp_path / "one", contents[number])
            if disk.read(tmp_path / "one") not in contents:
                return False
        return True

    assert all(at_once(work))
    assert [path.name for path in tmp_path.iterdir()] == ["one"]


def test_a_file_that_cannot_be_moved_into_place_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "one" / "two").mkdir(parents=True)
    disk.write(tmp_path / "one", b"content")  # a folder is in its place
    assert [path.name for path in tmp_path.iterdir()] == ["one"]


def test_a_library_is_loaded_once(cudnn: Any, run_python: Callable[..., Any]) -> None:
    assert run_python(LOADING).stdout.split() == ["1"]


def test_descriptors(cudnn: Any) -> None:
    def work(number: int) -> bool:
        for round in range(200):
            shape = (number + 1, 2 * round + 2, 7, 9)
            with TensorDescriptor() as x, FilterDescriptor() as w, ConvolutionDescriptor() as how:
                x.set(np.float32, shape)
                w.set(np.float32, (6, round + 1, 3, 3))
                how.set(padding=(1, 1), stride=(2, 2), groups=2)
                if how.output_shape(x, w) != (number + 1, 6, 4, 5) or x.get().dims != shape:
                    return False
            TensorDescriptor()  # let go of, for the finalizer
        return True

    assert all(at_once(work))
    drain()
    assert pending() == 0


def test_kernels_are_compiled_for_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = pytest.importorskip("gocudnn_py.cuda.program")
    monkeypatch.setenv("GOCUDNN_CACHE", str(tmp_path))
    try:
        program.compiler_version()
    except LibraryNotFound as error:
        pytest.skip(str(error).splitlines()[0])
    sources = [f"__global__ void k(float* x) {{ *x = {number}; }}" for number in range(4)]
    made = at_once(lambda number: [program.compile_source(source, "sm_90").content for source in sources])
    assert all(contents == made[0] for contents in made)
    assert len(set(made[0])) == len(list((tmp_path / "kernels").iterdir())) == len(sources)


def test_plans_are_chosen_and_kept(deviceless: Callable[[str], Any], tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("FOLDER", str(tmp_path))
    engines, suffixes = deviceless(CHOOSING)
    assert engines == [engines[0]] * THREADS
    assert suffixes == [".plan"] * 3
