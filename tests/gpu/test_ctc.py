"""CTC loss on the card against alpha and beta in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gocudnn_py._abi.cudnn import CTCGradMode, CTCLossAlgo, LossNormalizationMode
from gocudnn_py.cuda import DeviceBuffer
from gocudnn_py.cudnn import Handle, TensorDescriptor
from gocudnn_py.cudnn.ctc import CtcLossDescriptor, CtcVersion, DeviceLabels, HostLabels
from tests.gpu.card import Array, Card, numbers
from tests.oracles.ctc import cost_and_gradient, log_softmax

STEPS, ALPHABET = 9, 5
LABELS = [(1, 2, 3), (4, 4), (2,), (3, 1, 3, 2)]
FULL = (STEPS,) * len(LABELS)
U = 2.0**-24
LOSSES = {
    False: ("cudnnGetCTCLossWorkspaceSize_v8", "cudnnCTCLoss_v8"),
    True: ("cudnnGetCTCLossWorkspaceSize", "cudnnCTCLoss"),
}
NONE, SOFTMAX = LossNormalizationMode.NONE, LossNormalizationMode.SOFTMAX
DETERMINISTIC, OTHER = CTCLossAlgo.DETERMINISTIC, CTCLossAlgo.NON_DETERMINISTIC


def activations(steps: int = STEPS, batch: int = len(LABELS)) -> Array:
    return 2 * numbers(steps, batch, ALPHABET, seed=2)


def bound(cost: float, steps: int) -> float:
    """The error of sums of logarithms as large as the cost, over `steps` there and back, each rounded a few times."""
    return 8 * U * 2 * steps * (1 + cost)


class Loss:
    """Costs and gradients of inputs (T, N, A) on the card; gradients are 7 where nobody writes."""

    def __init__(self, handle: Handle, card: Card, host: bool, algorithm: CTCLossAlgo = DETERMINISTIC) -> None:
        self.handle, self.card, self.host, self.algorithm = handle, card, host, algorithm

    def labels(self, host: HostLabels) -> HostLabels | DeviceLabels:
        if self.host:
            return host
        arrays = host.labels, host.label_lengths, host.input_lengths
        return DeviceLabels(*(self.card.row(array, np.int32) for array in arrays))

    def run(
        self, ctc: CtcLossDescriptor, inputs: Array, labels: list[Any], lengths: tuple[int, ...], wanted: bool = True
    ) -> tuple[Array, Array]:
        host, described = HostLabels(labels, lengths), TensorDescriptor().set(np.float32, inputs.shape)
        on_x, on_g, costs = self.card.put(inputs), self.card.put(np.full(inputs.shape, 7.0)), self.costs(len(labels))
        how: Any = {"algorithm": self.algorithm}
        gradients = described if wanted else None
        size = ctc.workspace_size(self.handle, described, gradients, labels=host if self.host else None, **how)
        how["workspace"] = self.card.scratch(size)
        ctc.loss(self.handle, on_x, self.labels(host), costs, on_g if wanted else None, **how)
        return self.card.read(costs, (len(labels),)), self.card.get(on_g)

    def costs(self, batch: int) -> DeviceBuffer:
        return self.card.row(np.full(batch, np.nan))


def check(costs: Array, gradients: Array, inputs: Array, labels: list[Any], lengths: tuple[int, ...]) -> None:
    for sample, (label, steps) in enumerate(zip(labels, lengths, strict=True)):
        cost, gradient = cost_and_gradient(inputs[:steps, sample], label)
        assert abs(costs[sample] - cost) <= bound(cost, steps)
        np.testing.assert_allclose(gradients[:steps, sample], gradient, rtol=0, atol=bound(cost, steps))


@pytest.mark.parametrize("algorithm", [DETERMINISTIC, OTHER])
@pytest.mark.parametrize("host", [pytest.param(host, marks=pytest.mark.covers(*LOSSES[host])) for host in LOSSES])
def test_costs_and_gradients_of_activations(host: bool, algorithm: CTCLossAlgo, handle: Handle, card: Card) -> None:
    x = activations()
    check(*Loss(handle, card, host, algorithm).run(CtcLossDescriptor(), x, LABELS, FULL), x, LABELS, FULL)


@pytest.mark.parametrize("host", [False, True])
def test_costs_and_gradients_of_probabilities(host: bool, handle: Handle, card: Card) -> None:
    probs = np.exp(log_softmax(activations())).astype(np.float32).astype(np.float64)
    ctc = CtcLossDescriptor().set(normalization=NONE)
    costs, gradients = Loss(handle, card, host).run(ctc, probs, LABELS, FULL)
    for sample, label in enumerate(LABELS):
        p = probs[:, sample]
        cost, gradient = cost_and_gradient(np.log(p), label)
        share = p - gradient  # of all paths, those that go through a symbol at a time
        right = np.where(share > 1e-6, -share / p, p)  # where none does, cuDNN writes p
        assert abs(costs[sample] - cost) <= bound(cost, STEPS)
        np.testing.assert_allclose(gradients[:, sample], right, rtol=bound(cost, STEPS), atol=bound(cost, STEPS))


@pytest.mark.covers("cudnnCTCLoss")
def test_samples_of_fewer_time_steps(handle: Handle, card: Card) -> None:
    x, lengths = activations(), (STEPS, 5, 7, STEPS)
    check(*Loss(handle, card, True).run(CtcLossDescriptor(), x, LABELS, lengths), x, LABELS, lengths)


@pytest.mark.parametrize("host", [False, True])
def test_costs_alone(host: bool, handle: Handle, card: Card) -> None:
    x = activations()
    costs, untouched = Loss(handle, card, host).run(CtcLossDescriptor(), x, LABELS, FULL, wanted=False)
    for sample, label in enumerate(LABELS):
        cost, _ = cost_and_gradient(x[:, sample], label)
        assert abs(costs[sample] - cost) <= bound(cost, STEPS)
    assert (untouched == 7).all()


@pytest.mark.parametrize("host", [False, True])
def test_deterministic_means_the_same_bits(host: bool, handle: Handle, card: Card) -> None:
    x, loss = activations(), Loss(handle, card, host)
    runs = [loss.run(CtcLossDescriptor(), x, LABELS, FULL) for _ in range(3)]
    for costs, gradients in runs[1:]:
        assert (costs == runs[0][0]).all()
        assert (gradients == runs[0][1]).all()


@pytest.mark.parametrize("version", [CtcVersion.V9, CtcVersion.V8])
@pytest.mark.parametrize("mode", list(CTCGradMode))
def test_labels_that_do_not_fit(mode: CTCGradMode, version: CtcVersion, handle: Handle, card: Card) -> None:
    """1 1 1 takes five steps, for two blanks must lie between: there are four."""
    x, labels = activations(4, 3), [(1, 2), (1, 1, 1), (3,)]
    ctc = CtcLossDescriptor().set(gradient_mode=mode, version=version)
    costs, gradients = Loss(handle, card, True).run(ctc, x, labels, (4, 4, 4))
    fits = [0, 2]
    check(costs[fits], gradients[:, fits], x[:, fits], [labels[sample] for sample in fits], (4, 4))
    expected = 0 if mode is CTCGradMode.ZERO_OOB_GRADIENTS else 7
    assert (gradients[:, 1] == expected).all()
