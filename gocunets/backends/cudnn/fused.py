"""Ops that only this backend knows: groups of nodes that one kernel of ours does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeVar

from ...dtypes import DType
from ...ops.base import Op
from ...ops.conv import Convolution
from ...types import TensorType

T = TypeVar("T")


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
class FusedBackward(Op):
    """The gradients of a convolution, by one launch.

    Inputs: x, unless only the data's is wanted and there is no activation; dy; w for the data's. Outputs: where there
    are `parts`, sums over so many groups of samples of dw and behind it db, (parts, elements); with `data`, dx times
    activation'(x).
    """

    name: ClassVar[str] = "cuda.convolution_backward"
    geometry: Geometry
    parts: int = 0
    data: bool = False
    kind: str = "identity"
    parameter: float | None = None

    def inputs(self, tensors: Sequence[T]) -> tuple[T | None, T, T | None]:
        """x, dy and w, None for those that it does not take."""
        x = tensors[0] if self.parts or self.kind != "identity" else None
        return x, tensors[0 if x is None else 1], tensors[-1] if self.data else None

    def outputs(self, tensors: Sequence[T]) -> tuple[T | None, T | None]:
        """The partial sums and dx, None for what it does not make."""
        return tensors[0] if self.parts else None, tensors[-1] if self.data else None

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        g, (_, dy, _) = self.geometry, self.inputs(inputs)
        partial = TensorType((self.parts, g.filters * g.taps + g.filters), dy.dtype)
        dx = TensorType((dy.shape[0], g.channels, g.height, g.width), dy.dtype)
        return [partial] * bool(self.parts) + [dx] * self.data


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
