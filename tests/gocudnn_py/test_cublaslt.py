"""cuBLASLt's descriptors, checks, kept choices and log; the library, but no GPU."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest

from gocudnn_py import cublaslt
from gocudnn_py._abi.cublas import ComputeType, Operation
from gocudnn_py._abi.cublaslt import (
    FUNCTIONS,
    EmulationDescAttributes,
    Epilogue,
    MatmulAlgo,
    MatmulPreferenceAttributes,
    MatrixTransformDescAttributes,
)
from gocudnn_py._abi.cuda import CudaDataType
from gocudnn_py.cublaslt import (
    Algorithm,
    EmulationDescriptor,
    MatmulAlgoCapAttributes,
    MatmulAlgoConfigAttributes,
    MatmulDescAttributes,
    MatmulDescriptor,
    Matrix,
    MatrixLayout,
    MatrixLayoutAttribute,
    Order,
    Preference,
    TransformDescriptor,
)
from gocudnn_py.errors import CublasError, UnusableResource
from tests.gocudnn_py.column_major import documented

pytestmark = pytest.mark.usefixtures("cublaslt")


@pytest.mark.covers(
    "cublasLtMatmulDescCreate",
    "cublasLtMatmulDescDestroy",
    "cublasLtMatmulDescSetAttribute",
    "cublasLtMatmulDescGetAttribute",
)
def test_every_attribute_of_a_product_is_kept() -> None:
    descriptor = MatmulDescriptor(ComputeType.COMPUTE_32F, CudaDataType.R_32F)
    known = [attribute for attribute in MatmulDescAttributes if attribute <= MatmulDescAttributes.D_OUT_SCALE_MODE]
    for attribute in known[1:]:  # the first, the type of the sums, stays
        value = 2**40 + 256 if attribute.name.endswith(("_POINTER", "_STRIDE", "_LD")) else 1
        assert descriptor.set(attribute, value).get(attribute) == value, attribute
    descriptor.set(MatmulDescAttributes.EPILOGUE, Epilogue.RELU_BIAS)
    assert repr(descriptor) == "MatmulDescriptor(COMPUTE_TYPE=68, SCALE_TYPE=1, TRANSA=1, TRANSB=1, EPILOGUE=6)"
    descriptor.close()
    assert repr(descriptor) == "MatmulDescriptor(unusable)"
    with pytest.raises(UnusableResource, match="closed"):
        descriptor.get(MatmulDescAttributes.EPILOGUE)


def test_attributes_that_are_refused() -> None:
    descriptor = MatmulDescriptor(ComputeType.COMPUTE_32F, CudaDataType.R_32F)
    with pytest.raises(
        TypeError, match=r"MatmulDescriptor has MatmulDescAttributes, not <MatrixLayoutAttribute\.LD: 4>"
    ):
        descriptor.set(MatrixLayoutAttribute.LD, 1)
    with pytest.raises(ValueError, match="TRANSA = 4294967296 does not fit its 4 bytes"):
        descriptor.set(MatmulDescAttributes.TRANSA, 2**32)
    assert descriptor.set(MatmulDescAttributes.BIAS_DATA_TYPE, -1).get(MatmulDescAttributes.BIAS_DATA_TYPE) == -1


@pytest.mark.covers(
    "cublasLtMatrixLayoutCreate",
    "cublasLtMatrixLayoutDestroy",
    "cublasLtMatrixLayoutSetAttribute",
    "cublasLtMatrixLayoutGetAttribute",
)
def test_layouts_read_rows_as_columns() -> None:
    with MatrixLayout(Matrix(0, 3, 5, "bfloat16", pitch=8), batch=4, stride=2**33) as layout:
        assert repr(layout) == (
            "MatrixLayout(TYPE=14, ORDER=0, ROWS=5, COLS=3, LD=8, BATCH_COUNT=4, STRIDED_BATCH_OFFSET=8589934592)"
        )
    with MatrixLayout(Matrix(0, 2**31, 2**32), order=Order.ROW) as layout:
        assert layout.get(MatrixLayoutAttribute.COLS) == 2**31
        assert layout.get(MatrixLayoutAttribute.ROWS) == layout.get(MatrixLayoutAttribute.LD) == 2**32
        assert layout.get(MatrixLayoutAttribute.ORDER) == Order.ROW
    with pytest.raises(ValueError, match=r"a layout of 0 x R_32F\[3x5\], 0 elements apart"):
        MatrixLayout(Matrix(0, 3, 5), batch=0)


@pytest.mark.covers(
    "cublasLtMatrixTransformDescCreate",
    "cublasLtMatrixTransformDescDestroy",
    "cublasLtMatrixTransformDescSetAttribute",
    "cublasLtMatrixTransformDescGetAttribute",
    "cublasLtMatmulPreferenceCreate",
    "cublasLtMatmulPreferenceDestroy",
    "cublasLtMatmulPreferenceSetAttribute",
    "cublasLtMatmulPreferenceGetAttribute",
)
def test_transforms_and_preferences() -> None:
    transform = TransformDescriptor(CudaDataType.R_64F).set(MatrixTransformDescAttributes.TRANSB, Operation.T)
    assert repr(transform) == "TransformDescriptor(SCALE_TYPE=1, POINTER_MODE=0, TRANSA=0, TRANSB=1)"
    preference = Preference(2**33)
    assert preference.set(MatmulPreferenceAttributes.MAX_WAVES_COUNT, 0.75).get(
        MatmulPreferenceAttributes.MAX_WAVES_COUNT
    ) == pytest.approx(0.75)
    assert repr(preference) == (
        f"Preference(MAX_WORKSPACE_BYTES=8589934592, REDUCTION_SCHEME_MASK=7, IMPL_MASK={2**64 - 1})"
    )
    for each in (transform, preference):
        each.close()
        with pytest.raises(UnusableResource, match="closed"):
            each.get(next(iter(each.attributes)))


@pytest.mark.covers(
    "cublasLtEmulationDescCreate",
    "cublasLtEmulationDescDestroy",
    "cublasLtEmulationDescSetAttribute",
    "cublasLtEmulationDescGetAttribute",
)
def test_emulation(cublaslt: Any) -> None:
    if not hasattr(cublaslt, "cublasLtEmulationDescCreate"):
        pytest.skip(f"{cublaslt!r} emulates nothing")
    bits = EmulationDescAttributes.FIXEDPOINT_MAX_MANTISSA_BIT_COUNT
    emulation = EmulationDescriptor().set(bits, 55)
    assert emulation.get(bits) == 55
    product = MatmulDescriptor(ComputeType.COMPUTE_64F, CudaDataType.R_64F)
    product.set(MatmulDescAttributes.EMULATION_DESCRIPTOR, emulation.handle)
    assert product.get(MatmulDescAttributes.EMULATION_DESCRIPTOR) == emulation.handle
    product.close()
    emulation.close()


@pytest.mark.covers("cublasLtMatmulAlgoConfigSetAttribute", "cublasLtMatmulAlgoConfigGetAttribute")
def test_algorithms_are_bytes() -> None:
    plain = Algorithm(MatmulAlgo(), 1024)
    other = plain.set_to({MatmulAlgoConfigAttributes.TILE_ID: 20, MatmulAlgoConfigAttributes.CLUSTER_SHAPE_ID: 3})
    assert (plain.setting(MatmulAlgoConfigAttributes.TILE_ID), plain.id) == (0, 0)
    back = Algorithm.from_bytes(bytes(other), 1024)
    assert repr(back) == "Algorithm(tile_id=20, cluster_shape_id=3; 1024 bytes of workspace)"
    with pytest.raises(ValueError, match="an algorithm is 64 bytes, not 3"):
        Algorithm.from_bytes(b"abc")
    with pytest.raises(ValueError, match="CLUSTER_SHAPE_ID = 65536 does not fit its 2 bytes"):
        plain.set_to({MatmulAlgoConfigAttributes.CLUSTER_SHAPE_ID: 2**16})
    with pytest.raises(CublasError, match="cublasLtMatmulAlgoCapGetAttribute: CUBLAS_STATUS_INVALID_VALUE"):
        plain.capability(MatmulAlgoCapAttributes.TILE_IDS)


@pytest.mark.covers("cublasLtHeuristicsCacheGetCapacity", "cublasLtHeuristicsCacheSetCapacity")
def test_the_cache_of_heuristics() -> None:
    before = cublaslt.heuristics_cached()
    cublaslt.keep_heuristics(1000)
    assert cublaslt.heuristics_cached() >= 1000
    cublaslt.keep_heuristics(before)
    assert cublaslt.heuristics_cached() == before
    with pytest.raises(ValueError, match="a cache of -1 answers"):
        cublaslt.keep_heuristics(-1)


@pytest.mark.covers(
    "cublasLtLoggerSetCallback", "cublasLtLoggerSetLevel", "cublasLtLoggerOpenFile", "cublasLtLoggerSetMask"
)
def test_the_log(cublaslt: Any, caplog: pytest.LogCaptureFixture, capfd: Any) -> None:
    from gocudnn_py.cublaslt import log_to_logging

    def fail() -> None:
        with pytest.raises(CublasError):
            cublaslt.cublasLtMatrixLayoutSetAttribute(None, 0, None, 0)

    with caplog.at_level(logging.DEBUG, "gocudnn_py.cublaslt"):
        log_to_logging()
        fail()
        assert [record.levelname for record in caplog.records] == ["ERROR"]
        assert "cublasLtMatrixLayoutSetAttribute: matLayout cannot be NULL" in caplog.text
        log_to_logging(5)
        fail()
        assert "DEBUG" in [record.levelname for record in caplog.records]
        log_to_logging(5, mask=1)
        caplog.clear()
        fail()
        assert [record.levelname for record in caplog.records] == ["ERROR"]
        log_to_logging(0)
        caplog.clear()
        fail()
        assert caplog.records == []
    assert capfd.readouterr().out == ""
    with pytest.raises(ValueError, match="level 6 is none of 0 to 5"):
        log_to_logging(6)


@pytest.mark.covers("cublasLtLoggerForceDisable")
def test_a_log_that_is_off_for_good(run_python: Any, called_elsewhere: Callable[[str], None]) -> None:
    done = run_python("""
        import logging
        from gocudnn_py.cublaslt import disable_log, log_to_logging
        from gocudnn_py.errors import CublasError
        from gocudnn_py.library import load
        from tests.covers import called
        logging.basicConfig(level=logging.DEBUG)
        with called(("cublasLtLoggerForceDisable",)) as noted:
            disable_log()
        log_to_logging(5)
        try:
            load("cublaslt").cublasLtMatrixLayoutSetAttribute(None, 0, None, 0)
        except CublasError as error:
            print("refused", *noted)
    """)
    refused, function = done.stdout.split()
    assert (refused, "cublasLt" in done.stderr) == ("refused", False)
    called_elsewhere(function)


OF_LOADING = {"cublasLtGetVersion", "cublasLtGetStatusName", "cublasLtGetStatusString"}  # `load` asks these


def test_every_function_is_reached_or_has_cs_name_for_a_reason() -> None:
    assert documented(cublaslt, r"\bcublasLt[A-Z]\w*") == set(FUNCTIONS) - OF_LOADING
