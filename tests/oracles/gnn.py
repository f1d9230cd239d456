"""Graph networks in NumPy, float64: aggregation over neighbours, GAT and GATv2, with their gradients.

A graph is its edges: destinations, sources and rows, the row that each edge has in arrays of edges.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Edges:
    """The ends of each edge, and its row in arrays of edges."""

    destinations: Array
    sources: Array
    rows: Array

    @classmethod
    def of(cls, offsets: Array, indices: Array, rows: Array | None = None) -> Edges:
        """The edges of a graph in compressed sparse columns."""
        destinations = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
        return cls(destinations, indices, np.arange(len(indices)) if rows is None else rows)


def total(values: Array, where: Array, count: int) -> Array:
    """The sums of rows by the number that `where` gives each."""
    sums = np.zeros((count, *values.shape[1:]))
    np.add.at(sums, where, values)
    return sums


def aggregate(values: Array, destinations: Array, count: int, op: str) -> tuple[Array, Array]:
    """Sum, mean, max or min of each destination's rows, and the share of each row in it, its gradient."""
    by = np.bincount(destinations, minlength=count)
    if op in ("sum", "mean"):
        share = np.ones(values.shape) / (by[destinations, None] if op == "mean" else 1)
        return total(values * share, destinations, count), share
    result, share = np.zeros((count, values.shape[1])), np.zeros(values.shape)
    for destination in np.flatnonzero(by):
        mine = np.flatnonzero(destinations == destination)
        best = mine[values[mine].argmax(axis=0) if op == "max" else values[mine].argmin(axis=0)]
        columns = np.arange(values.shape[1])
        result[destination], share[best, columns] = values[best, columns], 1
    return result, share


def activation(name: str, alpha: float, z: Array) -> tuple[Array, Array]:
    """An activation of z, and its derivative there."""
    s, t = 1 / (1 + np.exp(-z)), np.tanh(z)
    rows = {
        "LINEAR": (z, np.ones_like(z)),
        "RELU": (np.maximum(z, 0), (z > 0).astype(float)),
        "SIGMOID": (s, s * (1 - s)),
        "TANH": (t, 1 - t * t),
        "ELU": (np.where(z > 0, z, np.expm1(z)), np.where(z > 0, 1, np.exp(z))),
        "SCALAR": (alpha * z, np.full_like(z, alpha)),
        "LEAKY_RELU": (np.where(z > 0, z, alpha * z), np.where(z > 0, 1, alpha)),
    }
    return rows[name]


@dataclass(frozen=True)
class Attention:
    """GAT, or GATv2 with `second`; features are (rows, heads * width), masks (heads, edges)."""

    edges: Edges
    heads: int
    concat: bool
    activation: str
    alpha: float
    second: bool

    def forward(
        self, sources: Array, destinations: Array, weights: Array, edges: Array | None, mask: Array
    ) -> tuple[Array, Array, Array]:
        """The output, the attention by (heads, edges) before the mask, and GATv2's activated vectors by edge."""
        parts = self._parts(sources, destinations, edges)
        logits, _, inner = self._logits(parts, weights)
        attention = self._softmax(logits, len(destinations))
        outputs = (attention * mask[:, self.edges.rows].T)[..., None] * parts[0]
        output = total(outputs, self.edges.destinations, len(destinations))
        result = output.reshape(len(output), -1) if self.concat else output.mean(axis=1)
        return result, self._by_row(attention).T, self._by_row(inner).reshape(len(inner), -1)

    def backward(
        self, sources: Array, destinations: Array, weights: Array, edges: Array | None, mask: Array,
        doutput: Array, dattention: Array,
    ) -> tuple[Array, Array, Array, Array | None]:  # fmt: skip
        """Gradients of sources, destinations, weights and edges; `dattention` is one of the masked attention."""
        parts, ends = self._parts(sources, destinations, edges), self.edges
        logits, slope, inner = self._logits(parts, weights)
        attention = self._softmax(logits, len(destinations))
        by_edge = mask[:, ends.rows].T
        dheads = self._dheads(doutput)[ends.destinations]
        dmasked = (dheads * parts[0]).sum(axis=2) + dattention[:, ends.rows].T
        weighted = attention * dmasked * by_edge
        dlogits = weighted - attention * total(weighted, ends.destinations, len(destinations))[ends.destinations]
        dparts, dweights = self._dlogits(parts, weights, dlogits, slope, inner)
        dparts[0] = dparts[0] + (attention * by_edge)[..., None] * dheads
        dsources = total(dparts[0], ends.sources, len(sources)).reshape(sources.shape)
        ddestinations = total(dparts[1], ends.destinations, len(destinations)).reshape(destinations.shape)
        dedges = None if edges is None else self._by_row(dparts[2]).reshape(edges.shape)
        return dsources, ddestinations, dweights, dedges

    def _parts(self, sources: Array, destinations: Array, edges: Array | None) -> list[Array]:
        """Features of each edge's source, destination and itself, (edges, heads, width)."""
        chosen = [sources[self.edges.sources], destinations[self.edges.destinations]]
        chosen += [] if edges is None else [edges[self.edges.rows]]
        return [part.reshape(len(part), self.heads, -1) for part in chosen]

    def _logits(self, parts: list[Array], weights: Array) -> tuple[Array, Array, Array]:
        """Logits (edges, heads), the activation's slope, and the activated vectors (GATv2)."""
        if self.second:
            inner, slope = activation(self.activation, self.alpha, np.sum(parts, axis=0))
            return (inner * weights.reshape(self.heads, -1)).sum(axis=2), slope, inner
        split = self._split(parts, weights)
        z = np.sum([(part * w).sum(axis=2) for part, w in zip(parts, split, strict=True)], axis=0)
        logits, slope = activation(self.activation, self.alpha, z)
        return logits, slope, np.zeros((len(z), 0))

    def _split(self, parts: list[Array], weights: Array) -> list[Array]:
        widths = [part.shape[1] * part.shape[2] for part in parts]
        return [w.reshape(self.heads, -1) for w in np.split(weights, np.cumsum(widths)[:-1])]

    def _dlogits(
        self, parts: list[Array], weights: Array, dlogits: Array, slope: Array, inner: Array
    ) -> tuple[list[Array], Array]:
        if self.second:
            dz = dlogits[..., None] * weights.reshape(self.heads, -1) * slope
            return [dz] * len(parts), (dlogits[..., None] * inner).sum(axis=0).ravel()
        dz = (dlogits * slope)[..., None]
        split = self._split(parts, weights)
        return [dz * w for w in split], np.concatenate([(dz * part).sum(axis=0).ravel() for part in parts])

    def _softmax(self, logits: Array, count: int) -> Array:
        where = self.edges.destinations
        top = np.full((count, self.heads), -np.inf)
        np.maximum.at(top, where, logits)
        powers = np.exp(logits - top[where])
        soft: Array = powers / total(powers, where, count)[where]
        return soft

    def _dheads(self, doutput: Array) -> Array:
        if self.concat:
            return doutput.reshape(len(doutput), self.heads, -1)
        return np.repeat(doutput[:, None] / self.heads, self.heads, axis=1)

    def _by_row(self, by_edge: Array) -> Array:
        by_row = np.zeros_like(by_edge)
        by_row[self.edges.rows] = by_edge
        return by_row
