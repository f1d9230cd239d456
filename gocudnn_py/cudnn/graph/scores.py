"""What the scores of attention pass through in a graph: softmax, masks, rotary positions."""

from __future__ import annotations

from typing import NamedTuple

from gocudnn_py._abi.cudnn import BackendAttributeType as Type
from gocudnn_py._abi.cudnn import BackendDescriptorType as Kind
from gocudnn_py._abi.cudnn import DataType, PointwiseMode
from gocudnn_py.cudnn.graph.operations import Row, attributes, typed
from gocudnn_py.cudnn.graph.pointwise import Pointwise
from gocudnn_py.cudnn.graph.shapes import check_names
from gocudnn_py.cudnn.graph.tensor import Tensor

SOFTMAX = Row(
    "softmax",
    Kind.OPERATION_SOFTMAX_DESCRIPTOR,
    attributes("OPERATION_SOFTMAX", x="XDESC", sink="SINK_DESC"),
    attributes("OPERATION_SOFTMAX", y="YDESC", statistics="STATS_DESC", max="MAX_DESC", sum="SUM_EXP_DESC"),
    typed("OPERATION_SOFTMAX", log2=("STATS_LOG2", Type.BOOLEAN)),
)
BAND_MASK = Row(
    "band_mask",
    Kind.OPERATION_DIAGONAL_BAND_MASK_DESCRIPTOR,
    attributes(
        "OPERATION_DIAGONAL_BAND_MASK",
        x="XDESC",
        outside="BDESC",
        left="LEFT_BOUND_DESC",
        right="SHIFT_RIGHT_BOUND_DESC",
        lengths_q="SEQ_LEN_QDESC",
        lengths_kv="SEQ_LEN_KVDESC",
        bounds_q="CU_SEQ_LEN_QDESC",
        bounds_kv="CU_SEQ_LEN_KVDESC",
    ),
    attributes("OPERATION_DIAGONAL_BAND_MASK", y="YDESC"),
    typed("OPERATION_DIAGONAL_BAND_MASK", comparison=("COMPARISON_MODE", Type.POINTWISE_MODE)),
    factors=(),
)
ROTATE = Row(
    "rotate",
    Kind.OPERATION_ROPE_FWD_DESCRIPTOR,
    attributes("OPERATION_ROPE_FWD", x="XDESC", angles="FREQSDESC"),
    attributes("OPERATION_ROPE_FWD", y="YDESC"),
    typed("OPERATION_ROPE_FWD", scale=("OUTPUT_SCALE", Type.FLOAT), width=("ROPE_DIM", Type.INT64)),
)
ROTATE_BACKWARD = Row(
    "rotate_backward",
    Kind.OPERATION_ROPE_BWD_DESCRIPTOR,
    attributes("OPERATION_ROPE_BWD", dy="DYDESC", angles="FREQSDESC"),
    attributes("OPERATION_ROPE_BWD", dx="DXDESC"),
    typed("OPERATION_ROPE_BWD", scale=("OUTPUT_SCALE", Type.FLOAT), width=("ROPE_DIM", Type.INT64)),
)
ROWS = (SOFTMAX, BAND_MASK, ROTATE, ROTATE_BACKWARD)


class Softmaxed(NamedTuple):
    """A softmax along the last axis, and of each row what was asked for: log of the sum, maximum, sum."""

    y: Tensor
    statistics: Tensor | None
    max: Tensor | None
    sum: Tensor | None


class Scores(Pointwise):
    """What a `Graph` has of what scores pass through."""

    def softmax(
        self,
        x: Tensor,
        *,
        sink: Tensor | None = None,
        statistics: bool = False,
        extremes: bool = False,
        log2: bool | None = None,
    ) -> Softmaxed:
        """The softmax along the last axis, as one operation.

        `statistics` are the logarithm of the sum of exponentials, to base e times log2(e) if `log2`; `extremes` the
        maximum and the sum apart; a `sink` (1, H, 1, 1) is one more score that no value belongs to.
        """
        row = (*x.dims[:-1], 1)
        kept = [self._inner(row, None, DataType.FLOAT) if asked else None for asked in (statistics, extremes, extremes)]
        made = Softmaxed(self._inner(x.dims, x), *kept)
        text = "softmax({x})" if sink is None else "softmax({x}, sink={sink})"
        self._operate(SOFTMAX, {"x": x, "sink": sink}, made._asdict(), {"log2": log2}, text)
        return made

    def band_mask(
        self,
        x: Tensor,
        *,
        left: int | None = None,
        right: int | None = None,
        comparison: PointwiseMode = PointwiseMode.CMP_GE,
        outside: float = float("-inf"),
        **lengths: Tensor,
    ) -> Tensor:
        """x (B, H, S_q, S_kv) in a band about its diagonal, `outside` beyond it, as one operation.

        Without `left`, what lies at most `right` to the right of the diagonal stays; with it, what lies less than
        `left` to the left of it, by CMP_GT. `lengths` are inputs of the row BAND_MASK, which move the diagonal.
        """
        check_names("band_mask", lengths, BAND_MASK.inputs)
        inputs = {
            "x": x,
            "outside": self.scalar(outside),
            "left": None if left is None else self.scalar(left),
            "right": None if right is None else self.scalar(right, "int32"),
            **lengths,
        }
        said = "".join(f", {name}={{{name}}}" for name in inputs if name != "x" and inputs[name] is not None)
        y = self._inner(x.dims, x)
        return self._operate(BAND_MASK, inputs, {"y": y}, {"comparison": comparison}, f"band_mask({{x}}{said})")

    def causal(self, scores: Tensor) -> Tensor:
        """Scores (B, H, S_q, S_kv) of what is not later than each query, minus infinity for the rest, by parts."""
        row, column = self.index(scores, 2), self.index(scores, 3)
        return self.where(self.pointwise(PointwiseMode.CMP_GE, row, column), scores, float("-inf"))

    def within(self, scores: Tensor, lengths_q: Tensor, lengths_kv: Tensor) -> Tensor:
        """Scores of what lies within each sequence, minus infinity for its padding; lengths (B, 1, 1, 1) in int32."""
        row = self.pointwise(PointwiseMode.CMP_LT, self.index(scores, 2), lengths_q)
        column = self.pointwise(PointwiseMode.CMP_LT, self.index(scores, 3), lengths_kv)
        inside = self.pointwise(PointwiseMode.LOGICAL_AND, row, column)
        return self.where(inside, scores, float("-inf"))

    def rotate(self, x: Tensor, angles: Tensor, *, scale: float | None = None, width: int | None = None) -> Tensor:
        """x (B, H, S, D) turned by `angles` (S, 1, 1, D), the last `width` of its D numbers, times `scale`."""
        settings = {"scale": scale, "width": width}
        y = self._inner(x.dims, x, x.dtype)
        return self._operate(ROTATE, {"x": x, "angles": angles}, {"y": y}, settings, "rotate({x}, {angles})")

    def rotate_backward(
        self, dy: Tensor, angles: Tensor, *, scale: float | None = None, width: int | None = None
    ) -> Tensor:
        """dx from dy, the gradient of `rotate`."""
        settings = {"scale": scale, "width": width}
        inputs, dx = {"dy": dy, "angles": angles}, self._inner(dy.dims, dy, dy.dtype)
        return self._operate(ROTATE_BACKWARD, inputs, {"dx": dx}, settings, "rotate_backward({dy}, {angles})")
