"""Model files: what is saved comes back bit for bit, what is damaged is refused, and a failed save costs nothing."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import random
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save_file

from gocunets import (
    Callback,
    Checkpoint,
    CheckpointError,
    DeviceUnavailable,
    Network,
    Trainer,
    Value,
    losses,
    nn,
    ops,
    optim,
    schedules,
)
from gocunets.data import Dataset, Normalization
from gocunets.io import files, read_header
from gocunets.state import STEP_STATE

Array = NDArray[Any]
GOLDEN = Path(__file__).parent / "files" / "golden_v1.safetensors"
GOLDEN_PREDICTIONS = [
    [0.078347, 0.147996, 0.076198, 0.066423, 0.08566, 0.173538, 0.092546, 0.089898, 0.120446, 0.068948],
    [0.068786, 0.145828, 0.123297, 0.04286, 0.070639, 0.125611, 0.077695, 0.145188, 0.138241, 0.061855],
    [0.073138, 0.151167, 0.170632, 0.035719, 0.067439, 0.088211, 0.066289, 0.189021, 0.117851, 0.040536],
]
POSIX = pytest.mark.skipif(os.name == "nt", reason="users and signals are those of POSIX")


@dataclass(frozen=True)
class HalfSquares(losses.Loss):
    """Half the mean squared difference: a loss of one's own."""

    name: ClassVar[str] = "test_checkpoint_half_squares"
    factor: float = 0.5

    def target_type(self, output: Any) -> Any:
        return output

    def losses(self, output: Value, target: Value) -> Value:
        return ops.scale(ops.squared_error(output, target), self.factor)


def batch_norm_and_dropout() -> nn.Module:
    return nn.Sequential(
        nn.Conv(4, 3), nn.BatchNorm(), nn.ReLU(), nn.MaxPool(2), nn.Dropout(0.4), nn.Dense(12), nn.Tanh(), nn.Dense(10)
    )


def branches() -> nn.Module:
    joined = nn.Concat(nn.Conv(3, 3, padding=1), nn.Conv(2, 5, padding=2, groups=1, bias=False))
    body = nn.Sequential(nn.Conv(5, 3, padding=1), nn.BatchNorm(spatial=False), nn.ELU())
    return nn.Sequential(joined, nn.Residual(body), nn.AveragePool(2), nn.Reshape((-1, 4)), nn.Flatten(), nn.Dense(10))


def transposed() -> nn.Module:
    return nn.Sequential(
        nn.Pad((0, 1, 0), (0, 1, 0), 0.5), nn.TransposedConv(3, 3, stride=2), nn.LeakyReLU(0.2), nn.Dropout(0.1),
        nn.Conv(6, 3, stride=2, dilation=2), nn.ClippedReLU(4.0), nn.GlobalAveragePool(), nn.Dense(10),
    )  # fmt: skip


SEVERAL = {
    "conv1.b": optim.SGD(0.05, l1=1e-4),
    "*.gamma": optim.Momentum(schedules.Cosine(0.05, 20, warmup=3), decay=0.8),
    "*.w": optim.Adam(schedules.StepDecay(2e-3, 5), l2=1e-3),
    "*": optim.Adagrad(schedules.Exponential(0.02, 0.99)),
}
NETWORKS: dict[str, dict[str, Any]] = {
    "batch norm and dropout": {"module": batch_norm_and_dropout},
    "branches, several optimizers": {
        "module": lambda: nn.Sequential(nn.Conv(4, 3), nn.BatchNorm(), nn.Dense(10)),
        "optimizer": SEVERAL,
    },
    "branches": {"module": branches, "optimizer": optim.Adadelta(l2=1e-3)},
    "transposed, float64": {"module": transposed, "optimizer": optim.Momentum(0.01), "dtype": "float64"},
    "own loss": {"module": batch_norm_and_dropout, "loss": HalfSquares(0.25), "optimizer": optim.SGD(0.1)},
}


def make_data(count: int = 30, loss: Any = None, seed: int = 0) -> Any:
    """Digits of a kind: each class lights a row; for the loss of one's own, a target for each output."""
    draw = np.random.RandomState(seed)
    labels = np.arange(count) % 10
    images = draw.randint(0, 60, (count, 1, 8, 8))
    images[np.arange(count), 0, labels % 8] += 100 + 10 * (labels[:, None] // 8)
    if loss is not None:
        return images.astype(np.float32) / 255, draw.random_sample((count, 10)).astype(np.float32)
    return Dataset("drawn", images.astype(np.uint8), labels, 10)


def make_network(case: str, seed: int = 3) -> Network:
    settings = dict(NETWORKS[case])
    return Network(settings.pop("module")(), (1, 8, 8), seed=seed).compile(device="cpu", **settings)


class StopAt(Callback):
    """Ends training after a step, as Ctrl-C does."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step(self, trainer: Trainer) -> None:
        if trainer.step == self.step:
            trainer.stop()


def contents(network: Network) -> dict[str, Any]:
    """Everything that training reads or writes, as it can be compared."""
    store = network.compiled.store
    tensors = {s.name: (s.role, store.read(s).dtype, store.read(s).tobytes()) for s in store.states if s.role != "step"}
    step = {name: network.compiled.step_record[name].tolist() for name in STEP_STATE.names or ()}
    return tensors | {"step": step}


def train(network: Network, case: str, epochs: int, resume: bool = False, stop: int = -1) -> Network:
    data = make_data(loss=NETWORKS[case].get("loss"))
    network.fit(data, epochs=epochs, batch=4, validation=data, callbacks=[StopAt(stop)], resume=resume)
    return network


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.safetensors"


@pytest.fixture(scope="module")
def trained() -> Network:
    """A network that nobody changes."""
    return train(make_network("batch norm and dropout"), "batch norm and dropout", 2, stop=11)


@pytest.fixture(scope="module")
def good(trained: Network, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The bytes of its file."""
    path = tmp_path_factory.mktemp("good") / "model.safetensors"
    trained.save(path)
    return path.read_bytes()


# --- there and back ------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", NETWORKS)
def test_everything_comes_back(case: str, path: Path) -> None:
    network = train(make_network(case), case, 3, stop=19)
    network.save(path)
    loaded = Network.load(path, device="cpu")
    assert contents(loaded) == contents(network)
    assert (loaded.input_shape, loaded.seed, loaded.policy) == (network.input_shape, network.seed, network.policy)
    assert (loaded.progress, loaded.normalization) == (network.progress, network.normalization)
    assert (loaded.compiled.loss, loaded.compiled.optimizers) == (network.compiled.loss, network.compiled.optimizers)


@pytest.mark.parametrize("case", NETWORKS)
def test_going_on_after_a_load_is_going_on(case: str, path: Path) -> None:
    undisturbed = train(make_network(case), case, 4)
    network = train(make_network(case), case, 4, stop=13)
    network.save(path)
    loaded = train(Network.load(path, device="cpu"), case, 4, resume=True)
    assert contents(loaded) == contents(train(network, case, 4, resume=True)) == contents(undisturbed)
    figures = [(r.steps, r.loss, r.accuracy, r.validation_loss) for r in loaded.progress.records]
    assert figures == [(r.steps, r.loss, r.accuracy, r.validation_loss) for r in undisturbed.progress.records]


def test_a_loaded_network_can_be_saved_again(path: Path, trained: Network, good: bytes) -> None:
    path.write_bytes(good)
    again = path.with_name("again.safetensors")
    Network.load(path, device="cpu").save(again)
    assert contents(Network.load(again, device="cpu")) == contents(trained)


def test_a_new_fit_after_a_load_is_a_new_fit(path: Path) -> None:
    case = "batch norm and dropout"
    network = train(make_network(case), case, 1)
    network.save(path)
    loaded = Network.load(path, device="cpu")
    undisturbed = train(make_network(case), case, 3)
    assert contents(train(loaded, case, 2)) == contents(train(network, case, 2)) == contents(undisturbed)
    assert loaded.progress.epochs_before == 1


def test_an_untrained_network_comes_back(path: Path) -> None:
    network = make_network("branches")
    network.save(str(path))
    assert contents(Network.load(str(path), device="cpu")) == contents(network)


@pytest.mark.parametrize("case", NETWORKS)
@pytest.mark.parametrize("batch", [1, 7, 30])
def test_a_loaded_network_takes_any_batch(case: str, batch: int, path: Path) -> None:
    network = train(make_network(case), case, 1)
    network.save(path)
    loaded = Network.load(path, device="cpu")
    data = make_data(loss=NETWORKS[case].get("loss"))
    images = data.images if isinstance(data, Dataset) else data[0]
    np.testing.assert_array_equal(loaded.predict(images, batch=batch), network.predict(images, batch=batch))
    targets = data.labels if isinstance(data, Dataset) else data[1]
    assert loaded.step(images[:batch] / 255, targets[:batch]) == network.step(images[:batch] / 255, targets[:batch])
    assert contents(loaded) == contents(network)


@pytest.mark.parametrize("normalization", [None, Normalization(1 / 255, 0.1307)])
def test_the_normalization_comes_back(normalization: Normalization | None, path: Path) -> None:
    network = make_network("branches")
    network.normalization = normalization
    network.save(path)
    assert Network.load(path, device="cpu").normalization == normalization


def test_filters_lie_as_documented(path: Path) -> None:
    Network(nn.Conv(6, (3, 2), groups=2), (4, 8, 8)).compile(device="cpu").save(path)
    with safe_open(path, "numpy") as file:
        assert file.metadata()["format"] == "gocunets/1"
        assert file.get_tensor("w").shape == (6, 2, 3, 2)
        assert sorted(file.keys()) == ["b", "m/b", "m/w", "v/b", "v/w", "w"]


def test_a_loaded_network_shows_its_layers(path: Path, trained: Network, good: bytes) -> None:
    path.write_bytes(good)
    assert str(Network.load(path, device="cpu").trace()) == str(trained.trace())


def test_the_header_is_readable_alone(path: Path, good: bytes) -> None:
    path.write_bytes(good)
    header = read_header(path)
    assert header["progress"]["epoch"] == 1
    assert header["step_state"]["step"] == 11
    assert set(header["versions"]) == {"gocunets", "numpy"}


def test_a_file_of_the_first_version_loads_for_ever() -> None:
    network = Network.load(GOLDEN, device="cpu")
    predicted = network.predict(make_data(3, seed=1).images)
    np.testing.assert_allclose(predicted, GOLDEN_PREDICTIONS, atol=1e-5)
    assert network.progress.epoch == 2
    network.fit(make_data(), epochs=4, batch=5, resume=True)
    assert network.compiled.step_record["step"] == 24
    assert GOLDEN.stat().st_size < 60_000


# --- files that are refused -------------------------------------------------------------------------------


def refuse(path: Path, *words: str) -> None:
    """Both ways to read a file raise CheckpointError with its name and these words."""
    for read in (read_header, Network.load):
        with pytest.raises(CheckpointError) as caught:
            read(path)
        for word in (str(path), *words):
            assert word in str(caught.value)


def rewrite(path: Path, good: bytes, change: Callable[[dict[str, Any]], Any]) -> None:
    """The good file with another header and a digest that agrees."""
    path.write_bytes(good)
    with safe_open(path, "numpy") as file:
        metadata, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    header = json.loads(metadata["header"])
    changed = change(header)
    text = changed if isinstance(changed, str) else json.dumps(header)
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        digest.update(f"{name} {tensors[name].dtype} {tensors[name].shape}".encode() + tensors[name].tobytes())
    save_file(tensors, path, metadata | {"header": text, "digest": digest.hexdigest()})


def test_rewriting_changes_nothing_by_itself(path: Path, trained: Network, good: bytes) -> None:
    rewrite(path, good, lambda header: None)
    assert contents(Network.load(path, device="cpu")) == contents(trained)


def nodes(header: dict[str, Any]) -> list[dict[str, Any]]:
    return header["architecture"]["inference"]["nodes"]


BAD_HEADERS: dict[str, tuple[Callable[[dict[str, Any]], Any], list[str]]] = {
    "unknown op": (lambda h: nodes(h)[0]["op"].update(name="warp"), ["unknown op 'warp'"]),
    "newer op": (lambda h: nodes(h)[0]["op"].update(version=7), ["op convolution has version 7", "knows 1"]),
    "field of a newer op": (lambda h: nodes(h)[0]["op"].update(curl=3), ["curl"]),
    "op without a field": (lambda h: nodes(h)[0]["op"].pop("stride"), ["stride"]),
    "unknown optimizer": (lambda h: h["optimizers"]["*"].update(name="lion"), ["unknown optimizer 'lion'"]),
    "unknown loss": (lambda h: h["loss"].update(name="focal"), ["unknown loss 'focal'"]),
    "a loss as an op": (lambda h: nodes(h)[0].update(op=h["loss"]), ["cross_entropy"]),
    "unknown family": (lambda h: h["loss"].update(family="lost"), ["lost"]),
    "input beyond the nodes": (lambda h: nodes(h)[0].update(inputs=[0, 99, 2]), []),
    "output beyond the nodes": (lambda h: h["architecture"]["inference"].update(output=99), []),
    "nodes of another rank": (lambda h: h.update(input_shape=[1, 8]), []),
    "another input shape": (lambda h: h.update(input_shape=[1, 12, 12]), []),
    "another parameter shape": (lambda h: h["architecture"]["parameters"][0].update(shape=[4, 1, 2, 2]), []),
    "a parameter less": (lambda h: h["architecture"]["parameters"].pop(), ["dense2.b"]),
    "unknown dtype": (lambda h: h["policy"].update(compute="float8"), ["float8"]),
    "dtype of a GPU": (lambda h: h["policy"].update(compute="bfloat16"), ["bfloat16"]),
    "newer progress": (lambda h: h["progress"].update(mood="good"), ["mood"]),
    "newer step state": (lambda h: h["step_state"].update(weather=1), ["weather"]),
    "no architecture": (lambda h: h.pop("architecture"), ["architecture"]),
    "architecture of another kind": (lambda h: h.update(architecture=[1, 2]), []),
    "parameters of another kind": (lambda h: h["architecture"].update(parameters=5), []),
    "optimizers of another kind": (lambda h: h.update(optimizers=["adam"]), []),
    "seed of another kind": (lambda h: h.update(seed="x"), []),
    "seed of 70 bits": (lambda h: h.update(seed=1 << 70), []),
    "a list": (lambda h: "[1, 2]", []),
    "not JSON": (lambda h: "{", []),
}


@pytest.mark.parametrize("case", BAD_HEADERS)
def test_a_header_that_cannot_be_used_is_refused(case: str, path: Path, good: bytes) -> None:
    change, words = BAD_HEADERS[case]
    rewrite(path, good, change)
    with pytest.raises(CheckpointError) as caught:
        Network.load(path, device="cpu")
    for word in (str(path), *words):
        assert word in str(caught.value)


def test_a_newer_format_is_refused(path: Path, good: bytes) -> None:
    path.write_bytes(good.replace(b'"gocunets/1"', b'"gocunets/2"'))
    refuse(path, "gocunets/2", "gocunets/1", "install a newer")


def test_a_missing_tensor_is_refused(path: Path) -> None:
    network = make_network("branches")
    network.save(path)
    with safe_open(path, "numpy") as file:
        metadata, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    del tensors[sorted(tensors)[0]]
    save_file(tensors, path, metadata)
    refuse(path, "corrupt")


OTHER_FILES: dict[str, bytes] = {
    "empty": b"",
    "text": b"The quick brown fox jumps over the lazy dog.\n" * 20,
    "zeros": bytes(5000),
    "huge header": struct.pack("<Q", 1 << 62) + b"{}",
    "header of no JSON": struct.pack("<Q", 8) + b"nonsense",
    "empty header": struct.pack("<Q", 2) + b"{}",
    "pickle": b"\x80\x04\x95\x0b\x00\x00\x00",
    "zip": b"PK\x03\x04" + bytes(100),
}


@pytest.mark.parametrize("content", OTHER_FILES.values(), ids=OTHER_FILES)
def test_other_files_are_refused(content: bytes, path: Path) -> None:
    path.write_bytes(content)
    refuse(path)


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}, {"format": "gocunets/1"}, {"format": "gocunets/1/2"}])
def test_foreign_safetensors_are_refused(metadata: dict[str, str] | None, path: Path) -> None:
    save_file({"w": np.zeros((3, 3), np.float32)}, path, metadata)
    refuse(path, "not one that gocunets wrote")


def test_a_missing_file_is_refused(path: Path) -> None:
    refuse(path, "No such file")


def test_a_folder_is_refused(tmp_path: Path) -> None:
    refuse(tmp_path, "folder")


def test_a_device_is_refused() -> None:
    refuse(Path(os.devnull))


@pytest.mark.parametrize("name", ["x" * 300, "a\0b", "file/under"], ids=["long", "NUL", "under a file"])
def test_an_impossible_name_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    refuse(tmp_path / name)


def test_a_dtype_that_numpy_has_not_is_refused(path: Path) -> None:
    header = {
        "__metadata__": {"format": "gocunets/1", "header": "{}", "digest": "0"},
        "w": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]},
    }
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(4))
    refuse(path, str(path))


def test_a_device_that_is_not_there(path: Path, good: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """That is no fault of the file."""
    path.write_bytes(good)
    monkeypatch.setattr("gocunets.backends.select._driver", lambda: False)
    with pytest.raises(DeviceUnavailable, match="no NVIDIA driver"):
        Network.load(path, device="cuda")
    with pytest.raises(ValueError, match="'abacus' is none of auto, cpu, cuda"):
        Network.load(path, device="abacus")


@contextmanager
def as_nobody() -> Iterator[None]:
    """Root may read and write everything: be somebody else for a while."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder that every user may reach."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        yield Path(name)
        os.chmod(name, 0o755)


@POSIX
@pytest.mark.parametrize("closed", ["model.safetensors", "."], ids=["file", "folder"])
def test_an_unreadable_file_is_refused(closed: str, shared: Path, good: bytes) -> None:
    path = shared / "model.safetensors"
    path.write_bytes(good)
    (shared / closed).chmod(0)
    with as_nobody():
        refuse(path, "ermission denied")


def test_half_a_file_is_refused(path: Path, good: bytes) -> None:
    start = 8 + struct.unpack("<Q", good[:8])[0]
    draw = random.Random(1)
    lengths = {*range(12), start - 1, start, start + 1, len(good) - 1, *draw.sample(range(len(good)), 200)}
    for length in sorted(lengths):
        path.write_bytes(good[:length])
        refuse(path)


@pytest.mark.parametrize("extra", [b"\0", b"more" * 100])
def test_a_file_with_more_behind_is_refused(extra: bytes, path: Path, good: bytes) -> None:
    path.write_bytes(good + extra)
    refuse(path)


def damages(good: bytes) -> Iterator[tuple[int, int]]:
    """Positions and what their byte becomes: the length, and 3,000 places in header and tensors.

    A space behind the header that becomes a tab is no damage: JSON reads over both.
    """
    draw = random.Random(2)
    start = 8 + struct.unpack("<Q", good[:8])[0]
    header, tensors = (draw.choices(range(low, high), k=1500) for low, high in ((8, start), (start, len(good))))
    for position in (*range(8), *header, *tensors):
        byte = good[position] ^ draw.randrange(1, 256)
        if not (position < start and good[position:start].isspace() and bytes([byte]).isspace()):
            yield position, byte


def test_one_wrong_byte_is_refused(path: Path, good: bytes) -> None:
    for position, byte in damages(good):
        path.write_bytes(good[:position] + bytes([byte]) + good[position + 1 :])
        with pytest.raises(CheckpointError):
            Network.load(path, device="cpu")


# --- saving that fails --------------------------------------------------------------------------------------


def keep_old(path: Path, old: bytes) -> None:
    """The old file is there, whole, and nothing else."""
    assert path.read_bytes() == old
    assert os.listdir(path.parent) == [path.name]
    Network.load(path, device="cpu")


class FullDisk(io.FileIO):
    """A file on a disk that has room for 1,000 bytes."""

    def write(self, content: Any) -> int:
        room = 1000 - self.tell()
        if room <= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write(bytes(content[:room])) or 0


def test_a_full_disk_costs_nothing(path: Path, good: bytes, trained: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_bytes(good)
    monkeypatch.setattr(files, "open", lambda path, *args, **kwargs: FullDisk(path, "wb"), raising=False)
    with pytest.raises(CheckpointError, match=r"No space left on device \([\d,]{5,} bytes to write, [\d,]+ free\)"):
        trained.save(path)
    keep_old(path, good)


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_a_failing_disk_costs_nothing(
    failing: str, path: Path, good: bytes, trained: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    path.write_bytes(good)
    monkeypatch.setattr(os, failing, fail)
    with pytest.raises(CheckpointError, match="Input/output error"):
        trained.save(path)
    keep_old(path, good)


def run_python(code: str, *arguments: object, code_expected: int = 0) -> subprocess.CompletedProcess[str]:
    """Run code in a process of its own."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == code_expected, done.stderr
    return done


SAVE_WITH_A_LIMIT = """
import resource, sys
from gocunets import CheckpointError, Network
network = Network.load(sys.argv[1], device="cpu")
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
try:
    network.save(sys.argv[1])
except CheckpointError as error:
    print(error)
"""


@POSIX
def test_a_quota_costs_nothing(path: Path, good: bytes) -> None:
    path.write_bytes(good)
    printed = run_python(SAVE_WITH_A_LIMIT, path).stdout
    assert printed.startswith(f"cannot write {path}: File too large (")
    assert "bytes to write" in printed
    keep_old(path, good)


@POSIX
def test_a_folder_that_may_not_be_written(shared: Path, good: bytes, trained: Network) -> None:
    path = shared / "model.safetensors"
    path.write_bytes(good)
    shared.chmod(0o555)
    with as_nobody(), pytest.raises(CheckpointError, match=r"Permission denied \([\d,]+ bytes to write"):
        trained.save(path)
    keep_old(path, good)


def test_a_folder_that_is_not_there(tmp_path: Path, trained: Network) -> None:
    with pytest.raises(CheckpointError, match="No such file or directory"):
        trained.save(tmp_path / "nowhere" / "model.safetensors")
    assert os.listdir(tmp_path) == []


def test_a_folder_in_the_place_of_the_file(path: Path, trained: Network) -> None:
    path.mkdir()
    with pytest.raises(CheckpointError, match="cannot write"):
        trained.save(path)
    assert os.listdir(path.parent) == [path.name]


def test_a_file_in_the_place_of_the_folder(path: Path, trained: Network) -> None:
    path.touch()
    with pytest.raises(CheckpointError, match="cannot write"):
        trained.save(path / "model.safetensors")


def test_saving_needs_a_compiled_network(path: Path) -> None:
    with pytest.raises(Exception, match="not compiled"):
        Network(nn.Dense(3), (4,)).save(path)
    assert not path.exists()


@pytest.mark.parametrize("name", ["model.safetensors", "model[1]*.safetensors"])
def test_what_a_dead_process_left_is_removed(name: str, tmp_path: Path, trained: Network) -> None:
    process = subprocess.Popen([sys.executable, "-S", "-c", ""])
    process.wait()
    left = tmp_path / f".{name}.{process.pid}.tmp"
    impossible = tmp_path / f".{name}.{10**30}.tmp"
    alive = tmp_path / f".{name}.{os.getppid()}.tmp"
    others = tmp_path / ".other.safetensors.1.tmp", tmp_path / f".{name}.mine.tmp"
    for file in (left, impossible, alive, *others):
        file.write_bytes(b"half")
    trained.save(tmp_path / name)
    assert set(tmp_path.iterdir()) == {tmp_path / name, alive, *others}


# --- a process that is killed while it saves ------------------------------------------------------------------

KILLED = """
import io, os, sys
from pathlib import Path
from gocunets.io import files

stage, path, new = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])

class Killed(io.FileIO):
    def write(self, content):
        super().write(bytes(content[: len(content) // 2]))
        os._exit(9)

def die(*args):
    os._exit(9)

if stage == "write":
    files.open = lambda path, *args, **kwargs: Killed(path, "wb")
else:
    module = files if hasattr(files, stage) else os
    setattr(module, stage, die)
files.write_whole(path, new.read_bytes())
"""
STAGES = {"_write_synced": "old", "write": "old", "fsync": "old", "replace": "old", "_sync_folder": "new"}


@POSIX
@pytest.mark.parametrize("stage", STAGES)
def test_killed_while_saving(stage: str, path: Path, good: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    new = tmp_path_factory.mktemp("new") / "new.safetensors"
    network = make_network("branches")
    network.save(new)
    path.write_bytes(good)
    run_python(KILLED, stage, path, new, code_expected=9)
    assert path.read_bytes() == {"old": good, "new": new.read_bytes()}[STAGES[stage]]
    Network.load(path, device="cpu").save(path)
    assert os.listdir(path.parent) == [path.name]


def test_only_regular_files_are_replaced(trained: Network, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for place in (tmp_path / "pipe", tmp_path, Path("/dev/null")):
        with pytest.raises(CheckpointError, match="no regular file"):
            trained.save(place)
    assert (tmp_path / "pipe").is_fifo()
    assert Path("/dev/null").is_char_device()


def test_the_last_checkpoint_is_written_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[Path] = []
    monkeypatch.setattr("gocunets.io.checkpoint.write_whole", lambda path, content: written.append(path))
    x, labels = np.zeros((10, 2, 4, 4), np.float32), np.arange(10) % 3
    network = Network(nn.Dense(3), (2, 4, 4)).compile(device="cpu")
    network.fit((x, labels), epochs=2, batch=5, callbacks=[Checkpoint(tmp_path / "model")])
    assert len(written) == 2
    trainer = Trainer(network, (x, labels), epochs=2, batch=5, callbacks=[Stop(), Checkpoint(tmp_path / "model")])
    trainer.run()
    assert len(written) == 3  # stopped within an epoch


class Stop(Callback):
    """Ends training after the first step."""

    def on_step(self, trainer: Trainer) -> None:
        trainer.stop()


def write_golden() -> None:
    """How the golden file was made: once, by `python tests/test_checkpoint.py`. A released one is never made again."""
    network = Network(batch_norm_and_dropout(), (1, 8, 8), seed=5).compile(
        device="cpu", optimizer={"*.b": optim.Momentum(0.01), "*": optim.Adam(3e-3, 1e-5, 1e-4)}
    )
    network.fit(make_data(), epochs=2, batch=5)
    network.save(GOLDEN)
    print(np.round(network.predict(make_data(3, seed=1).images).astype(float), 6).tolist(), GOLDEN.stat().st_size)


if __name__ == "__main__":
    write_golden()


def test_the_layout_is_kept(tmp_path: Path) -> None:
    network = Network(nn.Sequential(nn.Conv(2, 3), nn.Dense(3)), (1, 8, 8)).compile(
        device="cpu", layout="channels_last"
    )
    network.save(tmp_path / "model")
    assert Network.load(tmp_path / "model", device="cpu").compiled.layout == "channels_last"
