"""What normalisations and older fused operations say without a GPU."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from gocudnn_py import cudnn as api
from gocudnn_py.cudnn import FusedOps, FusedOpsPointerPlaceHolder
from gocudnn_py.cudnn import FusedOpsConstParamLabel as Constant
from gocudnn_py.cudnn import FusedOpsVariantParamLabel as Argument
from tests.gocudnn_py.recording import HANDLE, Recording, buffer

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


# what each run takes beside data, in the order of the C parameters
RUNS = {
    "ForwardInference": ("scale", "bias", "running.first", "running.second"),
    "ForwardTraining": ("scale", "bias", "running.first", "running.second", "saved.first", "saved.second"),
    "Backward": ("scale", "bias", "gradients.first", "gradients.second", "saved.first", "saved.second"),
}
ROWS = {name: 0x100 * (n + 1) for n, name in enumerate(dict.fromkeys(name for run in RUNS.values() for name in run))}
NORMALIZATIONS = [(kind, run) for kind in (api.BatchNormalization, api.Normalization) for run in RUNS]


def passed(kind: Any, run: str, places: dict[str, Any]) -> list[str]:
    """Run a normalisation of float16, whose parameters are float32, 32 bytes each; which rows came to cuDNN."""
    x, norm, function = described(np.float16).at(0x10), kind(described(np.float16)), f"cudnn{kind.__name__}{run}"
    norm.lib = lib = Recording(norm.lib, {function: None})
    scale, bias = places["scale"], places["bias"]
    running, saved, gradients = (
        api.Moments(places[f"{name}.first"], places[f"{name}.second"]) for name in ("running", "saved", "gradients")
    )
    if run == "ForwardInference":
        norm.forward_inference(HANDLE, x, x, scale, bias, running)
    elif run == "ForwardTraining":
        norm.forward_training(HANDLE, x, x, scale, bias, running=running, saved=saved)
    else:
        norm.backward(HANDLE, x, x, x, scale, gradients, saved=saved, bias=bias)
    by_address = {address: name for name, address in ROWS.items()}
    return [by_address[value] for value in lib.only(function).values() if value in by_address]


@pytest.mark.parametrize(("kind", "run"), NORMALIZATIONS)
def test_rows_are_passed_on_and_have_to_be_large_enough(kind: Any, run: str) -> None:
    left_out = {"bias"} if (kind, run) == (api.BatchNormalization, "Backward") else set()
    expected = [name for name in RUNS[run] if name not in left_out]
    fitting = {name: buffer(address, 32) for name, address in ROWS.items()}
    assert passed(kind, run, fitting) == passed(kind, run, ROWS) == expected
    assert passed(kind, run, dict.fromkeys(ROWS)) == []
    for name in RUNS[run]:
        with pytest.raises(ValueError, match=f"{name} takes 32 bytes, the buffer holds 31"):
            passed(kind, run, fitting | {name: buffer(ROWS[name], 31)})


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_what_lies_as_x_has_to_be_large_enough(direction: str) -> None:
    """Of the divisive normalisation, for a strided x."""
    x = api.TensorDescriptor().set_strided(np.float32, (2, 3, 4, 5), (99, 30, 6, 1))
    names = ["means", "scratch[0]", "scratch[1]", *(["dy", "dmeans"] if direction == "backward" else [])]
    sizes, addresses = dict.fromkeys(names, x.size_in_bytes), {name: 0x100 + n for n, name in enumerate(names)}
    sizes |= {"dmeans": 480} if direction == "backward" else {}  # dx is packed

    def run(**places: Any) -> dict[str, Any]:
        lrn, function = api.LrnDescriptor().set(), f"cudnnDivisiveNormalization{direction.capitalize()}"
        lib: Any = Recording(lrn.lib, {function: None})
        lrn.lib = lib
        scratch = places.pop("scratch[0]"), places.pop("scratch[1]")
        if direction == "forward":
            lrn.divisive_forward(HANDLE, x.at(1), x.at(2), scratch=scratch, **places)
        else:
            dx = api.TensorDescriptor().set(np.float32, (2, 3, 4, 5)).at(2)
            lrn.divisive_backward(HANDLE, x.at(1), places.pop("dy"), dx, scratch=scratch, **places)
        found: dict[str, Any] = lib.only(function)
        return found

    fitting = {name: buffer(addresses[name], size) for name, size in sizes.items()}
    found = run(**fitting)
    c_names = {"scratch[0]": "temp", "scratch[1]": "temp2", "dmeans": "dMeans"}
    assert {name: found[c_names.get(name, name)] for name in names} == addresses
    assert run(**addresses)["temp2"] == addresses["scratch[1]"]
    assert run(**fitting | {"means": None})["means"] == 0
    for name, size in sizes.items():
        with pytest.raises(ValueError, match=rf"{re.escape(name)} takes {size} bytes, the buffer holds {size - 1}"):
            run(**fitting | {name: buffer(addresses[name], size - 1)})


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
