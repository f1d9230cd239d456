"""Normalizations of a graph: layer, instance, batch, root mean square, adaptive layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from gocudnn_py._abi.cudnn import BackendAttributeType as Type
from gocudnn_py._abi.cudnn import BackendDescriptorType as Kind
from gocudnn_py._abi.cudnn import BackendNormFwdPhase as Phase
from gocudnn_py._abi.cudnn import BackendNormMode as NormMode
from gocudnn_py._abi.cudnn import DataType
from gocudnn_py.cudnn.graph.builder import Builder
from gocudnn_py.cudnn.graph.operations import Row, attributes, typed
from gocudnn_py.cudnn.graph.tensor import Tensor

_STATISTICS = attributes("OPERATION_NORM_FWD", mean="MEAN_DESC", inverse="INV_VARIANCE_DESC")
FORWARD = Row(
    "normalize",
    Kind.OPERATION_NORM_FORWARD_DESCRIPTOR,
    attributes(
        "OPERATION_NORM_FWD",
        x="XDESC",
        scale="SCALE_DESC",
        bias="BIAS_DESC",
        epsilon="EPSILON_DESC",
        momentum="EXP_AVG_FACTOR_DESC",
        running_mean="INPUT_RUNNING_MEAN_DESC",
        running_variance="INPUT_RUNNING_VAR_DESC",
        peers="PEER_STAT_DESCS",
    )
    | _STATISTICS,
    attributes(
        "OPERATION_NORM_FWD",
        y="YDESC",
        new_running_mean="OUTPUT_RUNNING_MEAN_DESC",
        new_running_variance="OUTPUT_RUNNING_VAR_DESC",
    )
    | _STATISTICS,
    typed("OPERATION_NORM_FWD", mode=("MODE", Type.NORM_MODE), phase=("PHASE", Type.NORM_FWD_PHASE)),
    factors=("x",),
)
BACKWARD = Row(
    "normalize_backward",
    Kind.OPERATION_NORM_BACKWARD_DESCRIPTOR,
    attributes(
        "OPERATION_NORM_BWD",
        x="XDESC",
        dy="DYDESC",
        scale="SCALE_DESC",
        mean="MEAN_DESC",
        inverse="INV_VARIANCE_DESC",
        epsilon="EPSILON_DESC",
        peers="PEER_STAT_DESCS",
    ),
    attributes("OPERATION_NORM_BWD", dx="DXDESC", dscale="DSCALE_DESC", dbias="DBIAS_DESC"),
    typed("OPERATION_NORM_BWD", mode=("MODE", Type.NORM_MODE)),
    factors=("x", "dy"),
)
ROWS = (FORWARD, BACKWARD)
CENTRED = set(NormMode) - {NormMode.RMS_NORM}


class Normalized(NamedTuple):
    """The result, and what training has beside it: the statistics, and running ones."""

    y: Tensor
    mean: Tensor | None
    inverse: Tensor | None
    running_mean: Tensor | None
    running_variance: Tensor | None


class NormalizedBackward(NamedTuple):
    """The gradients of x, the scale and the bias."""

    dx: Tensor
    dscale: Tensor
    dbias: Tensor | None


class Norms(Builder):
    """What a `Graph` has of normalizations."""

    def normalize(
        self,
        mode: NormMode,
        x: Tensor,
        scale: Tensor,
        bias: Tensor | None = None,
        *,
        epsilon: float = 1e-5,
        training: bool = False,
        statistics: tuple[Tensor | None, Tensor] | None = None,
        running: tuple[Tensor, Tensor] | None = None,
        momentum: float | None = None,
        peers: Sequence[Tensor] = (),
    ) -> Normalized:
        """Normalize x over the axes of its mode: y = scale * (x - mean) * inverse + bias.

        Those are the axes in which `scale` is 1 for batch normalization, all but batch and channel for instance
        normalization, and the axes in which it is not 1 for the others, which normalize each sample.

        When `training`, the mean and the inverse standard deviation are results too, and of `running` ones a
        `momentum` part is replaced. Else they are computed on the way, or given as `statistics`. The root mean square
        has no mean. `peers` are buffers of the other GPUs that a batch normalization sums over.
        """
        if training and statistics is not None:
            raise ValueError(f"{mode.name}: training computes its statistics, these are given")
        if running is not None and not training:
            raise ValueError(f"{mode.name}: running statistics are replaced in training only")
        rank = len(x.dims)
        mean, inverse = self._statistics(mode, x, scale) if training else (None, None)
        fresh = [self._inner(each.dims, each, DataType.FLOAT) for each in running or ()]
        made = Normalized(self._inner(x.dims, x), mean, inverse, *(fresh or (None, None)))
        inputs = {
            "x": x,
            "scale": scale,
            "bias": bias,
            "mean": statistics[0] if statistics else None,
            "inverse": statistics[1] if statistics else None,
            "running_mean": running[0] if running else None,
            "running_variance": running[1] if running else None,
            "epsilon": self.scalar(epsilon, rank=rank),
            "momentum": None if momentum is None else self.scalar(momentum, rank=rank),
            "peers": peers or None,
        }
        outputs = {f"new_{name}" if name.startswith("running") else name: y for name, y in made._asdict().items()}
        phase = Phase.TRAINING if training else Phase.INFERENCE
        names = [f"{{{name}}}" for name in ("x", "scale", "bias", "mean", "inverse") if inputs[name] is not None]
        text = f"{mode.name.lower()}({', '.join(names)}, epsilon={{epsilon}})"
        self._operate(FORWARD, inputs, outputs, {"mode": mode, "phase": phase}, text)
        return made

    def normalize_backward(
        self,
        mode: NormMode,
        x: Tensor,
        dy: Tensor,
        scale: Tensor,
        mean: Tensor | None = None,
        inverse: Tensor | None = None,
        *,
        bias: bool = True,
        epsilon: float | None = None,
        peers: Sequence[Tensor] = (),
    ) -> NormalizedBackward:
        """The gradients of x, scale and, where there was one, `bias`, from dy and what training kept."""
        gradients = [self._inner(scale.dims, scale, DataType.FLOAT) for _ in range(2 if bias else 1)]
        made = NormalizedBackward(self._inner(x.dims, x), gradients[0], gradients[1] if bias else None)
        inputs = {
            "x": x,
            "dy": dy,
            "scale": scale,
            "mean": mean,
            "inverse": inverse,
            "epsilon": None if epsilon is None else self.scalar(epsilon, rank=len(x.dims)),
            "peers": peers or None,
        }
        names = [f"{{{name}}}" for name in ("x", "dy", "scale", "mean", "inverse") if inputs[name] is not None]
        text = f"{mode.name.lower()}_backward({', '.join(names)})"
        self._operate(BACKWARD, inputs, made._asdict(), {"mode": mode}, text)
        return made

    def _statistics(self, mode: NormMode, x: Tensor, scale: Tensor) -> tuple[Tensor | None, Tensor]:
        """Tensors for the mean, where the mode has one, and the inverse standard deviation, in float32."""
        dims = _kept(mode, x, scale)
        mean = self._inner(dims, x, DataType.FLOAT) if mode in CENTRED else None
        return mean, self._inner(dims, x, DataType.FLOAT)


def _kept(mode: NormMode, x: Tensor, scale: Tensor) -> tuple[int, ...]:
    """The dimensions of a mode's statistics: those of x along the axes that are not summed over."""
    if mode is NormMode.BATCH_NORM:
        kept = {1}
    elif mode is NormMode.INSTANCE_NORM:
        kept = {0, 1}
    else:
        kept = {axis for axis, n in enumerate(scale.dims) if n == 1 or axis == 0}
    return tuple(n if axis in kept else 1 for axis, n in enumerate(x.dims))
