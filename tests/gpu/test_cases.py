"""Every op case on the card, in float32: results and gradients within the bound that holds on every backend."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from gocunets import DType, Node
from gocunets.passes.layout import Freedom, channels_last
from tests.cases import CASES, DIFFERENTIABLE, Case, arrays
from tests.test_ops import MUTATIONS, assert_gradients, assert_outputs, backward, dys_of, forward, nudged

if TYPE_CHECKING:
    from gocunets.backends.cudnn import CudaBackend


@pytest.mark.parametrize("case", CASES, ids=str)
def test_forward(case: Case, backend: CudaBackend) -> None:
    assert_outputs(case, forward(case, backend, DType.float32))


@pytest.mark.parametrize("case", DIFFERENTIABLE, ids=str)
def test_gradient(case: Case, backend: CudaBackend) -> None:
    assert_gradients(case, backward(case, backend, DType.float32, arrays(case), dys_of(case)))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_forward_with_channels_last(case: Case, backend: CudaBackend) -> None:
    assert_outputs(case, forward(case, backend, DType.float32, channels_last, _freedom()))


@pytest.mark.parametrize("case", DIFFERENTIABLE, ids=str)
def test_gradient_with_channels_last(case: Case, backend: CudaBackend) -> None:
    dys = dys_of(case)
    assert_gradients(case, backward(case, backend, DType.float32, arrays(case), dys, channels_last, _freedom()))


@pytest.mark.parametrize(("case", "name"), MUTATIONS, ids=str)
def test_one_number_wrong_by_one_percent_is_noticed(case: Case, name: str, backend: CudaBackend) -> None:
    dtype = case.inputs[name].dtype or DType.float32
    wrong = forward(case, backend, DType.float32, **{name: nudged(case, name).astype(dtype.numpy())})
    with pytest.raises(AssertionError):
        assert_outputs(case, wrong)


def _freedom() -> Callable[[Node], Freedom]:
    from gocunets.backends.cudnn.registry import freedom_of

    return freedom_of
