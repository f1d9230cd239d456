"""Parameter and Module: what a network is defined with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..dtypes import DType
from ..errors import GraphError
from ..graph import Value
from ..init import Fans, Initializer
from ..state import State
from ..types import TensorType

PARAMETER_NODES = 0x1000_0000
"""Random numbers of parameter i come from node PARAMETER_NODES + i, apart from those of random ops."""


class Parameter:
    """A tensor that a module owns. It gets its shape where it is first read and keeps it from then on.

    `trainable=False` makes it a running statistic: it is stored and assigned, but has no gradient.
    """

    def __init__(self, initializer: Initializer, *, trainable: bool = True) -> None:
        self.initializer = initializer
        self.trainable = trainable
        self.name = ""
        self.number = 0
        self.seed = 0
        self.dtype = DType.float32
        self.owner: object = None
        self.state: State | None = None

    def read(self, x: Value, shape: tuple[int, ...], fans: Fans | None = None) -> Value:
        """Its content as a Value in x's graph. Raises GraphError when it has another shape already."""
        if self.state is None:
            self.state = self._make_state(shape, fans or Fans(1, 1, 1))
        if self.state.type.shape != shape:
            raise GraphError(f"parameter {self.name} has shape {self.state.type.shape}, its layer now needs {shape}")
        return x.graph.read(self.state)

    def _make_state(self, shape: tuple[int, ...], fans: Fans) -> State:
        dtype = self.dtype.numpy()

        def initial() -> np.ndarray[Any, np.dtype[Any]]:
            node = PARAMETER_NODES + self.number
            return self.initializer(shape, fans, seed=self.seed, node=node).astype(dtype)

        role = "parameter" if self.trainable else "statistic"
        return State(self.name, TensorType(shape, self.dtype), role, initial)  # type: ignore[arg-type]


class Module:
    """A piece of a network: holds Parameters and other Modules as attributes, and writes nodes.

    Subclasses need `forward`; calling the module traces it under its name.
    """

    path = ""

    def forward(self, x: Value) -> Value:
        """Write this module's nodes into x's graph and return the result."""
        raise NotImplementedError

    def __call__(self, x: Value) -> Value:
        with x.graph.scoped(self.path):
            return self.forward(x)

    def children(self) -> Iterator[tuple[str, Module]]:
        """The modules this one is made of, by name, in the order of its attributes."""
        for name, value in vars(self).items():
            yield from _modules(name, value)

    def own_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """The parameters this module holds itself."""
        for name, value in vars(self).items():
            if isinstance(value, Parameter):
                yield name, value

    def modules(self, path: str = "") -> Iterator[tuple[str, Module]]:
        """This module and all below it, each once, by path."""
        seen: set[int] = set()
        yield from self._walk(path, seen)

    def parameters(self, path: str = "") -> Iterator[tuple[str, Parameter]]:
        """All parameters by path, each once."""
        for module_path, module in self.modules(path):
            for name, parameter in module.own_parameters():
                yield f"{module_path}.{name}" if module_path else name, parameter

    def _walk(self, path: str, seen: set[int]) -> Iterator[tuple[str, Module]]:
        if id(self) in seen:
            return
        seen.add(id(self))
        yield path, self
        for name, child in self.children():
            yield from child._walk(f"{path}.{name}" if path else name, seen)

    def __repr__(self) -> str:
        settings = ", ".join(
            f"{name}={value!r}"
            for name, value in vars(self).items()
            if name != "path" and isinstance(value, int | float | str | tuple)
        )
        children = "".join(f"\n  {name}: " + repr(m).replace("\n", "\n  ") for name, m in self.children())
        return f"{type(self).__name__}({settings}){children}"


def bind(root: Module, *, seed: int, dtype: DType, owner: object) -> None:
    """Name every module and parameter below `root` by its path, and say what new parameters start from.

    Raises ValueError when a parameter belongs to another owner.
    """
    for path, module in root.modules():
        module.path = path
    for number, (path, parameter) in enumerate(root.parameters()):
        if parameter.owner not in (None, owner):
            raise ValueError(f"parameter {path} belongs to another Network; make a module for each")
        if parameter.dtype != dtype:
            parameter.state = None
        parameter.name, parameter.number = path, number
        parameter.seed, parameter.dtype, parameter.owner = seed, dtype, owner


@contextmanager
def undone_on_error(root: Module) -> Iterator[None]:
    """Leave the modules and parameters below `root` as they were when what is done inside fails."""
    items = [item for _, item in (*root.modules(), *root.parameters())]
    before = [(item, dict(vars(item))) for item in items]
    try:
        yield
    except BaseException:
        for item, attributes in before:
            vars(item).update(attributes)
        raise


def _modules(name: str, value: Any) -> Iterator[tuple[str, Module]]:
    if isinstance(value, Module):
        yield name, value
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _modules(f"{name}.{index}", item)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _modules(f"{name}.{key}", item)
