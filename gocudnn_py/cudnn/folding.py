"""Data gradients of strided convolutions, folded: strides become channels, and faster kernels apply."""

from __future__ import annotations

from dataclasses import dataclass, field

from gocudnn_py._abi.cudnn import TensorFormat
from gocudnn_py.cudnn.convolution import ConvolutionDescriptor
from gocudnn_py.cudnn.filter import FilterDescriptor
from gocudnn_py.cudnn.handle import Handle
from gocudnn_py.cudnn.tensor import TensorDescriptor
from gocudnn_py.cudnn.transform import TransformDescriptor


@dataclass(frozen=True)
class Folded:
    """A data gradient's folded form: fold w, pad dy, run `convolution`'s backward_data into dx, unfold that.

    `w`, `dy` and `dx` describe the folded operands; the four transforms make them and bring dx back.
    """

    w: FilterDescriptor = field(default_factory=FilterDescriptor)
    dy: TensorDescriptor = field(default_factory=TensorDescriptor)
    convolution: ConvolutionDescriptor = field(default_factory=ConvolutionDescriptor)
    dx: TensorDescriptor = field(default_factory=TensorDescriptor)
    fold_w: TransformDescriptor = field(default_factory=TransformDescriptor)
    pad_dy: TransformDescriptor = field(default_factory=TransformDescriptor)
    fold_dx: TransformDescriptor = field(default_factory=TransformDescriptor)
    unfold_dx: TransformDescriptor = field(default_factory=TransformDescriptor)


def fold_backward_data(
    handle: Handle,
    convolution: ConvolutionDescriptor,
    w: FilterDescriptor,
    dy: TensorDescriptor,
    dx: TensorDescriptor,
    format: TensorFormat = TensorFormat.NHWC,
) -> Folded:
    """The folded form of a data gradient (cudnnGetFoldedConvBackwardDataDescriptors); float16 in two dimensions."""
    made = Folded()
    plain = w.handle, dy.handle, convolution.handle, dx.handle
    folded = made.w.handle, made.dy.handle, made.convolution.handle, made.dx.handle
    transforms = (made.fold_w, made.pad_dy, made.fold_dx, made.unfold_dx)
    steps = tuple(transform.handle for transform in transforms)
    handle.lib.cudnnGetFoldedConvBackwardDataDescriptors(handle.handle, *plain, format, *folded, *steps)
    for source, target in ((w, made.w), (dy, made.dy), (dx, made.dx)):
        target.dtype = source.dtype
    for transform in transforms:
        transform.rank = len(dy.get().dims)
    return made
