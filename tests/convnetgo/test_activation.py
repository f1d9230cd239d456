"""Activations against their definitions, gradients from y, extreme inputs, and errors."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

from gocunets import convnetgo

from .arrays import STRIDES, assert_gradient, frozen, randoms, with_strides
from .bound import assert_within


class Case(NamedTuple):
    """An activation, one number at a time, and its derivative as a function of x."""

    name: str
    value: Callable[[float], float]
    derivative: Callable[[float], float]
    scalars: tuple[float, ...] = ()

    @property
    def forward(self) -> Callable[..., Any]:
        """The activation under test."""
        function: Callable[..., Any] = getattr(convnetgo, self.name)
        return function

    @property
    def backward(self) -> Callable[..., Any]:
        """Its gradient under test."""
        function: Callable[..., Any] = getattr(convnetgo, f"{self.name}_backward")
        return function


def sigmoid(x: float) -> float:
    """Return the logistic function, in the form that suits the sign."""
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


CASES = [
    Case("logistic", sigmoid, lambda x: sigmoid(x) * sigmoid(-x)),
    Case("tanh", math.tanh, lambda x: 1 / math.cosh(x) ** 2),
    Case("relu", lambda x: max(x, 0), lambda x: x > 0),
    Case("leaky_relu", lambda x: x if x > 0 else 0.01 * x, lambda x: 1 if x > 0 else 0.01),
    Case("leaky_relu", lambda x: x if x > 0 else 0.5 * x, lambda x: 1 if x > 0 else 0.5, (0.5,)),
    Case("leaky_relu", lambda x: x if x > 0 else 3 * x, lambda x: 1 if x > 0 else 3, (3.0,)),
    Case("leaky_relu", lambda x: max(x, 0), lambda x: x > 0, (0.0,)),
    Case("clipped_relu", lambda x: min(max(x, 0), 6), lambda x: 0 < x < 6),
    Case("clipped_relu", lambda x: min(max(x, 0), 1), lambda x: 0 < x < 1, (1.0,)),
    Case("elu", lambda x: x if x > 0 else math.expm1(x), lambda x: math.exp(min(x, 0))),
    Case(
        "elu",
        lambda x: x if x > 0 else 2 * math.expm1(x),
        lambda x: 1 if x > 0 else 2 * math.exp(x),
        (2.0,),
    ),
]
every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.name}{case.scalars or ''}")
every_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64])

X = frozen(np.concatenate([randoms(3, 40) * 3, np.tile([0.0, 6.0, 7.5, 1e-30], (3, 1))], axis=1))
DY = randoms(*X.shape, seed=1)


def expected(function: Callable[[float], float], x: Any) -> Any:
    """Return the function of every number, in float64."""
    return np.array([function(float(value)) for value in x.ravel()], np.float64).reshape(x.shape)


@every_case
@every_dtype
def test_forward(case: Case, dtype: Any) -> None:
    x = X.astype(dtype)
    right = expected(case.value, x)
    # Twice |y|: NumPy's exp and tanh are within 3 units in the last place in float32, and two may meet.
    assert_within(case.forward(x, *case.scalars), right, 2 * np.abs(right), 1, dtype)


@every_case
@every_dtype
def test_backward(case: Case, dtype: Any) -> None:
    x, dy = X.astype(dtype), DY.astype(dtype)
    dx = case.backward(case.forward(x, *case.scalars), dy, *case.scalars)
    right = expected(case.derivative, x) * dy.astype(np.float64)
    # The derivative is made of y and 1 or alpha, which cancel where it is small.
    alpha = max((1.0, *case.scalars))
    magnitude = np.abs(dy) * (alpha + 2 * np.abs(expected(case.value, np.minimum(x, 1))))
    assert_within(dx, right, magnitude, 1, dtype)


@every_case
def test_gradient_numerically(case: Case) -> None:
    x = randoms(4, 5) * 2
    y = case.forward(x, *case.scalars)
    dy = randoms(*x.shape, seed=1)
    dx = case.backward(y, dy, *case.scalars)
    assert_gradient(lambda moved: case.forward(moved, *case.scalars), x, dy, dx)


@every_case
@every_dtype
def test_an_input_wrong_by_one_percent_is_noticed(case: Case, dtype: Any) -> None:
    x = np.array([0.5], dtype)
    right = expected(case.value, x)
    with pytest.raises(AssertionError, match="beyond the bound"):
        assert_within(case.forward(x * dtype(1.01), *case.scalars), right, 2 * np.abs(right), 1, dtype)


@every_case
@every_dtype
def test_extreme_inputs(case: Case, dtype: Any) -> None:
    x = np.array([-np.finfo(dtype).max, -1e30, -1000, 1000, 1e30], dtype)
    if case.scalars == (3.0,):
        x = x[1:]  # 3 times the largest number is infinite, rightly
    y = case.forward(x, *case.scalars)
    np.testing.assert_allclose(y, expected(case.value, x), rtol=1e-6)
    assert np.isfinite(case.backward(y, np.ones_like(y), *case.scalars)).all()


@every_case
def test_nan_goes_through(case: Case) -> None:
    assert np.isnan(case.forward(np.array([np.nan, 1.0]), *case.scalars)).tolist() == [True, False]


def test_logistic_keeps_its_digits_near_zero() -> None:
    np.testing.assert_allclose(convnetgo.logistic(np.array([-80], np.float32)), math.exp(-80), rtol=3e-7)


@every_case
@pytest.mark.parametrize("kind", STRIDES)
def test_any_strides(case: Case, kind: str) -> None:
    x, dy = randoms(3, 4, 2), randoms(3, 4, 2, seed=1)
    y = case.forward(x, *case.scalars)
    np.testing.assert_allclose(case.forward(with_strides(x, kind), *case.scalars), y, rtol=1e-14)
    np.testing.assert_allclose(
        case.backward(with_strides(y, kind), with_strides(dy, kind), *case.scalars),
        case.backward(y, dy, *case.scalars),
        rtol=1e-14,
    )


@every_case
def test_numpy_scalars_do_not_widen(case: Case) -> None:
    scalars = [np.float64(scalar) for scalar in case.scalars]
    x = np.ones(3, np.float32)
    assert case.forward(x, *scalars).dtype == np.float32
    assert case.backward(x, x, *scalars).dtype == np.float32


@every_case
def test_errors(case: Case) -> None:
    x = np.zeros((2, 3))
    with pytest.raises(TypeError, match=f"{case.name}: x is float16, expected float32 or float64"):
        case.forward(x.astype(np.float16))
    with pytest.raises(TypeError, match=f"{case.name}_backward: y is float64, dy is float32; expected one"):
        case.backward(x, x.astype(np.float32))
    with pytest.raises(ValueError, match=re.escape(f"{case.name}_backward: shapes differ (y=(2, 3), dy=(3,))")):
        case.backward(x, x[0])


@pytest.mark.parametrize(("name", "scalar"), [("leaky_relu", "alpha"), ("elu", "alpha"), ("clipped_relu", "ceiling")])
def test_scalar_errors(name: str, scalar: str) -> None:
    x = np.zeros(2)
    with pytest.raises(ValueError, match=f"{name}: {scalar} is -0.5, expected at least 0"):
        getattr(convnetgo, name)(x, -0.5)
    with pytest.raises(ValueError, match=f"{name}_backward: {scalar} is -0.5, expected at least 0"):
        getattr(convnetgo, f"{name}_backward")(x, x, -0.5)
