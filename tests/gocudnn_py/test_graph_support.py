"""Every kind of operation without a GPU: cuDNN takes the graph, and has engines for it where the table says so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from gocudnn_py.cudnn.graph import OPERATIONS
from gocudnn_py.cudnn.graph.errata import erratum
from tests.gocudnn_py.graph_cases import CASES
from tests.gocudnn_py.without_gpu import GPUS

PROGRAM = """
from gocudnn_py.errors import NotInThisVersion
from tests.gocudnn_py.graph_cases import CASES

def engines(graph, gpu):
    try:
        return [candidate.engine for candidate in candidates(graph.build(), gpus[gpu])]
    except NotInThisVersion as error:
        return str(error)

def first_plan(graph):
    try:
        return next(plans(graph, gpus["sm_90"], Policy(tf32=True))).engine
    except GraphRefused as error:
        return list(error.reasons)

found = {}
for name, case in CASES.items():
    graph = case.make()
    found[name] = {gpu: engines(graph, gpu) for gpu in gpus}
    found[name]["plan"] = first_plan(graph) if found[name]["sm_90"] and isinstance(found[name]["sm_90"], list) else None
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def found(deviceless: Callable[[str], Any]) -> Any:
    """Of each case the engines by architecture, or why the loaded cuDNN has not its attributes, and a plan."""
    return deviceless(PROGRAM)


def test_every_kind_of_operation_has_a_case() -> None:
    shown = {operation.name for case in CASES.values() for operation in case.make().operations}
    held = {each.name for case in CASES.values() for operation in case.make().operations for each in nested(operation)}
    assert shown | held == {*OPERATIONS} - {"convolution_backward_filter"}  # which tests/gocudnn_py/test_graph.py has


def nested(operation: Any) -> list[Any]:
    return [each for each in operation.nested.values() if hasattr(each, "row")]


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("gpu", GPUS)
def test_engines_are_where_the_table_says(name: str, gpu: str, found: Any, cudnn: Any) -> None:
    case, engines = CASES[name], found[name][gpu]
    if cudnn.version[:2] < case.since:
        assert "and newer) is not in cuDNN" in engines
    else:
        assert isinstance(engines, list), engines
        assert bool(engines) == case.has_engines(gpu, cudnn.version), engines


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if "sm_90" in case.on])
def test_a_plan_is_made_of_an_engine(name: str, found: Any, cudnn: Any) -> None:
    case, plan = CASES[name], found[name]["plan"]
    if case.has_engines("sm_90", cudnn.version):
        wrong = {erratum(case.make(), engine) for engine in found[name]["sm_90"]}
        if None in wrong:
            assert isinstance(plan, int), plan
        else:
            assert {reason.partition(": ")[2] for reason in plan} == wrong


def test_a_refused_operation_is_named_with_its_constraint(deviceless: Callable[[str], Any]) -> None:
    operation, reason, text = deviceless("""
graph = Graph()
x, (scale, bias) = graph.tensor("x", (4, 8, 6, 6), "float32"), (graph.tensor(n, (1, 8, 1, 1), "float32") for n in "sb")
graph.output(graph.normalize(NormMode.BATCH_NORM, x, scale, bias, momentum=0.5).y, "y")
try:
    graph.build()
except GraphRefused as error:
    print(json.dumps([error.operation, error.reasons[0], str(error)]))
""")
    assert operation == "y = batch_norm(x, s, b, epsilon=1e-05)"
    assert "CUDNN_NORM_FWD_INFERENCE" in reason
    assert text.startswith(f"cuDNN refuses {operation}: (")


def test_what_is_too_new_names_the_operation_and_the_version(deviceless: Callable[[str], Any], cudnn: Any) -> None:
    answer = deviceless("""
from gocudnn_py.errors import NotInThisVersion
graph = Graph()
graph.output(graph.transpose(graph.tensor("x", (2, 3, 4), "float32"), (2, 0, 1)), "y")
try:
    graph.build()
    print(json.dumps(None))
except NotInThisVersion as error:
    print(json.dumps([str(error), error.__notes__]))
""")
    if cudnn.version[:2] >= (9, 22):
        assert answer is None
    else:
        message, (note,) = answer
        assert message.startswith("CUDNN_BACKEND_OPERATION_TRANSPOSE_DESCRIPTOR (of cuDNN 9.22 and newer) is not in ")
        assert note.startswith("needed by y = transpose(x, (2, 0, 1))\nin graph")
