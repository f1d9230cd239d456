"""Where corners go: quadrangles, boxes and coefficients of transforms, computed on the host without a GPU.

A region is (x, y, width, height), a quadrangle the corners (x, y) from the upper left clockwise, (4, 2). The last
pixels of a region are at x + width - 1: there its corners are for the functions that transform it, whereas those that
look for coefficients stretch its whole width to the quadrangle's.
"""

from __future__ import annotations

import ctypes
import operator
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt

from gocudnn_py._abi.npp import NppiInterpolationMode, NppiRect
from gocudnn_py.errors import NppWarning
from gocudnn_py.library import load
from gocudnn_py.npp.dispatch import matrix
from gocudnn_py.npp.image import INT32_MAX, Array, Region


def rotate_quad(region: Region, angle: float, shift: tuple[float, float] = (0.0, 0.0)) -> Array:
    """Where `rotate` sends the corners of a region (nppiGetRotateQuad)."""
    return _filled((4, 2), lambda out: load("npp").nppiGetRotateQuad(_rectangle(region), out, angle, *shift))


def rotate_bound(region: Region, angle: float, shift: tuple[float, float] = (0.0, 0.0)) -> Array:
    """The corners of the box around `rotate_quad`, least and greatest (x, y) (nppiGetRotateBound)."""
    return _filled((2, 2), lambda out: load("npp").nppiGetRotateBound(_rectangle(region), out, angle, *shift))


def affine_transform(region: Region, quad: npt.ArrayLike) -> Array:
    """The matrix (2, 3) that stretches a region to a parallelogram. Raises ValueError for another quadrangle.

    NPP is asked for the same region at (0, 0): for one that begins elsewhere it moves y by a wrong number. It warns of
    fourth corners that are off by one rounding, or, before 13.2, of none (nppiGetAffineTransform).
    """
    corners, (x, y, width, height) = matrix("affine_transform: quad", quad, (4, 2)), region
    _check_parallelogram(np.array(corners).reshape(4, 2))
    place = _rectangle((0, 0, width, height))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NppWarning)
        found = _filled((2, 3), lambda out: load("npp").nppiGetAffineTransform(place, corners, out))
    found[:, 2] -= found[:, :2] @ (x, y)
    return found


def _check_parallelogram(quad: Array) -> None:
    wanted = quad[0] + quad[2] - quad[1]
    if np.abs(wanted - quad[3]).max() > 1e-9 * max(1.0, np.abs(quad).max()):
        raise ValueError(f"{quad.tolist()} is no parallelogram: its fourth corner would be {wanted.tolist()}")


def affine_quad(region: Region, coefficients: npt.ArrayLike) -> Array:
    """Where `warp_affine` sends the corners of a region (nppiGetAffineQuad)."""
    numbers = matrix("affine_quad", coefficients, (2, 3))
    return _filled((4, 2), lambda out: load("npp").nppiGetAffineQuad(_rectangle(region), out, numbers))


def affine_bound(region: Region, coefficients: npt.ArrayLike) -> Array:
    """The corners of the box around `affine_quad` (nppiGetAffineBound)."""
    numbers = matrix("affine_bound", coefficients, (2, 3))
    return _filled((2, 2), lambda out: load("npp").nppiGetAffineBound(_rectangle(region), out, numbers))


def perspective_transform(region: Region, quad: npt.ArrayLike) -> Array:
    """The matrix (3, 3) that stretches a region to a quadrangle (nppiGetPerspectiveTransform)."""
    corners = matrix("perspective_transform: quad", quad, (4, 2))
    return _filled((3, 3), lambda out: load("npp").nppiGetPerspectiveTransform(_rectangle(region), corners, out))


def perspective_quad(region: Region, coefficients: npt.ArrayLike) -> Array:
    """Where `warp_perspective` sends the corners of a region (nppiGetPerspectiveQuad)."""
    numbers = matrix("perspective_quad", coefficients, (3, 3))
    return _filled((4, 2), lambda out: load("npp").nppiGetPerspectiveQuad(_rectangle(region), out, numbers))


def perspective_bound(region: Region, coefficients: npt.ArrayLike) -> Array:
    """The corners of the box around `perspective_quad` (nppiGetPerspectiveBound)."""
    numbers = matrix("perspective_bound", coefficients, (3, 3))
    return _filled((2, 2), lambda out: load("npp").nppiGetPerspectiveBound(_rectangle(region), out, numbers))


def resize_region(
    region: Region,
    factor: tuple[float, float],
    shift: tuple[float, float] = (0.0, 0.0),
    interpolation: NppiInterpolationMode = NppiInterpolationMode.INTER_LINEAR,
) -> Region:
    """The region that `resize_by` fills (nppiGetResizeRect)."""
    if min(factor) <= 0:
        raise ValueError(f"resize_region: factors {factor} have to be positive")
    found, mode = NppiRect(), NppiInterpolationMode(interpolation)
    load("npp").nppiGetResizeRect(_rectangle(region), ctypes.byref(found), *factor, *shift, mode)
    return found.x, found.y, found.width, found.height


def _rectangle(region: Region) -> NppiRect:
    x, y, width, height = map(operator.index, region)
    if min(width, height) < 1 or max(abs(x), abs(y), width, height) > INT32_MAX:
        raise ValueError(f"region {tuple(region)} has to have a width and a height, in 32 bits")
    return NppiRect(x, y, width, height)


def _filled(shape: tuple[int, ...], call: Any) -> Array:
    """What a C function writes into an array of doubles. Raises ValueError when that is not finite."""
    found = np.zeros(shape)
    call(found.ctypes.data)
    if not np.isfinite(found).all():
        raise ValueError(f"there is no such transform: NPP finds {found.tolist()}")
    return found
