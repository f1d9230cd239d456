"""Every op case on the card, in float32: results and gradients within the bound that holds on every backend."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gocunets import DType
from tests.cases import CASES, DIFFERENTIABLE, Case, arrays
from tests.test_ops import assert_gradients, assert_outputs, backward, dys_of, forward

if TYPE_CHECKING:
    from gocunets.backends.cudnn import CudaBackend


@pytest.mark.parametrize("case", CASES, ids=str)
def test_forward(case: Case, backend: CudaBackend) -> None:
    assert_outputs(case, forward(case, backend, DType.float32))


@pytest.mark.parametrize("case", DIFFERENTIABLE, ids=str)
def test_gradient(case: Case, backend: CudaBackend) -> None:
    assert_gradients(case, backward(case, backend, DType.float32, arrays(case), dys_of(case)))
