"""Everything here needs a GPU; without one it is skipped, saying why. A run on a card leaves docs/gpu-run.json."""

from __future__ import annotations

import hashlib
import json
import platform
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gocudnn_py.cudnn import Handle
from gocunets.backends import cuda_obstacle
from tests.gpu.card import Card

if TYPE_CHECKING:
    from gocunets.backends.cudnn import CudaBackend

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
outcomes: Counter[tuple[str, str]] = Counter()
drawn: dict[str, Counter[str]] = {}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.gpu)


@pytest.fixture(scope="module")
def card(backend: CudaBackend) -> Card:
    return Card(backend)


@pytest.fixture(scope="module")
def handle(backend: CudaBackend) -> Handle:
    return Handle(backend.device.ordinal, backend.stream)


@pytest.fixture(scope="session")
def backend() -> CudaBackend:
    obstacle = cuda_obstacle()
    if obstacle:
        pytest.skip(obstacle)
    from gocunets.backends.cudnn import CudaBackend

    return CudaBackend()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if "tests/gpu/" in report.nodeid and (report.when == "call" or report.outcome != "passed"):
        outcomes[Path(report.nodeid.partition("::")[0]).stem, report.outcome] += 1
    if "test_random_problems" in report.nodeid and report.when == "call":
        for family, counts in report.user_properties:
            drawn.setdefault(family, Counter()).update(counts)  # type: ignore[arg-type]


def pytest_sessionfinish(session: pytest.Session) -> None:
    worker = hasattr(session.config, "workerinput")
    ran = sum(count for (_, outcome), count in outcomes.items() if outcome != "skipped")
    if not worker and ran and not cuda_obstacle():
        (ROOT / "docs" / "gpu-run.json").write_text(json.dumps(_record(), indent=2) + "\n")


def _record() -> dict[str, object]:
    from gocudnn_py import driver

    counts: dict[str, dict[str, int]] = {}
    for (file, outcome), count in sorted(outcomes.items()):
        counts.setdefault(file, {})[outcome] = count
    gpu = driver.gpus()[0]
    packages = ("cuda-bindings", "cuda-core", "numpy")
    return {
        "sources": sources_digest(),
        "gpu": f"{gpu.name}, sm_{gpu.capability[0]}{gpu.capability[1]}",
        "driver runs CUDA": ".".join(map(str, driver.version())),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in packages},
        "tests": counts,
        "random problems": {family: dict(sorted(found.items())) for family, found in sorted(drawn.items())},
    }


def sources_digest() -> str:
    """SHA-256 over what runs on a GPU: the bindings with their kernels, without the tables, and the CUDA backend."""
    digest = hashlib.sha256()
    for folder in ("gocudnn_py", "gocunets/backends/cudnn"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in (".py", ".cu", ".cuh") and "_abi" not in path.parts:
                digest.update(path.relative_to(ROOT).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()
