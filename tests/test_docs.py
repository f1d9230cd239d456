"""Every Python block of README and docs runs, page by page; every example runs with few steps."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import types
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
GPU_BLOCK = re.compile(r"^```py\n(.*?)^```", re.MULTILINE | re.DOTALL)  # these would need a GPU to run
EXAMPLES = {
    "train_mnist.py": ["--data", "digits", "--epochs", "1"],
    "step_by_step.py": [],
    "autoencoder.py": ["--epochs", "1"],
    "branches.py": [],
}


@pytest.fixture(autouse=True)
def _offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GOCUNETS_DATA", str(tmp_path))
    monkeypatch.setattr("gocunets.data.sources.MIRRORS", ())


@pytest.mark.parametrize("page", [page for page in PAGES if BLOCK.search(page.read_text())], ids=lambda p: p.name)
def test_blocks_of_page_run_in_order(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = "\n".join(BLOCK.findall(page.read_text())).replace('data.load("auto")', 'data.load("digits")')
    module = types.ModuleType(f"page_{page.stem}")
    monkeypatch.setitem(sys.modules, module.__name__, module)  # dataclasses look their module up
    exec(compile(source, str(page), "exec", dont_inherit=True), module.__dict__)


def test_every_example_is_run_and_short() -> None:
    scripts = {path.name: path for path in (ROOT / "examples").glob("*.py")}
    assert scripts.keys() == EXAMPLES.keys()
    both = [*scripts.values(), *(ROOT / "examples" / "bindings").glob("*.py")]  # these run on a GPU
    assert all(len(path.read_text().splitlines()) <= 80 for path in both)


def test_every_example_of_the_bindings_is_on_their_page() -> None:
    named = re.findall(r"\]\(\.\./examples/bindings/(\w+\.py)\)", (ROOT / "docs" / "bindings.md").read_text())
    assert sorted(named) == sorted(path.name for path in (ROOT / "examples" / "bindings").glob("*.py"))


@pytest.mark.parametrize("page", [page for page in PAGES if GPU_BLOCK.search(page.read_text())], ids=lambda p: p.name)
def test_blocks_for_a_gpu_import_what_is_there(page: Path) -> None:
    for node in ast.walk(ast.parse("\n".join(GPU_BLOCK.findall(page.read_text())))):
        if isinstance(node, ast.Import | ast.ImportFrom):
            exec(ast.unparse(node), {})


@pytest.mark.parametrize("name", EXAMPLES)
def test_example_runs(name: str, tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", str(ROOT / "examples" / name), *EXAMPLES[name]]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "", "HOME": str(tmp_path)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_to_files_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text()):
        assert (page.parent / target).exists(), f"{page.name}: {target}"
