"""RNNs on the card against backpropagation through time in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gocudnn_py._abi.cudnn import NanPropagation, RNNAlgo, RNNClipMode, RNNDataLayout
from gocudnn_py.cudnn import Handle
from gocudnn_py.cudnn.dropout import DropoutDescriptor
from gocudnn_py.errors import NotSupported
from tests.gpu.card import Card
from tests.gpu.recurrent import BATCH, BIASES, MODES, PACKED, STEPS, TIME, OnCard, Problem, check
from tests.oracles import rnn as oracle
from tests.oracles.rnn import Network

EQUAL, SORTED, MIXED = (STEPS,) * 3, (5, 4, 2), (2, 5, 3)
CASES = [
    *((Network(mode, 6, 8), TIME, EQUAL) for mode in MODES),
    *((Network(mode, 6, 8, layers=2, bidirectional=True), TIME, MIXED) for mode in MODES),
    *((Network(mode, 6, 8, bidirectional=True), BATCH, MIXED) for mode in ("lstm", "gru")),
    *((Network(mode, 6, 8, layers=2), PACKED, SORTED) for mode in ("tanh", "lstm", "gru")),
    (Network("gru", 6, 8, layers=2, bidirectional=True), PACKED, SORTED),
    (Network("lstm", 6, 8, layers=2, projection=4), TIME, EQUAL),
    (Network("lstm", 6, 8, layers=2, bidirectional=True, projection=4), TIME, MIXED),
    *((Network(mode, 6, 8, bias=bias), TIME, EQUAL) for mode in ("gru", "lstm") for bias in BIASES if bias != "double"),
    *((Network(mode, 8, 8, layers=2, skip=True), TIME, EQUAL) for mode in ("relu", "gru")),
]
CLIPPED = Network("lstm", 6, 8, layers=2, clip=(-0.125, 0.1875))  # cuDNN keeps both as float32
TYPES = [np.float32, np.float64]
SIZES = "cudnnGetRNNWeightSpaceSize", "cudnnGetRNNTempSpaceSizes"
BACKWARD = "cudnnRNNBackwardData_v8", "cudnnRNNBackwardWeights_v8"


@pytest.mark.covers(
    "cudnnSetRNNDescriptor_v8", "cudnnSetRNNDataDescriptor", *SIZES, "cudnnGetRNNWeightParams", "cudnnRNNForward",
    *BACKWARD,
)  # fmt: skip
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(("net", "layout", "lengths"), CASES, ids=str)
def test_everything_against_the_oracle(
    net: Network, layout: RNNDataLayout, lengths: tuple[int, ...], dtype: Any, card: Card, handle: Handle
) -> None:
    problem = Problem(net, layout, lengths, dtype)
    right, passes = problem.forward()
    on_card = OnCard(problem, card, handle)
    check(problem, on_card.forward(training=False), right)
    check(problem, on_card.forward(training=True), right)
    check(problem, on_card.backward(), problem.backward(passes))


@pytest.mark.covers("cudnnGetRNNWeightParams")
@pytest.mark.parametrize(("net", "layout", "lengths"), CASES, ids=str)
def test_weights_lie_side_by_side(
    net: Network, layout: RNNDataLayout, lengths: tuple[int, ...], card: Card, handle: Handle
) -> None:
    on_card = OnCard(Problem(net, layout, lengths, np.float32), card, handle)
    assert list(on_card.regions) == [name for name, _ in oracle.named(net, on_card.problem.cells)]
    ends = 0
    for region in sorted(on_card.regions.values()):
        assert region.offset >= ends
        ends = region.offset + region.nbytes
    assert ends <= on_card.weights.nbytes


@pytest.mark.covers("cudnnRNNBackwardWeights_v8")
def test_gradients_of_weights_are_added(card: Card, handle: Handle) -> None:
    problem = Problem(Network("lstm", 6, 8), TIME, EQUAL, np.float64)
    _, passes = problem.forward()
    on_card = OnCard(problem, card, handle)
    on_card.forward(training=True)
    right = {name: array + 3 * (name.startswith("layer")) for name, array in problem.backward(passes).items()}
    check(problem, on_card.backward(start=3.0), right)


@pytest.mark.covers("cudnnRNNForward")
def test_lengths_on_the_card_change_nothing(card: Card, handle: Handle) -> None:
    on_card = OnCard(Problem(Network("gru", 6, 8), TIME, MIXED, np.float32), card, handle)
    without = on_card.forward(training=False)
    given = on_card.forward(training=False, lengths=card.row(np.array(MIXED), np.int32))
    assert all((given[name] == array).all() for name, array in without.items())


@pytest.mark.covers("cudnnRNNSetClip_v9", "cudnnRNNForward")
@pytest.mark.parametrize("dtype", TYPES)
def test_cells_are_clipped(dtype: Any, card: Card, handle: Handle) -> None:
    problem = Problem(CLIPPED, TIME, EQUAL, dtype)
    right, _ = problem.forward()
    assert right["cy"].min() < -0.125
    assert right["cy"].max() > 0.1875
    on_card = OnCard(problem, card, handle)
    for training in (False, True):
        check(problem, on_card.forward(training=training), right)


@pytest.mark.covers("cudnnRNNSetClip_v8", "cudnnRNNForward")
def test_cells_are_clipped_as_version_8_says(card: Card, handle: Handle) -> None:
    problem = Problem(CLIPPED, TIME, EQUAL, np.float64)
    on_card = OnCard(problem, card, handle)
    on_card.rnn.set_clip(RNNClipMode.MINMAX, *CLIPPED.clip or (), nan=NanPropagation.PROPAGATE_NAN)
    check(problem, on_card.forward(training=True), problem.forward()[0])


@pytest.mark.covers(*BACKWARD)
def test_no_gradient_flows_through_clipped_cells(card: Card, handle: Handle) -> None:
    problem = Problem(CLIPPED, TIME, EQUAL, np.float64)
    _, passes = problem.forward()
    on_card = OnCard(problem, card, handle)
    on_card.forward(training=True)
    check(problem, on_card.backward(), problem.backward(passes))


@pytest.mark.covers("cudnnSetRNNDescriptor_v8", "cudnnRestoreDropoutDescriptor", "cudnnRNNForward")
def test_dropout_is_between_layers_in_training_and_can_be_repeated(card: Card, handle: Handle) -> None:
    problem = Problem(Network("tanh", 6, 8, layers=2), TIME, EQUAL, np.float32)
    memory = card.scratch(DropoutDescriptor().states_size(handle))
    dropout = DropoutDescriptor().set(handle, 0.5, memory, seed=3)
    on_card, right = OnCard(problem, card, handle, dropout=dropout), problem.forward()[0]
    check(problem, on_card.forward(training=False), right)
    saved = memory.download(np.empty(memory.nbytes, np.uint8))
    first, second = on_card.forward(training=True), on_card.forward(training=True)
    assert np.abs(first["y"] - right["y"]).max() > 0.01
    assert (first["hy"][0] == second["hy"][0]).all()  # of the first layer, before any dropout
    assert (first["y"] != second["y"]).any()
    memory.upload(saved)
    dropout.restore(handle, 0.5, memory, seed=3)
    again = on_card.forward(training=True)
    assert all((again[name] == array).all() for name, array in first.items())


@pytest.mark.covers("cudnnBuildRNNDynamic", "cudnnRNNForward")
@pytest.mark.parametrize("mode", ["tanh", "lstm"])
def test_kernels_compiled_for_the_batch(mode: str, card: Card, handle: Handle) -> None:
    problem = Problem(Network(mode, 32, 32), PACKED, EQUAL, np.float32)
    on_card = OnCard(problem, card, handle, algorithm=RNNAlgo.PERSIST_DYNAMIC)
    try:
        on_card.rnn.build(handle, len(EQUAL))
    except NotSupported as error:
        pytest.skip(f"this GPU or cuDNN has no PERSIST_DYNAMIC: {error}")
    check(problem, on_card.forward(training=False), problem.forward()[0])
