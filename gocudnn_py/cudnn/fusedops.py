"""Fused operations of the older kind: constant parameters, a plan, and the pointers of each run."""

from __future__ import annotations

import ctypes
from typing import Any, Self

from gocudnn_py._abi.cudnn import (
    BatchNormMode,
    FusedOps,
    FusedOpsConstParamLabel,
    FusedOpsPointerPlaceHolder,
    FusedOpsVariantParamLabel,
)
from gocudnn_py.cudnn.activation import ActivationDescriptor
from gocudnn_py.cudnn.convolution import ConvolutionDescriptor
from gocudnn_py.cudnn.descriptor import Descriptor, address, size_of
from gocudnn_py.cudnn.filter import FilterDescriptor
from gocudnn_py.cudnn.handle import Handle
from gocudnn_py.cudnn.tensor import TensorDescriptor
from gocudnn_py.library import load
from gocudnn_py.resource import Resource

SCALARS: dict[FusedOpsVariantParamLabel, Any] = {
    FusedOpsVariantParamLabel.SCALAR_SIZE_T_WORKSPACE_SIZE_IN_BYTES: ctypes.c_size_t,
    FusedOpsVariantParamLabel.SCALAR_INT64_T_BN_ACCUMULATION_COUNT: ctypes.c_int64,
    FusedOpsVariantParamLabel.SCALAR_DOUBLE_BN_EXP_AVG_FACTOR: ctypes.c_double,
    FusedOpsVariantParamLabel.SCALAR_DOUBLE_BN_EPSILON: ctypes.c_double,
}


DESCRIPTORS: dict[FusedOpsConstParamLabel, type[Descriptor]] = {
    FusedOpsConstParamLabel.ACTIVATION_DESC: ActivationDescriptor,
    FusedOpsConstParamLabel.CONV_DESC: ConvolutionDescriptor,
    FusedOpsConstParamLabel.WDESC: FilterDescriptor,
    FusedOpsConstParamLabel.DWDESC: FilterDescriptor,
}


def _check_kind(label: FusedOpsConstParamLabel, value: object) -> None:
    label = FusedOpsConstParamLabel(label)
    if label.name.endswith("DESC"):
        kind: type = DESCRIPTORS.get(label, TensorDescriptor)
    else:
        kind = BatchNormMode if label is FusedOpsConstParamLabel.BN_MODE else FusedOpsPointerPlaceHolder
    if not isinstance(value, kind):
        raise TypeError(f"{label.name} is a {kind.__name__}, not a {type(value).__name__}")


class _Fused(Resource):
    """What the three share: made for one kind of fused operation."""

    kind: str

    def __init__(self, ops: FusedOps) -> None:
        self.lib, self.ops = load("cudnn"), FusedOps(ops)
        made = ctypes.c_void_p()
        getattr(self.lib, f"cudnnCreate{self.kind}")(ctypes.byref(made), ops)
        self._held: dict[int, object] = {}
        super().__init__(made.value or 0, getattr(self.lib, f"cudnnDestroy{self.kind}"), self._held)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.ops.name}{'' if self.usable else ', unusable'})"


class FusedConstants(_Fused):
    """Descriptors, and how the pointers of a run will be aligned.

    cudnnCreateFusedOpsConstParamPack, cudnnDestroyFusedOpsConstParamPack.
    """

    kind = "FusedOpsConstParamPack"

    def set(
        self, label: FusedOpsConstParamLabel, value: Descriptor | BatchNormMode | FusedOpsPointerPlaceHolder
    ) -> Self:
        """Set a descriptor, a mode or a placeholder (cudnnSetFusedOpsConstParamPackAttribute).

        Raises TypeError for one of another kind than the label's, which cuDNN would take for it without a word.
        """
        _check_kind(label, value)
        if isinstance(value, Descriptor):
            self._held[label] = value
            argument: Any = value.handle
        else:
            argument = ctypes.byref(ctypes.c_int(value))
        self.lib.cudnnSetFusedOpsConstParamPackAttribute(self.handle, label, argument)
        return self

    def get(self, label: FusedOpsConstParamLabel, into: Descriptor | None = None) -> int | None:
        """A mode or placeholder; a descriptor is read `into` another, and None says that it was not set.

        cudnnGetFusedOpsConstParamPackAttribute.
        """
        if into is not None:
            _check_kind(label, into)
        number, missing = ctypes.c_int(), ctypes.c_int()
        target: Any = ctypes.byref(number) if into is None else into.handle
        self.lib.cudnnGetFusedOpsConstParamPackAttribute(self.handle, label, target, ctypes.byref(missing))
        return None if missing.value else number.value


class FusedArguments(_Fused):
    """The pointers and numbers of a run.

    cudnnCreateFusedOpsVariantParamPack, cudnnDestroyFusedOpsVariantParamPack.
    """

    kind = "FusedOpsVariantParamPack"

    def set(self, label: FusedOpsVariantParamLabel, value: Any) -> Self:
        """Set a buffer, an address or, for a SCALAR label, a number (cudnnSetFusedOpsVariantParamPackAttribute)."""
        self._held[label] = value
        if label in SCALARS:
            argument: Any = ctypes.byref(SCALARS[label](value))
        else:
            argument = address(value)
        self.lib.cudnnSetFusedOpsVariantParamPackAttribute(self.handle, label, argument)
        return self

    def get(self, label: FusedOpsVariantParamLabel) -> Any:
        """An address, or a number (cudnnGetFusedOpsVariantParamPackAttribute)."""
        cell = SCALARS.get(label, ctypes.c_void_p)()
        self.lib.cudnnGetFusedOpsVariantParamPackAttribute(self.handle, label, ctypes.byref(cell))
        return cell.value or 0


class FusedPlan(_Fused):
    """A fused operation made ready (cudnnCreateFusedOpsPlan, cudnnDestroyFusedOpsPlan)."""

    kind = "FusedOpsPlan"

    def make(self, handle: Handle, constants: FusedConstants) -> int:
        """Make it ready; returns the bytes of workspace (cudnnMakeFusedOpsPlan). Raises NotSupported."""
        self._held[0] = constants
        return size_of(self._make, handle.handle, constants.handle)

    def _make(self, handle: int, constants: int, size: Any) -> None:
        self.lib.cudnnMakeFusedOpsPlan(handle, self.handle, constants, size)

    def run(self, handle: Handle, arguments: FusedArguments) -> None:
        """Run it (cudnnFusedOpsExecute)."""
        self.lib.cudnnFusedOpsExecute(handle.handle, self.handle, arguments.handle)
