"""Without a GPU: which graphs the CUDA backend asks cuDNN for, and that they have engines on each architecture."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("cuda.core", reason="cuda-core is missing: pip install 'gocunets[cu13]'")

from tests.gocudnn_py.conftest import compile_c, cudnn, deviceless, no_gpu, run_python  # noqa: F401 - fixtures

PROGRAM = """
from gocunets import DType
from gocunets.backends.cudnn import EnginePolicy
from gocunets.backends.cudnn.engines import Engines
from gocunets import Network, nn
from gocunets.backends.cudnn.registry import freedom_of
from gocunets.passes.layout import apply_layout, channels_first, channels_last
from tests.cases import CASES
from tests.running import differentiate, make_program
from tests.test_kernels_compile import RecordingBackend

class Asked(Engines):
    def __init__(self, backend):
        super().__init__(backend, EnginePolicy(least_work=0))
        self.graphs = {}
    def run_graph(self, graph, places, math):
        self.graphs[graph.key(), math] = graph
        assert all(tensor in places for tensor in graph.real)
        finished = any(operation.name == "pointwise" for operation in graph.operations)
        return None if finished else lambda: None  # then the convolution alone is asked for as well
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
            for order in (channels_first, channels_last):
                graph, values, ys = case.trace(dtype)
                graph.math = math
                differentiate(graph, [ys[i] for i in case.seeded], [values[name] for name in case.wrt])
                apply_layout(graph, order, freedom=freedom_of)
                make_program(graph, backend, valid=case.valid)

def answers(graphs):
    found = []
    for (key, math), graph in graphs.items():
        for name, gpu in gpus.items():
            policy = Policy(tf32=math == "tf32", deterministic=True, compile=False)
            try:
                engine = next(plans(graph, gpu, policy)).engine
            except GraphRefused:
                engine = None
            finished = [each.settings["mode"].name for each in graph.operations if each.name == "pointwise"]
            found.append([f"{graph} {math} on {name}", finished, engine])
    return found

alone = answers(asked.graphs)
asked.graphs.clear()
for dtype in ("float16", "bfloat16"):
    convolutions = nn.Conv(64, 3, padding=1), nn.ReLU(), nn.Conv(32, 1), nn.Conv(64, 3, stride=2, padding=1), nn.ReLU()
    network = Network(nn.Sequential(*convolutions, nn.Dense(10)), (16, 28, 28)).compile(device=backend, dtype=dtype)
    network.compiled.program("training", 8)
print(json.dumps({"cases": alone, "network": answers(asked.graphs)}))
"""

Answers = dict[str, list[tuple[str, list[str], int | None]]]


@pytest.fixture(scope="module")
def engines(deviceless: Callable[[str], Any]) -> Any:  # noqa: F811
    """Of each graph on each architecture: its text, what it does with the product, its engine or None."""
    return deviceless(PROGRAM)


def test_every_convolution_has_an_engine(engines: Answers) -> None:
    plain = {text: engine for text, finished, engine in engines["cases"] if not finished}
    assert len(plain) > 400
    assert [text for text, engine in plain.items() if engine is None] == []


def test_half_precision_has_its_bias_and_relu_in_one_graph(engines: Answers) -> None:
    finished = {text: engine for text, modes, engine in engines["network"] if modes}
    assert {tuple(modes) for _, modes, _ in engines["network"]} == {(), ("ADD",), ("ADD", "RELU_FWD")}
    assert all("channels last" in text for text in finished)
    assert [text for text, engine in finished.items() if engine is None] == []
