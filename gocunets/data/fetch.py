"""Downloading a file from the first of several mirrors that gives it whole and right."""

from __future__ import annotations

import hashlib
import os
import secrets
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from .errors import DataError, DataNotFound
from .idx import open_unpacked

MIN_RATE = 8 << 10  # bytes a second: a mirror below this, after `timeout` seconds, is given up

_CHUNK = 1 << 16


@dataclass(frozen=True)
class RemoteFile:
    """A file as mirrors hold it: its name, and size and sha256 of its content when unpacked."""

    name: str
    size: int
    sha256: str

    @property
    def limit(self) -> int:
        """Bytes that packing cannot exceed: gzip adds little even to noise."""
        return self.size + self.size // 1000 + 1000


class MirrorError(Exception):
    """One mirror did not deliver; the message says why in a few words."""


@dataclass(frozen=True)
class _Answer:
    url: str
    response: Any  # http.client.HTTPResponse or what urllib gives for another scheme
    first: bytes

    def close(self) -> None:
        self.response.close()


def fetch(remote: RemoteFile, mirrors: Sequence[str], folder: Path, timeout: float) -> Path:
    """Put a file into a folder, asking one mirror after another; return its path.

    It is written under a temporary name, checked, then renamed: under its own name it is always whole, also
    when several processes do this at once. Each mirror has `timeout` seconds to answer and to continue
    after a pause. DataNotFound with each mirror's reason if none delivers, DataError if the folder cannot
    be written.
    """
    problems: dict[str, str] = {}
    for mirror in mirrors:
        part = folder / f".{remote.name}.{os.getpid()}.{secrets.token_hex(4)}.part"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _receive(mirror, remote, part, timeout)
            return _publish(part, folder / remote.name)
        except MirrorError as error:
            problems[mirror] = str(error)
        except OSError as error:
            raise DataError(f"{folder}: cannot be written: {error}") from error
        finally:
            with suppress(OSError):  # it may never have been made
                part.unlink()
    raise DataNotFound(f"no mirror delivered {remote.name}: {explain(problems)}")


def answering_first(mirrors: Sequence[str], name: str, seconds: float) -> list[str]:
    """Return the mirrors with the one in front that first began to send `name`, all being asked at once.

    DataNotFound with each mirror's reason if none did within `seconds`; that limit holds for name look-up
    and connecting too.
    """
    urls = {join(mirror, name): mirror for mirror in mirrors}
    answer, problems = _race(list(urls), seconds)
    if answer is None:
        refused = any(problem.startswith("HTTP ") for problem in problems.values())
        what = "no mirror delivered" if refused else "no network"
        raise DataNotFound(f"{what}: {explain({mirror: problems[url] for url, mirror in urls.items()})}")
    answer.close()
    return sorted(mirrors, key=lambda mirror: mirror != urls[answer.url])


def explain(problems: dict[str, str]) -> str:
    """One line: every mirror with what went wrong there."""
    return "; ".join(f"{mirror}: {problem}" for mirror, problem in problems.items()) or "there are no mirrors"


def join(mirror: str, name: str) -> str:
    """The address of a file on a mirror, whether or not the mirror ends in a slash."""
    return f"{mirror.rstrip('/')}/{name}"


def check_unpacked(path: Path, remote: RemoteFile) -> str | None:
    """Return None if the file's unpacked content is the expected one, else what is wrong with it."""
    digest, size = hashlib.sha256(), 0
    with open_unpacked(path) as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
            size += len(chunk)
            if size > remote.size:
                return f"unpacks to more than the expected {remote.size:,} bytes"
    if digest.hexdigest() != remote.sha256:
        return (
            f"wrong content: {size:,} bytes unpacked with sha256 {digest.hexdigest()}, "
            f"expected {remote.size:,} with {remote.sha256}"
        )
    return None


def _receive(mirror: str, remote: RemoteFile, part: Path, timeout: float) -> None:
    url = join(mirror, remote.name)
    answer, problems = _race([url], timeout)
    if answer is None:
        raise MirrorError(problems[url])
    with closing(answer), part.open("xb") as file:
        for chunk in _chunks(answer, timeout):
            file.write(chunk)
            if file.tell() > remote.limit:
                raise MirrorError(f"sent more than {remote.limit:,} bytes for a file of {remote.size:,}")
    try:
        problem = check_unpacked(part, remote)
    except DataError as error:
        problem = f"wrong content: {str(error).replace(str(part), remote.name)}"
    if problem:
        raise MirrorError(problem)


def _publish(part: Path, target: Path) -> Path:
    try:
        part.replace(target)
    except PermissionError:  # Windows, while another process reads the copy it has put there itself
        if not target.exists():
            raise
    return target


def _chunks(answer: _Answer, timeout: float) -> Iterator[bytes]:
    begin, received, chunk = time.monotonic(), 0, answer.first
    while chunk:
        received += len(chunk)
        yield chunk
        elapsed = time.monotonic() - begin
        if elapsed > timeout and received < MIN_RATE * elapsed:
            raise MirrorError(f"too slow: {received:,} bytes in {elapsed:.1f} s")
        chunk = _read(answer.response, timeout)
    expected = answer.response.headers.get("Content-Length", "")
    if expected.isdecimal() and received != int(expected):
        raise MirrorError(f"truncated: {received:,} of {int(expected):,} bytes")


def _race(urls: Sequence[str], seconds: float) -> tuple[_Answer | None, dict[str, str]]:
    """Ask all addresses at once; return the first answer, or None and every address's reason.

    In threads because name look-up obeys no time limit, and connecting obeys one for each address of a host.
    """
    import urllib.request  # noqa: F401  here rather than in the threads: an import can take long

    answers: SimpleQueue[_Answer | tuple[str, str]] = SimpleQueue()
    over = threading.Event()
    for url in urls:
        threading.Thread(target=_ask, args=(url, seconds, answers, over), daemon=True).start()
    problems: dict[str, str] = {}
    limit = time.monotonic() + seconds
    try:
        while len(problems) < len(urls):
            item = answers.get(timeout=max(0.0, limit - time.monotonic()))
            if isinstance(item, _Answer):
                return item, problems
            problems[item[0]] = item[1]
    except Empty:
        problems |= {url: f"no answer within {seconds:g} s" for url in urls if url not in problems}
    finally:
        over.set()
        _drain(answers)
    return None, problems


def _ask(url: str, timeout: float, answers: SimpleQueue[_Answer | tuple[str, str]], over: threading.Event) -> None:
    try:
        response = _open(url, timeout)
        try:
            answer = _Answer(url, response, _read(response, timeout))
        except MirrorError:
            response.close()
            raise
        answers.put(answer)
    except MirrorError as error:
        answers.put((url, str(error)))
    except Exception as error:  # whatever it is, waiting for this mirror has no point
        answers.put((url, _reason(error, timeout)))
    if over.is_set():
        _drain(answers)


def _drain(answers: SimpleQueue[_Answer | tuple[str, str]]) -> None:
    while not answers.empty():
        try:
            item = answers.get_nowait()
        except Empty:  # the other side was faster
            return
        if isinstance(item, _Answer):
            item.close()


def _open(url: str, timeout: float) -> Any:
    import urllib.error
    import urllib.request
    from http.client import HTTPException

    try:
        return urllib.request.urlopen(url, timeout=timeout)
    except urllib.error.HTTPError as error:
        error.close()
        raise MirrorError(f"HTTP {error.code} {error.reason}") from error
    except (OSError, HTTPException, ValueError) as error:
        raise MirrorError(_reason(error, timeout)) from error


def _read(response: Any, timeout: float) -> bytes:
    from http.client import HTTPException

    try:
        data: bytes = response.read1(_CHUNK)
    except (OSError, HTTPException, ValueError) as error:
        raise MirrorError(_reason(error, timeout)) from error
    return data


def _reason(error: Exception, timeout: float) -> str:
    cause = getattr(error, "reason", error)
    if isinstance(cause, TimeoutError):
        return f"no answer within {timeout:g} s"
    return f"{type(cause).__name__}: {cause}" if isinstance(cause, BaseException) else str(cause)
