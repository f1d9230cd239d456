"""Spatial transformers: a grid of places from an affine map, and an image sampled at them (arXiv:1506.02025)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from gocudnn_py._abi.cudnn import DataType, SamplerType
from gocudnn_py.cudnn.descriptor import Descriptor, Operand, factors, int32s, int_array
from gocudnn_py.cudnn.handle import Handle
from gocudnn_py.cudnn.place import checked
from gocudnn_py.cudnn.tensor import TensorDescriptor
from gocudnn_py.dtypes import DType, cudnn_dtype, numpy_dtype


@dataclass(frozen=True, slots=True)
class SpatialTransformerSpec:
    """What a spatial transformer descriptor holds: `dims` are y's, (N, C, H, W)."""

    dtype: DataType
    dims: tuple[int, ...]
    sampler: SamplerType


class SpatialTransformerDescriptor(Descriptor):
    """A transformer of images x (N, C, any height and width) to y (N, C, H, W).

    The grid is (N, H, W, 2): column and row in x of each pixel of y, -1 and 1 being the centres of the first and last
    pixel; what lies outside of x is 0. theta is (N, 2, 3): grid = theta (column, row, 1)' of the pixel of y.
    """

    kind = "SpatialTransformer"
    _spec: SpatialTransformerSpec | None = None

    def set(self, dtype: DType, dims: Sequence[int], sampler: SamplerType = SamplerType.BILINEAR) -> Self:
        """Describe y in float32, float64 or float16 (cudnnSetSpatialTransformerNdDescriptor)."""
        dims, code = int32s("dims", dims, least=1), cudnn_dtype(dtype)
        if len(dims) != 4:
            raise ValueError(f"a spatial transformer's y is (N, C, H, W), not dims={dims}")
        self.lib.cudnnSetSpatialTransformerNdDescriptor(self.handle, sampler, code, len(dims), int_array(dims))
        self._spec = SpatialTransformerSpec(code, dims, SamplerType(sampler))
        return self

    def get(self) -> SpatialTransformerSpec:
        """What was set, for cuDNN has no function that reads it back; ValueError before that."""
        _ = self.handle  # refuses when closed
        if self._spec is None:
            raise ValueError("this spatial transformer is not set")
        return self._spec

    def grid_forward(self, handle: Handle, theta: Any, grid: Any) -> None:
        """The grid of an affine map (cudnnSpatialTfGridGeneratorForward); theta and grid are buffers."""
        places = self._theta("theta", theta), self._grid("grid", grid)
        self.lib.cudnnSpatialTfGridGeneratorForward(handle.handle, self.handle, *places)

    def grid_backward(self, handle: Handle, dgrid: Any, dtheta: Any) -> None:
        """dtheta from dgrid (cudnnSpatialTfGridGeneratorBackward)."""
        places = self._grid("dgrid", dgrid), self._theta("dtheta", dtheta)
        self.lib.cudnnSpatialTfGridGeneratorBackward(handle.handle, self.handle, *places)

    def sampler_forward(
        self, handle: Handle, x: Operand, grid: Any, y: Operand, *, alpha: float = 1.0, beta: float = 0.0
    ) -> None:
        """y = alpha times x at the grid's places, + beta y (cudnnSpatialTfSamplerForward)."""
        self._check(x, y)
        one, two = factors(y, alpha, beta)
        operands = *x.pair, self._grid("grid", grid), two, *y.pair
        self.lib.cudnnSpatialTfSamplerForward(handle.handle, self.handle, one, *operands)

    def sampler_backward(
        self,
        handle: Handle,
        x: Operand,
        dx: Operand,
        dy: Operand,
        grid: Any,
        dgrid: Any,
        *,
        alpha: float = 1.0,
        beta: float = 0.0,
        grid_alpha: float = 1.0,
        grid_beta: float = 0.0,
    ) -> None:
        """dx and dgrid from dy, each alpha times the gradient + beta itself (cudnnSpatialTfSamplerBackward)."""
        self._check(x, dy, dx)
        one, two = factors(dx, alpha, beta)
        three, four = factors(dx, grid_alpha, grid_beta)
        operands = one, *x.pair, two, *dx.pair, three, *dy.pair
        places = self._grid("grid", grid), four, self._grid("dgrid", dgrid)
        self.lib.cudnnSpatialTfSamplerBackward(handle.handle, self.handle, *operands, *places)

    def _theta(self, what: str, place: Any) -> int:
        spec = self.get()
        return checked(what, place, spec.dims[0] * 6 * numpy_dtype(spec.dtype).itemsize)

    def _grid(self, what: str, place: Any) -> int:
        spec = self.get()
        n, _, h, w = spec.dims
        return checked(what, place, n * h * w * 2 * numpy_dtype(spec.dtype).itemsize)

    def _check(self, x: Operand, y: Operand, dx: Operand | None = None) -> None:
        spec = self.get()
        given = {what: _tensor(each).get() for what, each in (("x", x), ("y", y), ("dx", dx or x))}
        dims = {what: each.dims for what, each in given.items()}
        agree = dims["x"] == dims["dx"] and dims["y"] == spec.dims and dims["x"][:2] == spec.dims[:2]
        if not agree or any(each.dtype != spec.dtype for each in given.values()):
            shown = ", ".join(f"{what}={each.dims} {each.dtype.name}" for what, each in given.items())
            raise ValueError(f"a spatial transformer of {spec.dims} {spec.dtype.name} got {shown}")

    def _describe(self) -> str:
        s = self._spec
        return f"{s.dtype.name}, y={s.dims}, {s.sampler.name}" if s else "not set"


def _tensor(operand: Operand) -> TensorDescriptor:
    if not isinstance(operand.descriptor, TensorDescriptor):
        raise TypeError(f"a spatial transformer works on tensors, not on a {type(operand.descriptor).__name__}")
    return operand.descriptor
