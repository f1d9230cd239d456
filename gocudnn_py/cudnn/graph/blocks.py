"""Numbers of few bits with a scale for each block, in a graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from gocudnn_py._abi.cudnn import BackendAttributeType as Type
from gocudnn_py._abi.cudnn import BackendDescriptorType as Kind
from gocudnn_py._abi.cudnn import BackendTensorReordering as Reordering
from gocudnn_py.cudnn.graph.builder import Builder
from gocudnn_py.cudnn.graph.operations import Row, attributes, typed
from gocudnn_py.cudnn.graph.shapes import check_axis
from gocudnn_py.cudnn.graph.tensor import Tensor
from gocudnn_py.dtypes import DType, cudnn_dtype

QUANTIZE = Row(
    "block_quantize",
    Kind.OPERATION_BLOCK_SCALE_QUANTIZE_DESCRIPTOR,
    attributes("OPERATION_BLOCK_SCALE_QUANTIZE", x="XDESC"),
    attributes("OPERATION_BLOCK_SCALE_QUANTIZE", y="YDESC", scale="SCALE_DESC"),
    typed("OPERATION_BLOCK_SCALE_QUANTIZE", compute=("MATH_PREC", Type.DATA_TYPE), block=("BLOCK_SIZE", Type.INT32)),
)
DEQUANTIZE = Row(
    "block_dequantize",
    Kind.OPERATION_BLOCK_SCALE_DEQUANTIZE_DESCRIPTOR,
    attributes("OPERATION_BLOCK_SCALE_DEQUANTIZE", x="XDESC", scale="SCALE_DESC"),
    attributes("OPERATION_BLOCK_SCALE_DEQUANTIZE", y="YDESC"),
    typed(
        "OPERATION_BLOCK_SCALE_DEQUANTIZE",
        compute=("MATH_PREC", Type.DATA_TYPE),
        block=("BLOCK_SIZE", Type.INT32),
        negative=("NEG_SCALE", Type.BOOLEAN),
    ),
)
ROWS = (QUANTIZE, DEQUANTIZE)


class Quantized(NamedTuple):
    """Numbers of few bits and the scale of each block of them."""

    y: Tensor
    scale: Tensor


class Blocks(Builder):
    """What a `Graph` has of block scaling."""

    def block_quantize(
        self,
        x: Tensor,
        block: int,
        *,
        dtype: DType,
        scale_dtype: DType,
        axis: int = -1,
        reordering: Reordering | None = None,
    ) -> Quantized:
        """x in few bits, and a scale for every `block` elements along an axis.

        The scales are reordered in blocks of 128 by 4, which matrices (batch, m, n) must have, unless said otherwise.
        """
        axis = check_axis("block_quantize", axis, x)
        if block < 1 or x.dims[axis] % block:
            raise ValueError(f"block_quantize: axis {axis} of {x} does not divide into blocks of {block}")
        scales = [n // block if each == axis else n for each, n in enumerate(x.dims)]
        made = Quantized(self._inner(x.dims, x, cudnn_dtype(dtype)), self._inner(scales, x, cudnn_dtype(scale_dtype)))
        made.scale.reordering = Reordering.F8_128x4 if reordering is None else reordering
        settings = {"compute": self.compute, "block": block}
        self._operate(QUANTIZE, {"x": x}, made._asdict(), settings, f"block_quantize({{x}}, {block})")
        return made

    def block_dequantize(
        self, x: Tensor, scale: Tensor, block: int | Sequence[int], *, negative: bool | None = None
    ) -> Tensor:
        """x times the scale of its block; `block` is the size along the scaled axis, or along each that is scaled."""
        sizes = (block,) if isinstance(block, int) else tuple(block)
        if min(sizes) < 1:
            raise ValueError(f"block_dequantize: blocks of {sizes}")
        settings = {"compute": self.compute, "block": sizes, "negative": negative}
        text = f"block_dequantize({{x}}, {{scale}}, {'x'.join(map(str, sizes))})"
        return self._operate(DEQUANTIZE, {"x": x, "scale": scale}, {"y": self._inner(x.dims, x)}, settings, text)
