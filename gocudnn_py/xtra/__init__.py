"""Kernels of our own as functions: the same numbers in other places, activations, resizing, losses, updates, random.

They work on arrays on a GPU, a `DeviceArray` or whatever has `__cuda_array_interface__` (CuPy's, PyTorch's), row-major,
of any size and alignment, on the stream that they are given, and return at once: outputs are written when the stream
comes so far. Each kernel is compiled once for a GPU and a data type. Those with an argument `workspace` allocate it if
none is given, the others nothing, so all can be recorded in a CUDA graph.
"""

from __future__ import annotations

from .activation import (
    leaky_relu,
    leaky_relu_backward,
    prelu,
    prelu_backward,
    slopes_workspace,
    threshold,
    threshold_backward,
)
from .array import DeviceArray, Operand
from .elementwise import add, cast, fill, scale
from .images import normalize_images
from .indexing import one_hot, take_rows
from .joining import concatenate, split
from .losses import softmax_cross_entropy, squared_error
from .movement import (
    copy,
    swap_every_other,
    swap_halves,
    to_nchw,
    to_nhwc,
    transpose,
)
from .random import normal, random_bits, uniform
from .resize import resize, resize_backward
from .tensors import Options, TensorList
from .update import (
    adadelta,
    adagrad,
    adam,
    adamw,
    momentum,
    regularize,
    sgd,
)
from .windows import batch_to_space, space_to_batch, windows_shape

__all__ = [
    "DeviceArray",
    "Operand",
    "Options",
    "TensorList",
    "adadelta",
    "adagrad",
    "adam",
    "adamw",
    "add",
    "batch_to_space",
    "cast",
    "concatenate",
    "copy",
    "fill",
    "leaky_relu",
    "leaky_relu_backward",
    "momentum",
    "normal",
    "normalize_images",
    "one_hot",
    "prelu",
    "prelu_backward",
    "random_bits",
    "regularize",
    "resize",
    "resize_backward",
    "scale",
    "sgd",
    "slopes_workspace",
    "softmax_cross_entropy",
    "space_to_batch",
    "split",
    "squared_error",
    "swap_every_other",
    "swap_halves",
    "take_rows",
    "threshold",
    "threshold_backward",
    "to_nchw",
    "to_nhwc",
    "transpose",
    "uniform",
    "windows_shape",
]
