"""Our small-channel kernels on a card, against convnetgo in float64 within the one error bound."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from gocunets import Graph, convnetgo
from gocunets.backends.numpy import NumpyBackend
from gocunets.graph import Node
from gocunets.ops.data import GatherBatch
from gocunets.state import STEP_STATE, initial_step_state
from gocunets.types import TensorType

if TYPE_CHECKING:
    from gocunets.backends.cudnn import CudaBackend
    from gocunets.backends.cudnn.fused import Geometry

THESIS = [
    (1, 28, 28, 20, (4, 4), (2, 2), (6, 6), (3, 3)),
    (20, 16, 16, 20, (4, 4), (2, 2), (4, 4), (3, 3)),
    (20, 8, 8, 20, (4, 4), (2, 2), (4, 4), (3, 3)),
    (20, 4, 4, 10, (4, 4), (1, 1), (0, 0), (1, 1)),
]
OTHERS = [
    (3, 9, 7, 5, (3, 2), (1, 2), (1, 0), (1, 1)),
    (4, 12, 12, 8, (3, 3), (1, 1), (1, 1), (1, 1)),
    (2, 11, 13, 6, (5, 3), (3, 2), (2, 1), (1, 2)),
    (7, 5, 5, 3, (1, 1), (1, 1), (0, 0), (1, 1)),
    (6, 6, 6, 7, (6, 6), (1, 1), (0, 0), (1, 1)),
]
KINDS = [("identity", None), ("leaky_relu", 0.01), ("tanh", None)]


def _geometry(row: tuple[Any, ...]) -> Geometry:
    from gocunets.backends.cudnn.fused import Geometry

    return Geometry(*row)


def _run(backend: CudaBackend, op: Any, *inputs: np.ndarray) -> list[np.ndarray]:
    graph = Graph()
    values = [graph.input(f"i{n}", array.shape, str(array.dtype)) for n, array in enumerate(inputs)]
    node = Node(op, tuple(values), graph.add(op, *values), "", "forward")
    types = [value.type for value in (*node.inputs, *node.outputs)]
    tensors = [backend.view(backend.allocate(type.nbytes), 0, type) for type in types]
    for tensor, array in zip(tensors, inputs, strict=False):
        backend.upload(array, tensor)
    step = backend.lower(node, tensors[: len(inputs)], tensors[len(inputs) :])
    step()
    step()  # nothing may depend on what the outputs held
    return [backend.download(tensor) for tensor in tensors[len(inputs) :]]


def _assert_close(actual: np.ndarray, expected: np.ndarray, magnitude: np.ndarray, terms: int) -> None:
    # Twice the usual factor: each result is one chain of multiply-adds, not a tree.
    factor = 8 if terms <= 64 else terms**0.5
    worst = np.abs(actual - expected) / (2**-24 * magnitude + 1e-30)
    assert worst.max() <= factor


def _arrays(row: tuple[Any, ...], images: int) -> tuple[np.ndarray, ...]:
    geometry = _geometry(row)
    random = np.random.default_rng(images)
    x = random.standard_normal((images, row[0], row[1], row[2]), np.float32)
    w = random.standard_normal((row[3], row[0], *row[4]), np.float32)
    b = random.standard_normal(row[3], np.float32)
    dy = random.standard_normal((images, row[3], *geometry.output), np.float32)
    return x, w, b, dy


def _settings(row: tuple[Any, ...]) -> dict[str, Any]:
    return {"stride": row[5], "padding": row[6], "dilation": row[7]}


@pytest.mark.parametrize("images", [1, 10, 200])
@pytest.mark.parametrize(("kind", "parameter"), KINDS)
@pytest.mark.parametrize("row", THESIS + OTHERS, ids=str)
def test_forward(backend: CudaBackend, row: tuple[Any, ...], kind: str, parameter: float | None, images: int) -> None:
    from gocunets.backends.cudnn.fused import FusedConvolution

    x, w, b, _ = _arrays(row, images)
    (y,) = _run(backend, FusedConvolution(_geometry(row), kind, parameter), x, w, b)
    wide = [array.astype(np.float64) for array in (x, w, b)]
    expected = convnetgo.convolution_forward(*wide, **_settings(row))
    magnitude = convnetgo.convolution_forward(*map(np.abs, wide), **_settings(row))
    if kind != "identity":
        expected = getattr(convnetgo, kind)(expected, *([] if parameter is None else [parameter]))
        magnitude = np.maximum(magnitude, 1)
    _assert_close(y, expected, magnitude, w[0].size)


@pytest.mark.parametrize("images", [1, 10, 200])
@pytest.mark.parametrize(("kind", "parameter"), KINDS)
@pytest.mark.parametrize("row", THESIS + OTHERS, ids=str)
def test_backward_data(
    backend: CudaBackend, row: tuple[Any, ...], kind: str, parameter: float | None, images: int
) -> None:
    from gocunets.backends.cudnn.fused import FusedBackward

    x, w, _, dy = _arrays(row, images)
    inputs = (dy, w) if kind == "identity" else (np.tanh(x), dy, w)
    op = FusedBackward(_geometry(row), data=True, kind=kind, parameter=parameter)
    (dx,) = _run(backend, op, *inputs)
    wide = [array.astype(np.float64) for array in (dy, w)]
    expected = convnetgo.convolution_backward_data(*wide, x.shape, **_settings(row))
    magnitude = convnetgo.convolution_backward_data(*map(np.abs, wide), x.shape, **_settings(row))
    if kind != "identity":
        y = np.tanh(x).astype(np.float64)
        backward = getattr(convnetgo, f"{kind}_backward")
        expected = backward(y, expected, *([] if parameter is None else [parameter]))
    _assert_close(dx, expected, magnitude, row[3] * row[4][0] * row[4][1])


@pytest.mark.parametrize(("images", "parts"), [(1, 1), (10, 10), (200, 100), (37, 16), (5, 2)])
@pytest.mark.parametrize("row", THESIS + OTHERS, ids=str)
def test_backward_filter(backend: CudaBackend, row: tuple[Any, ...], images: int, parts: int) -> None:
    from gocunets.backends.cudnn.fused import FusedBackward

    x, w, _, dy = _arrays(row, images)
    (partial,) = _run(backend, FusedBackward(_geometry(row), parts), x, dy)
    total = partial.astype(np.float64).sum(axis=0)
    wide = [array.astype(np.float64) for array in (x, dy)]
    expected = convnetgo.convolution_backward_filter(*wide, w.shape, **_settings(row))
    magnitude = convnetgo.convolution_backward_filter(*map(np.abs, wide), w.shape, **_settings(row))
    terms = dy[:, 0].size
    _assert_close(total[: w.size].reshape(w.shape), expected, magnitude, terms)
    _assert_close(total[w.size :], wide[1].sum(axis=(0, 2, 3)), np.abs(wide[1]).sum(axis=(0, 2, 3)), terms)


@pytest.mark.parametrize("row", THESIS + OTHERS, ids=str)
def test_both_gradients_by_one_launch(backend: CudaBackend, row: tuple[Any, ...]) -> None:
    from gocunets.backends.cudnn.fused import FusedBackward

    x, w, _, dy = _arrays(row, 10)
    geometry = _geometry(row)
    partial, dx = _run(backend, FusedBackward(geometry, 5, True, "tanh"), np.tanh(x), dy, w)
    (partial_alone,) = _run(backend, FusedBackward(geometry, 5), np.tanh(x), dy)
    (dx_alone,) = _run(backend, FusedBackward(geometry, data=True, kind="tanh"), np.tanh(x), dy, w)
    assert (partial == partial_alone).all()
    assert (dx == dx_alone).all()


@pytest.mark.parametrize("row", THESIS, ids=str)
def test_repeats_agree_bit_for_bit(backend: CudaBackend, row: tuple[Any, ...]) -> None:
    from gocunets.backends.cudnn.fused import FusedBackward

    x, w, _, dy = _arrays(row, 50)
    results = [_run(backend, FusedBackward(_geometry(row), 50, True), x, dy, w) for _ in range(5)]
    assert all((made == first).all() for result in results for made, first in zip(result, results[0], strict=True))


@pytest.mark.parametrize(("samples", "valid"), [(1, 1), (10, 10), (200, 200), (300, 257)])
@pytest.mark.parametrize("classes", [2, 10, 33])
def test_softmax_loss(backend: CudaBackend, samples: int, valid: int, classes: int) -> None:
    from gocunets.backends.cudnn.fused import SoftmaxLoss

    random = np.random.default_rng(samples)
    logits = 3 * random.standard_normal((samples, classes), np.float32)
    labels = random.integers(0, classes, samples)
    state = initial_step_state()
    state["batch_size"] = valid
    loss, correct, dlogits = _run(backend, SoftmaxLoss(), logits, labels, state.view(np.uint8))
    losses, probabilities = convnetgo.cross_entropy(logits.astype(np.float64), labels)
    share = np.where(np.arange(samples) < valid, 1 / valid, 0)
    expected = convnetgo.cross_entropy_backward(probabilities, labels, share)
    assert abs(loss - losses[:valid].mean()) < 1e-6 * max(1, losses.max())
    assert correct == (logits.argmax(axis=1) == labels)[:valid].sum()
    assert np.abs(dlogits - expected).max() < 4e-6 / valid


@pytest.mark.parametrize("bad", [None, "loss", "gradient", "complete"])
def test_finish_gradients(backend: CudaBackend, bad: str | None) -> None:
    from gocunets.backends.cudnn.fused import FinishGradients, GradientPart

    random = np.random.default_rng(0)
    partial = random.standard_normal((7, 530), np.float32)
    complete = random.standard_normal(300, np.float32)
    loss = np.array(np.nan if bad == "loss" else 1.0, np.float32)
    if bad == "gradient":
        partial[3, 520] = np.inf
    if bad == "complete":
        complete[299] = np.nan
    state = initial_step_state()
    state["step"] = 5
    op = FinishGradients(1, (GradientPart(0, 0, (20, 26)), GradientPart(0, 520, (10,))))
    types = [TensorType((STEP_STATE.itemsize,), "uint8"), TensorType((), "float32"), TensorType((7, 530), "float32")]
    types += [TensorType((300,), "float32"), TensorType((20, 26), "float32"), TensorType((10,), "float32")]
    tensors = [backend.view(backend.allocate(type.nbytes), 0, type) for type in types]
    for tensor, array in zip(tensors, (state.view(np.uint8), loss, partial, complete), strict=False):
        backend.upload(array, tensor)
    node = Node(op, (), (), "", "backward")
    backend.lower(node, tensors[:4], [tensors[0], *tensors[4:]])()
    after = backend.download(tensors[0]).view(STEP_STATE)[0]
    assert (after["nonfinite"], after["first_bad_step"]) == ((0, -1) if bad is None else (1, 5))
    if bad is None:
        assert np.allclose(backend.download(tensors[4]).ravel(), partial[:, :520].sum(axis=0), atol=1e-5)
        assert np.allclose(backend.download(tensors[5]), partial[:, 520:].sum(axis=0), atol=1e-5)


@pytest.mark.parametrize(("size", "cursor", "epoch"), [(60_000, 0, 0), (60_000, 59_990, 3), (1437, 50, 1), (7, 3, 2)])
def test_gather_is_bit_equal_to_the_cpu(backend: CudaBackend, size: int, cursor: int, epoch: int) -> None:
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (size, 1, 5, 6), dtype=np.uint8)
    targets = random.integers(0, 10, size)
    state = initial_step_state(2**40 + 5)
    state["cursor"], state["epoch"] = cursor, epoch
    op = GatherBatch(50, 1 / 255, 0.1306604762738429, "float32")
    x, target = _run(backend, op, state.view(np.uint8), images, targets)
    reference = NumpyBackend()
    cpu = [np.empty_like(x), np.empty_like(target)]
    reference.lower(Node(op, (), (), "", "forward"), [state.view(np.uint8), images, targets], cpu)()
    assert (x == cpu[0]).all()
    assert (target == cpu[1]).all()
