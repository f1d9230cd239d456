"""The RNN oracle itself: single cells by hand, and every gradient against differences of the forward pass."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from tests.oracles.rnn import Array, Cell, Network, backward, forward, named, random_cells, step

NETWORKS = [
    *(Network(mode, 3, 4) for mode in ("relu", "tanh", "lstm", "gru")),
    *(Network(mode, 3, 2, layers=2, bidirectional=True) for mode in ("relu", "tanh", "lstm", "gru")),
    Network("lstm", 3, 4, layers=2, projection=2),
    Network("lstm", 3, 4, layers=2, bidirectional=True, projection=3),
    Network("lstm", 3, 4, clip=(-0.05, 0.1)),
    Network("gru", 3, 3, layers=2, skip=True, bias="input"),
    Network("gru", 3, 3, bias="recurrent"),
    Network("tanh", 3, 3, bias="none"),
]
LENGTHS = (2, 4, 3)
STEP = 1e-5


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def test_a_step_of_an_lstm_by_hand() -> None:
    a, b = np.array([[0.1, -0.2, 0.3, 0.4]]), np.array([[0.5, 0.1, -0.7, 0.2]])
    h, c = step(Network("lstm", 1, 1), a, b, np.array([[9.0]]), np.array([[0.8]]))
    expected = sigmoid(-0.1) * 0.8 + sigmoid(0.6) * math.tanh(-0.4)
    np.testing.assert_allclose([h.item(), c.item()], [sigmoid(0.6) * math.tanh(expected), expected], rtol=1e-14)


def test_a_step_of_a_gru_by_hand() -> None:
    a, b = np.array([[0.1, -0.2, 0.3]]), np.array([[0.5, 0.1, -0.7]])
    h, _ = step(Network("gru", 1, 1), a, b, np.array([[0.8]]), np.array([[9.0]]))
    new = math.tanh(0.3 + sigmoid(0.6) * -0.7)
    np.testing.assert_allclose(h.item(), (1 - sigmoid(-0.1)) * new + sigmoid(-0.1) * 0.8, rtol=1e-14)


def test_reverse_begins_at_the_last_step_of_each_sequence() -> None:
    net, random = Network("tanh", 1, 1, bidirectional=True), np.random.default_rng(5)
    cells = random_cells(net, random)
    x, states = random.standard_normal((4, 2, 1)), random.standard_normal((2, 2, 1))
    y, hy, _, _ = forward(net, cells, x, (2, 4), states, states)
    w, r, b = (array.item() for array in (cells[1].w, cells[1].r, cells[1].bw + cells[1].br))
    last = math.tanh(w * x[1, 0, 0] + r * states[1, 0, 0] + b)
    first = math.tanh(w * x[0, 0, 0] + r * last + b)
    np.testing.assert_allclose([y[1, 0, 1], y[0, 0, 1], hy[1, 0, 0]], [last, first, first], rtol=1e-14)
    assert not y[2:, 0].any()


def difference(loss: Callable[[], float], array: Array) -> Array:
    """The gradient of a loss by central differences of each element of an array, changed in place."""
    found = np.zeros_like(array)
    for index in np.ndindex(array.shape):
        kept = array[index]
        array[index] = kept + STEP
        above = loss()
        array[index] = kept - STEP
        found[index] = (above - loss()) / (2 * STEP)
        array[index] = kept
    return found


def arrays(cell: Cell) -> list[Array]:
    return [array for array in (cell.w, cell.r, cell.bw, cell.br, cell.p) if array is not None]


@pytest.mark.parametrize("net", NETWORKS, ids=str)
def test_every_gradient_is_a_limit_of_differences(net: Network) -> None:
    random = np.random.default_rng(11)
    cells, batch = random_cells(net, random), len(LENGTHS)
    x = random.standard_normal((4, batch, net.inputs))
    hx, cx = (random.standard_normal(shape) for shape in net.state_shapes(batch))
    dy = random.standard_normal((4, batch, net.output * net.directions))
    dhy, dcy = (random.standard_normal(shape) for shape in net.state_shapes(batch))

    def loss() -> float:
        y, hy, cy, _ = forward(net, cells, x, LENGTHS, hx, cx)
        return float((y * dy).sum() + (hy * dhy).sum() + (cy * dcy).sum())

    *_, passes = forward(net, cells, x, LENGTHS, hx, cx)
    dx, dhx, dcx, grads = backward(net, passes, dy, dhy, dcy)
    pairs = [(dx, x), (dhx, hx), (dcx, cx)]
    for grad, cell in zip(grads, cells, strict=True):
        pairs += zip(arrays(grad), arrays(cell), strict=True)
    for found, array in pairs:
        np.testing.assert_allclose(found, difference(loss, array), rtol=1e-6, atol=1e-8)


def test_clipping_is_at_work_in_its_row() -> None:
    net = next(net for net in NETWORKS if net.clip)
    random = np.random.default_rng(11)
    cells = random_cells(net, random)
    shapes = net.state_shapes(3)
    _, _, cy, _ = forward(net, cells, random.standard_normal((4, 3, 3)), LENGTHS, *map(np.zeros, shapes))
    low, high = net.clip or (0, 0)
    assert cy.min() < low
    assert cy.max() > high


def test_names_cover_every_weight_once() -> None:
    for net in NETWORKS:
        cells = random_cells(net, np.random.default_rng(0))
        found = dict(named(net, cells))
        assert len(found) == len(list(named(net, cells)))
        numbers = sum(array.size for array in found.values())
        used = [array for cell in cells for array in arrays(cell) if array.any()]
        skipped = sum(cell.w.size for cell in cells[: net.directions]) if net.skip else 0
        assert numbers == sum(array.size for array in used) - skipped
