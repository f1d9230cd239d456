"""Our CUDA C++ kernels as text: compiled for the card at hand by `gocudnn_py.cuda.Module`."""

from __future__ import annotations

import re
from importlib.resources import files

_INCLUDE = re.compile(r'^#include "([a-z_]+\.cuh)"$', re.MULTILINE)


def read_source(name: str) -> str:
    """The text of a kernel file, each `#include "name.cuh"` replaced by that file's text, once."""
    return _expand(name, set())


def _expand(name: str, included: set[str]) -> str:
    included.add(name)
    text = (files(__package__) / name).read_text(encoding="utf-8")
    return _INCLUDE.sub(lambda match: "" if match[1] in included else _expand(match[1], included), text)
