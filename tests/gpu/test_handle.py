"""cuDNN's handle on the card."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from gocudnn_py.cudnn import Handle
from gocudnn_py.cudnn import transform as tensors
from tests.gpu.card import Card

if TYPE_CHECKING:
    from gocunets.backends.cudnn import CudaBackend


@pytest.mark.covers("cudnnCreate", "cudnnDestroy", "cudnnSetStream", "cudnnGetStream", "cudnnQueryRuntimeError")
def test_a_handle_works_on_its_stream(backend: CudaBackend, card: Card) -> None:
    with Handle(backend.device.ordinal, backend.stream) as handle:
        assert handle.library_stream() == backend.stream.handle
        y = card.empty((1, 2, 3, 4))
        tensors.fill(handle, y, 2.5)
        np.testing.assert_array_equal(card.get(y), np.full((1, 2, 3, 4), 2.5))
        assert handle.runtime_error() == 0
        other = backend.device.stream()
        handle.use(other)
        assert handle.library_stream() == other.handle
