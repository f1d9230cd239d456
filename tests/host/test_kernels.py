"""Every op case through the CUDA backend's lowerings and kernels, run by the host: the bound of every backend."""

from __future__ import annotations

import pytest

pytest.importorskip("cuda.core", reason="cuda-core is missing: pip install 'gocunets[cu13]'")

from gocunets import DType
from gocunets.backends.cudnn.registry import freedom_of
from gocunets.passes.layout import channels_last
from tests.cases import CASES, DIFFERENTIABLE, Case, arrays, rounded
from tests.host.backend import HostBackend
from tests.host.kernels import COMPILER
from tests.test_ops import assert_gradients, assert_outputs, backward, dys_of, forward

pytestmark = pytest.mark.skipif(COMPILER is None, reason="no C++ compiler")


@pytest.mark.parametrize("case", CASES, ids=str)
def test_forward(case: Case) -> None:
    assert_outputs(case, forward(case, HostBackend(), DType.float32))


@pytest.mark.parametrize("case", DIFFERENTIABLE, ids=str)
def test_gradient(case: Case) -> None:
    assert_gradients(case, backward(case, HostBackend(), DType.float32, arrays(case), dys_of(case)))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_forward_with_channels_last(case: Case) -> None:
    assert_outputs(case, forward(case, HostBackend(), DType.float32, channels_last, freedom_of))


@pytest.mark.parametrize("case", DIFFERENTIABLE, ids=str)
def test_gradient_with_channels_last(case: Case) -> None:
    dys = dys_of(case)
    dxs = backward(case, HostBackend(), DType.float32, arrays(case), dys, channels_last, freedom_of)
    assert_gradients(case, dxs)


def runs_in_half_precision(case: Case) -> bool:
    """Whether every op of a case may run in the compute dtype, and none must be at least float32."""
    graph, *_ = case.trace(DType.float32)
    return all(node.op.precision != "full" for node in graph.nodes) and not any(
        node.op.name == "gather_batch" for node in graph.nodes
    )


HALVES = [DType.float16, DType.bfloat16]
IN_HALF = [case for case in CASES if runs_in_half_precision(case)]
every_half = pytest.mark.parametrize("dtype", HALVES)


@every_half
@pytest.mark.parametrize("case", IN_HALF, ids=str)
def test_forward_in_half_precision(case: Case, dtype: DType) -> None:
    outputs = forward(case, HostBackend(), dtype)
    assert [y.dtype for y in outputs] == [y.dtype.numpy() for y in case.trace(dtype)[2]]
    assert_outputs(case, outputs, dtype)


@every_half
@pytest.mark.parametrize("case", [case for case in IN_HALF if case in DIFFERENTIABLE], ids=str)
def test_gradient_in_half_precision(case: Case, dtype: DType) -> None:
    dxs = backward(case, HostBackend(), dtype, rounded(case, dtype), dys_of(case, dtype))
    assert_gradients(case, dxs, dtype)
