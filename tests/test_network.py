"""Network: steps and their slices, inspection, training on whole data sets, evaluation, prediction, bad input."""

from __future__ import annotations

import gc
import itertools
import math
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from gocunets import (
    Callback,
    ConcurrentUse,
    EpochRecord,
    GocunetsError,
    GraphError,
    Network,
    NonFiniteLoss,
    OutOfDeviceMemory,
    StopBelow,
    TensorType,
    Trainer,
    Value,
    ValueReleased,
    convnetgo,
    losses,
    nn,
    optim,
    zoo,
)
from gocunets.backends import Backend
from gocunets.backends.numpy import NumpyBackend, kernel
from gocunets.compilation import MAX_PROGRAMS
from gocunets.data import DataError, Dataset, Normalization, batch_bounds, epoch_order
from gocunets.ops import Op
from gocunets.ops.base import one
from tests.running import Array

SHAPE = (2, 6, 6)
CLASSES = 4
Make = Callable[[], nn.Module]


def plain() -> nn.Module:
    return nn.Sequential(nn.Conv(3, 3, padding=1), nn.Tanh(), nn.AveragePool(2), nn.Dense(CLASSES))


def rich() -> nn.Module:
    return nn.Sequential(
        nn.Conv(4, 3, padding=1),
        nn.BatchNorm(),
        nn.ReLU(),
        nn.Residual(nn.Sequential(nn.Conv(4, 3, padding=1), nn.LeakyReLU())),
        nn.Dropout(0.3),
        nn.Concat(nn.MaxPool(2), nn.AveragePool(2)),
        nn.Dense(CLASSES),
    )


every_network = pytest.mark.parametrize("make", [plain, rich])


def compiled(make: Make, device: str | Backend = "cpu", **settings: Any) -> Network:
    settings = {"optimizer": optim.Adam(0.01)} | settings
    return Network(make(), SHAPE, seed=4).compile(device=device, **settings)


def data(size: int = 8, number: int = 0) -> tuple[Array, Array]:
    rng = np.random.default_rng((number, size))
    labels = rng.integers(0, CLASSES, size)
    x = rng.standard_normal((size, *SHAPE)) + labels.reshape(-1, 1, 1, 1)
    return x.astype(np.float32), labels


def contents(network: Network, but: Sequence[str] = ()) -> dict[str, bytes]:
    store = network.compiled.store
    return {state.name: store.read(state).tobytes() for state in store.states if state.name not in but}


def assert_same_states(first: Network, second: Network) -> None:
    left, right = contents(first), contents(second)
    assert left.keys() == right.keys()
    assert [name for name in left if left[name] != right[name]] == []


# --- one step ---------------------------------------------------------------------------------------------------


@every_network
def test_slices_make_a_step(make: Make, backend: Backend) -> None:
    whole, slices = compiled(make, backend), compiled(make, backend)
    for number in range(4):
        loss = slices.forward(*data(number=number))
        slices.backward()
        slices.update()
        assert whole.step(*data(number=number)) == loss
    assert_same_states(whole, slices)


@every_network
def test_a_checked_step_is_a_step(make: Make, backend: Backend) -> None:
    usual, checked = compiled(make, backend), compiled(make, backend)
    for number in range(3):
        assert usual.step(*data(number=number)) == checked.step(*data(number=number), check=True)
    assert_same_states(usual, checked)


@every_network
def test_batch_sizes_share_their_states(make: Make, backend: Backend) -> None:
    """More sizes than programs are kept: those that were dropped are made again."""
    network, other = compiled(make, backend), compiled(make, backend)
    sizes = [*range(2, MAX_PROGRAMS + 4), 2]
    for size in sizes:
        network.step(*data(size))
    for size in sizes:
        other.compiled._programs.clear()
        other.step(*data(size))
    assert_same_states(network, other)
    assert network.compiled.step_record["step"] == len(sizes)


def test_slices_come_in_their_order(backend: Backend) -> None:
    network = compiled(plain, backend)
    for wrong in (network.backward, network.update):
        with pytest.raises(GocunetsError, match=f"{wrong.__name__} is not due: a step is forward, backward, update"):
            wrong()
    network.forward(*data())
    with pytest.raises(GocunetsError, match="update is not due"):
        network.update()
    network.backward()
    with pytest.raises(GocunetsError, match="backward is not due"):
        network.backward()
    network.update()
    with pytest.raises(GocunetsError, match="update is not due"):
        network.update()


def test_a_step_that_was_begun_ends_with_a_new_compile(backend: Backend) -> None:
    network = compiled(plain, backend)
    network.forward(*data())
    network.compile(device=backend)
    with pytest.raises(GocunetsError, match="backward is not due"):
        network.backward()


def test_programs_are_kept(backend: Backend) -> None:
    compilation = compiled(plain, backend).compiled
    first, *others = [compilation.program("training", size) for size in range(1, MAX_PROGRAMS + 1)]
    assert compilation.program("training", 1) is first
    compilation.program("module", 1)  # in the place of what was used least recently
    assert compilation.program("training", 1) is first
    assert compilation.program("training", 2) is not others[0]


@pytest.mark.parametrize("name", ["step", "inspect", "evaluate", "predict", "fit"])
def test_another_use_ends_a_step_that_was_begun(name: str, backend: Backend) -> None:
    network = compiled(plain, backend)
    network.forward(*data(6))
    USES[name](network)
    with pytest.raises(GocunetsError, match="backward is not due"):
        network.backward()


def test_inference_does_not_disturb_a_step_that_was_begun(backend: Backend) -> None:
    network, alone = compiled(rich, backend), compiled(rich, backend)
    for each in (network, alone):
        each.forward(*data(6))
        if each is network:
            each.inference(X)
        each.backward()
        each.update()
    assert_same_states(network, alone)


@every_network
def test_forward_alone_changes_nothing(make: Make, backend: Backend) -> None:
    network = compiled(make, backend)
    network.step(*data())
    before = contents(network)
    assert network.forward(*data()) == network.forward(*data())
    network.backward()
    assert contents(network) == before


@every_network
def test_training_is_not_disturbed(make: Make, backend: Backend) -> None:
    """Evaluation, prediction, inference and inspection between steps change no later bit."""
    quiet, busy = compiled(make, backend), compiled(make, backend)
    for number in range(4):
        quiet.step(*data(number=number))
        busy.evaluate(data(7, 50), batch=3)
        busy.predict(data(5, 51)[0])
        busy.inference(data(6, 52)[0])
        busy.inspect(*data(5, 53))
        busy.step(*data(number=number))
    assert_same_states(quiet, busy)


def test_a_step_learns(backend: Backend) -> None:
    network = compiled(plain, backend)
    first = network.step(*data(40))
    for _ in range(60):
        last = network.step(*data(40))
    assert last < 0.3 * first


def test_running_statistics_follow_the_batches(backend: Backend) -> None:
    network = Network(nn.Sequential(nn.BatchNorm(momentum=0.25), nn.Dense(CLASSES)), SHAPE).compile(
        device=backend, dtype="float64"
    )
    mean, variance = np.zeros(2), np.ones(2)
    for number in range(3):
        x, target = data(number=number)
        network.step(x, target)
        mean = 0.75 * mean + 0.25 * x.astype(np.float64).mean((0, 2, 3))
        variance = 0.75 * variance + 0.25 * x.astype(np.float64).var((0, 2, 3), ddof=1)
    found = {state.name: network.compiled.store.read(state) for state in network.compiled.store.states}
    np.testing.assert_allclose(found["batchnorm1.running_mean"], mean, rtol=1e-9)
    np.testing.assert_allclose(found["batchnorm1.running_variance"], variance, rtol=1e-9)


def test_inference_drops_nothing_and_normalises_by_running_statistics(backend: Backend) -> None:
    network = Network(nn.Sequential(nn.BatchNorm(), nn.Dropout(0.5)), SHAPE).compile(
        device=backend, dtype="float64", loss=losses.MeanSquaredError()
    )
    x = data()[0].astype(np.float64)
    np.testing.assert_allclose(network.inference(x), x / np.sqrt(1 + 1e-5), rtol=1e-12)


def test_dropout_takes_another_mask_each_step(backend: Backend) -> None:
    network = Network(nn.Dropout(0.5), SHAPE).compile(
        device=backend, loss=losses.MeanSquaredError(), keep=["dropout_1"]
    )
    x = data()[0]
    masks = []
    for step in range(2):
        network.step(x, x)
        masks.append(network.value("dropout_1"))
        np.testing.assert_array_equal(masks[-1], convnetgo.dropout_forward(x, 0.5, seed=0, node=1, step=step)[1])
    assert (masks[0] != masks[1]).any()


# --- looking inside -----------------------------------------------------------------------------------------------


@every_network
def test_inspect_tells_every_value_and_gradient(make: Make, backend: Backend) -> None:
    network = compiled(make, backend)
    network.step(*data(number=1))
    before = contents(network)
    values = network.inspect(*data())
    assert contents(network) == before
    graph = network.compiled.program("training", 8).graph
    assert {value.name for node in graph.nodes for value in node.outputs} <= values.keys()
    assert {f"gradient/{name}" for name in network.weights} <= values.keys()
    for name, w in network.weights.items():
        np.testing.assert_array_equal(values[name], w)
    assert float(values["loss"]) == network.forward(*data())
    for name, dw in network.backward().items():
        assert dw.tobytes() == values[f"gradient/{name}"].tobytes(), name


def test_kept_values_can_be_read(backend: Backend) -> None:
    name = "conv1.convolution"
    network = compiled(plain, backend, keep=[name])
    values = network.inspect(*data())
    network.step(*data())
    assert network.value(name).tobytes() == values[name].tobytes()
    network.forward(*data())
    assert network.value(name).shape == (8, 3, 6, 6)


def test_other_values_name_inspect(backend: Backend) -> None:
    network = compiled(plain, backend)
    network.step(*data())
    with pytest.raises(ValueReleased, match=r"%conv1\.convolution shares its memory .* Network\.inspect"):
        network.value("conv1.convolution")
    with pytest.raises(KeyError, match="no value 'conv9'"):
        network.value("conv9")


def test_all_values_can_be_read_where_none_is_shared(backend: Backend) -> None:
    network = compiled(plain, backend, share=False)
    values = network.inspect(*data())
    network.step(*data())
    assert network.value("conv1.convolution").tobytes() == values["conv1.convolution"].tobytes()


def test_outputs_can_always_be_read(backend: Backend) -> None:
    network = compiled(plain, backend)
    loss = network.step(*data())
    assert float(network.value("loss")) == loss
    assert network.value("gradient/conv1.w").shape == (3, 2, 3, 3)


def test_there_is_no_value_before_a_step(backend: Backend) -> None:
    with pytest.raises(GocunetsError, match="no step was made yet"):
        compiled(plain, backend).value("loss")


def test_keeping_what_does_not_exist(backend: Backend) -> None:
    network = compiled(plain, backend)
    with pytest.raises(ValueError, match=r"keep: no value nothing; there are conv1\.convolution, "):
        network.compile(device=backend, keep=["nothing"])
    network.step(*data())


# --- who is to blame ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Logarithm(Op):
    """y = log x."""

    name: ClassVar[str] = "logarithm_in_tests"

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        return inputs


@kernel(Logarithm)
def _(op: Logarithm, x: Array) -> Array:
    with np.errstate(invalid="ignore"):
        return np.log(x)


class Log(nn.Module):
    def forward(self, x: Value) -> Value:
        return one(x.graph.add(Logarithm(), x))


def test_a_checked_step_names_the_culprit() -> None:
    network = compiled(lambda: nn.Sequential(Log(), nn.Dense(CLASSES)))
    before = contents(network)
    with pytest.raises(
        FloatingPointError, match=r"layer log1 \(logarithm_in_tests\) made infinite or NaN values in %log1"
    ):
        network.step(*data(), check=True)
    after = contents(network)
    assert {name for name in after if after[name] != before[name]} <= {"step_state"}
    assert not network.compiled.step_record["nonfinite"]


def test_a_checked_step_names_the_loss() -> None:
    network = compiled(rich)
    x, target = data()
    target[3] = CLASSES
    with pytest.raises(
        GraphError, match=r"layer loss \(cross_entropy\) failed: cross_entropy: label 4 at index \(3,\)"
    ):
        network.step(x, target, check=True)


@pytest.mark.parametrize("label", [-1, CLASSES])
def test_a_label_out_of_range_stops_a_step(label: int, backend: Backend) -> None:
    network = compiled(rich, backend)
    network.step(*data())
    before = contents(network)
    x, target = data()
    target[2] = label
    with pytest.raises(ValueError, match=rf"label {label} at index \(2,\) is outside 0\.\.3"):
        network.step(x, target)
    assert contents(network) == before
    assert math.isfinite(network.step(*data()))


# --- whole data sets ----------------------------------------------------------------------------------------------


def by_hand(network: Network, x: Array, target: Array, batch: int, epoch: int, last: Any = "smaller") -> list[int]:
    """One epoch of steps in the order that fit takes; returns the sizes."""
    order = epoch_order(len(x), network.seed, epoch)
    bounds = [(start, min(stop, len(x))) for start, stop in batch_bounds(len(x), batch, last)]
    for start, stop in bounds:
        network.step(x[order[start:stop]], target[order[start:stop]])
    return [stop - start for start, stop in bounds]


@every_network
@pytest.mark.parametrize(("last", "sizes"), [("smaller", [8, 8, 5]), ("drop", [8, 8])])
def test_fit_is_steps_in_the_order_of_the_seed(make: Make, last: Any, sizes: list[int], backend: Backend) -> None:
    fitted, stepped = compiled(make, backend), compiled(make, backend)
    x, target = data(21)
    records = fitted.fit((x, target), epochs=2, batch=8, last=last)
    for epoch in range(2):
        assert by_hand(stepped, x, target, 8, epoch, last) == sizes
    assert fitted.weights.keys() == stepped.weights.keys()
    left, right = contents(fitted, ["step_state"]), contents(stepped, ["step_state"])
    assert left == right
    assert [record.steps for record in records] == [len(sizes), 2 * len(sizes)]


def test_padding_is_a_smaller_batch_in_all_but_rounding(backend: Backend) -> None:
    padded, smaller = (compiled(plain, backend, dtype="float64", optimizer=optim.Momentum(0.05)) for _ in range(2))
    records = [
        network.fit(data(21), epochs=3, batch=8, last=last) for network, last in ((padded, "pad"), (smaller, "smaller"))
    ]
    for name, w in padded.weights.items():
        np.testing.assert_allclose(w, smaller.weights[name], rtol=1e-9, atol=1e-12)
    for left, right in zip(*records, strict=True):
        assert left.loss == pytest.approx(right.loss, rel=1e-9)
        assert (left.accuracy, left.steps) == (right.accuracy, right.steps)


@pytest.mark.parametrize("valid", [1, 3, 7, 8])
def test_the_masked_mean_is_the_mean_of_the_smaller_batch(valid: int, backend: Backend) -> None:
    padded, smaller = (compiled(plain, backend, dtype="float64") for _ in range(2))
    x, target = data()
    padded.train_batch(x.astype(np.float64), target, valid)
    loss = smaller.step(x[:valid], target[:valid])
    assert float(padded.value("loss")) == pytest.approx(loss, rel=1e-12)
    for name in padded.weights:
        np.testing.assert_allclose(padded.value(f"gradient/{name}"), smaller.value(f"gradient/{name}"), atol=1e-12)


def test_dropped_samples_do_not_count(backend: Backend) -> None:
    network = compiled(plain, backend)
    network.fit(data(21), batch=8, last="drop")
    assert network.compiled.step_record["step"] == 2


def test_records_say_what_was_seen(backend: Backend) -> None:
    network = compiled(plain, backend, optimizer=optim.SGD(0.0))
    train, test = data(21), data(13, 9)
    (record,) = network.fit(train, batch=8, validation=test)
    seen, unseen = network.evaluate(train), network.evaluate(test)
    assert record.loss == pytest.approx(seen.loss, rel=1e-5)
    assert (record.epoch, record.steps, record.accuracy) == (1, 3, seen.accuracy)
    assert (record.validation_loss, record.validation_accuracy) == (unseen.loss, unseen.accuracy)
    assert record.seconds > 0


def test_two_fits_are_one_of_twice_the_length(backend: Backend) -> None:
    once, twice = compiled(rich, backend), compiled(rich, backend)
    records = once.fit(data(21), epochs=4, batch=8)
    parts = [twice.fit(data(21), epochs=2, batch=8) for _ in range(2)]
    assert contents(once, ["step_state"]) == contents(twice, ["step_state"])
    assert [record.loss for record in records] == [record.loss for part in parts for record in part]
    assert [record.epoch for part in parts for record in part] == [1, 2, 1, 2]


def test_no_epochs_change_nothing(backend: Backend) -> None:
    network = compiled(plain, backend)
    before = contents(network)
    assert network.fit(data(21), epochs=0, batch=8) == []
    assert contents(network) == before


@every_network
@pytest.mark.parametrize("batch", [1, 7, 30, 1000])
def test_evaluation_does_not_depend_on_the_batch(make: Make, batch: int, backend: Backend) -> None:
    network = compiled(make, backend)
    network.fit(data(21), batch=8)
    whole, parts = network.evaluate(data(61, 5), batch=61), network.evaluate(data(61, 5), batch=batch)
    assert (parts.accuracy, parts.count) == (whole.accuracy, 61)
    assert parts.loss == pytest.approx(whole.loss, rel=1e-6)


def test_evaluation_is_what_the_outputs_say(backend: Backend) -> None:
    network = compiled(plain, backend, dtype="float64")
    x, target = data(23)
    y = network.inference(x)
    found = network.evaluate((x, target), batch=10)
    assert found.loss == pytest.approx(convnetgo.cross_entropy(y, target)[0].mean())
    assert found.accuracy == (y.argmax(1) == target).mean()


@pytest.mark.parametrize("batch", [None, 1, 5, 100])
def test_predictions_are_probabilities(batch: int | None, backend: Backend) -> None:
    network = compiled(plain, backend)
    x = data(23)[0]
    probabilities = network.predict(x, batch=batch)
    np.testing.assert_allclose(probabilities, convnetgo.softmax(network.inference(x)), rtol=1e-5)
    np.testing.assert_allclose(probabilities.sum(1), np.ones(23), rtol=1e-6)


def test_one_image_is_a_batch_of_one(backend: Backend) -> None:
    network = compiled(plain, backend)
    x = data()[0]
    np.testing.assert_array_equal(network.predict(x[0]), network.predict(x[:1]))


def test_a_regression_predicts_its_output_and_has_no_accuracy(backend: Backend) -> None:
    network = compiled(plain, backend, loss=losses.MeanSquaredError())
    x, _ = data(12)
    target = np.random.default_rng(0).standard_normal((12, CLASSES)).astype(np.float32)
    (record,) = network.fit((x, target), batch=5)
    found = network.evaluate((x, target))
    assert (record.accuracy, found.accuracy) == (None, None)
    np.testing.assert_allclose(network.predict(x), network.inference(x), rtol=1e-6)
    assert found.loss == pytest.approx(np.square(network.inference(x) - target).mean(), rel=1e-5)


def test_accuracy_of_pixels_is_a_share(backend: Backend) -> None:
    network = Network(nn.Conv(3, 1), SHAPE).compile(device=backend)
    x = data(10)[0]
    target = np.random.default_rng(0).integers(0, 3, (10, 6, 6))
    (record,) = network.fit((x, target), batch=4)
    found = network.evaluate((x, target), batch=4)
    assert record.accuracy is not None
    assert 0 < record.accuracy < 1
    assert found.accuracy == pytest.approx((network.inference(x).argmax(1) == target).mean())


def pixels(size: int = 21) -> Dataset:
    rng = np.random.default_rng(0)
    return Dataset(
        "pixels", rng.integers(0, 256, (size, *SHAPE), dtype=np.uint8), rng.integers(0, CLASSES, size), CLASSES
    )


def test_a_data_set_brings_its_normalization(backend: Backend) -> None:
    network, other = compiled(rich, backend), compiled(rich, backend)
    images = pixels()
    network.fit(images, batch=8)
    assert network.normalization == images.normalization()
    x = images.normalization().apply(images.images)
    other.fit((x, images.labels), batch=8)
    assert_same_states(network, other)
    np.testing.assert_array_equal(network.predict(images.images), other.predict(x))


def test_evaluation_sets_no_normalization(backend: Backend) -> None:
    network = compiled(plain, backend)
    network.fit(data(10), batch=5)
    before = network.predict(X)
    network.evaluate(pixels())
    np.testing.assert_array_equal(network.predict(X), before)


def test_an_untrained_network_is_evaluated_by_the_data_sets_own_normalization(backend: Backend) -> None:
    network, images = compiled(plain, backend), pixels()
    x = images.normalization().apply(images.images)
    assert network.evaluate(images) == network.evaluate((x, images.labels))


def test_the_first_normalization_stays(backend: Backend) -> None:
    network, other, images = compiled(plain, backend), compiled(plain, backend), pixels()
    network.normalization = first = Normalization(0.5, 1.0)
    assert network.evaluate(images) == other.evaluate((first.apply(images.images), images.labels))
    network.fit(images, batch=8)
    assert network.normalization == first


# --- callbacks ----------------------------------------------------------------------------------------------------


class Diary(Callback):
    def __init__(self, stop_at: int | None = None) -> None:
        self.calls: list[str] = []
        self.stop_at = stop_at

    def on_start(self, trainer: Trainer) -> None:
        self.calls.append("start")

    def on_step(self, trainer: Trainer) -> None:
        self.calls.append(f"step {trainer.step}")
        if trainer.step == self.stop_at:
            trainer.stop()

    def on_epoch(self, trainer: Trainer, record: EpochRecord) -> None:
        self.calls.append(f"epoch {record.epoch}")

    def on_stop(self, trainer: Trainer) -> None:
        self.calls.append("stop")


def test_callbacks_are_called_in_order(backend: Backend) -> None:
    diary = Diary()
    compiled(plain, backend).fit(data(16), epochs=2, batch=8, callbacks=[diary])
    assert diary.calls == ["start", "step 1", "step 2", "epoch 1", "step 3", "step 4", "epoch 2", "stop"]


@pytest.mark.parametrize("at", [1, 3, 4, 5])
def test_a_stopped_fit_goes_on_where_it_was(at: int, backend: Backend) -> None:
    whole, stopped = compiled(rich, backend), compiled(rich, backend)
    records = whole.fit(data(21), epochs=3, batch=8)
    diary = Diary(stop_at=at)
    stopped.fit(data(21), epochs=3, batch=8, callbacks=[diary])
    assert diary.calls[-1] == "stop"
    assert stopped.compiled.step_record["step"] == at
    resumed = stopped.fit(data(21), epochs=3, batch=8, resume=True)
    assert_same_states(whole, stopped)
    assert [(r.loss, r.accuracy) for r in resumed] == [(r.loss, r.accuracy) for r in records]


def test_a_fit_goes_on_only_as_it_began(backend: Backend) -> None:
    network = compiled(plain, backend)
    network.fit(data(21), epochs=2, batch=8, callbacks=[Diary(stop_at=2)])
    with pytest.raises(ValueError, match=r"21 samples in batches of 8 \(last='smaller'\).* 21 in batches of 7"):
        network.fit(data(21), epochs=2, batch=7, resume=True)


def test_training_ends_below_a_limit(backend: Backend) -> None:
    network = compiled(plain, backend)
    records = network.fit(data(40), epochs=200, batch=20, callbacks=[StopBelow(0.5, "loss")])
    assert len(records) < 200
    assert records[-1].loss < 0.5 <= records[-2].loss


# --- bad input ----------------------------------------------------------------------------------------------------


X, LABELS = data(10)
BAD_DATA: dict[str, tuple[Any, dict[str, Any], type[Exception], str]] = {
    "batch larger than the data": ((X, LABELS), {"batch": 11}, ValueError, "batch 11 is larger than the data: 10"),
    "batch 0": ((X, LABELS), {"batch": 0}, ValueError, "batch is 0, expected at least 1"),
    "negative epochs": ((X, LABELS), {"batch": 5, "epochs": -1}, ValueError, "epochs is -1"),
    "unknown last": ((X, LABELS), {"batch": 5, "last": "keep"}, ValueError, "last='keep'"),
    "fewer labels": ((X, LABELS[:9]), {"batch": 5}, ValueError, "10 images with 9 targets"),
    "no data": ((X[:0], LABELS[:0]), {"batch": 5}, ValueError, "0 images with 0 targets"),
    "image shape": ((X[:, :1], LABELS), {"batch": 5}, ValueError, r"\(1, 6, 6\), the network takes \(2, 6, 6\)"),
    "one-hot labels": ((X, np.eye(CLASSES)[LABELS]), {"batch": 5}, ValueError, r"targets have shape \(4,\)"),
    "float labels": ((X, LABELS * 1.0), {"batch": 5}, TypeError, "labels are float64; integers are needed"),
    "label too large": ((X, LABELS + 1), {"batch": 5}, ValueError, r"labels lie in 1\.\.4, the network has 4 classes"),
    "negative label": ((X, LABELS - 1), {"batch": 5}, ValueError, r"labels lie in -1\.\.2.*\(0\.\.3\)"),
}


@pytest.mark.parametrize(("given", "settings", "error", "message"), BAD_DATA.values(), ids=BAD_DATA)
def test_fit_refuses(given: Any, settings: Any, error: type[Exception], message: str, backend: Backend) -> None:
    network = compiled(rich, backend)
    network.step(*data())
    before = contents(network)
    with pytest.raises(error, match=message):
        network.fit(given, **settings)
    assert contents(network) == before
    assert len(network.fit((X, LABELS), batch=5)) == 1


def test_bad_validation_data_is_refused_before_the_first_step(backend: Backend) -> None:
    network = compiled(plain, backend)
    before = contents(network)
    with pytest.raises(ValueError, match="labels lie in"):
        network.fit((X, LABELS), batch=5, validation=(X, LABELS + 1))
    assert contents(network) == before


def test_a_data_set_with_nan_cannot_be_made() -> None:
    images = X.copy()
    images[4, 1, 2, 3] = np.nan
    with pytest.raises(DataError, match=r"bad: image 4 holds nan at \(channel, row, column\) \(1, 2, 3\)"):
        Dataset("bad", images, LABELS, CLASSES)


@every_network
def test_nan_in_the_data_stops_training_at_the_last_good_step(make: Make, backend: Backend) -> None:
    fitted, stepped = compiled(make, backend), compiled(make, backend)
    x, target = data(21)
    order = epoch_order(21, fitted.seed, 0)
    bad = x.copy()
    bad[order[10]] = np.nan  # in the second batch
    with pytest.raises(NonFiniteLoss, match=r"at step 2 \(epoch 1\)"):
        fitted.fit((bad, target), batch=8)
    stepped.step(x[order[:8]], target[order[:8]])
    left, right = contents(fitted, ["step_state"]), contents(stepped, ["step_state"])
    assert left == right


@pytest.mark.parametrize(
    ("x", "target", "error", "message"),
    [
        (X[:, :, :5], LABELS, ValueError, r"input x has shape \(10, 2, 6, 6\), not \(10, 2, 5, 6\)"),
        (X, LABELS[:9], ValueError, r"input target has shape \(10,\), not \(9,\)"),
        (X, LABELS * 0.5, TypeError, "Cannot cast"),
    ],
    ids=["images", "labels", "float labels"],
)
def test_a_step_refuses(x: Array, target: Array, error: type[Exception], message: str, backend: Backend) -> None:
    network = compiled(plain, backend)
    with pytest.raises(error, match=message):
        network.step(x, target)
    network.step(X, LABELS)


def test_predict_and_inference_refuse_other_shapes(backend: Backend) -> None:
    network = compiled(plain, backend)
    with pytest.raises(ValueError, match=r"input x has shape \(10, 2, 6, 6\), not \(10, 1, 6, 6\)"):
        network.inference(X[:, :1])
    for images in (X[:, :1], X[:0]):
        with pytest.raises(ValueError, match=r"images have shape \(\d+, \d, 6, 6\); \(N, 2, 6, 6\) is needed"):
            network.predict(images)


USES: dict[str, Callable[[Network], object]] = {
    "step": lambda network: network.step(X, LABELS),
    "forward": lambda network: network.forward(X, LABELS),
    "inference": lambda network: network.inference(X),
    "inspect": lambda network: network.inspect(X, LABELS),
    "fit": lambda network: network.fit((X, LABELS), batch=5),
    "evaluate": lambda network: network.evaluate((X, LABELS)),
    "predict": lambda network: network.predict(X),
    "value": lambda network: network.value("loss"),
    "weights": lambda network: network.weights,
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_what_needs_a_compiled_network_says_so(use: Callable[[Network], object]) -> None:
    with pytest.raises(GocunetsError, match="the network is not compiled; call compile"):
        use(Network(plain(), SHAPE))


# --- compile, and modules in networks -----------------------------------------------------------------------------


@every_network
def test_compiling_again_keeps_the_weights(make: Make, backend: Backend) -> None:
    network = compiled(make, backend)
    network.fit(data(21), batch=8)
    kept = {state.name for state in network.compiled.store.states if state.role in ("parameter", "statistic")}
    before = contents(network)
    network.compile(device=backend, optimizer=optim.SGD(0.1))
    after = contents(network)
    assert {name: after[name] for name in kept} == {name: before[name] for name in kept}
    assert network.compiled.step_record["step"] == 0
    assert math.isfinite(network.step(*data()))


def test_weights_go_from_float32_to_float64_and_back(backend: Backend) -> None:
    network = compiled(rich, backend)
    network.step(*data())
    single = network.weights
    for dtype in ("float64", "float32"):
        network.compile(device=backend, dtype=dtype)
        for name, w in network.weights.items():
            assert w.dtype == dtype
            np.testing.assert_array_equal(w, single[name])
        network.step(*data(5))
        network.compile(device=backend, dtype=dtype)
        for name, w in single.items():
            state = next(state for state in network.compiled.store.states if state.name == name)
            network.compiled.store.write(state, w)


@pytest.mark.parametrize(
    "settings",
    [
        {"dtype": "float64", "optimizer": {"nothing": optim.SGD()}},
        {"dtype": "float64", "keep": ["nothing"]},
        {"dtype": "int8"},
        {"device": "gpu"},
        {"math": "tf32"},
    ],
    ids=str,
)
def test_a_compile_that_fails_changes_nothing(settings: dict[str, Any]) -> None:
    network, other = compiled(rich), compiled(rich)
    network.step(*data())
    other.step(*data())
    with pytest.raises((ValueError, TypeError, GocunetsError)):
        network.compile(**{"device": "cpu"} | settings)
    for size in (8, 5):
        assert network.step(*data(size)) == other.step(*data(size))
    assert_same_states(network, other)


def test_a_module_belongs_to_one_network() -> None:
    used = nn.Dense(3)
    first = Network(nn.Sequential(used), (4,)).compile(device="cpu")
    fresh = nn.Dense(4)
    with pytest.raises(ValueError, match=r"parameter dense2\.w belongs to another Network; make a module for each"):
        Network(nn.Sequential(fresh, used), (4,))
    assert used.path == "dense1"
    first.step(np.zeros((2, 4)), np.array([0, 1]))
    Network(nn.Sequential(fresh), (4,))


def test_layouts_differ_in_memory_only() -> None:
    x, labels = data()
    networks = {name: compiled(rich, layout=name) for name in ("auto", "channels_first", "channels_last")}
    steps = {name: [network.step(x, labels) for _ in range(3)] for name, network in networks.items()}
    for name, network in networks.items():
        assert steps[name] == pytest.approx(steps["auto"], rel=1e-6)
        for key, w in network.weights.items():
            np.testing.assert_allclose(w, networks["auto"].weights[key], rtol=1e-4, atol=1e-6, err_msg=name)
    types = [value.type for value in networks["channels_last"].compiled.program("training", len(x)).plan.slots]
    assert any(type.channels_last for type in types)
    with pytest.raises(ValueError, match="layout 'NHWC' is none of auto, channels_first, channels_last"):
        compiled(rich, layout="NHWC")


def test_a_dropped_network_is_gone_at_once() -> None:
    gc.disable()  # reference counts alone: with a cycle, its memory would wait for the collector
    try:
        network = Network(zoo.thesis_network(), (1, 28, 28)).compile(device="cpu")
        for _ in range(2):
            network.step(np.zeros((4, 1, 28, 28), np.float32), np.zeros(4, np.int64))
        remains = [weakref.ref(network), weakref.ref(network.compiled.store)]
        remains.append(weakref.ref(network.compiled.program("training", 4)))
        del network
        assert [remain() for remain in remains] == [None, None, None]
    finally:
        gc.enable()


def test_a_network_prints_its_graph() -> None:
    text = str(Network(plain(), SHAPE).trace("training", batch=3))
    assert text.startswith("graph (training)\n  input %x: float32[3, 2, 6, 6]\n  state %conv1.w: float32[3, 2, 3, 3]")


# --- threads ------------------------------------------------------------------------------------------------------


class Waiting(Callback):
    """Holds the training thread after its first step until it may go on."""

    def __init__(self) -> None:
        self.entered, self.open = threading.Event(), threading.Event()

    def on_step(self, trainer: Trainer) -> None:
        self.wait()

    def wait(self) -> None:
        self.entered.set()
        assert self.open.wait(10)


def assert_busy(network: Network, other: threading.Thread, use: Callable[[Network], object], waiting: Waiting) -> None:
    """While the other thread waits inside, this one cannot enter; once it has left, it can."""
    other.start()
    try:
        assert waiting.entered.wait(10)
        with pytest.raises(ConcurrentUse) as caught:
            use(network)
    finally:
        waiting.open.set()
        other.join(10)
    assert str(caught.value) == (
        f"thread {threading.get_ident()} uses a network that thread {other.ident} is using; it serves one at a time"
    )


every_use = pytest.mark.parametrize("name", [name for name in USES if name != "weights"])


@every_use
def test_no_other_thread_enters_a_step(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    network, waiting = compiled(plain), Waiting()
    network.step(X, LABELS)
    program = network.compiled.program("training", 10)
    monkeypatch.setattr(program, "run", lambda *_, **__: waiting.wait())
    thread = threading.Thread(target=network.train_batch, args=(X, LABELS, 10))
    assert_busy(network, thread, USES[name], waiting)
    monkeypatch.undo()
    USES[name](network)


@every_use
def test_no_other_thread_enters_a_fit(name: str) -> None:
    network, alone, waiting = compiled(rich), compiled(rich), Waiting()
    settings: dict[str, Any] = {"batch": 8, "epochs": 2}
    thread = threading.Thread(target=network.fit, args=(data(21),), kwargs=settings | {"callbacks": [waiting]})
    assert_busy(network, thread, USES[name], waiting)
    alone.fit(data(21), **settings)
    assert_same_states(network, alone)


def test_callbacks_may_use_the_network(backend: Backend) -> None:
    class Looks(Callback):
        def on_step(self, trainer: Trainer) -> None:
            for use in USES.values():
                if use not in (USES["step"], USES["fit"]):
                    use(trainer.network)

    watched, alone = compiled(rich, backend), compiled(rich, backend)
    watched.fit(data(21), batch=8, callbacks=[Looks()])
    alone.fit(data(21), batch=8)
    assert contents(watched, ["step_state"]) == contents(alone, ["step_state"])


def test_two_networks_in_two_threads() -> None:
    networks = [compiled(rich) for _ in range(3)]
    threads = [threading.Thread(target=network.fit, args=(data(40),), kwargs={"batch": 8}) for network in networks[:2]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    networks[2].fit(data(40), batch=8)
    for one_network, other in itertools.pairwise(networks):
        assert contents(one_network) == contents(other)


# --- after a step that is not finite ------------------------------------------------------------------------------


def spoiled() -> Array:
    images = X.copy()
    images[3] = np.nan
    return images


def test_the_update_slice_says_that_a_step_was_bad_and_the_next_is_good(backend: Backend) -> None:
    network, undisturbed = compiled(plain, backend), compiled(plain, backend)
    network.forward(spoiled(), LABELS)
    network.backward()
    with pytest.raises(NonFiniteLoss, match="at step 1"):
        network.update()
    for each in (network, undisturbed):
        each.forward(X, LABELS)
        each.backward()
        each.update()
    for name, w in undisturbed.weights.items():
        np.testing.assert_array_equal(network.weights[name], w)


def test_after_a_fit_that_diverged_steps_and_files_are_clean(backend: Backend, tmp_path: Path) -> None:
    network = compiled(plain, backend)
    with pytest.raises(NonFiniteLoss):
        network.fit((spoiled(), LABELS), batch=5)
    network.save(tmp_path / "model")
    assert network.step(X, LABELS) > 0
    assert Network.load(tmp_path / "model", device=backend).step(X, LABELS) > 0


def test_nothing_can_be_resumed_after_compiling_anew(backend: Backend) -> None:
    network = compiled(plain, backend)
    network.fit((X, LABELS), batch=5)
    network.compile(device=backend)
    with pytest.raises(ValueError, match="no training to resume"):
        network.fit((X, LABELS), epochs=2, batch=5, resume=True)


@pytest.mark.parametrize("epochs", [1.5, "2"])
def test_epochs_are_whole(epochs: Any, backend: Backend) -> None:
    with pytest.raises(TypeError):
        compiled(plain, backend).fit((X, LABELS), epochs=epochs, batch=5)


@pytest.mark.parametrize("shape", [(2, 6.5, 6), ("2", 6, 6)])
def test_input_shapes_are_whole(shape: Any) -> None:
    with pytest.raises(TypeError):
        Network(plain(), shape)


def test_results_do_not_depend_on_the_threads_of_blas() -> None:
    program = """
import hashlib, numpy as np
from gocunets import Network, zoo
rng = np.random.default_rng(0)
network = Network(zoo.thesis_network(), (1, 28, 28)).compile(device="cpu")
network.fit((rng.standard_normal((200, 1, 28, 28), np.float32), rng.integers(0, 10, 200)), batch=100)
print(hashlib.sha256(b"".join(w.tobytes() for w in network.weights.values())).hexdigest())
"""
    digests = set()
    for threads in ("1", "2", "7"):
        environment = os.environ | {"OPENBLAS_NUM_THREADS": threads, "OMP_NUM_THREADS": threads}
        command = [sys.executable, "-c", program]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        digests.add(done.stdout)
    assert len(digests) == 1


class Small(NumpyBackend):
    """A device with little memory."""

    def allocate(self, nbytes: int) -> Any:
        if nbytes > 100_000:
            raise OutOfDeviceMemory(nbytes, 100_000)
        return super().allocate(nbytes)


def test_a_batch_too_large_for_the_device_says_which_would_fit() -> None:
    network = compiled(plain, Small())
    with pytest.raises(
        OutOfDeviceMemory, match=r"a batch of 1,000 does not fit: .* a batch of about \d+ would fit"
    ) as caught:
        network.inference(np.zeros((1000, *SHAPE), np.float32))
    fits = caught.value.fits
    assert fits is not None
    assert network.inference(np.zeros((fits, *SHAPE), np.float32)).shape[0] == fits
