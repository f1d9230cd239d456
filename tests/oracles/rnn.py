"""Recurrent networks in float64, step by step, with the gradients of everything by backpropagation through time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
GATES = {
    "relu": ("hidden",),
    "tanh": ("hidden",),
    "lstm": ("input", "forget", "cell", "output"),
    "gru": ("reset", "update", "new"),
}
BIASES = {"none": (), "input": ("input",), "recurrent": ("recurrent",), "double": ("input", "recurrent")}


@dataclass(frozen=True)
class Network:
    """`bias` says which parts have one; `skip` adds x to each gate of the first layer; `clip` bounds LSTM cells."""

    mode: str
    inputs: int
    hidden: int
    layers: int = 1
    bidirectional: bool = False
    projection: int | None = None
    bias: str = "double"
    skip: bool = False
    clip: tuple[float, float] | None = None

    @property
    def gates(self) -> tuple[str, ...]:
        return GATES[self.mode]

    @property
    def directions(self) -> int:
        return 2 if self.bidirectional else 1

    @property
    def output(self) -> int:
        """The size of one direction's output."""
        return self.projection or self.hidden

    def layer_inputs(self, pseudo_layer: int) -> int:
        return self.inputs if pseudo_layer < self.directions else self.output * self.directions

    def state_shapes(self, batch: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        outer = self.layers * self.directions, batch
        return (*outer, self.output), (*outer, self.hidden)


@dataclass
class Cell:
    """The weights of one direction of one layer, the gates' rows one below the other; or their gradients."""

    w: Array
    r: Array
    bw: Array
    br: Array
    p: Array | None

    def zeros(self) -> Cell:
        projection = None if self.p is None else np.zeros_like(self.p)
        return Cell(*(np.zeros_like(array) for array in (self.w, self.r, self.bw, self.br)), projection)


def random_cells(net: Network, random: np.random.Generator) -> list[Cell]:
    """Weights for every direction of every layer; biases that the network has not are zero."""

    def draw(*shape: int) -> Array:
        return random.uniform(-1, 1, shape) / np.sqrt(shape[-1])

    rows, cells = len(net.gates) * net.hidden, []
    for pseudo_layer in range(net.layers * net.directions):
        w = draw(rows, net.layer_inputs(pseudo_layer))
        if net.skip and pseudo_layer < net.directions:
            w = np.tile(np.eye(net.hidden), (len(net.gates), 1))
        bw, br = (draw(rows) * (part in BIASES[net.bias]) for part in ("input", "recurrent"))
        p = None if net.projection is None else draw(net.projection, net.hidden)
        cells.append(Cell(w, draw(rows, net.output), bw, br, p))
    return cells


def named(net: Network, cells: list[Cell]) -> Iterator[tuple[str, Array]]:
    """Every matrix and bias that the network has, one gate at a time, by the names of `RnnDescriptor.weights`."""
    for pseudo_layer, cell in enumerate(cells):
        layer, reverse = divmod(pseudo_layer, net.directions)
        prefix = f"layer{layer}{'.reverse' * reverse}"
        for part, matrix, bias in (("input", cell.w, cell.bw), ("recurrent", cell.r, cell.br)):
            skipped = part == "input" and net.skip and layer == 0
            for number, gate in enumerate(net.gates):
                rows = slice(number * net.hidden, (number + 1) * net.hidden)
                if not skipped:
                    yield f"{prefix}.{part}.{gate}.matrix", matrix[rows]
                if part in BIASES[net.bias]:
                    yield f"{prefix}.{part}.{gate}.bias", bias[rows]
        if cell.p is not None:
            yield f"{prefix}.projection.matrix", cell.p


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def step(net: Network, a: Array, b: Array, h: Array, c: Array) -> tuple[Array, Array]:
    """The new h, before projection, and c; a = W x + bw, b = R h + br, (N, gates * hidden)."""
    if net.mode == "relu":
        return np.maximum(a + b, 0), c
    if net.mode == "tanh":
        return np.tanh(a + b), c
    if net.mode == "gru":
        (ar, az, an), (br, bz, bn) = np.split(a, 3, 1), np.split(b, 3, 1)
        z = sigmoid(az + bz)
        return (1 - z) * np.tanh(an + sigmoid(ar + br) * bn) + z * h, c
    i, f, g, o = np.split(a + b, 4, 1)
    c = sigmoid(f) * clipped(net, c) + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(clipped(net, c)), c


def clipped(net: Network, c: Array) -> Array:
    """A cell's number as everybody reads it: the clipping is where it is read, what is kept is not clipped."""
    return c if net.clip is None else np.clip(c, *net.clip)


def step_back(
    net: Network, a: Array, b: Array, h: Array, c: Array, dh: Array, dc: Array
) -> tuple[Array, Array, Array, Array]:
    """The gradients at a, b, h (but for b = R h + br) and c from those at the new h and c."""
    new_h, new_c = step(net, a, b, h, c)
    if net.mode in ("relu", "tanh"):
        da = dh * (new_h > 0 if net.mode == "relu" else 1 - new_h**2)
        return da, da, np.zeros_like(h), dc
    if net.mode == "gru":
        (ar, az, an), (br, bz, bn) = np.split(a, 3, 1), np.split(b, 3, 1)
        r, z = sigmoid(ar + br), sigmoid(az + bz)
        n = np.tanh(an + r * bn)
        dn = dh * (1 - z) * (1 - n**2)
        dr, dz = dn * bn * r * (1 - r), dh * (h - n) * z * (1 - z)
        return np.concatenate([dr, dz, dn], 1), np.concatenate([dr, dz, dn * r], 1), dh * z, dc
    i, f, g, o = np.split(a + b, 4, 1)
    i, f, g, o = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)
    old, squashed = clipped(net, c), np.tanh(clipped(net, new_c))
    dc = dc + dh * o * (1 - squashed**2) * (clipped(net, new_c) == new_c)  # nothing flows through a clipping
    da = [dc * g * i * (1 - i), dc * old * f * (1 - f), dc * i * (1 - g**2), dh * squashed * o * (1 - o)]
    gates = np.concatenate(da, 1)
    return gates, gates, np.zeros_like(h), dc * f * (old == c)


@dataclass
class Pass:
    """One direction of one layer over a batch, with what its way back needs."""

    net: Network
    cell: Cell
    x: Array  # (T, N, inputs)
    running: Array  # (T, N, 1): whether a sequence has that step
    reverse: bool
    tape: list[tuple[Array, ...]]

    def order(self) -> range:
        return range(len(self.x))[:: -1 if self.reverse else 1]

    def forward(self, h: Array, c: Array) -> tuple[Array, Array, Array]:
        """y (T, N, output), zero in padding, and the states after each sequence's last step."""
        cell, y = self.cell, np.zeros((*self.x.shape[:2], self.net.output))
        for t in self.order():
            a, b = self.x[t] @ cell.w.T + cell.bw, h @ cell.r.T + cell.br
            self.tape.append((a, b, h, c))
            new_h, new_c = step(self.net, a, b, h, c)
            new_h = new_h if cell.p is None else new_h @ cell.p.T
            y[t] = np.where(self.running[t], new_h, 0)
            h, c = np.where(self.running[t], new_h, h), np.where(self.running[t], new_c, c)
        return y, h, c

    def backward(self, dy: Array, dh: Array, dc: Array) -> tuple[Array, Array, Array, Cell]:
        """The gradients at x, at the first states and at the weights."""
        cell, grad, dx = self.cell, self.cell.zeros(), np.zeros_like(self.x)
        for t in reversed(self.order()):
            a, b, h, c = self.tape.pop()
            live = self.running[t]
            through_h, through_c = np.where(live, dy[t] + dh, 0), np.where(live, dc, 0)
            if cell.p is not None and grad.p is not None:
                grad.p += through_h.T @ step(self.net, a, b, h, c)[0]
                through_h = through_h @ cell.p
            da, db, old_h, old_c = step_back(self.net, a, b, h, c, through_h, through_c)
            grad.w += da.T @ self.x[t]
            grad.r += db.T @ h
            grad.bw += da.sum(0)
            grad.br += db.sum(0)
            dx[t] = da @ cell.w
            old_h = old_h if cell.p is None else np.zeros_like(dh)  # a GRU, which keeps some of h, has no projection
            dh, dc = np.where(live, old_h + db @ cell.r, dh), np.where(live, old_c, dc)
        return dx, dh, dc, grad


def forward(
    net: Network, cells: list[Cell], x: Array, lengths: tuple[int, ...], hx: Array, cx: Array
) -> tuple[Array, Array, Array, list[Pass]]:
    """y (T, N, output of all directions), hy, cy and the passes; x (T, N, inputs), states by pseudo-layer."""
    running = (np.arange(len(x))[:, None] < np.array(lengths))[:, :, None]
    hy, cy, passes = np.zeros_like(hx), np.zeros_like(cx), []
    for layer in range(net.layers):
        outputs = []
        for direction in range(net.directions):
            k = layer * net.directions + direction
            passes.append(Pass(net, cells[k], x, running, bool(direction), []))
            y, hy[k], cy[k] = passes[k].forward(hx[k], cx[k])
            outputs.append(y)
        x = np.concatenate(outputs, 2)
    return x, hy, cy, passes


def backward(
    net: Network, passes: list[Pass], dy: Array, dhy: Array, dcy: Array
) -> tuple[Array, Array, Array, list[Cell]]:
    """dx, dhx, dcx and the gradients of the weights, for passes that `forward` made; each serves once."""
    dhx, dcx, grads = np.zeros_like(dhy), np.zeros_like(dcy), [one.cell for one in passes]
    for layer in reversed(range(net.layers)):
        inputs = []
        for direction, part in enumerate(np.split(dy, net.directions, 2)):
            k = layer * net.directions + direction
            dx, dhx[k], dcx[k], grads[k] = passes[k].backward(part, dhy[k], dcy[k])
            inputs.append(dx)
        dy = np.sum(inputs, axis=0)
    return dy, dhx, dcx, grads
