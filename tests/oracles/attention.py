"""Multi-head attention in NumPy, float64: forward and every gradient.

q, k, v and out are (batch, beam, time, vector); keys and values may have one beam for all of the queries'. Weights
are (heads, after, before), None where a projection is left out; biases are (heads, after), the output's (after,).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Weights = Mapping[str, Array | None]
"""By "q", "k", "v", "o" and, for the biases, "qb", "kb", "vb", "ob"; what is missing is left out."""


def visible(q_lengths: Array, k_lengths: Array, first: Array, end: Array, steps: int) -> Array:
    """Which keys each query sees, (batch, beam, time of q, time of k), by lengths (batch, beam) and the windows."""
    keys = np.arange(steps)
    window = (keys >= first[:, None]) & (keys < end[:, None])
    alive = np.arange(len(first)) < q_lengths[..., None]
    present = keys < k_lengths[..., None]
    return window & alive[..., None] & present[..., None, :]


@dataclass(frozen=True)
class Saved:
    """What forward keeps for the gradients: projections, the softmax and the heads' outputs."""

    queries: Array
    keys: Array
    values: Array
    softmax: Array
    heads: Array


def forward(
    q: Array, k: Array, v: Array, weights: Weights, heads: int, mask: Array, scale: float, residual: Array | None = None
) -> tuple[Array, Saved]:
    """The output, and what the gradients need."""
    queries, keys, values = (_project(x, weights, name, heads) for x, name in ((q, "q"), (k, "k"), (v, "v")))
    scores = scale * queries @ keys.swapaxes(-1, -2)
    seen = np.broadcast_to(mask[:, :, None], scores.shape)
    top = np.where(seen, scores, -np.inf).max(axis=-1, keepdims=True)
    powers = np.where(seen, np.exp(scores - np.where(np.isfinite(top), top, 0.0)), 0.0)
    total = powers.sum(axis=-1, keepdims=True)
    softmax = np.divide(powers, total, out=np.zeros_like(powers), where=total > 0)
    outputs = softmax @ values
    out = _combine(outputs, weights) + (0.0 if residual is None else residual)
    return out, Saved(queries, keys, values, softmax, outputs)


def backward(
    dout: Array, q: Array, k: Array, v: Array, weights: Weights, saved: Saved, scale: float
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Gradients of q, k and v, and of the weights and biases that there are, by their names."""
    douts, dweights = _uncombine(dout, weights, saved)
    dsoftmax = douts @ saved.values.swapaxes(-1, -2)
    dscores = saved.softmax * (dsoftmax - (dsoftmax * saved.softmax).sum(axis=-1, keepdims=True)) * scale
    projected = {
        "q": dscores @ saved.keys,
        "k": dscores.swapaxes(-1, -2) @ saved.queries,
        "v": saved.softmax.swapaxes(-1, -2) @ douts,
    }
    data = {}
    for name, x in (("q", q), ("k", k), ("v", v)):
        dy = projected[name]
        if dy.shape[1] != x.shape[1]:  # the beams share their keys
            dy = dy.sum(axis=1, keepdims=True)
        data[name] = _unproject(dy, x, weights, name, dweights)
    return data, dweights


def _project(x: Array, weights: Weights, name: str, heads: int) -> Array:
    """(batch, beam, heads, time, after) of (batch, beam, time, before)."""
    w, b = weights.get(name), weights.get(name + "b")
    if w is None:
        return np.repeat(x[:, :, None], heads, axis=2)
    y: Array = np.einsum("nbtd,hpd->nbhtp", x, w)
    return y if b is None else y + b[:, None]


def _unproject(dy: Array, x: Array, weights: Weights, name: str, dweights: dict[str, Array]) -> Array:
    w = weights.get(name)
    if w is None:
        total: Array = dy.sum(axis=2)
        return total
    dweights[name] = np.einsum("nbhtp,nbtd->hpd", dy, x)
    if weights.get(name + "b") is not None:
        dweights[name + "b"] = dy.sum(axis=(0, 1, 3))
    dx: Array = np.einsum("nbhtp,hpd->nbtd", dy, w)
    return dx


def _combine(outputs: Array, weights: Weights) -> Array:
    w, b = weights.get("o"), weights.get("ob")
    if w is None:
        n, beams, heads, steps, length = outputs.shape
        return outputs.swapaxes(2, 3).reshape(n, beams, steps, heads * length)
    out: Array = np.einsum("nbhtp,hop->nbto", outputs, w)
    return out if b is None else out + b


def _uncombine(dout: Array, weights: Weights, saved: Saved) -> tuple[Array, dict[str, Array]]:
    w, heads = weights.get("o"), saved.heads
    if w is None:
        n, beams, count, steps, length = heads.shape
        return dout.reshape(n, beams, steps, count, length).swapaxes(2, 3), {}
    dweights: dict[str, Array] = {"o": np.einsum("nbto,nbhtp->hop", dout, heads)}
    if weights.get("ob") is not None:
        dweights["ob"] = dout.sum(axis=(0, 1, 2))
    return np.einsum("nbto,hop->nbhtp", dout, w), dweights
