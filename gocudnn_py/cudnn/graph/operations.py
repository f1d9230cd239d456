"""The operations of a graph as table rows: which descriptor, which attribute each tensor and setting goes to.

Another operation of cuDNN is another row of `OPERATIONS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gocudnn_py._abi.cudnn import BackendAttributeName as Attribute
from gocudnn_py._abi.cudnn import BackendAttributeType as Type
from gocudnn_py._abi.cudnn import BackendDescriptorType as Kind
from gocudnn_py.cudnn.graph.descriptor import BackendDescriptor, descriptor
from gocudnn_py.cudnn.graph.tensor import Tensor

Setting = tuple[Attribute, Type]


@dataclass(frozen=True)
class Row:
    """One kind of operation.

    `inputs` and `outputs` say which attribute each tensor is; `settings` are attributes of the operation
    itself, `inner_settings` of the descriptor of kind `inner` that it refers to by `inner_as`.
    """

    kind: Kind
    inputs: Mapping[str, Attribute]
    outputs: Mapping[str, Attribute]
    settings: Mapping[str, Setting] = field(default_factory=dict)
    inner: Kind | None = None
    inner_as: Attribute | None = None
    inner_settings: Mapping[str, Setting] = field(default_factory=dict)


def _convolution(direction: str, inputs: str, output: str) -> Row:
    """A row of the three convolutions, whose attribute names differ by their direction."""
    prefix = f"OPERATION_CONVOLUTION_{direction}"
    kind = f"OPERATION_CONVOLUTION_{direction.replace('BWD', 'BACKWARD')}_DESCRIPTOR"
    return Row(
        Kind[kind],
        {name: Attribute[f"{prefix}_{name.upper()}"] for name in inputs.split()},
        {output: Attribute[f"{prefix}_{output.upper()}"]},
        {
            "alpha": (Attribute[f"{prefix}_ALPHA"], Type.FLOAT),
            "beta": (Attribute[f"{prefix}_BETA"], Type.FLOAT),
        },
        Kind.CONVOLUTION_DESCRIPTOR,
        Attribute[f"{prefix}_CONV_DESC"],
        {
            "compute": (Attribute.CONVOLUTION_COMP_TYPE, Type.DATA_TYPE),
            "mode": (Attribute.CONVOLUTION_CONV_MODE, Type.CONVOLUTION_MODE),
            "spatial": (Attribute.CONVOLUTION_SPATIAL_DIMS, Type.INT64),
            "dilation": (Attribute.CONVOLUTION_DILATIONS, Type.INT64),
            "stride": (Attribute.CONVOLUTION_FILTER_STRIDES, Type.INT64),
            "padding": (Attribute.CONVOLUTION_PRE_PADDINGS, Type.INT64),
            "padding_after": (Attribute.CONVOLUTION_POST_PADDINGS, Type.INT64),
        },
    )


OPERATIONS: dict[str, Row] = {
    "convolution": _convolution("FORWARD", "x w", "y"),
    "convolution_backward_data": _convolution("BWD_DATA", "dy w", "dx"),
    "convolution_backward_filter": _convolution("BWD_FILTER", "x dy", "dw"),
    "pointwise": Row(
        Kind.OPERATION_POINTWISE_DESCRIPTOR,
        {
            "x": Attribute.OPERATION_POINTWISE_XDESC,
            "b": Attribute.OPERATION_POINTWISE_BDESC,
            "t": Attribute.OPERATION_POINTWISE_TDESC,
            "dy": Attribute.OPERATION_POINTWISE_DYDESC,
        },
        {"y": Attribute.OPERATION_POINTWISE_YDESC, "dx": Attribute.OPERATION_POINTWISE_DXDESC},
        {},
        Kind.POINTWISE_DESCRIPTOR,
        Attribute.OPERATION_POINTWISE_PW_DESCRIPTOR,
        {
            "mode": (Attribute.POINTWISE_MODE, Type.POINTWISE_MODE),
            "compute": (Attribute.POINTWISE_MATH_PREC, Type.DATA_TYPE),
            "nan": (Attribute.POINTWISE_NAN_PROPAGATION, Type.NAN_PROPOGATION),
            "lower": (Attribute.POINTWISE_RELU_LOWER_CLIP, Type.DOUBLE),
            "upper": (Attribute.POINTWISE_RELU_UPPER_CLIP, Type.DOUBLE),
            "slope": (Attribute.POINTWISE_RELU_LOWER_CLIP_SLOPE, Type.DOUBLE),
            "alpha": (Attribute.POINTWISE_ELU_ALPHA, Type.DOUBLE),
            "softplus_beta": (Attribute.POINTWISE_SOFTPLUS_BETA, Type.DOUBLE),
            "swish_beta": (Attribute.POINTWISE_SWISH_BETA, Type.DOUBLE),
        },
    ),
    "reduction": Row(
        Kind.OPERATION_REDUCTION_DESCRIPTOR,
        {"x": Attribute.OPERATION_REDUCTION_XDESC},
        {"y": Attribute.OPERATION_REDUCTION_YDESC},
        {},
        Kind.REDUCTION_DESCRIPTOR,
        Attribute.OPERATION_REDUCTION_DESC,
        {
            "operator": (Attribute.REDUCTION_OPERATOR, Type.REDUCTION_OPERATOR_TYPE),
            "compute": (Attribute.REDUCTION_COMP_TYPE, Type.DATA_TYPE),
        },
    ),
    "matmul": Row(
        Kind.OPERATION_MATMUL_DESCRIPTOR,
        {"a": Attribute.OPERATION_MATMUL_ADESC, "b": Attribute.OPERATION_MATMUL_BDESC},
        {"c": Attribute.OPERATION_MATMUL_CDESC},
        {},
        Kind.MATMUL_DESCRIPTOR,
        Attribute.OPERATION_MATMUL_DESC,
        {"compute": (Attribute.MATMUL_COMP_TYPE, Type.DATA_TYPE)},
    ),
}


@dataclass(frozen=True, eq=False)
class Operation:
    """One operation of a graph: its row, its tensors by name, its settings, and how a person reads it."""

    name: str
    inputs: Mapping[str, Tensor]
    outputs: Mapping[str, Tensor]
    settings: Mapping[str, Any]
    text: str

    def build(self, tensors: Mapping[int, BackendDescriptor]) -> BackendDescriptor:
        """The finalized operation over the tensors' descriptors by uid; needs no GPU."""
        row = OPERATIONS[self.name]
        made = BackendDescriptor(row.kind)
        if row.inner is not None and row.inner_as is not None:
            inner = descriptor(row.inner, self._settings(row.inner_settings))
            made.set(row.inner_as, Type.BACKEND_DESCRIPTOR, inner)
        for attribute, type, values in self._settings(row.settings):
            made.set(attribute, type, *values)
        for ports, given in ((row.inputs, self.inputs), (row.outputs, self.outputs)):
            for name, tensor in given.items():
                made.set(ports[name], Type.BACKEND_DESCRIPTOR, tensors[tensor.uid])
        return made.finalize()

    def key(self) -> list[object]:
        """What distinguishes it in the canonical form of its graph."""
        ports = {name: tensor.uid for name, tensor in {**self.inputs, **self.outputs}.items()}
        settings = {name: value if isinstance(value, tuple) else float(value) for name, value in self.settings.items()}
        return [self.name, ports, dict(sorted(settings.items()))]

    def _settings(self, wanted: Mapping[str, Setting]) -> list[tuple[Attribute, Type, tuple[Any, ...]]]:
        given = self.settings
        chosen = [(*wanted[name], given[name]) for name in wanted if name in given]
        return [(a, t, value if isinstance(value, tuple) else (value,)) for a, t, value in chosen]

    def __str__(self) -> str:
        return self.text
