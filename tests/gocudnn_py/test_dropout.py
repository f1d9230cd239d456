"""Dropout descriptors without a GPU: sizes, what is refused, and that each argument reaches its parameter."""

from __future__ import annotations

import gc
import weakref
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gocudnn_py.cudnn import TensorDescriptor
from gocudnn_py.cudnn.dropout import DropoutDescriptor, DropoutSpec
from gocudnn_py.errors import UnusableResource
from tests.gocudnn_py.recording import HANDLE, Recording, buffer, writes

pytestmark = pytest.mark.usefixtures("cudnn")
SIZE = 5000


def dropout(**functions: Any) -> tuple[DropoutDescriptor, Any]:
    made = DropoutDescriptor()
    answers = {"cudnnDropoutGetStatesSize": writes(SIZE), "cudnnSetDropoutDescriptor": None}
    lib: Any = Recording(made.lib, answers | functions)
    made.lib = lib
    return made, lib


@pytest.mark.covers("cudnnCreateDropoutDescriptor", "cudnnDestroyDropoutDescriptor")
def test_a_new_one_is_not_set() -> None:
    made = DropoutDescriptor()
    assert repr(made) == "DropoutDescriptor(not set)"
    made.close()
    made.close()
    assert repr(made) == "DropoutDescriptor(unusable)"


@pytest.mark.covers("cudnnDropoutGetReserveSpaceSize")
@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.float64])
@pytest.mark.parametrize("dims", [(2, 3, 4, 5), (64, 64, 7, 7), (1, 1, 1, 1)])
def test_the_reserve_space_has_room_for_a_bit_an_element(dims: tuple[int, ...], dtype: Any) -> None:
    size = DropoutDescriptor().reserve_size(TensorDescriptor().set(dtype, dims))
    bits = int(np.prod(dims))
    assert bits / 8 <= size <= 4 + bits


@pytest.mark.parametrize("name", ["set", "restore"])
def test_setting_and_restoring_pass_everything_on(name: str) -> None:
    function = f"cudnn{name.capitalize()}DropoutDescriptor"
    made, lib = dropout(**{function: None})
    getattr(made, name)(HANDLE, 0.25, buffer(0x1000, SIZE), 2**64 - 1)
    assert lib.only(function) == {
        "dropoutDesc": made.handle,
        "handle": HANDLE.handle,
        "dropout": 0.25,
        "states": 0x1000,
        "stateSizeInBytes": SIZE,
        "seed": 2**64 - 1,
    }
    assert repr(made) == f"DropoutDescriptor(probability=0.25, seed={2**64 - 1})"


def test_get_reads_what_cudnn_writes() -> None:
    def answer(descriptor: int, handle: int, *out: Any) -> None:
        for cell, value in zip(out, (0.5, 0x2000, 7), strict=True):
            cell._obj.value = value

    made, lib = dropout(cudnnGetDropoutDescriptor=answer)
    assert made.get(HANDLE) == DropoutSpec(0.5, 0x2000, 7)
    assert lib.only("cudnnGetDropoutDescriptor")["handle"] == HANDLE.handle


def test_forward_and_backward_pass_everything_on() -> None:
    made, lib = dropout(cudnnDropoutForward=None, cudnnDropoutBackward=None)
    made.set(HANDLE, 0.5, buffer(0x1000))
    one, two = (TensorDescriptor().set(np.float32, (2, 3, 4, 5)) for _ in range(2))
    made.forward(HANDLE, one.at(0x10), two.at(0x20), buffer(0x30, 64))
    made.backward(HANDLE, one.at(0x40), two.at(0x50), buffer(0x60, 72))
    common = {"handle": HANDLE.handle, "dropoutDesc": made.handle}
    assert lib.only("cudnnDropoutForward") == common | {
        "xdesc": one.handle,
        "x": 0x10,
        "ydesc": two.handle,
        "y": 0x20,
        "reserveSpace": 0x30,
        "reserveSpaceSizeInBytes": 64,
    }
    assert lib.only("cudnnDropoutBackward") == common | {
        "dydesc": one.handle,
        "dy": 0x40,
        "dxdesc": two.handle,
        "dx": 0x50,
        "reserveSpace": 0x60,
        "reserveSpaceSizeInBytes": 72,
    }


@pytest.mark.parametrize(
    ("probability", "nbytes", "seed", "message"),
    [
        (1.5, SIZE, 0, r"dropout: the probability is 1\.5, outside 0 to 1"),
        (-0.1, SIZE, 0, r"dropout: the probability is -0\.1"),
        (float("nan"), SIZE, 0, "dropout: the probability is nan"),
        (0.5, SIZE - 1, 0, "dropout: the states take 5000 bytes, the buffer has 4999"),
        (0.5, SIZE, 2**64, "dropout: the seed is 18446744073709551616, outside 0 to 18446744073709551615"),
        (0.5, SIZE, -1, "dropout: the seed is -1"),
    ],
)
def test_mistakes_are_refused_with_their_numbers(probability: float, nbytes: int, seed: int, message: str) -> None:
    made, lib = dropout()
    with pytest.raises(ValueError, match=message):
        made.set(HANDLE, probability, buffer(0x1000, nbytes), seed)
    assert repr(made) == "DropoutDescriptor(not set)"
    assert "cudnnSetDropoutDescriptor" not in dict(lib.calls)


def test_what_is_not_set_does_not_run() -> None:
    made, x = DropoutDescriptor(), TensorDescriptor().set(np.float32, (2, 3))
    with pytest.raises(ValueError, match="this DropoutDescriptor is not set"):
        made.forward(HANDLE, x.at(0x10), x.at(0x20), buffer(0x30))
    with pytest.raises(ValueError, match="dropout: x is not set"):
        made.reserve_size(TensorDescriptor())
    made.close()
    with pytest.raises(UnusableResource, match="this DropoutDescriptor is closed"):
        made.forward(HANDLE, x.at(0x10), x.at(0x20), buffer(0x30))


def test_the_states_live_as_long_as_the_descriptor() -> None:
    class States:
        pointer, nbytes = 0x1000, SIZE

    made, _ = dropout()
    states = States()
    made.set(HANDLE, 0.5, states)
    seen = weakref.ref(states)
    del states
    gc.collect()
    assert seen() is not None
    del made
    gc.collect()
    assert seen() is None


def test_states_in_an_array_of_another_library() -> None:
    made, lib = dropout()
    states: Any = SimpleNamespace(nbytes=SIZE, __cuda_array_interface__={"data": (0x1000, False)})
    made.set(HANDLE, 0.25, states).check()
    assert lib.only("cudnnSetDropoutDescriptor")["states"] == 0x1000
