"""Bytes of JPEG files, and what can be seen of them before the library is asked."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeAlias

Source: TypeAlias = bytes | bytearray | memoryview | str | os.PathLike[str]

ALONE = {0x01, *range(0xD0, 0xD8)}  # TEM and RST: markers without a segment
FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # SOF
START_OF_SCAN, END_OF_IMAGE = 0xDA, b"\xff\xd9"


def content(source: Source) -> bytes:
    """The bytes of a file named by a path, or those given. Raises TypeError for anything else."""
    if isinstance(source, bytes):
        return source
    if isinstance(source, str | os.PathLike):
        return Path(source).read_bytes()
    try:
        return bytes(memoryview(source))
    except TypeError:
        raise TypeError(f"a JPEG is bytes or a path, not {type(source).__name__}") from None


def jpeg_bytes(source: Source, *, whole: bool = True) -> bytes:
    """The bytes of a JPEG, with `whole` to its end. Raises ValueError when it is none, or is cut off.

    nvJPEG decodes what is cut off all the same: past the end of memory, and differently each time.
    """
    data = content(source)
    start = _scan_start(data)
    if whole and data.rfind(END_OF_IMAGE) < start:
        raise ValueError(
            f"truncated JPEG: {len(data)} bytes, without the end marker ffd9 after the scan that begins at byte {start}"
        )
    return data


def check_start(data: bytes) -> None:
    """Raise ValueError unless the bytes begin as a JPEG does."""
    if data[:2] != b"\xff\xd8":
        raise ValueError(f"not a JPEG: {len(data)} bytes that begin with {data[:4].hex() or 'nothing'}, not ffd8")


def _scan_start(data: bytes) -> int:
    """The first byte after the header of the first scan."""
    check_start(data)
    place, frame = 2, False
    while True:
        place = data.find(b"\xff", place)
        if place < 0 or place + 2 > len(data):
            raise ValueError(f"truncated JPEG: {len(data)} bytes, without a scan")
        marker = data[place + 1]
        if marker == 0xFF or marker in ALONE:
            place += 1 if marker == 0xFF else 2
            continue
        if marker == END_OF_IMAGE[1]:
            raise ValueError(f"a JPEG without a picture: it ends at byte {place}, before a scan")
        end = place + 2 + max(2, int.from_bytes(data[place + 2 : place + 4], "big"))
        if end > len(data):
            raise ValueError(f"truncated JPEG: {len(data)} bytes, segment ff{marker:02x} at byte {place} goes to {end}")
        frame = frame or marker in FRAMES
        if marker == START_OF_SCAN:
            break
        place = end
    if not frame:
        raise ValueError(f"not a JPEG: the scan at byte {place} comes before any frame header")
    return end
