"""Files that may be lost: compiled kernels and plans, each with a checksum, kept between processes."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from pathlib import Path

DIGEST = 32


def cache_folder(kind: str) -> Path:
    """Where files of a kind are kept: in $GOCUDNN_CACHE, or gocudnn_py in the user's cache."""
    named = os.environ.get("GOCUDNN_CACHE")
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return (Path(named) if named else base / "gocudnn_py") / kind


def read(path: Path) -> bytes | None:
    """A kept file's content; None when there is none or it is not whole."""
    try:
        stored = path.read_bytes()
    except OSError:
        return None
    digest, content = stored[:DIGEST], stored[DIGEST:]
    return content if hashlib.sha256(content).digest() == digest else None


def write(path: Path, content: bytes) -> None:
    """Keep a file's content, whole or not at all; a cache that cannot be written costs only making it again."""
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            try:
                file.write(hashlib.sha256(content).digest() + content)
                file.close()
                os.replace(file.name, path)
            except OSError:
                os.unlink(file.name)
                raise


def key(*parts: object) -> str:
    """A file name for what is made of these parts."""
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()
