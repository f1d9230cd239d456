"""Things a file can name: ops, optimizers, schedules, losses, each a frozen dataclass with a name and a version."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, Self

FAMILIES: dict[str, type[Registered]] = {}


class Registered:
    """A family, or a member of one: `class Op(Registered, family="op")`, then `class Add(Op): name = "add"`.

    Defining a member registers it, so that a file that names it can be read after its module is
    imported. `version` rises when a stored field changes its meaning.
    """

    name: ClassVar[str]
    family: ClassVar[str]
    version: ClassVar[int] = 1
    members: ClassVar[dict[str, type[Registered]]]

    def __init_subclass__(cls, family: str | None = None) -> None:
        super().__init_subclass__()
        if family is not None:
            cls.family, cls.members = family, {}
            FAMILIES[family] = cls
        elif "name" in cls.__dict__:
            _add_member(cls)

    def fields(self) -> dict[str, Any]:
        """The dataclass fields by name."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}  # type: ignore[arg-type]

    def describe(self) -> dict[str, Any]:
        """Name, version and fields, as JSON can hold them."""
        if "name" not in dir(type(self)):
            raise TypeError(f"{type(self).__qualname__} needs a class attribute `name` to be stored in a file")
        fields = {key: _describe(value) for key, value in self.fields().items()}
        return {"family": self.family, "name": self.name, "version": self.version, **fields}

    @classmethod
    def restore(cls, description: Mapping[str, Any]) -> Self:
        """The member that `describe` described. Raises ValueError for an unknown name or a newer version."""
        fields = {key: _restore(value) for key, value in description.items()}
        name, version, family = fields.pop("name"), fields.pop("version"), fields.pop("family")
        member = cls.members.get(name) if family == cls.family else None
        if member is None:
            raise ValueError(f"unknown {family} {name!r}; if it is your own, import the module that defines it")
        if version > member.version:
            raise ValueError(f"{family} {name} has version {version}, this library knows {member.version}")
        return member(**fields)  # type: ignore[return-value]

    def __str__(self) -> str:
        fields = ", ".join(f"{key}={value}" for key, value in self.fields().items())
        return f"{self.name}({fields})"


def _add_member(cls: type[Registered]) -> None:
    other = cls.members.get(cls.name)
    if other is not None and (other.__module__, other.__qualname__) != (cls.__module__, cls.__qualname__):
        place = f"{other.__module__}.{other.__qualname__}"
        raise ValueError(f"{cls.family} {cls.name!r} is {place} already; choose another name")
    cls.members[cls.name] = cls


def _describe(value: Any) -> Any:
    if isinstance(value, Registered):
        return value.describe()
    return list(map(_describe, value)) if isinstance(value, tuple) else value


def _restore(value: Any) -> Any:
    if isinstance(value, Mapping):
        return FAMILIES[value["family"]].restore(value)
    return tuple(map(_restore, value)) if isinstance(value, list) else value
