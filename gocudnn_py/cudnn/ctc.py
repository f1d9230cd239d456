"""CTC loss descriptors: connectionist temporal classification, its costs and their gradients."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple, Self

import numpy as np

from gocudnn_py._abi.cudnn import CTCGradMode, CTCLossAlgo, DataType, LossNormalizationMode
from gocudnn_py.cudnn.descriptor import Descriptor, Operand, address, handle_of, int32s, pair_of, size_of, span
from gocudnn_py.cudnn.handle import Handle
from gocudnn_py.cudnn.place import FLOAT_SIZE, INT_SIZE, checked
from gocudnn_py.cudnn.tensor import TensorDescriptor
from gocudnn_py.dtypes import DType, cudnn_dtype

MAX_LABELS = 255  # in a sequence


class CtcVersion(StrEnum):
    """Which of cuDNN's functions set and get a descriptor, by the end of their names."""

    FIRST = ""
    EX = "Ex"
    V8 = "_v8"
    V9 = "_v9"


FIELDS = {
    CtcVersion.FIRST: (),
    CtcVersion.EX: ("normalization", "gradient_mode"),
    CtcVersion.V8: ("normalization", "gradient_mode", "max_label_length"),
    CtcVersion.V9: ("normalization", "gradient_mode", "max_label_length"),
}
DEFAULTS = {
    "normalization": LossNormalizationMode.SOFTMAX,
    "gradient_mode": CTCGradMode.ZERO_OOB_GRADIENTS,
    "max_label_length": MAX_LABELS,
}


@dataclass(frozen=True, slots=True)
class CtcLossSpec:
    """What a CTC loss descriptor holds; None is what the version that was asked does not tell."""

    compute: DataType
    normalization: LossNormalizationMode | None = None
    gradient_mode: CTCGradMode | None = None
    max_label_length: int | None = None


class HostLabels:
    """The label sequences of a batch and the time steps of its samples, in the memory of the host.

    Labels count from 1, for 0 is the blank; 255 a sequence at most, and not more than there are time steps: cuDNN
    would read outside its memory. `labels` (of all samples, one after the other), `label_lengths` and `input_lengths`
    are int32 arrays, to be uploaded for `DeviceLabels`. Raises ValueError with the numbers.
    """

    def __init__(self, labels: Sequence[Sequence[int]], input_lengths: Sequence[int]) -> None:
        if len(labels) != len(input_lengths):
            raise ValueError(f"ctc: {len(labels)} label sequences and {len(input_lengths)} input lengths")
        steps = int32s("input_lengths", input_lengths, least=1)
        lengths = tuple(map(len, labels))
        for sample, (length, most) in enumerate(zip(lengths, steps, strict=True)):
            if length > min(most, MAX_LABELS):
                raise ValueError(f"ctc: sample {sample} has {length} labels in {most} time steps (<= {MAX_LABELS})")
        flat = int32s("labels", [label for sequence in labels for label in sequence], least=1)
        self.labels, self.label_lengths, self.input_lengths = (np.array(a, np.int32) for a in (flat, lengths, steps))

    def check(self, dims: tuple[int, int, int]) -> None:
        """Raise ValueError with the numbers unless they fit probabilities of these dimensions (T, N, A)."""
        steps, batch, alphabet = dims
        if len(self.label_lengths) != batch:
            raise ValueError(f"ctc: labels of {len(self.label_lengths)} samples, probabilities of {batch}")
        if self.input_lengths.max() > steps:
            raise ValueError(f"ctc: an input length of {self.input_lengths.max()}, probabilities of {steps} steps")
        if self.labels.max(initial=0) >= alphabet:
            raise ValueError(f"ctc: label {self.labels.max()} in an alphabet of {alphabet}, the blank included")

    @property
    def addresses(self) -> tuple[int, int, int]:
        """Where the three arrays lie."""
        return self.labels.ctypes.data, self.label_lengths.ctypes.data, self.input_lengths.ctypes.data


class DeviceLabels(NamedTuple):
    """The same three int32 arrays on the GPU, buffers or addresses; nobody checks what numbers they hold."""

    labels: Any
    label_lengths: Any
    input_lengths: Any

    def for_batch(self, batch: int) -> tuple[int, int, int]:
        """Where the three arrays lie. Raises ValueError when lengths of fewer samples fit into their buffers."""
        lengths = zip(self._fields[1:], self[1:], strict=True)
        label_lengths, input_lengths = (checked(f"ctc: {name}", place, INT_SIZE * batch) for name, place in lengths)
        return address(self.labels), label_lengths, input_lengths


class CtcLossDescriptor(Descriptor):
    """The CTC loss of probabilities (T, N, A): time steps, batch, alphabet with the blank as 0; float32 only.

    cudnnCreateCTCLossDescriptor, cudnnDestroyCTCLossDescriptor.
    """

    kind = "CTCLoss"

    def __init__(self) -> None:
        super().__init__()
        self.set()

    def set(
        self,
        compute: DType = np.float32,
        *,
        normalization: LossNormalizationMode | None = None,
        gradient_mode: CTCGradMode | None = None,
        max_label_length: int | None = None,
        version: CtcVersion = CtcVersion.V9,
    ) -> Self:
        """Describe the loss (cudnnSetCTCLossDescriptor_v9).

        With SOFTMAX, the default, the input is activations that cuDNN normalises, with NONE it is probabilities; the
        gradient is at the input (with NONE, cuDNN 9.19 writes p, not 0, where no path goes through a symbol).
        ZERO_OOB_GRADIENTS, the default, makes the gradient zero of a sample whose labels do not fit into its time
        steps, SKIP_OOB_GRADIENTS leaves it unwritten; the older versions call them NOT_PROPAGATE_NAN and PROPAGATE_NAN.
        `max_label_length`, 255 unless given, is for `DeviceLabels`. Other versions: cudnnSetCTCLossDescriptor_v8;
        cudnnSetCTCLossDescriptorEx, which takes no length; and cudnnSetCTCLossDescriptor, which takes no modes and
        means NONE. What they do not take raises ValueError.
        """
        given = {
            "normalization": normalization,
            "gradient_mode": gradient_mode,
            "max_label_length": max_label_length,
        }
        values = DEFAULTS | {name: value for name, value in given.items() if value is not None}
        for name, value in given.items():
            if value is not None and name not in FIELDS[version]:
                raise ValueError(f"ctc: cudnnSetCTCLossDescriptor{version} takes no {name}, {value} was given")
        if not 0 <= values["max_label_length"] <= MAX_LABELS:
            raise ValueError(f"ctc: max_label_length is {max_label_length}, outside 0 to {MAX_LABELS}")
        function = getattr(self.lib, f"cudnnSetCTCLossDescriptor{version}")
        function(self.handle, cudnn_dtype(compute), *(values[name] for name in FIELDS[version]))
        return self

    def get(self, version: CtcVersion = CtcVersion.V9) -> CtcLossSpec:
        """Read back what a version tells (cudnnGetCTCLossDescriptor_v9).

        Others: cudnnGetCTCLossDescriptor_v8, cudnnGetCTCLossDescriptorEx, cudnnGetCTCLossDescriptor.
        """
        cells = [ctypes.c_int() for _ in ("compute", *FIELDS[version])]
        function = getattr(self.lib, f"cudnnGetCTCLossDescriptor{version}")
        function(self.handle, *(ctypes.byref(cell) for cell in cells))
        compute, *values = (cell.value for cell in cells)
        kinds = LossNormalizationMode, CTCGradMode, int
        told = (kind(value) for kind, value in zip(kinds, values, strict=False))
        return CtcLossSpec(DataType(compute), *told)

    def workspace_size(
        self,
        handle: Handle,
        probs: TensorDescriptor,
        gradients: TensorDescriptor | None = None,
        *,
        labels: HostLabels | None = None,
        algorithm: CTCLossAlgo = CTCLossAlgo.DETERMINISTIC,
    ) -> int:
        """Bytes of workspace of `loss`, less without gradients, for labels on the GPU or for these.

        cudnnGetCTCLossWorkspaceSize_v8, with labels cudnnGetCTCLossWorkspaceSize.
        """
        data = probs.handle, handle_of(gradients)
        if labels is None:
            how = handle.handle, algorithm, self.handle
            return size_of(self.lib.cudnnGetCTCLossWorkspaceSize_v8, *how, *data)
        labels.check(_dims(probs))
        query = self.lib.cudnnGetCTCLossWorkspaceSize
        return size_of(query, handle.handle, *data, *labels.addresses, algorithm, self.handle)

    def loss(
        self,
        handle: Handle,
        probs: Operand,
        labels: HostLabels | DeviceLabels,
        costs: Any,
        gradients: Operand | None = None,
        *,
        workspace: Any,
        algorithm: CTCLossAlgo = CTCLossAlgo.DETERMINISTIC,
    ) -> None:
        """The costs (N,) and, if wanted, their gradients (T, N, A), perhaps unwritten after a sample's last step.

        cudnnCTCLoss for labels on the host, cudnnCTCLoss_v8 for labels on the GPU. NON_DETERMINISTIC may give other
        last digits on each run, and NaN for activations that are far apart.
        """
        dims, (pointer, nbytes) = _dims(probs.descriptor), span(workspace)
        results = checked("ctc: costs", costs, FLOAT_SIZE * dims[1]), *pair_of(gradients)
        if isinstance(labels, HostLabels):
            labels.check(dims)
            data = *probs.pair, *labels.addresses, *results
            self.lib.cudnnCTCLoss(handle.handle, *data, algorithm, self.handle, pointer, nbytes)
        else:
            data = *probs.pair, *labels.for_batch(dims[1]), *results
            self.lib.cudnnCTCLoss_v8(handle.handle, algorithm, self.handle, *data, nbytes, pointer)

    def _describe(self) -> str:
        s = self.get()
        modes = [mode.name for mode in (s.compute, s.normalization, s.gradient_mode) if mode is not None]
        return f"{', '.join(modes)}, max_label_length={s.max_label_length}"


def _dims(probs: Descriptor) -> tuple[int, int, int]:
    if not isinstance(probs, TensorDescriptor):
        raise TypeError(f"ctc: probabilities are described by a {type(probs).__name__}, not a TensorDescriptor")
    dims = probs.get().dims
    if len(dims) != 3:
        raise ValueError(f"ctc: probabilities have dimensions (T, N, A), not {dims}")
    return dims[0], dims[1], dims[2]
