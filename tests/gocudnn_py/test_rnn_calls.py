"""RNN descriptors without a GPU: each argument of a run reaches its parameter, and every weight has a name."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import pytest

from gocudnn_py._abi.cudnn import (
    DataType,
    DirectionMode,
    ForwardMode,
    RNNDataLayout,
    RNNInputMode,
    RNNMode,
    WgradMode,
)
from gocudnn_py.cudnn.rnn import RnnDescriptor
from gocudnn_py.cudnn.rnn_data import RnnDataDescriptor
from gocudnn_py.cudnn.rnn_weights import Region, RnnWeight
from tests.gocudnn_py.recording import HANDLE, Recording, buffer, writes
from tests.oracles.rnn import Network, named, random_cells

pytestmark = pytest.mark.usefixtures("cudnn")
LSTM, GRU, TANH = RNNMode.LSTM, RNNMode.GRU, RNNMode.RNN_TANH


def data(size: int, lengths: tuple[int, ...] = (5, 3)) -> RnnDataDescriptor:
    return RnnDataDescriptor().set(np.float32, size, lengths)


def recorded(rnn: RnnDescriptor, **functions: Any) -> Any:
    made: Any = Recording(rnn.lib, functions)
    rnn.lib = made
    return made


SPACES = {
    "weightSpaceSize": 300,
    "workSpaceSize": 400,
    "workSpace": 0x40,
    "reserveSpaceSize": 500,
    "reserveSpace": 0x50,
}
WEIGHTS, WORK, RESERVE = buffer(0x30, 300), buffer(0x40, 400), buffer(0x50, 500)


@pytest.mark.parametrize("training", [False, True])
def test_forward_passes_everything_on(training: bool) -> None:
    rnn = RnnDescriptor().set(LSTM, 4, 8, projection_size=5)
    lib, x, y = recorded(rnn, cudnnRNNForward=None), data(4), data(5)
    rnn.forward(
        HANDLE, x.at(0x10), y.at(buffer(0x20)), WEIGHTS, workspace=WORK, reserve=RESERVE if training else None,
        hx=0x60, hy=buffer(0x61), cx=0x62, cy=buffer(0x63), lengths=0x70,
    )  # fmt: skip
    found = lib.only("cudnnRNNForward")
    h, c = found.pop("hDesc"), found.pop("cDesc")
    assert h != c
    without = {} if training else {"reserveSpaceSize": 0, "reserveSpace": 0}
    assert found == SPACES | without | {
        "handle": HANDLE.handle,
        "rnnDesc": rnn.handle,
        "fwdMode": ForwardMode.TRAINING if training else ForwardMode.INFERENCE,
        "devSeqLengths": 0x70,
        "xDesc": x.handle,
        "x": 0x10,
        "yDesc": y.handle,
        "y": 0x20,
        "hx": 0x60,
        "hy": 0x61,
        "cx": 0x62,
        "cy": 0x63,
        "weightSpace": 0x30,
    }


def test_backward_data_passes_everything_on() -> None:
    rnn = RnnDescriptor().set(LSTM, 4, 8)
    lib, x, y = recorded(rnn, cudnnRNNBackwardData_v8=None), data(4), data(8)
    rnn.backward_data(
        HANDLE, y.at(0x20), y.at(0x21), x.at(0x11), WEIGHTS, workspace=WORK, reserve=RESERVE,
        hx=0x60, dhy=0x61, dhx=0x62, cx=0x63, dcy=0x64, dcx=0x65, lengths=0x70,
    )  # fmt: skip
    found = lib.only("cudnnRNNBackwardData_v8")
    assert found.pop("hDesc") != found.pop("cDesc")
    assert found == SPACES | {
        "handle": HANDLE.handle,
        "rnnDesc": rnn.handle,
        "devSeqLengths": 0x70,
        "yDesc": y.handle,
        "y": 0x20,
        "dy": 0x21,
        "xDesc": x.handle,
        "dx": 0x11,
        "hx": 0x60,
        "dhy": 0x61,
        "dhx": 0x62,
        "cx": 0x63,
        "dcy": 0x64,
        "dcx": 0x65,
        "weightSpace": 0x30,
    }


DY: list[dict[str, Any]] = [
    {"dtype": np.float16},
    {"lengths": (5, 2)},
    {"lengths": (5, 3, 1)},
    {"max_length": 6},
    {"vector_size": 9},
    {"layout": RNNDataLayout.BATCH_MAJOR_UNPACKED},
    {"layout": RNNDataLayout.SEQ_MAJOR_PACKED},
]


@pytest.mark.parametrize("changed", DY, ids=str)
def test_dy_has_to_lie_as_y(changed: dict[str, Any]) -> None:
    """cuDNN is told y's descriptor alone."""
    rnn = RnnDescriptor().set(GRU, 4, 8)
    lib, x, y = recorded(rnn, cudnnRNNBackwardData_v8=None), data(4), data(8)
    like: dict[str, Any] = {"dtype": np.float32, "vector_size": 8, "lengths": (5, 3)}
    other = RnnDataDescriptor().set(**(like | changed))
    with pytest.raises(ValueError, match=r"rnn: dy has to lie as y does, RnnDataDescriptor\(.* is not like"):
        rnn.backward_data(HANDLE, y.at(0x20), other.at(0x21), x.at(0x11), WEIGHTS, workspace=WORK, reserve=RESERVE)
    assert not lib.calls
    same = RnnDataDescriptor().set(**like, fill=3.0)
    rnn.backward_data(HANDLE, y.at(0x20), same.at(0x21), x.at(0x11), WEIGHTS, workspace=WORK, reserve=RESERVE)
    assert lib.only("cudnnRNNBackwardData_v8")["dy"] == 0x21


def test_backward_weights_passes_everything_on() -> None:
    rnn = RnnDescriptor().set(GRU, 4, 8)
    lib, x, y = recorded(rnn, cudnnRNNBackwardWeights_v8=None), data(4), data(8)
    rnn.backward_weights(
        HANDLE, x.at(0x10), y.at(0x20), buffer(0x31, 300), workspace=WORK, reserve=RESERVE,
        hx=0x60, mode=WgradMode.SET, lengths=0x70,
    )  # fmt: skip
    found = lib.only("cudnnRNNBackwardWeights_v8")
    assert found.pop("hDesc")
    assert found == SPACES | {
        "handle": HANDLE.handle,
        "rnnDesc": rnn.handle,
        "addGrad": WgradMode.SET,
        "devSeqLengths": 0x70,
        "xDesc": x.handle,
        "x": 0x10,
        "hx": 0x60,
        "yDesc": y.handle,
        "y": 0x20,
        "dweightSpace": 0x31,
    }


def test_states_are_described_for_the_batch_at_hand() -> None:
    rnn = RnnDescriptor().set(LSTM, 4, 8)
    lib = recorded(rnn, cudnnRNNForward=None)
    for lengths in ((5, 3), (5, 3, 2), (5, 4, 2)):
        operands = data(4, lengths).at(0x10), data(8, lengths).at(0x20)
        rnn.forward(HANDLE, *operands, WEIGHTS, workspace=WORK, hx=buffer(0x60, 32 * len(lengths)))
    two, three, again = (arguments["hDesc"] for _, arguments in lib.calls)
    assert two != three == again
    with pytest.raises(ValueError, match="hx takes 96 bytes, the buffer holds 64"):
        rnn.forward(HANDLE, *operands, WEIGHTS, workspace=WORK, hx=buffer(0x60, 64))
    with pytest.raises(ValueError, match="lengths takes 12 bytes, the buffer holds 8"):
        rnn.forward(HANDLE, *operands, WEIGHTS, workspace=WORK, lengths=buffer(0x70, 8))


def test_others_have_no_cell_states() -> None:
    rnn = RnnDescriptor().set(GRU, 4, 8)
    lib = recorded(rnn, cudnnRNNForward=None)
    rnn.forward(HANDLE, data(4).at(0x10), data(8).at(0x20), WEIGHTS, workspace=WORK)
    found = lib.only("cudnnRNNForward")
    assert [found[name] for name in ("devSeqLengths", "hx", "hy", "cDesc", "cx", "cy")] == [0] * 6


def test_sizes_and_building() -> None:
    def answer(*arguments: Any) -> None:
        arguments[-2]._obj.value, arguments[-1]._obj.value = 111, 222

    rnn, x = RnnDescriptor().set(LSTM, 4, 8), data(4)
    lib = recorded(rnn, cudnnGetRNNTempSpaceSizes=answer, cudnnBuildRNNDynamic=None, cudnnGetRNNWeightSpaceSize=None)
    assert rnn.temp_sizes(HANDLE, x, ForwardMode.INFERENCE) == (111, 222)
    found = lib.only("cudnnGetRNNTempSpaceSizes")
    assert (found["rnnDesc"], found["fwdMode"], found["xDesc"]) == (rnn.handle, ForwardMode.INFERENCE, x.handle)
    rnn.build(HANDLE, 32)
    expected = {"handle": HANDLE.handle, "rnnDesc": rnn.handle, "miniBatch": 32}
    assert lib.only("cudnnBuildRNNDynamic") == expected


def weight_space(cudnn: Any, rows: int, missing: tuple[int, ...] = ()) -> Any:
    """Answers for cudnnGetRNNWeightParams: each weight where its numbers say, but for the missing."""

    def answer(*arguments: Any) -> None:
        _, _, pseudo, size, base, linear, matrix, at, bias, bias_at = arguments
        assert size == 7777
        if linear in missing:
            return
        for descriptor, columns in ((matrix, 3), (bias, 1)):
            dims, strides = (1, rows, columns), (rows * columns, columns, 1)
            arrays = [(ctypes.c_int * 3)(*numbers) for numbers in (dims, strides)]
            cudnn.cudnnSetTensorNdDescriptor(descriptor, DataType.FLOAT, 3, *arrays)
        at._obj.value = base + 1000 * pseudo + 10 * linear
        bias_at._obj.value = at._obj.value + 5

    return answer


@pytest.mark.parametrize(
    ("mode", "part", "gate", "linear"),
    [
        (TANH, "input", None, 0),
        (RNNMode.RNN_RELU, "recurrent", "hidden", 1),
        *((LSTM, "input", gate, n) for n, gate in enumerate(("input", "forget", "cell", "output"))),
        *((LSTM, "recurrent", gate, 4 + n) for n, gate in enumerate(("input", "forget", "cell", "output"))),
        (LSTM, "projection", None, 8),
        *((GRU, "input", gate, n) for n, gate in enumerate(("reset", "update", "new"))),
        *((GRU, "recurrent", gate, 3 + n) for n, gate in enumerate(("reset", "update", "new"))),
    ],
)
def test_weights_have_names(mode: RNNMode, part: str, gate: str | None, linear: int, cudnn: Any) -> None:
    rnn = RnnDescriptor().set(mode, 3, 8, 2, direction=DirectionMode.BIDIRECTIONAL)
    recorded(rnn, cudnnGetRNNWeightSpaceSize=writes(7777), cudnnGetRNNWeightParams=weight_space(cudnn, 8))
    place = 3000 + 10 * linear
    matrix, bias = Region(place, (8, 3), DataType.FLOAT), Region(place + 5, (8,), DataType.FLOAT)
    expected = RnnWeight(matrix, None if part == "projection" else bias)
    assert rnn.weight(HANDLE, part, gate, layer=1, reverse=True) == expected
    assert (matrix.nbytes, bias.nbytes) == (96, 32)


NETWORKS = [
    (Network("lstm", 3, 8, layers=2, bidirectional=True, projection=4), {"projection_size": 4}),
    (Network("lstm", 3, 8, layers=2), {}),
    (Network("gru", 3, 8, bidirectional=True), {}),
    (Network("relu", 3, 8), {}),
]


@pytest.mark.parametrize(("net", "keywords"), NETWORKS, ids=lambda value: str(value))
def test_all_weights_by_the_names_of_the_oracle(net: Network, keywords: dict[str, Any], cudnn: Any) -> None:
    modes = {"lstm": LSTM, "gru": GRU, "relu": RNNMode.RNN_RELU}
    direction = DirectionMode.BIDIRECTIONAL if net.bidirectional else DirectionMode.UNIDIRECTIONAL
    rnn = RnnDescriptor().set(modes[net.mode], 3, 8, net.layers, direction=direction, **keywords)
    recorded(rnn, cudnnGetRNNWeightSpaceSize=writes(7777), cudnnGetRNNWeightParams=weight_space(cudnn, 8))
    found = rnn.weights(HANDLE)
    expected = [name for name, _ in named(net, random_cells(net, np.random.default_rng(0)))]
    assert list(found) == expected
    assert len({region.offset for region in found.values()}) == len(found)


def test_weights_that_are_not_there(cudnn: Any) -> None:
    rnn = RnnDescriptor().set(TANH, 8, 8, input_mode=RNNInputMode.SKIP_INPUT)
    answer = weight_space(cudnn, 8, missing=(0,))
    recorded(rnn, cudnnGetRNNWeightSpaceSize=writes(7777), cudnnGetRNNWeightParams=answer)
    assert rnn.weight(HANDLE, "input") == RnnWeight(None, None)
    assert list(rnn.weights(HANDLE)) == ["layer0.recurrent.hidden.matrix", "layer0.recurrent.hidden.bias"]
