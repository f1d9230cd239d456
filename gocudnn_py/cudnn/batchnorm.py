"""Batch normalisation: training, inference and gradients, with an activation and a sum in the same kernel."""

from __future__ import annotations

from typing import Any, NamedTuple

from gocudnn_py._abi.cudnn import BatchNormMode, BatchNormOps
from gocudnn_py.cudnn.activation import ActivationDescriptor
from gocudnn_py.cudnn.descriptor import Operand, factors, handle_of, pair_of, size_of, span
from gocudnn_py.cudnn.handle import Handle
from gocudnn_py.cudnn.place import within
from gocudnn_py.cudnn.tensor import TensorDescriptor
from gocudnn_py.library import load


class Moments(NamedTuple):
    """Where two rows of numbers lie, one number of each a channel or position: (mean, variance), say."""

    first: Any
    second: Any

    def within(self, what: str, nbytes: int) -> tuple[int, int]:
        """Both addresses, 0 of None. Raises ValueError for a buffer of fewer bytes."""
        return within(f"{what}.first", self.first, nbytes), within(f"{what}.second", self.second, nbytes)


NOWHERE = Moments(None, None)


class BatchNormalization:
    """y = scale (x - mean) / sqrt(variance + epsilon) + bias over the batch; with `activation` of that.

    SPATIAL has one mean a channel, PER_ACTIVATION one a position; SPATIAL_PERSISTENT is the faster SPATIAL, which may
    overflow where float16 is near its ends. `parameters` describes scale, bias and all statistics: (1, C, 1, ...) or
    (1, C, *spatial), float32 for half-precision x (cudnnDeriveBNTensorDescriptor). A sum, y = activation(... + z), is
    asked for by giving `z`; activation and sum need x in channels last of half precision.
    """

    def __init__(
        self,
        x: TensorDescriptor,
        mode: BatchNormMode = BatchNormMode.SPATIAL,
        *,
        epsilon: float = 1e-5,
        activation: ActivationDescriptor | None = None,
    ) -> None:
        if not epsilon >= 0:
            raise ValueError(f"batch normalisation with epsilon={epsilon}")
        self.lib: Any = load("cudnn")
        self.mode, self.epsilon, self.activation = BatchNormMode(mode), epsilon, activation
        self.parameters = TensorDescriptor()
        self.lib.cudnnDeriveBNTensorDescriptor(self.parameters.handle, x.handle, mode)
        self.parameters.dtype = self.parameters.get().dtype
        self._row = self.parameters.size_in_bytes

    def forward_inference(
        self,
        handle: Handle,
        x: Operand,
        y: Operand,
        scale: Any,
        bias: Any,
        running: Moments,
        *,
        alpha: float = 1.0,
        beta: float = 0.0,
    ) -> None:
        """y by the running mean and variance (cudnnBatchNormalizationForwardInference); without the activation."""
        one, two = factors(y, alpha, beta)
        rows = *self._rows(scale, bias), *running.within("running", self._row)
        self.lib.cudnnBatchNormalizationForwardInference(
            handle.handle, self.mode, one, two, *x.pair, *y.pair, *rows, self.epsilon
        )

    def forward_training(
        self,
        handle: Handle,
        x: Operand,
        y: Operand,
        scale: Any,
        bias: Any,
        *,
        running: Moments = NOWHERE,
        momentum: float = 0.1,
        saved: Moments = NOWHERE,
        z: Operand | None = None,
        workspace: Any = None,
        reserve: Any = None,
        alpha: float = 1.0,
        beta: float = 0.0,
    ) -> None:
        """y by the batch's statistics; `saved` gets mean and 1 / sqrt(variance + epsilon) for the gradient.

        running = (1 - momentum) running + momentum statistics, whose variance is the unbiased one.
        cudnnBatchNormalizationForwardTraining; with an activation, `z`, `workspace` or `reserve`
        cudnnBatchNormalizationForwardTrainingEx.
        """
        one, two = factors(y, alpha, beta)
        rows = self._rows(scale, bias)
        statistics = running.within("running", self._row), saved.within("saved", self._row)
        results = momentum, *statistics[0], self.epsilon, *statistics[1]
        if self._plain(z, workspace, reserve):
            self.lib.cudnnBatchNormalizationForwardTraining(
                handle.handle, self.mode, one, two, *x.pair, *y.pair, *rows, *results
            )
            return
        data = *x.pair, *pair_of(z), *y.pair
        scratch = handle_of(self.activation), *span(workspace), *span(reserve)
        self.lib.cudnnBatchNormalizationForwardTrainingEx(
            handle.handle, self.mode, self._ops(z), one, two, *data, *rows, *results, *scratch
        )

    def backward(
        self,
        handle: Handle,
        x: Operand,
        dy: Operand,
        dx: Operand,
        scale: Any,
        gradients: Moments,
        *,
        saved: Moments = NOWHERE,
        y: Operand | None = None,
        bias: Any = None,
        dz: Operand | None = None,
        workspace: Any = None,
        reserve: Any = None,
        alpha: float = 1.0,
        beta: float = 0.0,
        parameter_beta: float = 0.0,
    ) -> None:
        """dx, and `gradients` of scale and bias: dscale = new + parameter_beta dscale.

        Statistics that forward_training did not save are computed again. cudnnBatchNormalizationBackward; with an
        activation (which needs y and bias), `dz`, `workspace` or `reserve` cudnnBatchNormalizationBackwardEx.
        """
        blend = *factors(dx, alpha, beta), *factors(self.parameters.at(0), 1.0, parameter_beta)
        targets = gradients.within("gradients", self._row)
        ends = self.epsilon, *saved.within("saved", self._row)
        parameters, at_scale, at_bias = self._rows(scale, bias)
        if self._plain(dz, workspace, reserve):
            rows = parameters, at_scale, *targets
            self.lib.cudnnBatchNormalizationBackward(
                handle.handle, self.mode, *blend, *x.pair, *dy.pair, *dx.pair, *rows, *ends
            )
            return
        data = *x.pair, *pair_of(y), *dy.pair, *pair_of(dz), *dx.pair
        all_rows = parameters, at_scale, at_bias, *targets
        scratch = handle_of(self.activation), *span(workspace), *span(reserve)
        self.lib.cudnnBatchNormalizationBackwardEx(
            handle.handle, self.mode, self._ops(dz), *blend, *data, *all_rows, *ends, *scratch
        )

    def forward_workspace_size(
        self, handle: Handle, x: TensorDescriptor, y: TensorDescriptor, z: TensorDescriptor | None = None
    ) -> int:
        """Bytes for forward_training (cudnnGetBatchNormalizationForwardTrainingExWorkspaceSize)."""
        ops = self._ops(z)
        tensors = x.handle, handle_of(z), y.handle, self.parameters.handle, handle_of(self.activation)
        query = self.lib.cudnnGetBatchNormalizationForwardTrainingExWorkspaceSize
        return size_of(query, handle.handle, self.mode, ops, *tensors)

    def backward_workspace_size(
        self,
        handle: Handle,
        x: TensorDescriptor,
        dy: TensorDescriptor,
        dx: TensorDescriptor,
        *,
        y: TensorDescriptor | None = None,
        dz: TensorDescriptor | None = None,
    ) -> int:
        """Bytes for backward (cudnnGetBatchNormalizationBackwardExWorkspaceSize)."""
        tensors = x.handle, handle_of(y), dy.handle, handle_of(dz), dx.handle
        ends = self.parameters.handle, handle_of(self.activation)
        query = self.lib.cudnnGetBatchNormalizationBackwardExWorkspaceSize
        return size_of(query, handle.handle, self.mode, self._ops(dz), *tensors, *ends)

    def reserve_size(self, handle: Handle, x: TensorDescriptor, *, adds: bool = False) -> int:
        """Bytes kept from forward to backward (cudnnGetBatchNormalizationTrainingExReserveSpaceSize).

        `adds` says that there is a z.
        """
        query = self.lib.cudnnGetBatchNormalizationTrainingExReserveSpaceSize
        ops = self._ops(x if adds else None)
        return size_of(query, handle.handle, self.mode, ops, handle_of(self.activation), x.handle)

    def _rows(self, scale: Any, bias: Any) -> tuple[int, int, int]:
        """The parameters' descriptor and addresses."""
        return self.parameters.handle, within("scale", scale, self._row), within("bias", bias, self._row)

    def _plain(self, other: object, workspace: Any, reserve: Any) -> bool:
        return self.activation is None and other is None and workspace is None and reserve is None

    def _ops(self, other: object) -> BatchNormOps:
        if other is not None and self.activation is None:
            raise ValueError("batch normalisation: cuDNN adds z only before an activation; give `activation`")
        if other is not None:
            return BatchNormOps.BN_ADD_ACTIVATION
        return BatchNormOps.BN if self.activation is None else BatchNormOps.BN_ACTIVATION

    def __repr__(self) -> str:
        then = f", then {self.activation!r}" if self.activation else ""
        return f"BatchNormalization({self.mode.name}, epsilon={self.epsilon:g}, {self.parameters!r}{then})"
