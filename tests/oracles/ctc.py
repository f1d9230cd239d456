"""Connectionist temporal classification in float64: the cost and its gradient by alpha and beta in logarithms.

Graves et al., Connectionist Temporal Classification, ICML 2006, equations 6 to 16; label 0 is the blank.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def log_softmax(x: Array) -> Array:
    shifted = x - x.max(axis=-1, keepdims=True)
    logarithm: Array = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return logarithm


def with_blanks(label: tuple[int, ...]) -> Array:
    """The label with a blank before, between and after its symbols."""
    path = np.zeros(2 * len(label) + 1, int)
    path[1::2] = label
    return path


def alphas(log_probs: Array, path: Array) -> Array:
    """The logarithm of the probability of all ways to be at each place of the path, (T, places), after each step."""
    skips = np.zeros(len(path), bool)  # from the symbol before: not to a blank, not to the same symbol
    skips[2:] = (path[2:] != 0) & (path[2:] != path[:-2])
    alpha = np.full((len(log_probs), len(path)), -np.inf)
    alpha[0, :2] = log_probs[0, path[:2]]
    for t in range(1, len(log_probs)):
        stay = alpha[t - 1]
        one = np.concatenate([[-np.inf], stay[:-1]])
        two = np.where(skips, np.concatenate([[-np.inf] * 2, stay])[: len(path)], -np.inf)
        alpha[t] = np.logaddexp(np.logaddexp(stay, one), two) + log_probs[t, path]
    return alpha


def cost_and_gradient(activations: Array, label: tuple[int, ...]) -> tuple[float, Array]:
    """The cost -log p(label) of activations (T, A) under softmax, and its gradient at them; no path costs infinity."""
    log_probs, path = log_softmax(activations), with_blanks(label)
    forward = alphas(log_probs, path)
    backward = alphas(log_probs[::-1], path[::-1])[::-1, ::-1]
    log_p = np.logaddexp.reduce(forward[-1, -2:])
    if log_p == -np.inf:
        return np.inf, np.full_like(activations, np.nan)
    # Both alphas hold the probability of the symbol at their own step: it is taken out once.
    occupied = np.exp(forward + backward - log_probs[:, path] - log_p)
    gradient = np.exp(log_probs)
    for place, symbol in enumerate(path):
        gradient[:, symbol] -= occupied[:, place]
    return -float(log_p), gradient
