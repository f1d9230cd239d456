"""What attention passes to cuDNN, argument by argument, what it refuses before, and where it finds its weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gocudnn_py._abi.cudnn import DataType, MultiHeadAttnWeightKind, WgradMode
from gocudnn_py.cudnn import TensorDescriptor
from gocudnn_py.cudnn.attention import BASE, AttentionDescriptor, AttentionSizes, AttentionSpace, AttentionWindow
from gocudnn_py.cudnn.descriptor import INT32_MAX
from gocudnn_py.cudnn.dropout import DropoutDescriptor
from gocudnn_py.cudnn.seqdata import SeqDataDescriptor
from gocudnn_py.cudnn.tensor import TensorSpec
from gocudnn_py.errors import UnusableResource
from tests.gocudnn_py.cudnn_calls import HANDLE, Buffer, Recorder, buffers, handle

pytestmark = pytest.mark.usefixtures("cudnn")
KIND = MultiHeadAttnWeightKind


def attention() -> AttentionDescriptor:
    return AttentionDescriptor().set(2, (8, 6, 5), (4, 4, 3, 8), (5, 6), batch=2)


def sequences(*dims: int) -> SeqDataDescriptor:
    return SeqDataDescriptor().set(np.float32, dims)


class Given:
    """Queries of 5 steps, keys of 6, two batches; buffers; an attention whose calls are noted."""

    def __init__(self) -> None:
        self.attention = attention()
        self.lib = Recorder()
        self.attention.lib = self.lib  # type: ignore[assignment]
        dims = {"q": (5, 2, 1, 8), "k": (6, 2, 1, 6), "v": (6, 2, 1, 5), "out": (5, 2, 1, 8)}
        descriptors = {name: sequences(*each) for name, each in dims.items()}
        sizes = {name: each.size_in_bytes for name, each in descriptors.items()}
        gradients = {f"d{name}": sizes[name] for name in sizes}
        others = {
            "of_q": 8,
            "of_k": 8,
            "weights": 640,
            "dweights": 640,
            "workspace": 100,
            "reserve": 200,
            "residual": 320,
        }
        self.at = buffers(**sizes, **gradients, **others)
        self.q, self.k, self.v, self.out = (each.at(getattr(self.at, name)) for name, each in descriptors.items())
        self.dout = descriptors["out"].at(self.at.dout)
        self.space = AttentionSpace(self.at.weights, self.at.workspace, self.at.reserve)
        self.lengths = self.at.of_q, self.at.of_k
        self.data = self.q, self.k, self.v

    def expected(self, *names: str, **more: Any) -> dict[str, Any]:
        """Values by the C parameters' names: addresses of buffers, and all else as given."""
        shared: dict[str, Any] = {"handle": HANDLE, "attnDesc": self.attention.handle}
        shared |= {"weightSizeInBytes": 640, "weights": self.at.weights.pointer}
        shared |= {"workSpaceSizeInBytes": 100, "workSpace": self.at.workspace.pointer}
        shared |= {"reserveSpaceSizeInBytes": 200, "reserveSpace": self.at.reserve.pointer}
        for name in ("q", "k", "v", "o"):
            shared[f"{name}Desc"] = (self.out if name == "o" else getattr(self, name)).descriptor.handle
        places = {"queries": "q", "keys": "k", "values": "v", "out": "out", "dout": "dout"}
        shared |= {name: getattr(self.at, place).pointer for name, place in places.items()}
        return {name: shared[name] for name in names} | more


SCRATCH = (
    "weightSizeInBytes", "weights", "workSpaceSizeInBytes", "workSpace", "reserveSpaceSizeInBytes", "reserveSpace",
)  # fmt: skip
DATA = ("handle", "attnDesc", "queries", "keys", "values", *SCRATCH)


def test_forward_passes_everything_on() -> None:
    given = Given()
    window = AttentionWindow.causal(5)
    given.attention.forward(
        handle(), *given.data, given.out, space=given.space, lengths=given.lengths, window=window,
        residual=given.at.residual,
    )  # fmt: skip
    own = {"currIdx": -1, "loWinIdx": (0,) * 5, "hiWinIdx": (1, 2, 3, 4, 5), "residuals": given.at.residual.pointer}
    own |= {"devSeqLengthsQO": given.at.of_q.pointer, "devSeqLengthsKV": given.at.of_k.pointer}
    expected = given.expected(*DATA, "qDesc", "kDesc", "vDesc", "oDesc", "out", **own)
    assert given.lib.only == ("cudnnMultiHeadAttnForward", expected)


def test_an_inference_has_no_reserve_and_may_be_one_step() -> None:
    given = Given()
    space = AttentionSpace(None, given.at.workspace)
    given.attention.forward(handle(), *given.data, given.out, space=space, lengths=given.lengths, step=3)
    _, values = given.lib.only
    assert (values["currIdx"], values["residuals"]) == (3, 0)
    assert [values[name] for name in SCRATCH] == [0, 0, 100, given.at.workspace.pointer, 0, 0]
    assert (values["loWinIdx"], values["hiWinIdx"]) == ((0,) * 5, (INT32_MAX,) * 5)


def test_backward_data_passes_everything_on() -> None:
    given, at = Given(), Given().at
    operands = given.dout, given.q, at.dq, given.k, at.dk, given.v, at.dv
    given.attention.backward_data(handle(), *operands, space=given.space, lengths=given.lengths)
    own = {"loWinIdx": (0,) * 5, "hiWinIdx": (INT32_MAX,) * 5}
    own |= {"devSeqLengthsDQDO": at.of_q.pointer, "devSeqLengthsDKDV": at.of_k.pointer}
    own |= {"dqueries": at.dq.pointer, "dkeys": at.dk.pointer, "dvalues": at.dv.pointer}
    own |= {f"d{name}Desc": getattr(given, name).descriptor.handle for name in "qkv"}
    own["doDesc"] = given.out.descriptor.handle
    assert given.lib.only == ("cudnnMultiHeadAttnBackwardData", given.expected(*DATA, "dout", **own))


def test_backward_weights_passes_everything_on() -> None:
    given = Given()
    mode = WgradMode.ADD
    given.attention.backward_weights(handle(), *given.data, given.dout, given.at.dweights, space=given.space, mode=mode)
    own = {"addGrad": mode, "dweights": given.at.dweights.pointer, "doDesc": given.out.descriptor.handle}
    expected = given.expected(*DATA, "qDesc", "kDesc", "vDesc", "dout", **own)
    assert given.lib.only == ("cudnnMultiHeadAttnBackwardWeights", expected)


RUNS: list[tuple[Callable[[], dict[str, Any]], type[Exception], str]] = [
    (lambda: {"window": AttentionWindow.causal(4)}, ValueError, "a window for 4 steps, and queries of 5"),
    (lambda: {"step": 5}, ValueError, "step 5 of 5"),
    (lambda: {"step": 1}, ValueError, "step 1 of 5, for which there must be no reserve"),
    (lambda: {"lengths": (buffers(a=7).a, 1)}, ValueError, r"lengths\[0\] takes 8 bytes, the buffer holds 7"),
    (lambda: {"lengths": (1, None)}, ValueError, r"lengths\[1\] is missing, it takes 8 bytes"),
    (
        lambda: {"out": SeqDataDescriptor().set("f4", (5, 2, 1, 7)).at(1)},
        ValueError,
        r"residual like q=.* for out=\(5, 2, 1, 7\)",
    ),
    (lambda: {"residual": buffers(a=319).a}, ValueError, "residual takes 320 bytes, the buffer holds 319"),
    (lambda: {"q": TensorDescriptor().at(1)}, TypeError, "works on sequence data, not on a TensorDescriptor"),
]


@pytest.mark.parametrize(("changed", "kind", "message"), RUNS, ids=[row[2][:40] for row in RUNS])
def test_forward_refuses(changed: Callable[[], dict[str, Any]], kind: type[Exception], message: str) -> None:
    given = Given()
    operands = {"q": given.q, "k": given.k, "v": given.v, "out": given.out}
    options: dict[str, Any] = {"space": given.space, "lengths": given.lengths, "residual": given.at.residual}
    with pytest.raises(kind, match=message):
        given.attention.forward(handle(), **(operands | options | changed()))
    assert not given.lib.calls


def test_gradients_refuse() -> None:
    given, at = Given(), Given().at
    inference = AttentionSpace(at.weights, at.workspace)
    with pytest.raises(ValueError, match="need the reserve that forward filled"):
        given.attention.backward_weights(handle(), *given.data, given.dout, at.dweights, space=inference)
    operands = given.dout, given.q, at.dq, given.k, at.dv, given.v, at.dv
    with pytest.raises(ValueError, match="dk takes 288 bytes, the buffer holds 240"):
        given.attention.backward_data(handle(), *operands, space=given.space, lengths=given.lengths)
    with pytest.raises(ValueError, match="dweights takes 640 bytes, the buffer holds 200"):
        given.attention.backward_weights(handle(), *given.data, given.dout, at.reserve, space=given.space)
    assert not given.lib.calls


@pytest.mark.parametrize("which", ["attention_dropout", "output_dropout"])
def test_a_dropout_has_to_be_there(which: str) -> None:
    given, dropout = Given(), DropoutDescriptor()
    dropout._states = Buffer(0x900, 64)
    sizes: Any = {"heads": 2, "vectors": (8, 6, 5), "projections": (4, 4, 3, 8), "longest": (5, 6), "batch": 2}
    given.attention = AttentionDescriptor().set(**sizes, **{which: dropout})
    given.attention.lib = given.lib  # type: ignore[assignment]
    run, at, one = given.attention, given.at, handle()
    pairs = given.dout, given.q, at.dq, given.k, at.dk, given.v, at.dv
    calls: list[Callable[[], object]] = [
        lambda: run.sizes(one),
        lambda: run.weights(one),
        lambda: run.forward(one, *given.data, given.out, space=given.space, lengths=given.lengths),
        lambda: run.backward_data(one, *pairs, space=given.space, lengths=given.lengths),
        lambda: run.backward_weights(one, *given.data, given.dout, at.dweights, space=given.space),
    ]
    for call in calls:
        call()
    done = len(given.lib.calls)
    dropout.close()
    for call in calls:
        with pytest.raises(UnusableResource, match="this DropoutDescriptor is closed"):
            call()
    assert len(given.lib.calls) == done


def test_the_sizes_of_a_training_and_an_inference() -> None:
    def answer(weightSizeInBytes: Any, workSpaceSizeInBytes: Any, reserveSpaceSizeInBytes: Any, **_: Any) -> None:
        weightSizeInBytes.value, workSpaceSizeInBytes.value = 640, 100
        if reserveSpaceSizeInBytes is not None:
            reserveSpaceSizeInBytes.value = 200

    given = Given()
    given.attention.lib = Recorder(cudnnGetMultiHeadAttnBuffers=answer)  # type: ignore[assignment]
    assert given.attention.sizes(handle()) == AttentionSizes(640, 100, 200)
    assert given.attention.sizes(handle(), training=False) == AttentionSizes(640, 100, 0)


def test_weights_are_found_in_their_space() -> None:
    """cuDNN's answers are played: the weights of queries behind 64 bytes, column by column, nothing else."""

    def sizes(weightSizeInBytes: Any, **_: Any) -> None:
        weightSizeInBytes.value = 64 + 4 * 24

    def place(wKind: Any, weightSizeInBytes: int, weights: int, wDesc: int, wAddr: Any, **_: Any) -> None:
        assert (weightSizeInBytes, weights) == (160, BASE)
        if wKind == KIND.Q_WEIGHTS:
            dims, strides = np.array([2, 3, 4], np.int32), np.array([3, 1, 6], np.int32)
            real = TensorDescriptor().lib
            real.cudnnSetTensorNdDescriptor(wDesc, DataType.FLOAT, 3, dims.ctypes.data, strides.ctypes.data)
            wAddr.value = BASE + 64

    made = attention()
    made.lib = Recorder(  # type: ignore[assignment]
        cudnnGetMultiHeadAttnBuffers=sizes, cudnnGetMultiHeadAttnWeights=place
    )
    slots = made.weights(handle())
    assert list(slots) == [KIND.Q_WEIGHTS]
    slot = slots[KIND.Q_WEIGHTS]
    assert (slot.offset, slot.spec) == (64, TensorSpec(DataType.FLOAT, (2, 3, 4), (3, 1, 6)))
    space = np.zeros(160, np.uint8)
    slot.view(space)[...] = np.arange(24).reshape(2, 3, 4)
    flat = space.view(np.float32)[16:]
    assert flat.tolist() == [4 * r + c + 12 * h for c in range(4) for h in range(2) for r in range(3)]
    with pytest.raises(ValueError, match="up to byte 160 need a contiguous array of that size, not of 159"):
        slot.view(space[:159])
    with pytest.raises(ValueError, match="contiguous"):
        slot.view(np.zeros(320, np.uint8)[::2])
