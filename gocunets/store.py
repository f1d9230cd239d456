"""The States of a network on a backend: flat arenas that every program of the network shares."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .backends.base import Backend
from .dtypes import DType
from .passes.memory import Slot, align
from .state import State
from .types import TensorType

Array = npt.NDArray[np.generic]


class StateStore:
    """Holds parameters, their gradients, moments and statistics; slots are aligned, arenas zeroed.

    States that are added in one call lie in one allocation, in the order given, so that one launch
    can update them all.
    """

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.gradients: dict[State, Slot] = {}
        self._tensors: dict[State, Any] = {}
        self._places: dict[State, tuple[Any, int]] = {}
        self._gradient_arenas: dict[str, Any] = {}

    def __contains__(self, state: State) -> bool:
        return state in self._tensors

    @property
    def states(self) -> list[State]:
        """All states, in the order in which they were added."""
        return list(self._tensors)

    def add(self, states: Sequence[State]) -> None:
        """Allocate states side by side and fill them with their initial content."""
        buffer, offsets = self._arena(states)
        for state, offset in zip(states, offsets, strict=True):
            self._tensors[state] = self.backend.view(buffer, offset, state.type)
            self._places[state] = buffer, offset
            self.write(state, state.initial())

    def add_gradients(self, arena: str, parameters: Sequence[State]) -> None:
        """Allocate a gradient for each parameter, side by side in their order."""
        self._gradient_arenas[arena], offsets = self._arena(parameters)
        for parameter, offset in zip(parameters, offsets, strict=True):
            self.gradients[parameter] = Slot(arena, offset)

    def gradient_arena(self, name: str) -> Any:
        """The buffer of a gradient arena."""
        return self._gradient_arenas[name]

    def tensor(self, state: State) -> Any:
        """The backend's tensor of a state."""
        return self._tensors[state]

    def read(self, state: State) -> Array:
        """A copy of a state's content."""
        return self.backend.download(self._tensors[state])

    def write(self, state: State, content: Array) -> None:
        """Replace a state's content. Raises ValueError when the shape differs."""
        if content.shape != state.type.shape:
            raise ValueError(f"{state.name} has shape {state.type.shape}, not {content.shape}")
        self.backend.upload(content.astype(state.type.dtype.numpy(), copy=False), self._tensors[state])

    def write_bytes(self, state: State, offset: int, content: bytes) -> None:
        """Replace some bytes of a state."""
        buffer, start = self._places[state]
        tensor = self.backend.view(buffer, start + offset, TensorType((len(content),), DType.uint8))
        self.backend.upload(np.frombuffer(content, np.uint8), tensor)

    def remove(self, state: State) -> None:
        """Forget a state; its memory goes when no program holds it."""
        del self._tensors[state], self._places[state]

    def _arena(self, states: Sequence[State]) -> tuple[Any, list[int]]:
        offsets, size = [], 0
        for state in states:
            offsets.append(size)
            size += align(max(1, state.type.nbytes))
        return self.backend.allocate(size), offsets
