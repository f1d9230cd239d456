"""Which algorithm a product runs by: measured, kept, and for what it is good; the library, but no GPU."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gocudnn_py import cublaslt, disk, driver
from gocudnn_py._abi.cublaslt import MatmulAlgo
from gocudnn_py.cublaslt import Algorithm, MatmulAlgoConfigAttributes, Matrix, tuning
from gocudnn_py.errors import CublasError
from tests.gocudnn_py.column_major import HostPlace
from tests.gocudnn_py.column_major_lt import emulated_handle

pytestmark = pytest.mark.usefixtures("cublaslt")
A, B, C = Matrix(0, 16, 32, "float16"), Matrix(0, 32, 48, "float16"), Matrix(0, 16, 48, "float16")


class Kept:
    """A product whose algorithms are numbers, and the time each takes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.measured: list[int] = []
        self.handle = emulated_handle()
        self.handle.lib.version, self.handle.gpu.name = (13, 1, 0), "a GPU"
        self.matmul: Any = cublaslt.Matmul(self.handle, A, B, C)
        monkeypatch.setattr(self.matmul, "candidates", lambda most: [algorithm(each) for each in range(1, 1 + most)])
        monkeypatch.setattr(self.matmul, "check", self.check)
        monkeypatch.setattr(tuning, "_Scratch", lambda *_: self)
        monkeypatch.setattr(driver, "version", lambda: (13, 0))
        self.runs = set(range(100))

    def check(self, given: Algorithm) -> Algorithm:
        if tile(given) not in self.runs:
            raise CublasError("cublasLtMatmulAlgoCheck", 15, "CUBLAS_STATUS_NOT_SUPPORTED")
        return given

    def milliseconds(self, given: Algorithm) -> float:
        self.measured.append(tile(given))
        if tile(given) == 1:
            raise CublasError("cublasLtMatmul", 13, "CUBLAS_STATUS_EXECUTION_FAILED")
        return abs(tile(given) - 3)

    def __enter__(self) -> Kept:
        return self

    def __exit__(self, *_: Any) -> None:
        pass


def algorithm(number: int) -> Algorithm:
    return Algorithm(MatmulAlgo()).set_to({MatmulAlgoConfigAttributes.TILE_ID: number})


def tile(given: Algorithm) -> int:
    return given.setting(MatmulAlgoConfigAttributes.TILE_ID)


def test_the_fastest_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Kept(monkeypatch)
    stream: Any = SimpleNamespace()
    assert tile(tuning.tune(kept.matmul, stream, most=4, folder=tmp_path)) == 3
    assert (kept.measured, tile(kept.matmul.algorithm)) == ([1, 2, 3, 4], 3)
    assert tile(tuning.tune(kept.matmul, stream, folder=tmp_path)) == 3
    assert len(kept.measured) == 4
    (path,) = tmp_path.iterdir()
    for spoiled in (b"{}", b"no json", json.dumps({"algorithm": "00"}).encode()):
        disk.write(path, spoiled)
        tuning.tune(kept.matmul, stream, most=4, folder=tmp_path)
    assert len(kept.measured) == 16
    kept.runs.remove(3)  # what is kept no longer runs, so it is measured again
    with pytest.raises(CublasError, match="cublasLtMatmulAlgoCheck"):
        tuning.tune(kept.matmul, stream, most=4, folder=tmp_path)
    assert len(kept.measured) == 20
    with pytest.raises(CublasError, match="EXECUTION_FAILED"):
        tuning.tune(kept.matmul, stream, most=1, folder=tmp_path / "other")
    with pytest.raises(ValueError, match="within a capture"):
        tuning.tune(kept.matmul, SimpleNamespace(capturing=True))


def test_choices_are_for_one_product_library_and_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = set()
    for a, ways in (
        (A, {}),
        (A, {"relu": True}),
        (A, {"beta": 1.0}),
        (A, {"bias": 256}),
        (A, {"workspace": HostPlace(None, 64)}),
        (Matrix(0, 16, 32, "float16", pitch=40), {}),
        (Matrix(0, 32, 16, "float16").T, {}),
        (Matrix(8, 16, 32, "float16"), {}),
    ):
        kept = Kept(monkeypatch)
        keys.add(tuning.key(cublaslt.Matmul(kept.handle, a, B, C, **ways)))
    kept.handle.lib.version = (13, 2, 0)
    keys.add(tuning.key(kept.matmul))
    kept.handle.gpu.name = "another GPU"
    keys.add(tuning.key(kept.matmul))
    assert len(keys) == 9  # a beta other than 0 makes no other algorithm fit


def test_a_recording_holds_the_operands_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    kept, held = Kept(monkeypatch), list[Any]()
    place = SimpleNamespace(used_on=None)
    monkeypatch.setattr(kept.matmul, "launch", lambda *arguments: None)
    monkeypatch.setattr(kept.matmul, "_places", (place,))
    stream = SimpleNamespace(uses=lambda *buffers: held.extend(buffers), capturing=False)
    for stream.capturing in (False, False, True, True, False):
        kept.matmul(stream)
    assert held == [place] * 4
