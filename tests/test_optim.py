"""Optimizers, groups and schedules through whole steps of a Network, against convnetgo's formulas by hand."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest

from gocunets import Network, Node, NonFiniteLoss, TensorType, Value, convnetgo, losses, nn, ops, optim, schedules
from gocunets.backends import Backend
from gocunets.backends.numpy import kernel, updates
from gocunets.ops import Op
from gocunets.optim import Optimizer
from gocunets.schedules import Schedule
from gocunets.state import MAX_GROUPS
from tests.running import Array

SHAPE = (1, 6, 6)
BATCH = 5
RULES: dict[str, Optimizer] = {
    "sgd": optim.SGD(0.1),
    "momentum": optim.Momentum(0.1, decay=0.8),
    "adagrad": optim.Adagrad(0.1),
    "adadelta": optim.Adadelta(0.9),
    "adam": optim.Adam(0.01, beta1=0.8, beta2=0.99),
    "sgd, L1 and L2": optim.SGD(0.1, l1=0.01, l2=0.1),
    "momentum, L1 and L2": optim.Momentum(0.1, l1=0.01, l2=0.1),
    "adagrad, L1 and L2": optim.Adagrad(0.1, l1=0.01, l2=0.1),
    "adadelta, L1 and L2": optim.Adadelta(l1=0.01, l2=0.1),
    "adam, L1 and L2": optim.Adam(0.01, l1=0.01, l2=0.1),
}
every_rule = pytest.mark.parametrize("rule", RULES.values(), ids=RULES)


def module() -> nn.Module:
    return nn.Sequential(nn.Conv(3, 3), nn.BatchNorm(), nn.Tanh(), nn.Conv(2, 2, bias=False), nn.Dense(4))


def compiled(optimizer: Any, backend: Backend, **settings: Any) -> Network:
    return Network(module(), SHAPE, seed=2).compile(optimizer=optimizer, device=backend, **settings)


def batch(number: int = 0, size: int = BATCH) -> tuple[Array, Array]:
    rng = np.random.default_rng(number)
    return rng.standard_normal((size, *SHAPE)).astype(np.float32), rng.integers(0, 4, size)


def contents(network: Network) -> dict[str, Array]:
    store = network.compiled.store
    return {state.name: store.read(state) for state in store.states}


def by_hand(rule: Optimizer, w: Array, dw: Array, moments: list[Array], step: int) -> tuple[Array, ...]:
    """One update; the learning rate goes through the float32 of the step state."""
    rate = rule.rate_at(step - 1)
    dw = convnetgo.regularize(w, dw, rule.l1, rule.l2)
    if isinstance(rule, optim.SGD):
        return (convnetgo.sgd(w, dw, rate),)
    if isinstance(rule, optim.Momentum):
        return convnetgo.momentum(w, *moments, dw, rate, rule.decay)
    if isinstance(rule, optim.Adagrad):
        return convnetgo.adagrad(w, *moments, dw, rate, rule.epsilon)
    if isinstance(rule, optim.Adadelta):
        return convnetgo.adadelta(w, *moments, dw, rate, rule.decay, rule.epsilon)
    assert isinstance(rule, optim.Adam)
    return convnetgo.adam(w, *moments, dw, rate, step, rule.beta1, rule.beta2, rule.epsilon)


def check_steps(network: Network, rule_of: Callable[[str], Optimizer], steps: int = 4) -> None:
    """Make steps by slices, and every update by hand beside them: bit for bit the same."""
    weights = network.weights
    moments = {name: [np.zeros_like(w) for _ in rule_of(name).moments] for name, w in weights.items()}
    for step in range(1, steps + 1):
        network.forward(*batch(step))
        gradients = network.backward()
        network.update()
        found = contents(network)
        for name, w in weights.items():
            weights[name], *moments[name] = by_hand(rule_of(name), w, gradients[name], moments[name], step)
            np.testing.assert_array_equal(found[name], weights[name], err_msg=f"{name}, step {step}")
            for moment, content in zip(rule_of(name).moments, moments[name], strict=True):
                np.testing.assert_array_equal(found[f"{moment}/{name}"], content, err_msg=f"{moment}/{name}")


# --- the formulas -----------------------------------------------------------------------------------------------


@every_rule
def test_updates_are_the_formulas(rule: Optimizer, backend: Backend) -> None:
    check_steps(compiled(rule, backend), lambda _: rule)


@pytest.mark.parametrize("rule", [optim.Adam(0.01, l1=0.01), optim.Adadelta()], ids=["adam", "adadelta"])
def test_updates_in_float64(rule: Optimizer, backend: Backend) -> None:
    check_steps(compiled(rule, backend, dtype="float64"), lambda _: rule)


@every_rule
def test_one_flat_update_is_one_update_a_tensor(rule: Optimizer, monkeypatch: pytest.MonkeyPatch) -> None:
    flat = compiled(rule, Network(nn.Flatten(), SHAPE).compile(device="cpu").compiled.backend)
    flat.step(*batch())
    monkeypatch.setattr(updates, "_flat", lambda row: None)
    single = compiled(rule, flat.compiled.backend)
    single.step(*batch())
    right = contents(single)
    for name, content in contents(flat).items():
        assert content.tobytes() == right[name].tobytes(), name


def test_updates_do_run_flat() -> None:
    network = compiled(optim.Adam(), "cpu")
    (group,) = network.compiled.groups
    tensors = [network.compiled.store.tensor(state) for state in group.parameters]
    (row,) = updates._rows(tensors, len(tensors))
    assert len(row) == 1
    assert row[0].size >= sum(tensor.size for tensor in tensors)


def test_moments_lie_in_checkpoint_order(backend: Backend) -> None:
    names = [state.name for state in compiled(optim.Adam(), backend).compiled.store.states]
    parameters = ["conv1.w", "conv1.b", "batchnorm1.gamma", "batchnorm1.beta", "conv2.w", "dense1.w", "dense1.b"]
    assert names == [
        "step_state",
        *parameters,
        *(f"m/{name}" for name in parameters),
        *(f"v/{name}" for name in parameters),
        "batchnorm1.running_mean",
        "batchnorm1.running_variance",
    ]


@pytest.mark.parametrize("rule", [*optim.Optimizer.members.values()], ids=lambda rule: rule.name)
@pytest.mark.parametrize(("field", "value"), [("rate", -1.0), ("rate", math.nan), ("l1", -0.1), ("l2", math.nan)])
def test_numbers_that_cannot_be(rule: type[Optimizer], field: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{rule.name}: .*{value} is negative or NaN"):
        rule(**{field: value})


@every_rule
def test_optimizers_survive_json(rule: Optimizer) -> None:
    assert Optimizer.restore(json.loads(json.dumps(rule.describe()))) == rule


# --- groups -----------------------------------------------------------------------------------------------------


GROUPS: dict[str, dict[str, Optimizer]] = {
    "biases apart": {"*.b": optim.SGD(0.5), "*": optim.Adam(l2=0.01)},
    "the first that matches": {"conv*": optim.Momentum(0.1), "*.w": optim.SGD(0.2), "*": optim.Adagrad()},
    "one tensor": {"batchnorm1.gamma": optim.SGD(0.0), "*": optim.Adadelta()},
    "a pattern that matches nothing": {"*.nothing": optim.Adam(), "*": optim.SGD(0.1)},
}


@pytest.mark.parametrize("rules", GROUPS.values(), ids=GROUPS)
def test_groups_by_pattern(rules: dict[str, Optimizer], backend: Backend) -> None:
    def rule_of(name: str) -> Optimizer:
        first = next(pattern for pattern in rules if matches(pattern, name))
        return rules[first]

    check_steps(compiled(rules, backend), rule_of)


def matches(pattern: str, name: str) -> bool:
    """The patterns above have one star, or none."""
    before, star, after = pattern.partition("*")
    return name.startswith(before) and name.endswith(after) if star else name == pattern


def test_a_parameter_without_optimizer_is_named(backend: Backend) -> None:
    with pytest.raises(
        ValueError, match=r"no optimizer matches parameter batchnorm1\.gamma; patterns are conv\*, \*\.b"
    ):
        compiled({"conv*": optim.SGD(), "*.b": optim.SGD()}, backend)


def test_too_many_groups(backend: Backend) -> None:
    with pytest.raises(ValueError, match=f"{MAX_GROUPS + 1} optimizers; at most {MAX_GROUPS} groups"):
        compiled({f"{i}*": optim.SGD() for i in range(MAX_GROUPS + 1)}, backend)


# --- schedules --------------------------------------------------------------------------------------------------


SCHEDULES: list[tuple[Schedule, dict[int, float]]] = [
    (schedules.StepDecay(0.8, 3, 0.5), {0: 0.8, 2: 0.8, 3: 0.4, 5: 0.4, 6: 0.2}),
    (schedules.Exponential(0.5, 0.9), {0: 0.5, 1: 0.45, 10: 0.5 * 0.9**10}),
    (schedules.Cosine(1.0, 10), {0: 1.0, 5: 0.5, 10: 0.0, 50: 0.0}),
    (schedules.Cosine(1.0, 12, final=0.2, warmup=2), {0: 0.5, 1: 1.0, 2: 1.0, 7: 0.6, 12: 0.2, 13: 0.2}),
]


@pytest.mark.parametrize(("schedule", "rates"), SCHEDULES, ids=lambda part: getattr(part, "name", ""))
def test_schedules(schedule: Schedule, rates: dict[int, float]) -> None:
    assert [schedule(step) for step in rates] == pytest.approx(list(rates.values()))
    assert Schedule.restore(json.loads(json.dumps(schedule.describe()))) == schedule


@pytest.mark.parametrize("schedule", [schedule for schedule, _ in SCHEDULES], ids=lambda schedule: schedule.name)
def test_rates_are_read_at_every_step(schedule: Schedule, backend: Backend) -> None:
    rule = optim.Momentum(schedule)
    check_steps(compiled(rule, backend), lambda _: rule, steps=5)


def test_a_rate_of_zero_changes_nothing(backend: Backend) -> None:
    network = compiled(optim.SGD(0.0, l2=0.5), backend)
    before = network.weights
    network.step(*batch())
    for name, w in network.weights.items():
        np.testing.assert_array_equal(w, before[name])


def test_schedules_go_on_with_the_steps_made(backend: Backend) -> None:
    """Three steps and a loop of fit over one batch read rates 0, 1, 2, 3."""
    seen: list[int] = []

    @dataclass(frozen=True)
    class Seen(Schedule):
        def __call__(self, step: int) -> float:
            seen.append(step)
            return 0.1

    network = compiled(optim.SGD(Seen()), backend)
    for number in range(3):
        network.step(*batch(number))
    network.fit(batch(3), batch=BATCH)
    assert list(dict.fromkeys(seen)) == [0, 1, 2, 3]


# --- the non-finite flag ----------------------------------------------------------------------------------------


def record(network: Network) -> Any:
    return network.compiled.step_record


@every_rule
@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_a_bad_step_changes_only_the_flag(rule: Optimizer, bad: float, backend: Backend) -> None:
    network = compiled(rule, backend)
    network.step(*batch(1))
    before = contents(network)
    x, target = batch(2)
    x[0, 0, 3, 3] = bad
    network.train_batch(x, target, len(x))
    for name, content in contents(network).items():
        if name != "step_state":
            assert content.tobytes() == before[name].tobytes(), name
    now = record(network)
    assert (now["nonfinite"], now["first_bad_step"], now["step"], now["cursor"]) == (1, 1, 1, BATCH)


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_steps_after_a_bad_one_are_skipped_too(backend: Backend) -> None:
    network = compiled(optim.Adam(), backend)
    network.train_batch(np.full_like(batch()[0], np.nan), batch()[1], BATCH)
    before = contents(network)
    network.train_batch(*batch(1), BATCH)
    for name, content in contents(network).items():
        assert content.tobytes() == before[name].tobytes(), name
    assert record(network)["first_bad_step"] == 0


@dataclass(frozen=True)
class Steep(Op):
    """y = x, with an infinite gradient."""

    name: ClassVar[str] = "steep_in_tests"

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        return inputs

    def gradient(self, node: Node, dys: Sequence[Value | None], wanted: Sequence[bool]) -> Sequence[Value | None]:
        assert dys[0] is not None
        return (ops.scale(dys[0], math.inf),)


@kernel(Steep)
def _(op: Steep, x: Array) -> Array:
    return x


class SteepLayer(nn.Module):
    def forward(self, x: Value) -> Value:
        return x.graph.add(Steep(), x)[0]


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_a_bad_gradient_is_flagged_where_the_loss_is_good() -> None:
    network = Network(nn.Sequential(nn.Dense(4), SteepLayer()), SHAPE).compile(device="cpu")
    before = network.weights
    network.train_batch(*batch(), BATCH)
    assert record(network)["nonfinite"] == 1
    for name, w in network.weights.items():
        np.testing.assert_array_equal(w, before[name])


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_a_single_step_says_that_it_was_bad_and_the_next_may_be_good(backend: Backend) -> None:
    network = compiled(optim.Adam(), backend)
    network.step(*batch(1))
    with pytest.raises(NonFiniteLoss, match="at step 2;"):
        network.step(np.full_like(batch()[0], np.nan), batch()[1])
    assert math.isfinite(network.step(*batch(2)))
    assert record(network)["step"] == 2


@dataclass(frozen=True)
class ExplodesAt(Schedule):
    name: ClassVar[str] = "explodes_in_tests"
    step: int

    def __call__(self, step: int) -> float:
        return 1e38 if step == self.step else 0.01


@pytest.mark.parametrize(("explodes", "step", "epoch"), [(0, 2, 1), (6, 8, 2), (7, 9, 3)])
def test_fit_names_the_bad_step_and_epoch(explodes: int, step: int, epoch: int, backend: Backend) -> None:
    network = compiled(optim.SGD(ExplodesAt(explodes)), backend)
    with pytest.raises(NonFiniteLoss, match=rf"at step {step} \(epoch {epoch}\)") as caught:
        network.fit(batch(size=20), epochs=5, batch=5)
    assert (caught.value.step, caught.value.epoch) == (step, epoch)
    assert record(network)["step"] == step - 1


def test_fit_counts_epochs_of_its_own(backend: Backend) -> None:
    network = compiled(optim.SGD(ExplodesAt(6)), backend)
    network.fit(batch(size=20), epochs=1, batch=5)
    with pytest.raises(NonFiniteLoss, match=r"at step 8 \(epoch 1\)"):
        network.fit(batch(size=20), epochs=5, batch=5)


def test_fit_goes_on_after_a_bad_one(backend: Backend) -> None:
    network = compiled(optim.SGD(0.01), backend)
    good, labels = batch(size=20)
    bad = good.copy()
    bad[3] = np.nan
    with pytest.raises(NonFiniteLoss):
        network.fit((bad, labels), epochs=1, batch=5)
    steps = int(record(network)["step"])
    (epoch,) = network.fit((good, labels), epochs=1, batch=5)
    assert math.isfinite(epoch.loss)
    assert record(network)["step"] == steps + 4


# --- an optimizer of one's own ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Signs(Optimizer):
    """w -= rate sign(dw), and counts the steps in a moment."""

    name: ClassVar[str] = "signs_in_tests"
    moments: ClassVar[tuple[str, ...]] = ("count",)


@updates.update_rule(Signs)
def _(rule: Signs, w: Array, dw: Array, count: Array, *, rate: float, step: int) -> tuple[Array, ...]:
    return w - rate * np.sign(dw), count + np.abs(np.sign(dw))


def test_an_optimizer_of_ones_own() -> None:
    network = compiled(Signs(0.5), "cpu", loss=losses.CrossEntropy())
    before = network.weights
    network.forward(*batch())
    gradients = network.backward()
    network.update()
    for name, w in network.weights.items():
        np.testing.assert_array_equal(w, before[name] - np.float32(0.5) * np.sign(gradients[name]))
        np.testing.assert_array_equal(contents(network)[f"count/{name}"], np.abs(np.sign(gradients[name])))


def test_an_optimizer_without_formula_is_named() -> None:
    @dataclass(frozen=True)
    class Unknown(Optimizer):
        name: ClassVar[str] = "unknown_in_tests"

    network = compiled(Unknown(), "cpu")
    with pytest.raises(Exception, match=r"no formula for optimizer unknown_in_tests; register one with .*Unknown"):
        network.step(*batch())
