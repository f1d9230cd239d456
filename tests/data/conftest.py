"""A MNIST of a few tiny images, and a server on this machine that gives it out well and badly."""

from __future__ import annotations

import gzip
import hashlib
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer
from typing import Any

import numpy as np
import pytest

from gocunets.data import mnist, write_idx
from gocunets.data.fetch import RemoteFile

Mirror = Callable[[str], str]


@pytest.fixture(autouse=True)
def only_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test looks up another host's name, and no proxy stands before the local server."""
    look_up = socket.getaddrinfo

    def local(host: Any, *args: Any, **kwargs: Any) -> Any:
        if host not in ("127.0.0.1", "localhost"):
            raise socket.gaierror(socket.EAI_NONAME, f"the tests may not look up {host}")
        return look_up(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", local)
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture(scope="module")
def tiny() -> dict[str, np.ndarray]:
    """The four arrays of a MNIST of 12 + 6 images of 5 x 4 pixels, by file name."""
    random = np.random.RandomState(1)
    arrays = {}
    for part, count in (("train", 12), ("t10k", 6)):
        arrays[f"{part}-images-idx3-ubyte.gz"] = random.randint(0, 256, (count, 5, 4)).astype(np.uint8)
        arrays[f"{part}-labels-idx1-ubyte.gz"] = random.randint(0, 10, count).astype(np.uint8)
    return arrays


@pytest.fixture(scope="module")
def tiny_folder(tiny: dict[str, np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    for name, array in tiny.items():
        write_idx(folder / name, array, compress=True)
    return folder


@pytest.fixture(scope="module")
def tiny_files(tiny_folder: Path) -> tuple[RemoteFile, ...]:
    files = []
    for remote in mnist.FILES:
        content = gzip.decompress((tiny_folder / remote.name).read_bytes())
        files.append(RemoteFile(remote.name, len(content), hashlib.sha256(content).hexdigest()))
    return tuple(files)


@pytest.fixture
def tiny_is_mnist(monkeypatch: pytest.MonkeyPatch, tiny_files: tuple[RemoteFile, ...]) -> None:
    monkeypatch.setattr(mnist, "FILES", tiny_files)


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty cache folder that does not exist yet."""
    folder = tmp_path / "cache" / "mnist"
    monkeypatch.setenv("GOCUNETS_DATA", str(folder))
    return folder


class Handler(BaseHTTPRequestHandler):
    """Answers /HOW/NAME with the file NAME, in the manner HOW."""

    folder: Path
    over: threading.Event

    def do_GET(self) -> None:
        how, name = self.path.strip("/").split("/")
        self.server.asked.append(f"{how}/{name}")  # type: ignore[attr-defined]
        getattr(self, how)((self.folder / name).read_bytes())

    def start(self, length: int | None) -> None:
        self.send_response(200)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def good(self, data: bytes) -> None:
        self.start(len(data))
        self.wfile.write(data)

    def missing(self, data: bytes) -> None:
        self.send_error(404, "no such file")

    def truncated(self, data: bytes) -> None:
        self.start(len(data))
        self.wfile.write(data[:-10])

    def cut(self, data: bytes) -> None:
        """Half the file, and no length that would tell."""
        self.start(None)
        self.wfile.write(data[: len(data) // 2])

    def other(self, data: bytes) -> None:
        self.good(gzip.compress(gzip.decompress(data)[:-1] + b"\x77"))

    def page(self, data: bytes) -> None:
        self.good(b"<!DOCTYPE html><html>Please sign in</html>")

    def empty(self, data: bytes) -> None:
        self.good(b"")

    def unpacked(self, data: bytes) -> None:
        self.good(gzip.decompress(data))

    def endless(self, data: bytes) -> None:
        self.start(None)
        self.pieces([b"\0" * 4096] * 100_000, 0)

    def slow(self, data: bytes) -> None:
        """The whole file, in ten pieces over half a second."""
        self.start(len(data))
        step = -(-len(data) // 10)
        self.pieces([data[i : i + step] for i in range(0, len(data), step)], 0.05)

    def trickle(self, data: bytes) -> None:
        self.start(len(data))
        self.pieces([data[i : i + 1] for i in range(len(data))], 0.1)

    def hang(self, data: bytes) -> None:
        self.over.wait(30)

    def stall(self, data: bytes) -> None:
        """A few bytes, then nothing."""
        self.start(len(data))
        self.wfile.write(data[:10])
        self.over.wait(30)

    def pieces(self, pieces: list[bytes], pause: float) -> None:
        try:
            for piece in pieces:
                self.wfile.write(piece)
                if self.over.wait(pause):
                    return
        except OSError:
            return  # the client had enough

    def log_message(self, *args: Any) -> None:
        """Keep the tests' output clean."""


class Server(ThreadingHTTPServer):
    daemon_threads = True
    asked: list[str]

    def server_bind(self) -> None:
        """Bind without HTTPServer's look-up of the host's full name."""
        TCPServer.server_bind(self)

    def handle_error(self, *args: Any) -> None:
        """A client that goes away is no error here."""


@pytest.fixture
def server(tiny_folder: Path) -> Iterator[Server]:
    over = threading.Event()
    handler = type("TinyHandler", (Handler,), {"folder": tiny_folder, "over": over})
    with Server(("127.0.0.1", 0), handler) as server:
        server.asked = []
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        over.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def mirror(server: Server) -> Mirror:
    """The address of a mirror with the named manner: good, missing, hang, ... (see Handler)."""
    return lambda how: f"http://127.0.0.1:{server.server_address[1]}/{how}/"
