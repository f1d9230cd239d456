"""Without a GPU: every graph that the CUDA backend asks cuDNN for has an engine on each architecture."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("cuda.core", reason="cuda-core is missing: pip install 'gocunets[cu13]'")

from gocudnn_py.errors import LibraryNotFound, NoDevice
from tests.gocudnn_py.conftest import ROOT, compile_c, run_python  # noqa: F401 - fixtures
from tests.gocudnn_py.without_gpu import STUB

PROGRAM = f"""
import ctypes, json, os, sys
sys.path.insert(0, {str(ROOT)!r})
ctypes.CDLL(os.environ["STUB"])
from gocudnn_py.cudnn.graph import DeviceProperties, Policy, plans
from gocudnn_py.errors import GraphRefused
from gocunets import DType
from gocunets.backends.cudnn import EnginePolicy
from gocunets.backends.cudnn.engines import Engines
from gocunets.graph import Graph
from tests.cases import CASES
from tests.gocudnn_py.without_gpu import GPUS
from tests.running import differentiate, make_program
from tests.test_kernels_compile import RecordingBackend

class Asked(Engines):
    def __init__(self, backend):
        super().__init__(backend, EnginePolicy(least_work=0))
        self.graphs = {{}}
    def run_graph(self, graph, places, math):
        self.graphs[graph.key(), math] = graph
        assert all(tensor in places for tensor in graph.real)
        return lambda: None
    def multiply(self, a, b, c, bias, math):
        return lambda: None

backend = RecordingBackend()
backend.engines = asked = Asked(backend)
def convolves(case):
    return any("convolution" in node.op.name for node in case.trace(DType.float32)[0].nodes)
convolutions = filter(convolves, CASES)
for case in convolutions:
    for dtype in (DType.float32, DType.float16, DType.bfloat16):
        for math in ("fma", "tf32")[: 2 if dtype is DType.float32 else 1]:
            graph, values, ys = case.trace(dtype)
            graph.math = math
            make_program(graph, backend, valid=case.valid)
            differentiate(graph, [ys[i] for i in case.seeded], [values[name] for name in case.wrt])
            make_program(graph, backend, valid=case.valid)
answers = {{}}
for (key, math), graph in asked.graphs.items():
    for name, text in GPUS.items():
        policy = Policy(tf32=math == "tf32", deterministic=True, compile=False)
        try:
            engine = next(plans(graph, DeviceProperties(text.encode()), policy)).engine
        except GraphRefused:
            engine = None
        answers[f"{{graph}} {{math}} on {{name}}"] = engine
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def engines(compile_c: Callable[..., Path], run_python: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:  # noqa: F811
    """The engine of each graph on each architecture, None where there is none."""
    from gocudnn_py import driver
    from gocudnn_py.library import load

    try:
        driver.library()
        pytest.skip("this machine has a GPU")
    except NoDevice:
        pass
    try:
        load("cudnn")
    except LibraryNotFound as error:
        pytest.skip(str(error).splitlines()[0])
    stub = compile_c(STUB, tmp_path_factory.mktemp("stub") / "libcuda.so.1")
    return json.loads(run_python(PROGRAM, STUB=str(stub)).stdout.splitlines()[-1])


def test_every_convolution_has_an_engine(engines: dict[str, int | None]) -> None:
    assert len(engines) > 200
    without = [text for text, engine in engines.items() if engine is None]
    assert without == []
