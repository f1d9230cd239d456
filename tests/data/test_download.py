"""Downloading: right files or none, each mirror's failure told, nothing half done left behind."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable
from dataclasses import astuple
from pathlib import Path
from typing import Any

import pytest

from gocunets.data import DataError, DataNotFound, download_mnist, fetch, load_mnist, mnist
from gocunets.data.fetch import RemoteFile

Mirror = Callable[[str], str]
NAMES = sorted(remote.name for remote in mnist.FILES)
FIRST = mnist.FILES[0].name

pytestmark = pytest.mark.usefixtures("tiny_is_mnist")


def contents(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


@pytest.mark.parametrize("deadline", [None, 5.0])
@pytest.mark.parametrize("how", ["good", "unpacked"])
def test_a_download_is_whole(tmp_path: Path, mirror: Mirror, how: str, deadline: float | None) -> None:
    folder = download_mnist(tmp_path / "new" / "mnist", mirrors=[mirror(how)], deadline=deadline)
    assert folder == tmp_path / "new" / "mnist"
    assert contents(folder) == NAMES
    assert load_mnist(folder, genuine=True).comparable


FAILURES = {
    "missing": "HTTP 404 no such file",
    "truncated": r"truncated: \d+ of \d+ bytes",
    "cut": r"wrong content: train-images-idx3-ubyte\.gz: broken gzip file of \d+ bytes: Compressed",
    "other": r"wrong content: 256 bytes unpacked with sha256 [0-9a-f]{64}, expected 256 with [0-9a-f]{64}",
    "page": r"wrong content: 42 bytes unpacked with sha256 [0-9a-f]{64}, expected 256 with [0-9a-f]{64}",
    "empty": r"wrong content: 0 bytes unpacked",
    "endless": r"sent more than 1,256 bytes for a file of 256",
    "trickle": r"too slow: \d bytes in 0\.\d s",
    "hang": r"no answer within 0\.3 s",
    "stall": r"no answer within 0\.3 s",
}
TIMED = {"trickle", "hang", "stall"}


@pytest.mark.parametrize(("how", "message"), FAILURES.items(), ids=FAILURES)
def test_a_failure_is_told_and_leaves_nothing(tmp_path: Path, mirror: Mirror, how: str, message: str) -> None:
    with pytest.raises(DataNotFound, match=message) as caught:
        download_mnist(tmp_path, mirrors=[mirror(how)], timeout=0.3 if how in TIMED else 5.0)
    assert str(caught.value).startswith(f"no mirror delivered {FIRST}: {mirror(how)}: ")
    assert contents(tmp_path) == []


def test_both_digests_are_told(tmp_path: Path, mirror: Mirror) -> None:
    with pytest.raises(DataNotFound) as caught:
        download_mnist(tmp_path, mirrors=[mirror("other")])
    found, expected = re.findall("[0-9a-f]{64}", str(caught.value))
    assert expected == mnist.FILES[0].sha256
    assert found != expected


@pytest.mark.parametrize("deadline", [None, 5.0])
def test_the_next_mirror_is_asked(tmp_path: Path, mirror: Mirror, server: Any, deadline: float | None) -> None:
    mirrors = [mirror(how) for how in ("missing", "other", "good")]
    download_mnist(tmp_path, mirrors=mirrors, deadline=deadline)
    assert contents(tmp_path) == NAMES
    assert server.asked.count(f"good/{FIRST}") == 1


def test_every_mirror_is_told(tmp_path: Path, mirror: Mirror) -> None:
    hows = ["missing", "hang", "cut"]
    with pytest.raises(DataNotFound) as caught:
        download_mnist(tmp_path, mirrors=[mirror(how) for how in hows], timeout=0.3)
    places = [str(caught.value).index(mirror(how)) for how in hows]
    assert places == sorted(places)


def test_strange_mirrors(tmp_path: Path, mirror: Mirror) -> None:
    with pytest.raises(DataNotFound, match="there are no mirrors"):
        download_mnist(tmp_path, mirrors=[])
    with pytest.raises(DataNotFound, match="nonsense: ValueError: unknown url type"):
        download_mnist(tmp_path, mirrors=["nonsense"])
    with pytest.raises(DataNotFound, match=r"example\.org: gaierror: .* may not look up example\.org"):
        download_mnist(tmp_path, mirrors=["http://example.org"])
    download_mnist(tmp_path, mirrors=mirror("good").rstrip("/"))
    assert contents(tmp_path) == NAMES


def test_nobody_listens(tmp_path: Path) -> None:
    with socket.socket() as bound:  # bound, never listening: the port refuses
        bound.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{bound.getsockname()[1]}/"
        for deadline, start in ((None, "no mirror delivered"), (5.0, "no network: ")):
            with pytest.raises(DataNotFound, match=f"^{start}.*{address}: ConnectionRefusedError"):
                download_mnist(tmp_path, mirrors=[address], deadline=deadline)


@pytest.mark.parametrize("how", ["hang", "missing"])
def test_the_deadline_is_for_all_mirrors_together(tmp_path: Path, mirror: Mirror, how: str) -> None:
    mirrors = [mirror("hang"), mirror("hang") + "/", mirror(how)]
    start = time.monotonic()
    with pytest.raises(DataNotFound, match=r"no answer within 0\.5 s"):
        download_mnist(tmp_path / "x", mirrors=mirrors, deadline=0.5)
    assert time.monotonic() - start < 5
    assert not (tmp_path / "x").exists()


def test_the_deadline_holds_for_name_look_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: over.wait(30) and [])
    start = time.monotonic()
    with pytest.raises(DataNotFound, match=r"no network: http://far: no answer within 0\.3 s"):
        download_mnist(tmp_path, mirrors=["http://far"], deadline=0.3)
    with pytest.raises(DataNotFound, match=r"no answer within 0\.3 s"):
        download_mnist(tmp_path, mirrors=["http://far"], timeout=0.3)
    assert time.monotonic() - start < 5
    over.set()


def test_a_fault_in_a_thread_is_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(url: str, timeout: float) -> None:
        raise RuntimeError("out of luck")

    monkeypatch.setattr(fetch, "_open", fail)
    start = time.monotonic()
    with pytest.raises(DataNotFound, match="no network: there: RuntimeError: out of luck"):
        download_mnist(tmp_path, mirrors=["there"], deadline=10)
    assert time.monotonic() - start < 5


def test_a_download_in_progress_outlives_the_deadline(
    tmp_path: Path, mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "MIN_RATE", 1)
    start = time.monotonic()
    download_mnist(tmp_path, mirrors=[mirror("slow")], deadline=0.4, timeout=0.4)
    assert time.monotonic() - start > 1
    assert contents(tmp_path) == NAMES


def test_only_missing_files_are_fetched(tmp_path: Path, tiny_folder: Path, mirror: Mirror, server: Any) -> None:
    for name in NAMES[1:]:
        (tmp_path / name).write_bytes((tiny_folder / name).read_bytes())
    download_mnist(tmp_path, mirrors=[mirror("good")])
    download_mnist(tmp_path, mirrors=[mirror("good")], deadline=1)
    assert server.asked == [f"good/{NAMES[0]}"]


@pytest.mark.parametrize("content", [b"", b"my own notes", b"\x1f\x8b\x08broken"])
def test_no_file_is_ever_replaced(tmp_path: Path, mirror: Mirror, content: bytes) -> None:
    (tmp_path / FIRST).write_bytes(content)
    with pytest.raises(DataError, match=FIRST):
        download_mnist(tmp_path, mirrors=[mirror("good")])
    assert (tmp_path / FIRST).read_bytes() == content
    assert contents(tmp_path) == [FIRST]


def test_a_folder_that_cannot_be_written(tmp_path: Path, mirror: Mirror) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DataError, match=r"file/mnist: cannot be written: .*Not a directory"):
        download_mnist(tmp_path / "file" / "mnist", mirrors=[mirror("good")])


def test_a_full_disk_is_not_the_mirrors_fault(tmp_path: Path, mirror: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(DataError, match=r"cannot be written: .*No space left"):
        download_mnist(tmp_path, mirrors=[mirror("good")])
    assert contents(tmp_path) == []


def test_being_interrupted_leaves_nothing(tmp_path: Path, mirror: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("gocunets.data.fetch.check_unpacked", interrupt)
    with pytest.raises(KeyboardInterrupt):
        download_mnist(tmp_path, mirrors=[mirror("good")])
    assert contents(tmp_path) == []


def test_windows_keeps_the_copy_that_another_process_reads(
    tmp_path: Path, mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    def taken(self: Path, target: Path) -> None:
        target.write_bytes(self.read_bytes())
        raise PermissionError(13, "the file is open in another process")

    monkeypatch.setattr(Path, "replace", taken)
    download_mnist(tmp_path, mirrors=[mirror("good")])
    assert contents(tmp_path) == NAMES


def test_losers_of_the_race_are_closed(tmp_path: Path, mirror: Mirror) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ResourceWarning)
        for _ in range(5):
            download_mnist(tmp_path, mirrors=[mirror("good"), mirror("unpacked"), mirror("slow")], deadline=2)
            for path in tmp_path.iterdir():
                path.unlink()
        time.sleep(0.2)
    assert [str(warning.message) for warning in caught] == []


SCRIPT = """
import json, sys, time
from pathlib import Path
from gocunets.data import download_mnist, fetch, load_mnist, mnist
from gocunets.data.fetch import RemoteFile
files, folder, mirror, go = json.loads(sys.argv[1])
mnist.FILES = tuple(RemoteFile(*file) for file in files)
print("ready", flush=True)
while not Path(go).exists():
    time.sleep(0.001)
download_mnist(folder, mirrors=[mirror], deadline=5.0)
print(len(load_mnist(folder, genuine=True).train))
"""


def test_two_processes_at_once(tmp_path: Path, mirror: Mirror, server: Any, tiny_files: tuple[RemoteFile, ...]) -> None:
    folder, go = tmp_path / "mnist", tmp_path / "go"
    plan = json.dumps([[astuple(file) for file in tiny_files], str(folder), mirror("slow"), str(go)])
    command = [sys.executable, "-W", "error", "-c", SCRIPT, plan]
    root = Path(__file__).parents[2]
    processes = [
        subprocess.Popen(command, cwd=root, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(2)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    go.touch()
    for process in processes:
        output, errors = process.communicate(timeout=15)
        assert (output, errors, process.returncode) == ("12\n", "", 0)
    assert contents(folder) == NAMES
    assert server.asked.count(f"slow/{FIRST}") == 2  # they did overlap
