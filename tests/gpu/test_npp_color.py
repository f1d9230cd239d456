"""NPP on a card: colours, against the formulas in NPP's headers, in float64."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from gocudnn_py import npp
from tests.gpu.npp_images import Array, Card, Variant, off_by_less_than_two, pixels, variants

if TYPE_CHECKING:
    from gocunets.backends.cudnn import CudaBackend

U = 2.0**-24
GRAY = np.array([0.299, 0.587, 0.114])
TO_YCBCR = np.array([[0.257, 0.504, 0.098, 16], [-0.148, -0.291, 0.439, 128], [0.439, -0.368, -0.071, 128]])
TO_XYZ = np.array([[0.412453, 0.35758, 0.180423], [0.212671, 0.71516, 0.072169], [0.019334, 0.119193, 0.950227]])
FROM_XYZ = np.array([[3.240479, -1.53715, -0.498535], [-0.969256, 1.875991, 0.041556], [0.055648, -0.204043, 1.057311]])
WHITE = np.array([4 * 0.312713, 9 * 0.329016]) / (-2 * 0.312713 + 12 * 0.329016 + 3)  # u, v of D65


@pytest.fixture(scope="module")
def card(backend: CudaBackend) -> Card:
    return Card(backend)


def bytes_of(exact: Array) -> Array:
    return np.clip(exact, 0, 255)


def to_yuv(rgb: Array) -> Array:
    y = rgb @ GRAY
    return bytes_of(np.stack([y, 0.492 * (rgb[..., 2] - y) + 128, 0.877 * (rgb[..., 0] - y) + 128], axis=-1))


def from_yuv(yuv: Array) -> Array:
    y, u, v = yuv[..., 0], yuv[..., 1] - 128, yuv[..., 2] - 128
    return bytes_of(np.stack([y + 1.140 * v, y - 0.394 * u - 0.581 * v, y + 2.032 * u], axis=-1))


def to_ycbcr(rgb: Array) -> Array:
    return bytes_of(rgb @ TO_YCBCR[:, :3].T + TO_YCBCR[:, 3])


def from_ycbcr(ycbcr: Array) -> Array:
    y, b, r = 1.164 * (ycbcr[..., 0] - 16), ycbcr[..., 1] - 128, ycbcr[..., 2] - 128
    return bytes_of(np.stack([y + 1.596 * r, y - 0.813 * r - 0.392 * b, y + 2.017 * b], axis=-1))


def to_xyz(rgb: Array) -> Array:
    return bytes_of(rgb @ TO_XYZ.T)


def from_xyz(xyz: Array) -> Array:
    return bytes_of(xyz @ FROM_XYZ.T)


def hue(rgb: Array, greatest: Array, spread: Array) -> Array:
    """In turns of the circle, 0 for grays."""
    with np.errstate(invalid="ignore", divide="ignore"):
        r, g, b = ((greatest - rgb[..., channel]) / spread for channel in range(3))
    sixths = np.select([rgb[..., 0] == greatest, rgb[..., 1] == greatest], [b - g, 2 + r - b], 4 + g - r)
    return np.where(spread == 0, 0, sixths / 6 % 1)


def to_hsv(rgb: Array) -> Array:
    rgb = rgb / 255.0
    greatest, spread = rgb.max(axis=-1), np.ptp(rgb, axis=-1)
    return 255 * np.stack([hue(rgb, greatest, spread), spread / np.maximum(greatest, 1e-9), greatest], axis=-1)


def from_hsv(hsv: Array) -> Array:
    h, s, v = (hsv[..., channel] / 255.0 for channel in range(3))
    sector = np.floor(h * 6).astype(int) % 6
    part = h * 6 - np.floor(h * 6)
    low, falls, rises = v * (1 - s), v * (1 - s * part), v * (1 - s * (1 - part))
    rows = [(v, rises, low), (falls, v, low), (low, v, rises), (low, falls, v), (rises, low, v), (v, low, falls)]
    return 255 * np.choose(sector[..., None], [np.stack(row, axis=-1) for row in rows])


def to_hls(rgb: Array) -> Array:
    rgb = rgb / 255.0
    greatest, least = rgb.max(axis=-1), rgb.min(axis=-1)
    spread, both = greatest - least, greatest + least
    share = np.where(both > 1, 2 - both, both)
    saturation = np.where(spread == 0, 0, spread / np.maximum(share, 1e-9))
    return 255 * np.stack([hue(rgb, greatest, spread), both / 2, saturation], axis=-1)


def from_hls(hls: Array) -> Array:
    h, light, s = (hls[..., channel] / 255.0 for channel in range(3))
    high = np.where(light <= 0.5, light * (1 + s), light + s - light * s)
    low = 2 * light - high
    turns = np.stack([h + 1 / 3, h, h - 1 / 3], axis=-1) % 1
    low, high = low[..., None], high[..., None]
    rises, falls = low + (high - low) * turns * 6, low + (high - low) * (2 / 3 - turns) * 6
    return 255 * np.select([turns < 1 / 6, turns < 1 / 2, turns < 2 / 3], [rises, high, falls], low)


def to_luv(rgb: Array) -> Array:
    xyz = rgb / 255.0 @ TO_XYZ.T
    below = xyz @ [1, 15, 3]
    bright = np.clip(116 * np.cbrt(xyz[..., 1]) - 16, 0, 100)
    u = 13 * bright * (4 * xyz[..., 0] / below - WHITE[0])
    v = 13 * bright * (9 * xyz[..., 1] / below - WHITE[1])
    return 255 * np.stack([bright / 100, (u + 134) / 354, (v + 140) / 262], axis=-1)


def from_luv(luv: Array) -> Array:
    bright, u, v = luv[..., 0] / 2.55, luv[..., 1] * 354 / 255 - 134, luv[..., 2] * 262 / 255 - 140
    u, v = u / (13 * bright) + WHITE[0], v / (13 * bright) + WHITE[1]
    y = np.where(bright > 7.9996248, ((bright + 16) / 116) ** 3, bright / 903.3)
    x = 9 * y * u / (4 * v)
    z = (9 * y - 15 * v * y - v * x) / (3 * v)
    return bytes_of(255 * np.stack([x, y, z], axis=-1) @ FROM_XYZ.T)


SPACES: dict[Any, Any] = {
    "YUV": (to_yuv, from_yuv),
    "YCbCr": (to_ycbcr, from_ycbcr),
    "XYZ": (to_xyz, from_xyz),
    "HSV": (to_hsv, from_hsv),
    "HLS": (to_hls, from_hls),
    "LUV": (to_luv, from_luv),
}


def colours() -> Array:
    """Every corner and many points of the cube of colours, but black, for which LUV is not defined."""
    rgb = pixels((13, 21, 3), np.uint8)
    rgb[0, :7] = [(255 * (n & 1), 255 * (n >> 1 & 1), 255 * (n >> 2)) for n in range(1, 8)]
    rgb[1, :8] = np.arange(20, 260, 30)[:, None]  # grays
    return np.maximum(rgb, [[[0, 0, 1]]]).astype(np.uint8)


def spaces(pattern: str) -> Any:
    return [
        pytest.param(space, *param.values, marks=param.marks, id=param.id)
        for space in SPACES
        for param in variants(pattern.format(space))
    ]


@pytest.mark.parametrize(("space", "variant"), spaces("RGBTo{}"))
def test_from_rgb(space: Any, variant: Variant, card: Card) -> None:
    rgb = colours()
    target = card.target(variant)
    npp.from_rgb(card.stream, space, card.source(variant, rgb), target)
    found, right = card.get(target).astype(float), SPACES[space][0](rgb.astype(float))
    if space in ("HSV", "HLS"):  # a hue of 255 is next to one of 0
        away = np.abs(found[..., 0] - right[..., 0])
        assert (np.minimum(away, 255 - away) < 1.1).all()
        found, right = found[..., 1:], right[..., 1:]
    assert off_by_less_than_two(found, right)


@pytest.mark.parametrize(("space", "variant"), spaces("{}ToRGB"))
def test_to_rgb(space: Any, variant: Variant, card: Card) -> None:
    forth, back = SPACES[space]
    there = np.rint(forth(np.maximum(colours(), 16).astype(float))).clip(0, 254).astype(np.uint8)
    target = card.target(variant)
    npp.to_rgb(card.stream, space, card.source(variant, there), target)
    assert off_by_less_than_two(card.get(target), back(there.astype(float)))


@pytest.mark.parametrize("variant", variants("RGBToGray"))
def test_gray(variant: Variant, card: Card) -> None:
    rgb = pixels((13, 21, 3), variant.dtype)
    target = card.target(variant)
    npp.rgb_to_gray(card.stream, card.put(rgb), target)
    compare(card.get(target), rgb @ GRAY)


@pytest.mark.parametrize("variant", variants("ColorToGray"))
def test_gray_by_weights(variant: Variant, card: Card) -> None:
    rgb, weights = pixels((13, 21, 3), variant.dtype), (0.25, 0.125, 0.5)
    target = card.target(variant)
    npp.rgb_to_gray(card.stream, card.put(rgb), target, weights)
    compare(card.get(target), rgb @ weights)


def compare(found: Array, right: Array) -> None:
    """Bytes to whole numbers, floats to the rounding of a sum of three products and a constant."""
    if found.dtype == np.uint8:
        assert off_by_less_than_two(found, bytes_of(right))
    else:
        np.testing.assert_allclose(found, right, rtol=0, atol=8 * 3 * 255 * U)


@pytest.mark.parametrize("variant", [*variants("ColorTwist32f"), *variants("ColorTwist")])
def test_twist(variant: Variant, card: Card) -> None:
    rgb = pixels((13, 21, 3), variant.dtype)
    matrix = np.array([[0.5, 0.25, -0.5, 10], [0, 1, 0, -3], [0.25, 0.25, 0.25, 0.5]])
    target = card.target(variant)
    npp.color_twist(card.stream, card.put(rgb), target, matrix)
    compare(card.get(target), rgb @ matrix[:, :3].T + matrix[:, 3])


@pytest.mark.covers("nppiGammaFwd_8u_C3R_Ctx", "nppiGammaInv_8u_C3R_Ctx")
def test_gamma(card: Card) -> None:
    array = np.arange(256, dtype=np.uint8).repeat(3).reshape(8, 32, 3)
    light = array / 255.0
    bent = np.where(light < 0.018, 4.5 * light, 1.099 * light**0.45 - 0.099)
    straight = np.where(light < 0.081, light / 4.5, ((light + 0.099) / 1.099) ** (1 / 0.45))
    for inverse, right in [(False, bent), (True, straight)]:
        target = card.like(array)
        npp.gamma(card.stream, card.put(array), target, inverse=inverse)
        assert off_by_less_than_two(card.get(target), 255 * right)


@pytest.mark.parametrize(
    "order",
    [
        pytest.param("RGB", marks=pytest.mark.covers("nppiNV12ToRGB_8u_P2C3R_Ctx")),
        pytest.param("BGR", marks=pytest.mark.covers("nppiNV12ToBGR_8u_P2C3R_Ctx")),
    ],
)
def test_video(order: Any, card: Card) -> None:
    bright = pixels((12, 20), np.uint8)
    colour = pixels((6, 10, 2), np.uint8, seed=1)
    target = card.put(np.full((12, 20, 3), 77, np.uint8))
    npp.nv12_to_rgb(card.stream, card.put(bright), card.put(colour), target, order)
    yuv = np.concatenate([bright[..., None], colour.repeat(2, axis=0).repeat(2, axis=1)], axis=-1)
    right = from_yuv(yuv.astype(float))
    assert off_by_less_than_two(card.get(target), right if order == "RGB" else right[..., ::-1])


@pytest.mark.parametrize("variant", variants("SwapChannels"))
def test_swap_channels(variant: Variant, card: Card) -> None:
    array = pixels(variant.shape, variant.dtype)
    order = {(3, 3): (2, 0, 1), (4, 4): (3, 1, 0, 2), (4, 3): (2, 0, 1), (3, 4): (2, 3, 0, 4)}[variant.channels]
    target = card.target(variant)
    npp.swap_channels(card.stream, card.put(array), target, order, 9)
    if variant.channels == (3, 4):  # 3 is the value, 4 what was there
        array = np.concatenate([array, np.full_like(array[..., :2], (9, 77))], axis=-1)
    np.testing.assert_array_equal(card.get(target), array[..., list(order)])
