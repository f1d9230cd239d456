"""Dropout descriptors: the probability, and the random numbers' states on the GPU."""

from __future__ import annotations

import ctypes
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

from gocudnn_py.cudnn.descriptor import Descriptor, Operand, address, size_of, span
from gocudnn_py.cudnn.handle import Handle
from gocudnn_py.cudnn.tensor import TensorDescriptor

UINT64_MAX = 2**64 - 1


@dataclass(frozen=True, slots=True)
class DropoutSpec:
    """What a dropout descriptor holds: the probability as float32, the address of the states, the seed."""

    probability: float
    states: int
    seed: int


class DropoutDescriptor(Descriptor):
    """Dropout: each element becomes zero with the probability, and 1 / (1 - probability) of itself else.

    `states` are the random numbers' states, a buffer that is held as long as the descriptor; every `forward` moves
    them on. cudnnCreateDropoutDescriptor, cudnnDestroyDropoutDescriptor.
    """

    kind = "Dropout"

    def __init__(self) -> None:
        self._states: Any = None
        self._said = "not set"
        super().__init__()

    def set(self, handle: Handle, probability: float, states: Any, seed: int = 0) -> Self:
        """Begin a sequence of random numbers in a buffer of `states_size` bytes (cudnnSetDropoutDescriptor).

        Raises ValueError for a probability outside 0 to 1, and for a buffer too small (cudnnDropoutGetStatesSize).
        """
        return self._fill(self.lib.cudnnSetDropoutDescriptor, handle, probability, states, seed)

    def restore(self, handle: Handle, probability: float, states: Any, seed: int = 0) -> Self:
        """Go on from states as the buffer holds them, a copy from before some `forward` say.

        cudnnRestoreDropoutDescriptor. Raises ValueError as `set` does (cudnnDropoutGetStatesSize).
        """
        return self._fill(self.lib.cudnnRestoreDropoutDescriptor, handle, probability, states, seed)

    def _fill(self, function: Callable[..., None], handle: Handle, probability: float, states: Any, seed: int) -> Self:
        if not 0.0 <= probability <= 1.0:
            raise ValueError(f"dropout: the probability is {probability}, outside 0 to 1")
        if not 0 <= operator.index(seed) <= UINT64_MAX:
            raise ValueError(f"dropout: the seed is {seed}, outside 0 to {UINT64_MAX}")
        needed = self.states_size(handle)
        if states.nbytes < needed:
            raise ValueError(f"dropout: the states take {needed} bytes, the buffer has {states.nbytes}")
        function(self.handle, handle.handle, probability, *span(states), seed)
        self._states, self._said = states, f"probability={probability:g}, seed={seed}"
        return self

    def get(self, handle: Handle) -> DropoutSpec:
        """Read everything back (cudnnGetDropoutDescriptor)."""
        probability, states, seed = ctypes.c_float(), ctypes.c_void_p(), ctypes.c_uint64()
        out = ctypes.byref(probability), ctypes.byref(states), ctypes.byref(seed)
        self.lib.cudnnGetDropoutDescriptor(self.handle, handle.handle, *out)
        return DropoutSpec(probability.value, states.value or 0, seed.value)

    def states_size(self, handle: Handle) -> int:
        """Bytes of the states on the handle's GPU (cudnnDropoutGetStatesSize)."""
        return size_of(self.lib.cudnnDropoutGetStatesSize, handle.handle)

    def reserve_size(self, x: TensorDescriptor) -> int:
        """Bytes of the reserve space, in which `forward` leaves the mask (cudnnDropoutGetReserveSpaceSize)."""
        if not x.get().dims:
            raise ValueError("dropout: x is not set")
        return size_of(self.lib.cudnnDropoutGetReserveSpaceSize, x.handle)

    def check(self) -> None:
        """Raise ValueError when not set, UnusableResource when this or its states are closed."""
        if self.handle and self._states is None:
            raise ValueError("dropout: this DropoutDescriptor is not set")
        address(self._states)  # raises when closed

    def forward(self, handle: Handle, x: Operand, y: Operand, reserve: Any) -> None:
        """y = x without the elements dropped, the mask into the reserve space (cudnnDropoutForward)."""
        self.check()
        self.lib.cudnnDropoutForward(handle.handle, self.handle, *x.pair, *y.pair, *span(reserve))

    def backward(self, handle: Handle, dy: Operand, dx: Operand, reserve: Any) -> None:
        """dx = dy with the mask of the `forward` that wrote the reserve space (cudnnDropoutBackward)."""
        self.lib.cudnnDropoutBackward(handle.handle, self.handle, *dy.pair, *dx.pair, *span(reserve))

    def _describe(self) -> str:
        return self._said  # cuDNN tells only those who have a handle
