"""Pictures from files: the shape asked for, or an error that says why not."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gocunets.data import DataError, DataNotFound, read_image

GREY = np.arange(6 * 4, dtype=np.uint8).reshape(6, 4) * 10
RGB = np.random.RandomState(0).randint(0, 256, (6, 4, 3)).astype(np.uint8)


def save(path: Path, pixels: np.ndarray, **options: Any) -> Path:
    Image.fromarray(pixels).save(path, **options)
    return path


def test_grey_and_colour_come_back_exactly(tmp_path: Path) -> None:
    grey = read_image(save(tmp_path / "g.png", GREY), (1, 6, 4))
    np.testing.assert_array_equal(grey, GREY[np.newaxis], strict=True)
    colour = read_image(save(tmp_path / "c.png", RGB), (3, 6, 4))
    np.testing.assert_array_equal(colour, RGB.transpose(2, 0, 1), strict=True)
    assert colour.flags.c_contiguous
    assert colour.flags.writeable


def test_grey_and_colour_are_converted(tmp_path: Path) -> None:
    path = save(tmp_path / "g.png", GREY)
    np.testing.assert_array_equal(read_image(path, (3, 6, 4)), np.stack([GREY] * 3))
    luma = RGB @ [0.299, 0.587, 0.114]
    found = read_image(save(tmp_path / "c.png", RGB), (1, 6, 4))
    np.testing.assert_allclose(found[0], luma, atol=1)


def test_jpeg(tmp_path: Path) -> None:
    path = save(tmp_path / "x.jpg", np.full((16, 16), 77, np.uint8), quality=100)
    np.testing.assert_allclose(read_image(str(path), (1, 16, 16)), 77, atol=1)


@pytest.mark.parametrize("size", [(12, 8), (3, 2), (28, 28)], ids=str)
def test_another_size_is_resized(tmp_path: Path, size: tuple[int, int]) -> None:
    expected = Image.fromarray(GREY).resize(size[::-1], Image.Resampling.BILINEAR)
    found = read_image(save(tmp_path / "g.png", GREY), (1, *size))
    np.testing.assert_array_equal(found[0], np.asarray(expected), strict=True)
    assert read_image(save(tmp_path / "c.png", RGB), (3, *size)).shape == (3, *size)


def test_transparency_is_laid_on_white(tmp_path: Path) -> None:
    pixels = np.zeros((2, 2, 4), np.uint8)
    pixels[0, 0, 3] = 255  # one black pixel, the rest transparent
    found = read_image(save(tmp_path / "t.png", pixels), (1, 2, 2))
    assert found.tolist() == [[[0, 255], [255, 255]]]


def test_sixteen_bits_are_scaled_not_clipped(tmp_path: Path) -> None:
    path = save(tmp_path / "deep.png", np.array([[0, 257 * 100], [257 * 200, 65535]], np.uint16))
    assert read_image(path, (1, 2, 2)).tolist() == [[[0, 100], [200, 255]]]


def test_black_and_white_and_palette(tmp_path: Path) -> None:
    picture = Image.fromarray(np.array([[0, 255]], np.uint8))
    for mode in ("1", "P"):
        picture.convert(mode).save(tmp_path / "x.png")
        assert read_image(tmp_path / "x.png", (1, 1, 2)).tolist() == [[[0, 255]]]


def test_a_camera_held_sideways(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: turn by 90 degrees clockwise
    path = save(tmp_path / "x.png", GREY, exif=exif)
    np.testing.assert_array_equal(read_image(path, (1, 4, 6))[0], np.rot90(GREY, -1))


def test_npy(tmp_path: Path) -> None:
    np.save(tmp_path / "g.npy", GREY)
    np.save(tmp_path / "c.npy", RGB.transpose(2, 0, 1))
    np.testing.assert_array_equal(read_image(tmp_path / "g.npy", (1, 6, 4)), GREY[np.newaxis])
    np.testing.assert_array_equal(read_image(tmp_path / "c.npy", (3, 6, 4)), RGB.transpose(2, 0, 1))
    save(tmp_path / "c.png", RGB)
    for size in ((3, 12, 8), (3, 2, 2)):
        same = read_image(tmp_path / "c.npy", size), read_image(tmp_path / "c.png", size)
        np.testing.assert_allclose(same[0].astype(int), same[1], atol=1)


BAD_ARRAYS = {
    "type": (GREY / 255, "float64, expected uint8"),
    "channels": (RGB.transpose(2, 0, 1), r"\(3, 6, 4\), expected 1 channels"),
    "last": (GREY[..., np.newaxis], r"\(6, 4, 1\), expected 1 channels as \(C, H, W\)"),
    "rank": (GREY[0], r"\(4,\), expected 1 channels"),
    "empty": (GREY[:0], r"\(0, 4\), expected"),
    "objects": (np.array([[None]]), "not a readable .npy file: Object arrays"),
}


@pytest.mark.parametrize(("array", "message"), BAD_ARRAYS.values(), ids=BAD_ARRAYS)
def test_npy_that_does_not_fit(tmp_path: Path, array: np.ndarray, message: str) -> None:
    np.save(tmp_path / "bad.npy", array)
    with pytest.raises(DataError, match=f"bad.npy: {message}"):
        read_image(tmp_path / "bad.npy", (1, 6, 4))


def test_what_is_no_picture(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("hello")
    (tmp_path / "text.npy").write_text("hello")
    Image.fromarray(GREY).save(tmp_path / "x.bmp")
    rows = [
        ("text.png", DataError, r"text\.png: not a readable PNG or JPEG picture"),
        ("x.bmp", DataError, r"x\.bmp: not a readable PNG or JPEG picture"),
        ("text.npy", DataError, r"text\.npy: not a readable \.npy file"),
        ("gone.png", DataNotFound, r"gone\.png does not exist"),
        ("", DataError, "is a directory, not a picture"),
    ]
    for name, kind, message in rows:
        with pytest.raises(kind, match=message):
            read_image(tmp_path / name, (1, 28, 28))


@pytest.mark.parametrize("shape", [(2, 28, 28), (1, 0, 28), (3, 28, -1)], ids=str)
def test_shapes_that_are_none(tmp_path: Path, shape: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match=r"expected \(1, H, W\) for grey or \(3, H, W\) for RGB"):
        read_image(save(tmp_path / "g.png", GREY), shape)


@pytest.mark.parametrize("name", ["x.png", "x.jpg", "x.npy"])
def test_a_damaged_picture_is_refused_or_read(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name.endswith("npy"):
        np.save(path, GREY)
    else:
        save(path, GREY)
    whole = path.read_bytes()
    random = np.random.RandomState(0)
    for trial in range(150):
        at = int(random.randint(len(whole)))
        path.write_bytes(whole[:at] if trial % 3 == 0 else whole[:at] + random.bytes(1) + whole[at + 1 :])
        with suppress(DataError):
            assert read_image(path, (1, 6, 4)).shape == (1, 6, 4)


def test_without_pillow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "g.png", GREY)
    np.save(tmp_path / "g.npy", GREY)
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(DataNotFound, match=r"g\.png: Pillow is missing: pip install 'gocunets\[data\]'"):
        read_image(path, (1, 6, 4))
    assert read_image(tmp_path / "g.npy", (1, 6, 4)).shape == (1, 6, 4)
