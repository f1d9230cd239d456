"""Which dtype each part of a network runs in, and the casts that follow from it."""

from __future__ import annotations

from dataclasses import dataclass

from ..dtypes import DType
from ..graph import Graph, Math, Node, Value
from ..ops.elementwise import Cast, cast

LOSS_SCALE = 65536.0
"""What float16 begins with, whose numbers reach from 6e-8 to 65,504; it then follows the overflows."""


@dataclass(frozen=True)
class DtypePolicy:
    """Parameters and moments are kept in `parameter`; layers compute in `compute`, sums in `accumulate`.

    Losses, softmax, statistics and optimizers run in `full`, at least float32. `math` says whether
    float32 products may be rounded to TF32 on a CUDA device. Where `loss_scale` is not 1, gradients flow backwards
    times a power of two that keeps small ones from vanishing in float16, and are divided by it before the update: it
    begins with `loss_scale`, is halved when a gradient overflows, and doubled after 2,000 steps without.
    """

    parameter: DType = DType.float32
    compute: DType = DType.float32
    accumulate: DType = DType.float32
    output: DType = DType.float32
    math: Math = "fma"
    loss_scale: float = 1.0

    @property
    def full(self) -> DType:
        """The dtype of what is never computed in half precision."""
        return DType.float64 if self.parameter is DType.float64 else DType.float32

    @property
    def scaled(self) -> bool:
        """Whether gradients flow backwards times a loss scale."""
        return self.loss_scale != 1.0

    @staticmethod
    def of(dtype: str | DType, math: Math = "fma") -> DtypePolicy:
        """The usual policy of a compute dtype: half precision keeps float32 parameters."""
        compute = DType.of(dtype)
        if not compute.is_float:
            raise ValueError(f"a network cannot compute in {compute}")
        if math not in ("fma", "tf32"):
            raise ValueError(f"math {math!r} is neither fma nor tf32")
        wide = DType.float64 if compute is DType.float64 else DType.float32
        return DtypePolicy(wide, compute, wide, wide, math, LOSS_SCALE if compute is DType.float16 else 1.0)


def apply_policy(graph: Graph, policy: DtypePolicy) -> Graph:
    """The graph again, with a cast wherever a float input has not the dtype its op runs in.

    Runs on the forward graph, before `gradient`; a Cast's own gradient casts back.
    """
    if policy.compute == policy.full == policy.parameter:
        graph.math = policy.math
        return graph
    result = Graph(graph.mode, graph.step_state, policy.math)
    values: dict[Value, Value] = {}
    for name, value in graph.inputs.items():
        values[value] = result.input(name, value.shape, value.dtype)
    for state, value in graph.reads.items():
        values[value] = result.read(state)
    for node in graph.nodes:
        with result.scoped(node.scope):
            inputs = [values[x] for x in node.inputs]
            outputs = result.add(node.op, *_cast_inputs(node, inputs, policy))
        values.update(zip(node.outputs, outputs, strict=True))
    for state, value in graph.assigned.items():
        result.assign(state, cast(values[value], state.type.dtype))
    for name, value in graph.outputs.items():
        result.output(name, values[value])
    return result


def _cast_inputs(node: Node, inputs: list[Value], policy: DtypePolicy) -> list[Value]:
    floats = [x for x in inputs if x.dtype.is_float]
    if not floats or isinstance(node.op, Cast):
        return inputs
    if node.op.precision == "follow":
        target = max((x.dtype for x in floats), key=lambda dtype: dtype.itemsize)
    else:
        target = policy.full if node.op.precision == "full" else policy.compute
    return [cast(x, target) if x.dtype.is_float else x for x in inputs]
