"""Modules made of modules."""

from __future__ import annotations

from collections.abc import Iterator

from .. import ops
from ..graph import Value
from .module import Module


class Sequential(Module):
    """One module after another. Unnamed ones are called after their class: conv1, relu1, conv2, ..."""

    def __init__(self, *modules: Module, **named: Module) -> None:
        self.layers: dict[str, Module] = {}
        counts: dict[str, int] = {}
        for module in modules:
            kind = type(module).__name__.lower()
            counts[kind] = counts.get(kind, 0) + 1
            self.layers[f"{kind}{counts[kind]}"] = module
        for name, module in named.items():
            if name in self.layers:
                raise ValueError(f"two modules are named {name}")
            self.layers[name] = module

    def children(self) -> Iterator[tuple[str, Module]]:
        yield from self.layers.items()

    def forward(self, x: Value) -> Value:
        for module in self.layers.values():
            x = module(x)
        return x

    def __len__(self) -> int:
        return len(self.layers)

    def __getitem__(self, key: str | int) -> Module:
        return self.layers[key] if isinstance(key, str) else list(self.layers.values())[key]


class Residual(Module):
    """body(x) + shortcut(x); the shortcut is x itself by default."""

    def __init__(self, body: Module, shortcut: Module | None = None) -> None:
        self.body, self.shortcut = body, shortcut

    def forward(self, x: Value) -> Value:
        return ops.add(self.body(x), self.shortcut(x) if self.shortcut else x)


class Concat(Module):
    """Every branch on the same input, joined along the channels."""

    def __init__(self, *branches: Module, axis: int = 1) -> None:
        if not branches:
            raise ValueError("Concat of no branches")
        self.branches, self.axis = branches, axis

    def children(self) -> Iterator[tuple[str, Module]]:
        for index, branch in enumerate(self.branches):
            yield f"branch{index + 1}", branch

    def forward(self, x: Value) -> Value:
        return ops.concat([branch(x) for branch in self.branches], self.axis)
