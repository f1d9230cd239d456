"""The data and states that an RNN runs over, checked and as cuDNN takes them."""

from __future__ import annotations

from typing import Any

from gocudnn_py._abi.cudnn import RNNMode
from gocudnn_py.cudnn.descriptor import Operand
from gocudnn_py.cudnn.place import INT_SIZE, checked, within
from gocudnn_py.cudnn.rnn_data import RnnDataDescriptor
from gocudnn_py.cudnn.rnn_spec import RnnSpec
from gocudnn_py.cudnn.tensor import TensorDescriptor


def sequences(name: str, operand: Operand) -> RnnDataDescriptor:
    """The descriptor of RNN data. Raises TypeError for another one."""
    if not isinstance(operand.descriptor, RnnDataDescriptor):
        raise TypeError(f"rnn: {name} is described by a {type(operand.descriptor).__name__}, not an RnnDataDescriptor")
    return operand.descriptor


def vectors(name: str, operand: Operand, size: int) -> tuple[int, int]:
    """Handle and address of sequences of vectors of a size. Raises TypeError or ValueError with the numbers."""
    described = sequences(name, operand)
    if described.vector_size != size:
        raise ValueError(f"rnn: {name} has vectors of {described.vector_size}, the network's are of {size}")
    return described.handle, checked(f"rnn: {name}", operand.place, described.size_in_bytes)


def beside(name: str, operand: Operand, other_name: str, other: Operand) -> int:
    """The address of sequences that cuDNN takes to lie as others do. Raises ValueError when they do not."""
    mine, theirs = sequences(name, operand), sequences(other_name, other)
    if not mine.lies_as(theirs):
        raise ValueError(f"rnn: {name} has to lie as {other_name} does, {mine!r} is not like {theirs!r}")
    return checked(f"rnn: {name}", operand.place, mine.size_in_bytes)


class RnnStates:
    """The lengths, hidden and cell states of a batch, each described once for all that have its shape."""

    def __init__(self, spec: RnnSpec, batch: int) -> None:
        self.batch, self.mode, shapes = batch, spec.mode, spec.state_shapes(batch)
        self._hidden = TensorDescriptor().set(spec.dtype, shapes.hidden)
        self._cell = TensorDescriptor().set(spec.dtype, shapes.cell)
        self._sizes = self._hidden.size_in_bytes, self._cell.size_in_bytes

    def lengths(self, place: Any) -> int:
        """The address of its lengths on the GPU, 0 of None. Raises ValueError for a buffer too small."""
        return within("rnn: lengths", place, INT_SIZE * self.batch)

    def hidden(self, **places: Any) -> tuple[int, ...]:
        """The descriptor's handle and the addresses, 0 of None. Raises ValueError for a buffer too small."""
        return self._hidden.handle, *_addresses(places, self._sizes[0])

    def cell(self, **places: Any) -> tuple[int, ...]:
        """The same of cell states, zeros but for an LSTM. Raises ValueError when others are given any."""
        if self.mode is RNNMode.LSTM:
            return self._cell.handle, *_addresses(places, self._sizes[1])
        given = [name for name, place in places.items() if place is not None]
        if given:
            raise ValueError(f"rnn: {self.mode.name} has no cell states, {', '.join(given)} were given")
        return (0,) * (1 + len(places))


def _addresses(places: dict[str, Any], nbytes: int) -> list[int]:
    return [0 if place is None else checked(f"rnn: {name}", place, nbytes) for name, place in places.items()]
