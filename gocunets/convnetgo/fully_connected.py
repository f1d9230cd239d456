"""The fully connected layer: one matrix product, and its gradients."""

from __future__ import annotations

from ._arrays import Floats, check_floats, check_shape, listing


def fully_connected_forward(x: Floats, w: Floats, b: Floats | None = None) -> Floats:
    """Return y = x @ w + b.

    x is (N, I), w is (I, O), b is (O,), y is (N, O). Thesis, equation 3.1.
    """
    check_floats("fully_connected", x=x, w=w, b=b)
    _check_product("fully_connected", "x", "w", x, w, (1, 0))
    if b is None:
        return x @ w
    check_shape("fully_connected", "b", b.shape, w.shape[1:], w=w.shape)
    return x @ w + b


def fully_connected_backward_data(dy: Floats, w: Floats) -> Floats:
    """Return dx = dy @ w^T.

    dy is (N, O), w is (I, O), dx is (N, I). Thesis, equation 3.2a.
    """
    check_floats("fully_connected_backward_data", dy=dy, w=w)
    _check_product("fully_connected_backward_data", "dy", "w", dy, w, (1, 1))
    dx: Floats = dy @ w.T
    return dx


def fully_connected_backward_filter(x: Floats, dy: Floats) -> Floats:
    """Return dw = x^T @ dy.

    x is (N, I), dy is (N, O), dw is (I, O). Thesis, equation 3.2b.
    """
    check_floats("fully_connected_backward_filter", x=x, dy=dy)
    _check_product("fully_connected_backward_filter", "x", "dy", x, dy, (0, 0))
    dw: Floats = x.T @ dy
    return dw


def fully_connected_backward_bias(dy: Floats) -> Floats:
    """Return db, the sum of dy over the batch.

    dy is (N, O), db is (O,). Thesis, equation 3.2c.
    """
    check_floats("fully_connected_backward_bias", dy=dy)
    if dy.ndim != 2:
        raise ValueError(f"fully_connected_backward_bias: dy has {dy.ndim} axes, expected 2 (dy={dy.shape})")
    db: Floats = dy.sum(axis=0)
    return db


def _check_product(
    operation: str, left_name: str, right_name: str, left: Floats, right: Floats, axes: tuple[int, int]
) -> None:
    """Raise ValueError unless both are matrices, equal along the axis of each that the product sums."""
    context = listing(**{left_name: left.shape, right_name: right.shape})
    for name, array in ((left_name, left), (right_name, right)):
        if array.ndim != 2:
            raise ValueError(f"{operation}: {name} has {array.ndim} axes, expected 2{context}")
    given, expected = left.shape[axes[0]], right.shape[axes[1]]
    if given != expected:
        what = "rows" if axes[0] == 0 else "columns"
        mismatch = f"{left_name} has {given} {what}, {right_name} expects {expected}"
        raise ValueError(f"{operation}: {mismatch}{context}")
