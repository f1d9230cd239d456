"""Multi-head attention on the card against float64, forward, by steps, and every gradient."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gocudnn_py._abi.cudnn import MathType, SeqDataAxis, WgradMode
from gocudnn_py.cudnn import Handle
from gocudnn_py.cudnn.attention import AttentionWindow, QueryMap
from gocudnn_py.cudnn.dropout import DropoutDescriptor
from gocudnn_py.errors import NotSupported
from tests.gpu.attending import KINDS, Q_STEPS, OnCard, Problem
from tests.gpu.card import Card

TIME, BATCH, BEAM, VECTOR = SeqDataAxis
WINDOW = AttentionWindow((0, 0, 1, 2), (1, 3, 4, 6))
CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "one head": {"heads": 1},
    "no projection of the output": {"projections": (4, 4, 3, 0)},
    "a projection of the output alone": {"heads": 1, "vectors": (6, 6, 7), "projections": (0, 0, 0, 8)},
    "beams": {"beam": 2},
    "batch first": {"axes": (BATCH, TIME, BEAM, VECTOR), "beam": 2},
    "beam first": {"axes": (BEAM, BATCH, TIME, VECTOR), "beam": 2},
    "causal": {"window": AttentionWindow.causal(Q_STEPS)},
    "window": {"window": WINDOW, "beam": 2},
    "residual": {"vectors": (8, 6, 7), "residual": True},
}
SIZES = "cudnnGetMultiHeadAttnBuffers", "cudnnGetMultiHeadAttnWeights"
SET = "cudnnSetAttnDescriptor", "cudnnSetSeqDataDescriptor"
FORWARD, BACKWARD_DATA = "cudnnMultiHeadAttnForward", "cudnnMultiHeadAttnBackwardData"
BACKWARD_WEIGHTS = "cudnnMultiHeadAttnBackwardWeights"


def check_all(problem: Problem, on_card: OnCard) -> None:
    """Forward and every gradient."""
    right, saved = problem.forward()
    problem.check(on_card.forward(), right, problem.q_alive)
    data, weights = problem.backward(saved)
    found = on_card.backward_data()
    for name, alive in (("q", problem.q_alive), ("k", problem.k_alive), ("v", problem.k_alive)):
        problem.check(found[name], data[name], alive)
    if weights:
        gradients = on_card.backward_weights()
        assert gradients.keys() == weights.keys()
        for name, array in weights.items():
            problem.check(gradients[name], array)


@pytest.mark.covers(*SET, *SIZES, FORWARD, BACKWARD_DATA, BACKWARD_WEIGHTS)
@pytest.mark.parametrize("case", CASES)
def test_a_training(case: str, card: Card, handle: Handle) -> None:
    problem = Problem(**CASES[case])
    check_all(problem, OnCard(problem, card, handle))


@pytest.mark.covers(*SET, FORWARD, BACKWARD_DATA, BACKWARD_WEIGHTS)
def test_a_training_of_float32_without_rounding_its_factors(card: Card, handle: Handle) -> None:
    problem = Problem(np.float32)
    check_all(problem, OnCard(problem, card, handle, math=MathType.FMA_MATH))


@pytest.mark.covers(*SET, FORWARD)
def test_float16(card: Card, handle: Handle) -> None:
    problem = Problem(np.float16, vectors=(8, 8, 8), projections=(8, 8, 8, 8))
    right, _ = problem.forward()
    on_card = OnCard(problem, card, handle, training=False, math=MathType.TENSOR_OP_MATH)
    problem.check(on_card.forward(), right, problem.q_alive)


@pytest.mark.covers(*SET, FORWARD, BACKWARD_DATA)
def test_without_any_projection(card: Card, handle: Handle) -> None:
    problem = Problem(vectors=(6, 6, 7), projections=(0, 0, 0, 0))
    on_card = OnCard(problem, card, handle)
    assert (on_card.space.weights, on_card.slots) == (None, {})
    check_all(problem, on_card)


@pytest.mark.covers(*SET, FORWARD)
def test_each_query_its_own_keys(card: Card, handle: Handle) -> None:
    problem = Problem()
    right, _ = problem.forward()
    on_card = OnCard(problem, card, handle, query_map=QueryMap.ONE_TO_ONE)
    problem.check(on_card.forward(), right, problem.q_alive)


@pytest.mark.covers(*SET, FORWARD)
@pytest.mark.parametrize("case", ["plain", "causal", "window", "residual"])
def test_an_inference_at_once_and_by_steps(case: str, card: Card, handle: Handle) -> None:
    problem = Problem(**CASES[case])
    right, _ = problem.forward()
    problem.check(OnCard(problem, card, handle, training=False).forward(), right, problem.q_alive)
    by_steps = OnCard(problem, card, handle, training=False)
    for step in range(Q_STEPS):
        found = by_steps.forward(step)
        done = problem.q_alive & (np.arange(Q_STEPS) <= step)
        problem.check(found, right, done)
        assert np.isnan(found[:, :, step + 1 :]).all()


@pytest.mark.covers(*SIZES)
@pytest.mark.parametrize("biases", [False, True])
def test_weights_lie_apart(biases: bool, card: Card, handle: Handle) -> None:
    problem = Problem(biases=biases)
    on_card = OnCard(problem, card, handle, training=False)
    places = np.arange(on_card.space.weights.nbytes // 8, dtype=np.float64)
    taken: list[float] = []
    for name, values in problem.weights.items():
        view = on_card.slots[KINDS[name]].view(places)
        assert np.squeeze(view).shape == np.squeeze(values).shape
        taken += view.ravel().tolist()
    assert len(taken) == len(set(taken)) == sum(values.size for values in problem.weights.values())
    assert on_card.attention.sizes(handle, training=False).reserve == 0
    assert on_card.attention.sizes(handle).reserve > 0


@pytest.mark.covers(BACKWARD_WEIGHTS)
def test_gradients_of_weights_are_added(card: Card, handle: Handle) -> None:
    problem = Problem()
    _, saved = problem.forward()
    on_card = OnCard(problem, card, handle)
    on_card.forward()
    on_card.backward_data()
    _, right = problem.backward(saved)
    for name, found in on_card.backward_weights(WgradMode.ADD, start=3.0).items():
        problem.check(found, right[name] + 3.0)


@pytest.mark.covers(*SET, *SIZES, FORWARD)
def test_biases(card: Card, handle: Handle) -> None:
    problem = Problem(biases=True, beam=2)
    right, _ = problem.forward()
    problem.check(OnCard(problem, card, handle, training=False).forward(), right, problem.q_alive)


@pytest.mark.covers(FORWARD, BACKWARD_DATA, BACKWARD_WEIGHTS)
def test_gradients_of_biases(card: Card, handle: Handle) -> None:
    problem = Problem(biases=True)
    on_card = OnCard(problem, card, handle)
    try:
        check_all(problem, on_card)
    except NotSupported as error:
        pytest.skip(f"this cuDNN has no gradients with biases: {error}")


def dropout(card: Card, handle: Handle, probability: float) -> DropoutDescriptor:
    made = DropoutDescriptor()
    return made.set(handle, probability, card.scratch(made.states_size(handle)), seed=5)


@pytest.mark.covers("cudnnSetAttnDescriptor", FORWARD)
@pytest.mark.parametrize("which", ["attention_dropout", "output_dropout"])
def test_dropout_in_a_training(which: str, card: Card, handle: Handle) -> None:
    """Each query sees one key, so that dropping its share, or its output, leaves 0 or twice as much."""
    window = AttentionWindow(range(Q_STEPS), range(1, Q_STEPS + 1))
    problem = Problem(beam=2, window=window, heads=1, projections=(4, 4, 3, 0 if which == "attention_dropout" else 8))
    right, _ = problem.forward()
    on_card = OnCard(problem, card, handle, **{which: dropout(card, handle, 0.5)})
    found = on_card.forward()
    kept = found != 0
    assert 0 < kept[problem.q_alive].sum() < kept[problem.q_alive].size
    problem.check(found, np.where(kept, 2 * right, 0.0), problem.q_alive)
    if which == "attention_dropout":
        assert (kept.all(axis=-1) | ~kept.any(axis=-1))[problem.q_alive].all()
