"""What an operation of a graph is: a row that says where its tensors and settings go, and one use of it.

A family of operations is a file beside this one: its rows and its methods of `Graph`. `table` lists all rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from gocudnn_py._abi.cudnn import BackendAttributeName as Attribute
from gocudnn_py._abi.cudnn import BackendAttributeType as Type
from gocudnn_py._abi.cudnn import BackendDescriptorType as Kind
from gocudnn_py.cudnn.graph.descriptor import BackendDescriptor, descriptor
from gocudnn_py.cudnn.graph.tensor import Tensor

Setting = tuple[Attribute, Type]
Port = Tensor | Sequence[Tensor]


@dataclass(frozen=True)
class Row:
    """One kind of operation.

    `inputs` and `outputs` say which attribute each tensor, or list of tensors, is; `settings` are attributes of the
    operation itself, `inner_settings` of the descriptor of kind `inner` that it refers to by `inner_as`; `nested` are
    those that hold a smaller graph or another operation. `factors` are the inputs that enter products or sums, all
    unless given.
    """

    name: str
    kind: Kind
    inputs: Mapping[str, Attribute]
    outputs: Mapping[str, Attribute]
    settings: Mapping[str, Setting] = field(default_factory=dict)
    inner: Kind | None = None
    inner_as: Attribute | None = None
    inner_settings: Mapping[str, Setting] = field(default_factory=dict)
    nested: Mapping[str, Attribute] = field(default_factory=dict)
    factors: Sequence[str] | None = None


def attributes(prefix: str, **ends: str) -> dict[str, Attribute]:
    """Attributes by our names for them: the prefix of all with the end of each."""
    return {name: Attribute[f"{prefix}_{end}"] for name, end in ends.items()}


def typed(prefix: str, **ends: tuple[str, Type]) -> dict[str, Setting]:
    """Settings by our names for them: attributes as above, with their types."""
    return {name: (Attribute[f"{prefix}_{end}"], type) for name, (end, type) in ends.items()}


class Nested(Protocol):
    """Something that an operation holds, built with the tensors of its graph."""

    def build(self, tensors: Mapping[int, BackendDescriptor]) -> BackendDescriptor:
        """The finalized descriptor."""

    def key(self) -> list[object]:
        """What distinguishes it."""

    @property
    def made(self) -> list[Tensor]:
        """What it makes."""

    @property
    def line(self) -> str:
        """How a person reads it, with what it makes."""


@dataclass(frozen=True, eq=False)
class Operation:
    """One operation of a graph: its row, its tensors by name, its settings, and how a person reads it.

    `text` has the tensors' names for their present ones in braces.
    """

    row: Row
    inputs: Mapping[str, Port]
    outputs: Mapping[str, Port]
    settings: Mapping[str, Any]
    text: str
    nested: Mapping[str, Nested] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Its kind's name."""
        return self.row.name

    @property
    def factors(self) -> list[Tensor]:
        """The inputs that enter products or sums."""
        wanted = self.inputs if self.row.factors is None else self.row.factors
        return list(flat(port for name, port in self.inputs.items() if name in wanted))

    @property
    def made(self) -> list[Tensor]:
        """Its outputs, and those of what it holds."""
        return [*flat(self.outputs.values()), *(tensor for each in self.nested.values() for tensor in each.made)]

    @property
    def line(self) -> str:
        """Outputs = operation."""
        return f"{', '.join(tensor.name for tensor in flat(self.outputs.values()))} = {self}"

    def build(self, tensors: Mapping[int, BackendDescriptor]) -> BackendDescriptor:
        """The finalized operation over the tensors' descriptors by uid; needs no GPU (cudnnBackendFinalize)."""
        row = self.row
        made = BackendDescriptor(row.kind)
        if row.inner is not None and row.inner_as is not None:
            inner = descriptor(row.inner, self._settings(row.inner_settings))
            made.set(row.inner_as, Type.BACKEND_DESCRIPTOR, inner)
        for attribute, type, values in self._settings(row.settings):
            made.set(attribute, type, *values)
        for name, smaller in self.nested.items():
            made.set(row.nested[name], Type.BACKEND_DESCRIPTOR, smaller.build(tensors))
        for ports, given in ((row.inputs, self.inputs), (row.outputs, self.outputs)):
            for name, port in given.items():
                made.set(ports[name], Type.BACKEND_DESCRIPTOR, *(tensors[tensor.uid] for tensor in flat([port])))
        return made.finalize()

    def key(self) -> list[object]:
        """What distinguishes it in the canonical form of its graph."""
        ports = {
            name: port.uid if isinstance(port, Tensor) else [tensor.uid for tensor in port]
            for name, port in {**self.inputs, **self.outputs}.items()
        }
        settings = {name: _exact(value) for name, value in self.settings.items()}
        smaller = [[name, each.key()] for name, each in self.nested.items()]
        return [self.name, ports, dict(sorted(settings.items())), *([smaller] if smaller else [])]

    def _settings(self, wanted: Mapping[str, Setting]) -> list[tuple[Attribute, Type, tuple[Any, ...]]]:
        given = self.settings
        chosen = [(*wanted[name], given[name]) for name in wanted if name in given]
        return [(a, t, value if isinstance(value, tuple) else (value,)) for a, t, value in chosen]

    def __str__(self) -> str:
        names = {name: ", ".join(tensor.name for tensor in flat([port])) for name, port in self.inputs.items()}
        return "".join(
            [self.text.format(**names), *(f"\n    {name}: {each.line}" for name, each in self.nested.items())]
        )


def _exact(value: Any) -> Any:
    """A setting as it is written in a key: a float where that is the same number."""
    return value if isinstance(value, tuple) or abs(value) >= 2**53 else float(value)


def flat(ports: Iterable[Port]) -> Iterable[Tensor]:
    """The tensors of ports, one by one."""
    for port in ports:
        if isinstance(port, Tensor):
            yield port
        else:
            yield from port
