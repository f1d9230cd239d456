"""Every operation of a convolutional network in NumPy: short, pure, obviously right.

Arrays are float32 or float64, all of one dtype in a call, with any strides; results have that dtype, and
inputs are never modified. Spatial operations take (N, C, *spatial) with filters (K, C/groups, *kernel), or
with ``channels_last`` (N, *spatial, C) and (K, *kernel, C/groups), for 1, 2 or 3 spatial axes; stride,
padding and dilation are one int, or one for each spatial axis. The memory order of results is unspecified.
"Thesis" is D. Stinson, "Deep Learning with Go", 2020.
"""

from .activation import (
    clipped_relu,
    clipped_relu_backward,
    elu,
    elu_backward,
    leaky_relu,
    leaky_relu_backward,
    logistic,
    logistic_backward,
    relu,
    relu_backward,
    tanh,
    tanh_backward,
)
from .batch_norm import batch_norm_backward, batch_norm_forward, batch_norm_inference, running_average
from .convolution import (
    convolution_backward_bias,
    convolution_backward_data,
    convolution_backward_filter,
    convolution_forward,
    convolution_output_shape,
)
from .dropout import dropout_backward, dropout_forward
from .fully_connected import (
    fully_connected_backward_bias,
    fully_connected_backward_data,
    fully_connected_backward_filter,
    fully_connected_forward,
)
from .losses import cross_entropy, cross_entropy_backward, squared_error, squared_error_backward
from .optimizers import adadelta, adagrad, adam, momentum, next_loss_scale, penalty, regularize, sgd
from .philox import normal, permutation, permuted_index, philox4x32, random_bits, uniform
from .pooling import (
    average_pool_backward,
    average_pool_forward,
    max_pool_backward,
    max_pool_forward,
    pool_output_shape,
)
from .softmax import log_softmax, log_softmax_backward, softmax, softmax_backward
from .transposed import (
    transposed_convolution_backward_data,
    transposed_convolution_backward_filter,
    transposed_convolution_forward,
    transposed_convolution_output_shape,
)

__all__ = [
    "adadelta",
    "adagrad",
    "adam",
    "average_pool_backward",
    "average_pool_forward",
    "batch_norm_backward",
    "batch_norm_forward",
    "batch_norm_inference",
    "clipped_relu",
    "clipped_relu_backward",
    "convolution_backward_bias",
    "convolution_backward_data",
    "convolution_backward_filter",
    "convolution_forward",
    "convolution_output_shape",
    "cross_entropy",
    "cross_entropy_backward",
    "dropout_backward",
    "dropout_forward",
    "elu",
    "elu_backward",
    "fully_connected_backward_bias",
    "fully_connected_backward_data",
    "fully_connected_backward_filter",
    "fully_connected_forward",
    "leaky_relu",
    "leaky_relu_backward",
    "log_softmax",
    "log_softmax_backward",
    "logistic",
    "logistic_backward",
    "max_pool_backward",
    "max_pool_forward",
    "momentum",
    "next_loss_scale",
    "normal",
    "penalty",
    "permutation",
    "permuted_index",
    "philox4x32",
    "pool_output_shape",
    "random_bits",
    "regularize",
    "relu",
    "relu_backward",
    "running_average",
    "sgd",
    "softmax",
    "softmax_backward",
    "squared_error",
    "squared_error_backward",
    "tanh",
    "tanh_backward",
    "transposed_convolution_backward_data",
    "transposed_convolution_backward_filter",
    "transposed_convolution_forward",
    "transposed_convolution_output_shape",
    "uniform",
]
