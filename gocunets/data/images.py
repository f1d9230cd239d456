"""One picture from a file, as a network takes it."""

from __future__ import annotations

import os
from os import PathLike
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from .dataset import Array
from .errors import DataError, DataNotFound

if TYPE_CHECKING:
    from PIL import Image

_MODES = {1: "L", 3: "RGB"}


def read_image(path: str | PathLike[str], shape: tuple[int, int, int]) -> Array:
    """Return the picture in a PNG, JPEG or .npy file as uint8 of `shape` (C, H, W), C = 1 grey or 3 RGB.

    PNG and JPEG are turned as their camera says, laid on white where transparent, and brought to grey or
    RGB; a .npy array is uint8, (H, W) or (C, H, W) with the C asked for. Another size is resized
    (bilinear). DataNotFound if the file or Pillow is missing, DataError if it is not a picture; ValueError
    for another C or an empty shape.
    """
    path = Path(path)
    channels, height, width = shape
    if channels not in _MODES or height < 1 or width < 1:
        raise ValueError(f"shape {shape}: expected (1, H, W) for grey or (3, H, W) for RGB, H and W at least 1")
    if os.path.isdir(path):
        raise DataError(f"{path} is a directory, not a picture")
    read = _read_array if path.suffix.lower() == ".npy" else _read_picture
    planes = read(path, channels)
    return planes if planes.shape == shape else _resize(path, planes, height, width)


def _read_array(path: Path, channels: int) -> Array:
    try:
        with path.open("rb") as file:
            array = np.lib.format.read_array(file, allow_pickle=False)
    except FileNotFoundError as error:
        raise DataNotFound(f"{path} does not exist") from error
    except Exception as error:  # NumPy's header parser raises several kinds
        raise DataError(f"{path}: not a readable .npy file: {error}") from error
    planes = array[np.newaxis] if array.ndim == 2 else array
    if planes.ndim != 3 or len(planes) != channels or not planes.size:
        raise DataError(f"{path}: {array.shape}, expected {channels} channels as (C, H, W), or (H, W) for one")
    if planes.dtype != np.uint8:
        raise DataError(f"{path}: {planes.dtype}, expected uint8 (0..255)")
    return planes


def _read_picture(path: Path, channels: int) -> Array:
    pillow = _pillow(path)
    try:
        with pillow.open(path, formats=("PNG", "JPEG")) as image:
            pixels = np.asarray(_to_mode(image, _MODES[channels]))
    except FileNotFoundError as error:
        raise DataNotFound(f"{path} does not exist") from error
    except Exception as error:  # Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error, ...
        raise DataError(f"{path}: not a readable PNG or JPEG picture: {error}") from error
    return pixels.reshape(*pixels.shape[:2], channels).transpose(2, 0, 1).copy()


def _to_mode(image: Image.Image, mode: str) -> Image.Image:
    from PIL import Image, ImageOps

    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):  # 16-bit grey, which convert() would clip
        wide = np.asarray(image).astype(np.int64).clip(0, 0xFFFF)
        image = Image.fromarray(np.rint(wide / 257).astype(np.uint8))
    if "A" in image.getbands() or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert(mode)


def _resize(path: Path, planes: Array, height: int, width: int) -> Array:
    pillow = _pillow(path)
    images = [pillow.fromarray(np.ascontiguousarray(plane)) for plane in planes]
    return np.stack([np.asarray(image.resize((width, height), pillow.Resampling.BILINEAR)) for image in images])


def _pillow(path: Path) -> ModuleType:
    try:
        from PIL import Image
    except ImportError as error:
        raise DataNotFound(f"{path}: Pillow is missing: pip install 'gocunets[data]'") from error
    return Image
