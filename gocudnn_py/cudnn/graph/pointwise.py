"""Elementwise operations of a graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gocudnn_py._abi.cudnn import BackendAttributeName as Attribute
from gocudnn_py._abi.cudnn import BackendAttributeType as Type
from gocudnn_py._abi.cudnn import BackendDescriptorType as Kind
from gocudnn_py._abi.cudnn import DataType, NanPropagation, PointwiseMode
from gocudnn_py.cudnn.graph.builder import Builder
from gocudnn_py.cudnn.graph.operations import Row, attributes, typed
from gocudnn_py.cudnn.graph.shapes import broadcast, check_axis, check_names
from gocudnn_py.cudnn.graph.tensor import Tensor
from gocudnn_py.dtypes import DType, cudnn_dtype

Operand = Tensor | float
SIGNS = {
    PointwiseMode.ADD: "+",
    PointwiseMode.SUB: "-",
    PointwiseMode.MUL: "*",
    PointwiseMode.DIV: "/",
    PointwiseMode.POW: "**",
    PointwiseMode.CMP_EQ: "==",
    PointwiseMode.CMP_NEQ: "!=",
    PointwiseMode.CMP_GT: ">",
    PointwiseMode.CMP_GE: ">=",
    PointwiseMode.CMP_LT: "<",
    PointwiseMode.CMP_LE: "<=",
    PointwiseMode.LOGICAL_AND: "and",
    PointwiseMode.LOGICAL_OR: "or",
}
TRUTHS = {mode for mode in PointwiseMode if mode.name.startswith(("CMP_", "LOGICAL_"))}
"""The modes whose results are true or false."""

POINTWISE = Row(
    "pointwise",
    Kind.OPERATION_POINTWISE_DESCRIPTOR,
    attributes("OPERATION_POINTWISE", x="XDESC", b="BDESC", t="TDESC", dy="DYDESC"),
    attributes("OPERATION_POINTWISE", y="YDESC", dx="DXDESC"),
    typed("OPERATION_POINTWISE", alpha1=("ALPHA1", Type.FLOAT), alpha2=("ALPHA2", Type.FLOAT)),
    Kind.POINTWISE_DESCRIPTOR,
    Attribute.OPERATION_POINTWISE_PW_DESCRIPTOR,
    typed(
        "POINTWISE",
        mode=("MODE", Type.POINTWISE_MODE),
        compute=("MATH_PREC", Type.DATA_TYPE),
        nan=("NAN_PROPAGATION", Type.NAN_PROPOGATION),
        lower=("RELU_LOWER_CLIP", Type.DOUBLE),
        upper=("RELU_UPPER_CLIP", Type.DOUBLE),
        slope=("RELU_LOWER_CLIP_SLOPE", Type.DOUBLE),
        alpha=("ELU_ALPHA", Type.DOUBLE),
        softplus_beta=("SOFTPLUS_BETA", Type.DOUBLE),
        swish_beta=("SWISH_BETA", Type.DOUBLE),
        axis=("AXIS", Type.INT64),
    ),
    factors=(),
)
ROWS = (POINTWISE,)


class Pointwise(Builder):
    """What a `Graph` has of elementwise operations; a number may stand for a tensor but the first."""

    def pointwise(
        self,
        mode: PointwiseMode,
        x: Tensor,
        *others: Operand,
        dtype: DType | None = None,
        compute: DType | None = None,
        **settings: Any,
    ) -> Tensor:
        """An elementwise operation: y of x (and b, and t), by broadcasting; dx of x and dy for a `_BWD` mode.

        `settings` are those of cuDNN: lower, upper and slope of a ReLU, alpha of an ELU, and so on; alpha1 and alpha2
        scale x and b. `dtype` is the result's type, true or false for a comparison; `compute` what it is computed in.
        """
        backward = mode.name.endswith("_BWD")
        if len(others) > 2 or (backward and len(others) != 1):
            raise TypeError(f"{mode.name} of {1 + len(others)} tensors")
        check_names(mode.name, settings, (*POINTWISE.settings, *POINTWISE.inner_settings))
        truth = DataType.BOOLEAN if mode in TRUTHS else None
        math = self.compute if compute is None else cudnn_dtype(compute)
        number = x.dtype if x.dtype is DataType.INT32 else self.compute
        tensors = [x, *(self._operand(other, len(x.dims), number) for other in others)]
        dims = broadcast(mode.name, [tensor.dims for tensor in tensors])
        kind = cudnn_dtype(dtype) if dtype is not None else truth
        result = self._inner(dims, max(tensors, key=lambda tensor: tensor.size), kind)
        names = ("x", "dy") if backward else ("x", "b", "t")
        return self._operate(
            POINTWISE,
            dict(zip(names, tensors, strict=False)),
            {"dx" if backward else "y": result},
            {"mode": mode, "compute": math, **_nan_stays(mode), **settings},
            _formula(mode, names[: len(tensors)], settings),
        )

    def add(self, a: Tensor, b: Operand) -> Tensor:
        """a + b."""
        return self.pointwise(PointwiseMode.ADD, a, b)

    def subtract(self, a: Tensor, b: Operand) -> Tensor:
        """a - b."""
        return self.pointwise(PointwiseMode.SUB, a, b)

    def multiply(self, a: Tensor, b: Operand) -> Tensor:
        """a times b, element by element."""
        return self.pointwise(PointwiseMode.MUL, a, b)

    def divide(self, a: Tensor, b: Operand) -> Tensor:
        """a over b, element by element."""
        return self.pointwise(PointwiseMode.DIV, a, b)

    def relu(self, x: Tensor, *, slope: float | None = None, upper: float | None = None) -> Tensor:
        """x where it is positive, else slope times x; at most `upper`."""
        given = {"slope": slope, "upper": upper}
        chosen: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        return self.pointwise(PointwiseMode.RELU_FWD, x, **chosen)

    def relu_backward(self, x: Tensor, dy: Tensor, *, slope: float | None = None) -> Tensor:
        """dy where x is positive, else slope times dy."""
        chosen: dict[str, Any] = {} if slope is None else {"slope": slope}
        return self.pointwise(PointwiseMode.RELU_BWD, x, dy, **chosen)

    def index(self, x: Tensor, axis: int) -> Tensor:
        """Where each element of x lies along an axis, as int32."""
        axis = check_axis("index", axis, x)
        return self.pointwise(PointwiseMode.GEN_INDEX, x, axis=axis, dtype="int32", compute="int32")

    def where(self, condition: Tensor, a: Tensor, b: Operand) -> Tensor:
        """a where a truth holds, else b."""
        return self.pointwise(PointwiseMode.BINARY_SELECT, a, b, condition)

    def _operand(self, other: Operand, rank: int, dtype: DataType) -> Tensor:
        return other if isinstance(other, Tensor) else self.scalar(other, dtype, rank=rank)


def _nan_stays(mode: PointwiseMode) -> dict[str, NanPropagation]:
    """A ReLU of cuDNN's may make 0 of a NaN unless it is told not to."""
    return {"nan": NanPropagation.PROPAGATE_NAN} if mode is PointwiseMode.RELU_FWD else {}


def _formula(mode: PointwiseMode, ports: Sequence[str], settings: Mapping[str, Any]) -> str:
    names = [f"{{{port}}}" for port in ports]
    if mode in SIGNS and len(names) == 2 and not settings:
        return f" {SIGNS[mode]} ".join(names)
    if mode is PointwiseMode.BINARY_SELECT:
        return "where({t}, {x}, {b})"
    function = mode.name.lower().removesuffix("_fwd").replace("_bwd", "_backward").replace("gen_", "")
    said = [f"{name}={value}" for name, value in settings.items()]
    return f"{function}({', '.join([*names, *said])})"
