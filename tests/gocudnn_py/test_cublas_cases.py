"""Every operation of cuBLAS, worded for column-major memory, gives the row-major result; no GPU, no library."""

from __future__ import annotations

from typing import Any

import pytest

from gocudnn_py.cublas import batched
from gocudnn_py.cublas.names import wide
from tests.gocudnn_py.blas_cases import Case, Desk, rows, take_wide_forms
from tests.gocudnn_py.column_major import HostArena, HostPlace


@pytest.mark.parametrize(("case", "dtype", "way", "functions"), rows(covering=False))
def test_cases(
    case: Case, dtype: str, way: dict[str, Any], functions: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batched, "DeviceBuffer", HostPlace)
    arena = HostArena()
    case.run(Desk(arena, dtype), **way)
    assert set(arena.handle.lib.called) == set(functions)


@pytest.mark.parametrize(("case", "dtype", "way", "functions"), rows(covering=False, form=wide))
def test_cases_in_64_bits(
    case: Case, dtype: str, way: dict[str, Any], functions: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batched, "DeviceBuffer", HostPlace)
    take_wide_forms(monkeypatch)
    arena = HostArena()
    case.run(Desk(arena, dtype, "int64"), **way)
    assert set(arena.handle.lib.called) == set(functions)
