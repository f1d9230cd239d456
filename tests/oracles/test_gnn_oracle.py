"""The oracle of graph networks: small graphs by hand, and gradients against differences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.convnetgo.arrays import assert_gradient
from tests.oracles.gnn import Attention, Edges, aggregate

Array = np.ndarray[Any, Any]
EDGES = Edges.of(np.array([0, 2, 2, 5]), np.array([0, 2, 1, 2, 3]), np.array([3, 0, 4, 1, 2]))
ACTIVATIONS = ("LINEAR", "RELU", "SIGMOID", "TANH", "ELU", "SCALAR", "LEAKY_RELU")


def numbers(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng((seed, *shape)).standard_normal(shape)


def test_edges() -> None:
    assert EDGES.destinations.tolist() == [0, 0, 2, 2, 2]
    assert Edges.of(np.array([0, 1]), np.array([4])).rows.tolist() == [0]


@pytest.mark.parametrize(
    ("op", "expected"), [("sum", [4, 0, 6]), ("mean", [2, 0, 2]), ("max", [3, 0, 5]), ("min", [1, 0, -1])]
)
def test_aggregation_by_hand(op: str, expected: list[float]) -> None:
    values = np.array([[1.0], [3.0], [2.0], [-1.0], [5.0]])
    result, share = aggregate(values, EDGES.destinations, 3, op)
    assert result.ravel() == pytest.approx(expected)
    dy = np.array([[1.0], [10.0], [100.0]])
    assert_gradient(lambda a: aggregate(a, EDGES.destinations, 3, op)[0], values, dy, share * dy[EDGES.destinations])


def test_one_destination_by_hand() -> None:
    """Its score of each of two sources, the softmax of both, and their mean by it."""
    sources, destinations, weights = numbers(4, 4), numbers(3, 4, seed=1), numbers(8, seed=2)
    attention = Attention(EDGES, 2, True, "LEAKY_RELU", 0.2, second=False)
    output, found, _ = attention.forward(sources, destinations, weights, None, np.ones((2, 5)))
    for head, part in enumerate((slice(0, 2), slice(2, 4))):
        scores = [weights[part] @ sources[s, part] + weights[4:][part] @ destinations[0, part] for s in (0, 2)]
        shares = np.exp([max(z, 0.2 * z) for z in scores])
        shares /= shares.sum()
        np.testing.assert_allclose(output[0, part], shares @ sources[[0, 2], part], rtol=1e-12)
        np.testing.assert_allclose(found[head, [3, 0]], shares, rtol=1e-12)
    assert not output[1].any()


@pytest.mark.parametrize("second", [False, True])
@pytest.mark.parametrize("with_edges", [False, True])
@pytest.mark.parametrize("concat", [False, True])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gradients(second: bool, with_edges: bool, concat: bool, activation: str) -> None:
    attention = Attention(EDGES, 2, concat, activation, 0.3, second)
    width = (4 if second else 6) if with_edges else 0
    weights = numbers(4 if second else 8 + width, seed=2)
    given = [numbers(4, 4), numbers(3, 4, seed=1), weights, numbers(5, width, seed=3) if with_edges else None]
    mask, dout = np.abs(numbers(2, 5, seed=4)), numbers(3, 4 if concat else 2, seed=5)
    dattention = numbers(2, 5, seed=6)

    def both(*parts: Any) -> Array:
        output, found, _ = attention.forward(*parts, mask)
        return np.concatenate([output.ravel(), (found * mask).ravel()])

    dy = np.concatenate([dout.ravel(), dattention.ravel()])
    for place, gradient in enumerate(attention.backward(*given, mask, dout, dattention)):
        if given[place] is not None:
            value: Any = given[place]
            assert_gradient(lambda a, p=place: both(*given[:p], a, *given[p + 1 :]), value, dy, gradient)
