"""The thesis's modules (appendix B.3): ready-made groups of layers, and a network of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypedDict

from .. import ops
from ..graph import Value
from ..init import Initializer
from ..losses import CrossEntropy, Loss
from .containers import Concat, Sequential
from .layers import Activation, Conv, Extent, TransposedConv
from .module import Module


class BranchGeometry(TypedDict):
    """Geometry of one of several parallel branches."""

    dilation: int
    padding: int


class VanillaModule(Sequential):
    """A convolution and an activation (appendix B.3.1)."""

    def __init__(
        self,
        filters: int,
        kernel: Extent,
        *,
        stride: Extent = 1,
        padding: Extent = 0,
        dilation: Extent = 1,
        activation: str = "leaky_relu",
        initializer: Initializer | None = None,
    ) -> None:
        super().__init__(
            conv=Conv(filters, kernel, stride=stride, padding=padding, dilation=dilation, initializer=initializer),
            activation=Activation(activation),
        )


class NeutralModule(Sequential):
    """Parallel convolutions of stride 1 with growing dilation, joined by channels, then an activation.

    The spatial size stays as it is.
    """

    stride = 1

    def __init__(
        self,
        filters: Sequence[int],
        kernel: int,
        *,
        activation: str = "leaky_relu",
        initializer: Initializer | None = None,
    ) -> None:
        branches = [
            self._branch(count, kernel, initializer, branch_geometry(kernel, self.stride, index))
            for index, count in enumerate(filters)
        ]
        super().__init__(branches=Concat(*branches), activation=Activation(activation))

    def _branch(self, count: int, kernel: int, initializer: Initializer | None, geometry: BranchGeometry) -> Module:
        return Conv(count, kernel, stride=self.stride, initializer=initializer, **geometry)


class CompressionModule(NeutralModule):
    """Parallel convolutions of stride 2: halves an even spatial size."""

    stride = 2


class DecompressionModule(NeutralModule):
    """Parallel transposed convolutions of stride 2: doubles the spatial size."""

    stride = 2

    def _branch(self, count: int, kernel: int, initializer: Initializer | None, geometry: BranchGeometry) -> Module:
        # An odd window lands one short of double.
        return TransposedConv(count, kernel, stride=2, output_padding=kernel % 2, initializer=initializer, **geometry)


class OutputModule(Module):
    """One convolution without activation: the head. (N, C, *S) -> (N, filters, *S'), or (N, filters) when S' is 1."""

    def __init__(
        self,
        filters: int,
        kernel: Extent,
        *,
        stride: Extent = 1,
        padding: Extent = 0,
        dilation: Extent = 1,
        initializer: Initializer | None = None,
    ) -> None:
        self.conv = Conv(filters, kernel, stride=stride, padding=padding, dilation=dilation, initializer=initializer)

    def forward(self, x: Value) -> Value:
        y = self.conv(x)
        return ops.flatten(y) if all(extent == 1 for extent in y.shape[2:]) else y


class ClassifierModule(Module):
    """The loss at the end of a network; while tracing it passes its input through."""

    def __init__(self, loss: Loss | None = None) -> None:
        self.loss = loss or CrossEntropy()

    def forward(self, x: Value) -> Value:
        return x


class SimpleModuleNetwork(Module):
    """Modules in a row, an output and a classifier (appendix B.3.2); itself a Module.

    A Network made of it is compiled with the classifier's loss unless another is given.
    """

    def __init__(self, modules: Sequence[Module], output: Module, classifier: ClassifierModule | None = None) -> None:
        self.body = list(modules)
        self.output = output
        self.classifier = classifier or ClassifierModule()

    @property
    def loss(self) -> Loss:
        """The classifier's loss."""
        return self.classifier.loss

    def children(self) -> Iterator[tuple[str, Module]]:
        for index, module in enumerate(self.body):
            yield f"module{index + 1}", module
        yield "output", self.output
        yield "classifier", self.classifier

    def forward(self, x: Value) -> Value:
        for module in (*self.body, self.output, self.classifier):
            x = module(x)
        return x


def branch_geometry(kernel: int, stride: int, index: int) -> BranchGeometry:
    """Dilation of the index-th parallel branch, and padding such that all branches agree in size.

    Stride 1 keeps the size, stride 2 halves an even one.
    """
    if kernel % 2:
        dilation = index + 1
    else:
        dilation = 2 * index + 1 if stride == 2 else 2 * (index + 1)
    return {"dilation": dilation, "padding": (kernel - 1) * dilation // 2}
