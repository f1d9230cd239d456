"""gocudnn_py.xtra on the card: updates of many tensors by one launch, against convnetgo in float64."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from gocudnn_py import xtra
from gocudnn_py.xtra import DeviceArray, Options, TensorList
from gocunets import convnetgo
from tests.gpu.test_xtra import UNIT, Array, Card, close, numbers, same
from tests.gpu.test_xtra import card as card

SHAPES = [(3, 5), (1,), (1023,), (0, 2), (4096,), (2, 1500), (5, 1000), (1, 1), (4097,), (8192,), (7,), (3,), (10_001,)]
STEPS = 3
PLAIN = Options()
RATE = float(np.float32(0.05))


def _nesterov(w: Array, m: Array, dw: Array) -> tuple[Array, Array]:
    m = 0.9 * m + RATE * dw
    return w - (0.9 * m + RATE * dw), m


@dataclass(frozen=True)
class Rule:
    """A rule: how it is launched, and what it does to a weight and its moments at a step."""

    launch: Callable[..., None]
    right: Callable[..., Any]
    moments: int
    step: bool = False

    def __str__(self) -> str:
        return self.launch.__name__ if hasattr(self.launch, "__name__") else "nesterov"


RULES = [
    Rule(xtra.sgd, lambda w, dw, t: (convnetgo.sgd(w, dw, RATE),), 0),
    Rule(xtra.momentum, lambda w, m, dw, t: convnetgo.momentum(w, m, dw, RATE), 1),
    Rule(lambda *a, **k: xtra.momentum(*a, **k, nesterov=True), lambda w, m, dw, t: _nesterov(w, m, dw), 1),
    Rule(xtra.adagrad, lambda w, s, dw, t: convnetgo.adagrad(w, s, dw, RATE), 1),
    Rule(xtra.adadelta, lambda w, s, u, dw, t: convnetgo.adadelta(w, s, u, dw, RATE), 2),
    Rule(xtra.adam, lambda w, m, v, dw, t: convnetgo.adam(w, m, v, dw, RATE, t), 2, step=True),
]
every_rule = pytest.mark.parametrize("rule", RULES, ids=str)


class Tensors:
    """Weights and gradients on the card, and the same in float64."""

    def __init__(self, card: Card, w_dtype: str, dw_dtype: str, moments: int, masters: bool = False) -> None:
        self.card = card
        self.ws = [numbers(shape, w_dtype, seed) for seed, shape in enumerate(SHAPES)]
        self.dws = [numbers(shape, dw_dtype, 50 + seed) for seed, shape in enumerate(SHAPES)]
        self.on_w = [card.put(w, seed % 3) for seed, w in enumerate(self.ws)]
        self.on_dw = [card.put(dw, seed % 2) for seed, dw in enumerate(self.dws)]
        self.masters = [card.put(w.astype(np.float32)) for w in self.ws] if masters else None
        self.list = TensorList(card.stream, self.on_w, self.on_dw, moments, self.masters)
        self.right = [(w.astype(np.float64), *[np.zeros(w.shape)] * moments) for w in self.ws]

    def step(self, rule: Rule, number: int, options: Options = PLAIN) -> None:
        numbers = {"step": number} if rule.step else {}
        rule.launch(self.card.stream, self.list, RATE, **numbers, options=options)
        for i, (w, *moments) in enumerate(self.right):
            g = options.scale * self.dws[i].astype(np.float64) + options.l1 * np.sign(w) + options.l2 * w
            self.right[i] = rule.right(w * (1 - RATE * options.decay), *moments, g, number)


@every_rule
@pytest.mark.parametrize("options", [Options(), Options(0.01, 0.02, 0.03, 0.5)], ids=["plain", "penalised"])
def test_float32(rule: Rule, options: Options, card: Card) -> None:
    tensors = Tensors(card, "float32", "float32", rule.moments)
    for number in range(1, STEPS + 1):
        tensors.step(rule, number, options)
    for i, (w, *moments) in enumerate(tensors.right):
        close(card.get(tensors.on_w[i]), w, 2 + np.abs(w), 16 * STEPS)
        for found, moment in zip(tensors.list.moments, moments, strict=True):
            close(found[i].download(), moment, 1 + np.abs(moment), 16 * STEPS)


@every_rule
@pytest.mark.parametrize(
    ("w_dtype", "dw_dtype"), [("float16", "float16"), ("bfloat16", "bfloat16"), ("float32", "float16")]
)
def test_half_precision_with_masters(rule: Rule, w_dtype: str, dw_dtype: str, card: Card) -> None:
    tensors = Tensors(card, w_dtype, dw_dtype, rule.moments, masters=True)
    for number in range(1, STEPS + 1):
        tensors.step(rule, number)
    assert tensors.masters is not None
    for i, (w, *_) in enumerate(tensors.right):
        master = card.get(tensors.masters[i])
        close(master, w, 2 + np.abs(w), 16 * STEPS)
        same(card.get(tensors.on_w[i]), master.astype(tensors.ws[i].dtype))


@every_rule
def test_half_precision_alone(rule: Rule, card: Card) -> None:
    tensors = Tensors(card, "float16", "float32", rule.moments)
    tensors.step(rule, 1)
    for i, (w, *_) in enumerate(tensors.right):
        close(card.get(tensors.on_w[i]), w, 2 + np.abs(w), 16)


def test_adamw_and_gradients_that_are_cleared(card: Card) -> None:
    tensors = Tensors(card, "float32", "bfloat16", 2)
    xtra.adamw(card.stream, tensors.list, RATE, 1, decay=0.3, options=Options(keep=0.0))
    for i, (w, m, v) in enumerate(tensors.right):
        right, *_ = convnetgo.adam(w * (1 - RATE * 0.3), m, v, tensors.dws[i].astype(np.float64), RATE, 1)
        close(card.get(tensors.on_w[i]), right, 2 + np.abs(w), 16)
        assert not card.get(tensors.on_dw[i]).any()


def test_gradients_that_are_kept_in_part(card: Card) -> None:
    tensors = Tensors(card, "float32", "float32", 0)
    xtra.sgd(card.stream, tensors.list, RATE, Options(keep=0.5))
    for found, dw in zip(tensors.on_dw, tensors.dws, strict=True):
        same(card.get(found), dw / 2)


def test_rate_and_step_on_the_card(card: Card) -> None:
    by_number, by_place = Tensors(card, "float32", "float32", 2), Tensors(card, "float32", "float32", 2)
    rate, step = card.put(np.array([RATE], np.float32)), card.put(np.array(7))
    xtra.adam(card.stream, by_number.list, RATE, 7)
    xtra.adam(card.stream, by_place.list, rate, step)
    for one, other in zip(by_number.on_w, by_place.on_w, strict=True):
        same(card.get(one), card.get(other))


def test_many_tensors(card: Card) -> None:
    sizes = np.random.default_rng(0).integers(0, 40, 300)
    ws, dws = (
        [numbers((n,), seed=i) for i, n in enumerate(sizes)],
        [numbers((n,), seed=999 - i) for i, n in enumerate(sizes)],
    )
    on_w, on_dw = card.put(np.concatenate(ws)), card.put(np.concatenate(dws))
    starts = np.concatenate([[0], np.cumsum(sizes)])
    parts = [[whole.rows(int(a), int(b)) for a, b in itertools.pairwise(starts)] for whole in (on_w, on_dw)]
    xtra.sgd(card.stream, TensorList(card.stream, *parts), 0.5)
    close(card.get(on_w), np.concatenate(ws).astype(np.float64) - np.concatenate(dws) / 2, 3, 4)


def test_half_a_step_twice_is_no_whole_one(card: Card) -> None:
    tensors = Tensors(card, "float32", "float32", 0)
    before = card.get(tensors.on_w[0])
    xtra.sgd(card.stream, tensors.list, 1.0)
    assert np.abs(card.get(tensors.on_w[0]) - before + tensors.dws[0]).max() < 8 * UNIT["float32"]


def test_what_is_refused(card: Card) -> None:
    w, dw, stream = card.put(numbers((4,))), card.put(numbers((4,))), card.stream
    plain = TensorList(stream, [w], [dw])
    wrong: Any
    for error, words, wrong in [
        (ValueError, "at least one tensor", lambda: TensorList(stream, [], [])),
        (ValueError, "0 gradients for 1 weights", lambda: TensorList(stream, [w], [])),
        (
            ValueError,
            r"gradients 0 has shape \(3,\), expected \(4,\)",
            lambda: TensorList(stream, [w], [dw.rows(0, 3)]),
        ),
        (
            ValueError,
            "weights 0 and gradients 0 overlap|gradients 0 and weights 0",
            lambda: TensorList(stream, [w], [w]),
        ),
        (
            ValueError,
            "weights 0 and weights 1 overlap",
            lambda: TensorList(stream, [w, w], [dw, card.put(numbers((4,)))]),
        ),
        (
            TypeError,
            "moments 0 0 is float16",
            lambda: TensorList(stream, [w], [dw], [[card.put(numbers((4,), "float16"))]]),
        ),
        (
            TypeError,
            "one type",
            lambda: TensorList(stream, [w, card.put(numbers((4,), "float16"))], [dw, card.put(numbers((4,)))]),
        ),
        (ValueError, "adam needs 2 moments, the tensors have 0", lambda: xtra.adam(stream, plain)),
        (ValueError, "step is 0", lambda: xtra.adam(stream, TensorList(stream, [w], [dw], 2), step=0)),
        (TypeError, "rate is float64", lambda: xtra.sgd(stream, plain, card.put(np.ones(1)))),
        (ValueError, "one number", lambda: xtra.sgd(stream, plain, w)),
        (ValueError, r"penalties has shape \(4,\)", lambda: xtra.regularize(stream, plain, card.put(numbers((4,))))),
    ]:
        with pytest.raises(error, match=words):
            wrong()


def test_a_recorded_step_has_to_be_on_the_card(card: Card) -> None:
    tensors = TensorList(card.stream, [card.put(numbers((4,)))], [card.put(numbers((4,)))], 2)

    class Capturing:
        device, handle, capturing = card.stream.device, card.stream.handle, True

    with pytest.raises(ValueError, match="every replay would be step 5"):
        xtra.adam(Capturing(), tensors, step=5)  # type: ignore[arg-type]


def test_moments_lie_apart(card: Card) -> None:
    tensors = TensorList(
        card.stream,
        [card.put(numbers((3,))), card.put(numbers((5,)))],
        [card.put(numbers((3,))), card.put(numbers((5,)))],
        1,
    )
    first, second = tensors.moments[0]
    assert isinstance(first, DeviceArray)
    assert second.offset - first.offset == 256
    assert not first.download().any()
