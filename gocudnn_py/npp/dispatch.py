"""From an operation and its images to one of NPP's functions: names, checks and the call."""

from __future__ import annotations

import ctypes
import functools
import operator
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from gocudnn_py._abi.npp import FUNCTIONS
from gocudnn_py.cuda import DeviceBuffer, Stream
from gocudnn_py.cuda.stream import Used
from gocudnn_py.library import load
from gocudnn_py.npp.context import stream_context
from gocudnn_py.npp.image import CODES, INT32_MAX, Image

Constant = float | Sequence[float] | npt.NDArray[Any]
"""A number, or one for each channel."""
NUMBERS: dict[str, Any] = {
    "uint8": ctypes.c_uint8,
    "uint16": ctypes.c_uint16,
    "int16": ctypes.c_int16,
    "int32": ctypes.c_int32,
    "uint32": ctypes.c_uint32,
    "float32": ctypes.c_float,
}
KEY = f"{', '.join(f'{code} is {name}' for name, code in CODES.items())}; C channels side by side, P in planes"


def types(*images: Image) -> str:
    """NPP's word for the types of all images, "8u" say, or "8u32f" when they differ."""
    return "".join(dict.fromkeys(image.code for image in images))


def layouts(*images: Image) -> str:
    """NPP's word for the channels of all images, "C3" say, or "C3P3" when they differ."""
    return "".join(dict.fromkeys(image.layout for image in images))


@functools.cache
def pick(family: str, kinds: str, layout: str, ending: str = "R") -> str:
    """The name of the function of a family for these types and channels. Raises ValueError, saying what there is."""
    name = f"nppi{family}_{kinds}_{layout}{ending}_Ctx"
    if name in FUNCTIONS:
        return name
    matches = (re.fullmatch(rf"nppi{family}_(\d\w+)_Ctx", function) for function in FUNCTIONS)
    bound = ", ".join(match[1] for match in matches if match)
    raise ValueError(f"{name} is not bound; of nppi{family} there are {bound} ({KEY})")


def run(stream: Stream, name: str, images: Sequence[Image], *arguments: Any, memory: Sequence[Used] = ()) -> None:
    """Call a function on a stream, with its context as the last argument; `memory` is what it uses beside images."""
    for image in images:
        if image.ordinal not in (None, stream.device.ordinal):
            raise ValueError(f"{name}: {image} lies on GPU {image.ordinal}, but {stream} is given the work")
    stream.device.enter()
    getattr(load("npp"), name)(*arguments, stream_context(stream))
    stream.uses(*(image.place for image in images), *memory)


def unary(stream: Stream, family: str, source: Image, target: Image, *more: Any, in_place: bool = False) -> None:
    """Call a function from one image to another of the same size."""
    name = pick(family, types(source, target), layouts(source, target))
    same_size(family, source, target)
    apart(family, source, target, in_place=in_place)
    run(stream, name, (source, target), *ends(source, target), target.size, *more)


def binary(stream: Stream, name: str, first: Image, second: Image, target: Image, *more: Any) -> None:
    """Call a function of two images of the same size and type; the result may go into either."""
    for image in (second, target):
        same_size(name, first, image)
    if (first.code, first.layout) != (second.code, second.layout):
        raise ValueError(f"{name}: {first} and {second} are not of one type")
    for image in (first, second):
        apart(name, image, target, in_place=True)
    images = first, second, target
    run(stream, name, images, first.start, first.pitch, *ends(second, target), target.size, *more)


def with_constant(stream: Stream, name: str, source: Image, value: Constant, target: Image, *more: Any) -> None:
    """Call a function of an image and a constant for each channel; the result may go into the image."""
    same_size(name, source, target)
    apart(name, source, target, in_place=True)
    constant = constants(name, source, value)
    ends_of_both = source.start, source.pitch, constant, target.start, target.pitch
    run(stream, name, (source, target), *ends_of_both, target.size, *more)


def ends(source: Image, target: Image) -> tuple[Any, int, Any, int]:
    """Where two images begin and how far apart their rows are, as most functions take them."""
    return source.start, source.pitch, target.start, target.pitch


def same_size(what: str, first: Image, second: Image) -> None:
    """Raise ValueError unless both are as wide and as high."""
    if (first.width, first.height) != (second.width, second.height):
        raise ValueError(f"{what}: {first} and {second} are not of one size")


def apart(what: str, source: Image, target: Image, *, in_place: bool = False) -> None:
    """Raise ValueError when the target is read-only, or both share pixels; `in_place` allows the very same ones."""
    writable(what, target)
    if not _overlap(source, target):
        return
    if not in_place:
        raise ValueError(f"{what} does not work in place: {source} and {target} share memory")
    if (source.place.pointer, *_where(source)) != (target.place.pointer, *_where(target)):
        raise ValueError(f"{what}: {source} and {target} share memory, but are not the same pixels")


def writable(what: str, target: Image) -> None:
    """Raise ValueError when an image can only be read."""
    if target.readonly:
        raise ValueError(f"{what}: {target} can only be read")


def _where(image: Image) -> tuple[object, ...]:
    return image.region, image.pitch, image.plane, image.pixel, image.planar


def _overlap(first: Image, second: Image) -> bool:
    begin, other = first.place.pointer, second.place.pointer
    if begin == other and _where(first)[1:] == _where(second)[1:]:
        beside = first.x + first.width <= second.x or second.x + second.width <= first.x
        return not (beside or first.y + first.height <= second.y or second.y + second.height <= first.y)
    return bool(begin < other + second.nbytes and other < begin + first.nbytes)


def constants(what: str, image: Image, value: Constant) -> Any:
    """A number, or an array with one for each channel, of the image's type. Raises ValueError, TypeError."""
    values = tuple(value) if isinstance(value, Sequence | np.ndarray) else (value,) * image.channels
    if len(values) != image.channels:
        raise ValueError(f"{what}: {len(values)} numbers for the {image.channels} channels of {image}")
    numbers = [number(what, image, each) for each in values]
    kind = NUMBERS[image.dtype.name]
    return numbers[0] if image.channels == 1 else (kind * len(numbers))(*numbers)


def number(what: str, image: Image, value: float) -> int | float:
    """A number of the image's type. Raises ValueError when it does not fit, TypeError for a fraction."""
    if image.dtype.kind == "f":
        return float(value)
    limits = np.iinfo(image.dtype)
    whole = operator.index(value)  # type: ignore[arg-type]
    if not limits.min <= whole <= limits.max:
        raise ValueError(f"{what}: {whole} does not fit {image.dtype}")
    return whole


def within(what: str, value: int, least: int, most: int = INT32_MAX) -> int:
    """A whole number, checked. Raises ValueError."""
    whole = operator.index(value)
    if not least <= whole <= most:
        raise ValueError(f"{what} is {whole}, outside {least} to {most}")
    return whole


def matrix(what: str, values: npt.ArrayLike, shape: tuple[int, ...], kind: Any = ctypes.c_double) -> Any:
    """Numbers as a C array. Raises ValueError for another shape, or numbers that are not finite."""
    array = np.asarray(values, np.float64)
    if array.shape != shape or not np.isfinite(array).all():
        raise ValueError(f"{what}: finite numbers of shape {shape} are needed, not {array.tolist()}")
    return (kind * array.size)(*array.ravel().tolist())


def needed(stream: Stream, name: str, *arguments: Any, size: int) -> int:
    """The bytes that a function says are needed; the pointer for them is put at place `size` of its arguments."""
    nbytes = ctypes.c_uint64()  # an int to some functions, a size_t to others: this holds both
    stream.device.enter()
    getattr(load("npp"), name)(*arguments[:size], ctypes.byref(nbytes), *arguments[size:])
    return nbytes.value


def space(stream: Stream, what: str, given: DeviceBuffer | None, nbytes: int) -> DeviceBuffer:
    """The memory given for scratch or results when it is large enough, new memory when none is. Raises ValueError."""
    if given is None:
        if stream.capturing:
            raise ValueError(f"{what} needs {nbytes} bytes; within a capture they have to be given")
        return DeviceBuffer(stream, nbytes)
    if given.readonly:
        raise ValueError(f"{what}: the memory given can only be read")
    if given.nbytes < nbytes:
        raise ValueError(f"{what} needs {nbytes} bytes, {given.nbytes} are given")
    return given
