"""Reductions of a graph, and the steps of a batch normalization that fuse with convolutions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from gocudnn_py._abi.cudnn import BackendAttributeName as Attribute
from gocudnn_py._abi.cudnn import BackendAttributeType as Type
from gocudnn_py._abi.cudnn import BackendDescriptorType as Kind
from gocudnn_py._abi.cudnn import BnFinalizeStatsMode, DataType, GenStatsMode, ReduceTensorOp
from gocudnn_py.cudnn.graph.builder import Builder
from gocudnn_py.cudnn.graph.operations import Row, attributes, typed
from gocudnn_py.cudnn.graph.tensor import Tensor, check_dims

REDUCTION = Row(
    "reduction",
    Kind.OPERATION_REDUCTION_DESCRIPTOR,
    attributes("OPERATION_REDUCTION", x="XDESC", offsets="GROUP_OFFSET_DESC"),
    attributes("OPERATION_REDUCTION", y="YDESC"),
    {},
    Kind.REDUCTION_DESCRIPTOR,
    Attribute.OPERATION_REDUCTION_DESC,
    typed(
        "REDUCTION",
        operator=("OPERATOR", Type.REDUCTION_OPERATOR_TYPE),
        compute=("COMP_TYPE", Type.DATA_TYPE),
        deterministic=("IS_DETERMINISTIC", Type.BOOLEAN),
    ),
    factors=("x",),
)
CHANNEL_SUMS = Row(
    "channel_sums",
    Kind.OPERATION_GEN_STATS_DESCRIPTOR,
    attributes("OPERATION_GENSTATS", x="XDESC"),
    attributes("OPERATION_GENSTATS", sum="SUMDESC", squares="SQSUMDESC"),
    typed("OPERATION_GENSTATS", mode=("MODE", Type.GENSTATS_MODE), compute=("MATH_PREC", Type.DATA_TYPE)),
)
FINALIZE = Row(
    "finalize_statistics",
    Kind.OPERATION_BN_FINALIZE_STATISTICS_DESCRIPTOR,
    attributes(
        "OPERATION_BN_FINALIZE",
        sum="Y_SUM_DESC",
        squares="Y_SQ_SUM_DESC",
        scale="SCALE_DESC",
        bias="BIAS_DESC",
        running_mean="PREV_RUNNING_MEAN_DESC",
        running_variance="PREV_RUNNING_VAR_DESC",
        count="ACCUM_COUNT_DESC",
        epsilon="EPSILON_DESC",
        momentum="EXP_AVERATE_FACTOR_DESC",
    ),
    attributes(
        "OPERATION_BN_FINALIZE",
        multiplier="EQ_SCALE_DESC",
        addend="EQ_BIAS_DESC",
        mean="SAVED_MEAN_DESC",
        inverse="SAVED_INV_STD_DESC",
        new_running_mean="UPDATED_RUNNING_MEAN_DESC",
        new_running_variance="UPDATED_RUNNING_VAR_DESC",
    ),
    typed(
        "OPERATION_BN_FINALIZE",
        mode=("STATS_MODE", Type.BN_FINALIZE_STATS_MODE),
        compute=("MATH_PREC", Type.DATA_TYPE),
    ),
)
BACKWARD_WEIGHTS = Row(
    "batch_norm_backward_weights",
    Kind.OPERATION_BN_BWD_WEIGHTS_DESCRIPTOR,
    attributes(
        "OPERATION_BN_BWD_WEIGHTS",
        x="X_DESC",
        dy="DY_DESC",
        mean="MEAN_DESC",
        inverse="INVSTD_DESC",
        scale="BN_SCALE_DESC",
    ),
    attributes(
        "OPERATION_BN_BWD_WEIGHTS",
        dscale="DBN_SCALE_DESC",
        dbias="DBN_BIAS_DESC",
        dy_factor="EQ_DY_SCALE_DESC",
        x_factor="EQ_X_SCALE_DESC",
        addend="EQ_BIAS",
    ),
    typed("OPERATION_BN_BWD_WEIGHTS", compute=("MATH_PREC", Type.DATA_TYPE)),
    factors=("x", "dy"),
)
WORDS = {ReduceTensorOp.ADD: "sum", ReduceTensorOp.MUL: "product", ReduceTensorOp.AVG: "mean"}
"""What a reduction is called where that is not the operator's name."""
ROWS = (REDUCTION, CHANNEL_SUMS, FINALIZE, BACKWARD_WEIGHTS)


class Sums(NamedTuple):
    """Sums over all but the channels, (1, C, 1, ...): of x and of its squares."""

    sum: Tensor
    squares: Tensor


class Finalized(NamedTuple):
    """What a batch normalization has after its sums: y = multiplier * x + addend, and what is kept."""

    multiplier: Tensor
    addend: Tensor
    mean: Tensor
    inverse: Tensor
    running_mean: Tensor | None
    running_variance: Tensor | None


class WeightGradients(NamedTuple):
    """Gradients of scale and bias, and dx = dy_factor * dy + x_factor * x + addend."""

    dscale: Tensor
    dbias: Tensor
    dy_factor: Tensor
    x_factor: Tensor
    addend: Tensor


class Statistics(Builder):
    """What a `Graph` has of reductions and statistics."""

    def reduction(
        self,
        operator: ReduceTensorOp,
        x: Tensor,
        dims: Sequence[int],
        *,
        deterministic: bool | None = None,
        offsets: Tensor | None = None,
    ) -> Tensor:
        """Reduce x to `dims`, which is 1 along every axis that goes; `offsets` are where its groups begin."""
        dims = check_dims("result of the reduction", dims)
        if len(dims) != len(x.dims) or any(n not in (1, m) for n, m in zip(dims, x.dims, strict=True)):
            raise ValueError(f"reduction: {x.dims} does not reduce to {dims}")
        axes = tuple(axis for axis, (n, m) in enumerate(zip(dims, x.dims, strict=True)) if n != m)
        word = WORDS.get(operator, operator.name.lower())
        return self._operate(
            REDUCTION,
            {"x": x, "offsets": offsets},
            {"y": self._inner(dims, x)},
            {"operator": operator, "compute": self.compute, "deterministic": deterministic},
            f"{word}({{x}}, axes={axes}{', offsets={offsets}' if offsets else ''})",
        )

    def channel_sums(self, x: Tensor) -> Sums:
        """Sums of x and of its squares over all axes but the channels, as float32."""
        made = Sums(*(self._channels(x.dims, x) for _ in Sums._fields))
        settings = {"mode": GenStatsMode.SUM_SQSUM, "compute": self.compute}
        self._operate(CHANNEL_SUMS, {"x": x}, made._asdict(), settings, "channel_sums({x})")
        return made

    def finalize_statistics(
        self,
        sums: Sums,
        scale: Tensor,
        bias: Tensor,
        count: int,
        *,
        epsilon: float = 1e-5,
        momentum: float = 0.1,
        running: tuple[Tensor, Tensor] | None = None,
    ) -> Finalized:
        """What a batch normalization multiplies x by and adds to it, and its statistics, of `count` elements a channel.

        `running` are the running mean and variance, of which `momentum` is replaced; engines want them.
        """
        rank = len(scale.dims)
        made = [self._channels(scale.dims, scale) for _ in range(4 if running is None else 6)]
        fields = Finalized(*made, *([None, None] if running is None else []))
        inputs = {
            "sum": sums.sum,
            "squares": sums.squares,
            "scale": scale,
            "bias": bias,
            "running_mean": running[0] if running else None,
            "running_variance": running[1] if running else None,
            "count": self.scalar(count, "int64", rank=rank),
            "epsilon": self.scalar(epsilon, rank=rank),
            "momentum": self.scalar(momentum, rank=rank),
        }
        outputs = {f"new_{name}" if name.startswith("running") else name: y for name, y in fields._asdict().items()}
        settings = {"mode": BnFinalizeStatsMode.TRAINING, "compute": self.compute}
        text = "finalize_statistics({sum}, {squares}, {scale}, {bias}, count={count}, epsilon={epsilon})"
        self._operate(FINALIZE, inputs, outputs, settings, text)
        return fields

    def batch_norm_backward_weights(
        self, x: Tensor, dy: Tensor, mean: Tensor, inverse: Tensor, scale: Tensor
    ) -> WeightGradients:
        """The gradients of a batch normalization's scale and bias, and the factors of its dx, from what it kept."""
        made = WeightGradients(*(self._channels(x.dims, x) for _ in WeightGradients._fields))
        inputs = {"x": x, "dy": dy, "mean": mean, "inverse": inverse, "scale": scale}
        text = "batch_norm_backward_weights({x}, {dy}, {mean}, {inverse}, {scale})"
        self._operate(BACKWARD_WEIGHTS, inputs, made._asdict(), {"compute": self.compute}, text)
        return made

    def _channels(self, dims: Sequence[int], pattern: Tensor) -> Tensor:
        """A float32 number for each channel."""
        return self._inner((1, dims[1], *(1 for _ in dims[2:])), pattern, DataType.FLOAT)
