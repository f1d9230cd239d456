"""Descriptors of sequence data and attention: set and get agree, and what is refused."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import pytest

from gocudnn_py._abi.cudnn import DataType, MathType, SeqDataAxis
from gocudnn_py.cudnn import TensorDescriptor
from gocudnn_py.cudnn.attention import AttentionDescriptor, AttentionSpec, AttentionWindow, QueryMap
from gocudnn_py.cudnn.dropout import DropoutDescriptor
from gocudnn_py.cudnn.seqdata import SeqDataDescriptor, SeqDataSpec
from gocudnn_py.errors import BadParameter, NotSupported, UnusableResource
from gocudnn_py.resource import drain, pending

pytestmark = pytest.mark.usefixtures("cudnn")
TIME, BATCH, BEAM, VECTOR = SeqDataAxis
FLOAT, DOUBLE, HALF = DataType.FLOAT, DataType.DOUBLE, DataType.HALF
CLASSES = (SeqDataDescriptor, AttentionDescriptor)


def attention(**changed: Any) -> AttentionDescriptor:
    given: dict[str, Any] = {"heads": 2, "vectors": (8, 6, 5), "projections": (4, 4, 3, 8), "longest": (5, 6)}
    return AttentionDescriptor().set(**(given | changed))


def sequences(*dims: int, **more: Any) -> SeqDataDescriptor:
    return SeqDataDescriptor().set(np.float32, dims, **more)


@pytest.mark.covers("cudnnSetSeqDataDescriptor", "cudnnGetSeqDataDescriptor")
@pytest.mark.parametrize(
    ("dtype", "code", "axes", "fill", "text"),
    [
        (np.float32, FLOAT, (TIME, BATCH, BEAM, VECTOR), 2.5, "FLOAT, (5, 2, 3, 7), axes=TIME BATCH BEAM VECT"),
        (np.float64, DOUBLE, (BATCH, TIME, BEAM, VECTOR), -1.0, "DOUBLE, (5, 2, 3, 7), axes=BATCH TIME BEAM VECT"),
        (np.float16, HALF, (BEAM, BATCH, TIME, VECTOR), 0.5, "HALF, (5, 2, 3, 7), axes=BEAM BATCH TIME VECT"),
        (np.float16, HALF, (TIME, BEAM, BATCH, VECTOR), None, "HALF, (5, 2, 3, 7), axes=TIME BEAM BATCH VECT"),
    ],
)
def test_sequences_are_read_back(dtype: Any, code: DataType, axes: Any, fill: float | None, text: str) -> None:
    lengths = (5, 4, 3, 2, 1, 1)
    data = SeqDataDescriptor().set(dtype, (5, 2, 3, 7), axes, lengths=lengths, padding_fill=fill)
    assert data.get() == SeqDataSpec(code, (5, 2, 3, 7), axes, lengths, fill or 0.0)
    assert repr(data) == f"SeqDataDescriptor({text}, lengths=1 to 5)"
    assert data.shape == tuple((5, 2, 3, 7)[axis] for axis in axes)
    assert data.size_in_bytes == 210 * np.dtype(dtype).itemsize
    assert data.set(dtype, (5, 2, 3, 7)).get().lengths == (5,) * 6


@pytest.mark.covers("cudnnSetAttnDescriptor", "cudnnGetAttnDescriptor")
def test_an_attention_is_read_back() -> None:
    one, two = DropoutDescriptor(), DropoutDescriptor()
    given: dict[str, Any] = {"heads": 3, "vectors": (8, 6, 5), "projections": (4, 4, 5, 7), "longest": (5, 6)}
    more: dict[str, Any] = {"batch": 9, "beam": 1, "scale": 0.25, "query_map": QueryMap.ONE_TO_ONE, "biases": True}
    dropouts: dict[str, Any] = {"attention_dropout": one, "output_dropout": two}
    made = AttentionDescriptor().set(**given, **more, **dropouts, dtype=np.float16, compute=np.float32)
    types = {"dtype": HALF, "compute": FLOAT, "math": MathType.FMA_MATH}
    assert made.get() == AttentionSpec(**given, **more, **dropouts, **types)
    assert repr(made) == (
        "AttentionDescriptor(heads=3, vectors=(8, 6, 5), projections=(4, 4, 5, 7), longest=(5, 6), batch=9, beam=1, "
        "scale=0.25, HALF, compute=FLOAT, math=FMA_MATH, ONE_TO_ONE, biases, dropout)"
    )
    two.close()
    assert made.get().attention_dropout is one
    assert made.get().output_dropout is None
    assert repr(made).endswith(", dropout)")
    one.close()
    assert made.get().attention_dropout is None
    assert repr(made).endswith("ONE_TO_ONE, biases)")


@pytest.mark.parametrize(
    ("projections", "length"), [((4, 4, 3, 8), 8), ((4, 4, 3, 0), 6), ((4, 4, 0, 0), 10), ((4, 4, 1, 1), 1)]
)
def test_the_length_of_an_output(projections: tuple[int, ...], length: int) -> None:
    assert attention(projections=projections).get().output_vector == length


@pytest.mark.covers(
    "cudnnCreateSeqDataDescriptor",
    "cudnnDestroySeqDataDescriptor",
    "cudnnCreateAttnDescriptor",
    "cudnnDestroyAttnDescriptor",
)
def test_descriptors_come_and_go() -> None:
    for kind in CLASSES:
        with kind() as descriptor:
            assert repr(descriptor) == f"{kind.__name__}(not set)"
            assert [repr(kind()) for _ in range(20)] == [repr(descriptor)] * 20
        with pytest.raises(UnusableResource, match=f"this {kind.__name__} is closed"):
            descriptor.get()
        assert repr(descriptor) == f"{kind.__name__}(unusable)"
    gc.collect()
    drain()
    assert pending() == 0


WRONG: list[tuple[Any, type[Exception], str]] = [
    (lambda: sequences(5, 2, 3), ValueError, r"is \(time, batch, beam, vector\), not dims=\(5, 2, 3\)"),
    (lambda: sequences(5, 2, 3, 2**31), ValueError, r"dims\[3\] is 2147483648, outside 1 to"),
    (lambda: sequences(5, 2, 3, 7, lengths=(5, 5)), ValueError, r"6 sequences of at most 5 steps cannot .*\(5, 5\)"),
    (lambda: sequences(5, 1, 1, 7, lengths=(6,)), ValueError, r"1 sequences of at most 5 .*lengths=\(6,\)"),
    (lambda: sequences(5, 1, 1, 7, lengths=(0,)), ValueError, r"lengths\[0\] is 0, outside 1 to"),
    (lambda: sequences(5, 2, 3, 7, axes=(3, 0, 1, 2)), ValueError, "then VECT_DIM, not VECT_DIM, TIME_DIM, BATCH_DIM"),
    (lambda: sequences(5, 2, 3, 7, axes=(0, 0, 1, 3)), ValueError, "each of .* once, .* not TIME_DIM, TIME_DIM, BATCH"),
    (lambda: SeqDataDescriptor().set("bfloat16", (1, 1, 1, 1)), ValueError, "is FLOAT, DOUBLE, HALF, not BFLOAT16"),
    (lambda: attention(heads=0), ValueError, "heads is 0, outside 1"),
    (lambda: attention(vectors=(8, 6)), ValueError, r"vectors are 3 numbers, not \(8, 6\)"),
    (lambda: attention(projections=(4, 4, 3)), ValueError, r"projections are 4 numbers, not \(4, 4, 3\)"),
    (lambda: attention(projections=(4, 0, 3, 8)), ValueError, r"queries of length 4 meet keys of length 6 \(vectors="),
    (lambda: attention(projections=(0, 0, 0, 8), vectors=(6, 6, 7)), ValueError, "2 heads that project the output"),
    (lambda: attention(longest=(5, 0)), ValueError, r"longest\[1\] is 0, outside 1"),
    (lambda: attention(scale=-1.0), ValueError, "scale is -1.0, which has to be 0 or more"),
    (lambda: attention(scale=float("nan")), ValueError, "scale is nan"),
    (lambda: attention(query_map=2), ValueError, "2 is not a valid QueryMap"),
    (lambda: attention(output_dropout=TensorDescriptor()), TypeError, "is a dropout descriptor, not TensorDescriptor"),
    (lambda: AttentionWindow((0, 3), (1, 2)), ValueError, r"ends where it begins .*first=\(0, 3\), end=\(1, 2\)"),
    (lambda: AttentionWindow((0,), (1, 2)), ValueError, r"first=\(0,\), end=\(1, 2\)"),
    (lambda: AttentionWindow((-1,), (1,)), ValueError, r"first\[0\] is -1, outside 0"),
]


@pytest.mark.parametrize(("mistake", "kind", "message"), WRONG, ids=[row[2][:40] for row in WRONG])
def test_mistakes_are_refused(mistake: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        mistake()


def test_what_only_cudnn_knows_is_in_its_words() -> None:
    with pytest.raises(BadParameter, match="cudnnSetAttnDescriptor: CUDNN_STATUS_BAD_PARAM"):
        attention(dtype=np.int8)
    with pytest.raises(NotSupported, match="cudnnSetAttnDescriptor: CUDNN_STATUS_NOT_SUPPORTED"):
        attention(query_map=QueryMap.ONE_TO_ONE, beam=2)


def test_windows() -> None:
    window = AttentionWindow.causal(3)
    assert [tuple(array) for array in window.arrays] == [(0, 0, 0), (1, 2, 3)]
    assert repr(window) == "AttentionWindow(first=(0, 0, 0), end=(1, 2, 3))"
