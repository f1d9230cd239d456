"""Reshape, concat, split, slice and pad: the same numbers in other places."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import ClassVar

from ..graph import Node, Value
from ..types import TensorType
from .base import Op, Precision, one
from .elementwise import full


@dataclass(frozen=True)
class _Movement(Op):
    precision: ClassVar[Precision] = "follow"

    def flops(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        return 0


@dataclass(frozen=True)
class Reshape(_Movement):
    """Give each sample another shape, row by row; one extent may be -1. The batch axis stays."""

    name: ClassVar[str] = "reshape"
    shape: tuple[int, ...]

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        (x,) = inputs
        if not x.rank:
            raise ValueError("x is a scalar; a batch axis is needed")
        sample = math.prod(x.shape[1:])
        known = math.prod(extent for extent in self.shape if extent != -1)
        shape = tuple(sample // max(known, 1) if extent == -1 else extent for extent in self.shape)
        if self.shape.count(-1) > 1 or math.prod(shape) != sample:
            raise ValueError(f"{sample} elements a sample (x={x.shape}) do not fill {self.shape}")
        return (TensorType((x.shape[0], *shape), x.dtype),)

    def gradient(self, node: Node, dys: Sequence[Value | None], wanted: Sequence[bool]) -> Sequence[Value | None]:
        (dy,) = dys
        assert dy is not None
        return dy.graph.add(Reshape(node.inputs[0].shape[1:]), dy)

    def views(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> bool:
        return all(type.order == tuple(range(type.rank)) for type in (*inputs, *outputs))


@dataclass(frozen=True)
class Concat(_Movement):
    """Join along `axis`. The thesis's Concat module joins channels (axis 1)."""

    name: ClassVar[str] = "concat"
    axis: int = 1

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        first = inputs[0]
        _require_axis(self.axis, first)
        for other in inputs[1:]:
            alike = other.dtype == first.dtype and other.rank == first.rank
            if not alike or _without(self.axis, other) != _without(self.axis, first):
                raise ValueError(f"{other} does not join {first} along axis {self.axis}")
        extent = sum(type.shape[self.axis] for type in inputs)
        return (TensorType(_with(first.shape, self.axis, extent), first.dtype),)

    def gradient(self, node: Node, dys: Sequence[Value | None], wanted: Sequence[bool]) -> Sequence[Value | None]:
        (dy,) = dys
        assert dy is not None
        sizes = tuple(value.shape[self.axis] for value in node.inputs)
        return dy.graph.add(Split(sizes, self.axis), dy)


@dataclass(frozen=True)
class Split(_Movement):
    """Cut along `axis` into pieces of the given sizes."""

    name: ClassVar[str] = "split"
    sizes: tuple[int, ...]
    axis: int = 1

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        (x,) = inputs
        _require_axis(self.axis, x)
        if sum(self.sizes) != x.shape[self.axis] or min(self.sizes, default=0) < 1:
            raise ValueError(f"sizes {self.sizes} do not cut axis {self.axis} of {x.shape}")
        return tuple(TensorType(_with(x.shape, self.axis, size), x.dtype) for size in self.sizes)

    def gradient(self, node: Node, dys: Sequence[Value | None], wanted: Sequence[bool]) -> Sequence[Value | None]:
        graph = node.inputs[0].graph
        pieces = [
            full(graph, y.shape, 0, y.dtype) if dy is None else dy for y, dy in zip(node.outputs, dys, strict=True)
        ]
        return graph.add(Concat(self.axis), *pieces)


@dataclass(frozen=True)
class Slice(_Movement):
    """x[start:stop] on every axis but the first, which is kept whole."""

    name: ClassVar[str] = "slice"
    starts: tuple[int, ...]
    stops: tuple[int, ...]

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        (x,) = inputs
        if not len(self.starts) == len(self.stops) == x.rank - 1:
            raise ValueError(
                f"slice {self.starts} to {self.stops} has not one number for each axis after the first of {x.shape}"
            )
        axes = list(zip(self.starts, self.stops, x.shape[1:], strict=True))
        if any(not 0 <= start < stop <= extent for start, stop, extent in axes):
            raise ValueError(f"slice {self.starts} to {self.stops} leaves x={x.shape}")
        return (TensorType((x.shape[0], *(stop - start for start, stop, _ in axes)), x.dtype),)

    def gradient(self, node: Node, dys: Sequence[Value | None], wanted: Sequence[bool]) -> Sequence[Value | None]:
        (dy,) = dys
        assert dy is not None
        extents = node.inputs[0].shape[1:]
        after = tuple(extent - stop for extent, stop in zip(extents, self.stops, strict=True))
        return dy.graph.add(Pad(self.starts, after), dy)


@dataclass(frozen=True)
class Pad(_Movement):
    """Add `before` and `after` elements of `value` on every axis but the first."""

    name: ClassVar[str] = "pad"
    before: tuple[int, ...]
    after: tuple[int, ...]
    value: float = 0.0

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        (x,) = inputs
        if len(self.before) != x.rank - 1 or len(self.after) != x.rank - 1:
            raise ValueError(
                f"padding {self.before}, {self.after} has not one number for each axis after the first of {x.shape}"
            )
        if min((*self.before, *self.after), default=0) < 0:
            raise ValueError(f"padding {self.before}, {self.after} is negative")
        padded = (b + extent + a for b, extent, a in zip(self.before, x.shape[1:], self.after, strict=True))
        return (TensorType((x.shape[0], *padded), x.dtype),)

    def gradient(self, node: Node, dys: Sequence[Value | None], wanted: Sequence[bool]) -> Sequence[Value | None]:
        (dy,) = dys
        assert dy is not None
        extents = node.inputs[0].shape[1:]
        stops = tuple(start + extent for start, extent in zip(self.before, extents, strict=True))
        return dy.graph.add(Slice(self.before, stops), dy)


def reshape(x: Value, shape: Sequence[int]) -> Value:
    """Give each sample of x the shape `shape` (without the batch axis; one extent may be -1)."""
    return one(x.graph.add(Reshape(tuple(shape)), x))


def flatten(x: Value) -> Value:
    """(N, ...) -> (N, elements a sample)."""
    return reshape(x, (-1,))


def concat(values: Sequence[Value], axis: int = 1) -> Value:
    """Join Values along an axis, channels by default."""
    if not values:
        raise ValueError("concat of no values")
    return one(values[0].graph.add(Concat(axis), *values))


def split(x: Value, sizes: Sequence[int], axis: int = 1) -> tuple[Value, ...]:
    """Cut x along an axis, channels by default, into pieces of the given sizes."""
    return x.graph.add(Split(tuple(sizes), axis), x)


def pad(x: Value, before: Sequence[int], after: Sequence[int], value: float = 0.0) -> Value:
    """Extend every axis of x but the first with a constant."""
    return one(x.graph.add(Pad(tuple(before), tuple(after), value), x))


def bounds(sizes: Sequence[int]) -> list[tuple[int, int]]:
    """Start and stop of each piece of a split."""
    return list(pairwise(accumulate(sizes, initial=0)))


def _require_axis(axis: int, x: TensorType) -> None:
    if not 0 <= axis < x.rank:
        raise ValueError(f"axis {axis} is not one of the {x.rank} axes of {x.shape}")


def _with(shape: tuple[int, ...], axis: int, extent: int) -> tuple[int, ...]:
    return (*shape[:axis], extent, *shape[axis + 1 :])


def _without(axis: int, x: TensorType) -> tuple[int, ...]:
    return x.shape[:axis] + x.shape[axis + 1 :]
