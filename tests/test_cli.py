"""The command line as a user meets it: what it prints, writes and answers, and how it fails."""

from __future__ import annotations

import errno
import os
import re
import runpy
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from PIL import Image

import gocunets
from gocunets import Network, nn, zoo
from gocunets.cli import cli, main
from gocunets.data import read_idx, write_idx
from gocunets.io import read_header

CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f]")
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
FILES = [f"{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")]
POSIX = pytest.mark.skipif(os.name == "nt", reason="terminals and pipes are those of POSIX")


def write_data(folder: Path, train: int = 40, test: int = 20, size: int = 28, classes: int = 10) -> Path:
    """A tiny set in MNIST's format: each class lights a row."""
    folder.mkdir(parents=True)
    draw = np.random.RandomState(0)
    for part, count in (("train", train), ("t10k", test)):
        labels = np.arange(count, dtype=np.uint8) % classes
        images = draw.randint(0, 60, (count, size, size)).astype(np.uint8)
        images[np.arange(count), (2 * labels + 3) % size] += 120
        write_idx(folder / f"{part}-images-idx3-ubyte", images)
        write_idx(folder / f"{part}-labels-idx1-ubyte", labels)
    return folder


def environment(**more: str) -> dict[str, str]:
    """What a process of its own needs to find the package, with nothing that asks for colours."""
    kept = {name: value for name, value in os.environ.items() if name not in ("FORCE_COLOR", "NO_COLOR", "COLUMNS")}
    return kept | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))} | more


def run(*arguments: object, cwd: Path | None = None, **more: str) -> subprocess.CompletedProcess[str]:
    """`gocunets ARGUMENTS` in a process of its own, its output piped."""
    command = [sys.executable, "-m", "gocunets", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, env=environment(**more), capture_output=True, encoding="utf-8")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("cli") / "data")


@pytest.fixture(scope="module")
def trained(data: Path) -> subprocess.CompletedProcess[str]:
    """A run of two epochs, its output in `data/../out`."""
    return run("train", "--data", data, "--out", data.parent / "out", "--epochs", 4, "--batch", 4, "--lr", 0.003)


@pytest.fixture
def model(data: Path, trained: subprocess.CompletedProcess[str]) -> Path:
    return data.parent / "out" / "model.safetensors"


class Command:
    """`gocunets` in this process: its exit code, and what it printed."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys = capsys

    def __call__(self, *arguments: object) -> tuple[int, str, str]:
        code = main([str(argument) for argument in arguments])
        printed = self.capsys.readouterr()
        return code, printed.out, printed.err

    def fails(self, *arguments: object) -> str:
        """The one line with which a run fails."""
        code, _, error = self(*arguments)
        assert (code, error.count("\n")) == (1, 1), error
        assert error.startswith("gocunets: error: ")
        return error

    def refused(self, *arguments: object) -> str:
        """What is said of wrong usage."""
        code, _, error = self(*arguments)
        assert code == 2, error
        assert error.startswith("Usage: gocunets")
        return error


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(capsys)


def count_cells(table: str) -> list[list[int]]:
    """The numbers of the confusion matrix in an output."""
    rows = re.findall(r"^│ +(\d+) +│((?: +(?:\d+|\.) │)+)", table, re.MULTILINE)
    return [[0 if cell == "." else int(cell) for cell in re.findall(r"\d+|\.", cells)] for _, cells in rows]


# --- help and wrong usage -------------------------------------------------------------------------------


def commands(group: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """A command and all below it."""
    yield path, group
    for name, below in group.commands.items() if isinstance(group, click.Group) else ():
        yield from commands(below, (*path, name))


COMMANDS = dict(commands(cli))


@pytest.mark.parametrize("flag", ["--help", "-h"])
@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_help_names_and_explains_everything(path: tuple[str, ...], flag: str, command: Command) -> None:
    code, text, error = command(*path, flag)
    assert (code, error) == (0, "")
    assert text.startswith(" ".join(("Usage: gocunets", *path)))
    for parameter in COMMANDS[path].params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.name
        assert (parameter.opts[-1] if isinstance(parameter, click.Option) else parameter.make_metavar(None)) in text  # type: ignore[arg-type]


def test_the_commands_are_those_documented() -> None:
    assert {path for path in COMMANDS if len(path) == 1} == {
        ("train",), ("eval",), ("predict",), ("summary",), ("bench",)
    }  # fmt: skip
    options = {option for parameter in COMMANDS["train",].params for option in parameter.opts}
    assert options >= {
        "--data", "--device", "--batch", "--epochs", "--dtype", "--math", "--optimizer", "--lr", "--seed", "--out",
        "--resume", "--debug", "--checkpoint-every",
    }  # fmt: skip


def test_the_version(command: Command) -> None:
    assert command("--version") == (0, f"gocunets, version {gocunets.__version__}\n", "")


def test_without_a_command_help_is_shown(command: Command) -> None:
    code, output, error = command()
    assert code == 2
    assert "Commands:" in output + error


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--nonsense"], "--nonsense"),
        (["dance"], "dance"),
        (["train", "--bach", "5"], "--bach"),
        (["train", "extra"], "extra"),
        (["train", "--batch", "0"], "--batch"),
        (["train", "--batch", "many"], "many"),
        (["train", "--epochs", "-1"], "--epochs"),
        (["train", "--dtype", "int8"], "int8"),
        (["train", "--math", "exact"], "exact"),
        (["train", "--optimizer", "lion"], "lion"),
        (["train", "--lr", "-0.1"], "--lr"),
        (["train", "--lr", "nan"], "--lr"),
        (["train", "--l2", "inf"], "--l2"),
        (["train", "--l1", "-1"], "--l1"),
        (["train", "--l2", "x"], "--l2"),
        (["train", "--seed", "-1"], "--seed"),
        (["train", "--device", "tpu"], "tpu"),
        (["train", "--checkpoint-every", "0"], "--checkpoint-every"),
        (["train", "--resume"], "--out"),
        (["eval"], "MODEL"),
        (["eval", "m", "--batch", "0"], "--batch"),
        (["predict"], "MODEL"),
        (["predict", "m"], "IMAGES"),
        (["predict", "m", "i", "--top", "0"], "--top"),
        (["summary"], "MODEL"),
        (["summary", "m", "more"], "more"),
        (["bench", "gpu"], "gpu"),
        (["bench", "cpu", "--batches", "ten"], "ten"),
        (["bench", "cpu", "--batches", "5,0"], "5,0"),
        (["bench", "cpu", "--rounds", "0"], "--rounds"),
        (["bench", "cpu", "--threads", "0"], "--threads"),
        (["bench", "cpu", "--seconds", "-1"], "--seconds"),
    ],
    ids=" ".join,
)
def test_wrong_usage_is_refused(arguments: Sequence[str], words: str, command: Command) -> None:
    assert words in command.refused(*arguments)


def test_wrong_usage_in_a_process() -> None:
    done = run("train", "--bach", 5)
    assert (done.returncode, done.stdout) == (2, "")
    assert "No such option" in done.stderr


def test_the_module_is_the_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["gocunets", "--version"])
    with pytest.raises(SystemExit) as stop:
        runpy.run_module("gocunets", run_name="__main__")
    assert stop.value.code == 0
    assert capsys.readouterr().out.startswith("gocunets, version")


# --- train ----------------------------------------------------------------------------------------------


def test_train_says_what_it_does(trained: subprocess.CompletedProcess[str], data: Path) -> None:
    assert (trained.returncode, trained.stderr) == (0, "")
    lines = trained.stdout.splitlines()
    assert lines[0] == f"data: MNIST-format files, not MNIST itself, from {data}: 40 training and 20 test images"
    assert lines[1].startswith("device: cpu")
    assert [line.split("  ")[0] for line in lines if line.startswith("epoch")] == [f"epoch {n}/4" for n in (1, 2, 3, 4)]
    assert re.search(r"│ total +│ +│ +│ +16,390 │ +1,207,690 │", trained.stdout)
    assert "this is the result on data test, not on MNIST" in lines
    out = data.parent / "out"
    assert lines[-1] == "written: " + ", ".join(str(out / n) for n in ("model.safetensors", "loss.png", "filters.png"))


def test_train_ends_with_accuracy_and_confusion(trained: subprocess.CompletedProcess[str]) -> None:
    matrix = np.array(count_cells(trained.stdout))
    assert matrix.shape == (10, 10)
    assert matrix.sum(axis=1).tolist() == [2] * 10
    (accuracy,) = re.findall(r"^test accuracy ([\d.]+) % on 20 images$", trained.stdout, re.MULTILINE)
    assert float(accuracy) == 100 * np.trace(matrix) / 20 >= 80


def test_train_writes_a_model_and_pictures(trained: subprocess.CompletedProcess[str], data: Path) -> None:
    out = data.parent / "out"
    assert sorted(os.listdir(out)) == ["filters.png", "loss.png", "model.safetensors"]
    for name in ("loss.png", "filters.png"):
        with Image.open(out / name) as picture:
            picture.load()
            assert picture.format == "PNG"
            assert min(picture.size) > 200
            assert len(np.unique(np.asarray(picture.convert("L")))) > 5
    assert Network.load(out / "model.safetensors", device="cpu").progress.epoch == 4


def test_piped_output_holds_no_control_characters(trained: subprocess.CompletedProcess[str]) -> None:
    assert CONTROL.findall(trained.stdout) == []


def test_output_in_ascii(data: Path, tmp_path: Path) -> None:
    arguments = ["--data", data, "--out", tmp_path, "--epochs", 1, "--batch", 20, "--device", "cpu"]
    done = run("train", *arguments, PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"\| total +\| +\| +\| +16,390 \|", done.stdout)


@POSIX
def test_a_terminal_shows_a_live_bar(data: Path, tmp_path: Path) -> None:
    import fcntl
    import pty
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    arguments = ["train", "--data", str(data), "--out", str(tmp_path / "out"), "--epochs", "6", "--batch", "1"]
    process = subprocess.Popen(
        [sys.executable, "-m", "gocunets", *arguments], stdin=theirs, stdout=theirs, stderr=theirs,
        env=environment(TERM="xterm-256color"),
    )  # fmt: skip
    os.close(theirs)
    seen = read_all(ours)
    assert process.wait() == 0, seen
    assert re.search(r"epoch [1-6]/6 .*━.*loss \d.*accuracy [\d.]+ %.*images/s.*\d:\d\d:\d\d", ESCAPES.sub("", seen))
    assert "\x1b[?25l" in seen  # the cursor is hidden,
    assert seen.rindex("\x1b[?25h") > seen.rindex("\x1b[?25l")  # and shown again
    shown = screen(seen)
    assert [line.split("  ")[0] for line in shown if line.startswith("epoch")] == [f"epoch {n}/6" for n in range(1, 7)]
    assert any(re.fullmatch(r"test accuracy [\d.]+ % on 20 images", line) for line in shown)
    assert shown[-1].startswith("written: ")


def read_all(descriptor: int) -> str:
    """What is written to a terminal until its other side is closed."""
    chunks = []
    while True:
        try:
            chunk = os.read(descriptor, 65536)
        except OSError:
            chunk = b""
        if not chunk:
            os.close(descriptor)
            return b"".join(chunks).decode()
        chunks.append(chunk)


def screen(seen: str) -> list[str]:
    """The lines that stay on a terminal that understands: end of line, return, up, erase the line."""
    lines, row, column = [""], 0, 0
    for token in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|\n|\r|[^\x1b\n\r]+", seen):
        if token == "\n":
            row += 1
            lines += [""] * (row == len(lines))
        elif token == "\r":
            column = 0
        elif token.endswith("A") and token[0] == "\x1b":
            row -= int(token[2:-1] or 1)
        elif token == "\x1b[2K":
            lines[row] = ""
        elif token[0] != "\x1b":
            lines[row] = lines[row].ljust(column)[:column] + token + lines[row][column + len(token) :]
            column += len(token)
    return [line.rstrip() for line in lines if line.strip()]


def test_train_takes_the_next_free_folder(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Command
) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert command("train", "--data", data, "--epochs", 1, "--batch", 20, "--device", "cpu")[0] == 0
    assert sorted(os.listdir("runs")) == ["1", "2"]
    assert (tmp_path / "runs" / "2" / "model.safetensors").exists()


def train(command: Command, data: Path, out: Path, *more: object) -> dict[str, Any]:
    """The header of the model that a short run writes."""
    code, _, error = command("train", "--data", data, "--out", out, "--epochs", 1, "--batch", 20, *more)
    assert code == 0, error
    return read_header(out / "model.safetensors")


@pytest.mark.parametrize("name", ["adam", "sgd", "momentum", "adagrad", "adadelta"])
def test_train_with_each_optimizer(name: str, data: Path, tmp_path: Path, command: Command) -> None:
    header = train(command, data, tmp_path, "--optimizer", name, "--lr", 0.25, "--l1", 0.5, "--l2", 0)
    rule = header["optimizers"]["*"]
    assert (rule["name"], rule["rate"], rule["l1"], rule["l2"]) == (name, 0.25, 0.5, 0)


def test_train_by_default(data: Path, tmp_path: Path, command: Command) -> None:
    header = train(command, data, tmp_path)
    rule = header["optimizers"]["*"]
    assert (rule["name"], rule["rate"], rule["l1"], rule["l2"]) == ("adam", 1e-3, 1e-5, 1e-4)
    assert (header["seed"], header["policy"]["compute"], header["policy"]["math"]) == (0, "float32", "fma")


def test_train_in_float64(data: Path, tmp_path: Path, command: Command) -> None:
    assert train(command, data, tmp_path, "--dtype", "float64")["policy"]["parameter"] == "float64"
    assert {w.dtype for w in Network.load(tmp_path / "model.safetensors").weights.values()} == {np.dtype(np.float64)}


def test_the_seed_decides_everything(data: Path, tmp_path: Path, command: Command) -> None:
    digests = []
    for name, seed in (("a", 7), ("b", 7), ("c", 8)):
        train(command, data, tmp_path / name, "--seed", seed)
        weights = Network.load(tmp_path / name / "model.safetensors").weights
        digests.append(b"".join(weights[key].tobytes() for key in sorted(weights)))
    assert digests[0] == digests[1] != digests[2]


def test_train_without_matplotlib(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Command
) -> None:
    monkeypatch.setattr("gocunets.plots.available", lambda: False)
    code, output, _ = command("train", "--data", data, "--out", tmp_path, "--epochs", 1, "--batch", 20)
    assert code == 0
    assert "pip install 'gocunets[data]'" in output
    assert os.listdir(tmp_path) == ["model.safetensors"]


def test_train_on_the_digits(tmp_path: Path, command: Command) -> None:
    code, output, _ = command("train", "--data", "digits", "--out", tmp_path, "--epochs", 1, "--batch", 200)
    assert code == 0
    assert output.startswith("data: digits (offline fallback), not comparable with MNIST\n")
    assert "this is the result on digits test, not on MNIST" in output


def test_train_on_colour_pictures(tmp_path: Path, command: Command) -> None:
    """Floats in 0..1 in a .npz file; predict brings a picture to the same range."""
    draw = np.random.RandomState(0)
    labels = np.arange(40) % 4
    images = 0.2 * draw.random_sample((40, 3, 28, 28)).astype(np.float32)
    for image, label in zip(images, labels, strict=True):
        image[:, 7 * label : 7 * label + 7] += 0.8
    np.savez(tmp_path / "set.npz", x_train=images, y_train=labels, x_test=images[:8], y_test=labels[:8])
    train(command, tmp_path / "set.npz", tmp_path / "out", "--epochs", 6, "--batch", 4)
    picture = np.rint(255 * images[2]).astype(np.uint8).transpose(1, 2, 0)
    Image.fromarray(picture).save(tmp_path / "two.png")
    code, output, _ = command("predict", tmp_path / "out" / "model.safetensors", tmp_path / "two.png")
    probabilities = Network.load(tmp_path / "out" / "model.safetensors").predict(images[2:3])[0]
    assert code == 0
    assert f"{100 * probabilities[2]:.1f} %" in output


def test_names_are_printed_as_they_are(tmp_path: Path, command: Command) -> None:
    """Brackets and colons are markup to the library that prints, and long lines are broken by it."""
    folder = write_data(tmp_path / ("data [red] [/b] :smile: " + "x" * 120))
    code, output, _ = command("train", "--data", folder, "--out", tmp_path / "[1]", "--epochs", 1, "--batch", 20)
    assert code == 0
    assert output.splitlines()[0].endswith(f" from {folder}: 40 training and 20 test images")
    assert f"written: {tmp_path / '[1]' / 'model.safetensors'}, " in output
    assert command("summary", tmp_path / "[1]" / "model.safetensors")[1].startswith(f"{tmp_path / '[1]'}")


def test_a_folder_with_a_model_is_not_overwritten(model: Path, data: Path, command: Command) -> None:
    before = model.read_bytes()
    error = command.refused("train", "--data", data, "--out", model.parent)
    assert "--resume" in error
    assert str(model.parent) in error
    assert model.read_bytes() == before


def test_a_folder_that_cannot_be_made(data: Path, tmp_path: Path, command: Command) -> None:
    (tmp_path / "file").touch()
    error = command.fails("train", "--data", data, "--out", tmp_path / "file" / "out")
    assert f"cannot write to {tmp_path / 'file' / 'out'}: Not a directory" in error


@POSIX
def test_a_folder_that_may_not_be_written(data: Path, command: Command) -> None:
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o555)
        with as_nobody():
            error = command.fails("train", "--data", data, "--out", name)
    assert f"cannot write to {name}: Permission denied" in error


@contextmanager
def as_nobody() -> Iterator[None]:
    """Root may read and write everything: be somebody else for a while."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


# --- data that cannot be used ---------------------------------------------------------------------------


def remove(path: Path) -> None:
    path.unlink()


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])


def lengthen(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0\0\0")


def spoil_magic(path: Path) -> None:
    path.write_bytes(b"\x89PNG" + path.read_bytes()[4:])


def spoil_type(path: Path) -> None:
    path.write_bytes(b"\0\0\x42" + path.read_bytes()[3:])


def compress_badly(path: Path) -> None:
    path.write_bytes(b"\x1f\x8b\x08\x00" + bytes(30))


def empty(path: Path) -> None:
    path.write_bytes(b"")


def shorten(path: Path) -> None:
    write_idx(path, read_idx(path)[:-1])


def widen(path: Path) -> None:
    write_idx(path, read_idx(path).astype(np.int32))


Damage = Callable[[Path], None]
IMAGES, LABELS = "train-images-idx3-ubyte", "t10k-labels-idx1-ubyte"
DAMAGES: list[tuple[Damage, str, list[str]]] = [
    (remove, IMAGES, ["1 of 4", "missing"]),
    (truncate, IMAGES, ["truncated", "31,360 bytes", "found 31,355"]),
    (truncate, LABELS, ["truncated", "20 bytes", "found 15"]),
    (lengthen, LABELS, ["3 bytes too many"]),
    (spoil_magic, IMAGES, ["not an IDX file", "89 50 4e 47"]),
    (spoil_type, LABELS, ["0x42"]),
    (compress_badly, IMAGES, ["gzip"]),
    (empty, LABELS, ["empty"]),
    (shorten, IMAGES, ["39 images", "40 labels"]),
    (shorten, LABELS, ["20 images", "19 labels"]),
    (widen, LABELS, ["int32", "uint8"]),
]


@pytest.mark.parametrize(("damage", "name", "words"), DAMAGES, ids=lambda x: getattr(x, "__name__", ""))
def test_broken_data(damage: Damage, name: str, words: list[str], tmp_path: Path, command: Command) -> None:
    folder = write_data(tmp_path / "data")
    damage(folder / name)
    error = command.fails("train", "--data", folder, "--out", tmp_path / "out", "--batch", 20)
    for word in (str(folder), name, *words):
        assert word in error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command_name", ["train", "eval"])
def test_missing_data(command_name: str, model: Path, tmp_path: Path, command: Command) -> None:
    arguments = [model] if command_name == "eval" else ["--out", tmp_path / "out"]
    error = command.fails(command_name, *arguments, "--data", tmp_path / "nowhere")
    assert str(tmp_path / "nowhere") in error
    assert "no such path" in error


def write_npz(path: Path, **changes: Any) -> Path:
    arrays = {"x_train": np.zeros((20, 28, 28), np.float32), "x_test": np.zeros((5, 28, 28), np.float32),
              "y_train": np.arange(20) % 10, "y_test": np.arange(5)}  # fmt: skip
    for name, change in changes.items():
        change(arrays[name])
    np.savez(path, **arrays)
    return path


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"x_train": lambda x: x.__setitem__((7, 2, 3), np.nan)}, ["train: image 7 holds nan", "1 of 20"]),
        ({"x_test": lambda x: x.__setitem__((4, 0, 0), np.inf)}, ["test: image 4 holds inf", "1 of 5"]),
        ({"y_test": lambda y: y.__setitem__(3, -2)}, ["test: label 3 is -2", "0..9"]),
    ],
    ids=["NaN", "infinity", "label"],
)
def test_bad_numbers(changes: dict[str, Any], words: list[str], tmp_path: Path, command: Command) -> None:
    path = write_npz(tmp_path / "set.npz", **changes)
    error = command.fails("train", "--data", path, "--out", tmp_path / "out", "--batch", 5)
    for word in (str(path), *words):
        assert word in error
    assert not (tmp_path / "out").exists()


def test_pictures_that_the_network_cannot_take(tmp_path: Path, command: Command) -> None:
    folder = write_data(tmp_path / "data", size=12)
    error = command.fails("train", "--data", folder, "--out", tmp_path / "out", "--batch", 20)
    assert "layer output" in error
    assert not (tmp_path / "out").exists()


def test_a_batch_larger_than_the_data(data: Path, tmp_path: Path, command: Command) -> None:
    error = command.fails("train", "--data", data, "--out", tmp_path, "--batch", 41)
    assert "batch 41 is larger than the data: 40 images" in error
    assert os.listdir(tmp_path) == []


# --- devices and runs that fail -------------------------------------------------------------------------


@pytest.fixture
def no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without a GPU."""
    monkeypatch.setattr("gocunets.backends.select._driver", lambda: False)


@pytest.mark.usefixtures("no_driver")
def test_cuda_without_a_gpu(data: Path, tmp_path: Path, model: Path, command: Command) -> None:
    for arguments in (["train", "--out", tmp_path], ["eval", model]):
        error = command.fails(*arguments, "--data", data, "--device", "cuda")
        assert "device cuda: no NVIDIA driver" in error
        assert "--device cpu" in error
    assert os.listdir(tmp_path) == []


@pytest.mark.usefixtures("no_driver")
def test_auto_says_why_not_cuda(data: Path, model: Path, command: Command) -> None:
    assert "device: cpu (cuda: no NVIDIA driver" in command("eval", model, "--data", data)[1]
    assert "\ndevice: cpu\n" in command("eval", model, "--data", data, "--device", "cpu")[1]


def test_cuda_without_its_libraries(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Command
) -> None:
    monkeypatch.setattr("gocunets.backends.select._driver", lambda: True)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name.startswith("cuda") else object())
    error = command.fails("train", "--data", data, "--out", tmp_path, "--device", "cuda")
    assert "missing: pip install 'gocunets[cu13]'" in error


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--dtype", "bfloat16", "float32 or float64, not bfloat16"),
        ("--dtype", "float16", "float32 or float64, not float16"),
        ("--math", "tf32", "math tf32"),
    ],
)
def test_what_the_cpu_cannot(option: str, value: str, words: str, data: Path, tmp_path: Path, command: Command) -> None:
    error = command.fails("train", "--data", data, "--out", tmp_path, "--device", "cpu", option, value)
    assert words in error
    assert "--device cuda" in error
    assert os.listdir(tmp_path) == []


def test_a_diverging_run(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ["--data", data, "--out", out, "--batch", 10, "--optimizer", "sgd", "--checkpoint-every", 1]
    assert run("train", *arguments, "--epochs", 1, "--lr", 1e-3).returncode == 0
    (out / "model.safetensors").rename(out / "good")
    done = run("train", *arguments, "--epochs", 2, "--lr", 1e30)
    assert done.returncode == 1
    assert re.fullmatch(
        r"gocunets: error: the loss or a gradient became infinite or NaN at step 2 \(epoch 1\); .*\n", done.stderr
    )
    network = Network.load(out / "model.safetensors", device="cpu")
    assert network.compiled.step_record["step"] == 1
    assert all(np.isfinite(w).all() for w in network.weights.values())


def test_a_disk_that_fills_up(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Command) -> None:
    """The model of the third step stays."""
    saved = []

    def fsync(descriptor: int) -> None:
        saved.append(descriptor)
        if len(saved) > 6:  # file and folder each time
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fsync)
    error = command.fails("train", "--data", data, "--out", tmp_path, "--batch", 4, "--checkpoint-every", 1)
    assert re.search(r"cannot write .*: No space left on device \([\d,]+ bytes to write, [\d,]+ free\)", error)
    assert os.listdir(tmp_path) == ["model.safetensors"]
    assert read_header(tmp_path / "model.safetensors")["step_state"]["step"] == 3


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    arguments = ["train", "--data", tmp_path / "nowhere", "--out", tmp_path]
    plain, debug = run(*arguments), run(*arguments, "--debug")
    assert (plain.returncode, debug.returncode) == (1, 1)
    assert plain.stderr.count("\n") == 1
    assert debug.stderr.startswith("Traceback (most recent call last):\n")
    assert debug.stderr.endswith(plain.stderr)


@POSIX
@pytest.mark.parametrize("name", ["train", "summary", "help"])
def test_a_pipe_that_is_closed(name: str, data: Path, model: Path, tmp_path: Path) -> None:
    """`gocunets ... | head -1` ends without a word."""
    arguments: dict[str, list[object]] = {
        "train": ["train", "--data", data, "--out", tmp_path, "--epochs", 1, "--batch", 20],
        "summary": ["summary", model],
        "help": ["train", "--help"],
    }
    command = [sys.executable, "-m", "gocunets", *map(str, arguments[name])]
    with subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1


def test_an_interrupt_before_training(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: Command) -> None:
    def interrupt(*args: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("gocunets.data.load", interrupt)
    code, _, error = command("train", "--out", tmp_path)
    assert (code, error.strip()) == (130, "interrupted")


def test_running_out_of_memory(monkeypatch: pytest.MonkeyPatch, command: Command) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise MemoryError("8 EiB")

    monkeypatch.setattr("gocunets.cli.models.Network.load", fail)
    assert "out of memory: 8 EiB" in command.fails("eval", "m")


# --- eval, predict, summary -----------------------------------------------------------------------------


def test_eval(model: Path, data: Path, trained: subprocess.CompletedProcess[str], command: Command) -> None:
    code, output, error = command("eval", model, "--data", data, "--batch", 7)
    assert (code, error) == (0, "")
    assert re.search(r"^test loss [\d.]+ nats, 20 images$", output, re.MULTILINE)
    (accuracy,) = re.findall(r"^test accuracy [\d.]+ %", trained.stdout, re.MULTILINE)
    assert f"{accuracy}\n" in output
    assert count_cells(output) == count_cells(trained.stdout)
    assert CONTROL.findall(output) == []


def test_eval_of_a_network_with_more_classes(tmp_path: Path, command: Command) -> None:
    many, few = write_data(tmp_path / "many", classes=12), write_data(tmp_path / "few")
    train(command, many, tmp_path / "out", "--batch", 4, "--epochs", 3)
    labels = read_idx(many / "t10k-labels-idx1-ubyte") % 10
    write_idx(few / "t10k-images-idx3-ubyte", read_idx(many / "t10k-images-idx3-ubyte"))
    write_idx(few / "t10k-labels-idx1-ubyte", labels)
    code, output, error = command("eval", tmp_path / "out" / "model.safetensors", "--data", few)
    assert code == 0, error
    assert np.sum(count_cells(output)) == 20


def test_eval_of_a_network_with_fewer_classes(model: Path, tmp_path: Path, command: Command) -> None:
    folder = write_data(tmp_path / "data", classes=12)
    assert "0..11, the network has 10 classes" in command.fails("eval", model, "--data", folder)


def test_eval_on_pictures_of_another_size(model: Path, tmp_path: Path, command: Command) -> None:
    error = command.fails("eval", model, "--data", write_data(tmp_path / "data", size=30))
    assert "(1, 30, 30)" in error
    assert "(1, 28, 28)" in error


@pytest.fixture
def pictures(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """0.png to 3.png: one picture of each class, in the working folder."""
    monkeypatch.chdir(tmp_path)
    names = [f"{label}.png" for label in range(4)]
    for name, image in zip(names, read_idx(data / "t10k-images-idx3-ubyte"), strict=False):
        Image.fromarray(image).save(name)
    return names


def predictions(output: str) -> list[tuple[str, int, float, list[int]]]:
    """Image, class, probability in percent and runners-up of each row."""
    rows = re.findall(r"^│ (\S+) +│ (\d+) +│ ([\d.]+) % +│ (.*?) +│$", output, re.MULTILINE)
    return [(i, int(c), float(p), [int(n) for n in re.findall(r"(\d+) \(", rest)]) for i, c, p, rest in rows]


def test_predict(pictures: list[str], model: Path, data: Path, command: Command) -> None:
    code, output, error = command("predict", model, *pictures)
    assert (code, error) == (0, "")
    expected = Network.load(model).predict(read_idx(data / "t10k-images-idx3-ubyte")[:4, None])
    rows = predictions(output)
    assert [row[0] for row in rows] == pictures
    assert [row[1] for row in rows] == expected.argmax(axis=1).tolist()
    assert [row[2] for row in rows] == [round(100 * float(p.max()), 1) for p in expected]
    assert [len(row[3]) for row in rows] == [2] * 4
    assert CONTROL.findall(output) == []


@pytest.mark.parametrize(("top", "others"), [(1, 0), (5, 4), (10, 9), (99, 9)])
def test_predict_shows_as_many_classes_as_asked(
    top: int, others: int, pictures: list[str], model: Path, command: Command
) -> None:
    assert command("predict", model, pictures[0], "--top", top)[1].count("%") == 1 + others


def test_predict_inverts(pictures: list[str], model: Path, command: Command) -> None:
    with Image.open(pictures[3]) as picture:
        Image.fromarray(255 - np.asarray(picture)).save("dark.png")
    straight = predictions(command("predict", model, pictures[3])[1])
    assert predictions(command("predict", model, "dark.png", "--invert")[1])[0][1:] == straight[0][1:]
    assert predictions(command("predict", model, "dark.png")[1])[0][1:] != straight[0][1:]


def test_predict_reads_other_pictures(pictures: list[str], model: Path, command: Command) -> None:
    with Image.open(pictures[2]) as picture:
        picture.convert("RGB").save("colour.png")
        picture.resize((56, 56), Image.Resampling.NEAREST).save("large.png")
        picture.save("two.jpg", quality=100)
        np.save("two.npy", np.asarray(picture))
    rows = predictions(command("predict", model, pictures[2], "colour.png", "large.png", "two.jpg", "two.npy")[1])
    assert [row[1] for row in rows] == [rows[0][1]] * 5
    assert rows[0][1:] == rows[1][1:] == rows[4][1:]


def test_predict_shows_long_names_whole(pictures: list[str], model: Path, command: Command) -> None:
    name = "n" * 150 + ".png"
    os.rename(pictures[0], name)
    cells = re.findall(r"^│ (\S+) +│", command("predict", model, name)[1], re.MULTILINE)
    assert "".join(cells) == name


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("none.png", None, "none.png does not exist"),
        ("text.png", b"not a picture", "text.png: not a readable PNG or JPEG picture"),
        ("empty.png", b"", "empty.png: not a readable PNG or JPEG picture"),
        ("bad.npy", b"\x93NUMPY", "bad.npy: not a readable .npy file"),
        (".", None, "is a directory, not a picture"),
    ],
)
def test_predict_of_no_picture(
    name: str, content: bytes | None, words: str, pictures: list[str], model: Path, command: Command
) -> None:
    if content is not None:
        Path(name).write_bytes(content)
    assert words in command.fails("predict", model, pictures[0], name)


def test_predict_with_a_network_for_other_things(tmp_path: Path, pictures: list[str], command: Command) -> None:
    Network(nn.Dense(3), (4,)).compile(device="cpu").save(tmp_path / "flat.safetensors")
    assert "(4,), not images" in command.refused("predict", tmp_path / "flat.safetensors", pictures[0])


@pytest.mark.parametrize("name", ["eval", "predict", "summary"])
@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "cannot read"), (b"", "not a model file"), (b"hello" * 9, "not a model file")],
    ids=["missing", "empty", "text"],
)
def test_a_wrong_model(name: str, content: bytes | None, words: str, tmp_path: Path, command: Command) -> None:
    path = tmp_path / "model"
    if content is not None:
        path.write_bytes(content)
    error = command.fails(name, path, *(["x.png"] if name == "predict" else []))
    assert str(path) in error
    assert words in error


def test_summary(model: Path, command: Command) -> None:
    code, output, error = command("summary", model)
    assert (code, error) == (0, "")
    assert re.search(r"│ module2\.conv +│ convolution 4x4 stride 2 padding 4 dilation 3 │ 20x8x8 +│ +6,420 │", output)
    assert re.search(r"│ total .* 16,390 │", output)
    assert "loss cross_entropy(), optimizer adam(rate=0.003, l1=1e-05, l2=0.0001" in output
    assert f"written by gocunets {gocunets.__version__} on cpu\n" in output
    assert re.search(r"^epoch 4: loss [\d.]+, test loss [\d.]+, test accuracy [\d.]+ %, [\d.]+ s$", output, re.M)
    assert CONTROL.findall(output) == []


def test_summary_of_an_untrained_network(tmp_path: Path, command: Command) -> None:
    Network(zoo.thesis_network(), (1, 28, 28), seed=3).compile(device="cpu").save(tmp_path / "m")
    code, output, _ = command("summary", tmp_path / "m")
    assert code == 0
    assert "seed 3" in output
    assert "epoch" not in output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--device", "cpu", "--dtype", "bfloat16"], "use --device cuda"),
        (["--device", "cpu", "--math", "tf32"], "math tf32 needs --device cuda"),
        (["--batch", 10**6], "batch 1000000 is larger"),
    ],
    ids=["dtype", "math", "batch"],
)
def test_a_run_that_cannot_begin_leaves_nothing(
    arguments: list[object], words: str, data: Path, tmp_path: Path, command: Command
) -> None:
    error = command.fails("train", "--data", data, "--out", tmp_path / "out", *arguments)
    assert words in error
    assert not (tmp_path / "out").exists()
