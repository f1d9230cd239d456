"""Activations with a slope on either side: leaky ReLU, PReLU, and a threshold with trainable slopes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from gocudnn_py.xtra import checks
from gocudnn_py.xtra.array import DeviceArray, Operand, operands, optional
from gocudnn_py.xtra.boxes import alignment
from gocudnn_py.xtra.launcher import THREADS, launch, scratch

if TYPE_CHECKING:
    from gocudnn_py.cuda import Stream

LARGE_PLANE = 64  # elements from which a block sums planes, not rows
MOST_BLOCKS = 2048  # that share the sums of the slopes' gradients
WARP, ROWS = 32, 8  # columns and rows that a block has at least in kernels/xtra/slopes.cu


def leaky_relu(
    stream: Stream, x: Operand, y: Operand, slope: float = 0.01, *, alpha: float = 1.0, beta: float = 0.0
) -> None:
    """y = alpha (x where x > 0, else slope x) + beta y; y may be x, and with beta = 0 is not read."""
    source, target = operands("leaky_relu", stream, x=x, y=y)
    checks.same_shape("leaky_relu", x=source, y=target)
    checks.apart("leaky_relu", ("y", target), ("x", source), same=True)
    defines = {"T": checks.float_type("leaky_relu", x=source, y=target)}
    if source.size:
        arguments = [source, target, slope, alpha, beta, source.size, checks.packed(source, target)]
        launch(stream, "leaky_relu", checks.tiles(source), arguments, defines)


def leaky_relu_backward(
    stream: Stream,
    x: Operand,
    dy: Operand,
    dx: Operand,
    slope: float = 0.01,
    *,
    alpha: float = 1.0,
    beta: float = 0.0,
) -> None:
    """dx = alpha (dy where x > 0, else slope dy) + beta dx; dx may be x or dy, and with beta = 0 is not read."""
    what = "leaky_relu_backward"
    source, up, target = operands(what, stream, x=x, dy=dy, dx=dx)
    checks.same_shape(what, x=source, dy=up, dx=target)
    checks.apart(what, ("dx", target), ("x", source), ("dy", up), same=True)
    defines = {"T": checks.float_type(what, x=source, dy=up, dx=target)}
    if source.size:
        numbers = [slope, alpha, beta, source.size, checks.packed(source, up, target)]
        launch(stream, what, checks.tiles(source), [source, up, target, *numbers], defines)


def prelu(stream: Stream, x: Operand, slopes: Operand, y: Operand, axis: int = 1) -> None:
    """y = x where x > 0, else slopes x; y may be x.

    `slopes` is one for all, one a channel of x's `axis`, or one for each element of a sample (GoCudnn's); it is
    float32 or of x's type.
    """
    _forward("prelu", stream, x, y, _Parameters(negative=slopes), axis)


def threshold(
    stream: Stream, x: Operand, edge: Operand, positive: Operand, negative: Operand, y: Operand, axis: int = 1
) -> None:
    """y = positive x where x > edge, else negative x; the three have one shape and type, as `slopes` in `prelu`."""
    _forward("threshold", stream, x, y, _Parameters(negative, positive, edge), axis)


def prelu_backward(
    stream: Stream,
    x: Operand,
    slopes: Operand,
    dy: Operand,
    dx: Operand | None = None,
    dslopes: Operand | None = None,
    axis: int = 1,
    *,
    workspace: Any = None,
) -> None:
    """dx = dy where x > 0, else slopes dy; dslopes = the sum of x dy where x <= 0. Either may be left out.

    dx may be x or dy. The sums are in float32 in an order that hangs on shapes and alignment alone; `workspace` is
    what they need as `slopes_workspace` says, allocated if none is given.
    """
    given = _Parameters(slopes), _Parameters(dslopes)
    _backward("prelu_backward", stream, x, dy, dx, given, axis, workspace)


def threshold_backward(
    stream: Stream,
    x: Operand,
    edge: Operand,
    positive: Operand,
    negative: Operand,
    dy: Operand,
    dx: Operand | None = None,
    dpositive: Operand | None = None,
    dnegative: Operand | None = None,
    axis: int = 1,
    *,
    workspace: Any = None,
) -> None:
    """dx = positive dy where x > edge, else negative dy; the slopes' gradients sum x dy on their side.

    The edge has no gradient: moving it changes y only where x lies on it. Any of the three may be left out; see
    `prelu_backward`.
    """
    given = _Parameters(negative, positive, edge), _Parameters(dnegative, dpositive)
    _backward("threshold_backward", stream, x, dy, dx, given, axis, workspace)


def slopes_workspace(x: DeviceArray, parameters: int | tuple[int, ...], axis: int = 1) -> int:
    """Bytes of workspace for the gradients of slopes of so many elements or that shape, of an x like this one."""
    shape = (parameters,) if isinstance(parameters, int) else parameters
    return _Sums.of(_split("slopes_workspace", x, shape, axis)).nbytes


class _Parameters(NamedTuple):
    """The slopes and the edge, or their gradients; None is what there is not."""

    negative: Any
    positive: Any = None
    edge: Any = None


class _Split(NamedTuple):
    """How x's elements share parameters: (outer, channels, plane)."""

    outer: int
    channels: int
    plane: int


def _split(what: str, x: DeviceArray, shape: tuple[int, ...], axis: int) -> _Split:
    count = math.prod(shape)
    if shape == x.shape[1:] and len(shape) > 1:
        return _Split(x.shape[0], count, 1)
    if count == 1:
        return _Split(1, 1, x.size)
    along = checks.axis_of(what, axis, len(x.shape))
    if shape != (x.shape[along],):
        wanted = f"1, {x.shape[along]} (axis {axis}) or {x.shape[1:]}"
        raise ValueError(f"{what}: slopes of shape {shape} for x {x}; there may be {wanted}")
    return _Split(math.prod(x.shape[:along]), count, math.prod(x.shape[along + 1 :]))


def _prepared(what: str, stream: Stream, given: _Parameters, x: DeviceArray) -> tuple[_Parameters, dict[str, object]]:
    """The parameters as arrays of one shape and type, and what a kernel is compiled with for them and x."""
    arrays = dict(zip(given._fields, optional(what, stream, **given._asdict()), strict=True))
    checks.same_shape(what, **arrays)
    types = {"T": checks.float_type(what, x=x), "PARAMETER": checks.float_type(what, **arrays)}
    if types["PARAMETER"] not in ("float", types["T"]):
        raise TypeError(f"{what}: slopes of {types['PARAMETER']} for x {x}; they have to be float32 or of its type")
    return _Parameters(**arrays), dict(types)


def _forward(what: str, stream: Stream, x: Operand, y: Operand, given: _Parameters, axis: int) -> None:
    source, target = operands(what, stream, x=x, y=y)
    checks.same_shape(what, x=source, y=target)
    checks.float_type(what, x=source, y=target)
    by, defines = _prepared(what, stream, given, source)
    split = _split(what, source, by.negative.shape, axis)
    checks.apart(what, ("y", target), ("x", source), same=True)
    checks.apart(what, ("y", target), *zip(by._fields, by, strict=True))
    if source.size:
        numbers = [split.channels, split.plane, source.size, checks.packed(source, target)]
        arguments = [source, target, by.edge, by.positive, by.negative, *numbers]
        launch(stream, "slopes_forward", checks.tiles(source), arguments, defines | checks.index_type(source.size))


def _backward(
    what: str,
    stream: Stream,
    x: Operand,
    dy: Operand,
    dx: Operand | None,
    given: tuple[_Parameters, _Parameters],
    axis: int,
    workspace: Any,
) -> None:
    source, up = operands(what, stream, x=x, dy=dy)
    (target,) = optional(what, stream, dx=dx)
    checks.same_shape(what, x=source, dy=up, dx=target)
    checks.float_type(what, x=source, dy=up, dx=target)
    by, defines = _prepared(what, stream, given[0], source)
    split = _split(what, source, by.negative.shape, axis)
    sums = optional(what, stream, dnegative=given[1].negative, dpositive=given[1].positive)
    wanted = [array for array in sums if array is not None]
    _check_outputs(what, target, wanted, source, up, by)
    if wanted:
        _launch_sums(stream, source, up, by, split, sums, defines, workspace)
    if target is not None and target.size:
        numbers = [split.channels, split.plane, source.size, checks.packed(source, up, target)]
        arguments = [source, up, target, by.edge, by.positive, by.negative, *numbers]
        launch(stream, "slopes_backward", checks.tiles(source), arguments, defines | checks.index_type(source.size))


def _check_outputs(
    what: str, dx: DeviceArray | None, sums: list[DeviceArray], x: DeviceArray, dy: DeviceArray, by: _Parameters
) -> None:
    if dx is None and not sums:
        raise ValueError(f"{what}: no gradient is asked for")
    others = tuple(zip(by._fields, by, strict=True))
    for array in sums:
        checks.has_shape(what, "a slope's gradient", array, by.negative.shape)
        checks.float_type(what, slopes=by.negative, gradient=array)
        checks.apart(what, ("a slope's gradient", array), ("x", x), ("dy", dy), ("dx", dx), *others)
    if len(sums) == 2:
        checks.apart(what, ("dpositive", sums[1]), ("dnegative", sums[0]))
    if dx is not None:
        checks.apart(what, ("dx", dx), ("x", x), ("dy", dy), same=True)
        checks.apart(what, ("dx", dx), *others)


class _Sums(NamedTuple):
    """How the sums over (outer, plane) are shared: which kernel, its parts, elements of a channel that are kept."""

    kernel: str
    parts: int
    within: int
    channels: int

    @property
    def nbytes(self) -> int:
        """Room for the partial sums: two numbers of float32 each."""
        return self.parts * self.channels * self.within * 8

    @classmethod
    def of(cls, split: _Split) -> _Sums:
        outer, channels, plane = split
        if plane >= LARGE_PLANE:
            parts = _parts(outer * plane, 8 * THREADS, channels)
            return cls("slopes_of_planes", parts, 1, channels)
        parts = _parts(outer, 4 * ROWS, -(-channels * plane // WARP))
        return cls("slopes_of_rows", parts, max(1, plane), channels)

    def launched(self, size: int, pack: int) -> tuple[list[int], int]:
        """What the kernel is told about planes or rows of `size` elements, in packs of so many, and its blocks."""
        if self.kernel == "slopes_of_planes":
            return [self.parts], self.channels * self.parts
        packs = max(1, size // pack)
        across = min(WARP, 1 << (packs - 1).bit_length())
        return [across, self.parts], -(-packs // across) * self.parts


def _parts(count: int, each: int, others: int) -> int:
    """Into how many parts sums over `count` are cut, each of at least `each`, so that all blocks are busy."""
    return max(1, min(-(-count // each), MOST_BLOCKS // max(1, others)))


def _launch_sums(
    stream: Stream,
    x: DeviceArray,
    dy: DeviceArray,
    by: _Parameters,
    split: _Split,
    sums: list[DeviceArray | None],
    defines: dict[str, object],
    workspace: Any,
) -> None:
    if not split.channels:
        return
    shared = _Sums.of(split)
    partial = scratch(stream, shared.nbytes, workspace)
    outer, plane = split.outer if x.size else 0, max(1, split.plane)
    size = plane if shared.kernel == "slopes_of_planes" else plane * split.channels
    pack = max(1, alignment(size * x.dtype.itemsize, x.address, dy.address, 16) // x.dtype.itemsize)
    how, blocks = shared.launched(size, pack)
    arguments = [x, dy, by.edge, partial, outer, split.channels, plane, *how]
    launch(stream, shared.kernel, blocks, arguments, defines | checks.index_type(x.size) | {"AT_ONCE": pack})
    numbers = [split.channels, shared.within, shared.parts]
    blocks = min(-(-split.channels * WARP // THREADS), 65535)
    launch(stream, "finish_slopes", blocks, [partial, sums[1], sums[0], *numbers], defines)
