"""Ops that only this backend knows: groups of nodes that one kernel of ours does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from ...dtypes import DType
from ...ops.base import Op
from ...ops.conv import Convolution
from ...types import TensorType


@dataclass(frozen=True)
class Geometry:
    """A two-dimensional convolution of one group: shapes of one sample and of the filters."""

    channels: int
    height: int
    width: int
    filters: int
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]

    @property
    def output(self) -> tuple[int, int]:
        """Height and width of the output."""
        axes = zip((self.height, self.width), self.kernel, self.stride, self.padding, self.dilation, strict=True)
        h, w = ((x + 2 * p - (k - 1) * d - 1) // s + 1 for x, k, s, p, d in axes)
        return h, w

    @property
    def taps(self) -> int:
        """Products a result is the sum of."""
        return self.channels * self.kernel[0] * self.kernel[1]

    @property
    def whole(self) -> bool:
        """Whether the filter covers the input exactly once: a fully connected layer."""
        return self.kernel == (self.height, self.width) and self.padding == (0, 0) and self.output == (1, 1)


@dataclass(frozen=True)
class FusedConvolution(Op):
    """y = activation(w * x + b): inputs x, w and b if there is one."""

    name: ClassVar[str] = "cuda.convolution"
    geometry: Geometry
    kind: str = "identity"
    parameter: float | None = None

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        x = inputs[0]
        return (TensorType((x.shape[0], self.geometry.filters, *self.geometry.output), x.dtype),)


@dataclass(frozen=True)
class ActivatedConvolution(Op):
    """A large convolution with its bias, if it has one, and the activation of its result."""

    name: ClassVar[str] = "cuda.activated_convolution"
    convolution: Convolution
    kind: str
    parameter: float | None = None

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        return self.convolution.infer(*inputs)

    def flops(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        return self.convolution.flops(inputs, outputs) + outputs[0].size


@dataclass(frozen=True)
class FusedBackwardData(Op):
    """dx of a convolution times activation'(x): inputs dy, w, and x where there is an activation."""

    name: ClassVar[str] = "cuda.convolution_backward_data"
    geometry: Geometry
    kind: str = "identity"
    parameter: float | None = None

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        g = self.geometry
        return (TensorType((inputs[0].shape[0], g.channels, g.height, g.width), inputs[0].dtype),)


@dataclass(frozen=True)
class PartialFilterGradient(Op):
    """Sums over `parts` groups of samples of dw and behind it db: inputs x and dy, output (parts, elements)."""

    name: ClassVar[str] = "cuda.partial_filter_gradient"
    beside: ClassVar[bool] = True
    geometry: Geometry
    parts: int

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        filters = self.geometry.filters
        return (TensorType((self.parts, filters * self.geometry.taps + filters), inputs[0].dtype),)


@dataclass(frozen=True)
class GradientPart:
    """Where a gradient's sums lie: `offset` elements into each row of source number `source`."""

    source: int
    offset: int
    shape: tuple[int, ...]


@dataclass(frozen=True)
class FinishGradients(Op):
    """The gradients from their partial sums, and the step state with its flag set if one is not finite.

    Inputs: step state, loss, sources of partial sums (parts, elements), and complete gradients, which are
    only looked at. Outputs: step state, the gradients that were summed.
    """

    name: ClassVar[str] = "cuda.finish_gradients"
    sources: int
    gradients: tuple[GradientPart, ...]

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        return (inputs[0], *(TensorType(gradient.shape, DType.float32) for gradient in self.gradients))

    def aliases(self) -> dict[int, int]:
        return {0: 0}


@dataclass(frozen=True)
class SoftmaxLoss(Op):
    """Cross-entropy whole: inputs logits, labels, step state; outputs mean loss, right answers, dlogits.

    `scaled`: dlogits times the loss scale.
    """

    name: ClassVar[str] = "cuda.softmax_loss"
    scaled: bool = False

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        return TensorType((), DType.float32), TensorType((), DType.int64), inputs[0]
