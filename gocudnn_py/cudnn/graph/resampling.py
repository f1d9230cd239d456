"""Pooling and interpolation in a graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

from gocudnn_py._abi.cudnn import BackendAttributeName as Attribute
from gocudnn_py._abi.cudnn import BackendAttributeType as Type
from gocudnn_py._abi.cudnn import BackendDescriptorType as Kind
from gocudnn_py._abi.cudnn import NanPropagation, PaddingMode, ResampleMode
from gocudnn_py.cudnn.graph.builder import Builder
from gocudnn_py.cudnn.graph.operations import Row, attributes, typed
from gocudnn_py.cudnn.graph.tensor import Tensor, check_dims
from gocudnn_py.dtypes import DType, cudnn_dtype

_WINDOW = typed(
    "RESAMPLE",
    mode=("MODE", Type.RESAMPLE_MODE),
    compute=("COMP_TYPE", Type.DATA_TYPE),
    nan=("NAN_PROPAGATION", Type.NAN_PROPOGATION),
    padding_mode=("PADDING_MODE", Type.PADDING_MODE),
    spatial=("SPATIAL_DIMS", Type.INT64),
    window=("WINDOW_DIMS", Type.FRACTION),
    padding=("PRE_PADDINGS", Type.FRACTION),
    padding_after=("POST_PADDINGS", Type.FRACTION),
    stride=("STRIDES", Type.FRACTION),
)
FORWARD = Row(
    "resample",
    Kind.OPERATION_RESAMPLE_FWD_DESCRIPTOR,
    attributes("OPERATION_RESAMPLE_FWD", x="XDESC"),
    attributes("OPERATION_RESAMPLE_FWD", y="YDESC", index="IDXDESC"),
    typed("OPERATION_RESAMPLE_FWD", scale=("ALPHA", Type.DOUBLE), keep=("BETA", Type.DOUBLE)),
    Kind.RESAMPLE_DESCRIPTOR,
    Attribute.OPERATION_RESAMPLE_FWD_DESC,
    _WINDOW,
    factors=(),
)
BACKWARD = Row(
    "resample_backward",
    Kind.OPERATION_RESAMPLE_BWD_DESCRIPTOR,
    attributes("OPERATION_RESAMPLE_BWD", dy="DYDESC", index="IDXDESC", x="XDESC", y="YDESC"),
    attributes("OPERATION_RESAMPLE_BWD", dx="DXDESC"),
    typed("OPERATION_RESAMPLE_BWD", scale=("ALPHA", Type.DOUBLE), keep=("BETA", Type.DOUBLE)),
    Kind.RESAMPLE_DESCRIPTOR,
    Attribute.OPERATION_RESAMPLE_BWD_DESC,
    _WINDOW,
    factors=(),
)
ROWS = (FORWARD, BACKWARD)
PADDING = {ResampleMode.MAXPOOL: PaddingMode.NEG_INF_PAD, ResampleMode.BILINEAR: PaddingMode.EDGE_VAL_PAD}
"""What is padded with where that is not 0."""
Amount = int | Fraction
Amounts = Amount | Sequence[Amount]
Where = Mapping[str, tuple[Fraction, ...]]


class Resampled(NamedTuple):
    """The result of a resampling and, of a max pooling that keeps it, where in its window each maximum was."""

    y: Tensor
    indices: Tensor | None


class Resampling(Builder):
    """What a `Graph` has of pooling and interpolation."""

    def resample(
        self,
        mode: ResampleMode,
        x: Tensor,
        window: Amounts,
        *,
        stride: Amounts = 1,
        padding: Amounts = 0,
        padding_after: Amounts | None = None,
        padding_mode: PaddingMode | None = None,
        index: DType | None = None,
    ) -> Resampled:
        """Pool or interpolate x (N, C, *spatial) over windows.

        Maximum, mean with or without what is padded, nearest or bilinear; bilinear to twice the size is a window of 2,
        a stride of 1/2, and 1/2 and 1 of padding. `index` is the type in which a max pooling keeps where its maxima
        were, for its gradient. What is padded is below all for a maximum, the edge for bilinear, else 0.
        """
        where = _window(x, window, stride, padding, padding_after)
        dims = check_dims(f"result of {mode.name}", (*x.dims[:2], *_slid(x.dims[2:], where)))
        kept = None if index is None else self._inner(dims, x, cudnn_dtype(index))
        made = Resampled(self._inner(dims, x), kept)
        settings = self._settings(mode, where, padding_mode)
        text = f"{mode.name.lower()}({{x}}{_shown(where)})"
        self._operate(FORWARD, {"x": x}, {"y": made.y, "index": kept}, settings, text)
        return made

    def resample_backward(
        self,
        mode: ResampleMode,
        dy: Tensor,
        dims: Sequence[int],
        window: Amounts,
        *,
        stride: Amounts = 1,
        padding: Amounts = 0,
        padding_after: Amounts | None = None,
        padding_mode: PaddingMode | None = None,
        index: Tensor | None = None,
        x: Tensor | None = None,
        y: Tensor | None = None,
    ) -> Tensor:
        """dx of dimensions `dims` from dy.

        A max pooling wants the indices that it kept as `index` or, where channels come first, its x and y.
        """
        where = _window(dy, window, stride, padding, padding_after)
        dims = check_dims("dx", dims)
        expected = (*dims[:2], *_slid(dims[2:], where))
        if dy.dims != expected:
            raise ValueError(f"resample_backward: dy is {dy.dims}, of dx {dims} it would be {expected}")
        settings = self._settings(mode, where, padding_mode)
        inputs = {"dy": dy, "index": index, "x": x, "y": y}
        names = ", ".join(f"{{{name}}}" for name, tensor in inputs.items() if tensor is not None)
        text = f"{mode.name.lower()}_backward({names}{_shown(where)})"
        return self._operate(BACKWARD, inputs, {"dx": self._inner(dims, dy)}, settings, text)

    def _settings(self, mode: ResampleMode, where: Where, padding_mode: PaddingMode | None) -> dict[str, Any]:
        return {
            **{name: tuple(number.as_integer_ratio() for number in numbers) for name, numbers in where.items()},
            "mode": mode,
            "compute": self.compute,
            "nan": NanPropagation.PROPAGATE_NAN,
            "padding_mode": PADDING.get(mode, PaddingMode.ZERO_PAD) if padding_mode is None else padding_mode,
            "spatial": len(where["window"]),
            "scale": 1.0,
            "keep": 0.0,
        }


def _window(x: Tensor, window: Amounts, stride: Amounts, padding: Amounts, after: Amounts | None) -> Where:
    rank = len(x.dims) - 2
    if rank < 1:
        raise ValueError(f"resample needs (N, C, *spatial), not {x}")
    before = _each_axis("padding", padding, rank, 0)
    where = {
        "window": _each_axis("window", window, rank, 1),
        "stride": _each_axis("stride", stride, rank, 0),
        "padding": before,
        "padding_after": before if after is None else _each_axis("padding_after", after, rank, 0),
    }
    if not all(where["stride"]):
        raise ValueError(f"resample: a stride of {_said(where['stride'])}")
    return where


def _each_axis(name: str, amounts: Amounts, rank: int, least: int) -> tuple[Fraction, ...]:
    numbers = (amounts,) * rank if isinstance(amounts, int | Fraction) else tuple(amounts)
    if len(numbers) != rank or min(numbers) < least:
        raise ValueError(f"{name}={_said(numbers)}: {rank} numbers of at least {least} are needed")
    return tuple(map(Fraction, numbers))


def _slid(extents: Sequence[int], where: Where) -> list[int]:
    """How many windows fit along each axis."""
    numbers = zip(extents, *(where[name] for name in ("window", "stride", "padding", "padding_after")), strict=True)
    return [int((n + before + after - window) // stride) + 1 for n, window, stride, before, after in numbers]


def _shown(where: Where) -> str:
    odd = {name: numbers for name, numbers in where.items() if set(numbers) != {Fraction(name == "stride")}}
    if where["padding_after"] == where["padding"]:
        odd.pop("padding_after", None)
    return "".join(f", {name}={_said(numbers)}" for name, numbers in odd.items())


def _said(numbers: Sequence[Amount]) -> str:
    return f"({', '.join(map(str, numbers))})"
