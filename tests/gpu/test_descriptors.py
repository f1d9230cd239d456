"""cuDNN by descriptors on the card, against convnetgo in float64."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from gocudnn_py.cuda import DeviceBuffer
from gocudnn_py.cudnn import (
    ActivationDescriptor,
    ActivationMode,
    ConvolutionBwdDataAlgo,
    ConvolutionBwdFilterAlgo,
    ConvolutionDescriptor,
    FilterDescriptor,
    Handle,
    LrnDescriptor,
    OpTensorDescriptor,
    OpTensorOp,
    PoolingDescriptor,
    PoolingMode,
    ReduceDescriptor,
    ReduceTensorOp,
    SoftmaxAlgorithm,
    TensorDescriptor,
    softmax_backward,
    softmax_forward,
)
from gocudnn_py.cudnn.descriptor import Operand
from gocunets import convnetgo

if TYPE_CHECKING:
    from gocunets.backends.cudnn import CudaBackend

Array = np.ndarray[Any, Any]
U = 2.0**-24


@pytest.fixture(scope="module")
def handle(backend: CudaBackend) -> Handle:
    return Handle(backend.device.ordinal, backend.stream)


class Card:
    """Arrays on the card with their descriptors."""

    def __init__(self, backend: CudaBackend) -> None:
        self.stream = backend.stream

    def put(self, array: Array, filter: bool = False) -> Operand:
        array = np.ascontiguousarray(array, np.float32)
        buffer = DeviceBuffer(self.stream, array.nbytes)
        buffer.upload(array)
        made: Any = FilterDescriptor() if filter else TensorDescriptor()
        operand: Operand = made.set(np.float32, array.shape).at(buffer)
        return operand

    def empty(self, shape: tuple[int, ...], filter: bool = False) -> Operand:
        return self.put(np.full(shape, np.nan), filter)

    def get(self, operand: Operand) -> Array:
        shape = operand.descriptor.get().dims  # type: ignore[attr-defined]
        found: Array = operand.place.download(np.empty(shape, np.float32)).astype(np.float64)
        return found


@pytest.fixture(scope="module")
def card(backend: CudaBackend) -> Card:
    return Card(backend)


def numbers(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32).astype(np.float64)


@pytest.mark.parametrize("groups", [1, 2])
def test_convolution(groups: int, card: Card, handle: Handle) -> None:
    x, w = numbers(3, 8, 9, 10), numbers(6, 8 // groups, 3, 3, seed=1)
    window: Any = {"padding": (1, 0), "stride": (2, 1), "dilation": (1, 2), "groups": groups}
    y = convnetgo.convolution_forward(x, w, **window)
    dy = numbers(*y.shape, seed=2)
    conv = ConvolutionDescriptor().set(**window)
    on_x, on_w, on_dy = card.put(x), card.put(w, filter=True), card.put(dy)
    on_y, on_dx, on_dw = card.empty(y.shape), card.empty(x.shape), card.empty(w.shape, filter=True)
    on_db = card.empty((1, 6, 1, 1))
    conv.forward(handle, on_x, on_w, on_y)
    triple = on_w.descriptor, on_dy.descriptor, on_dx.descriptor
    size = conv.workspace_size(handle, "BackwardData", *triple, ConvolutionBwdDataAlgo.ALGO_1)  # type: ignore[arg-type]
    conv.backward_data(handle, on_w, on_dy, on_dx, workspace=DeviceBuffer(card.stream, size))
    triple = on_x.descriptor, on_dy.descriptor, on_dw.descriptor
    size = conv.workspace_size(handle, "BackwardFilter", *triple, ConvolutionBwdFilterAlgo.ALGO_1)  # type: ignore[arg-type]
    conv.backward_filter(handle, on_x, on_dy, on_dw, workspace=DeviceBuffer(card.stream, size))
    conv.backward_bias(handle, on_dy, on_db)
    absolute = [np.abs(array) for array in (x, w, dy)]
    rights = [
        (on_y, y, convnetgo.convolution_forward(*absolute[:2], **window)),
        (
            on_dx,
            convnetgo.convolution_backward_data(dy, w, x.shape, **window),
            convnetgo.convolution_backward_data(absolute[2], absolute[1], x.shape, **window),
        ),
        (
            on_dw,
            convnetgo.convolution_backward_filter(x, dy, w.shape, **window),
            convnetgo.convolution_backward_filter(absolute[0], absolute[2], w.shape, **window),
        ),
        (on_db, dy.sum(axis=(0, 2, 3)).reshape(1, 6, 1, 1), absolute[2].sum(axis=(0, 2, 3)).reshape(1, 6, 1, 1)),
    ]
    for operand, right, size_of_terms in rights:
        assert (np.abs(card.get(operand) - right) <= 16 * U * size_of_terms).all()


@pytest.mark.parametrize(
    ("mode", "name", "parameter"),
    [
        (ActivationMode.RELU, "relu", None),
        (ActivationMode.TANH, "tanh", None),
        (ActivationMode.SIGMOID, "logistic", None),
        (ActivationMode.ELU, "elu", 0.7),
    ],
)
def test_activation(mode: ActivationMode, name: str, parameter: float | None, card: Card, handle: Handle) -> None:
    x, dy = numbers(2, 3, 4, 5), numbers(2, 3, 4, 5, seed=1)
    more = () if parameter is None else (parameter,)
    y = getattr(convnetgo, name)(x, *more)
    act = ActivationDescriptor().set(mode, parameter or 0.0)
    on_x, on_y, on_dy, on_dx = card.put(x), card.empty(x.shape), card.put(dy), card.empty(x.shape)
    act.forward(handle, on_x, on_y)
    act.backward(handle, on_y, on_dy, on_x, on_dx)
    np.testing.assert_allclose(card.get(on_y), y, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        card.get(on_dx), getattr(convnetgo, f"{name}_backward")(y, dy, *more), rtol=1e-5, atol=1e-6
    )


def test_pooling(card: Card, handle: Handle) -> None:
    x = numbers(2, 3, 7, 8)
    for mode in (PoolingMode.MAX_DETERMINISTIC, PoolingMode.AVERAGE_COUNT_EXCLUDE_PADDING):
        pool = PoolingDescriptor().set(mode, (3, 2), (1, 0), (2, 2))
        on_x = card.put(x)
        shape = pool.output_shape(on_x.descriptor)  # type: ignore[arg-type]
        dy = numbers(*shape, seed=1)
        on_y, on_dy, on_dx = card.empty(shape), card.put(dy), card.empty(x.shape)
        pool.forward(handle, on_x, on_y)
        pool.backward(handle, on_y, on_dy, on_x, on_dx)
        window: Any = {"window": (3, 2), "stride": (2, 2), "padding": (1, 0)}
        if mode is PoolingMode.MAX_DETERMINISTIC:
            y, indices = convnetgo.max_pool_forward(x, **window)
            dx = convnetgo.max_pool_backward(dy, indices, x.shape)
        else:
            y = convnetgo.average_pool_forward(x, **window)
            dx = convnetgo.average_pool_backward(dy, x.shape, **window)
        np.testing.assert_allclose(card.get(on_y), y, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(card.get(on_dx), dx, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("log", [False, True])
def test_softmax(log: bool, card: Card, handle: Handle) -> None:
    x, dy = numbers(4, 9, 1, 1), numbers(4, 9, 1, 1, seed=1)
    algorithm = SoftmaxAlgorithm.LOG if log else SoftmaxAlgorithm.ACCURATE
    on_x, on_y, on_dy, on_dx = card.put(x), card.empty(x.shape), card.put(dy), card.empty(x.shape)
    softmax_forward(handle, on_x, on_y, algorithm=algorithm)
    softmax_backward(handle, on_y, on_dy, on_dx, algorithm=algorithm)
    shifted = np.exp(x - x.max(axis=1, keepdims=True))
    soft = shifted / shifted.sum(axis=1, keepdims=True)
    y = np.log(soft) if log else soft
    dx = dy - soft * dy.sum(axis=1, keepdims=True) if log else soft * (dy - (dy * soft).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(card.get(on_y), y, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(card.get(on_dx), dx, rtol=1e-4, atol=1e-6)


def test_elementwise_and_reduction(card: Card, handle: Handle) -> None:
    a, b = numbers(2, 3, 4, 5), numbers(1, 3, 1, 1, seed=1)
    on_a, on_b, on_c = card.put(a), card.put(b), card.empty(a.shape)
    OpTensorDescriptor().set(OpTensorOp.MUL).run(handle, on_a, on_b, on_c, alpha=(2.0, 3.0))
    np.testing.assert_allclose(card.get(on_c), 6 * a * b, rtol=1e-5, atol=1e-6)
    total = card.empty((1, 3, 1, 1))
    reduce = ReduceDescriptor().set(ReduceTensorOp.ADD)
    size = reduce.workspace_size(handle, on_a.descriptor, total.descriptor)  # type: ignore[arg-type]
    reduce.run(handle, on_a, total, workspace=DeviceBuffer(card.stream, size))
    np.testing.assert_allclose(card.get(total), a.sum(axis=(0, 2, 3), keepdims=True), rtol=1e-4, atol=1e-5)


def test_local_response_normalisation(card: Card, handle: Handle) -> None:
    x = numbers(2, 7, 3, 3)
    on_x, on_y = card.put(x), card.empty(x.shape)
    LrnDescriptor().set(window=5, alpha=0.2, beta=0.75, k=2.0).forward(handle, on_x, on_y)
    sums = np.stack([np.square(x[:, max(0, c - 2) : c + 3]).sum(axis=1) for c in range(7)], axis=1)
    np.testing.assert_allclose(card.get(on_y), x * (2.0 + 0.2 / 5 * sums) ** -0.75, rtol=1e-5, atol=1e-6)
