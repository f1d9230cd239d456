"""What every family of operations builds upon: the tensors of a graph, its operations, its text and its building."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from gocudnn_py._abi.cudnn import BackendAttributeName as Attribute
from gocudnn_py._abi.cudnn import BackendAttributeType as Type
from gocudnn_py._abi.cudnn import BackendDescriptorType as Kind
from gocudnn_py._abi.cudnn import BackendTensorReordering, DataType
from gocudnn_py.cudnn.graph.descriptor import BackendDescriptor
from gocudnn_py.cudnn.graph.operations import Nested, Operation, Port, Row, flat
from gocudnn_py.cudnn.graph.shapes import like
from gocudnn_py.cudnn.graph.tensor import Tensor, check_dims, packed_strides
from gocudnn_py.cudnn.handle import Handle
from gocudnn_py.dtypes import DType, cudnn_dtype
from gocudnn_py.errors import CudnnError, GraphRefused, NotInThisVersion


class Builder:
    """The tensors and operations of a graph; `Graph` says how it is used."""

    def __init__(
        self,
        *,
        compute: DType = "float32",
        intermediate: DType = "float32",
        dynamic: bool = False,
    ) -> None:
        self.compute, self.intermediate = cudnn_dtype(compute), cudnn_dtype(intermediate)
        self.dynamic = dynamic
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
        ragged: Tensor | None = None,
        ragged_unit: int = 1,
        reordering: BackendTensorReordering = BackendTensorReordering.NONE,
        vector: tuple[int, int] | None = None,
    ) -> Tensor:
        """A tensor with memory, row-major unless `order` lists its axes from outermost to innermost.

        `alignment` is what its address is a multiple of, in bytes; below 16 most fast engines are lost. The rest is
        as `Tensor` has it.
        """
        dims = check_dims(name, dims)
        steps = packed_strides(dims, order) if strides is None else check_dims(f"strides of {name}", strides, 0)
        if len(steps) != len(dims):
            raise ValueError(f"{name} has dimensions {dims} but strides {steps}")
        if any(tensor.name == name for tensor in self.tensors):
            raise ValueError(f"tensor {name} is there twice")
        self._check_own(name, [] if ragged is None else [ragged])
        made = self._new(name, dims, steps, cudnn_dtype(dtype), virtual=False, alignment=alignment)
        made.ragged, made.ragged_unit, made.reordering, made.vector = ragged, ragged_unit, reordering, vector
        return made

    def scalar(self, value: float, dtype: DType = "float32", *, rank: int = 4, constant: bool = False) -> Tensor:
        """A number that is passed by value at every run, or one that is compiled in.

        A run may have another value in its place: see `Plan.bind`.
        """
        made = self._new(f"{value:g}", (1,) * rank, (1,) * rank, cudnn_dtype(dtype), virtual=False)
        made.value, made.constant = value, constant
        made.host_value()  # raises for a type that NumPy has not, or a number that does not fit
        return made

    def output(
        self,
        tensor: Tensor,
        name: str | None = None,
        *,
        dtype: DType | None = None,
        strides: Sequence[int] | None = None,
        ragged: Tensor | None = None,
    ) -> Tensor:
        """Give a tensor of the graph memory of its own, and a name, a data type, strides and ragged offsets."""
        self._check_own("output", [tensor] if ragged is None else [tensor, ragged])
        name = name or tensor.name
        steps = tensor.strides if strides is None else check_dims(f"strides of {name}", strides, 0)
        if len(steps) != len(tensor.dims):
            raise ValueError(f"{name} has dimensions {tensor.dims} but strides {steps}")
        if any(other.name == name for other in self.tensors if other is not tensor):
            raise ValueError(f"tensor {name} is there twice")
        kind = tensor.dtype if dtype is None else cudnn_dtype(dtype)
        tensor.name, tensor.dtype, tensor.strides, tensor.virtual = name, kind, steps, False
        tensor.ragged = tensor.ragged if ragged is None else ragged
        return tensor

    @property
    def real(self) -> list[Tensor]:
        """The tensors that have memory on the device, in the order in which they were added."""
        return [tensor for tensor in self.tensors if not tensor.virtual and tensor.value is None]

    @property
    def scalars(self) -> list[Tensor]:
        """The tensors that are passed by value."""
        return [tensor for tensor in self.tensors if tensor.value is not None and not tensor.constant]

    @property
    def multiplies_float32(self) -> bool:
        """Whether float32 data enter a product or a sum, as they are or after elementwise operations and pooling.

        What comes of products of narrower types does not count, nor do narrower data that float32 numbers scale.
        """
        return any(self._is_float32(tensor) for each in self.operations for tensor in each.factors)

    # --- building -----------------------------------------------------------------------------------------------

    def build(self, handle: Handle | None = None) -> BackendDescriptor:
        """The finalized operation graph, for a handle's GPU or, without one, for a `DeviceProperties`.

        Raises GraphRefused that names the operation and gives cuDNN's reason, NotInThisVersion for what the loaded
        cuDNN is too old for (cudnnBackendCreateDescriptor, cudnnBackendSetAttribute, cudnnBackendFinalize).
        """
        descriptors: dict[int, BackendDescriptor] = {}
        for tensor in sorted(self.tensors, key=lambda tensor: tensor.ragged is not None):  # after their offsets
            ragged = descriptors[tensor.ragged.uid] if tensor.ragged else None
            descriptors[tensor.uid] = self._checked(str(tensor), partial(tensor.descriptor, ragged))
        operations = [self._checked(each.line, partial(each.build, descriptors)) for each in self.operations]
        return self._checked("the graph as a whole", partial(self._whole, operations, handle))

    def _whole(self, operations: Sequence[BackendDescriptor], handle: Handle | None) -> BackendDescriptor:
        made = BackendDescriptor(Kind.OPERATIONGRAPH_DESCRIPTOR)
        if handle is not None:
            made.set(Attribute.OPERATIONGRAPH_HANDLE, Type.HANDLE, handle.handle)
        made.set(Attribute.OPERATIONGRAPH_OPS, Type.BACKEND_DESCRIPTOR, *operations)
        if self.dynamic:
            made.set(Attribute.OPERATIONGRAPH_IS_DYNAMIC_SHAPE_ENABLED, Type.BOOLEAN, True)
        return made.finalize()

    def key(self) -> str:
        """The graph in a canonical form: equal for graphs that plans can be shared between."""
        content = {
            "tensors": [tensor.key() for tensor in self.tensors],
            "operations": [operation.key() for operation in self.operations],
            "compute": self.compute.name,
        }
        return json.dumps(content | ({"dynamic": True} if self.dynamic else {}), sort_keys=True)

    def __str__(self) -> str:
        lines = [f"  {tensor}" for tensor in self.real if not self._maker(tensor)]
        lines += [f"  {operation.line}" for operation in self.operations]
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
        except NotInThisVersion as error:
            error.add_note(f"needed by {what}\nin {self}")
            raise

    def _check_own(self, name: str, tensors: Sequence[Tensor]) -> None:
        for tensor in tensors:
            if all(tensor is not other for other in self.tensors):
                raise ValueError(f"{name}: {tensor} is of another graph")

    def _maker(self, tensor: Tensor) -> Operation | None:
        return next((each for each in self.operations if any(y is tensor for y in each.made)), None)

    def _is_float32(self, factor: Tensor) -> bool:
        sources, seen = [factor], {factor.uid}
        while sources:
            tensor = sources.pop()
            maker = self._maker(tensor) if tensor.virtual else None
            if tensor.dtype is not DataType.FLOAT or tensor.value is not None or (tensor.virtual and maker is None):
                return False
            if maker is not None:
                before = [each for each in flat(maker.inputs.values()) if each.value is None]
                if maker.factors or not before:
                    return False
                sources += [each for each in before if each.uid not in seen]
                seen |= {each.uid for each in before}
        return True

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

    def _inner(self, dims: Sequence[int], pattern: Tensor | None = None, dtype: DataType | None = None) -> Tensor:
        """A virtual tensor, its axes in the order of another's, row-major without one."""
        dims = check_dims("result", dims)
        steps = packed_strides(dims) if pattern is None else like(pattern, dims)
        return self._new("", dims, steps, self.intermediate if dtype is None else dtype)

    def _operate(
        self,
        row: Row,
        inputs: Mapping[str, Port | None],
        outputs: Mapping[str, Port | None],
        settings: Mapping[str, Any],
        text: str,
        nested: Mapping[str, Nested] | None = None,
    ) -> Tensor:
        """Add an operation, without the ports and settings that are None; returns its first output."""
        given = {name: port for name, port in inputs.items() if port is not None}
        made = {name: port for name, port in outputs.items() if port is not None}
        chosen = {name: value for name, value in settings.items() if value is not None}
        self._check_own(row.name, list(flat(given.values())))
        self.operations.append(Operation(row, given, made, chosen, text, nested or {}))
        return next(iter(flat(made.values())))
