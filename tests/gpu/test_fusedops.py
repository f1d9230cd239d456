"""The older fused operations on the card."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gocudnn_py._abi.cudnn import (
    BatchNormMode,
    FusedOps,
    FusedOpsPointerPlaceHolder,
)
from gocudnn_py._abi.cudnn import FusedOpsConstParamLabel as Constant
from gocudnn_py._abi.cudnn import FusedOpsVariantParamLabel as Argument
from gocudnn_py.cudnn import Handle, TensorDescriptor
from gocudnn_py.cudnn.fusedops import FusedArguments, FusedConstants, FusedPlan
from tests.gpu.card import Card, numbers

ALIGNED = FusedOpsPointerPlaceHolder.PTR_16B_ALIGNED


@pytest.mark.covers(
    "cudnnCreateFusedOpsConstParamPack",
    "cudnnSetFusedOpsConstParamPackAttribute",
    "cudnnDestroyFusedOpsConstParamPack",
    "cudnnCreateFusedOpsVariantParamPack",
    "cudnnSetFusedOpsVariantParamPackAttribute",
    "cudnnDestroyFusedOpsVariantParamPack",
    "cudnnCreateFusedOpsPlan",
    "cudnnMakeFusedOpsPlan",
    "cudnnFusedOpsExecute",
    "cudnnDestroyFusedOpsPlan",
)
def test_statistics_become_a_scale_and_a_bias(card: Card, handle: Handle) -> None:
    """BN_FINALIZE_STATISTICS_TRAINING: sums of y and y^2 to running statistics and what a normalisation multiplies."""
    channels, count, epsilon, momentum = 32, 600, 1e-3, 0.25
    y = numbers(count, channels)
    sums, squares = y.sum(0), np.square(y).sum(0)
    scale, bias = 1 + 0.5 * numbers(channels, seed=1), numbers(channels, seed=2)
    ops = FusedOps.BN_FINALIZE_STATISTICS_TRAINING
    row = TensorDescriptor().set(np.float32, (1, channels, 1, 1))
    half = TensorDescriptor().set(np.float16, (1, channels, 1, 1))
    names = "EQSCALE EQBIAS SCALE BIAS SAVED_MEAN SAVED_INVSTD RUNNING_MEAN RUNNING_VAR"
    with FusedConstants(ops) as constants, FusedArguments(ops) as arguments, FusedPlan(ops) as plan:
        constants.set(Constant.BN_MODE, BatchNormMode.SPATIAL)
        constants.set(Constant.YSTATS_DESC, row).set(Constant.BN_SCALEBIAS_MEANVAR_DESC, row)
        constants.set(Constant.BN_EQSCALEBIAS_DESC, half)
        for name in ("YSUM", "YSQSUM", *(f"BN_{name}" for name in names.split())):
            constants.set(Constant[f"{name}_PLACEHOLDER"], ALIGNED)
        room = card.scratch(plan.make(handle, constants))
        content: dict[str, Any] = {"YSUM": sums, "YSQSUM": squares, "BN_SCALE": scale, "BN_BIAS": bias}
        buffers = {name: card.row(array) for name, array in content.items()}
        for name in ("SAVED_MEAN", "SAVED_INVSTD", "RUNNING_MEAN", "RUNNING_VAR"):
            buffers[f"BN_{name}"] = card.row(np.ones(channels))
        for name in ("EQSCALE", "EQBIAS"):
            buffers[f"BN_{name}"] = card.row(np.ones(channels), np.float16)
        for name, buffer in buffers.items():
            arguments.set(Argument[f"PTR_{name}"], buffer)
        arguments.set(Argument.PTR_WORKSPACE, room)
        arguments.set(Argument.SCALAR_SIZE_T_WORKSPACE_SIZE_IN_BYTES, room.nbytes)
        arguments.set(Argument.SCALAR_INT64_T_BN_ACCUMULATION_COUNT, count)
        arguments.set(Argument.SCALAR_DOUBLE_BN_EXP_AVG_FACTOR, momentum)
        arguments.set(Argument.SCALAR_DOUBLE_BN_EPSILON, epsilon)
        plan.run(handle, arguments)
        mean, variance = y.mean(0), y.var(0)
        invstd = 1 / np.sqrt(variance + epsilon)
        rights = {
            "SAVED_MEAN": mean,
            "SAVED_INVSTD": invstd,
            "RUNNING_MEAN": 1 + momentum * (mean - 1),
            "RUNNING_VAR": 1 + momentum * (variance * count / (count - 1) - 1),
        }
        for name, right in rights.items():
            np.testing.assert_allclose(card.read(buffers[f"BN_{name}"], (channels,)), right, rtol=1e-4, atol=1e-5)
        eqscale, eqbias = (card.read(buffers[f"BN_{n}"], (channels,), np.float16) for n in ("EQSCALE", "EQBIAS"))
        np.testing.assert_allclose(eqscale, scale * invstd, rtol=2e-3, atol=1e-3)
        np.testing.assert_allclose(eqbias, bias - scale * invstd * mean, rtol=2e-3, atol=2e-3)
