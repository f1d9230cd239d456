"""The backend descriptor: one opaque object for everything in cuDNN's graph API, set and read by attributes."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any, Self

from gocudnn_py._abi.cudnn import BackendAttributeName as Attribute
from gocudnn_py._abi.cudnn import BackendAttributeType as Type
from gocudnn_py._abi.cudnn import BackendDescriptorType as Kind
from gocudnn_py._abi.cudnn import Fraction
from gocudnn_py.cudnn.graph.since import check
from gocudnn_py.library import load
from gocudnn_py.resource import Resource

CELLS: dict[Type, Any] = {
    Type.HANDLE: ctypes.c_void_p,
    Type.VOID_PTR: ctypes.c_void_p,
    Type.BACKEND_DESCRIPTOR: ctypes.c_void_p,
    Type.BOOLEAN: ctypes.c_bool,
    Type.INT32: ctypes.c_int32,
    Type.INT64: ctypes.c_int64,
    Type.FLOAT: ctypes.c_float,
    Type.DOUBLE: ctypes.c_double,
    Type.CHAR: ctypes.c_char,
    Type.FRACTION: Fraction,
}
"""The C type of an attribute's elements; every type that is not here is an enumeration, an int."""


class BackendDescriptor(Resource):
    """One backend descriptor of a kind, with its attributes; it holds the descriptors that it was given.

    Needs no GPU to be made and set; some kinds need one, or a `DeviceProperties`, to be finalized
    (cudnnBackendCreateDescriptor, cudnnBackendDestroyDescriptor). Raises NotInThisVersion for a kind or an attribute
    that the loaded cuDNN is too old for.
    """

    def __init__(self, kind: Kind) -> None:
        self.kind, self.lib = kind, load("cudnn")
        check(self.lib, kind)
        made = ctypes.c_void_p()
        self.lib.cudnnBackendCreateDescriptor(kind, ctypes.byref(made))
        self._held: list[object] = []
        super().__init__(made.value or 0, self.lib.cudnnBackendDestroyDescriptor, self._held)

    def set(self, attribute: Attribute, type: Type, *values: Any) -> Self:
        """Give an attribute its elements (cudnnBackendSetAttribute).

        BackendDescriptors stand for their handles, NumPy arrays for their addresses; both are held.
        """
        check(self.lib, attribute)
        if type in (Type.BACKEND_DESCRIPTOR, Type.VOID_PTR):
            self._held += [value for value in values if not isinstance(value, int)]
            values = tuple(map(_pointer, values))
        elements = (_cell(type) * len(values))(*values)
        self.lib.cudnnBackendSetAttribute(self.handle, attribute, type, len(values), elements)
        return self

    def set_text(self, attribute: Attribute, text: bytes) -> Self:
        """Give an attribute of characters its content (cudnnBackendSetAttribute)."""
        self.lib.cudnnBackendSetAttribute(self.handle, attribute, Type.CHAR, len(text), text)
        return self

    def finalize(self) -> Self:
        """Have cuDNN check the descriptor and make it ready; nothing can be set any more (cudnnBackendFinalize)."""
        self.lib.cudnnBackendFinalize(self.handle)
        return self

    def reset(self) -> Self:
        """Make it as it was when it was new, to be set again (cudnnBackendInitialize)."""
        self.lib.cudnnBackendInitialize(self.handle)
        self._held.clear()
        return self

    def count(self, attribute: Attribute, type: Type) -> int:
        """How many elements an attribute has (cudnnBackendGetAttribute)."""
        check(self.lib, attribute)
        count = ctypes.c_int64()
        self.lib.cudnnBackendGetAttribute(self.handle, attribute, type, 0, ctypes.byref(count), None)
        return count.value

    def get(self, attribute: Attribute, type: Type) -> list[Any]:
        """The elements of an attribute that is no descriptor (cudnnBackendGetAttribute)."""
        wanted = self.count(attribute, type)
        elements = _room(type, max(1, wanted))
        return list(elements[: self._read(attribute, type, wanted, elements)])

    def one(self, attribute: Attribute, type: Type) -> Any:
        """The only element of an attribute that is no descriptor (cudnnBackendGetAttribute)."""
        check(self.lib, attribute)
        elements = _room(type, 1)
        self._read(attribute, type, 1, elements)
        return elements[0]

    def text(self, attribute: Attribute) -> bytes:
        """The characters of an attribute (cudnnBackendGetAttribute)."""
        size = self.count(attribute, Type.CHAR)
        elements = ctypes.create_string_buffer(size)
        self._read(attribute, Type.CHAR, size, elements)
        return elements.raw.rstrip(b"\0")

    def descriptors(self, attribute: Attribute, kind: Kind, at_most: int | None = None) -> list[BackendDescriptor]:
        """The descriptors that an attribute holds, fewer than announced at times (cudnnBackendGetAttribute).

        `at_most` is how many there may be: some attributes announce none and have them all the same.
        """
        count = self.count(attribute, Type.BACKEND_DESCRIPTOR) if at_most is None else at_most
        made = [BackendDescriptor(kind) for _ in range(count)]
        handles = (ctypes.c_void_p * max(1, len(made)))(*(each.handle for each in made))
        given = self._read(attribute, Type.BACKEND_DESCRIPTOR, len(made), handles)
        return made[:given]

    def says_of(self, attribute: Attribute, other: BackendDescriptor) -> bool:
        """What an attribute answers to another descriptor: that it is cached, or alike (cudnnBackendGetAttribute)."""
        check(self.lib, attribute)
        answer, asked = ctypes.c_int64(), ctypes.c_void_p(other.handle)
        kind = Type.BACKEND_DESCRIPTOR
        self.lib.cudnnBackendGetAttribute(self.handle, attribute, kind, 1, ctypes.byref(answer), ctypes.byref(asked))
        return bool(answer.value & 0xFF)  # some attributes write one byte of it

    def _read(self, attribute: Attribute, type: Type, wanted: int, elements: Any) -> int:
        given = ctypes.c_int64()
        self.lib.cudnnBackendGetAttribute(self.handle, attribute, type, wanted, ctypes.byref(given), elements)
        return min(given.value, wanted)

    def __repr__(self) -> str:
        return f"BackendDescriptor({self.kind.name}{'' if self.usable else ', unusable'})"


def _pointer(value: Any) -> int:
    if isinstance(value, BackendDescriptor):
        return value.handle
    return int(value if isinstance(value, int) else value.ctypes.data)


def _room(type: Type, count: int) -> Any:
    if type is Type.BACKEND_DESCRIPTOR:  # it would want descriptors to write to
        raise TypeError("descriptors are read by `descriptors`")
    return (_cell(type) * count)()


def _cell(type: Type) -> Any:
    return CELLS.get(type, ctypes.c_int)


def descriptor(kind: Kind, settings: Sequence[tuple[Attribute, Type, Sequence[Any]]]) -> BackendDescriptor:
    """A finalized descriptor with these attributes."""
    made = BackendDescriptor(kind)
    for attribute, type, values in settings:
        made.set(attribute, type, *values)
    return made.finalize()
