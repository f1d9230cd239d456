"""Builder (thesis, appendix B.2): flags set once, then tensors, weights, layers and modules that agree with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from ..dtypes import DType
from ..init import He, Initializer
from ..types import TensorType
from .layers import Activation, AveragePool, BatchNorm, Conv, Dense, Dropout, Extent, MaxPool, TransposedConv
from .module import Parameter
from .thesis import CompressionModule, DecompressionModule, NeutralModule, OutputModule, VanillaModule


@dataclass
class Builder:
    """The default flags of everything that it makes.

    `pooling` is max, average or average_with_padding; `channels_last` concerns tensors made by `tensor`.
    """

    dtype: DType = DType.float32
    channels_last: bool = False
    bias: bool = True
    groups: int = 1
    activation_kind: str = "leaky_relu"
    pooling_mode: Literal["max", "average", "average_with_padding"] = "max"
    spatial_batch_norm: bool = True
    initializer: Initializer = field(default_factory=He)

    def tensor(self, shape: Sequence[int]) -> TensorType:
        """A tensor type of logical shape (N, C, *S) in the builder's dtype and memory order."""
        axes = tuple(range(len(shape)))
        order = (0, *axes[2:], 1) if self.channels_last and len(axes) > 2 else axes
        return TensorType(tuple(shape), self.dtype, order)

    def weights(self) -> Parameter:
        """A parameter that starts from the builder's initialiser."""
        return Parameter(self.initializer)

    def convolution(self, filters: int, kernel: Extent, **geometry: Any) -> Conv:
        """A convolution layer; geometry is stride, padding, dilation, or any other flag of Conv."""
        return Conv(filters, kernel, **self._convolution_flags() | geometry)

    def transposed_convolution(self, filters: int, kernel: Extent, **geometry: Any) -> TransposedConv:
        """A transposed convolution layer (the thesis's ReverseConvolutionLayer)."""
        return TransposedConv(filters, kernel, **self._convolution_flags() | geometry)

    def fully_connected(self, features: int) -> Dense:
        """A fully connected layer."""
        return Dense(features, bias=self.bias, initializer=self.initializer)

    def activation(self, kind: str | None = None, parameter: float | None = None) -> Activation:
        """An activation layer, of the builder's kind unless another is given."""
        return Activation(kind or self.activation_kind, parameter)

    def pooling(self, window: Extent, *, stride: Extent | None = None, padding: Extent = 0) -> MaxPool | AveragePool:
        """A pooling layer of the builder's mode."""
        if self.pooling_mode == "max":
            return MaxPool(window, stride=stride, padding=padding)
        include = self.pooling_mode == "average_with_padding"
        return AveragePool(window, stride=stride, padding=padding, include_padding=include)

    def batch_norm(self, **settings: Any) -> BatchNorm:
        """A batch normalisation layer, spatial or per activation as the builder says."""
        return BatchNorm(**{"spatial": self.spatial_batch_norm} | settings)

    def dropout(self, rate: float = 0.5) -> Dropout:
        """A dropout layer."""
        return Dropout(rate)

    def vanilla(self, filters: int, kernel: Extent, **geometry: Any) -> VanillaModule:
        """Convolution and activation."""
        return VanillaModule(filters, kernel, **self._module_flags() | geometry)

    def compression(self, filters: Sequence[int], kernel: int) -> CompressionModule:
        """Parallel convolutions of stride 2, joined, and an activation."""
        return CompressionModule(filters, kernel, **self._module_flags())

    def decompression(self, filters: Sequence[int], kernel: int) -> DecompressionModule:
        """Parallel transposed convolutions of stride 2, joined, and an activation."""
        return DecompressionModule(filters, kernel, **self._module_flags())

    def neutral(self, filters: Sequence[int], kernel: int) -> NeutralModule:
        """Parallel convolutions of stride 1, joined, and an activation."""
        return NeutralModule(filters, kernel, **self._module_flags())

    def output(self, filters: int, kernel: Extent, **geometry: Any) -> OutputModule:
        """The head: one convolution without activation."""
        return OutputModule(filters, kernel, **{"initializer": self.initializer} | geometry)

    def _convolution_flags(self) -> dict[str, Any]:
        return {"bias": self.bias, "groups": self.groups, "initializer": self.initializer}

    def _module_flags(self) -> dict[str, Any]:
        return {"activation": self.activation_kind, "initializer": self.initializer}
