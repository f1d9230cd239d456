"""What cuDNN says of itself: versions, names of statuses, its log."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from gocudnn_py._abi.cudnn import Severity
from gocudnn_py.cudnn import TensorDescriptor, check_parts, version
from gocudnn_py.cudnn.log import log_to_logging, logged
from gocudnn_py.errors import BadParameter


@pytest.mark.covers("cudnnGetVersion", "cudnnGetCudartVersion", "cudnnGetProperty", "cudnnGetMaxDeviceVersion")
def test_versions_agree(cudnn: Any) -> None:
    found = version()
    assert found.cudnn == cudnn.version
    assert found.cuda[0] in (12, 13)
    assert found.newest_device >= 900


@pytest.mark.covers("cudnnGraphVersionCheck", "cudnnOpsVersionCheck", "cudnnCnnVersionCheck", "cudnnAdvVersionCheck")
def test_the_parts_belong_together(cudnn: Any) -> None:
    check_parts()


@pytest.mark.covers("cudnnGetErrorString", "cudnnGetLastErrorString")
def test_a_refusal_has_the_librarys_words(cudnn: Any) -> None:
    with pytest.raises(BadParameter) as caught:
        cudnn.cudnnSetTensor4dDescriptor(TensorDescriptor().handle, 0, 99, 1, 1, 1, 1)
    assert caught.value.name == "CUDNN_STATUS_BAD_PARAM"
    assert caught.value.library_message


@pytest.mark.covers("cudnnSetCallback", "cudnnGetCallback")
def test_the_log_goes_to_logging(cudnn: Any, caplog: pytest.LogCaptureFixture) -> None:
    log_to_logging(logging.INFO)
    try:
        assert {severity.name for severity in logged()} >= {"ERROR", "WARNING", "INFO"}
        with caplog.at_level(logging.INFO, "gocudnn_py.cudnn"):
            TensorDescriptor().set("float32", (2, 3, 4, 5))
        assert "cudnnSetTensor4dDescriptor" in caplog.text
    finally:
        log_to_logging(logging.CRITICAL + 1)
    assert Severity.INFO not in logged()
