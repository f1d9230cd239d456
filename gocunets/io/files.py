"""Writing a file so that at every moment either the old one or the new one is there, whole."""

from __future__ import annotations

import contextlib
import glob
import os
import shutil
from pathlib import Path

from ..errors import CheckpointError


def write_whole(path: Path, content: bytes) -> None:
    """Replace `path` by `content`: temporary beside it, fsync, rename, fsync of the folder.

    Raises CheckpointError that says why and how much room there is; the old file is then as it was.
    """
    if os.path.lexists(path) and not path.is_file():
        raise CheckpointError(f"cannot write {path}: it is there and no regular file")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        _remove_abandoned(path)
        _write_synced(temporary, content)
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        raise CheckpointError(_explain(path, content, error)) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def _write_synced(path: Path, content: bytes) -> None:
    with open(path, "wb", buffering=0) as file:
        view = memoryview(content)
        while view:
            view = view[file.write(view) :]
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # folders cannot be opened there; the rename is journalled
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove_abandoned(path: Path) -> None:
    """Remove temporaries of processes that were killed while writing."""
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        owner = leftover.name.rsplit(".", 2)[1]
        if owner.isdigit() and int(owner) != os.getpid() and not _alive(int(owner)):
            leftover.unlink(missing_ok=True)


def _alive(process: int) -> bool:
    if os.name == "nt":  # signal 0 would end the process there
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _explain(path: Path, content: bytes, error: OSError) -> str:
    reason = f"cannot write {path}: {error.strerror or error}"
    try:
        free = shutil.disk_usage(path.parent).free
    except OSError:
        return reason
    return f"{reason} ({len(content):,} bytes to write, {free:,} free)"
