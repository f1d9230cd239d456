"""The CNN of the thesis's tables 4.2 and 4.3."""

from __future__ import annotations

from ..init import He, Initializer
from ..nn import OutputModule, SimpleModuleNetwork, VanillaModule


def thesis_network(classes: int = 10, initializer: Initializer | None = None) -> SimpleModuleNetwork:
    """Three 4x4 convolutions of stride 2 and dilation 3 with leaky ReLU, and a 4x4 head: 28 -> 16 -> 8 -> 4 -> 1.

    Input (N, 1, 28, 28); 16,390 parameters for ten classes.
    """
    initializer = initializer or He()
    body = [
        VanillaModule(20, 4, stride=2, padding=padding, dilation=3, initializer=initializer) for padding in (6, 4, 4)
    ]
    return SimpleModuleNetwork(body, OutputModule(classes, 4, initializer=initializer))
