"""cuDNN's newer normalisation functions, whose statistics have a descriptor of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gocudnn_py._abi.cudnn import NormAlgo, NormMode, NormOps
from gocudnn_py.cudnn.activation import ActivationDescriptor
from gocudnn_py.cudnn.batchnorm import NOWHERE, Moments
from gocudnn_py.cudnn.descriptor import Operand, factors, handle_of, int32, pair_of, size_of, span
from gocudnn_py.cudnn.handle import Handle
from gocudnn_py.cudnn.place import within
from gocudnn_py.cudnn.tensor import TensorDescriptor
from gocudnn_py.library import load


class Normalization:
    """y = scale (x - mean) / sqrt(variance + epsilon) + bias over the batch; with `activation` of that.

    PER_CHANNEL has one mean a channel, PER_ACTIVATION one a position; algorithm PERSIST is the faster one, for
    channels last. `parameters` describes scale and bias, `moments` the statistics (cudnnDeriveNormTensorDescriptor).
    A sum, y = activation(... + z), is asked for by giving `z`. cuDNN takes one group only.
    """

    def __init__(
        self,
        x: TensorDescriptor,
        mode: NormMode = NormMode.PER_CHANNEL,
        *,
        algorithm: NormAlgo = NormAlgo.STANDARD,
        groups: int = 1,
        epsilon: float = 1e-5,
        activation: ActivationDescriptor | None = None,
    ) -> None:
        if not epsilon >= 0:
            raise ValueError(f"normalisation with epsilon={epsilon}")
        self.lib: Any = load("cudnn")
        self.mode, self.algorithm = NormMode(mode), NormAlgo(algorithm)
        self.groups, self.epsilon, self.activation = int32("groups", groups, least=1), epsilon, activation
        self.parameters, self.moments = TensorDescriptor(), TensorDescriptor()
        derived = self.parameters.handle, self.moments.handle
        self.lib.cudnnDeriveNormTensorDescriptor(*derived, x.handle, mode, groups)
        for descriptor in (self.parameters, self.moments):
            descriptor.dtype = descriptor.get().dtype
        self._row, self._moment = self.parameters.size_in_bytes, self.moments.size_in_bytes

    def forward_inference(
        self,
        handle: Handle,
        x: Operand,
        y: Operand,
        scale: Any,
        bias: Any,
        running: Moments,
        *,
        z: Operand | None = None,
        alpha: float = 1.0,
        beta: float = 0.0,
    ) -> None:
        """y by the running mean and variance (cudnnNormalizationForwardInference)."""
        one, two = factors(y, alpha, beta)
        rows = *self._rows(scale, bias), self.moments.handle, *running.within("running", self._moment)
        ends = *pair_of(z), handle_of(self.activation), *y.pair, self.epsilon, self.groups
        self.lib.cudnnNormalizationForwardInference(handle.handle, *self._how(z), one, two, *x.pair, *rows, *ends)

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
        """y by the batch's statistics (cudnnNormalizationForwardTraining); see BatchNormalization."""
        one, two = factors(y, alpha, beta)
        rows = *self._rows(scale, bias), momentum, self.moments.handle
        statistics = running.within("running", self._moment), saved.within("saved", self._moment)
        results = *statistics[0], self.epsilon, *statistics[1]
        data = handle_of(self.activation), *pair_of(z), *y.pair
        scratch = *span(workspace), *span(reserve), self.groups
        self.lib.cudnnNormalizationForwardTraining(
            handle.handle, *self._how(z), one, two, *x.pair, *rows, *results, *data, *scratch
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
        """dx, and `gradients` of scale and bias (cudnnNormalizationBackward); see BatchNormalization."""
        blend = *factors(dx, alpha, beta), *factors(self.parameters.at(0), 1.0, parameter_beta)
        data = *x.pair, *pair_of(y), *dy.pair, *pair_of(dz), *dx.pair
        rows = *self._rows(scale, bias), *gradients.within("gradients", self._row)
        kept = saved.within("saved", self._moment)
        ends = self.epsilon, self.moments.handle, *kept, handle_of(self.activation)
        scratch = *span(workspace), *span(reserve), self.groups
        self.lib.cudnnNormalizationBackward(handle.handle, *self._how(dz), *blend, *data, *rows, *ends, *scratch)

    def forward_workspace_size(
        self, handle: Handle, x: TensorDescriptor, y: TensorDescriptor, z: TensorDescriptor | None = None
    ) -> int:
        """Bytes for forward_training (cudnnGetNormalizationForwardTrainingWorkspaceSize)."""
        how = self._how(z)
        tensors = x.handle, handle_of(z), y.handle, self.parameters.handle, handle_of(self.activation)
        query = self.lib.cudnnGetNormalizationForwardTrainingWorkspaceSize
        return _size(query, handle.handle, *how, *tensors, self.moments.handle, groups=self.groups)

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
        """Bytes for backward (cudnnGetNormalizationBackwardWorkspaceSize)."""
        tensors = x.handle, handle_of(y), dy.handle, handle_of(dz), dx.handle
        ends = self.parameters.handle, handle_of(self.activation), self.moments.handle
        query = self.lib.cudnnGetNormalizationBackwardWorkspaceSize
        return _size(query, handle.handle, *self._how(dz), *tensors, *ends, groups=self.groups)

    def reserve_size(self, handle: Handle, x: TensorDescriptor, *, adds: bool = False) -> int:
        """Bytes kept from forward to backward (cudnnGetNormalizationTrainingReserveSpaceSize).

        `adds` says that there is a z.
        """
        query = self.lib.cudnnGetNormalizationTrainingReserveSpaceSize
        how = self._how(x if adds else None)
        return _size(query, handle.handle, *how, handle_of(self.activation), x.handle, groups=self.groups)

    def _rows(self, scale: Any, bias: Any) -> tuple[int, int, int]:
        """The parameters' descriptor and addresses."""
        return self.parameters.handle, within("scale", scale, self._row), within("bias", bias, self._row)

    def _how(self, other: object) -> tuple[NormMode, NormOps, NormAlgo]:
        if other is not None and self.activation is None:
            raise ValueError("normalisation: cuDNN adds z only before an activation; give `activation`")
        if other is not None:
            ops = NormOps.NORM_ADD_ACTIVATION
        else:
            ops = NormOps.NORM if self.activation is None else NormOps.NORM_ACTIVATION
        return self.mode, ops, self.algorithm

    def __repr__(self) -> str:
        then = f", then {self.activation!r}" if self.activation else ""
        how = f"{self.mode.name}, {self.algorithm.name}, epsilon={self.epsilon:g}"
        return f"Normalization({how}, {self.parameters!r}{then})"


def _size(query: Callable[..., None], *arguments: Any, groups: int) -> int:
    """What a query writes to its last argument but one; the last is the number of groups."""
    return size_of(lambda *all: query(*all, groups), *arguments)
