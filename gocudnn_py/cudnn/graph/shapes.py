"""Shapes that the operations of a graph have in common: windows that slide, broadcasting, the order of axes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypedDict

from gocudnn_py.cudnn.graph.tensor import Tensor, order_of, packed_strides

Extents = int | Sequence[int]


class Window(TypedDict, total=False):
    """How a filter slides: one number for all spatial axes or one for each; `padding_after` is `padding` unless given.

    `flip` has the filter turned round, which is convolution in the strict sense.
    """

    padding: Extents
    padding_after: Extents
    stride: Extents
    dilation: Extents
    flip: bool


def each_axis(name: str, extents: Extents, rank: int, least: int) -> tuple[int, ...]:
    """One number for each of `rank` axes. Raises ValueError for another count, or a number that is too small."""
    numbers = (extents,) * rank if isinstance(extents, int) else tuple(extents)
    if len(numbers) != rank or min(numbers) < least:
        raise ValueError(f"{name}={numbers}: {rank} numbers of at least {least} are needed")
    return numbers


def window_of(x: Tensor, given: Window) -> dict[str, tuple[int, ...]]:
    """Padding, stride and dilation of each spatial axis of (N, C, *spatial). Raises ValueError with the numbers."""
    rank = len(x.dims) - 2
    if rank < 1:
        raise ValueError(f"a convolution needs (N, C, *spatial), not {x}")
    check_names("a convolution", given, Window.__annotations__)
    padding = each_axis("padding", given.get("padding", 0), rank, 0)
    return {
        "padding": padding,
        "stride": each_axis("stride", given.get("stride", 1), rank, 1),
        "dilation": each_axis("dilation", given.get("dilation", 1), rank, 1),
        "padding_after": each_axis("padding_after", given.get("padding_after", padding), rank, 0),
    }


def slid(extents: Sequence[int], kernel: Sequence[int], window: Mapping[str, tuple[int, ...]]) -> list[int]:
    """How many places a kernel has along each axis."""
    ones = (1,) * len(extents)
    numbers = zip(
        extents,
        kernel,
        window["padding"],
        window["padding_after"],
        window["stride"],
        window.get("dilation", ones),
        strict=True,
    )
    return [(n + before + after - (k - 1) * d - 1) // s + 1 for n, k, before, after, s, d in numbers]


def shown(window: Mapping[str, tuple[int, ...]]) -> str:
    """What is not usual of a window, as its operation's text has it."""
    usual = {"stride": 1, "dilation": 1}
    odd = {name: value for name, value in window.items() if set(value) != {usual.get(name, 0)}}
    if window.get("padding_after") == window["padding"]:
        odd.pop("padding_after", None)
    return "".join(f", {name}={value}" for name, value in odd.items())


def broadcast(name: str, shapes: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """The dimensions that all shapes stretch to. Raises ValueError where they do not."""
    if len({len(shape) for shape in shapes}) > 1:
        raise ValueError(f"{name}: the ranks of {', '.join(map(str, shapes))} differ")
    wide = [{extent for extent in extents if extent != 1} for extents in zip(*shapes, strict=True)]
    if any(len(extents) > 1 for extents in wide):
        raise ValueError(f"{name}: {', '.join(str(tuple(shape)) for shape in shapes)} do not broadcast")
    return tuple(extents.pop() if extents else 1 for extents in wide)


def like(pattern: Tensor, dims: tuple[int, ...]) -> tuple[int, ...]:
    """Packed strides in the order that another tensor has its axes in."""
    return packed_strides(dims, order_of(pattern.dims, pattern.strides))


def check_axis(name: str, axis: int, x: Tensor) -> int:
    """An axis counted from 0. Raises ValueError for one that the tensor has not."""
    if not -len(x.dims) <= axis < len(x.dims):
        raise ValueError(f"{name}: {x} has no axis {axis}")
    return axis % len(x.dims)


def check_names(what: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Raise TypeError for names that are none of those that are known."""
    unknown = set(given) - set(known)
    if unknown:
        raise TypeError(f"{what} has no {', '.join(sorted(unknown))}; it has {', '.join(known)}")
