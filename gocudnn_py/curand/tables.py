"""What cuRAND keeps for kernels of one's own: Sobol's tables, histograms of discrete distributions; and its version."""

from __future__ import annotations

import ctypes
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from gocudnn_py import driver
from gocudnn_py._abi.cuda import LibraryPropertyType
from gocudnn_py._abi.curand import DirectionVectorSet
from gocudnn_py.cuda import Device
from gocudnn_py.curand.generator import MAX_DIMENSIONS, check_rate
from gocudnn_py.library import load
from gocudnn_py.resource import Resource

Words = npt.NDArray[np.unsignedinteger[Any]]
LONG = (
    DirectionVectorSet.DIRECTION_VECTORS_64_JOEKUO6,
    DirectionVectorSet.SCRAMBLED_DIRECTION_VECTORS_64_JOEKUO6,
)


class PoissonDistribution(Resource):
    """The histogram of a Poisson distribution with a mean above 0, up to 400,000, on a GPU.

    `handle` is its device address, curand_discrete's argument in a kernel (curandCreatePoissonDistribution,
    curandDestroyDistribution).
    """

    def __init__(self, device: Device, rate: float) -> None:
        check_rate(rate)
        lib, made = load("curand"), ctypes.c_void_p()
        with driver.primary_context(device.ordinal):
            lib.curandCreatePoissonDistribution(rate, ctypes.byref(made))
            super().__init__(made.value or 0, lib.curandDestroyDistribution, device=device.ordinal)
        self.rate = rate


def direction_vectors(which: DirectionVectorSet) -> Words:
    """Sobol's direction vectors on the host, read-only: (20000, 32) of uint32 or (20000, 64) of uint64.

    (curandGetDirectionVectors32, curandGetDirectionVectors64)
    """
    bits = 64 if DirectionVectorSet(which) in LONG else 32
    place = ctypes.c_void_p()
    getattr(load("curand"), f"curandGetDirectionVectors{bits}")(ctypes.byref(place), which)
    return _words(place, bits, MAX_DIMENSIONS, bits)


def scramble_constants(bits: Literal[32, 64]) -> Words:
    """What scrambles Sobol's numbers, read-only on the host: 20,000 of uint32 or uint64, one a dimension.

    (curandGetScrambleConstants32, curandGetScrambleConstants64)
    """
    if bits not in (32, 64):
        raise ValueError(f"scramble constants of {bits} bits; there are 32 and 64")
    place = ctypes.c_void_p()
    getattr(load("curand"), f"curandGetScrambleConstants{bits}")(ctypes.byref(place))
    return _words(place, bits, MAX_DIMENSIONS)


def _words(place: ctypes.c_void_p, bits: int, *shape: int) -> Words:
    word: Any = ctypes.c_uint64 if bits == 64 else ctypes.c_uint32
    for extent in reversed(shape):
        word = word * extent
    words: Words = np.ctypeslib.as_array(word.from_address(place.value))  # the library's own, which is never unloaded
    words.flags.writeable = False
    return words


def version() -> tuple[int, int, int]:
    """cuRAND's major, minor and patch, which are not CUDA's (curandGetVersion)."""
    number = ctypes.c_int()
    load("curand").curandGetVersion(ctypes.byref(number))
    return number.value // 1000, number.value % 1000 // 100, number.value % 100


def library_property(which: LibraryPropertyType) -> int:
    """One of the three numbers of its version (curandGetProperty)."""
    number = ctypes.c_int()
    load("curand").curandGetProperty(which, ctypes.byref(number))
    return number.value
