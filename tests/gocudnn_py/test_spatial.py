"""Spatial transformers without a GPU: the descriptor, what is refused, and what is passed on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gocudnn_py._abi.cudnn import DataType, SamplerType
from gocudnn_py.cudnn import FilterDescriptor, TensorDescriptor
from gocudnn_py.cudnn.spatial import SpatialTransformerDescriptor, SpatialTransformerSpec
from gocudnn_py.errors import BadParameter, NotSupported, UnusableResource
from tests.gocudnn_py.cudnn_calls import HANDLE, Recorder, buffers, handle

pytestmark = pytest.mark.usefixtures("cudnn")
Y = (2, 3, 4, 5)
GRID, THETA = 2 * 4 * 5 * 2 * 4, 2 * 6 * 4  # bytes


def transformer(dtype: Any = np.float32, dims: tuple[int, ...] = Y) -> SpatialTransformerDescriptor:
    return SpatialTransformerDescriptor().set(dtype, dims)


def tensor(*dims: int, dtype: Any = np.float32) -> TensorDescriptor:
    return TensorDescriptor().set(dtype, dims)


@pytest.mark.covers(
    "cudnnCreateSpatialTransformerDescriptor",
    "cudnnSetSpatialTransformerNdDescriptor",
    "cudnnDestroySpatialTransformerDescriptor",
)
def test_what_was_set_is_told() -> None:
    with SpatialTransformerDescriptor() as descriptor:
        assert repr(descriptor) == "SpatialTransformerDescriptor(not set)"
        with pytest.raises(ValueError, match="this spatial transformer is not set"):
            descriptor.get()
        descriptor.set(np.float64, Y)
        assert descriptor.get() == SpatialTransformerSpec(DataType.DOUBLE, Y, SamplerType.BILINEAR)
        assert repr(descriptor) == "SpatialTransformerDescriptor(DOUBLE, y=(2, 3, 4, 5), BILINEAR)"
        with pytest.raises(BadParameter, match="dataType != CUDNN_DATA_FLOAT"):
            descriptor.set(np.int32, Y)
        assert descriptor.get().dtype is DataType.DOUBLE
    with pytest.raises(UnusableResource, match="this SpatialTransformerDescriptor is closed"):
        descriptor.get()
    with pytest.raises(NotSupported, match="cudnnSetSpatialTransformerNdDescriptor"):
        transformer(np.int8)


class Given:
    """y of (2, 3, 4, 5) from x of 6 by 7, buffers, and a descriptor whose calls are noted."""

    def __init__(self) -> None:
        self.transformer = transformer()
        self.lib = Recorder()
        self.transformer.lib = self.lib  # type: ignore[assignment]
        self.at = buffers(theta=THETA, dtheta=THETA, grid=GRID, dgrid=GRID, x=1008, dx=1008, y=480, dy=480)
        self.x, self.dx = (tensor(2, 3, 6, 7).at(place) for place in (self.at.x, self.at.dx))
        self.y, self.dy = (tensor(*Y).at(place) for place in (self.at.y, self.at.dy))

    def expected(self, *places: str, **descriptors: Any) -> dict[str, Any]:
        values: dict[str, Any] = {"handle": HANDLE, "stDesc": self.transformer.handle}
        values |= {place: getattr(self.at, place).pointer for place in places}
        return values | {name: operand.descriptor.handle for name, operand in descriptors.items()}


def test_grids_pass_everything_on() -> None:
    given, at = Given(), Given().at
    given.transformer.grid_forward(handle(), at.theta, at.grid)
    given.transformer.grid_backward(handle(), at.dgrid, at.dtheta)
    assert given.lib.calls == [
        ("cudnnSpatialTfGridGeneratorForward", given.expected("theta", "grid")),
        ("cudnnSpatialTfGridGeneratorBackward", given.expected("dgrid", "dtheta")),
    ]


def test_the_sampler_passes_everything_on() -> None:
    given, at = Given(), Given().at
    given.transformer.sampler_forward(handle(), given.x, at.grid, given.y, alpha=2.0, beta=3.0)
    name, values = given.lib.only
    factors = [values.pop(factor).value for factor in ("alpha", "beta")]
    assert (name, factors) == ("cudnnSpatialTfSamplerForward", [2.0, 3.0])
    assert values == given.expected("x", "grid", "y", xDesc=given.x, yDesc=given.y)


def test_its_gradient_passes_everything_on() -> None:
    given, at = Given(), Given().at
    scales = {"alpha": 2.0, "beta": 3.0, "grid_alpha": 4.0, "grid_beta": 5.0}
    given.transformer.sampler_backward(handle(), given.x, given.dx, given.dy, at.grid, at.dgrid, **scales)
    name, values = given.lib.only
    factors = [values.pop(factor).value for factor in ("alpha", "beta", "alphaDgrid", "betaDgrid")]
    assert (name, factors) == ("cudnnSpatialTfSamplerBackward", [2.0, 3.0, 4.0, 5.0])
    descriptors = {"xDesc": given.x, "dxDesc": given.dx, "dyDesc": given.dy}
    assert values == given.expected("x", "dx", "dy", "grid", "dgrid", **descriptors)


def sample(given: Given, **changed: Any) -> None:
    operands = {"x": given.x, "grid": given.at.grid, "y": given.y}
    given.transformer.sampler_forward(handle(), **(operands | changed))


WRONG: list[tuple[Any, type[Exception], str]] = [
    (lambda given: transformer(dims=(2, 3, 4)), ValueError, r"y is \(N, C, H, W\), not dims=\(2, 3, 4\)"),
    (lambda given: transformer(dims=(2, 3, 4, 0)), ValueError, r"dims\[3\] is 0, outside 1"),
    (lambda given: given.transformer.grid_forward(handle(), given.at.theta, None), ValueError, "grid is missing"),
    (
        lambda given: given.transformer.grid_forward(handle(), buffers(a=47).a, given.at.grid),
        ValueError,
        "theta takes 48 bytes, the buffer holds 47",
    ),
    (lambda given: sample(given, grid=buffers(a=319).a), ValueError, "grid takes 320 bytes, the buffer holds 319"),
    (
        lambda given: sample(given, x=tensor(2, 4, 6, 7).at(1)),
        ValueError,
        r"of \(2, 3, 4, 5\) FLOAT got x=\(2, 4, 6, 7\) FLOAT, y=\(2, 3, 4, 5\) FLOAT",
    ),
    (lambda given: sample(given, y=tensor(2, 3, 5, 4).at(1)), ValueError, r"got x=.*, y=\(2, 3, 5, 4\) FLOAT"),
    (lambda given: sample(given, y=tensor(*Y, dtype="f8").at(1)), ValueError, r"got x=.*, y=\(2, 3, 4, 5\) DOUBLE"),
    (lambda given: sample(given, x=FilterDescriptor().at(1)), TypeError, "works on tensors, not on a FilterDescriptor"),
]


@pytest.mark.parametrize(("mistake", "kind", "message"), WRONG, ids=[row[2][:40] for row in WRONG])
def test_mistakes_are_refused(mistake: Any, kind: type[Exception], message: str) -> None:
    given = Given()
    with pytest.raises(kind, match=message):
        mistake(given)
    assert not given.lib.calls


def test_a_gradient_of_another_shape_is_refused() -> None:
    given, at = Given(), Given().at
    dx = tensor(2, 3, 7, 6).at(at.dx)
    with pytest.raises(ValueError, match=r"dx=\(2, 3, 7, 6\) FLOAT"):
        given.transformer.sampler_backward(handle(), given.x, dx, given.dy, at.grid, at.dgrid)
    assert not given.lib.calls
