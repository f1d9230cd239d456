"""What an RNN descriptor holds, and the shapes that follow from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from gocudnn_py._abi.cudnn import (
    DataType,
    DirectionMode,
    MathType,
    NanPropagation,
    RNNAlgo,
    RNNBiasMode,
    RNNClipMode,
    RNNInputMode,
    RNNMode,
)


class RnnStateShapes(NamedTuple):
    """The shapes of hx, hy and of cx, cy: (layers x directions, batch, size)."""

    hidden: tuple[int, int, int]
    cell: tuple[int, int, int]


class RnnTempSizes(NamedTuple):
    """Bytes of workspace, and of the reserve space between forward and backward."""

    workspace: int
    reserve: int


@dataclass(frozen=True, slots=True)
class RnnClip:
    """How the cells of an LSTM are clipped; `nan` only where it was asked for."""

    mode: RNNClipMode
    low: float
    high: float
    nan: NanPropagation | None = None


@dataclass(frozen=True, slots=True)
class RnnSpec:
    """What an RNN descriptor holds; `projection_size` is hidden_size without projection, `dropout` an address."""

    mode: RNNMode
    input_size: int
    hidden_size: int
    layers: int
    projection_size: int
    direction: DirectionMode
    bias: RNNBiasMode
    input_mode: RNNInputMode
    dtype: DataType
    compute: DataType
    math: MathType
    algorithm: RNNAlgo
    padded: bool
    dropout: int | None

    @property
    def directions(self) -> int:
        """1, or 2 of a bidirectional network."""
        return 2 if self.direction is DirectionMode.BIDIRECTIONAL else 1

    @property
    def output_size(self) -> int:
        """The size of y's vectors, of both directions one after the other."""
        return self.projection_size * self.directions

    def state_shapes(self, batch: int) -> RnnStateShapes:
        """The shapes of the states of a batch; those of layer i are i, or 2i and, in reverse, 2i + 1."""
        outer = self.layers * self.directions, batch
        return RnnStateShapes((*outer, self.projection_size), (*outer, self.hidden_size))


def check_sizes(mode: RNNMode, input_mode: RNNInputMode, inputs: int, hidden: int, projection: int) -> None:
    """Raise ValueError with the numbers for sizes that do not go together."""
    if projection > hidden:
        raise ValueError(f"rnn: projection_size={projection} is larger than hidden_size={hidden}")
    if projection < hidden and mode != RNNMode.LSTM:
        raise ValueError(f"rnn: only an LSTM projects, not {RNNMode(mode).name} {hidden} to {projection}")
    if input_mode == RNNInputMode.SKIP_INPUT and inputs != hidden:
        raise ValueError(f"rnn: SKIP_INPUT needs input_size={inputs} and hidden_size={hidden} to be the same")


def sums_of(dtype: DataType) -> DataType:
    """What products of a type are summed in."""
    return DataType.DOUBLE if dtype is DataType.DOUBLE else DataType.FLOAT
