"""`python -m gocudnn_py.report`, with everything, and with nothing installed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gocudnn_py import driver, report
from gocudnn_py.errors import LibraryNotFound
from gocudnn_py.finding import Place

ROOT = Path(__file__).parents[2]


def test_every_library_with_version_and_path(cudnn: Any, cublas: Any, cublaslt: Any) -> None:
    found = list(report.findings())
    lines = {line.subject: line for line in found}
    for library in (cudnn, cublas, cublaslt):
        text = lines[library.name].text
        assert text.startswith(".".join(map(str, library.version)))
        assert library.path in text
        assert library.source in text
    assert any("graph, ops, cnn, heuristic" in line.text for line in found if line.subject == "  loaded")
    assert lines["NVRTC"].good


def test_without_a_gpu_the_status_is_1(no_gpu: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert report.main() == 1
    printed = capsys.readouterr().out
    assert "no NVIDIA driver on this machine" in printed
    assert "Not usable yet: driver" in printed


def test_with_a_gpu_the_status_is_0(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], cudnn: Any, cublas: Any
) -> None:
    monkeypatch.setattr(report, "installed", lambda package: "1.0")
    monkeypatch.setattr(driver, "version", lambda: (13, 0))
    monkeypatch.setattr(driver, "gpus", lambda: [driver.Gpu(0, "NVIDIA H200", (9, 0), 140 << 30)])
    assert report.main() == 0
    printed = capsys.readouterr().out
    assert "NVIDIA H200, sm_90, 140.0 GiB" in printed
    assert "runs CUDA up to 13.0" in printed


def test_no_gpu_that_this_process_may_see(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "version", lambda: (13, 0))
    monkeypatch.setattr(driver, "gpus", list)
    assert report.Line("GPU", "none visible to this process", good=False) in list(report.findings())


def test_nccl_is_named_and_not_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    def find(name: str) -> Place:
        if name == "nccl":
            raise LibraryNotFound(name, "it is in no wheel", 13)
        return Place(f"/lib/lib{name}.so", "system")

    monkeypatch.setattr(report, "find", find)
    monkeypatch.setattr(report, "installed", lambda package: None)
    lines = {line.subject: line for line in report.findings()}
    assert "pip install 'gocunets[cu13-nccl]'" in lines["NCCL"].text
    assert (lines["NCCL"].good, lines["nccl4py"].good, lines["numpy"].good) == (True, True, False)
    assert lines["NVRTC"].text == "/lib/libnvrtc.so (system)"
    monkeypatch.setattr(report, "find", lambda name: Place(f"/lib/lib{name}.so", "system"))
    assert report.Line("NCCL", "/lib/libnccl.so (system)") in list(report.findings())


def test_with_nothing_installed() -> None:
    """An isolated interpreter without site-packages stands for a bare machine."""
    program = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from gocudnn_py.report import main; sys.exit(main())"
    command = [sys.executable, "-I", "-S", "-c", program]
    kept = {name: value for name, value in os.environ.items() if name != "CUDNN_PATH"}
    done = subprocess.run(command, capture_output=True, text=True, env=kept, check=False)
    assert done.returncode == 1, done.stderr
    assert done.stderr == ""
    assert "! cudnn                    cuda-pathfinder was not found" in done.stdout
    assert "pip install 'gocunets[cu1" in done.stdout
