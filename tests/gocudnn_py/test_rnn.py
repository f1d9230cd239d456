"""RNN descriptors without a GPU: set, get and repr, what is refused, and that each argument reaches its parameter."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gocudnn_py._abi.cudnn import (
    DataType,
    DirectionMode,
    MathType,
    NanPropagation,
    RNNAlgo,
    RNNBiasMode,
    RNNClipMode,
    RNNDataLayout,
    RNNInputMode,
    RNNMode,
)
from gocudnn_py.cudnn import TensorDescriptor
from gocudnn_py.cudnn.dropout import DropoutDescriptor
from gocudnn_py.cudnn.rnn import RnnDescriptor
from gocudnn_py.cudnn.rnn_data import RnnDataDescriptor, RnnDataSpec
from gocudnn_py.cudnn.rnn_spec import RnnClip, RnnSpec
from gocudnn_py.cudnn.rnn_weights import linear_layer
from gocudnn_py.errors import BadParameter, SetupFailed, UnusableResource
from tests.gocudnn_py.recording import HANDLE, Recording, buffer

pytestmark = pytest.mark.usefixtures("cudnn")
LSTM, GRU, TANH = RNNMode.LSTM, RNNMode.GRU, RNNMode.RNN_TANH
PACKED, TIME, BATCH = (
    RNNDataLayout[f"{name}"] for name in ("SEQ_MAJOR_PACKED", "SEQ_MAJOR_UNPACKED", "BATCH_MAJOR_UNPACKED")
)
PLAIN = RnnSpec(
    mode=LSTM,
    input_size=4,
    hidden_size=8,
    layers=1,
    projection_size=8,
    direction=DirectionMode.UNIDIRECTIONAL,
    bias=RNNBiasMode.DOUBLE_BIAS,
    input_mode=RNNInputMode.LINEAR_INPUT,
    dtype=DataType.FLOAT,
    compute=DataType.FLOAT,
    math=MathType.FMA_MATH,
    algorithm=RNNAlgo.STANDARD,
    padded=True,
    dropout=None,
)
# arguments of set, keyword arguments, what is then not as in PLAIN
ROUND_TRIPS: list[tuple[tuple[Any, ...], dict[str, Any], dict[str, Any]]] = [
    ((LSTM, 4, 8), {}, {}),
    ((GRU, 4, 8, 3), {"padded": False}, {"mode": GRU, "layers": 3, "padded": False}),
    ((LSTM, 4, 8, 2), {"projection_size": 5}, {"layers": 2, "projection_size": 5}),
    ((TANH, 8, 8), {"input_mode": RNNInputMode.SKIP_INPUT}, {
        "mode": TANH, "input_size": 8, "input_mode": RNNInputMode.SKIP_INPUT,
    }),
    ((LSTM, 4, 8), {"dtype": np.float64}, {"dtype": DataType.DOUBLE, "compute": DataType.DOUBLE}),
    ((LSTM, 4, 8), {"dtype": np.float16, "compute": np.float16, "math": MathType.TENSOR_OP_MATH}, {
        "dtype": DataType.HALF, "compute": DataType.HALF, "math": MathType.TENSOR_OP_MATH,
    }),
    ((LSTM, 4, 8), {"direction": DirectionMode.BIDIRECTIONAL, "bias": RNNBiasMode.NO_BIAS}, {
        "direction": DirectionMode.BIDIRECTIONAL, "bias": RNNBiasMode.NO_BIAS,
    }),
    ((LSTM, 4, 8), {"bias": RNNBiasMode.SINGLE_REC_BIAS}, {"bias": RNNBiasMode.SINGLE_REC_BIAS}),
    ((LSTM, 4, 8), {"algorithm": RNNAlgo.PERSIST_STATIC}, {"algorithm": RNNAlgo.PERSIST_STATIC}),
]  # fmt: skip


@pytest.mark.covers("cudnnSetRNNDescriptor_v8", "cudnnGetRNNDescriptor_v8")
@pytest.mark.parametrize(("arguments", "keywords", "changes"), ROUND_TRIPS)
def test_set_and_get(arguments: tuple[Any, ...], keywords: dict[str, Any], changes: dict[str, Any]) -> None:
    assert RnnDescriptor().set(*arguments, **keywords).get() == replace(PLAIN, **changes)


def test_dropout_is_held_and_told() -> None:
    dropout = DropoutDescriptor()
    rnn = RnnDescriptor().set(LSTM, 4, 8, 2, dropout=dropout)
    assert rnn.get() == replace(PLAIN, layers=2, dropout=dropout.handle)
    assert repr(rnn).endswith(", padded, dropout)")
    assert rnn.set(LSTM, 4, 8).get() == PLAIN


@pytest.mark.covers("cudnnCreateRNNDescriptor", "cudnnDestroyRNNDescriptor")
def test_repr_says_everything() -> None:
    with RnnDescriptor() as rnn:
        assert repr(rnn) == "RnnDescriptor(not set)"
        with pytest.raises(SetupFailed, match="cudnnGetRNNDescriptor_v8"):
            rnn.get()
        assert repr(rnn.set(LSTM, 4, 8, 2)) == (
            "RnnDescriptor(LSTM, input_size=4, hidden_size=8, projection_size=8, layers=2, UNIDIRECTIONAL, "
            "DOUBLE_BIAS, LINEAR_INPUT, FLOAT, compute=FLOAT, math=FMA_MATH, STANDARD, padded)"
        )
    assert repr(rnn) == "RnnDescriptor(unusable)"
    with pytest.raises(UnusableResource, match="this RnnDescriptor is closed"):
        rnn.get()


def test_shapes_that_follow() -> None:
    spec = RnnDescriptor().set(LSTM, 4, 8, 3, projection_size=5, direction=DirectionMode.BIDIRECTIONAL).get()
    assert spec.output_size == 10
    assert spec.state_shapes(7) == ((6, 7, 5), (6, 7, 8))
    assert PLAIN.output_size == 8
    assert PLAIN.state_shapes(2) == ((1, 2, 8), (1, 2, 8))


@pytest.mark.covers("cudnnRNNSetClip_v9", "cudnnRNNGetClip_v9", "cudnnRNNSetClip_v8", "cudnnRNNGetClip_v8")
def test_clipping_by_both_versions() -> None:
    rnn = RnnDescriptor().set(LSTM, 4, 8)
    off = RnnClip(RNNClipMode.NONE, 0.0, 0.0)
    assert rnn.get_clip() == off
    assert rnn.set_clip(RNNClipMode.MINMAX, -1.5, 2.0).get_clip() == RnnClip(RNNClipMode.MINMAX, -1.5, 2.0)
    for nan in NanPropagation:
        rnn.set_clip(RNNClipMode.MINMAX, -2.5, 0.5, nan=nan)
        assert rnn.get_clip(nan=True) == RnnClip(RNNClipMode.MINMAX, -2.5, 0.5, nan)
    assert rnn.get_clip() == RnnClip(RNNClipMode.MINMAX, -2.5, 0.5)
    assert rnn.set_clip(RNNClipMode.NONE).get_clip() == off
    rnn.set_clip(RNNClipMode.MINMAX, -1, 1)
    assert rnn.set(LSTM, 4, 8).get_clip() == off


DATA = RnnDataSpec(DataType.FLOAT, 4, (5, 3, 1), 5, TIME, 0.0)
BF16 = DataType.BFLOAT16
DATA_ROUND_TRIPS: list[tuple[tuple[Any, ...], dict[str, Any], RnnDataSpec, tuple[int, ...]]] = [
    ((np.float32, 4, (5, 3, 1)), {}, DATA, (5, 3, 4)),
    ((np.float32, 4, (1, 3, 0)), {"fill": -7.5, "layout": BATCH, "max_length": 6}, RnnDataSpec(
        DataType.FLOAT, 4, (1, 3, 0), 6, BATCH, -7.5
    ), (3, 6, 4)),
    ((np.float64, 4, (5, 3, 1)), {"fill": 1e-300, "layout": PACKED}, RnnDataSpec(
        DataType.DOUBLE, 4, (5, 3, 1), 5, PACKED, 1e-300
    ), (9, 4)),
    ((np.float16, 4, [5]), {"fill": 0.5}, RnnDataSpec(DataType.HALF, 4, (5,), 5, TIME, 0.5), (5, 1, 4)),
    (("bfloat16", 4, np.array([2, 2])), {"fill": -2}, RnnDataSpec(BF16, 4, (2, 2), 2, TIME, -2.0), (2, 2, 4)),
    ((np.float32, 4, (5, 3, 1)), {"fill": None}, DATA, (5, 3, 4)),
]  # fmt: skip


@pytest.mark.covers("cudnnSetRNNDataDescriptor", "cudnnGetRNNDataDescriptor")
@pytest.mark.parametrize(("arguments", "keywords", "spec", "shape"), DATA_ROUND_TRIPS)
def test_data_set_and_get(
    arguments: tuple[Any, ...], keywords: dict[str, Any], spec: RnnDataSpec, shape: tuple[int, ...]
) -> None:
    data = RnnDataDescriptor().set(*arguments, **keywords)
    assert data.get() == spec
    assert spec.shape == shape
    assert data.size_in_bytes == np.prod(shape) * {DataType.DOUBLE: 8, DataType.FLOAT: 4}.get(spec.dtype, 2)
    assert (data.batch, data.vector_size, data.dtype) == (len(spec.lengths), 4, spec.dtype)


@pytest.mark.covers("cudnnCreateRNNDataDescriptor", "cudnnDestroyRNNDataDescriptor")
def test_data_repr() -> None:
    with RnnDataDescriptor() as data:
        assert repr(data) == "RnnDataDescriptor(not set)"
        assert repr(data.set(np.float32, 4, (5, 3), fill=0.5)) == (
            "RnnDataDescriptor(FLOAT, vector_size=4, lengths=(5, 3), max_length=5, SEQ_MAJOR_UNPACKED, fill=0.5)"
        )
    assert repr(data) == "RnnDataDescriptor(unusable)"


def data(size: int, lengths: tuple[int, ...] = (5, 3)) -> RnnDataDescriptor:
    return RnnDataDescriptor().set(np.float32, size, lengths)


WRONG: list[tuple[Any, str]] = [
    (lambda: RnnDescriptor().set(LSTM, 0, 8), "input_size is 0, outside 1 to 2147483647"),
    (lambda: RnnDescriptor().set(LSTM, 4, 2**32 + 1), "hidden_size is 4294967297, outside"),
    (lambda: RnnDescriptor().set(LSTM, 4, 8, 0), "layers is 0, outside 1"),
    (lambda: RnnDescriptor().set(LSTM, 4, 8, projection_size=9), "projection_size=9 is larger than hidden_size=8"),
    (lambda: RnnDescriptor().set(GRU, 4, 8, projection_size=5), "only an LSTM projects, not GRU 8 to 5"),
    (
        lambda: RnnDescriptor().set(LSTM, 4, 8, input_mode=RNNInputMode.SKIP_INPUT),
        "SKIP_INPUT needs input_size=4 and hidden_size=8 to be the same",
    ),
    (
        lambda: RnnDescriptor().set(LSTM, 4, 8).set_clip(RNNClipMode.MINMAX, 1, -1),
        "cells cannot be clipped to 1 to -1",
    ),
    (
        lambda: RnnDescriptor().set(LSTM, 4, 8).set_clip(RNNClipMode.MINMAX, float("nan"), 1),
        "cells cannot be clipped to nan to 1",
    ),
    (lambda: data(0), "vector_size is 0, outside 1"),
    (lambda: data(4, (3, -1)), r"lengths\[1\] is -1, outside 0"),
    (lambda: data(4, ()), "max_length is 0, outside 1"),
    (lambda: data(4, (0, 0)), "max_length is 0, outside 1"),
    (
        lambda: RnnDataDescriptor().set(np.float32, 4, (5, 3), max_length=4),
        "a sequence of 5 steps is longer than max_length=4",
    ),
    (
        lambda: RnnDataDescriptor().set(np.float32, 4, (5, 3), max_length=6, layout=PACKED),
        r"packed, max_length=6 must be the longest's 5 \(lengths=\(5, 3\)\)",
    ),
    (
        lambda: RnnDataDescriptor().set(np.float32, 4, (3, 5), layout=PACKED),
        r"packed sequences come longest first, lengths=\(3, 5\) do not",
    ),
    (lambda: linear_layer(LSTM, "input", "reset"), "LSTM has no input weights of gate reset; .*input, forget, cell"),
    (lambda: linear_layer(GRU, "projection"), "GRU has no projection weights of gate None; .*reset, update, new"),
    (lambda: linear_layer(LSTM, "input"), "LSTM has no input weights of gate None"),
    (
        lambda: RnnDescriptor().set(LSTM, 4, 8).weight(HANDLE, "input", "cell", layer=1),
        r"no layer 1 in RnnDescriptor\(LSTM, .*layers=1",
    ),
    (
        lambda: RnnDescriptor().set(LSTM, 4, 8).weight(HANDLE, "input", "cell", reverse=True),
        r"no layer 0 in reverse in RnnDescriptor\(LSTM, .*UNIDIRECTIONAL",
    ),
    (lambda: run(RnnDescriptor()), "this RnnDescriptor is not set"),
    (lambda: run(x=data(5)), "x has vectors of 5, the network's are of 4"),
    (lambda: run(y=data(4)), "y has vectors of 4, the network's are of 8"),
    (lambda: run(x_place=buffer(0x10, 159)), "RnnDataDescriptor.* takes 160 bytes, the buffer holds 159"),
    (lambda: run(x_place=None), "x is missing, it takes 160 bytes"),
    (lambda: run(hx=buffer(0x10, 63)), "hx takes 64 bytes, the buffer holds 63"),
    (lambda: run(RnnDescriptor().set(GRU, 4, 8), cy=buffer(0x10)), "GRU has no cell states, cy were given"),
    (
        lambda: run(RnnDescriptor().set(LSTM, 4, 8, dropout=DropoutDescriptor())),
        "this DropoutDescriptor is not set",
    ),
]


def run(
    rnn: RnnDescriptor | None = None,
    x: Any = None,
    y: Any = None,
    x_place: Any = 0x10,
    **states: Any,
) -> None:
    made = rnn or RnnDescriptor().set(LSTM, 4, 8)
    made.lib: Any = Recording(made.lib, {"cudnnRNNForward": None})  # type: ignore[misc]
    operands = (x or data(4)).at(x_place), (y or data(8)).at(0x20)
    made.forward(HANDLE, *operands, buffer(0x30), workspace=buffer(0x40), **states)


@pytest.mark.parametrize(("mistake", "message"), WRONG, ids=[row[1][:50] for row in WRONG])
def test_mistakes_are_refused_with_their_numbers(mistake: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        mistake()


def test_data_of_another_kind_are_refused() -> None:
    with pytest.raises(TypeError, match="x is described by a TensorDescriptor, not an RnnDataDescriptor"):
        run(x=TensorDescriptor().set(np.float32, (5, 2, 4)))


def test_a_closed_dropout_is_refused() -> None:
    dropout = DropoutDescriptor()
    rnn = RnnDescriptor().set(LSTM, 4, 8, dropout=dropout)
    dropout.close()
    with pytest.raises(UnusableResource, match="this DropoutDescriptor is closed"):
        run(rnn)


def test_what_only_cudnn_knows_is_in_its_words() -> None:
    with pytest.raises(BadParameter, match="cudnnSetRNNDescriptor_v8: CUDNN_STATUS_BAD_PARAM"):
        RnnDescriptor().set(17, 4, 8)  # type: ignore[arg-type]
