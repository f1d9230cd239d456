"""IDX files, the format of MNIST: two zero bytes, a type code, the rank, big-endian extents, the elements.

Source: the description on http://yann.lecun.com/exdb/mnist/.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
from numpy.typing import NDArray

from .errors import DataError, DataNotFound

Array = NDArray[Any]

TYPES: dict[int, np.dtype[Any]] = {
    0x08: np.dtype(">u1"),
    0x09: np.dtype(">i1"),
    0x0B: np.dtype(">i2"),
    0x0C: np.dtype(">i4"),
    0x0D: np.dtype(">f4"),
    0x0E: np.dtype(">f8"),
}
MAX_BYTES = 16 << 30
MAX_RANK = 32  # what every NumPy release can hold

_CHUNK = 1 << 20
_GZIP = b"\x1f\x8b"


def read_idx(path: str | PathLike[str]) -> Array:
    """Return the array in an IDX file, in this machine's byte order.

    gzip is detected by content, not by name. The whole file is read and checked before anything is
    returned: DataError for whatever is not exactly one IDX array, DataNotFound for a missing file.
    """
    path = Path(path)
    with open_unpacked(path) as stream:
        kind, shape = _read_header(path, stream)
        body = _read_body(path, stream, kind, shape)
    return np.frombuffer(body, kind).reshape(shape).astype(kind.newbyteorder("="), copy=False)


def write_idx(path: str | PathLike[str], array: Array, compress: bool = False) -> None:
    """Write an array as an IDX file, gzipped if `compress`; the same array always gives the same bytes.

    DataError for an element type that IDX does not have (it has u1, i1, i2, i4, f4, f8) and for an extent
    of 2**32 or more.
    """
    array = np.asarray(array)  # a NumPy scalar has no byte order
    try:
        start = header(array)
    except DataError as error:
        raise DataError(f"{path}: cannot be written: {error}") from error
    data = start + array.astype(array.dtype.newbyteorder(">"), copy=False).tobytes()
    Path(path).write_bytes(gzip.compress(data, mtime=0) if compress else data)


def header(array: Array) -> bytes:
    """The IDX header of an array: with its big-endian elements behind it, the whole file."""
    codes = {kind.newbyteorder("="): code for code, kind in TYPES.items()}
    code = codes.get(array.dtype.newbyteorder("="))
    if code is None:
        names = ", ".join(kind.name for kind in codes)
        raise DataError(f"IDX has no element type {array.dtype}; it has {names}")
    if max(array.shape, default=0) >= 1 << 32:
        raise DataError(f"IDX extents are 32-bit, the array is {array.shape}")
    return struct.pack(f">HBB{array.ndim}I", 0, code, array.ndim, *array.shape)


@contextmanager
def open_unpacked(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for reading, through gzip if its first bytes say so; faults become DataError.

    The check that ends a gzip file happens at its end: read until `read` returns nothing.
    """
    try:
        if path.is_dir():
            raise DataError(f"{path} is a directory, not a file")
        with path.open("rb") as raw:
            if raw.peek(2)[:2] != _GZIP:
                yield raw
                return
            with gzip.GzipFile(fileobj=raw) as unpacked:
                yield cast(IO[bytes], unpacked)
    except FileNotFoundError as error:
        raise DataNotFound(f"{path} does not exist") from error
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise DataError(f"{path}: broken gzip file of {path.stat().st_size:,} bytes: {error}") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error


def _read_header(path: Path, stream: IO[bytes]) -> tuple[np.dtype[Any], tuple[int, ...]]:
    magic = stream.read(4)
    if not magic:
        raise DataError(f"{path} is empty")
    if magic[:2] != b"\0\0"[: len(magic)]:
        raise DataError(f"{path}: not an IDX file: {_describe(magic + stream.read(508))}")
    if len(magic) < 4:
        raise DataError(f"{path}: truncated header: {len(magic)} bytes, expected at least 4")
    code, rank = magic[2:]
    if code not in TYPES:
        known = ", ".join(f"0x{known:02X}" for known in TYPES)
        raise DataError(f"{path}: unknown IDX type code 0x{code:02X}; known are {known}")
    if rank > MAX_RANK:
        raise DataError(f"{path}: header says rank {rank}, at most {MAX_RANK} is possible")
    extents = stream.read(4 * rank)
    if len(extents) < 4 * rank:
        raise DataError(f"{path}: truncated header: {4 + len(extents)} bytes, rank {rank} needs {4 + 4 * rank}")
    return TYPES[code], struct.unpack(f">{rank}I", extents)


def _describe(start: bytes) -> str:
    found = f"it starts with bytes {start[:4].hex(' ')}, expected 00 00"
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head", b"<!--")):
        return f"{found}; it looks like an HTML or XML page, as a failed download leaves"
    if text.startswith((b"pk\x03\x04", b"pk\x05\x06")):
        return f"{found}; it looks like a zip archive: unpack it first"
    if start.startswith(_GZIP):
        return f"{found}; it was gzipped twice"
    return found


def _read_body(path: Path, stream: IO[bytes], kind: np.dtype[Any], shape: tuple[int, ...]) -> bytearray:
    size = math.prod(shape) * kind.itemsize
    if size > MAX_BYTES:
        raise DataError(f"{path}: header says {shape} {kind.name} = {size:,} bytes, the limit is {MAX_BYTES:,}")
    body = bytearray()  # grows with what is there, not with what the header claims
    while len(body) < size and (chunk := stream.read(min(_CHUNK, size - len(body)))):
        body += chunk
    if len(body) < size:
        raise DataError(f"{path}: truncated: {shape} {kind.name} needs {size:,} bytes of elements, found {len(body):,}")
    if extra := len(stream.read(_CHUNK)):
        more = "at least " if extra == _CHUNK else ""
        raise DataError(f"{path}: {more}{extra:,} bytes too many: {shape} {kind.name} needs {size:,} bytes of elements")
    return body
