"""An attention as the oracle computes it and as the card does, for tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gocudnn_py._abi.cudnn import MathType, MultiHeadAttnWeightKind, SeqDataAxis, WgradMode
from gocudnn_py.cuda import DeviceBuffer
from gocudnn_py.cudnn import Handle
from gocudnn_py.cudnn.attention import AttentionDescriptor, AttentionSpace, AttentionWindow
from gocudnn_py.cudnn.descriptor import Operand
from gocudnn_py.cudnn.seqdata import AXES, SeqDataDescriptor
from tests.gpu.card import Array, Card
from tests.oracles import attention as oracle

KIND = MultiHeadAttnWeightKind
KINDS = {
    "q": KIND.Q_WEIGHTS, "k": KIND.K_WEIGHTS, "v": KIND.V_WEIGHTS, "o": KIND.O_WEIGHTS,
    "qb": KIND.Q_BIASES, "kb": KIND.K_BIASES, "vb": KIND.V_BIASES, "ob": KIND.O_BIASES,
}  # fmt: skip
Q_STEPS, K_STEPS = 4, 6
Q_LENGTHS, K_LENGTHS = ((4, 2), (3, 4), (1, 3)), (6, 4, 5)  # by batch, and by beam for the queries


@dataclass
class Problem:
    """Three batches of queries of at most 4 steps and keys of 6, of numbers that the type holds exactly."""

    dtype: Any = np.float64
    heads: int = 2
    vectors: tuple[int, int, int] = (5, 6, 7)
    projections: tuple[int, int, int, int] = (4, 4, 3, 8)
    biases: bool = False
    beam: int = 1
    axes: Sequence[SeqDataAxis] = AXES
    window: AttentionWindow | None = None
    residual: bool = False
    scale: float = 0.6

    def __post_init__(self) -> None:
        self._random = np.random.default_rng(23)
        self.q_lengths, self.k_lengths = np.array(Q_LENGTHS)[:, : self.beam], np.array(K_LENGTHS)[:, None]
        self.q_alive = np.arange(Q_STEPS) < self.q_lengths[..., None]
        self.k_alive = np.arange(K_STEPS) < self.k_lengths[..., None]
        queries, keys, values = self.vectors
        self.q, self.k, self.v = (
            self._data(self.q_alive, queries),
            self._data(self.k_alive, keys),
            self._data(self.k_alive, values),
        )
        self.weights = {name: self._draw(*shape) for name, shape in self._shapes().items()}
        self.output = self.projections[3] or self.heads * (self.projections[2] or values)
        self.dout = self._data(self.q_alive, self.output)
        self.added = self._data(self.q_alive, self.output) if self.residual else None
        seen = self.window or AttentionWindow([0] * Q_STEPS, [K_STEPS] * Q_STEPS)
        first, end = np.array(seen.first), np.array(seen.end)
        self.mask = oracle.visible(self.q_lengths, self.k_lengths, first, end, K_STEPS)

    def _draw(self, *shape: int) -> Array:
        drawn: Array = self._random.standard_normal(shape).astype(self.dtype).astype(np.float64)
        return drawn

    def _data(self, alive: Array, length: int) -> Array:
        """Sequences (batch, beam, time, vector), 0 beyond their lengths."""
        return self._draw(*alive.shape, length) * alive[..., None]

    def _shapes(self) -> dict[str, tuple[int, ...]]:
        before = dict(zip("qkvo", (*self.vectors, self.projections[2] or self.vectors[2]), strict=True))
        after = {name: length for name, length in zip("qkvo", self.projections, strict=True) if length}
        shapes: dict[str, tuple[int, ...]] = {name: (self.heads, after[name], before[name]) for name in after}
        if self.biases:
            shapes |= {f"{name}b": (length,) if name == "o" else (self.heads, length) for name, length in after.items()}
        return shapes

    def forward(self) -> tuple[Array, oracle.Saved]:
        data = self.q, self.k, self.v
        return oracle.forward(*data, self.weights, self.heads, self.mask, self.scale, self.added)

    def backward(self, saved: oracle.Saved) -> tuple[dict[str, Array], dict[str, Array]]:
        return oracle.backward(self.dout, self.q, self.k, self.v, self.weights, saved, self.scale)

    def check(self, found: Array, right: Array, alive: Array | None = None) -> None:
        """Compare, data in their sequences alone. Every number hangs on a chain of sums, which all round.

        The sums of float16 data are of float32: there each of 16 roundings of the type counts, and no sum.
        """
        if alive is not None:
            found, right = found[alive], right[alive]
        terms = sum(self.vectors) + sum(self.projections) + K_STEPS + self.q_alive.size
        chain = 16 if self.dtype == np.float16 else 4 * terms
        allowed = chain * float(np.finfo(self.dtype).eps) / 2 * max(1.0, float(np.abs(right).max()))
        error = np.abs(found - right).max()
        assert error <= allowed, f"{error}, {allowed} allowed"


class OnCard:
    """A problem on the card: descriptors, data, weights and spaces."""

    def __init__(self, problem: Problem, card: Card, handle: Handle, *, training: bool = True, **how: Any) -> None:
        self.problem, self.card, self.handle = problem, card, handle
        half = problem.dtype == np.float16
        kinds = {"math": MathType.DEFAULT_MATH, "compute": np.float32 if half else problem.dtype}
        self.attention = AttentionDescriptor().set(
            problem.heads, problem.vectors, problem.projections, (Q_STEPS, K_STEPS), batch=len(K_LENGTHS),
            beam=problem.beam, scale=problem.scale, dtype=problem.dtype, biases=problem.biases, **(kinds | how),
        )  # fmt: skip
        self.q, self.k, self.v = (
            self.put(x, problem.q_lengths if x is problem.q else problem.k_lengths) for x in self.data
        )
        self.out = self.put(np.full(problem.dout.shape, np.nan), problem.q_lengths)
        self.residual = None if problem.added is None else self.put(problem.added, problem.q_lengths).place
        self.lengths = tuple(card.row(each.ravel(), np.int32) for each in (problem.q_lengths, problem.k_lengths))
        sizes = self.attention.sizes(handle, training=training)
        self.slots = self.attention.weights(handle)
        assert {KINDS[name] for name in problem.weights} == self.slots.keys()
        weights = self.weight_space(problem.weights, sizes.weights) if sizes.weights else None
        self.space = AttentionSpace(
            weights, card.scratch(sizes.workspace), card.scratch(sizes.reserve) if training else None
        )

    @property
    def data(self) -> tuple[Array, Array, Array]:
        return self.problem.q, self.problem.k, self.problem.v

    def put(self, x: Array, lengths: Array) -> Operand:
        """Sequences (batch, beam, time, vector) in the layout of the problem."""
        by_axis, problem = x.transpose(2, 0, 1, 3), self.problem
        made = SeqDataDescriptor().set(problem.dtype, by_axis.shape, problem.axes, lengths=lengths.ravel().tolist())
        return made.at(self.card.row(by_axis.transpose(problem.axes), problem.dtype))

    def get(self, described: Operand, place: Any = None) -> Array:
        """Sequences (batch, beam, time, vector) that lie as described, there or at another place."""
        descriptor: Any = described.descriptor
        found = self.card.read(place or described.place, descriptor.shape, self.problem.dtype)
        return found.transpose(np.argsort(self.problem.axes)).transpose(1, 2, 0, 3)

    def weight_space(self, weights: dict[str, Array], nbytes: int) -> DeviceBuffer:
        host = np.zeros(nbytes, np.uint8)
        for name, values in weights.items():
            view = np.squeeze(self.slots[KINDS[name]].view(host))
            assert view.shape == np.squeeze(values).shape, name
            view[...] = np.squeeze(values)
        buffer = self.card.scratch(nbytes)
        buffer.upload(host)
        return buffer

    def forward(self, step: int | None = None) -> Array:
        how: dict[str, Any] = {"space": self.space, "lengths": self.lengths, "window": self.problem.window}
        data = self.q, self.k, self.v, self.out
        self.attention.forward(self.handle, *data, **how, residual=self.residual, step=step)
        return self.get(self.out)

    def backward_data(self) -> dict[str, Array]:
        self.dout = self.put(self.problem.dout, self.problem.q_lengths)
        rooms = {
            name: self.card.row(np.full(x.shape, np.nan), self.problem.dtype)
            for name, x in zip("qkv", self.data, strict=True)
        }
        pairs = self.q, rooms["q"], self.k, rooms["k"], self.v, rooms["v"]
        how: dict[str, Any] = {"space": self.space, "lengths": self.lengths, "window": self.problem.window}
        self.attention.backward_data(self.handle, self.dout, *pairs, **how)
        return {name: self.get(getattr(self, name), room) for name, room in rooms.items()}

    def backward_weights(self, mode: WgradMode = WgradMode.SET, start: float = np.nan) -> dict[str, Array]:
        """Gradients of the weights, added to `start` or in its place."""
        nbytes = self.space.weights.nbytes
        room = self.card.row(np.full(nbytes // np.dtype(self.problem.dtype).itemsize, start), self.problem.dtype)
        data = self.q, self.k, self.v, self.dout
        self.attention.backward_weights(self.handle, *data, room, space=self.space, mode=mode)
        host = room.download(np.empty(nbytes, np.uint8))
        found = {name: self.slots[KINDS[name]].view(host).astype(np.float64) for name in self.problem.weights}
        return {name: found[name].reshape(values.shape) for name, values in self.problem.weights.items()}
