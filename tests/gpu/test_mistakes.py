"""The commonest mistakes that need a card to be made, each told clearly, and the card goes on working."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gocudnn_py import errors
from tests.mistakes import MISTAKES, Card, Mistake

if TYPE_CHECKING:
    from gocunets.backends.cudnn import CudaBackend


@pytest.mark.parametrize("mistake", [each for each in MISTAKES if each.gpu], ids=lambda each: each.what)
def test_a_mistake_is_told(mistake: Mistake, backend: CudaBackend) -> None:
    card = Card()
    kind = getattr(errors, mistake.error, None) or {"ValueError": ValueError, "TypeError": TypeError}[mistake.error]
    with pytest.raises(kind, match=mistake.says):
        mistake.make(card)
    card.stream.synchronize()
