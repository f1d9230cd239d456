"""Local response normalisation descriptors."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any, Self

from gocudnn_py._abi.cudnn import DivNormMode, LRNMode
from gocudnn_py.cudnn.descriptor import Descriptor, Operand, factors, int32
from gocudnn_py.cudnn.handle import Handle
from gocudnn_py.cudnn.place import extent, within


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

    def forward(self, handle: Handle, x: Operand, y: Operand, *, alpha: float = 1.0, beta: float = 0.0) -> None:
        """y = alpha normalised(x) + beta y (cudnnLRNCrossChannelForward)."""
        one, two = factors(y, alpha, beta)
        self.lib.cudnnLRNCrossChannelForward(
            handle.handle, self.handle, LRNMode.CROSS_CHANNEL_DIM1, one, *x.pair, two, *y.pair
        )

    def backward(
        self,
        handle: Handle,
        y: Operand,
        dy: Operand,
        x: Operand,
        dx: Operand,
        *,
        alpha: float = 1.0,
        beta: float = 0.0,
    ) -> None:
        """dx = alpha times the gradient at x and y = normalised(x), + beta dx (cudnnLRNCrossChannelBackward)."""
        one, two = factors(dx, alpha, beta)
        operands = *y.pair, *dy.pair, *x.pair
        self.lib.cudnnLRNCrossChannelBackward(
            handle.handle, self.handle, LRNMode.CROSS_CHANNEL_DIM1, one, *operands, two, *dx.pair
        )

    def divisive_forward(
        self,
        handle: Handle,
        x: Operand,
        y: Operand,
        *,
        means: Any = None,
        scratch: tuple[Any, Any],
        alpha: float = 1.0,
        beta: float = 0.0,
    ) -> None:
        """Divide by what is in a pixel's spatial window of its own channel (cudnnDivisiveNormalizationForward).

        y_i = alpha x_i (k + a / window^2 * sum of (x_j - means_i)^2) ** -b + beta y_i, with the descriptor's a, b and k
        and j over the window x window pixels around i: local contrast normalisation (Jarrett and others 2009). `means`
        lie like x, 0 unless given; `scratch` are two buffers of x's size.
        """
        one, two = factors(y, alpha, beta)
        nbytes = extent(x)
        buffers = within("means", means, nbytes), *_pair(scratch, nbytes)
        self.lib.cudnnDivisiveNormalizationForward(
            handle.handle, self.handle, DivNormMode.PRECOMPUTED_MEANS, one, *x.pair, *buffers, two, *y.pair
        )

    def divisive_backward(
        self,
        handle: Handle,
        x: Operand,
        dy: Any,
        dx: Operand,
        *,
        means: Any = None,
        dmeans: Any = None,
        scratch: tuple[Any, Any],
        alpha: float = 1.0,
        beta: float = 0.0,
    ) -> None:
        """dx, and `dmeans` where that is given, which lies like dx (cudnnDivisiveNormalizationBackward).

        dy, `means` and `scratch` lie like x.
        """
        one, two = factors(dx, alpha, beta)
        nbytes = extent(x)
        buffers = within("means", means, nbytes), within("dy", dy, nbytes), *_pair(scratch, nbytes)
        self.lib.cudnnDivisiveNormalizationBackward(
            handle.handle, self.handle, DivNormMode.PRECOMPUTED_MEANS, one, *x.pair, *buffers, two, *dx.pair,
            within("dmeans", dmeans, extent(dx)),
        )  # fmt: skip

    def _describe(self) -> str:
        s = self.get()
        return f"window={s.window}, alpha={s.alpha:g}, beta={s.beta:g}, k={s.k:g}"


def _pair(scratch: tuple[Any, Any], nbytes: int) -> tuple[int, int]:
    return within("scratch[0]", scratch[0], nbytes), within("scratch[1]", scratch[1], nbytes)
