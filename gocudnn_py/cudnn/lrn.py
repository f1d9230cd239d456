"""Local response normalisation descriptors."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Self

from gocudnn_py.cudnn.descriptor import Descriptor, int32


@dataclass(frozen=True, slots=True)
class LrnSpec:
    """What a local response normalisation descriptor holds."""

    window: int
    alpha: float
    beta: float
    k: float


class LrnDescriptor(Descriptor):
    """y = x * (k + alpha / window * sum of x^2 over the window of channels) ** -beta."""

    kind = "LRN"

    def set(self, window: int = 5, alpha: float = 1e-4, beta: float = 0.75, k: float = 2.0) -> Self:
        """Describe the window (1 to 16 channels, k >= 1e-5, beta >= 0.01) (cudnnSetLRNDescriptor)."""
        self.lib.cudnnSetLRNDescriptor(self.handle, int32("window", window, least=1), alpha, beta, k)
        return self

    def get(self) -> LrnSpec:
        """Read everything back (cudnnGetLRNDescriptor)."""
        window = ctypes.c_uint()
        alpha, beta, k = ctypes.c_double(), ctypes.c_double(), ctypes.c_double()
        out = ctypes.byref(window), ctypes.byref(alpha), ctypes.byref(beta), ctypes.byref(k)
        self.lib.cudnnGetLRNDescriptor(self.handle, *out)
        return LrnSpec(window.value, alpha.value, beta.value, k.value)

    def _describe(self) -> str:
        s = self.get()
        return f"window={s.window}, alpha={s.alpha:g}, beta={s.beta:g}, k={s.k:g}"
