"""What normalisations and older fused operations say without a GPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gocudnn_py import cudnn as api
from gocudnn_py.cudnn import FusedOps, FusedOpsPointerPlaceHolder
from gocudnn_py.cudnn import FusedOpsConstParamLabel as Constant
from gocudnn_py.cudnn import FusedOpsVariantParamLabel as Argument

pytestmark = pytest.mark.usefixtures("cudnn")
OPS = FusedOps.BN_FINALIZE_STATISTICS_TRAINING


def described(dtype: Any = np.float32) -> api.TensorDescriptor:
    return api.TensorDescriptor().set(dtype, (6, 8, 5, 4))


@pytest.mark.covers("cudnnDeriveBNTensorDescriptor")
def test_parameters_of_batch_normalisation() -> None:
    assert api.BatchNormalization(described()).parameters.get().dims == (1, 8, 1, 1)
    by_place = api.BatchNormalization(described(), api.BatchNormMode.PER_ACTIVATION)
    assert by_place.parameters.get().dims == (1, 8, 5, 4)
    half = api.BatchNormalization(described(np.float16))
    assert half.parameters.dtype is api.DataType.FLOAT
    assert repr(half).startswith("BatchNormalization(SPATIAL, epsilon=1e-05, TensorDescriptor(FLOAT, (1, 8, 1, 1)")


@pytest.mark.covers("cudnnDeriveNormTensorDescriptor")
def test_parameters_of_normalisation() -> None:
    norm = api.Normalization(described(np.float64), api.NormMode.PER_ACTIVATION)
    assert norm.parameters.get().dims == norm.moments.get().dims == (1, 8, 5, 4)
    assert norm.moments.dtype is api.DataType.DOUBLE
    assert "PER_ACTIVATION, STANDARD" in repr(norm)


@pytest.mark.parametrize("kind", [api.BatchNormalization, api.Normalization])
def test_refusals(kind: Any) -> None:
    with pytest.raises(ValueError, match="epsilon=-1"):
        kind(described(), epsilon=-1.0)
    x, y = described(), described()
    with pytest.raises(ValueError, match="adds z only before an activation"):
        kind(described()).forward_workspace_size(None, x, y, described())
    with pytest.raises(ValueError, match="groups is 0"):
        api.Normalization(described(), groups=0)


@pytest.mark.covers(
    "cudnnCreateFusedOpsConstParamPack",
    "cudnnSetFusedOpsConstParamPackAttribute",
    "cudnnGetFusedOpsConstParamPackAttribute",
    "cudnnDestroyFusedOpsConstParamPack",
)
def test_constants_are_read_back() -> None:
    with api.FusedConstants(OPS) as constants:
        assert repr(constants) == "FusedConstants(BN_FINALIZE_STATISTICS_TRAINING)"
        assert constants.get(Constant.YSTATS_DESC, api.TensorDescriptor()) is None
        constants.set(Constant.BN_MODE, api.BatchNormMode.SPATIAL)
        constants.set(Constant.YSUM_PLACEHOLDER, FusedOpsPointerPlaceHolder.PTR_16B_ALIGNED)
        constants.set(Constant.YSTATS_DESC, described())
        assert constants.get(Constant.BN_MODE) == api.BatchNormMode.SPATIAL
        assert constants.get(Constant.YSUM_PLACEHOLDER) == FusedOpsPointerPlaceHolder.PTR_16B_ALIGNED
        read = api.TensorDescriptor()
        assert constants.get(Constant.YSTATS_DESC, read) == 0
        assert read.get() == described().get()


@pytest.mark.covers(
    "cudnnCreateFusedOpsVariantParamPack",
    "cudnnSetFusedOpsVariantParamPackAttribute",
    "cudnnGetFusedOpsVariantParamPackAttribute",
    "cudnnDestroyFusedOpsVariantParamPack",
)
def test_arguments_are_read_back() -> None:
    with api.FusedArguments(OPS) as arguments:
        arguments.set(Argument.PTR_YSUM, 2**40 + 256)
        arguments.set(Argument.SCALAR_DOUBLE_BN_EPSILON, 1e-3)
        arguments.set(Argument.SCALAR_INT64_T_BN_ACCUMULATION_COUNT, 2**33)
        assert arguments.get(Argument.PTR_YSUM) == 2**40 + 256
        assert arguments.get(Argument.SCALAR_DOUBLE_BN_EPSILON) == 1e-3
        assert arguments.get(Argument.SCALAR_INT64_T_BN_ACCUMULATION_COUNT) == 2**33


@pytest.mark.parametrize(
    ("label", "value", "named"),
    [
        (Constant.ACTIVATION_DESC, api.TensorDescriptor, "ACTIVATION_DESC is a ActivationDescriptor"),
        (Constant.WDESC, api.TensorDescriptor, "WDESC is a FilterDescriptor"),
        (Constant.XDESC, api.FilterDescriptor, "XDESC is a TensorDescriptor"),
        (Constant.BN_MODE, lambda: 1, "BN_MODE is a BatchNormMode, not a int"),
        (Constant.XDATA_PLACEHOLDER, lambda: 1, "XDATA_PLACEHOLDER is a FusedOpsPointerPlaceHolder"),
    ],
)
def test_a_constant_of_the_wrong_kind(label: Constant, value: Any, named: str) -> None:
    constants = api.FusedConstants(FusedOps.SCALE_BIAS_ACTIVATION_CONV_BNSTATS)
    with pytest.raises(TypeError, match=named):
        constants.set(label, value())
