"""Convolutions of a graph: forward and both gradients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Unpack

from gocudnn_py._abi.cudnn import BackendAttributeName as Attribute
from gocudnn_py._abi.cudnn import BackendAttributeType as Type
from gocudnn_py._abi.cudnn import BackendDescriptorType as Kind
from gocudnn_py._abi.cudnn import ConvolutionMode
from gocudnn_py.cudnn.graph.builder import Builder
from gocudnn_py.cudnn.graph.operations import Row, attributes, typed
from gocudnn_py.cudnn.graph.shapes import Window, shown, slid, window_of
from gocudnn_py.cudnn.graph.tensor import Tensor, check_dims


def _row(name: str, direction: str, inputs: str, output: str) -> Row:
    """A row of the three, whose attribute names differ by their direction."""
    prefix = f"OPERATION_CONVOLUTION_{direction}"
    return Row(
        name,
        Kind[f"OPERATION_CONVOLUTION_{direction.replace('BWD', 'BACKWARD')}_DESCRIPTOR"],
        attributes(prefix, **{port: port.upper() for port in inputs.split()}),
        attributes(prefix, **{output: output.upper()}),
        typed(prefix, alpha=("ALPHA", Type.FLOAT), beta=("BETA", Type.FLOAT)),
        Kind.CONVOLUTION_DESCRIPTOR,
        Attribute[f"{prefix}_CONV_DESC"],
        typed(
            "CONVOLUTION",
            compute=("COMP_TYPE", Type.DATA_TYPE),
            mode=("CONV_MODE", Type.CONVOLUTION_MODE),
            spatial=("SPATIAL_DIMS", Type.INT64),
            dilation=("DILATIONS", Type.INT64),
            stride=("FILTER_STRIDES", Type.INT64),
            padding=("PRE_PADDINGS", Type.INT64),
            padding_after=("POST_PADDINGS", Type.INT64),
        ),
    )


FORWARD = _row("convolution", "FORWARD", "x w", "y")
BACKWARD_DATA = _row("convolution_backward_data", "BWD_DATA", "dy w", "dx")
BACKWARD_FILTER = _row("convolution_backward_filter", "BWD_FILTER", "x dy", "dw")
ROWS = (FORWARD, BACKWARD_DATA, BACKWARD_FILTER)


class Convolutions(Builder):
    """What a `Graph` has of convolutions."""

    def convolution(self, x: Tensor, w: Tensor, **window: Unpack[Window]) -> Tensor:
        """y of x (N, C, *spatial) and w (K, C/groups, *kernel): cross-correlation, groups as the channels say."""
        where = window_of(x, window)
        _check_channels("convolution", x.dims, w.dims)
        spatial = slid(x.dims[2:], w.dims[2:], where)
        dims = check_dims("output of the convolution", (x.dims[0], w.dims[0], *spatial))
        return self._convolve(FORWARD, {"x": x, "w": w}, "y", dims, window)

    def convolution_backward_data(self, dy: Tensor, w: Tensor, dims: Sequence[int], **window: Unpack[Window]) -> Tensor:
        """dx of dimensions `dims`, the gradient of a convolution's input from dy and w."""
        _check_channels("convolution_backward_data", check_dims("dx", dims), w.dims)
        return self._convolve(BACKWARD_DATA, {"dy": dy, "w": w}, "dx", dims, window)

    def convolution_backward_filter(
        self, x: Tensor, dy: Tensor, dims: Sequence[int], **window: Unpack[Window]
    ) -> Tensor:
        """dw of dimensions `dims`, the gradient of a convolution's filters from x and dy."""
        _check_channels("convolution_backward_filter", x.dims, check_dims("dw", dims))
        return self._convolve(BACKWARD_FILTER, {"x": x, "dy": dy}, "dw", dims, window)

    def _convolve(
        self, row: Row, inputs: Mapping[str, Tensor], output: str, dims: Sequence[int], window: Window
    ) -> Tensor:
        dims = check_dims(output, dims)
        first = next(iter(inputs.values()))
        where = window_of(first, window)
        if len(dims) != len(first.dims):
            raise ValueError(f"{row.name}: {output} has {len(dims)} dimensions, {first.name} {len(first.dims)}")
        flip = window.get("flip", False)
        settings = {
            **where,
            "spatial": len(dims) - 2,
            "mode": ConvolutionMode.CONVOLUTION if flip else ConvolutionMode.CROSS_CORRELATION,
            "compute": self.compute,
            "alpha": 1.0,
            "beta": 0.0,
        }
        names = ", ".join(f"{{{name}}}" for name in inputs)
        text = f"{row.name}({names}{shown(where)}{', flipped' if flip else ''})"
        return self._operate(row, inputs, {output: self._inner(dims, first)}, settings, text)


def _check_channels(name: str, x: Sequence[int], w: Sequence[int]) -> None:
    numbers = f"(x={tuple(x)}, w={tuple(w)})"
    if len(x) != len(w):
        raise ValueError(f"{name}: x and w have different ranks {numbers}")
    if x[1] % w[1] or w[0] % (x[1] // w[1]):
        raise ValueError(f"{name}: channels do not divide into groups {numbers}")
