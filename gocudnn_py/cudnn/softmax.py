"""Softmax, which has no descriptor of its own."""

from __future__ import annotations

from gocudnn_py._abi.cudnn import SoftmaxAlgorithm, SoftmaxMode
from gocudnn_py.cudnn.descriptor import Operand, factors
from gocudnn_py.cudnn.handle import Handle


def softmax_forward(
    handle: Handle,
    x: Operand,
    y: Operand,
    *,
    algorithm: SoftmaxAlgorithm = SoftmaxAlgorithm.ACCURATE,
    mode: SoftmaxMode = SoftmaxMode.CHANNEL,
    alpha: float = 1.0,
    beta: float = 0.0,
) -> None:
    """y = alpha softmax(x) + beta y (cudnnSoftmaxForward); LOG gives its logarithm.

    CHANNEL sums over the channels at each position, INSTANCE over all of a sample.
    """
    one, two = factors(y, alpha, beta)
    handle.lib.cudnnSoftmaxForward(handle.handle, algorithm, mode, one, *x.pair, two, *y.pair)


def softmax_backward(
    handle: Handle,
    y: Operand,
    dy: Operand,
    dx: Operand,
    *,
    algorithm: SoftmaxAlgorithm = SoftmaxAlgorithm.ACCURATE,
    mode: SoftmaxMode = SoftmaxMode.CHANNEL,
    alpha: float = 1.0,
    beta: float = 0.0,
) -> None:
    """dx = alpha times the gradient at y = softmax(x), + beta dx (cudnnSoftmaxBackward)."""
    one, two = factors(dx, alpha, beta)
    handle.lib.cudnnSoftmaxBackward(handle.handle, algorithm, mode, one, *y.pair, *dy.pair, two, *dx.pair)
