"""What the packages promise of themselves: who may import whom, what an import costs, what is public."""

from __future__ import annotations

import ast
import importlib
import itertools
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, NamedTuple

import pytest

import gocudnn_py
import gocunets

ROOT = Path(__file__).parents[1]
PACKAGES = {package.__name__: Path(str(package.__file__)).parent for package in (gocunets, gocudnn_py)}
PUBLIC = [
    "gocudnn_py",
    "gocunets",
    "gocunets.backends",
    "gocunets.backends.numpy",
    "gocunets.convnetgo",
    "gocunets.data",
    "gocunets.io",
    "gocunets.nn",
    "gocunets.ops",
    "gocunets.zoo",
]
PUBLIC_MODULES = ["gocunets.init", "gocunets.losses", "gocunets.optim", "gocunets.schedules"]
HEAVY = {"PIL", "click", "cuda", "matplotlib", "ml_dtypes", "nvidia", "rich", "scipy", "sklearn", "torch", "urllib"}


class Import(NamedTuple):
    """A module that a file imports, in full, and whether at once or when some function is called."""

    name: str
    at_once: bool


def read_imports(source: str, module: str, is_package: bool = False) -> Iterator[Import]:
    """The imports of a module, those for type checkers only left out. `from a import b` is a.b."""
    package = module.split(".") if is_package else module.split(".")[:-1]
    waiting = [(node, True) for node in ast.parse(source).body]
    while waiting:
        node, at_once = waiting.pop()
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, at_once) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) + 1 - node.level] if node.level else []
            base = ".".join([*start, *(node.module or "").split(".")]).strip(".")
            yield from (Import(f"{base}.{alias.name}", at_once) for alias in node.names)
        elif isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            waiting += [(child, at_once) for child in node.orelse]
        else:
            lazy = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            waiting += [(child, at_once and not lazy) for child in ast.iter_child_nodes(node)]


def module_name(path: Path) -> str:
    """The full name of a file of one of the packages."""
    root = next(root for root in PACKAGES.values() if path.is_relative_to(root))
    return ".".join(path.relative_to(root.parent).with_suffix("").parts).removesuffix(".__init__")


def imports_below(module: str) -> dict[str, set[Import]]:
    """The imports of a module and of all below it, by module."""
    files = (path for root in PACKAGES.values() for path in sorted(root.rglob("*.py")))
    sources = {module_name(path): path for path in files}
    return {
        name: set(read_imports(path.read_text("utf-8"), name, path.name == "__init__.py"))
        for name, path in sources.items()
        if is_below(name, module)
    }


def is_below(name: str, module: str) -> bool:
    return name == module or name.startswith(f"{module}.")


def breaches(module: str, forbidden: str, *, but: str = "-") -> list[str]:
    """Which modules below `module`, those below `but` left out, import `forbidden` or something in it."""
    return [
        f"{name} imports {found.name}"
        for name, imports in imports_below(module).items()
        for found in imports
        if is_below(found.name, forbidden) and not is_below(name, but)
    ]


def roots(module: str, *, but: tuple[str, ...] = (), at_once: bool = False) -> set[str]:
    """What a module and all below it import from outside the two packages and the standard library."""
    return {
        found.name.split(".")[0]
        for name, imports in imports_below(module).items()
        for found in imports
        if not any(is_below(name, other) for other in but) and found.at_once >= at_once
    } - {*sys.stdlib_module_names, *PACKAGES}


SAMPLE = """
from __future__ import annotations
import os.path, numpy as np
from typing import TYPE_CHECKING
from . import graph
from ..ops.base import Op
try:
    import rich
except ImportError:
    rich = None
if TYPE_CHECKING:
    import torch
else:
    import click
class A:
    import PIL
    def f(self):
        import sklearn
        from .deep import er
"""


def test_imports_are_found() -> None:
    found = set(read_imports(SAMPLE, "gocunets.nn.layers"))
    assert {i.name for i in found if i.at_once} == {
        "__future__.annotations", "os.path", "numpy", "typing.TYPE_CHECKING", "gocunets.nn.graph",
        "gocunets.ops.base.Op", "rich", "click", "PIL",
    }  # fmt: skip
    assert {i.name for i in found if not i.at_once} == {"sklearn", "gocunets.nn.deep.er"}
    assert set(read_imports("from . import a\nfrom .b import c", "gocunets", is_package=True)) == {
        Import("gocunets.a", True), Import("gocunets.b.c", True)
    }  # fmt: skip


def test_the_rules_look_at_every_file() -> None:
    names = set(imports_below("gocunets"))
    assert {"gocunets", "gocunets.cli", "gocunets.cli.train", "gocunets.ops.conv", "gocunets.passes.memory"} <= names
    assert breaches("gocunets.cli", "click") != []
    assert roots("gocunets.io") == {"numpy", "safetensors"}


@pytest.mark.parametrize(
    ("module", "forbidden", "but"),
    [
        ("gocudnn_py", "gocunets", "-"),
        ("gocunets", "gocudnn_py", "gocunets.backends.cudnn"),
        ("gocunets.ops", "gocunets.backends", "-"),
        ("gocunets.passes", "gocunets.backends", "-"),
        ("gocunets.nn", "gocunets.backends", "-"),
        ("gocunets", "gocunets.cli", "gocunets.cli"),
    ],
)
def test_who_may_not_import_whom(module: str, forbidden: str, but: str) -> None:
    allowed = {"gocunets.__main__ imports gocunets.cli.main"}
    assert set(breaches(module, forbidden, but=but)) - allowed == set()


def test_the_reference_stands_alone() -> None:
    assert roots("gocunets.convnetgo") == {"numpy"}
    own = {i.name for imports in imports_below("gocunets.convnetgo").values() for i in imports if "gocu" in i.name}
    assert [name for name in own if not is_below(name, "gocunets.convnetgo")] == []


def test_the_bindings_need_little() -> None:
    assert roots("gocudnn_py") <= {"numpy", "ml_dtypes", "cuda"}


def test_nothing_heavy_is_imported_at_once() -> None:
    found = [
        f"{name} imports {each.name}"
        for name, imports in imports_below("gocunets").items()
        for each in imports
        if each.at_once and each.name.split(".")[0] in HEAVY
    ]
    outside = [line for line in found if not line.startswith(("gocunets.cli", "gocunets.backends.cudnn"))]
    assert outside == []


def test_only_dependencies_are_imported_at_once() -> None:
    assert roots("gocunets", but=("gocunets.backends.cudnn",), at_once=True) == {
        "numpy", "rich", "safetensors", "click", "threadpoolctl",
    }  # fmt: skip


# --- importing, in a process of its own ---------------------------------------------------------------------


def run_python(code: str) -> str:
    """What a fresh process prints."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize("package", PACKAGES)
def test_importing_loads_nothing_heavy(package: str) -> None:
    loaded = run_python(f"import sys, {package}; print(*sys.modules)").split()
    assert package in loaded
    heavy = HEAVY - {"urllib"} | {"urllib.request", "safetensors", "http", "ssl"}
    assert [name for name in loaded if name in heavy or name.split(".")[0] in heavy] == []


@pytest.mark.skipif(not os.path.exists("/proc/self/maps"), reason="no /proc/self/maps here")
@pytest.mark.parametrize("package", PACKAGES)
def test_importing_maps_no_cuda_library(package: str) -> None:
    maps = run_python(f"import {package}; print(open('/proc/self/maps').read())")
    libraries = {Path(line.split()[-1]).name for line in maps.splitlines() if ".so" in line}
    assert libraries != set()
    assert [name for name in libraries if name.startswith(("libcud", "libcublas", "libnv"))] == []


def test_importing_starts_no_thread_and_prints_nothing() -> None:
    code = "import threading, gocunets, gocudnn_py; assert threading.active_count() == 1"
    assert run_python(code) == ""


def test_importing_is_fast() -> None:
    """NumPy included; the best of five processes, for others may be busy on this machine."""
    code = "import time; t = time.perf_counter(); import gocunets; print(time.perf_counter() - t)"
    assert any(float(run_python(code)) < 0.3 for _ in range(5))


# --- what is public ----------------------------------------------------------------------------------------------


def public_names(module: ModuleType) -> set[str]:
    """Names that a user sees, submodules left out."""
    return {
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and name != "annotations" and not isinstance(value, ModuleType)
    }


@pytest.mark.parametrize("name", PUBLIC)
def test_all_is_what_there_is(name: str) -> None:
    module = importlib.import_module(name)
    exported = getattr(module, "__all__", [])
    modules = {each for each in exported if isinstance(getattr(module, each), ModuleType)}
    assert set(exported) - modules - {"__version__"} == public_names(module)
    assert len(set(exported)) == len(exported)
    assert {f"{name}.{each}" for each in modules} <= {*PUBLIC, *PUBLIC_MODULES}


def test_every_public_package_is_listed() -> None:
    exported = {f"gocunets.{name}" for name in gocunets.__all__ if isinstance(getattr(gocunets, name), ModuleType)}
    assert exported <= {*PUBLIC, *PUBLIC_MODULES}


def public_objects() -> Iterator[tuple[str, Any]]:
    for name in (*PUBLIC, *PUBLIC_MODULES):
        module = importlib.import_module(name)
        yield name, module
        for each in sorted(getattr(module, "__all__", public_names(module))):
            value = getattr(module, each)
            if isinstance(value, type | FunctionType):
                yield f"{name}.{each}", value


@pytest.mark.parametrize(("name", "value"), list(public_objects()), ids=lambda x: x if isinstance(x, str) else "")
def test_everything_public_is_documented(name: str, value: Any) -> None:
    text = vars(value)["__doc__"] if isinstance(value, type) else value.__doc__
    assert text
    assert not text.startswith(f"{name.split('.')[-1]}("), "only what dataclass() wrote"


# --- the distribution ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def test_the_extras(project: dict[str, Any]) -> None:
    extras = project["optional-dependencies"]
    toolkits = {"cu12", "cu13", "cu12-all", "cu13-all", "cu12-nccl", "cu13-nccl", "sysctk12", "sysctk13"}
    assert set(extras) == {*toolkits, "data", "test", "docs", "dev"}
    for major, beyond in itertools.product((12, 13), ("all", "nccl")):
        more = extras[f"cu{major}-{beyond}"]
        assert more[0] == f"gocunets[cu{major}]"
        assert [each for each in more if f"cu{25 - major}" in each] == []
    for name, major in (("cu12", 12), ("cu13", 13), ("sysctk12", 12), ("sysctk13", 13)):
        (python,) = [each for each in extras[name] if each.startswith("cuda-python")]
        assert python.startswith(f"cuda-python=={major}.")
        wheels = [each for each in extras[name] if each.startswith("nvidia-")]
        assert bool(wheels) == name.startswith("cu")
        assert [each for each in wheels if f"cu{25 - major}" in each] == []


def test_the_base_is_small(project: dict[str, Any]) -> None:
    names = {each.split(">")[0].split("=")[0] for each in project["dependencies"]}
    assert names == {"numpy", "rich", "safetensors", "click", "threadpoolctl"}


def test_names_and_versions_agree(project: dict[str, Any]) -> None:
    assert (project["name"], project["version"]) == ("gocunets", gocunets.__version__)
    assert project["requires-python"] == ">=3.11"
    assert project["scripts"] == {"gocunets": "gocunets.cli:main"}


@pytest.mark.parametrize("package", PACKAGES)
def test_types_are_for_users_too(package: str) -> None:
    assert (PACKAGES[package] / "py.typed").is_file()
