"""Graph: operations over tensors, written down like the mathematics, checked by cuDNN when it is built."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from gocudnn_py._abi.cudnn import BackendAttributeName as Attribute
from gocudnn_py._abi.cudnn import BackendAttributeType as Type
from gocudnn_py._abi.cudnn import BackendDescriptorType as Kind
from gocudnn_py._abi.cudnn import ConvolutionMode, DataType, NanPropagation, PointwiseMode, ReduceTensorOp
from gocudnn_py.cudnn.graph.descriptor import BackendDescriptor
from gocudnn_py.cudnn.graph.operations import Operation
from gocudnn_py.cudnn.graph.tensor import Tensor, check_dims, order_of, packed_strides
from gocudnn_py.cudnn.handle import Handle
from gocudnn_py.dtypes import DType, cudnn_dtype
from gocudnn_py.errors import CudnnError, GraphRefused

Extents = int | Sequence[int]
SIGNS = {PointwiseMode.ADD: "+", PointwiseMode.SUB: "-", PointwiseMode.MUL: "*", PointwiseMode.DIV: "/"}


class Graph:
    """An operation graph of cuDNN: add tensors and operations, name the outputs, ask for plans.

        graph = Graph()
        x = graph.tensor("x", (8, 64, 56, 56), "float16", order=channels_last(4))
        w = graph.tensor("w", (32, 64, 3, 3), "float16", order=channels_last(4))
        b = graph.tensor("b", (1, 32, 1, 1), "float16")
        y = graph.relu(graph.add(graph.convolution(x, w, padding=1), b))
        graph.output(y, "y", dtype="float16")

    `compute` is the type that every operation computes in, `intermediate` that of tensors inside the graph.
    Making one needs no library; `build` has cuDNN check it.
    """

    def __init__(self, *, compute: DType = "float32", intermediate: DType = "float32") -> None:
        self.compute, self.intermediate = cudnn_dtype(compute), cudnn_dtype(intermediate)
        self.tensors: list[Tensor] = []
        self.operations: list[Operation] = []

    # --- tensors ------------------------------------------------------------------------------------------------

    def tensor(
        self,
        name: str,
        dims: Sequence[int],
        dtype: DType,
        *,
        order: Sequence[int] | None = None,
        strides: Sequence[int] | None = None,
        alignment: int = 16,
    ) -> Tensor:
        """A tensor with memory, row-major unless `order` lists its axes from outermost to innermost.

        `alignment` is what its address is a multiple of, in bytes; below 16 most fast engines are lost.
        """
        dims = check_dims(name, dims)
        steps = packed_strides(dims, order) if strides is None else check_dims(f"strides of {name}", strides, 0)
        if len(steps) != len(dims):
            raise ValueError(f"{name} has dimensions {dims} but strides {steps}")
        if any(tensor.name == name for tensor in self.tensors):
            raise ValueError(f"tensor {name} is there twice")
        return self._new(name, dims, steps, cudnn_dtype(dtype), virtual=False, alignment=alignment)

    def output(
        self,
        tensor: Tensor,
        name: str | None = None,
        *,
        dtype: DType | None = None,
        strides: Sequence[int] | None = None,
    ) -> Tensor:
        """Give a tensor of the graph memory of its own, and a name, a data type and strides."""
        if all(tensor is not other for other in self.tensors):
            raise ValueError(f"{tensor} is of another graph")
        name = name or tensor.name
        steps = tensor.strides if strides is None else check_dims(f"strides of {name}", strides, 0)
        if len(steps) != len(tensor.dims):
            raise ValueError(f"{name} has dimensions {tensor.dims} but strides {steps}")
        kind = tensor.dtype if dtype is None else cudnn_dtype(dtype)
        tensor.name, tensor.dtype, tensor.strides, tensor.virtual = name, kind, steps, False
        return tensor

    @property
    def real(self) -> list[Tensor]:
        """The tensors that have memory, in the order in which they were added."""
        return [tensor for tensor in self.tensors if not tensor.virtual]

    @property
    def multiplies_float32(self) -> bool:
        """Whether float32 data enter a product or a sum, or there are none of these and they enter at all."""
        heavy = [each for each in self.operations if each.name != "pointwise"] or self.operations
        inputs = [tensor for each in heavy for tensor in each.inputs.values()]
        return any(tensor.dtype is DataType.FLOAT and not tensor.virtual for tensor in inputs)

    # --- operations ---------------------------------------------------------------------------------------------

    def convolution(
        self, x: Tensor, w: Tensor, *, padding: Extents = 0, stride: Extents = 1, dilation: Extents = 1
    ) -> Tensor:
        """y of x (N, C, *spatial) and w (K, C/groups, *kernel): cross-correlation, groups as the channels say."""
        settings = self._window(x, padding, stride, dilation)
        _check_channels("convolution", x.dims, w.dims)
        spatial = [
            (extent + 2 * p - (k - 1) * d - 1) // s + 1
            for extent, k, p, s, d in zip(x.dims[2:], w.dims[2:], *_axes(settings), strict=True)
        ]
        dims = check_dims("output of the convolution", (x.dims[0], w.dims[0], *spatial))
        return self._convolve("convolution", {"x": x, "w": w}, "y", dims, settings)

    def convolution_backward_data(
        self,
        dy: Tensor,
        w: Tensor,
        dims: Sequence[int],
        *,
        padding: Extents = 0,
        stride: Extents = 1,
        dilation: Extents = 1,
    ) -> Tensor:
        """dx of dimensions `dims`, the gradient of a convolution's input from dy and w."""
        settings = self._window(dy, padding, stride, dilation)
        _check_channels("convolution_backward_data", dims, w.dims)
        return self._convolve("convolution_backward_data", {"dy": dy, "w": w}, "dx", dims, settings)

    def convolution_backward_filter(
        self,
        x: Tensor,
        dy: Tensor,
        dims: Sequence[int],
        *,
        padding: Extents = 0,
        stride: Extents = 1,
        dilation: Extents = 1,
    ) -> Tensor:
        """dw of dimensions `dims`, the gradient of a convolution's filters from x and dy."""
        settings = self._window(x, padding, stride, dilation)
        _check_channels("convolution_backward_filter", x.dims, dims)
        return self._convolve("convolution_backward_filter", {"x": x, "dy": dy}, "dw", dims, settings)

    def pointwise(self, mode: PointwiseMode, *tensors: Tensor, **settings: Any) -> Tensor:
        """An elementwise operation: y of x (and b, and t), by broadcasting; dx of x and dy for a `_BWD` mode.

        `settings` are those of cuDNN: lower, upper and slope of a ReLU, alpha of an ELU, and so on.
        """
        backward = mode.name.endswith("_BWD")
        if not 1 <= len(tensors) <= 3 or (backward and len(tensors) != 2):
            raise TypeError(f"{mode.name} of {len(tensors)} tensors")
        names = ("x", "dy") if backward else ("x", "b", "t")
        dims = _broadcast(mode.name, [tensor.dims for tensor in tensors])
        pattern = max(tensors, key=lambda tensor: tensor.size)
        result = self._new("", dims, _like(pattern, dims), self.intermediate)
        text = _formula(mode, [tensor.name for tensor in tensors], settings)
        return self._operate(
            "pointwise",
            dict(zip(names, tensors, strict=False)),
            {"dx" if backward else "y": result},
            {"mode": mode, "compute": self.compute, **_nan_stays(mode), **settings},
            text,
        )

    def add(self, a: Tensor, b: Tensor) -> Tensor:
        """a + b."""
        return self.pointwise(PointwiseMode.ADD, a, b)

    def subtract(self, a: Tensor, b: Tensor) -> Tensor:
        """a - b."""
        return self.pointwise(PointwiseMode.SUB, a, b)

    def multiply(self, a: Tensor, b: Tensor) -> Tensor:
        """a times b, element by element."""
        return self.pointwise(PointwiseMode.MUL, a, b)

    def relu(self, x: Tensor, *, slope: float | None = None, upper: float | None = None) -> Tensor:
        """x where it is positive, else slope times x; at most `upper`."""
        chosen = {"slope": slope, "upper": upper}
        return self.pointwise(
            PointwiseMode.RELU_FWD, x, **{name: value for name, value in chosen.items() if value is not None}
        )

    def relu_backward(self, x: Tensor, dy: Tensor, *, slope: float | None = None) -> Tensor:
        """dy where x is positive, else slope times dy."""
        return self.pointwise(PointwiseMode.RELU_BWD, x, dy, **({} if slope is None else {"slope": slope}))

    def reduction(self, operator: ReduceTensorOp, x: Tensor, dims: Sequence[int]) -> Tensor:
        """Reduce x to `dims`, which is 1 along every axis that goes."""
        dims = check_dims("result of the reduction", dims)
        if len(dims) != len(x.dims) or any(n not in (1, m) for n, m in zip(dims, x.dims, strict=True)):
            raise ValueError(f"reduction: {x.dims} does not reduce to {dims}")
        result = self._new("", dims, _like(x, dims), self.intermediate)
        axes = [axis for axis, (n, m) in enumerate(zip(dims, x.dims, strict=True)) if n != m]
        text = f"{operator.name.lower()}({x.name}, axes={tuple(axes)})"
        return self._operate(
            "reduction", {"x": x}, {"y": result}, {"operator": operator, "compute": self.compute}, text
        )

    def matmul(self, a: Tensor, b: Tensor) -> Tensor:
        """c (batch, m, n) of a (batch, m, k) and b (batch, k, n)."""
        if len(a.dims) != len(b.dims) or len(a.dims) < 3 or a.dims[-1] != b.dims[-2]:
            raise ValueError(f"matmul: a={a.dims} and b={b.dims} are not (batch, m, k) and (batch, k, n)")
        batch = _broadcast("matmul", [a.dims[:-2], b.dims[:-2]])
        dims = (*batch, a.dims[-2], b.dims[-1])
        result = self._new("", dims, packed_strides(dims), self.intermediate)
        return self._operate(
            "matmul", {"a": a, "b": b}, {"c": result}, {"compute": self.compute}, f"{a.name} @ {b.name}"
        )

    # --- building -----------------------------------------------------------------------------------------------

    def build(self, handle: Handle | None = None) -> BackendDescriptor:
        """The finalized operation graph, for a handle's GPU or, without one, for a `DeviceProperties`.

        Raises GraphRefused that names the operation and gives cuDNN's reason.
        """
        descriptors = {tensor.uid: self._checked(str(tensor), tensor.descriptor) for tensor in self.tensors}
        operations = [self._checked(self._line(each), partial(each.build, descriptors)) for each in self.operations]
        made = BackendDescriptor(Kind.OPERATIONGRAPH_DESCRIPTOR)
        if handle is not None:
            made.set(Attribute.OPERATIONGRAPH_HANDLE, Type.HANDLE, handle.handle)
        made.set(Attribute.OPERATIONGRAPH_OPS, Type.BACKEND_DESCRIPTOR, *operations)
        self._checked("the graph as a whole", made.finalize)
        return made

    def key(self) -> str:
        """The graph in a canonical form: equal for graphs that plans can be shared between."""
        content = {
            "tensors": [tensor.key() for tensor in self.tensors],
            "operations": [operation.key() for operation in self.operations],
            "compute": self.compute.name,
        }
        return json.dumps(content, sort_keys=True)

    def __str__(self) -> str:
        lines = [f"  {tensor}" for tensor in self.real if not self._maker(tensor)]
        lines += [f"  {self._line(operation)}" for operation in self.operations]
        outputs = [str(tensor) for tensor in self.real if self._maker(tensor)]
        return "\n".join([f"graph, computed in {self.compute.name}", *lines, *(f"  -> {text}" for text in outputs)])

    __repr__ = __str__

    # --- inside -------------------------------------------------------------------------------------------------

    def _checked(self, what: str, make: Callable[[], BackendDescriptor]) -> BackendDescriptor:
        try:
            return make()
        except CudnnError as error:
            reason = error.library_message or error.name
            raise GraphRefused(f"cuDNN refuses {what}: {reason}\nin {self}", what, [reason]) from error

    def _maker(self, tensor: Tensor) -> Operation | None:
        return next((each for each in self.operations if any(y is tensor for y in each.outputs.values())), None)

    def _line(self, operation: Operation) -> str:
        names = ", ".join(tensor.name for tensor in operation.outputs.values())
        return f"{names} = {operation}"

    def _new(
        self,
        name: str,
        dims: tuple[int, ...],
        strides: tuple[int, ...],
        dtype: DataType,
        *,
        virtual: bool = True,
        alignment: int = 16,
    ) -> Tensor:
        uid = len(self.tensors) + 1
        made = Tensor(uid, name or f"t{uid}", dims, strides, dtype, virtual, alignment)
        self.tensors.append(made)
        return made

    def _operate(
        self,
        name: str,
        inputs: Mapping[str, Tensor],
        outputs: Mapping[str, Tensor],
        settings: Mapping[str, Any],
        text: str,
    ) -> Tensor:
        for tensor in inputs.values():
            if all(tensor is not other for other in self.tensors):
                raise ValueError(f"{name}: {tensor} is of another graph")
        self.operations.append(Operation(name, inputs, outputs, settings, text))
        return next(iter(outputs.values()))

    def _window(self, x: Tensor, padding: Extents, stride: Extents, dilation: Extents) -> dict[str, tuple[int, ...]]:
        rank = len(x.dims) - 2
        if rank < 1:
            raise ValueError(f"a convolution needs (N, C, *spatial), not {x}")
        return {
            "padding": _each_axis("padding", padding, rank, 0),
            "stride": _each_axis("stride", stride, rank, 1),
            "dilation": _each_axis("dilation", dilation, rank, 1),
        }

    def _convolve(
        self,
        name: str,
        inputs: Mapping[str, Tensor],
        output: str,
        dims: Sequence[int],
        window: Mapping[str, tuple[int, ...]],
    ) -> Tensor:
        dims = check_dims(output, dims)
        first = next(iter(inputs.values()))
        if len(dims) != len(first.dims):
            raise ValueError(f"{name}: {output} has {len(dims)} dimensions, {first.name} {len(first.dims)}")
        result = self._new("", dims, _like(first, dims), self.intermediate)
        settings = {
            **window,
            "padding_after": window["padding"],
            "spatial": len(dims) - 2,
            "mode": ConvolutionMode.CROSS_CORRELATION,
            "compute": self.compute,
            "alpha": 1.0,
            "beta": 0.0,
        }
        shown = "".join(f", {key}={value}" for key, value in window.items() if set(value) != {int(key != "padding")})
        text = f"{name}({', '.join(tensor.name for tensor in inputs.values())}{shown})"
        return self._operate(name, inputs, {output: result}, settings, text)


def _nan_stays(mode: PointwiseMode) -> dict[str, NanPropagation]:
    """A ReLU of cuDNN's may make 0 of a NaN unless it is told not to."""
    return {"nan": NanPropagation.PROPAGATE_NAN} if mode is PointwiseMode.RELU_FWD else {}


def _axes(settings: Mapping[str, tuple[int, ...]]) -> tuple[tuple[int, ...], ...]:
    return settings["padding"], settings["stride"], settings["dilation"]


def _each_axis(name: str, extents: Extents, rank: int, least: int) -> tuple[int, ...]:
    numbers = (extents,) * rank if isinstance(extents, int) else tuple(extents)
    if len(numbers) != rank or min(numbers) < least:
        raise ValueError(f"{name}={numbers}: {rank} numbers of at least {least} are needed")
    return numbers


def _check_channels(name: str, x: Sequence[int], w: Sequence[int]) -> None:
    numbers = f"(x={tuple(x)}, w={tuple(w)})"
    if len(x) != len(w):
        raise ValueError(f"{name}: x and w have different ranks {numbers}")
    if x[1] % w[1] or w[0] % (x[1] // w[1]):
        raise ValueError(f"{name}: channels do not divide into groups {numbers}")


def _broadcast(name: str, shapes: Sequence[Sequence[int]]) -> tuple[int, ...]:
    if len({len(shape) for shape in shapes}) > 1:
        raise ValueError(f"{name}: the ranks of {', '.join(map(str, shapes))} differ")
    wide = [{extent for extent in extents if extent != 1} for extents in zip(*shapes, strict=True)]
    if any(len(extents) > 1 for extents in wide):
        raise ValueError(f"{name}: {', '.join(str(tuple(shape)) for shape in shapes)} do not broadcast")
    return tuple(extents.pop() if extents else 1 for extents in wide)


def _like(pattern: Tensor, dims: tuple[int, ...]) -> tuple[int, ...]:
    """Packed strides in the order that another tensor has its axes in."""
    return packed_strides(dims, order_of(pattern.dims, pattern.strides))


def _formula(mode: PointwiseMode, names: Sequence[str], settings: Mapping[str, Any]) -> str:
    if mode in SIGNS and len(names) == 2:
        return f" {SIGNS[mode]} ".join(names)
    function = mode.name.lower().removesuffix("_fwd").replace("_bwd", "_backward")
    shown = [f"{name}={value}" for name, value in settings.items()]
    return f"{function}({', '.join([*names, *shown])})"
