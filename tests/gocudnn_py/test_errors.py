"""The exception tree and its messages."""

from __future__ import annotations

import inspect

import pytest

from gocudnn_py import errors
from gocudnn_py._abi.cudnn import Status


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (1001, errors.SetupFailed),
        (2007, errors.BadParameter),
        (3000, errors.NotSupported),
        (3999, errors.NotSupported),
        (4001, errors.InternalError),
        (5003, errors.ExecutionFailed),
        (7123, errors.CudnnError),
    ],
)
def test_a_status_is_classified_by_its_thousand(status: int, kind: type[errors.CudnnError]) -> None:
    assert type(errors.cudnn_error("f", status, "N")) is kind


def test_messages() -> None:
    error = errors.cudnn_error("cudnnF", 2000, "CUDNN_STATUS_BAD_PARAM", "n <= 0")
    assert str(error) == "cudnnF: CUDNN_STATUS_BAD_PARAM (2000): n <= 0"
    assert str(errors.cudnn_error("cudnnF", 4000, "X")) == "cudnnF: X (4000)"
    assert str(errors.NotSupported("f", 3004, "L")).endswith("channels last (NHWC) is what most fused engines take.")
    assert "Try another" in str(errors.NotSupported("f", 3999, "newer than the hints"))


def test_every_not_supported_status_has_a_hint() -> None:
    assert {status for status in Status if status // 1000 == 3} == set(errors.HINTS)


@pytest.mark.parametrize(
    ("major", "command"),
    [
        (12, "pip install 'gocunets[cu12]'"),
        (13, "pip install 'gocunets[cu13]'"),
        (None, "pip install 'gocunets[cu13]' (CUDA 13) or pip install 'gocunets[cu12]' (CUDA 12)"),
    ],
)
def test_a_missing_library_says_how_to_install_it(major: int | None, command: str) -> None:
    error = errors.LibraryNotFound("cuDNN", "nothing there", major)
    assert str(error) == f"cuDNN was not found: nothing there\nTo install it: {command}"


@pytest.mark.parametrize(
    ("library", "extra"), [("cublas", "cu13"), ("nppc", "cu13-all"), ("curand", "cu13-all"), ("nccl", "cu13-nccl")]
)
def test_a_missing_library_names_the_extra_that_has_it(library: str, extra: str) -> None:
    assert str(errors.LibraryNotFound(library, "why", 13)).endswith(f"pip install 'gocunets[{extra}]'")


def test_the_tree_is_drawn_in_the_module() -> None:
    classes = [c for _, c in inspect.getmembers(errors, inspect.isclass) if c.__module__ == errors.__name__]
    for kind in classes:
        assert issubclass(kind, errors.GocudnnError | UserWarning)
        assert f"{kind.__name__}" in (errors.__doc__ or "")
    assert issubclass(errors.NotInThisVersion, AttributeError)
