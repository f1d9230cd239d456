"""A run that is killed or interrupted, again and again, ends with the weights of the run that was left alone."""

from __future__ import annotations

import json
import os
import random
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open

from gocunets import Network
from gocunets.cli import main
from gocunets.data import write_idx

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals are those of POSIX")
KILLS = 50
LONGEST_DELAY = 0.25
PATIENCE = 60
SETTINGS = ["--epochs", "30", "--batch", "4", "--checkpoint-every", "2", "--seed", "5", "--device", "cpu"]


def write_data(folder: Path, count: int = 48, brightness: int = 60) -> Path:
    """A tiny set in MNIST's format: each class lights a row."""
    folder.mkdir()
    draw = np.random.RandomState(0)
    for part, size in (("train", count), ("t10k", 12)):
        labels = np.arange(size, dtype=np.uint8) % 10
        images = draw.randint(0, brightness, (size, 28, 28)).astype(np.uint8)
        images[np.arange(size), 2 * labels + 3] += 120
        write_idx(folder / f"{part}-images-idx3-ubyte", images)
        write_idx(folder / f"{part}-labels-idx1-ubyte", labels)
    return folder


class Run:
    """`gocunets train` in a process of its own, its output read line by line."""

    def __init__(self, folder: Path, arguments: Sequence[object]) -> None:
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            "OPENBLAS_NUM_THREADS": "1",
            "OMP_NUM_THREADS": "1",
        }
        command = [sys.executable, "-m", "gocunets", *map(str, arguments)]
        self.process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def wait_for(self, start: str) -> None:
        """Read until a line begins with `start`."""
        assert self.process.stdout is not None
        seen = []
        for line in self.process.stdout:
            seen.append(line)
            if line.startswith(start):
                return
        raise AssertionError(f"no line {start!r} in {''.join(seen)}{self.end()}")

    def wait_for_training(self) -> None:
        """Read to the end of the table of layers."""
        self.wait_for("└")

    def wait_for_writing(self, folder: Path) -> None:
        """Until a model file is being written, or the process has ended."""
        while self.process.poll() is None and not temporaries(folder):
            pass

    def end(self) -> tuple[int, str, str]:
        """Exit code, the rest of the output, what was said of errors."""
        output, errors = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, output, errors


def temporaries(folder: Path) -> list[str]:
    return [name for name in os.listdir(folder) if name.endswith(".tmp")]


def result(folder: Path) -> dict[str, Any]:
    """All that training left in a model file, as it can be compared."""
    with safe_open(folder / "model.safetensors", "numpy") as file:
        header = json.loads(file.metadata()["header"])
        tensors = {name: file.get_tensor(name).tobytes() for name in file.keys()}  # noqa: SIM118
    losses = [(r["steps"], r["loss"], r["validation_loss"]) for r in header["progress"]["records"]]
    return tensors | {"step state": header["step_state"], "losses": losses, "curve": header["progress"]["curve"]}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a data set and the result of a run that nobody disturbed."""
    folder = tmp_path_factory.mktemp("resume")
    write_data(folder / "data")
    code, _, errors = Run(folder, ["train", "--data", "data", "--out", "undisturbed", *SETTINGS]).end()
    assert code == 0, errors
    return folder


@pytest.fixture(scope="module")
def undisturbed(home: Path) -> dict[str, Any]:
    return result(home / "undisturbed")


def kill(home: Path, out: Path, delay: float, writing: bool) -> bool:
    """Start or resume a run and kill it after `delay` seconds of training, or when it writes next after that.

    Returns whether it was still training; a run that is not is left to end.
    """
    run = Run(home, ["train", "--data", "data", "--out", out, "--resume", *SETTINGS])
    run.wait_for_training()
    try:
        run.process.wait(delay)
    except subprocess.TimeoutExpired:
        if writing:
            run.wait_for_writing(out)
        run.process.kill()
    code, output, errors = run.end()
    assert code in (0, -signal.SIGKILL), errors
    return code != 0 and "Confusion" not in output


def delays() -> Iterator[float]:
    draw = random.Random(4)
    while True:
        yield draw.uniform(0, LONGEST_DELAY)


def test_killed_at_fifty_moments(home: Path, undisturbed: dict[str, Any]) -> None:
    """A run that gets to its end before all kills are spent is looked at, and another one begun."""
    killed = in_writing = runs = 0
    out = home / "killed0"
    for delay in delays():
        if kill(home, out, delay, writing=killed % 2 == 1):
            killed += 1
            in_writing += bool(temporaries(out))
            if (out / "model.safetensors").exists():
                Network.load(out / "model.safetensors", device="cpu")
        elif result(out)["step state"]["step"] == undisturbed["step state"]["step"]:
            assert result(out) == undisturbed
            runs += 1
            out = home / f"killed{runs}"
        if killed == KILLS:
            break
    code, _, errors = Run(home, ["train", "--data", "data", "--out", out, "--resume", *SETTINGS]).end()
    assert code == 0, errors
    assert result(out) == undisturbed
    assert temporaries(out) == []
    assert in_writing > 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_in_good_order(number: signal.Signals, code: int, home: Path, undisturbed: dict[str, Any]) -> None:
    """Ctrl-C writes the model and says how to go on; doing what it says leads to the same end."""
    out = home / f"out of {number.name} [red]"
    run = Run(home, ["train", "--data", "data", "--out", out.name, *SETTINGS])
    run.wait_for("epoch 2/30")
    run.process.send_signal(number)
    found, output, errors = run.end()
    assert (found, errors) == (code, "")
    (line,) = [line for line in output.splitlines() if line.startswith("interrupted")]
    step = Network.load(out / "model.safetensors", device="cpu").compiled.step_record["step"]
    assert line.startswith(f"interrupted after step {step}; go on with: gocunets train --resume ")
    command = shlex.split(line.partition("go on with: gocunets ")[2])
    assert Run(home, command).end()[0] == 0
    assert result(out) == undisturbed


def test_a_second_interrupt_ends_at_once(home: Path) -> None:
    """The first one is waiting for a step that does not end."""
    code = """
import signal, sys
from gocunets.cli import main, progress
def hang(self, trainer):
    signal.raise_signal(signal.SIGINT)
    print("again", flush=True)
    signal.raise_signal(signal.SIGINT)
    print("never")
progress.Display.on_step = hang
sys.exit(main(sys.argv[1:]))
"""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", code, "train", "--data", "data", "--out", "twice", *SETTINGS]
    done = subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 130
    assert done.stdout.endswith("again\n")
    assert done.stderr.strip() == "interrupted"


def resume(home: Path, *arguments: object, out: str = "undisturbed") -> int:
    return main(["train", "--out", str(home / out), "--resume", "--device", "cpu", *map(str, arguments)])


def test_resuming_a_finished_run_changes_nothing(home: Path, undisturbed: dict[str, Any]) -> None:
    assert resume(home, "--data", home / "data", *SETTINGS) == 0
    assert result(home / "undisturbed") == undisturbed


def test_resuming_for_more_epochs(home: Path, tmp_path: Path) -> None:
    arguments = ["--data", str(home / "data"), "--batch", "8"]
    for folder, counts in (("whole", "3"), ("parts", "123")):
        for epochs in counts:
            assert resume(tmp_path, *arguments, "--epochs", epochs, out=folder) == 0
    assert result(tmp_path / "parts") == result(tmp_path / "whole")


def test_resuming_with_other_data(home: Path, undisturbed: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    other = write_data(home / "other", 36)
    assert resume(home, "--data", other) == 1
    error = capsys.readouterr().err
    assert "48 samples in batches of 4" in error
    assert "36 in batches of 4" in error
    assert result(home / "undisturbed") == undisturbed


def test_resuming_with_as_much_other_data(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert resume(home, "--data", write_data(tmp_path / "other", brightness=80)) == 1
    assert re.search(r"pixels of mean 0\.1\d+, .* was trained on pixels of mean 0\.1\d+", capsys.readouterr().err)


@pytest.mark.parametrize(
    ("option", "value", "fixed"),
    [
        ("--batch", "6", "4"),
        ("--seed", "6", "5"),
        ("--lr", "0.5", "0.001"),
        ("--l1", "0.5", "1e-05"),
        ("--l2", "0.5", "0.0001"),
        ("--optimizer", "sgd", "adam"),
        ("--dtype", "float64", "float32"),
        ("--math", "tf32", "fma"),
    ],
)
def test_resuming_with_other_settings(
    option: str, value: str, fixed: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert resume(home, "--data", home / "data", option, value) == 2
    error = capsys.readouterr().err
    assert f"{option} {value}" in error
    assert f"was trained with {fixed}" in error


def test_resuming_a_broken_model(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "model.safetensors").write_bytes((home / "undisturbed" / "model.safetensors").read_bytes()[:-1])
    assert resume(tmp_path, "--data", home / "data", out=".") == 1
    assert "not a model file, or only part of one" in capsys.readouterr().err


def test_resuming_needs_a_folder(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--resume"]) == 2
    assert "--out" in capsys.readouterr().err


def test_resuming_nothing_starts_afresh(home: Path, undisturbed: dict[str, Any]) -> None:
    assert resume(home, "--data", home / "data", *SETTINGS, out="fresh") == 0
    assert result(home / "fresh") == undisturbed
