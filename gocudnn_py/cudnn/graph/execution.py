"""Runs: a plan bound to addresses."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gocudnn_py._abi.cudnn import BackendAttributeName as Attribute
from gocudnn_py._abi.cudnn import BackendAttributeType as Type
from gocudnn_py._abi.cudnn import BackendDescriptorType as Kind
from gocudnn_py.cudnn.descriptor import address
from gocudnn_py.cudnn.graph.descriptor import BackendDescriptor
from gocudnn_py.cudnn.graph.tensor import Tensor
from gocudnn_py.cudnn.handle import Handle

if TYPE_CHECKING:
    from gocudnn_py.cudnn.graph.plan import Plan

WORKSPACE_ALIGNMENT = 128
"""Bytes of whose multiple a workspace's address has to be: some engines look elsewhere than they write if it is not."""


class Execution:
    """A plan bound to addresses: call it with a handle, as often as you like; keeps the `buffers` alive."""

    def __init__(
        self,
        plan: Plan,
        pointers: Mapping[Tensor, Any],
        workspace: Any = 0,
        *,
        values: Mapping[Tensor, float] | None = None,
    ) -> None:
        self.plan, self.buffers = plan, (*pointers.values(), workspace)
        tensors, scalars = plan.graph.real, plan.graph.scalars
        addresses = _addresses(plan, tensors, pointers)
        numbers = _numbers(scalars, values or {})
        scratch = address(workspace)
        room = getattr(workspace, "nbytes", plan.workspace) if scratch else 0
        if room < plan.workspace:
            given = f"{room:,} are" if room else "none is"
            raise ValueError(f"{plan!r} needs {plan.workspace:,} bytes of workspace, {given} given")
        if plan.workspace and scratch % WORKSPACE_ALIGNMENT:
            raise ValueError(f"the workspace at {scratch:#x} is not at a multiple of {WORKSPACE_ALIGNMENT} bytes")
        pack = BackendDescriptor(Kind.VARIANT_PACK_DESCRIPTOR)
        pack.set(Attribute.VARIANT_PACK_UNIQUE_IDS, Type.INT64, *(tensor.uid for tensor in (*tensors, *scalars)))
        pack.set(Attribute.VARIANT_PACK_DATA_POINTERS, Type.VOID_PTR, *addresses, *numbers)
        pack.set(Attribute.VARIANT_PACK_WORKSPACE, Type.VOID_PTR, scratch)
        self.pack = pack.finalize()
        self._execute = pack.lib.cudnnBackendExecute
        self._arguments = tuple(map(ctypes.c_void_p.from_param, (plan.descriptor.handle, self.pack.handle)))

    def __call__(self, handle: Handle) -> None:
        """Run on the handle's stream (cudnnBackendExecute)."""
        self._execute(handle.handle, *self._arguments)

    def workspace(self, handle: Handle) -> int:
        """The bytes of scratch memory for these very extents, at most the plan's (cudnnGetExecutionPlanWorkspaceSize).

        Raises NotInThisVersion before cuDNN 9.23.
        """
        size = ctypes.c_size_t()
        query = self.pack.lib.cudnnGetExecutionPlanWorkspaceSize
        query(handle.handle, self.plan.descriptor.handle, self.pack.handle, ctypes.byref(size))
        return size.value


def _addresses(plan: Plan, tensors: list[Tensor], pointers: Mapping[Tensor, Any]) -> list[int]:
    missing = [tensor.name for tensor in tensors if tensor not in pointers]
    if missing:
        raise ValueError(f"no address for {', '.join(missing)} of {plan.graph}")
    return [_place(tensor, pointers[tensor]) for tensor in tensors]


def _place(tensor: Tensor, place: Any) -> int:
    found, room = address(place), getattr(place, "nbytes", None)
    if not found and tensor.size:
        raise ValueError(f"{tensor} lies at address 0")
    if found % tensor.alignment:
        raise ValueError(f"{tensor.name} lies at {found:#x}, declared is a multiple of {tensor.alignment}")
    if room is not None and room < tensor.least_bytes:
        raise ValueError(f"{tensor} takes {tensor.least_bytes:,} bytes, its memory has {room:,}")
    return found


def _numbers(scalars: list[Tensor], values: Mapping[Tensor, float]) -> list[Any]:
    others = [tensor for tensor in values if tensor not in scalars]
    if others:
        raise ValueError(f"{', '.join(map(str, others))} is not passed by value")
    return [tensor.host_value(values.get(tensor)) for tensor in scalars]
