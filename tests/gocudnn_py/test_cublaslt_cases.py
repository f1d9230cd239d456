"""Every product and transform of cuBLASLt, worded for column-major memory, gives the row-major result; no GPU."""

from __future__ import annotations

from typing import Any

import pytest

from tests.gocudnn_py.blas_cases import Case, Desk, rows_of
from tests.gocudnn_py.blas_lt import LT_CASES
from tests.gocudnn_py.column_major import HostArena
from tests.gocudnn_py.column_major_lt import emulated_handle


@pytest.mark.parametrize(("case", "dtype", "way", "functions"), rows_of(LT_CASES, False))
def test_cases(case: Case, dtype: str, way: dict[str, Any], functions: tuple[str, ...], cublaslt: Any) -> None:
    arena = HostArena()
    arena.light = emulated_handle()
    case.run(Desk(arena, dtype), **way)
    assert set(arena.light.lib.called) == set(functions)
