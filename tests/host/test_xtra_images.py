"""The tests of gpu/test_xtra_images with the host in the card's place."""

from __future__ import annotations

from tests.gpu import test_xtra_images as on_the_card
from tests.host.test_xtra import card as card
from tests.host.test_xtra import host as host
from tests.host.test_xtra import take

globals().update(take(on_the_card))
