"""Where the weights of an RNN lie in its weight space: names for cuDNN's numbers of linear layers."""

from __future__ import annotations

import ctypes
import itertools
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from gocudnn_py._abi.cudnn import DataType, RNNMode
from gocudnn_py.cudnn.tensor import TensorDescriptor
from gocudnn_py.dtypes import numpy_dtype

if TYPE_CHECKING:
    from gocudnn_py.cudnn.handle import Handle
    from gocudnn_py.cudnn.rnn import RnnDescriptor
    from gocudnn_py.cudnn.rnn_spec import RnnSpec

GATES = {
    RNNMode.RNN_RELU: ("hidden",),
    RNNMode.RNN_TANH: ("hidden",),
    RNNMode.LSTM: ("input", "forget", "cell", "output"),
    RNNMode.GRU: ("reset", "update", "new"),
}
PARTS = ("input", "recurrent")
PROJECTION = 8
ANY_ADDRESS = 1 << 20  # cuDNN only adds to it, but wants none that is NULL


class Region(NamedTuple):
    """A matrix (rows, columns) or bias (rows,), packed, `offset` bytes into the weight space."""

    offset: int
    shape: tuple[int, ...]
    dtype: DataType

    @property
    def nbytes(self) -> int:
        """The bytes it takes."""
        return math.prod(self.shape) * numpy_dtype(self.dtype).itemsize


class RnnWeight(NamedTuple):
    """The matrix and bias of a gate; None where the RNN has none."""

    matrix: Region | None
    bias: Region | None


class Place(NamedTuple):
    """A gate of a layer as cuDNN counts them, and its name."""

    name: str
    pseudo_layer: int
    linear_layer: int


def linear_layer(mode: RNNMode, part: str, gate: str | None = None) -> int:
    """The number that cuDNN gives to the weights of a part (input, recurrent, projection) and gate.

    The gate may be left out where there is but one. Raises ValueError with the names there are.
    """
    gates = GATES[mode]
    if part == "projection" and gate is None and mode is RNNMode.LSTM:
        return PROJECTION
    if gate is None and len(gates) == 1:
        gate = gates[0]
    if part not in PARTS or gate not in gates:
        raise ValueError(
            f"rnn: {mode.name} has no {part} weights of gate {gate}; parts are {', '.join(PARTS)}, "
            f"gates {', '.join(gates)}; an LSTM also has projection, of no gate"
        )
    return PARTS.index(part) * len(gates) + gates.index(gate)


def places(spec: RnnSpec) -> Iterator[Place]:
    """Every gate of every layer, in cuDNN's order."""
    for pseudo_layer in range(spec.layers * spec.directions):
        layer, reverse = divmod(pseudo_layer, spec.directions)
        prefix = f"layer{layer}{'.reverse' * reverse}"
        for part, gate in itertools.product(PARTS, GATES[spec.mode]):
            yield Place(f"{prefix}.{part}.{gate}", pseudo_layer, linear_layer(spec.mode, part, gate))
        if spec.projection_size != spec.hidden_size:
            yield Place(f"{prefix}.projection", pseudo_layer, PROJECTION)


def read_weight(rnn: RnnDescriptor, handle: Handle, size: int, pseudo_layer: int, linear: int) -> RnnWeight:
    """Ask cuDNN where a gate's weights lie in a weight space of `size` bytes."""
    with TensorDescriptor() as matrix, TensorDescriptor() as bias:
        at_matrix, at_bias = ctypes.c_void_p(), ctypes.c_void_p()
        out = matrix.handle, ctypes.byref(at_matrix), bias.handle, ctypes.byref(at_bias)
        rnn.lib.cudnnGetRNNWeightParams(handle.handle, rnn.handle, pseudo_layer, size, ANY_ADDRESS, linear, *out)
        found = _region(matrix, at_matrix.value, 2)
        return RnnWeight(found, None if linear == PROJECTION else _region(bias, at_bias.value, 1))


def _region(descriptor: TensorDescriptor, address: int | None, rank: int) -> Region | None:
    spec = descriptor.get()  # (1, rows, columns), the bias with one column; no dimensions of what there is not
    return Region(address - ANY_ADDRESS, spec.dims[1 : 1 + rank], spec.dtype) if address and spec.dims else None
