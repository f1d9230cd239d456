"""IDX files: what is read is what was written, and everything else is a DataError that says why."""

from __future__ import annotations

import gzip
import re
import struct
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gocunets.data import DataError, DataNotFound, idx, read_idx, write_idx

DTYPES = ["uint8", "int8", "int16", "int32", "float32", "float64"]
IMAGES = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)
PLAIN = b"\0\0\x08\x03" + struct.pack(">3I", 2, 3, 4) + IMAGES.tobytes()
PACKED = gzip.compress(PLAIN, mtime=0)


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("shape", [(), (0,), (7,), (2, 0, 3), (2, 3, 4), (1, 2, 1, 2, 3)], ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_round_trip(tmp_path: Path, dtype: str, shape: tuple[int, ...], compress: bool) -> None:
    array = (np.random.RandomState(0).standard_normal(shape) * 100 + 100).astype(dtype)
    write_idx(tmp_path / "x", array, compress)
    found = read_idx(tmp_path / "x")
    assert found.dtype == array.dtype
    assert found.dtype.isnative
    assert found.flags.writeable
    np.testing.assert_array_equal(found, array, strict=True)


def test_byte_order_is_big_endian_on_disk(tmp_path: Path) -> None:
    write_idx(tmp_path / "x", np.array([1, -2], np.int16))
    assert (tmp_path / "x").read_bytes() == bytes.fromhex("00000b01 00000002 0001 fffe")


def test_big_endian_and_strided_arrays_are_written_right(tmp_path: Path) -> None:
    array = np.arange(12, dtype=">i4").reshape(3, 4)[::2, ::-1]
    write_idx(tmp_path / "x", array)
    np.testing.assert_array_equal(read_idx(tmp_path / "x"), array)


def test_gzip_is_known_by_content_not_by_name(tmp_path: Path) -> None:
    (tmp_path / "plain.gz").write_bytes(PLAIN)
    (tmp_path / "packed").write_bytes(PACKED)
    for name in ("plain.gz", "packed"):
        np.testing.assert_array_equal(read_idx(tmp_path / name), IMAGES, strict=True)


def test_same_array_gives_the_same_file(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_idx(tmp_path / name, IMAGES, compress=True)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes() == PACKED


HEADER = PLAIN[:16]
HUGE = b"\0\0\x0e\x02" + struct.pack(">2I", 2**31, 2)

BROKEN = {
    "empty": (b"", "is empty"),
    "empty gzip": (gzip.compress(b""), "is empty"),
    "magic": (b"\x93NUMPY", "not an IDX file: it starts with bytes 93 4e 55 4d, expected 00 00"),
    "one byte": (b"\x01", "not an IDX file: it starts with bytes 01, expected 00 00"),
    "html": (b"\n <!DOCTYPE html>", "0a 20 3c 21, expected 00 00; it looks like an HTML or XML page"),
    "xml": (gzip.compress(b"<?xml version='1.0'?><Error>"), "it looks like an HTML or XML page"),
    "zip": (b"PK\x03\x04rest", "it looks like a zip archive: unpack it first"),
    "twice": (gzip.compress(PACKED), "it was gzipped twice"),
    "type code": (b"\0\0\x0a\x01\0\0\0\0", "unknown IDX type code 0x0A; known are 0x08, 0x09, 0x0B"),
    "short magic": (PLAIN[:3], "truncated header: 3 bytes, expected at least 4"),
    "short header": (PLAIN[:13], "truncated header: 13 bytes, rank 3 needs 16"),
    "rank": (b"\0\0\x08\xff" + b"\0" * 1020, "header says rank 255, at most 32 is possible"),
    "no body": (HEADER, "truncated: (2, 3, 4) uint8 needs 24 bytes of elements, found 0"),
    "short body": (PLAIN[:-5], "truncated: (2, 3, 4) uint8 needs 24 bytes of elements, found 19"),
    "short packed": (gzip.compress(PLAIN[:-5]), "needs 24 bytes of elements, found 19"),
    "long": (PLAIN + b"abc", "3 bytes too many: (2, 3, 4) uint8 needs 24 bytes of elements"),
    "long packed": (gzip.compress(PLAIN + b"abc"), "3 bytes too many"),
    "bomb": (gzip.compress(PLAIN + b"\0" * (5 << 20)), "at least 1,048,576 bytes too many"),
    "huge": (HUGE, "(2147483648, 2) float64 = 34,359,738,368 bytes, the limit is 17,179,869,184"),
    "cut gzip": (PACKED[:-9], f"broken gzip file of {len(PACKED) - 9} bytes: Compressed file ended"),
    "cut checksum": (PACKED[:-1], f"broken gzip file of {len(PACKED) - 1} bytes"),
    "checksum": (PACKED[:-8] + b"\0\0\0\0" + PACKED[-4:], "broken gzip file of 56 bytes: CRC check failed"),
    "after gzip": (PACKED + b"junk", "broken gzip file of 60 bytes: Not a gzipped file"),
}


@pytest.mark.parametrize(("data", "message"), BROKEN.values(), ids=BROKEN)
def test_broken_file(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "broken-idx3-ubyte"
    path.write_bytes(data)
    with pytest.raises(DataError, match=re.escape(message)) as caught:
        read_idx(path)
    assert str(path) in str(caught.value)


def test_a_claim_of_15_gib_takes_no_memory(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"\0\0\x08\x01" + struct.pack(">I", 2**32 - 1) + b"abc")
    with pytest.raises(DataError, match="needs 4,294,967,295 bytes of elements, found 3"):
        read_idx(tmp_path / "x")


def test_paths_that_are_no_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is a directory, not a file"):
        read_idx(tmp_path)
    with pytest.raises(DataNotFound, match=r"nowhere\.gz does not exist"):
        read_idx(tmp_path / "nowhere.gz")


def test_unreadable_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "x").write_bytes(PLAIN)
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(DataError, match=r"x: cannot be read: Permission denied"):
        read_idx(tmp_path / "x")


def test_what_idx_cannot_hold_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"x: cannot be written: IDX has no element type int64; it has uint8"):
        write_idx(tmp_path / "x", np.zeros(3, np.int64))
    wide = np.broadcast_to(np.uint8(0), (2**32, 1))
    with pytest.raises(DataError, match=r"32-bit, the array is \(4294967296, 1\)"):
        write_idx(tmp_path / "x", wide)
    assert not (tmp_path / "x").exists()


fuzz = settings(
    max_examples=300,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@st.composite
def damage(draw: st.DrawFn, data: bytes) -> bytes:
    """The bytes cut short, lengthened, or with some of them changed."""
    at = draw(st.integers(0, len(data) - 1))
    match draw(st.sampled_from(["cut", "flip", "replace", "insert"])):
        case "cut":
            return data[:at]
        case "flip":
            return data[:at] + bytes([data[at] ^ 1 << draw(st.integers(0, 7))]) + data[at + 1 :]
        case "replace":
            junk = draw(st.binary(min_size=1, max_size=8))
            return data[:at] + junk + data[at + len(junk) :]
        case _:
            return data[:at] + draw(st.binary(min_size=1, max_size=40)) + data[at:]


@fuzz
@given(damage(PACKED))
def test_damaged_gzip_is_refused_or_harmless(tmp_path: Path, data: bytes) -> None:
    """gzip's own checksum holds: either a DataError, or the very same pixels (a flip in gzip's header)."""
    (tmp_path / "x").write_bytes(data)
    try:
        found = read_idx(tmp_path / "x")
    except DataError:
        return
    np.testing.assert_array_equal(found, IMAGES)


@fuzz
@given(damage(PLAIN))
def test_damaged_plain_file_is_refused_or_of_full_size(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x").write_bytes(data)
    try:
        found = read_idx(tmp_path / "x")
    except DataError:
        return
    start = idx.header(found)
    assert len(start) + found.nbytes == len(data)
    if data[:16] == HEADER:
        assert found.shape == IMAGES.shape


@fuzz
@given(st.binary(max_size=64))
def test_any_bytes_are_read_or_refused(tmp_path: Path, data: bytes) -> None:
    for start in (b"", b"\0\0", b"\x1f\x8b\x08"):
        (tmp_path / "x").write_bytes(start + data)
        with suppress(DataError):
            read_idx(tmp_path / "x")
