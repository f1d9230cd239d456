"""Dropout on the card: how much is dropped, what is left, the way back, and random numbers that can be repeated."""

from __future__ import annotations

import numpy as np
import pytest

from gocudnn_py.cuda import DeviceBuffer
from gocudnn_py.cudnn import Handle, TensorDescriptor
from gocudnn_py.cudnn.dropout import DropoutDescriptor, DropoutSpec
from tests.gpu.card import Array, Card, numbers

SHAPE = (16, 12, 31, 33)
COUNT = int(np.prod(SHAPE))
ONES = np.ones(SHAPE)
U = 2.0**-24
SIGMAS = 5


def states(handle: Handle, card: Card) -> DeviceBuffer:
    return card.scratch(DropoutDescriptor().states_size(handle))


def forward(dropout: DropoutDescriptor, handle: Handle, card: Card) -> tuple[Array, DeviceBuffer]:
    """y of ones, and the reserve space."""
    x, y = card.put(ONES), card.empty(SHAPE)
    reserve = card.scratch(dropout.reserve_size(TensorDescriptor().set(np.float32, SHAPE)))
    dropout.forward(handle, x, y, reserve)
    return card.get(y), reserve


@pytest.mark.covers(
    "cudnnDropoutGetStatesSize",
    "cudnnDropoutGetReserveSpaceSize",
    "cudnnSetDropoutDescriptor",
    "cudnnDropoutForward",
    "cudnnDropoutBackward",
)
@pytest.mark.parametrize("probability", [0.0, 0.1, 0.5, 0.75])
def test_what_is_dropped_forward_is_dropped_backward(probability: float, handle: Handle, card: Card) -> None:
    dropout = DropoutDescriptor().set(handle, probability, states(handle, card), seed=1234)
    y, reserve = forward(dropout, handle, card)
    kept, scale = y != 0, 1 / (1 - float(np.float32(probability)))
    deviation = np.sqrt(probability * (1 - probability) / COUNT)
    assert abs(1 - kept.mean() - probability) <= SIGMAS * deviation
    np.testing.assert_allclose(y, kept * scale, rtol=4 * U)
    dy, on_dx = numbers(*SHAPE), card.empty(SHAPE)
    dropout.backward(handle, card.put(dy), on_dx, reserve)
    np.testing.assert_allclose(card.get(on_dx), dy * kept * scale, rtol=4 * U)


@pytest.mark.covers("cudnnSetDropoutDescriptor", "cudnnDropoutForward")
def test_a_seed_is_a_sequence_of_masks(handle: Handle, card: Card) -> None:
    first = DropoutDescriptor().set(handle, 0.5, states(handle, card), seed=7)
    masks = [forward(first, handle, card)[0] for _ in range(2)]
    again = DropoutDescriptor().set(handle, 0.5, states(handle, card), seed=7)
    other = DropoutDescriptor().set(handle, 0.5, states(handle, card), seed=8)
    assert (masks[0] != masks[1]).any()
    assert (forward(again, handle, card)[0] == masks[0]).all()
    assert (forward(other, handle, card)[0] != masks[0]).any()


@pytest.mark.covers("cudnnRestoreDropoutDescriptor", "cudnnDropoutForward")
def test_restored_states_repeat_their_masks(handle: Handle, card: Card) -> None:
    memory = states(handle, card)
    dropout = DropoutDescriptor().set(handle, 0.5, memory, seed=7)
    forward(dropout, handle, card)
    saved = memory.download(np.empty(memory.nbytes, np.uint8))
    masks = [forward(dropout, handle, card)[0] for _ in range(2)]
    memory.upload(saved)
    dropout.restore(handle, 0.5, memory, seed=7)
    assert all((forward(dropout, handle, card)[0] == mask).all() for mask in masks)
    elsewhere = states(handle, card)
    elsewhere.upload(saved)
    other = DropoutDescriptor().restore(handle, 0.5, elsewhere, seed=7)
    assert (forward(other, handle, card)[0] == masks[0]).all()


@pytest.mark.covers("cudnnGetDropoutDescriptor")
def test_get(handle: Handle, card: Card) -> None:
    memory = states(handle, card)
    dropout = DropoutDescriptor().set(handle, 0.25, memory, seed=2**63 + 5)
    assert dropout.get(handle) == DropoutSpec(0.25, memory.pointer, 2**63 + 5)


def test_states_that_are_too_small_are_refused(handle: Handle, card: Card) -> None:
    small = card.scratch(8)
    with pytest.raises(ValueError, match=r"the states take \d+ bytes, the buffer has 8"):
        DropoutDescriptor().set(handle, 0.25, small)
