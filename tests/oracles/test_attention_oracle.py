"""The oracle of attention against a loop over queries, and its gradients against differences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.convnetgo.arrays import assert_gradient
from tests.oracles import attention

Array = np.ndarray[Any, Any]
SCALE = 0.7


def numbers(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng((seed, *shape)).standard_normal(shape)


class Case:
    """Two batches of two beams, three queries, four keys; with and without projections, biases, shared keys."""

    def __init__(self, projected: bool, biases: bool, beams: int) -> None:
        self.heads = 2
        self.q, self.k, self.v = numbers(2, 2, 3, 3), numbers(2, beams, 4, 3, seed=1), numbers(2, beams, 4, 5, seed=2)
        shapes = {"q": (2, 4, 3), "k": (2, 4, 3), "v": (2, 2, 5), "o": (2, 6, 2)} if projected else {}
        self.weights = {name: numbers(*shape, seed=3) for name, shape in shapes.items()}
        if biases:
            lengths = {"qb": (2, 4), "kb": (2, 4), "vb": (2, 2), "ob": (6,)}
            self.weights |= {name: numbers(*shape, seed=4) for name, shape in lengths.items()}
        q_lengths, k_lengths = np.array([[3, 2], [1, 3]]), np.array([[4, 3], [2, 4]])[:, :beams]
        self.mask = attention.visible(q_lengths, k_lengths, np.array([0, 0, 1]), np.array([1, 3, 4]), 4)
        self.dout = numbers(2, 2, 3, 6 if projected else 10, seed=5)
        self.dout[~self.mask.any(axis=-1)] = 0  # steps beyond a length have no gradient

    def forward(self, **changed: Any) -> tuple[Array, attention.Saved]:
        data = {name: changed.get(name, getattr(self, name)) for name in "qkv"}
        weights = self.weights | changed.get("weights", {})
        return attention.forward(*data.values(), weights, self.heads, self.mask, SCALE)


CASES = [(False, False, 1), (True, False, 1), (True, True, 1), (True, True, 2)]


@pytest.mark.parametrize(("projected", "biases", "beams"), CASES)
def test_gradients(projected: bool, biases: bool, beams: int) -> None:
    case = Case(projected, biases, beams)
    _, saved = case.forward()
    data, dweights = attention.backward(case.dout, case.q, case.k, case.v, case.weights, saved, SCALE)
    assert dweights.keys() == case.weights.keys()
    for name, dx in data.items():
        assert_gradient(lambda x, name=name: case.forward(**{name: x})[0], getattr(case, name), case.dout, dx)
    for name, dw in dweights.items():
        assert_gradient(
            lambda w, name=name: case.forward(weights={name: w})[0], np.asarray(case.weights[name]), case.dout, dw
        )


def test_one_query_by_hand() -> None:
    case = Case(True, True, 1)
    out, _ = case.forward()
    w, expected = case.weights, case.weights["ob"].copy()
    for head in range(2):
        query = w["q"][head] @ case.q[0, 1, 1] + w["qb"][head]
        keys = [w["k"][head] @ x + w["kb"][head] for x in case.k[0, 0, :3]]
        values = [w["v"][head] @ x + w["vb"][head] for x in case.v[0, 0, :3]]
        shares = np.exp([SCALE * query @ key for key in keys])
        heads = sum(share * value for share, value in zip(shares / shares.sum(), values, strict=True))
        expected += w["o"][head] @ heads
    np.testing.assert_allclose(out[0, 1, 1], expected, rtol=1e-12)


def test_what_is_visible() -> None:
    case = Case(False, False, 1)
    assert case.mask[0, 0].astype(int).tolist() == [[1, 0, 0, 0], [1, 1, 1, 0], [0, 1, 1, 1]]
    assert case.mask[1, 1].astype(int).tolist() == [[1, 0, 0, 0], [1, 1, 0, 0], [0, 1, 0, 0]]
    assert not case.mask[1, 0, 1:].any()
