"""The benchmark: that it runs without the peer and prints its table, not what it measures."""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gocunets import backends
from gocunets.bench import account, accuracy, bandwidth, bindings, cold, cpu, cpu_worker, launch, thesis
from gocunets.cli import main
from gocunets.errors import GocunetsError


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without PyTorch, whose processes find the package."""
    find_spec = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "torch" else find_spec(name))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))


def measured_by(times: dict[str, list[float]]) -> Callable[..., float]:
    return lambda peer, batch, seconds, threads: times[peer].pop(0)


def test_a_run_without_the_peer() -> None:
    (row,) = cpu.run([2], rounds=1, seconds=0)
    assert (row.batch, row.peer, row.ratio) == (2, None, None)
    assert 0 < row.ours < 1000


def test_the_median_and_the_ratio(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    monkeypatch.setattr(cpu, "_measure", measured_by({"gocunets": [9.0, 2.0, 3.0], "torch": [4.0, 1.0, 6.0]}))
    (row,) = cpu.run([10], rounds=3)
    assert (row.ours, row.peer, row.ratio) == (3.0, 4.0, 0.75)


def test_a_peer_that_fails() -> None:
    with pytest.raises(GocunetsError, match=r"fails at batch 0 could not be measured: .*"):
        cpu._measure("fails", 0, 0, 1)


def test_a_measurement_waits_for_ten_steps() -> None:
    steps: list[int] = []
    assert cpu_worker.median_milliseconds(lambda: steps.append(1), 0) >= 0
    assert len(steps) == cpu_worker.WARM_UP + 10


def test_a_step_of_ours_trains() -> None:
    step: Any = cpu_worker.our_step(3)
    first = step()
    for _ in range(20):
        last = step()
    assert last < first


def test_the_machine_is_named() -> None:
    assert re.search(r"\S.*; Python 3\.\d+\.\S+, NumPy \d+\.\d+\S*$", cpu.machine())


def test_the_command_prints_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "cpu", "--batches", "1,3", "--rounds", "1", "--seconds", "0"]) == 0
    output = capsys.readouterr().out
    assert output.startswith(f"{cpu.machine()}; 1 thread\n")
    rows = re.findall(r"^│ +(\d+) │ +([\d.]+) │ +(.+?) │ +(\S+) │$", output, re.MULTILINE)
    assert [(batch, peer, ratio) for batch, _, peer, ratio in rows] == [
        ("1", "not installed", "-"),
        ("3", "not installed", "-"),
    ]


def test_the_command_beside_a_peer(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(cpu, "run", lambda *args, **kwargs: [cpu.Row(10, 3.0, 4.0)])
    assert main(["bench", "cpu", "--batches", "10", "--threads", "2"]) == 0
    output = capsys.readouterr().out
    assert "; 2 threads\n" in output
    assert re.search(r"│ +10 │ +3\.00 │ +4\.00 │ +0\.75 │", output)


def test_the_worker_prints_its_figure(capsys: pytest.CaptureFixture[str]) -> None:
    cpu_worker.main("gocunets", 1, 0.0, 1)
    assert re.fullmatch(r'\{"milliseconds": [\d.]+\}\n', capsys.readouterr().out)


# --- the tables of a GPU, without one ---------------------------------------------------------------------------


@pytest.fixture
def pretend(monkeypatch: pytest.MonkeyPatch) -> None:
    """A card that nothing is measured on."""
    monkeypatch.setattr("gocunets.backends.choose", lambda device: None)
    row = thesis.Row(10, {"gocunets": 0.25, "torch-captured": 0.75, "jax": 1.0})
    monkeypatch.setattr(thesis, "run", lambda batches, peers, epochs, math: [row])
    done = thesis.Convergence(10, 7, 1.5, True, 0.0229, 0.06, 0.98)
    gave_up = thesis.Convergence(20, 9, 2.5, False, 0.05, 0.07, 0.97)
    monkeypatch.setattr(thesis, "converge", lambda splits, batches, most: [done, gave_up])
    found = accuracy.Row(10, {"gocunets": [0.97, 0.99, 0.98], "torch": [0.96, 0.95, 0.97]})
    monkeypatch.setattr(accuracy, "run", lambda source, batches, epochs, seeds: [found])
    rows = [launch.Row("ours", 4.0), launch.Row("absent", None, "not installed"), launch.Row("C", 2.0)]
    monkeypatch.setattr(launch, "run", lambda: rows)
    calls = [bindings.Row("graph", "ours", 5.0), bindings.Row("graph", "C", 3.5), bindings.Row("event", "ours", 1.25)]
    monkeypatch.setattr(bindings, "run", lambda: calls)
    parts = [{"float32": 1.09, "float16": 0.5, "bfloat16": 0.5}] * 2
    monkeypatch.setattr(bandwidth, "run", lambda mebibytes, kernels: [bandwidth.Row("fill", *parts)])
    monkeypatch.setattr(cold, "run", lambda processes: [cold.Row("gocunets", 1, dict.fromkeys(cold.PHASES, 0.5))])


@pytest.mark.parametrize(
    ("arguments", "cells"),
    [
        (["thesis"], ["10", "0.2500", "0.7500", "1.0000", "3.00"]),
        (["convergence", "--data", "digits"], ["7", "1.50", "0.0229", "not reached in 9", "97.00 %"]),
        (["accuracy", "--data", "digits"], ["97.00 99.00 98.00", "98.00", "96.00"]),
        (["launch"], ["4.00", "2.00", "not installed"]),
        (["bindings"], ["5.00", "+1.50", "+0.00", "1.25", "-"]),
        (["bandwidth"], ["fill", "1.09", "0.50"]),
        (["cold"], ["gocunets", "0.50", "2.50"]),
    ],
    ids=lambda value: value[0],
)
def test_tables_of_a_card(
    arguments: list[str], cells: list[str], pretend: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", *arguments]) == 0
    output = capsys.readouterr().out
    for cell in cells:
        assert re.search(rf"│ +{re.escape(cell)} +│|│ {re.escape(cell)} +│", output), cell


def test_the_rows_of_a_kernel_are_one(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [{"kernel": "fill", "dtype": dtype, "GB/s": 1.5, "of a copy": 0.5} for dtype in bandwidth.DTYPES]
    monkeypatch.setattr(bandwidth, "measured", lambda what, module, *arguments: found)
    (row,) = bandwidth.run(1)
    assert (row.kernel, row.gigabytes["bfloat16"], row.of_a_copy["float16"]) == ("fill", 1.5, 0.5)


def test_what_products_are_is_said(pretend: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "thesis"]) == 0
    assert "strict float32" in capsys.readouterr().out
    assert main(["bench", "thesis", "--math", "tf32"]) == 0
    assert "TF32 products" in capsys.readouterr().out


def test_the_times_are_drawn(pretend: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    assert main(["bench", "thesis", "--plot", str(tmp_path / "times.png")]) == 0
    assert (tmp_path / "times.png").read_bytes().startswith(b"\x89PNG")
    assert f"written: {tmp_path / 'times.png'}" in capsys.readouterr().out


def test_peers_that_are_none_are_refused(pretend: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "thesis", "--peers", "gocunets,nobody"]) == 2
    assert "there are gocunets, torch-captured, torch-eager, jax" in capsys.readouterr().err


def test_the_best_peer_is_the_measure() -> None:
    assert thesis.Row(10, {"gocunets": 0.5, "torch-eager": 4.0, "torch-captured": 1.0}).ratio == 2.0
    assert thesis.Row(10, {"gocunets": 0.5}).ratio is None


def test_an_account_of_a_step(capsys: pytest.CaptureFixture[str]) -> None:
    found = account.run(backends.choose("cpu"), 2, seconds=0)
    assert {row.phase for row in found.rows} == {"forward", "backward", "update"}
    assert found.in_turn == pytest.approx(sum(row.microseconds for row in found.rows))
    assert min(row.microseconds for row in found.rows) > 0
    assert main(["bench", "account", "--device", "cpu", "--batches", "2"]) == 0
    output = capsys.readouterr().out
    assert re.search(r"│ backward +│ convolution_backward_filter +│ 20x1x4x4 +│ +[\d.]+ │", output)
    assert "the step as it runs" in output
