"""What a plan is made for: the GPU of a handle, or one that is described."""

from __future__ import annotations

from dataclasses import dataclass

from gocudnn_py._abi.cudnn import BackendAttributeName as Attribute
from gocudnn_py._abi.cudnn import BackendAttributeType as Type
from gocudnn_py._abi.cudnn import BackendDescriptorType as Kind
from gocudnn_py.cudnn.graph.descriptor import BackendDescriptor
from gocudnn_py.cudnn.handle import Handle


@dataclass(frozen=True)
class DeviceProperties:
    """A GPU as cuDNN describes it in JSON: plans can be made for it where there is none.

    `of` reads those of a handle's GPU, `of_device` those of a device by its number.
    """

    json: bytes

    @staticmethod
    def of(handle: Handle) -> DeviceProperties:
        """The properties of the GPU that a handle is for (cudnnBackendFinalize, cudnnBackendGetAttribute)."""
        made = BackendDescriptor(Kind.DEVICEPROP_DESCRIPTOR)
        made.set(Attribute.DEVICEPROP_HANDLE, Type.HANDLE, handle.handle).finalize()
        return DeviceProperties(made.text(Attribute.DEVICEPROP_JSON_REPRESENTATION))

    @staticmethod
    def of_device(device: int = 0) -> DeviceProperties:
        """The properties of the GPU with a number (cudnnBackendFinalize, cudnnBackendGetAttribute)."""
        made = BackendDescriptor(Kind.DEVICEPROP_DESCRIPTOR)
        made.set(Attribute.DEVICEPROP_DEVICE_ID, Type.INT32, device).finalize()
        return DeviceProperties(made.text(Attribute.DEVICEPROP_JSON_REPRESENTATION))

    def descriptor(self) -> BackendDescriptor:
        """The finalized descriptor (cudnnBackendFinalize)."""
        made = BackendDescriptor(Kind.DEVICEPROP_DESCRIPTOR)
        return made.set_text(Attribute.DEVICEPROP_JSON_REPRESENTATION, self.json).finalize()


Target = Handle | DeviceProperties


def aimed(made: BackendDescriptor, attribute: Attribute, target: Target) -> BackendDescriptor:
    """A descriptor told of the GPU that is described; for a handle's the operation graph says which it is."""
    if isinstance(target, DeviceProperties):
        made.set(attribute, Type.BACKEND_DESCRIPTOR, target.descriptor())
    return made
