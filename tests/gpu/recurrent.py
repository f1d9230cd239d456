"""A recurrent network as the oracle computes it and as the card does, for tests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gocudnn_py._abi.cudnn import (
    DirectionMode,
    ForwardMode,
    RNNBiasMode,
    RNNClipMode,
    RNNDataLayout,
    RNNInputMode,
    RNNMode,
)
from gocudnn_py.cuda import DeviceBuffer
from gocudnn_py.cudnn import Handle
from gocudnn_py.cudnn.descriptor import Operand
from gocudnn_py.cudnn.rnn import RnnDescriptor
from gocudnn_py.cudnn.rnn_data import RnnDataDescriptor
from tests.gpu.card import Array, Card
from tests.oracles import rnn as oracle
from tests.oracles.rnn import Network

PACKED, TIME, BATCH = (
    RNNDataLayout[name] for name in ("SEQ_MAJOR_PACKED", "SEQ_MAJOR_UNPACKED", "BATCH_MAJOR_UNPACKED")
)
MODES = {"relu": RNNMode.RNN_RELU, "tanh": RNNMode.RNN_TANH, "lstm": RNNMode.LSTM, "gru": RNNMode.GRU}
BIASES = {
    "none": RNNBiasMode.NO_BIAS,
    "input": RNNBiasMode.SINGLE_INP_BIAS,
    "recurrent": RNNBiasMode.SINGLE_REC_BIAS,
    "double": RNNBiasMode.DOUBLE_BIAS,
}
STEPS, FILL = 5, -7.0


@dataclass
class Problem:
    """A network with weights, inputs and gradients of its outputs, of numbers that the type holds exactly."""

    net: Network
    layout: RNNDataLayout
    lengths: tuple[int, ...]
    dtype: Any
    seed: int = 17

    def __post_init__(self) -> None:
        net, batch, random = self.net, len(self.lengths), np.random.default_rng(self.seed)

        def draw(*shape: int) -> Array:
            return random.standard_normal(shape).astype(self.dtype).astype(np.float64)

        self.cells = oracle.random_cells(net, random)
        for _, array in oracle.named(net, self.cells):
            array[...] = array.astype(self.dtype)
        self.x, self.dy = draw(STEPS, batch, net.inputs), draw(STEPS, batch, net.output * net.directions)
        hidden, cell = net.state_shapes(batch)
        self.hx, self.dhy = draw(*hidden), draw(*hidden)
        self.cx, self.dcy = (draw(*cell) * (net.mode == "lstm") for _ in range(2))
        self.running = np.arange(STEPS)[:, None] < np.array(self.lengths)

    def forward(self) -> tuple[dict[str, Array], list[oracle.Pass]]:
        y, hy, cy, passes = oracle.forward(self.net, self.cells, self.x, self.lengths, self.hx, self.cx)
        return self._with_cells({"y": y[self.running], "hy": hy}, cy=cy), passes

    def backward(self, passes: list[oracle.Pass]) -> dict[str, Array]:
        dx, dhx, dcx, grads = oracle.backward(self.net, passes, self.dy, self.dhy, self.dcy)
        return self._with_cells({"dx": dx[self.running], "dhx": dhx}, dcx=dcx) | dict(oracle.named(self.net, grads))

    def _with_cells(self, found: dict[str, Array], **cells: Array) -> dict[str, Array]:
        return found | (cells if self.net.mode == "lstm" else {})

    def tolerance(self, right: Array) -> float:
        """Every number hangs on a chain of cells, each of which rounds sums over its inputs, states and batch."""
        terms = self.net.inputs + self.net.output + len(self.lengths)
        chain = self.net.layers * STEPS * terms
        return 4 * chain * float(np.finfo(self.dtype).eps) / 2 * max(1.0, float(np.abs(right).max()))


def check(problem: Problem, found: dict[str, Array], right: dict[str, Array]) -> None:
    assert found.keys() == right.keys()
    for name, array in right.items():
        assert found[name].shape == array.shape, name
        error = np.abs(found[name] - array)
        assert (error <= problem.tolerance(array)).all(), f"{name}: {error.max()}, {problem.tolerance(array)} allowed"


class OnCard:
    """A problem on the card: descriptors, weights and spaces."""

    def __init__(self, problem: Problem, card: Card, handle: Handle, **how: Any) -> None:
        self.problem, self.card, self.handle = problem, card, handle
        net, packed = problem.net, problem.layout is PACKED
        self.rnn = RnnDescriptor().set(
            MODES[net.mode],
            net.inputs,
            net.hidden,
            net.layers,
            projection_size=net.projection,
            direction=DirectionMode.BIDIRECTIONAL if net.bidirectional else DirectionMode.UNIDIRECTIONAL,
            bias=BIASES[net.bias],
            input_mode=RNNInputMode.SKIP_INPUT if net.skip else RNNInputMode.LINEAR_INPUT,
            dtype=problem.dtype,
            padded=not packed,
            **how,
        )
        if net.clip:
            self.rnn.set_clip(RNNClipMode.MINMAX, *net.clip)
        self.x, self.y = self.sequences(net.inputs), self.sequences(net.output * net.directions)
        self.regions = self.rnn.weights(handle)
        self.weights = self.space(self.rnn.weight_size(handle))
        for name, array in oracle.named(net, problem.cells):
            assert self.regions[name].shape == array.shape, name
            self.weights.upload(np.ascontiguousarray(array, problem.dtype), self.regions[name].offset)

    def sequences(self, size: int) -> RnnDataDescriptor:
        how: Any = {"layout": self.problem.layout, "max_length": STEPS, "fill": FILL}
        return RnnDataDescriptor().set(self.problem.dtype, size, self.problem.lengths, **how)

    def space(self, nbytes: int) -> DeviceBuffer:
        buffer = self.card.scratch(nbytes)
        buffer.fill(0)
        return buffer

    def row(self, array: Array) -> DeviceBuffer:
        return self.card.row(array, self.problem.dtype)

    def read(self, buffer: DeviceBuffer, shape: tuple[int, ...]) -> Array:
        return self.card.read(buffer, shape, self.problem.dtype)

    def put(self, data: RnnDataDescriptor, array: Array | None = None) -> Operand:
        """Sequences (T, N, size) in their layout; NaN until written when there are none."""
        if array is None:
            return data.at(self.row(np.full(data.get().shape, np.nan)))
        if self.problem.layout is PACKED:
            return data.at(self.row(array[self.problem.running]))
        return data.at(self.row(array if self.problem.layout is TIME else array.swapaxes(0, 1)))

    def get(self, operand: Operand, filled: bool = False) -> Array:
        """What lies at all steps of sequences, in the order of time; the padding is FILL if said so."""
        found = self.read(operand.place, operand.descriptor.get().shape)  # type: ignore[attr-defined]
        if self.problem.layout is PACKED:
            return found
        found = found if self.problem.layout is TIME else found.swapaxes(0, 1)
        if filled:
            assert (found[~self.problem.running] == FILL).all()
        return found[self.problem.running]

    def states(self, **arrays: Array) -> dict[str, Any]:
        """Buffers by name, of cells for an LSTM only."""
        wanted = {name: array for name, array in arrays.items() if self.problem.net.mode == "lstm" or "h" in name}
        return {name: self.row(array) for name, array in wanted.items()}

    def forward(self, *, training: bool, lengths: Any = None) -> dict[str, Array]:
        p, mode = self.problem, ForwardMode.TRAINING if training else ForwardMode.INFERENCE
        sizes = self.rnn.temp_sizes(self.handle, self.x, mode)
        self.workspace = self.space(sizes.workspace)
        self.reserve = self.space(sizes.reserve) if training else None
        self.on_x, self.on_y = self.put(self.x, p.x), self.put(self.y)
        self.before = self.states(hx=p.hx, cx=p.cx)
        after = self.states(hy=np.full_like(p.hx, np.nan), cy=np.full_like(p.cx, np.nan))
        spaces: Any = {"workspace": self.workspace, "reserve": self.reserve, "lengths": lengths}
        self.rnn.forward(self.handle, self.on_x, self.on_y, self.weights, **spaces, **self.before, **after)
        return {"y": self.get(self.on_y, filled=True)} | self.read_states(after)

    def backward(self, *, start: float = 0.0) -> dict[str, Array]:
        """All gradients after `forward`; those of the weights are added to `start`."""
        p = self.problem
        spaces: Any = {"workspace": self.workspace, "reserve": self.reserve}
        grads = self.states(dhy=p.dhy, dcy=p.dcy)
        results = self.states(dhx=np.full_like(p.hx, np.nan), dcx=np.full_like(p.cx, np.nan))
        on_dy, on_dx = self.put(self.y, p.dy), self.put(self.x)
        self.rnn.backward_data(
            self.handle, self.on_y, on_dy, on_dx, self.weights, **spaces, **self.before, **grads, **results
        )
        dw = self.row(np.full(self.weights.nbytes // np.dtype(p.dtype).itemsize, start))
        self.rnn.backward_weights(self.handle, self.on_x, self.on_y, dw, hx=self.before["hx"], **spaces)
        return {"dx": self.get(on_dx)} | self.read_states(results) | self.read_weights(dw)

    def read_states(self, buffers: dict[str, Any]) -> dict[str, Array]:
        p = self.problem
        shapes = {"h": p.hx.shape, "c": p.cx.shape}
        return {name: self.read(buffer, shapes[name.strip("dxy")]) for name, buffer in buffers.items()}

    def read_weights(self, buffer: DeviceBuffer) -> dict[str, Array]:
        size = np.dtype(self.problem.dtype).itemsize
        flat, found = self.read(buffer, (buffer.nbytes // size,)), {}
        for name, region in self.regions.items():
            first = region.offset // size
            found[name] = flat[first : first + int(np.prod(region.shape))].reshape(region.shape)
        return found
