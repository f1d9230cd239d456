"""The operations, as functions on Values. Each appends one node; each file is one family."""

from __future__ import annotations

from .activation import KINDS, activation, leaky_relu, relu
from .base import Op
from .conv import convolution, transposed_convolution
from .elementwise import add, cast, copy, full, scale
from .linear import fully_connected
from .loss import count_correct, cross_entropy, masked_mean, squared_error
from .norm import batch_norm, batch_norm_inference, running_statistics
from .pool import average_pool, global_average_pool, max_pool
from .random import dropout
from .shape import concat, flatten, pad, reshape, split
from .softmax import log_softmax, softmax

__all__ = [
    "KINDS",
    "Op",
    "activation",
    "add",
    "average_pool",
    "batch_norm",
    "batch_norm_inference",
    "cast",
    "concat",
    "convolution",
    "copy",
    "count_correct",
    "cross_entropy",
    "dropout",
    "flatten",
    "full",
    "fully_connected",
    "global_average_pool",
    "leaky_relu",
    "log_softmax",
    "masked_mean",
    "max_pool",
    "pad",
    "relu",
    "reshape",
    "running_statistics",
    "scale",
    "softmax",
    "split",
    "squared_error",
    "transposed_convolution",
]
