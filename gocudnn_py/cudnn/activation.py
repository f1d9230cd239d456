"""Activation descriptors: the function and its number."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Self

from gocudnn_py._abi.cudnn import ActivationMode, NanPropagation
from gocudnn_py.cudnn.descriptor import Descriptor, Operand, factors
from gocudnn_py.cudnn.handle import Handle


@dataclass(frozen=True, slots=True)
class ActivationSpec:
    """What an activation descriptor holds."""

    mode: ActivationMode
    coefficient: float
    nan: NanPropagation
    swish_beta: float


class ActivationDescriptor(Descriptor):
    """An activation function."""

    kind = "Activation"

    def __init__(self) -> None:
        super().__init__()
        self.set(ActivationMode.IDENTITY)  # cuDNN leaves a new one uninitialised

    def set(
        self,
        mode: ActivationMode,
        coefficient: float = 0.0,
        *,
        nan: NanPropagation = NanPropagation.NOT_PROPAGATE_NAN,
        swish_beta: float = 1.0,
    ) -> Self:
        """Describe an activation: `coefficient` is CLIPPED_RELU's ceiling and ELU's alpha.

        cudnnSetActivationDescriptor, cudnnSetActivationDescriptorSwishBeta.
        """
        self.lib.cudnnSetActivationDescriptor(self.handle, mode, nan, coefficient)
        self.lib.cudnnSetActivationDescriptorSwishBeta(self.handle, swish_beta)
        return self

    def get(self) -> ActivationSpec:
        """Read everything back (cudnnGetActivationDescriptor, cudnnGetActivationDescriptorSwishBeta)."""
        mode, nan = ctypes.c_int(), ctypes.c_int()
        coefficient, beta = ctypes.c_double(), ctypes.c_double()
        out = ctypes.byref(mode), ctypes.byref(nan), ctypes.byref(coefficient)
        self.lib.cudnnGetActivationDescriptor(self.handle, *out)
        self.lib.cudnnGetActivationDescriptorSwishBeta(self.handle, ctypes.byref(beta))
        return ActivationSpec(ActivationMode(mode.value), coefficient.value, NanPropagation(nan.value), beta.value)

    def forward(self, handle: Handle, x: Operand, y: Operand, *, alpha: float = 1.0, beta: float = 0.0) -> None:
        """y = alpha activation(x) + beta y (cudnnActivationForward)."""
        one, two = factors(y, alpha, beta)
        self.lib.cudnnActivationForward(handle.handle, self.handle, one, *x.pair, two, *y.pair)

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
        """dx = alpha times the gradient at x and y = activation(x), + beta dx (cudnnActivationBackward)."""
        one, two = factors(dx, alpha, beta)
        operands = *y.pair, *dy.pair, *x.pair
        self.lib.cudnnActivationBackward(handle.handle, self.handle, one, *operands, two, *dx.pair)

    def _describe(self) -> str:
        s = self.get()
        beta = f", swish_beta={s.swish_beta:g}" if s.mode is ActivationMode.SWISH else ""
        return f"{s.mode.name}, coefficient={s.coefficient:g}{beta}, {s.nan.name}"
