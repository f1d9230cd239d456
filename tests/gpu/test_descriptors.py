"""cuDNN by descriptors on the card, against convnetgo in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gocudnn_py.cuda import DeviceBuffer
from gocudnn_py.cudnn import (
    ActivationDescriptor,
    ActivationMode,
    ConvolutionBwdDataAlgo,
    ConvolutionBwdFilterAlgo,
    ConvolutionDescriptor,
    ConvolutionFwdAlgo,
    DataType,
    FilterDescriptor,
    Handle,
    LrnDescriptor,
    OpTensorDescriptor,
    OpTensorOp,
    PoolingDescriptor,
    PoolingMode,
    ReduceDescriptor,
    ReduceTensorIndices,
    ReduceTensorOp,
    SoftmaxAlgorithm,
    SoftmaxMode,
    TensorFormat,
    softmax_backward,
    softmax_forward,
)
from gocudnn_py.cudnn.algorithms import measure, measure_on, most_algorithms, propose
from gocudnn_py.cudnn.convolution import Direction
from gocudnn_py.cudnn.descriptor import Operand
from gocunets import convnetgo
from tests.gpu.card import Array, Card, numbers

U = 2.0**-24


CONVOLUTIONS: list[tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = [
    ((3, 8, 9, 10), (6, 8, 3, 3), {"padding": (1, 0), "stride": (2, 1), "dilation": (1, 2)}),
    ((3, 8, 9, 10), (6, 4, 3, 3), {"padding": (1, 0), "stride": (2, 1), "dilation": (1, 2), "groups": 2}),
    ((2, 6, 7, 7), (6, 1, 3, 3), {"padding": (1, 1), "groups": 6}),
    ((2, 4, 1, 15), (5, 4, 1, 5), {"padding": (0, 2), "stride": (1, 2)}),
    ((2, 3, 5, 6, 7), (4, 3, 2, 3, 3), {"padding": (1, 1, 0), "stride": (1, 2, 1)}),
]


@pytest.mark.covers(
    "cudnnConvolutionForward",
    "cudnnConvolutionBackwardData",
    "cudnnConvolutionBackwardFilter",
    "cudnnConvolutionBackwardBias",
    "cudnnGetConvolutionForwardWorkspaceSize",
    "cudnnGetConvolutionBackwardDataWorkspaceSize",
    "cudnnGetConvolutionBackwardFilterWorkspaceSize",
)
@pytest.mark.parametrize(("shape", "filters", "window"), CONVOLUTIONS, ids=["2-d", "groups", "depthwise", "1-d", "3-d"])
def test_convolution(
    shape: tuple[int, ...], filters: tuple[int, ...], window: dict[str, Any], card: Card, handle: Handle
) -> None:
    x, w = numbers(*shape), numbers(*filters, seed=1)
    y = convnetgo.convolution_forward(x, w, **window)
    dy = numbers(*y.shape, seed=2)
    conv = ConvolutionDescriptor().set(**window)
    on_x, on_w, on_dy = card.put(x), card.put(w, filter=True), card.put(dy)
    on_y, on_dx, on_dw = card.empty(y.shape), card.empty(x.shape), card.empty(w.shape, filter=True)
    on_db = card.empty((1, filters[0], *(1,) * (len(shape) - 2)))

    def scratch(direction: Direction, *operands: Operand, algorithm: int) -> DeviceBuffer:
        descriptors: Any = [operand.descriptor for operand in operands]
        return card.scratch(conv.workspace_size(handle, direction, *descriptors, algorithm))

    algorithm = ConvolutionFwdAlgo.IMPLICIT_PRECOMP_GEMM if len(shape) == 4 else ConvolutionFwdAlgo.IMPLICIT_GEMM
    room = scratch(Direction.FORWARD, on_x, on_w, on_y, algorithm=algorithm)
    conv.forward(handle, on_x, on_w, on_y, algorithm=algorithm, workspace=room)
    room = scratch(Direction.BACKWARD_DATA, on_w, on_dy, on_dx, algorithm=ConvolutionBwdDataAlgo.ALGO_1)
    conv.backward_data(handle, on_w, on_dy, on_dx, workspace=room)
    room = scratch(Direction.BACKWARD_FILTER, on_x, on_dy, on_dw, algorithm=ConvolutionBwdFilterAlgo.ALGO_1)
    conv.backward_filter(handle, on_x, on_dy, on_dw, workspace=room)
    conv.backward_bias(handle, on_dy, on_db)
    big_x, big_w, big_dy = np.abs(x), np.abs(w), np.abs(dy)
    others = (0, *range(2, len(shape)))
    rights = [
        (on_y, y, convnetgo.convolution_forward(big_x, big_w, **window)),
        (
            on_dx,
            convnetgo.convolution_backward_data(dy, w, x.shape, **window),
            convnetgo.convolution_backward_data(big_dy, big_w, x.shape, **window),
        ),
        (
            on_dw,
            convnetgo.convolution_backward_filter(x, dy, w.shape, **window),
            convnetgo.convolution_backward_filter(big_x, big_dy, w.shape, **window),
        ),
        (on_db, dy.sum(others, keepdims=True).reshape(on_db_shape(dy)), big_dy.sum(others).reshape(on_db_shape(dy))),
    ]
    for operand, right, size_of_terms in rights:
        assert (np.abs(card.get(operand) - right) <= 16 * U * size_of_terms).all()


def on_db_shape(dy: Array) -> tuple[int, ...]:
    return (1, dy.shape[1], *(1,) * (dy.ndim - 2))


@pytest.mark.covers("cudnnConvolutionBiasActivationForward")
@pytest.mark.parametrize("adds", [False, True])
def test_convolution_with_bias_and_activation(adds: bool, card: Card, handle: Handle) -> None:
    x, w, b = numbers(2, 8, 9, 9), numbers(16, 8, 3, 3, seed=1), numbers(1, 16, 1, 1, seed=2)
    window: Any = {"padding": (1, 1)}
    z = numbers(2, 16, 9, 9, seed=3)
    before = 0.5 * convnetgo.convolution_forward(x, w, **window) + b + (0.25 * z if adds else 0)
    conv = ConvolutionDescriptor().set(**window)
    on_x, on_w, on_b, on_y = card.put(x), card.put(w, filter=True), card.put(b), card.empty(z.shape)
    triple: Any = on_x.descriptor, on_w.descriptor, on_y.descriptor
    algorithm = ConvolutionFwdAlgo.IMPLICIT_PRECOMP_GEMM
    room = card.scratch(conv.workspace_size(handle, Direction.FORWARD, *triple, algorithm))
    more: Any = {"z": card.put(z), "z_alpha": 0.25} if adds else {}
    relu = ActivationDescriptor().set(ActivationMode.RELU)
    conv.bias_activation_forward(handle, on_x, on_w, on_b, on_y, relu, workspace=room, alpha=0.5, **more)
    size = convnetgo.convolution_forward(np.abs(x), np.abs(w), **window) + np.abs(b) + np.abs(z)
    assert (np.abs(card.get(on_y) - before.clip(0)) <= 16 * U * size).all()


@pytest.mark.covers("cudnnIm2Col")
def test_windows_as_rows(card: Card, handle: Handle) -> None:
    x = numbers(2, 3, 6, 7)
    conv = ConvolutionDescriptor().set((1, 0), (2, 1))
    w = FilterDescriptor().set(np.float32, (4, 3, 3, 2))
    columns = card.scratch(4 * 2 * 3 * 6 * 18)
    conv.im2col(handle, card.put(x), w, columns)
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (0, 0)))
    views = np.lib.stride_tricks.sliding_window_view(padded, (3, 2), (2, 3))[:, :, ::2]  # n, c, oh, ow, r, s
    right = views.transpose(1, 4, 5, 0, 2, 3).reshape(18, 36)
    np.testing.assert_array_equal(card.read(columns, (18, 36)), right)


@pytest.mark.covers(
    "cudnnGetConvolutionForwardAlgorithmMaxCount",
    "cudnnGetConvolutionForwardAlgorithm_v7",
    "cudnnFindConvolutionForwardAlgorithm",
    "cudnnFindConvolutionForwardAlgorithmEx",
    "cudnnGetConvolutionBackwardDataAlgorithmMaxCount",
    "cudnnGetConvolutionBackwardDataAlgorithm_v7",
    "cudnnFindConvolutionBackwardDataAlgorithm",
    "cudnnFindConvolutionBackwardDataAlgorithmEx",
    "cudnnGetConvolutionBackwardFilterAlgorithmMaxCount",
    "cudnnGetConvolutionBackwardFilterAlgorithm_v7",
    "cudnnFindConvolutionBackwardFilterAlgorithm",
    "cudnnFindConvolutionBackwardFilterAlgorithmEx",
)
def test_every_proposed_algorithm_computes_the_same(card: Card, handle: Handle) -> None:
    x, w = numbers(4, 8, 12, 12), numbers(8, 8, 3, 3, seed=1)
    window: Any = {"padding": (1, 1)}
    y = convnetgo.convolution_forward(x, w, **window)
    dy = numbers(*y.shape, seed=2)
    conv = ConvolutionDescriptor().set(**window)
    on_x, on_w, on_dy = card.put(x), card.put(w, filter=True), card.put(dy)
    on_y, on_dx, on_dw = card.empty(y.shape), card.empty(x.shape), card.empty(w.shape, filter=True)
    problems: list[tuple[Direction, Any, Any, Any, Any]] = [
        (Direction.FORWARD, (on_x, on_w, on_y), conv.forward, y, on_y),
        (
            Direction.BACKWARD_DATA,
            (on_w, on_dy, on_dx),
            conv.backward_data,
            convnetgo.convolution_backward_data(dy, w, x.shape, **window),
            on_dx,
        ),
        (
            Direction.BACKWARD_FILTER,
            (on_x, on_dy, on_dw),
            conv.backward_filter,
            convnetgo.convolution_backward_filter(x, dy, w.shape, **window),
            on_dw,
        ),
    ]
    room = card.scratch(64 * 2**20)
    for direction, operands, run, right, result in problems:
        descriptors = [operand.descriptor for operand in operands]
        proposed = propose(handle, conv, direction, *descriptors)
        measured = measure(handle, conv, direction, *descriptors)
        here = measure_on(handle, conv, direction, *operands, workspace=room)
        assert 1 <= len(proposed) <= most_algorithms(handle, direction)
        assert {each.algorithm for each in measured} >= {each.algorithm for each in here}
        for rows in (measured, here):
            times = [each.milliseconds for each in rows]
            assert times == sorted(times)
            assert min(times) > 0
        for each in {each.algorithm: each for each in proposed}.values():
            assert each.workspace == conv.workspace_size(handle, direction, *descriptors, each.algorithm)
            run(handle, *operands, algorithm=each.algorithm, workspace=card.scratch(each.workspace))
            # Winograd and FFT compute in other terms, whose sums are larger than the result's.
            np.testing.assert_allclose(card.get(result), right, rtol=0, atol=2e-3 * np.abs(right).max())


@pytest.mark.covers("cudnnReorderFilterAndBias")
def test_a_reordered_filter_is_the_same_numbers_elsewhere(card: Card, handle: Handle) -> None:
    rng = np.random.default_rng(0)
    w, b = rng.integers(-128, 128, (64, 32, 3, 3)).astype(np.int8), rng.standard_normal(64).astype(np.float32)
    descriptor = FilterDescriptor().set(DataType.INT8x32, w.shape, TensorFormat.NCHW_VECT_C)
    before, after, bias, bias_after = card.row(w, np.int8), card.scratch(w.nbytes), card.row(b), card.scratch(b.nbytes)
    descriptor.reorder(handle, before, after, bias=(bias, bias_after))
    found, biases = card.read(after, (w.size,), np.int8), card.read(bias_after, (64,))
    assert not np.array_equal(found, w.ravel())
    np.testing.assert_array_equal(np.sort(found), np.sort(w.ravel()))
    np.testing.assert_array_equal(np.sort(biases), np.sort(b))


@pytest.mark.covers("cudnnActivationForward", "cudnnActivationBackward")
@pytest.mark.parametrize(
    ("mode", "name", "parameter"),
    [
        (ActivationMode.RELU, "relu", None),
        (ActivationMode.TANH, "tanh", None),
        (ActivationMode.SIGMOID, "logistic", None),
        (ActivationMode.ELU, "elu", 0.7),
        (ActivationMode.CLIPPED_RELU, "clipped_relu", 0.8),
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


@pytest.mark.covers("cudnnActivationForward", "cudnnActivationBackward")
def test_swish(card: Card, handle: Handle) -> None:
    x, dy, beta = numbers(2, 3, 4, 5), numbers(2, 3, 4, 5, seed=1), 1.7
    gate = 1 / (1 + np.exp(-beta * x))
    act = ActivationDescriptor().set(ActivationMode.SWISH, swish_beta=beta)
    on_x, on_y, on_dy, on_dx = card.put(x), card.empty(x.shape), card.put(dy), card.empty(x.shape)
    act.forward(handle, on_x, on_y)
    act.backward(handle, on_y, on_dy, on_x, on_dx)
    np.testing.assert_allclose(card.get(on_y), x * gate, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(card.get(on_dx), dy * gate * (1 + beta * x * (1 - gate)), rtol=1e-5, atol=1e-6)


@pytest.mark.covers("cudnnPoolingForward", "cudnnPoolingBackward")
@pytest.mark.parametrize("mode", [PoolingMode.MAX, PoolingMode.AVERAGE_COUNT_INCLUDE_PADDING])
def test_pooling_in_three_dimensions(mode: PoolingMode, card: Card, handle: Handle) -> None:
    x = numbers(2, 3, 5, 6, 7)
    pool = PoolingDescriptor().set(mode, (2, 3, 3), (1, 1, 0), (2, 2, 3))
    on_x = card.put(x)
    shape = pool.output_shape(on_x.descriptor)  # type: ignore[arg-type]
    dy = numbers(*shape, seed=1)
    on_y, on_dy, on_dx = card.empty(shape), card.put(dy), card.empty(x.shape)
    pool.forward(handle, on_x, on_y)
    pool.backward(handle, on_y, on_dy, on_x, on_dx)
    window: Any = {"window": (2, 3, 3), "stride": (2, 2, 3), "padding": (1, 1, 0)}
    if mode is PoolingMode.MAX:
        y, indices = convnetgo.max_pool_forward(x, **window)
        dx = convnetgo.max_pool_backward(dy, indices, x.shape)
    else:
        y = convnetgo.average_pool_forward(x, include_padding=True, **window)
        dx = convnetgo.average_pool_backward(dy, x.shape, include_padding=True, **window)
    np.testing.assert_allclose(card.get(on_y), y, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(card.get(on_dx), dx, rtol=1e-5, atol=1e-6)


@pytest.mark.covers("cudnnPoolingForward", "cudnnPoolingBackward")
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


@pytest.mark.covers("cudnnSoftmaxForward", "cudnnSoftmaxBackward")
@pytest.mark.parametrize("mode", list(SoftmaxMode))
@pytest.mark.parametrize("algorithm", list(SoftmaxAlgorithm))
def test_softmax(algorithm: SoftmaxAlgorithm, mode: SoftmaxMode, card: Card, handle: Handle) -> None:
    x, dy = numbers(4, 9, 2, 3), numbers(4, 9, 2, 3, seed=1)
    axes = 1 if mode is SoftmaxMode.CHANNEL else (1, 2, 3)
    on_x, on_y, on_dy, on_dx = card.put(x), card.empty(x.shape), card.put(dy), card.empty(x.shape)
    softmax_forward(handle, on_x, on_y, algorithm=algorithm, mode=mode)
    softmax_backward(handle, on_y, on_dy, on_dx, algorithm=algorithm, mode=mode)
    shifted = np.exp(x - x.max(axis=axes, keepdims=True))
    soft = shifted / shifted.sum(axis=axes, keepdims=True)
    log = algorithm is SoftmaxAlgorithm.LOG
    y = np.log(soft) if log else soft
    dx = dy - soft * dy.sum(axes, keepdims=True) if log else soft * (dy - (dy * soft).sum(axes, keepdims=True))
    np.testing.assert_allclose(card.get(on_y), y, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(card.get(on_dx), dx, rtol=1e-4, atol=1e-6)


@pytest.mark.covers("cudnnOpTensor")
@pytest.mark.parametrize(
    ("op", "right"),
    [
        (OpTensorOp.ADD, lambda a, b: 2 * a + 3 * b),
        (OpTensorOp.MUL, lambda a, b: 6 * a * b),
        (OpTensorOp.MIN, lambda a, b: np.minimum(2 * a, 3 * b)),
        (OpTensorOp.MAX, lambda a, b: np.maximum(2 * a, 3 * b)),
        (OpTensorOp.SQRT, lambda a, b: np.sqrt(2 * a)),
        (OpTensorOp.NOT, lambda a, b: 1 - 2 * a),
    ],
)
def test_elementwise(op: OpTensorOp, right: Any, card: Card, handle: Handle) -> None:
    a, b, c = np.abs(numbers(2, 3, 4, 5)), numbers(1, 3, 1, 1, seed=1), numbers(2, 3, 4, 5, seed=2)
    on_c = card.put(c)
    OpTensorDescriptor().set(op).run(handle, card.put(a), card.put(b), on_c, alpha=(2.0, 3.0), beta=0.5)
    np.testing.assert_allclose(card.get(on_c), right(a, b) + 0.5 * c, rtol=1e-5, atol=1e-5)


REDUCTIONS: dict[ReduceTensorOp, Any] = {
    ReduceTensorOp.ADD: lambda a: a.sum((0, 2, 3)),
    ReduceTensorOp.MUL: lambda a: a.prod((0, 2, 3)),
    ReduceTensorOp.MIN: lambda a: a.min((0, 2, 3)),
    ReduceTensorOp.MAX: lambda a: a.max((0, 2, 3)),
    ReduceTensorOp.AMAX: lambda a: np.abs(a).max((0, 2, 3)),
    ReduceTensorOp.AVG: lambda a: a.mean((0, 2, 3)),
    ReduceTensorOp.NORM1: lambda a: np.abs(a).sum((0, 2, 3)),
    ReduceTensorOp.NORM2: lambda a: np.sqrt(np.square(a).sum((0, 2, 3))),
    ReduceTensorOp.MUL_NO_ZEROS: lambda a: np.where(a == 0, 1, a).prod((0, 2, 3)),
}


@pytest.mark.covers("cudnnReduceTensor", "cudnnGetReductionWorkspaceSize")
@pytest.mark.parametrize("op", list(REDUCTIONS))
def test_reduction(op: ReduceTensorOp, card: Card, handle: Handle) -> None:
    a = numbers(2, 3, 4, 5)
    a[0, 0, 0, 0] = 0.0
    on_a, on_c = card.put(a), card.empty((1, 3, 1, 1))
    reduce = ReduceDescriptor().set(op)
    size = reduce.workspace_size(handle, on_a.descriptor, on_c.descriptor)  # type: ignore[arg-type]
    reduce.run(handle, on_a, on_c, workspace=card.scratch(size))
    np.testing.assert_allclose(card.get(on_c).ravel(), REDUCTIONS[op](a), rtol=1e-4, atol=1e-5)


@pytest.mark.covers("cudnnReduceTensor", "cudnnGetReductionWorkspaceSize", "cudnnGetReductionIndicesSize")
def test_where_the_extreme_values_are(card: Card, handle: Handle) -> None:
    a = numbers(2, 3, 4, 5)
    on_a, on_c = card.put(a), card.empty((1, 3, 1, 1))
    reduce = ReduceDescriptor().set(ReduceTensorOp.MAX, indices=ReduceTensorIndices.FLATTENED_INDICES)
    both: Any = on_a.descriptor, on_c.descriptor
    room, indices = (card.scratch(size(handle, *both)) for size in (reduce.workspace_size, reduce.indices_size))
    reduce.run(handle, on_a, on_c, workspace=room, indices=indices)
    found = indices.download(np.empty(3, np.uint32))
    for channel, place in enumerate(found):  # numbered within what was reduced, the channel left out
        assert a.transpose(1, 0, 2, 3).reshape(3, 40)[channel, place] == a[:, channel].max()


@pytest.mark.covers("cudnnLRNCrossChannelForward", "cudnnLRNCrossChannelBackward")
def test_local_response_normalisation(card: Card, handle: Handle) -> None:
    x, dy = numbers(2, 7, 3, 3), numbers(2, 7, 3, 3, seed=1)
    on_x, on_y, on_dx = card.put(x), card.empty(x.shape), card.empty(x.shape)
    lrn = LrnDescriptor().set(window=5, alpha=0.2, beta=0.75, k=2.0)
    lrn.forward(handle, on_x, on_y)
    lrn.backward(handle, on_y, card.put(dy), on_x, on_dx)

    def over_window(values: Array) -> Array:
        return np.stack([values[:, max(0, c - 2) : c + 3].sum(axis=1) for c in range(7)], axis=1)

    base = 2.0 + 0.2 / 5 * over_window(np.square(x))
    dx = dy * base**-0.75 - 2 * 0.2 / 5 * 0.75 * x * over_window(dy * x * base**-1.75)
    np.testing.assert_allclose(card.get(on_y), x * base**-0.75, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(card.get(on_dx), dx, rtol=1e-4, atol=1e-5)
