"""The tensors of an update, in a table on the GPU."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gocudnn_py.xtra import checks
from gocudnn_py.xtra.array import DeviceArray, Operand, operand
from gocudnn_py.xtra.launcher import SPAN, hold, room

if TYPE_CHECKING:
    from gocudnn_py.cuda import Stream

ALIGN = 64  # elements of float32 that a moment's place is rounded to: 256 bytes
ROW = np.dtype(
    [(name, np.uint64) for name in ("w", "dw", "first", "second", "copy")] + [("count", np.int64), ("chunk", np.int64)]
)


@dataclass(frozen=True)
class Options:
    """What every rule does besides: g = scale dw + l1 sign(w) + l2 w is its gradient.

    Beforehand weights shrink by rate decay w; afterwards dw = keep dw, so that 0 clears the gradients.
    """

    l1: float = 0.0
    l2: float = 0.0
    decay: float = 0.0
    scale: float = 1.0
    keep: float = 1.0


DEFAULT = Options()


class TensorList:
    """The tensors that one launch updates: weights with their gradients, moments and masters, in a table on the GPU.

    `moments` float32 arrays of each weight's shape are made, of zeros, and lie in `moments`; or they are given. With
    `masters`, float32 copies of weights in half precision, those are updated and the weights are them, rounded.
    Weights are of one type and gradients of one type. Making it waits for the GPU; the arrays must stay where they are.
    """

    def __init__(
        self,
        stream: Stream,
        weights: Sequence[Operand],
        gradients: Sequence[Operand],
        moments: int | Sequence[Sequence[Operand]] = 0,
        masters: Sequence[Operand] | None = None,
    ) -> None:
        self.stream = stream
        self.weights = _operands("weights", weights, stream)
        self.gradients = _operands("gradients", gradients, stream)
        self.moments = _made(stream, self.weights, moments) if isinstance(moments, int) else _given(stream, moments)
        self.masters = None if masters is None else _operands("masters", masters, stream)
        self.defines = self._check()
        self.chunks = sum(-(-w.size // SPAN) for w in self.weights)
        rows = self._rows()
        self.count = len(rows)
        self.table = DeviceArray(room(stream, rows.nbytes), (rows.nbytes,), "uint8")
        self.table.upload(rows.view(np.uint8))

    def _check(self) -> dict[str, object]:
        """What kernels are compiled with. Raises TypeError or ValueError for arrays that do not fit one another."""
        lists = {"gradients": self.gradients, **{f"moments {i}": m for i, m in enumerate(self.moments)}}
        lists |= {} if self.masters is None else {"masters": self.masters}
        if not self.weights:
            raise ValueError("an update needs at least one tensor")
        if len(self.moments) > 2:
            raise ValueError(f"{len(self.moments)} moments; rules have at most 2")
        for name, arrays in lists.items():
            if len(arrays) != len(self.weights):
                raise ValueError(f"{len(arrays)} {name} for {len(self.weights)} weights")
            for i, (w, array) in enumerate(zip(self.weights, arrays, strict=True)):
                checks.has_shape("an update", f"{name} {i}", array, w.shape)
                if name != "gradients":
                    checks.c_type(f"{name} {i}", array.dtype, ("float32",))
        _check_places({"weights": self.weights, **lists})
        ws = {f"weight {i}": each for i, each in enumerate(self.weights)}
        dws = {f"gradient {i}": each for i, each in enumerate(self.gradients)}
        kind = checks.float_type("an update", **ws)
        updated = "float" if self.masters else kind
        return {"W": updated, "G": checks.float_type("an update", **dws), "COPY": kind}

    def _rows(self) -> Any:
        """The table: addresses, how many elements, and which chunk of SPAN elements is a tensor's first.

        Weights that have masters are copies of these.
        """
        nothing: list[DeviceArray | None] = [None] * len(self.weights)
        columns: list[Sequence[DeviceArray | None]] = [self.masters or self.weights, self.gradients, *self.moments]
        columns += [nothing] * (2 - len(self.moments))
        columns.append(self.weights if self.masters else nothing)
        rows, chunk = [], 0
        for w, row in zip(self.weights, zip(*columns, strict=True), strict=True):
            if w.size:
                rows.append((*(array.address if array else 0 for array in row), w.size, chunk))
                chunk += -(-w.size // SPAN)
        return np.array(rows, ROW)

    def hold(self, stream: Stream) -> None:
        """Tell the arrays' buffers that a stream works on them."""
        arrays = [*self.weights, *self.gradients, *(m for moment in self.moments for m in moment)]
        hold(stream, *{id(array.place): array.place for array in [*arrays, *(self.masters or ())]}.values())


def _operands(what: str, values: Sequence[Operand], stream: Stream) -> list[DeviceArray]:
    return [operand(f"{what} {i}", value, stream) for i, value in enumerate(values)]


def _given(stream: Stream, moments: Sequence[Sequence[Operand]]) -> list[list[DeviceArray]]:
    return [_operands(f"moments {i}", each, stream) for i, each in enumerate(moments)]


def _made(stream: Stream, weights: Sequence[DeviceArray], count: int) -> list[list[DeviceArray]]:
    """Moments of zeros, each in one buffer."""
    made: list[list[DeviceArray]] = []
    for _ in range(count):
        starts = np.cumsum([0, *(-(-w.size // ALIGN) * ALIGN * 4 for w in weights)])
        buffer = room(stream, int(starts[-1]), zeroed=True)
        made.append([DeviceArray(buffer, w.shape, "float32", int(at)) for w, at in zip(weights, starts, strict=False)])
    return made


def _check_places(lists: Mapping[str, Sequence[DeviceArray]]) -> None:
    """Raise ValueError where two of the arrays overlap: all of them are written, by blocks that know no order."""
    spans = sorted(
        (array.address, array.address + array.nbytes, f"{name} {i}")
        for name, arrays in lists.items()
        for i, array in enumerate(arrays)
        if array.size
    )
    for (_, end, one), (start, _, other) in itertools.pairwise(spans):
        if start < end:
            raise ValueError(f"an update: {one} and {other} overlap")
    for name, arrays in lists.items():
        for i, array in enumerate(arrays):
            checks.writable("an update", **{f"{name} {i}": array})
