"""CTC loss descriptors without a GPU: set, get and repr, what is refused, and where each argument goes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gocudnn_py._abi.cudnn import CTCGradMode, CTCLossAlgo, DataType, LossNormalizationMode
from gocudnn_py.cudnn import TensorDescriptor
from gocudnn_py.cudnn.ctc import CtcLossDescriptor, CtcLossSpec, CtcVersion, DeviceLabels, HostLabels
from gocudnn_py.cudnn.rnn_data import RnnDataDescriptor
from gocudnn_py.errors import NotSupported, UnusableResource
from tests.gocudnn_py.recording import HANDLE, Recording, buffer, writes

pytestmark = pytest.mark.usefixtures("cudnn")
NONE, SOFTMAX = LossNormalizationMode.NONE, LossNormalizationMode.SOFTMAX
ZERO, SKIP = CTCGradMode.ZERO_OOB_GRADIENTS, CTCGradMode.SKIP_OOB_GRADIENTS
FLOAT = DataType.FLOAT
DETERMINISTIC, OTHER = CTCLossAlgo.DETERMINISTIC, CTCLossAlgo.NON_DETERMINISTIC
GETS = [f"cudnnGetCTCLossDescriptor{version}" for version in CtcVersion]


@pytest.mark.covers("cudnnCreateCTCLossDescriptor", "cudnnDestroyCTCLossDescriptor", "cudnnSetCTCLossDescriptor_v9")
def test_a_new_one_has_the_defaults() -> None:
    with CtcLossDescriptor() as ctc:
        assert repr(ctc) == "CtcLossDescriptor(FLOAT, SOFTMAX, ZERO_OOB_GRADIENTS, max_label_length=255)"
    assert repr(ctc) == "CtcLossDescriptor(unusable)"
    with pytest.raises(UnusableResource, match="this CtcLossDescriptor is closed"):
        ctc.get()


@pytest.mark.covers(*GETS)
@pytest.mark.parametrize("normalization", [NONE, SOFTMAX])
@pytest.mark.parametrize("mode", [ZERO, SKIP])
@pytest.mark.parametrize("version", [CtcVersion.V8, CtcVersion.V9])
def test_every_version_reads_what_was_set(normalization: Any, mode: Any, version: CtcVersion) -> None:
    how: Any = {"normalization": normalization, "gradient_mode": mode, "max_label_length": 7, "version": version}
    ctc = CtcLossDescriptor().set(**how)
    assert ctc.get(CtcVersion.V9) == ctc.get(CtcVersion.V8) == CtcLossSpec(FLOAT, normalization, mode, 7)
    assert ctc.get(CtcVersion.EX) == CtcLossSpec(FLOAT, normalization, mode)
    assert ctc.get(CtcVersion.FIRST) == CtcLossSpec(FLOAT)


@pytest.mark.covers("cudnnSetCTCLossDescriptorEx", "cudnnSetCTCLossDescriptor", "cudnnGetCTCLossDescriptor_v9")
def test_the_oldest_versions_set_less() -> None:
    ctc = CtcLossDescriptor().set(normalization=SOFTMAX, gradient_mode=SKIP, version=CtcVersion.EX)
    assert ctc.get() == CtcLossSpec(FLOAT, SOFTMAX, SKIP, 0)
    assert ctc.set(version=CtcVersion.FIRST).get() == CtcLossSpec(FLOAT, NONE, ZERO, 0)


@pytest.mark.covers("cudnnSetCTCLossDescriptor_v8")
def test_every_version_can_be_set_without_more() -> None:
    ctc = CtcLossDescriptor()
    assert ctc.set(version=CtcVersion.V8).get() == CtcLossDescriptor().get()


def labels() -> HostLabels:
    return HostLabels([(1, 2), (), (3,)], (5, 4, 5))


def probs(*dims: int) -> TensorDescriptor:
    return TensorDescriptor().set(np.float32, dims)


WRONG: list[tuple[Any, str]] = [
    (
        lambda: CtcLossDescriptor().set(max_label_length=7, version=CtcVersion.EX),
        "cudnnSetCTCLossDescriptorEx takes no max_label_length, 7 was given",
    ),
    (
        lambda: CtcLossDescriptor().set(normalization=NONE, version=CtcVersion.FIRST),
        "cudnnSetCTCLossDescriptor takes no normalization",
    ),
    (lambda: CtcLossDescriptor().set(max_label_length=256), "max_label_length is 256, outside 0 to 255"),
    (lambda: CtcLossDescriptor().set(max_label_length=-1), "max_label_length is -1, outside 0 to 255"),
    (lambda: HostLabels([(1,)], (5, 5)), "1 label sequences and 2 input lengths"),
    (lambda: HostLabels([(1, 0)], (5,)), r"labels\[1\] is 0, outside 1"),
    (lambda: HostLabels([(1,)], (0,)), r"input_lengths\[0\] is 0, outside 1"),
    (lambda: HostLabels([(1,), (1, 2, 3)], (2, 2)), "sample 1 has 3 labels in 2 time steps"),
    (lambda: HostLabels([(1,) * 256], (999,)), r"sample 0 has 256 labels in 999 time steps \(<= 255\)"),
    (lambda: run(probs(5, 2, 4)), "labels of 3 samples, probabilities of 2"),
    (lambda: run(probs(4, 3, 4)), "an input length of 5, probabilities of 4 steps"),
    (lambda: run(probs(5, 3, 3)), "label 3 in an alphabet of 3, the blank included"),
    (lambda: run(probs(5, 3, 4, 1)), r"dimensions \(T, N, A\), not \(5, 3, 4, 1\)"),
    (lambda: run(probs(5, 3, 4), buffer(0x20, 11)), "costs takes 12 bytes, the buffer holds 11"),
    (lambda: run(probs(5, 3, 4), None), "costs is missing, it takes 12 bytes"),
    (
        lambda: CtcLossDescriptor().workspace_size(HANDLE, probs(5, 2, 4), labels=labels()),
        "labels of 3 samples, probabilities of 2",
    ),
]


def run(described: Any, costs: Any = 0x20) -> None:
    CtcLossDescriptor().loss(HANDLE, described.at(0x10), labels(), costs, workspace=buffer(0x30))


@pytest.mark.parametrize(("mistake", "message"), WRONG, ids=[row[1][:50] for row in WRONG])
def test_mistakes_are_refused_with_their_numbers(mistake: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        mistake()


def test_data_of_another_kind_are_refused() -> None:
    with pytest.raises(TypeError, match="described by a RnnDataDescriptor, not a TensorDescriptor"):
        run(RnnDataDescriptor().set(np.float32, 4, (5, 5, 5)))


def test_what_only_cudnn_knows_is_in_its_words() -> None:
    with pytest.raises(NotSupported, match="cudnnSetCTCLossDescriptor_v9"):
        CtcLossDescriptor().set(np.float16)


def test_labels_lie_one_after_the_other() -> None:
    arrays = labels().labels, labels().label_lengths, labels().input_lengths
    assert [array.tolist() for array in arrays] == [[1, 2, 3], [2, 0, 1], [5, 4, 5]]
    assert {array.dtype for array in arrays} == {np.dtype(np.int32)}


def recorded(ctc: CtcLossDescriptor, **functions: Any) -> Any:
    made: Any = Recording(ctc.lib, functions)
    ctc.lib = made
    return made


@pytest.mark.parametrize("wanted", [False, True])
@pytest.mark.parametrize("algorithm", [DETERMINISTIC, OTHER])
def test_the_loss_passes_everything_on(wanted: bool, algorithm: CTCLossAlgo) -> None:
    ctc, p, g = CtcLossDescriptor(), probs(5, 3, 4), probs(5, 3, 4)
    lib = recorded(ctc, cudnnCTCLoss=None, cudnnCTCLoss_v8=None)
    host, device = labels(), DeviceLabels(buffer(0x60), 0x61, buffer(0x62))
    for each in (host, device):
        gradients = g.at(0x11) if wanted else None
        ctc.loss(HANDLE, p.at(0x10), each, buffer(0x20), gradients, workspace=buffer(0x30, 77), algorithm=algorithm)
    common = {
        "handle": HANDLE.handle,
        "probsDesc": p.handle,
        "probs": 0x10,
        "costs": 0x20,
        "gradientsDesc": g.handle if wanted else 0,
        "gradients": 0x11 if wanted else 0,
        "algo": algorithm,
        "ctcLossDesc": ctc.handle,
        "workspace": 0x30,
        "workSpaceSizeInBytes": 77,
    }
    assert lib.only("cudnnCTCLoss") == common | {
        "hostLabels": host.labels.ctypes.data,
        "hostLabelLengths": host.label_lengths.ctypes.data,
        "hostInputLengths": host.input_lengths.ctypes.data,
    }
    assert lib.only("cudnnCTCLoss_v8") == common | {"labels": 0x60, "labelLengths": 0x61, "inputLengths": 0x62}


@pytest.mark.parametrize("name", ["label_lengths", "input_lengths"])
def test_lengths_on_the_gpu_of_too_few_samples(name: str) -> None:
    ctc, p = CtcLossDescriptor(), probs(5, 3, 4)
    lib = recorded(ctc, cudnnCTCLoss_v8=None)
    for place, words in ((buffer(0x60, 11), "takes 12 bytes, the buffer holds 11"), (None, "is missing")):
        device = DeviceLabels(0x60, 0x61, 0x62)._replace(**{name: place})
        with pytest.raises(ValueError, match=f"ctc: {name} {words}"):
            ctc.loss(HANDLE, p.at(0x10), device, buffer(0x20), workspace=buffer(0x30, 77))
    assert not lib.calls


@pytest.mark.parametrize("wanted", [False, True])
def test_the_workspace_passes_everything_on(wanted: bool) -> None:
    ctc, p, g = CtcLossDescriptor(), probs(5, 3, 4), probs(5, 3, 4)
    old, new = "cudnnGetCTCLossWorkspaceSize", "cudnnGetCTCLossWorkspaceSize_v8"
    lib, host = recorded(ctc, **{old: writes(11), new: writes(22)}), labels()
    both = (p, g) if wanted else (p,)
    assert ctc.workspace_size(HANDLE, *both, labels=host, algorithm=OTHER) == 11
    assert ctc.workspace_size(HANDLE, *both, algorithm=OTHER) == 22
    common = {
        "handle": HANDLE.handle,
        "probsDesc": p.handle,
        "gradientsDesc": g.handle if wanted else 0,
        "algo": OTHER,
        "ctcLossDesc": ctc.handle,
    }
    found = {name: {k: v for k, v in lib.only(name).items() if k != "sizeInBytes"} for name in (old, new)}
    assert found[new] == common
    assert found[old] == common | {
        "labels": host.labels.ctypes.data,
        "labelLengths": host.label_lengths.ctypes.data,
        "inputLengths": host.input_lengths.ctypes.data,
    }
